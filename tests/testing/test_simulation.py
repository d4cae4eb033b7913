"""Hundreds of faulty cycles, and the command that simulates them."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from polyframe.testing import Fault, Invariant
from polyframe.testing.simulate import Plan, figures, main, simulate
from polyframe.testing.stage import KEEPS_SNAPSHOTS
from polyframe.trading.account import Account
from tests.cli.command import ROOT


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hundreds_of_cycles_with_all_faults(seed: int) -> None:
    """A hostile and a careful strategy, process after process, on two series: everything holds."""
    result = simulate(Plan(cycles=100, seed=seed))
    assert result.violations == (), str(result.violations[0])
    # Some windows pass while no process runs.
    assert result.closed >= 60
    assert result.audited > 800
    assert result.starts > 5
    rare = {
        Fault.MARKET_MISSING,
        Fault.RESOLUTION_MISSING,
        Fault.USER_OVERFLOW,
        Fault.STORE_LOST,
        Fault.STORE_ROT,
    }
    assert set(result.faults) >= set(Fault) - rare


@pytest.mark.parametrize(
    ("faults", "intensity"),
    [
        (frozenset(Fault), 3.0),
        (frozenset(Fault) - KEEPS_SNAPSHOTS, 1.0),
        (KEEPS_SNAPSHOTS, 6.0),
        (frozenset({Fault.KILL, Fault.CLOCK_JUMP, Fault.FOREIGN, Fault.TRADE_FAILED}), 4.0),
    ],
    ids=["a storm", "one process", "short lives", "a bad computer"],
)
def test_other_mixtures_of_faults(faults: frozenset[Fault], intensity: float) -> None:
    """Everything holds in a storm, in one long life, in many short ones, and on a bad computer."""
    result = simulate(Plan(cycles=60, seed=4, faults=faults, intensity=intensity))
    assert result.violations == (), str(result.violations[0])
    assert result.closed > 10
    assert (result.starts == 1) is (Fault.KILL not in faults)


def test_the_same_seed_gives_the_same_line() -> None:
    """Byte for byte, in processes that order their sets and addresses differently."""
    lines = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "polyframe.testing.simulate", "--cycles", "12", "--seed", "7"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        lines.add(done.stdout)
    (line,) = lines
    assert line == f"seed=7 {figures(simulate(Plan(cycles=12, seed=7)))}\n"


def test_a_violation_is_told_with_the_smallest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with 1, the name of what broke, a command that repeats it, and the steps."""
    monkeypatch.setattr(Account, "release", lambda *_: None)
    out = io.StringIO()
    assert main(["--cycles", "8", "--faults", "user_drop,barrier"], out) == 1
    text = out.getvalue()
    assert "VIOLATION reserved: " in text
    smallest = next(line for line in text.splitlines() if line.startswith("smallest run: "))
    assert "--faults none" in smallest
    assert "--cycles 1 " in smallest
    assert "are reserved, the orders can cost" in text
    assert text.splitlines()[-1].startswith("     +0.000 s  ")
    arguments = smallest.split("polyframe.testing.simulate ")[1].split()
    again = io.StringIO()
    assert main([*arguments, "--no-shrink"], again) == 1
    assert f"VIOLATION {Invariant.RESERVED}" in again.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cycles", "0"], "cycles: expected at least 1, got 0"),
        (["--intensity", "-1"], "intensity: expected a factor of at least 0, got -1.0"),
        (["--faults", "rain"], "faults: rain is none"),
        (["--strategies", "lucky"], "strategies: lucky is none; expected some of careful, hostile"),
        (["--series", "btc"], "series: expected"),
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], message: str) -> None:
    """They are told by name, with what is expected."""
    out = io.StringIO()
    assert main(arguments, out) == 2
    assert out.getvalue().startswith(message)
