"""``python -m polyframe.testing.simulate``: thousands of faulty cycles, and what must hold in them.

Two strategies trade side by side on two series, one that behaves and one that does its worst; others
can be named, beside them or alone (``--strategies threshold,hostile``). What those that ship promise is
checked after every change of their orders and fills; a bound of your own is named as well (``--bounds
CheapUp=my.module:within_bounds``). The run ends with one line of figures; at the first violation with the
smallest run that still shows it, and what happened last in it.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from attrs import evolve, field, frozen

from polyframe import strategies as shipped
from polyframe.errors import ConfigError
from polyframe.model.series import Series
from polyframe.reference import ReferencePrices
from polyframe.strategies import DataRecorder
from polyframe.strategy import Strategy
from polyframe.templates import make_template
from polyframe.testing.actors import Careful, Hostile, Keepsakes
from polyframe.testing.bounds import bound_of
from polyframe.testing.faults import RATES, Fault, Faults, parse_faults
from polyframe.testing.feeds import FeedVenue, swings
from polyframe.testing.invariants import Invariant, Violation
from polyframe.testing.run import RunResult, run_strategy
from polyframe.testing.simvenue import SimVenue
from polyframe.testing.stage import PerProcess
from polyframe.testing.standing import Bound
from polyframe.trading.limits import RiskLimits

SERIES = ("btc-updown-5m", "eth-updown-5m")

STRATEGIES: dict[str, Callable[[int], Strategy]] = {
    "careful": lambda seed: Careful(seed=seed),
    "hostile": lambda seed: Hostile(seed=seed),
}
"""The strategies of the simulation: they check what they are told and suffer from faults of hooks."""

SHIPPED = {name.lower(): getattr(shipped, name) for name in shipped.__all__}

CASH = Decimal(1_000_000)

# Losses of thousands of cycles of random trades must not end the trading.
LIMITS = RiskLimits(max_run_notional=None, max_run_loss=None, max_losing_cycles=None)


FORGETFUL = frozenset({Fault.STORE_LOST, Fault.STORE_ROT})
"""What makes a new process forget what the old one merged: nobody else knows it."""


@frozen
class Plan:
    """What to simulate.

    Attributes:
        cycles: Cycles of all series together.
        seed: Decides everything.
        faults: Kinds of faults that may happen.
        strategies: Names of `STRATEGIES`, of strategies that ship, or ``package.module:Name`` of a class
            or an object. Those that are not of the simulation must not raise, and those that ship keep
            their bounds.
        bounds: Of other strategies, or in place of those: ``Name=package.module:function``, with the name
            of the class and a function of a `Standing`.
        series: Which series.
        intensity: Multiplies the chances of all faults.
        shrinks: Whether to look for the smallest run after a violation.
        converts: Whether the venue splits and merges. A disk that loses files loses what was merged,
            so without the faults `FORGETFUL` then.
    """

    cycles: int = 100
    seed: int = 1
    faults: frozenset[Fault] = field(default=frozenset(Fault))
    strategies: tuple[str, ...] = tuple(STRATEGIES)
    series: tuple[str, ...] = SERIES
    intensity: float = 1.0
    shrinks: bool = True
    converts: bool = False
    bounds: tuple[str, ...] = ()

    def command(self) -> str:
        """Return the command line that repeats it."""
        kinds = "all" if self.faults == frozenset(Fault) else ",".join(sorted(self.faults))
        return (
            f"python -m polyframe.testing.simulate --cycles {self.cycles} --seed {self.seed} "
            f"--faults {kinds or 'none'} --strategies {','.join(self.strategies)} "
            f"--series {','.join(self.series)} --intensity {self.intensity:g}"
            f"{' --converts' if self.converts else ''}"
            f"{' --bounds ' if self.bounds else ''}{','.join(self.bounds)}"
        )


def simulate(plan: Plan) -> RunResult:
    """Run a plan, up to the first violation."""
    with _silence(), TemporaryDirectory(prefix="polyframe-simulate-") as folder:
        return _simulate(plan, Path(folder))


@contextmanager
def _silence() -> Iterator[None]:
    """Keep to itself what thousands of faults make the framework log."""
    logger = logging.getLogger("polyframe")
    propagate, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = propagate


def _simulate(plan: Plan, folder: Path) -> RunResult:
    strategies = {name: make_strategy(name, plan.seed) for name in plan.strategies}
    for name, strategy in strategies.items():
        if isinstance(strategy, DataRecorder) and strategy.folder == DataRecorder().folder:
            strategies[name] = evolve(strategy, folder=folder)
    rates = {kind: min(rate * plan.intensity, 1.0) for kind, rate in RATES.items()}
    return run_strategy(
        *strategies.values(),
        series=plan.series,
        cycles=-(-plan.cycles // len(plan.series)),
        venue=SimVenue(
            plan.seed,
            cash=CASH,
            faults=Faults(plan.faults - (FORGETFUL if plan.converts else set()), plan.seed, rates),
            converts=plan.converts,
        ),
        on_error="skip_cycle",
        risk=LIMITS,
        services=[Keepsakes(), *_prices(plan)],
        keep_events=False,
        strict=[type(s).__name__ for name, s in strategies.items() if name not in STRATEGIES],
        bounds=bounds_of(strategies.values(), plan.bounds),
    )


def _prices(plan: Plan) -> list[PerProcess]:
    """Return reference prices for strategies that want some; those of the simulation do not."""
    if STRATEGIES.keys() >= set(plan.strategies):
        return []
    return [PerProcess(lambda: ReferencePrices(FeedVenue(swings(plan.seed)), *plan.series))]


def make_strategy(name: str, seed: int) -> Strategy:
    """Return the strategy that `name` stands for, see `Plan`.

    Raises:
        ConfigError: There is none of this name, or it cannot be made without settings.
        StrategyDefinitionError: The class would leak state between cycles.
    """
    if name in STRATEGIES:
        return STRATEGIES[name](seed)
    found = SHIPPED.get(name)
    if ":" in name:
        found = _load(name, f"strategies: {name}")
    if found is None:
        have = ", ".join((*STRATEGIES, *SHIPPED))
        msg = f"strategies: {name} is none; expected some of {have}, or package.module:Name"
        raise ConfigError(msg)
    return make_template(found, name, "name an object instead of it", field="strategies")


def bounds_of(strategies: Iterable[Strategy], named: Sequence[str] = ()) -> dict[str, Bound]:
    """Return what strategies promise, by name.

    Args:
        strategies: Those that ship have a bound of their own.
        named: As in `Plan.bounds`; of strategies that do not take part they are left out.

    Raises:
        ConfigError: A bound that cannot be loaded.
    """
    mounted = {type(strategy).__name__: strategy for strategy in strategies}
    ship = {name: each for name, each in mounted.items() if type(each) in SHIPPED.values()}
    bounds = {name: bound_of(strategy) for name, strategy in ship.items()}
    for text in named:
        name, equals, where = text.partition("=")
        if not (name and equals and ":" in where):
            msg = f"bounds: expected Name=package.module:function, got {text!r}"
            raise ConfigError(msg)
        bound = _load(where, f"bounds: {where}")
        if not callable(bound):
            msg = f"bounds: {where} is no function of a Standing"
            raise ConfigError(msg)
        if name in mounted:
            bounds[name] = bound
    return bounds


def _load(where: str, what: str) -> Any:
    """Return the member that ``package.module:member`` names; `what` names the setting in an error."""
    module, _, member = where.partition(":")
    try:
        return getattr(importlib.import_module(module), member)
    except (ImportError, AttributeError) as error:
        msg = f"{what} cannot be loaded: {error}"
        raise ConfigError(msg) from error


def figures(result: RunResult) -> str:
    """Return one line about a run; the same run gives the same line.

    Of each strategy with a bound: its orders, its fills, and how often the bound was checked.
    """
    kinds = " ".join(f"{kind}={count}" for kind, count in sorted(result.faults.items()))
    messages = sum(result.counters.snapshot().get("user_messages", {}).values())
    checked = "".join(
        f"{name}={each.orders}/{each.fills}/{each.standings} "
        for name, each in result.checked.items()
    )
    return (
        f"cycles={result.closed} starts={result.starts} messages={messages} inputs={result.commands} "
        f"orders={result.orders} fills={result.audited} cash={result.cash} "
        f"hours={result.hours:.1f} {checked}violations={len(result.violations)} "
        f"faults={sum(result.faults.values())} {kinds}"
    ).rstrip()


def shrink(plan: Plan, invariant: Invariant, tell: Callable[[str], None]) -> tuple[Plan, RunResult]:
    """Return the smallest plan found that violates the same invariant, and its run.

    First it is tried without faults, then with each kind alone; if that does not show it, kinds are
    switched off one by one. Then strategies, series and cycles are left out as long as it stays.
    """
    best, seen = plan, simulate(plan)

    def attempt(smaller: Plan) -> bool:
        nonlocal best, seen
        result = simulate(smaller)
        if not any(violation.invariant is invariant for violation in result.violations):
            return False
        best, seen = evolve(smaller, cycles=_needed(smaller, result)), result
        tell(f"still violated: {best.command()}")
        return True

    few = [frozenset[Fault](), *(frozenset({kind}) for kind in sorted(plan.faults))]
    if not any(attempt(evolve(plan, faults=kinds)) for kinds in few):
        for kind in sorted(plan.faults):
            attempt(evolve(best, faults=best.faults - {kind}))
    for name in best.strategies:
        if len(best.strategies) > 1:
            attempt(evolve(best, strategies=tuple(n for n in best.strategies if n != name)))
    for name in best.series:
        if len(best.series) > 1:
            attempt(evolve(best, series=tuple(n for n in best.series if n != name)))
    while best.cycles > len(best.series) and attempt(evolve(best, cycles=best.cycles // 2)):
        pass
    return best, seen


def _needed(plan: Plan, result: RunResult) -> int:
    """Return how many cycles were begun until the violation."""
    begun = len(result.records)
    return max(len(plan.series), min(plan.cycles, begun))


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    """Simulate; return 0 if everything held, 1 if not, 2 for arguments that make no sense."""
    stream = out or sys.stdout

    def tell(text: str) -> None:
        stream.write(f"{text}\n")
        stream.flush()

    try:
        plan = _plan(arguments)
    except ConfigError as error:
        tell(str(error))
        return 2
    begun = time.perf_counter()
    result = simulate(plan)
    tell(f"seed={plan.seed} {figures(result)}")
    sys.stderr.write(f"{time.perf_counter() - begun:.1f} seconds\n")
    if not result.violations:
        return 0
    if not plan.shrinks:
        _tell_violation(result.violations[0], tell)
        return 1
    first = result.violations[0]
    tell(f"VIOLATION {first}")
    plan = evolve(plan, cycles=_needed(plan, result))
    plan, result = shrink(plan, first.invariant, tell)
    tell(f"smallest run: {plan.command()}")
    last = next(v for v in result.violations if v.invariant is first.invariant)
    _tell_violation(last, tell)
    return 1


def _tell_violation(violation: Violation, tell: Callable[[str], None]) -> None:
    tell(f"VIOLATION {violation}")
    for step in violation.steps:
        tell(f"  {step}")


def _plan(arguments: Sequence[str] | None) -> Plan:
    parser = argparse.ArgumentParser(
        prog="python -m polyframe.testing.simulate",
        description="Trade faulty cycles in simulated time and check what must hold.",
    )
    parser.add_argument("--cycles", type=int, default=100, help="of all series together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default="all", help=f"all, none, or some of {', '.join(Fault)}")
    parser.add_argument(
        *("--strategies", "--strategy"),
        default=",".join(STRATEGIES),
        help=f"some of {', '.join((*STRATEGIES, *SHIPPED))}, or package.module:Name of your own",
    )
    parser.add_argument(
        "--bounds",
        default="",
        metavar="NAME=MODULE:FUNCTION,…",
        help="what strategies of your own promise, as functions of a polyframe.testing.Standing",
    )
    parser.add_argument("--series", default=",".join(SERIES))
    parser.add_argument(
        "--intensity", type=float, default=1.0, help="multiplies the chances of all faults"
    )
    parser.add_argument(
        "--no-shrink", action="store_true", help="tell of a violation as it was found"
    )
    parser.add_argument(
        "--converts",
        action="store_true",
        help=f"let the venue split and merge; then without {', '.join(sorted(FORGETFUL))}",
    )
    given = parser.parse_args(arguments)
    names = tuple(given.strategies.split(","))
    named = tuple(filter(None, given.bounds.split(",")))
    # A name that is none is told before anything runs.
    mounted = [make_strategy(name, given.seed) for name in names]
    bounds_of(mounted, named)
    have = [type(strategy).__name__ for strategy in mounted]
    for text in named:
        if (name := text.partition("=")[0]) not in have:
            msg = f"bounds: {name} is none of the strategies that take part: {', '.join(have)}"
            raise ConfigError(msg)
    if not given.intensity >= 0:
        msg = f"intensity: expected a factor of at least 0, got {given.intensity}"
        raise ConfigError(msg)
    if given.cycles < 1:
        msg = f"cycles: expected at least 1, got {given.cycles}"
        raise ConfigError(msg)
    series = tuple(str(Series.parse(name)) for name in given.series.split(","))
    return Plan(
        cycles=given.cycles,
        seed=given.seed,
        faults=parse_faults(given.faults),
        strategies=names,
        series=series,
        intensity=given.intensity,
        shrinks=not given.no_shrink,
        converts=given.converts,
        bounds=named,
    )


if __name__ == "__main__":
    sys.exit(main())
