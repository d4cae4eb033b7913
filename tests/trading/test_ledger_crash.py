"""A program that is killed at any instant loses the last moment of its ledger and nothing else."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from polyframe.trading.ledger import Ledger
from polyframe.trading.ledger_store import COMMIT_WITHIN
from tests.cli.command import ROOT, environment
from tests.support.ledger_child import MARKET

KILLS = 20

OUTLIERS = 2
"""Kills that may hit a machine which was too busy to keep the promised time."""


def write_until_killed(path: Path, seed: int, after: float) -> tuple[float, list[float]]:
    """Kill a writing program after so many seconds; return when, and when it wrote its rows."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.ledger_child", str(path), str(seed)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(after)
        killed = time.monotonic()
        child.kill()
        # The last line may be torn.
        lines = child.stdout.read().split("\n")[:-1]
    return killed, [float(line.split()[1]) for line in lines]


def test_a_kill_costs_no_more_than_the_last_moment(tmp_path: Path) -> None:
    """After 20 kills at random instants the one file is sound, and each run's rows are a beginning.

    What is missing of a run was written within the promised interval before the kill.
    """
    path = tmp_path / "trades.sqlite"
    rng = random.Random(20260928)
    missing: list[float] = []
    written = 0
    for seed in range(KILLS):
        killed, times = write_until_killed(path, seed, rng.uniform(0.0, 0.7))
        if not path.exists():
            assert times == []
            continue
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                assert times == []
                continue
        with Ledger.open(path) as reader:
            runs = reader.runs()
            assert [run.run for run in runs] == list(range(1, len(runs) + 1))
            assert {run.ended_ms for run in runs} <= {None}
            if not times:
                continue
            last = runs[-1].run
            numbers = [e.change.sequence for e in reader.order_changes(MARKET.slug, run=last)]
            # A pair belongs together unless a commit came between its two rows.
            pairs = [note.data for note in reader.notes("pair", run=last)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert pairs in (numbers, numbers[:-1])
        written += len(numbers)
        if len(numbers) < len(times):
            missing.append(killed - times[len(numbers)])
    assert written > 100
    late = [age for age in missing if age > COMMIT_WITHIN]
    assert len(late) <= OUTLIERS, missing
