"""Every example is a program that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import ROOT, environment

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


RESULT = r"btc-updown-15m-\d+: (?:Up|Down) won, profit [+-]\d+\.\d\d USD\n"

EXPECTED = {
    "first_strategy": rf"(?s).*({RESULT}){{2}}all cycles: [+-]\d+\.\d\d USD\n",
}
"""What an example prints at its end."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(path: Path, tmp_path: Path) -> None:
    """It ends by itself, with exit code 0, nothing on standard error, and what it promises."""
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
    assert re.fullmatch(EXPECTED[path.stem], done.stdout), done.stdout
