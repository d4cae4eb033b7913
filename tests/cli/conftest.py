"""What tests of commands have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyframe.templates import NEIGHBOURHOODS


@pytest.fixture(autouse=True)
def _no_trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget where strategies were imported from: a command does that once in its process."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    known = NEIGHBOURHOODS.copy()
    yield
    for folder in set(NEIGHBOURHOODS) - set(known):
        for name, module in tuple(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file is not None and Path(file).is_relative_to(folder):
                del sys.modules[name]
    NEIGHBOURHOODS[:] = known
