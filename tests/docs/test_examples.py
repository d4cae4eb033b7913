"""Every example is a program that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import ROOT, environment

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(path: Path, tmp_path: Path) -> None:
    """It ends by itself, with exit code 0 and nothing on standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_strategy_prints_the_ledger(tmp_path: Path) -> None:
    """Each cycle's result and profit come out, and the sum of them."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "first_strategy.py")],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=tmp_path,
        env=environment(),
        check=True,
    )
    results = re.findall(
        r"btc-updown-15m-\d+: (?:Up|Down) won, profit ([+-]\d+\.\d\d)", done.stdout
    )
    assert len(results) == 2
    assert re.search(r"all cycles: [+-]\d+\.\d\d USD", done.stdout)
