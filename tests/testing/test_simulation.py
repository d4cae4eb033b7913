"""Hundreds of faulty cycles, and the command that simulates them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from decimal import Decimal

import pytest
from attrs import define
from typing_extensions import override

from polyframe.model.events import PriceChanged
from polyframe.strategy import Strategy
from polyframe.testing import Fault, Invariant
from polyframe.testing.faults import CONVERTING
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
    assert set(result.faults) >= set(Fault) - rare - CONVERTING


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


def test_a_strategy_of_ones_own_is_simulated_by_name() -> None:
    """One that ships, or one of a module, trades beside the hostile one; both names are the same."""
    lines = []
    for name in ("threshold", "polyframe.strategies.threshold:Threshold"):
        out = io.StringIO()
        assert main(["--cycles", "6", "--strategies", f"{name},hostile"], out) == 0, out.getvalue()
        lines.append(out.getvalue())
    assert lines[0] == lines[1]
    alone = simulate(Plan(cycles=2, strategies=("threshold",), faults=frozenset()))
    assert alone.closed == 2


@define
class Clumsy(Strategy):
    """Lets an error of the venue escape."""

    @override
    async def on_price(self, event: PriceChanged) -> None:
        if event.ask is not None:
            await self.trading.buy(event.outcome, price=event.ask, size=Decimal(1))


def test_a_named_strategy_must_not_raise() -> None:
    """What escapes from its hooks is a violation, which what the simulation's own do is not."""
    name = f"{__name__}:Clumsy"
    result = simulate(Plan(cycles=2, strategies=(name, "hostile"), faults=frozenset()))
    assert result.violations[0].invariant is Invariant.NO_DEFECT
    assert "strategy Clumsy failed in on_price" in result.violations[0].text
    calm = simulate(Plan(cycles=4, faults=frozenset({Fault.HOOK_RAISE}), intensity=9.0))
    assert calm.violations == ()
    assert calm.faults[Fault.HOOK_RAISE] > 0


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
        (["--strategy", "no.where:Mine"], "strategies: no.where:Mine cannot be loaded"),
        (
            ["--strategy", "polyframe.strategies:Mine"],
            "strategies: polyframe.strategies:Mine cannot",
        ),
        (
            ["--strategy", "polyframe.model.series:Series"],
            "strategies: polyframe.model.series:Series",
        ),
        (["--strategy", "decimal:Decimal"], "strategies: decimal:Decimal is no polyframe.Strategy"),
        (["--series", "btc"], "series: expected"),
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], message: str) -> None:
    """They are told by name, with what is expected."""
    out = io.StringIO()
    assert main(arguments, out) == 2
    assert out.getvalue().startswith(message)
