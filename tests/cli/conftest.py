"""What tests of commands have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from polyframe.templates import NEIGHBOURHOODS


@pytest.fixture(autouse=True)
def _no_trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget where strategies were imported from: a command does that once in its process."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    known = NEIGHBOURHOODS.copy()
    yield
    NEIGHBOURHOODS[:] = known
