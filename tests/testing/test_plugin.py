"""The fixtures for pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TEST = """
from polyframe.testing import assert_held, make_market, run_strategy
from polyframe import Strategy
from attrs import define

pytest_plugins = ["polyframe.testing.plugin"]

@define
class Watches(Strategy):
    pass

def test_venue(sim_venue):
    assert_held(run_strategy(Watches(), venue=sim_venue))

def test_clock(virtual_clock):
    async def main():
        await virtual_clock.sleep(900)
        return virtual_clock.time()
    assert virtual_clock.run(main()) == make_market().window.end
"""


def test_the_fixtures_are_found_and_work(tmp_path: Path) -> None:
    """A test file that names the plugin gets a venue and simulated time."""
    (tmp_path / "test_mine.py").write_text(TEST, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
