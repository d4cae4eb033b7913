"""What strategies are proved with: hostile worlds, any world at all, and one market of each kind.

Three proofs, of which each strategy has all::

    def test_survives_everything() -> None:
        hostile(Threshold(), cycles=20)

    @given(world=worlds())
    def test_never_more_than_its_size(world: World) -> None:
        live(Threshold(size=Decimal(20)), world)

    def test_in_every_kind_of_market() -> None:
        for kind, report in regime_reports(Threshold()).items(): ...

The first two check what the strategy promises (`bound_of`) after every single change of its orders,
fills and conversions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal

from attrs import frozen
from hypothesis import strategies as st

from polyframe import Report, run_backtest, strategies
from polyframe.recording.reader import Recording
from polyframe.recording.resolvedkit import ResolvedMarkets
from polyframe.strategy import Strategy
from polyframe.testing import (
    Bound,
    Fault,
    Faults,
    Regime,
    RegimeMarkets,
    RunResult,
    SimVenue,
    assert_held,
    bound_of,
    run_strategy,
)
from polyframe.testing.actors import Hostile, Keepsakes
from polyframe.testing.faults import RATES
from polyframe.testing.stage import KEEPS_SNAPSHOTS
from polyframe.trading.guards import EntryGuards
from polyframe.trading.limits import RiskLimits

SERIES = "btc-updown-5m"
CASH = Decimal(100_000)

ONE_LIFE = frozenset(
    kind
    for kind in frozenset(Fault) - KEEPS_SNAPSHOTS - {Fault.CLOCK_JUMP}
    if not kind.startswith("hook_")
)
"""All that goes wrong around a strategy in one life of a program."""

LOOSE = RiskLimits(max_run_notional=None, max_run_loss=None, max_losing_cycles=None)
"""The losses of hundreds of random cycles must not end the trading."""


def bounds(strategy: Strategy, bound: Bound | None) -> dict[str, Bound]:
    """Return what is promised of a strategy: what is given, else what it ships with, if it ships."""
    name = type(strategy).__name__
    if bound is None and name in strategies.__all__:
        bound = bound_of(strategy)
    return {} if bound is None else {name: bound}


def _rates(intensity: float) -> dict[Fault, float]:
    # What happens nearly always never lets a run end: a market that cannot be found, for example.
    return {kind: max(rate, min(rate * intensity, 0.5)) for kind, rate in RATES.items()}


def hostile(
    strategy: Strategy,
    *,
    cycles: int = 20,
    seed: int = 1,
    faults: Collection[Fault] = frozenset(Fault),
    intensity: float = 1.0,
    bound: Bound | None = None,
    alone: bool = False,
    services: Iterable[object] = (),
    guards: EntryGuards | None = None,
) -> RunResult:
    """Run a strategy with everything that can go wrong, next to one that does its worst.

    Its hooks must not raise, whatever the venue does. With `Fault.KILL` among the faults (by default)
    the program is killed and started again: its bound has to hold over all lives of a cycle.

    Args:
        strategy: The template, with its settings.
        cycles: How many.
        seed: Of everything.
        faults: What may happen.
        intensity: Multiplies the chances.
        bound: Checked after every change of its orders and fills; by default `bound_of` it.
        alone: Whether nobody else trades on the account.
        services: Objects for ``env.provide``.
        guards: Of every strategy in the run.
    """
    rates = _rates(intensity)
    name = type(strategy).__name__
    others = () if alone else (Hostile(seed=seed),)
    result = run_strategy(
        strategy,
        *others,
        series=SERIES,
        cycles=cycles,
        venue=SimVenue(seed, cash=CASH, faults=Faults(faults, seed, rates)),
        on_error="skip_cycle",
        risk=LOOSE,
        services=[Keepsakes(), *services],
        strict=[name],
        bounds=bounds(strategy, bound),
        guards=guards,
    )
    assert_held(result)
    return result


# ---------------------------------------------------------------------- whatever the market does


@frozen
class World:
    """One world out of all that can be: its chance, its faults, and how often they happen.

    Attributes:
        seed: Decides books, trades, partial fills and the outcome.
        faults: What goes wrong: gaps, refusals, lost answers, failed trades, ….
        intensity: Multiplies the chances of the faults.
        cash: USD of the account.
    """

    seed: int
    faults: frozenset[Fault]
    intensity: float
    cash: Decimal


def worlds(faults: Collection[Fault] = ONE_LIFE) -> st.SearchStrategy[World]:
    """Draw a world; `faults` are those that may happen."""
    return st.builds(
        World,
        seed=st.integers(0, 10_000),
        faults=st.frozensets(st.sampled_from(sorted(faults))),
        intensity=st.sampled_from([1.0, 4.0, 12.0]),
        cash=st.sampled_from([Decimal(5), Decimal(60), Decimal(10_000)]),
    )


def live(
    strategy: Strategy,
    world: World,
    bound: Bound | None = None,
    *,
    cycles: int = 1,
    services: Iterable[object] = (),
) -> RunResult:
    """Let a strategy live in a world, and check its bound after every change."""
    rates = _rates(world.intensity)
    name = type(strategy).__name__
    result = run_strategy(
        strategy,
        series=SERIES,
        cycles=cycles,
        venue=SimVenue(world.seed, cash=world.cash, faults=Faults(world.faults, world.seed, rates)),
        on_error="skip_cycle",
        risk=LOOSE,
        services=services,
        strict=[name],
        bounds=bounds(strategy, bound),
    )
    assert_held(result)
    return result


# ---------------------------------------------------------------------- every kind of market


def regime_reports(
    strategy: Strategy, *, cycles: int = 2, seed: int = 1, real: bool = False
) -> dict[str, Report]:
    """Back-test a strategy on markets of each regime, and on the 18 real ones if that is wanted."""
    data: dict[str, Recording] = {
        regime.value: RegimeMarkets(regime, cycles=cycles, seed=seed) for regime in Regime
    }
    if real:
        data["real"] = ResolvedMarkets()
    return {
        name: run_backtest(
            strategy,
            data=recording,
            services=[recording.reference()] if isinstance(recording, RegimeMarkets) else [],
        )
        for name, recording in data.items()
    }
