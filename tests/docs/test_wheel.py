"""What people install is what is tested: in the clean environment nothing comes from the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import ROOT
from tests.docs.programs import CLEAN, run

HERE = """
import importlib.metadata, pathlib, polyframe
print(pathlib.Path(polyframe.__file__).resolve())
print(importlib.metadata.version("polyframe") == polyframe.__version__)
"""


@pytest.mark.skipif(
    not CLEAN, reason="POLYFRAME_CLEAN_PYTHON names no environment (make test does)"
)
def test_the_clean_environment_has_the_wheel(tmp_path: Path) -> None:
    """It is found there, installed, and not in this checkout's folder."""
    done = run(["-c", HERE], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    place, is_same = done.stdout.split()
    assert "site-packages" in place
    assert not Path(place).is_relative_to(ROOT / "polyframe")
    assert "True" == is_same
