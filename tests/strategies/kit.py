"""What strategies are proved with: hostile worlds, any world at all, and one market of each kind.

Three proofs, of which each strategy has all::

    def test_survives_everything() -> None:
        hostile(Threshold(), cycles=20, bound=once_a_cycle)

    @given(world=worlds())
    def test_never_more_than_its_size(world: World) -> None:
        live(Threshold(size=Decimal(20)), world, bound=once_a_cycle)

    def test_in_every_kind_of_market() -> None:
        for kind, report in regime_reports(Threshold()).items(): ...

A *bound* looks at a `Standing`: what one strategy holds and what its open orders can still do, after
every single change of its orders and fills.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from decimal import Decimal

from attrs import define, field, frozen
from hypothesis import strategies as st

from polyframe import Report, run_backtest
from polyframe.model.events import OrderChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, Side
from polyframe.model.trade import Fill, TradeStatus
from polyframe.recording.reader import Recording
from polyframe.recording.resolvedkit import ResolvedMarkets
from polyframe.strategy import Strategy
from polyframe.testing import (
    Fault,
    Faults,
    Regime,
    RegimeMarkets,
    RunResult,
    SimVenue,
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

UNDAMAGED = frozenset(Fault) - {
    Fault.STORE_FULL,
    Fault.STORE_TORN,
    Fault.STORE_ROT,
    Fault.STORE_LOST,
}
"""All but damage to the files that tell a program after a kill which orders were whose."""

LOOSE = RiskLimits(max_run_notional=None, max_run_loss=None, max_losing_cycles=None)
"""The losses of hundreds of random cycles must not end the trading."""


@define
class Standing:
    """What one strategy has and can still get in one cycle.

    Attributes:
        slug: The cycle.
        orders: Its orders as they are now, by client id, oldest first.
        fills: Its fills as they are now, by (trade id, client id).
    """

    slug: str
    orders: dict[str, Order] = field(factory=dict)
    fills: dict[tuple[str, str], Fill] = field(factory=dict)

    def kept(self, side: Side | None = None, outcome: Outcome | None = None) -> list[Fill]:
        """Return its fills that did not fail."""
        return [
            fill
            for fill in self.fills.values()
            if fill.status is not TradeStatus.FAILED
            and side in (None, fill.side)
            and outcome in (None, fill.outcome)
        ]

    def open(self, side: Side | None = None, outcome: Outcome | None = None) -> list[Order]:
        """Return its orders that may still fill."""
        return [
            order
            for order in self.orders.values()
            if order.is_open and side in (None, order.side) and outcome in (None, order.outcome)
        ]

    def sent(self, side: Side | None = None, outcome: Outcome | None = None) -> list[Order]:
        """Return all orders that it ever placed."""
        return [
            order
            for order in self.orders.values()
            if side in (None, order.side) and outcome in (None, order.outcome)
        ]

    def held(self, outcome: Outcome) -> Decimal:
        """Return its shares of `outcome`."""
        bought = sum((fill.size for fill in self.kept(Side.BUY, outcome)), ZERO)
        return bought - sum((fill.size for fill in self.kept(Side.SELL, outcome)), ZERO)

    def most(self, outcome: Outcome) -> Decimal:
        """Return the shares of `outcome` that it can come to hold if all open buys fill."""
        bought = sum((self._reach(order) for order in self.sent(Side.BUY, outcome)), ZERO)
        return bought - sum((fill.size for fill in self.kept(Side.SELL, outcome)), ZERO)

    def spent(self) -> Decimal:
        """Return the USD that it has paid for shares and may still pay, without fees."""
        total = ZERO
        for order in self.sent(Side.BUY):
            fills = [f for f in self.kept(Side.BUY) if f.client_id == order.client_id]
            coming = self._reach(order) - sum((fill.size for fill in fills), ZERO)
            total += coming * order.price + sum((f.size * f.price for f in fills), ZERO)
        return total

    def _reach(self, order: Order) -> Decimal:
        """Return the shares that an order can come to; also those of which no trade has told yet."""
        got = (f.size for f in self.kept(order.side) if f.client_id == order.client_id)
        return max(order.size if order.is_open else order.filled, sum(got, ZERO))

    def cash(self) -> Decimal:
        """Return the USD that its fills brought (below 0: cost), fees taken off."""
        total = ZERO
        for fill in self.kept():
            value = fill.size * fill.price
            total += (value if fill.side is Side.SELL else -value) - fill.fee
        return total

    def worst(self) -> Decimal:
        """Return the USD that it earns at least, whoever wins, if nothing more fills."""
        return self.cash() + min(self.held(outcome) for outcome in Outcome)


Bound = Callable[[Standing], None]
"""Asserts something of a standing."""


def standings(result: RunResult, name: str) -> Iterator[Standing]:
    """Yield the standing of one strategy after each change, cycle by cycle.

    The same object of a cycle is yielded again and again: look at once.
    """
    cycles: dict[str, Standing] = {}
    for seen in result.events:
        event = seen.event
        if not isinstance(event, OrderChanged | TradeChanged) or event.order.strategy != name:
            continue
        standing = cycles.setdefault(seen.slug, Standing(seen.slug))
        standing.orders[event.order.client_id] = event.order
        if isinstance(event, TradeChanged):
            fill = event.fill
            standing.fills[fill.trade_id, fill.client_id] = fill
        yield standing


def check(result: RunResult, name: str, bound: Bound | None) -> None:
    """Check what must hold in every run, and the bound of one strategy after each change."""
    assert result.violations == (), str(result.violations[0])
    if bound is not None:
        for standing in standings(result, name):
            bound(standing)


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
    the program is killed and started again: a bound then has to hold over all lives of a cycle. With
    damaged files nobody knows whose orders those of before were; give `UNDAMAGED` if it matters.

    Args:
        strategy: The template, with its settings.
        cycles: How many.
        seed: Of everything.
        faults: What may happen.
        intensity: Multiplies the chances.
        bound: Asserted after every change of its orders and fills.
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
        guards=guards,
    )
    check(result, name, bound)
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
    bound: Bound,
    *,
    cycles: int = 1,
    services: Iterable[object] = (),
) -> RunResult:
    """Let a strategy live in a world, and assert its bound after every change."""
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
    )
    check(result, name, bound)
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
