"""Fixtures for pytest: name this module in ``pytest_plugins`` of your ``conftest.py``."""

from __future__ import annotations

import pytest

from polyframe.clock import VirtualClock
from polyframe.testing.builders import START
from polyframe.testing.simvenue import SimVenue


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Return simulated time that begins with a window of every intraday series."""
    return VirtualClock(START)


@pytest.fixture
def sim_venue(request: pytest.FixtureRequest) -> SimVenue:
    """Return a venue without faults; every test has its own, and always the same one."""
    return SimVenue(seed=request.node.name)
