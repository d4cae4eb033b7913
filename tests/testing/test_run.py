"""Running strategies on the simulated venue."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from attrs import define, field

from polyframe.clock import WallClock
from polyframe.counters import Count
from polyframe.environment import Environment
from polyframe.errors import ConfigError, OrderRejected, StrategyFailed
from polyframe.model.events import CycleEndReason, OrderChanged, PriceChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.model.order import OrderStatus, OrderType
from polyframe.model.trade import TradeStatus
from polyframe.strategy import Strategy
from polyframe.testing import (
    START,
    Fault,
    Faults,
    Invariant,
    SimVenue,
    Stage,
    assert_books_add_up,
    assert_held,
    assert_isolated,
    assert_no_leaks,
    make_market,
    play,
    run_strategy,
)
from polyframe.testing.run import RunResult
from polyframe.trading.ledger import CycleStatus


@define
class Taker(Strategy):
    """Buys once a cycle at whatever price."""

    done: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        if not self.done and event.ask is not None:
            self.done = True
            await self.trading.buy(
                event.outcome, price=event.ask, size=Decimal(10), order_type=OrderType.FAK
            )


@define
class Quoter(Strategy):
    """Rests one bid far below the market, and cancels it in the end."""

    async def on_price(self, event: PriceChanged) -> None:
        if event.known and not self.trading.orders():
            await self.trading.buy(Outcome.UP, price=Decimal("0.10"), size=Decimal(10))

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        await self.trading.cancel_all()


@define
class Broken(Strategy):
    """Raises."""

    async def on_price(self, event: PriceChanged) -> None:
        msg = "a defect"
        raise ValueError(msg)


def test_a_run_trades_settles_and_is_resolved() -> None:
    """Two cycles of a taker: orders filled, trades confirmed, markets resolved, cash as the sum."""
    result = run_strategy(Taker(), cycles=2, seed=3)
    assert_held(result)
    assert [record.status for record in result.records] == [CycleStatus.RESOLVED] * 2
    assert all(record.fills for record in result.records)
    profits = [record.profit for record in result.records if record.profit is not None]
    assert result.cash == Decimal(1000) + sum(profits)
    fills = result.of(TradeChanged)
    assert {fill.fill.status for fill in fills} >= {TradeStatus.MATCHED, TradeStatus.CONFIRMED}
    assert (result.orders, result.closed) == (2, 2)
    assert result.audited == sum(record.fills for record in result.records)


def test_the_same_arguments_give_the_same_run() -> None:
    """Events, counts, records and cash repeat; another seed gives others."""

    def facts(result: RunResult) -> tuple[object, ...]:
        return (result.events, result.counters.snapshot(), result.records, result.cash)

    faults = [Fault.USER_DROP, Fault.PLACE_LOST, Fault.MARKET_LATE]
    first, again, other = (
        facts(run_strategy(Taker(), Quoter(), cycles=2, seed=seed, faults=faults))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_each_cycle_is_a_world_of_its_own() -> None:
    """Every published change carries the cycle in which it was published."""
    result = run_strategy(Quoter(), series=["btc-updown-5m", "eth-updown-5m"], cycles=3)
    assert_isolated(result)
    assert_no_leaks(result)
    assert_books_add_up(result)
    seen = [event for event in result.events if isinstance(event.event, OrderChanged)]
    assert {event.generation for event in seen} == {START, START + 300, START + 600}
    ends = {e.event.order.status for e in seen if isinstance(e.event, OrderChanged)}
    assert ends >= {OrderStatus.LIVE}


def test_a_strategy_that_raises_ends_the_run() -> None:
    """The cause is chained; with another policy the run goes on and the error is counted."""
    with pytest.raises(StrategyFailed, match="'Broken' failed in on_price") as caught:
        run_strategy(Broken())
    assert isinstance(caught.value.__cause__, ValueError)
    result = run_strategy(Broken(), cycles=2, on_error="skip_cycle")
    assert_held(result)
    assert result.counters.get(Count.STRATEGY_ERRORS, "on_price") == 2


def test_a_run_needs_a_strategy() -> None:
    """Nothing to run is a mistake that is told."""
    with pytest.raises(ConfigError, match=r"strategies: expected at least one"):
        run_strategy()


def test_a_venue_is_given_alone() -> None:
    """A venue together with what one is made from is refused: one of both would be ignored."""
    with pytest.raises(ConfigError, match="venue: it has a seed, cash and faults of its own"):
        run_strategy(Taker(), venue=SimVenue(), seed=4)


def test_an_open_stage_is_acted_on_step_by_step() -> None:
    """A test runs the trader itself, fills an order by hand and sees the strategy's position."""

    async def act(stage: Stage) -> tuple[Decimal, bool]:
        run = asyncio.create_task(stage.trader.run(cycles=1))
        await stage.clock.sleep(20)
        (order,) = stage.trader.trading("btc-updown-15m").snapshot().orders
        market = stage.venue.markets[order.slug]
        assert market.fill(order.venue_id, Decimal(4))
        await stage.clock.sleep(1)
        snapshot = stage.trader.trading("btc-updown-15m").snapshot()
        filled = snapshot.orders[0].filled
        run.cancel()
        await asyncio.wait({run})
        return filled, bool(stage.monitor.violations)

    assert play(act, Quoter()) == (Decimal(4), False)


def test_time_is_simulated() -> None:
    """On a real clock the venue refuses to open, and says what to do."""

    async def main() -> None:
        with pytest.raises(ConfigError, match="SimVenue needs a VirtualClock"):
            async with Environment(SimVenue(), clock=WallClock()):
                pass
        with pytest.raises(RuntimeError, match="call open"):
            await SimVenue().fetch_market(make_market().series, make_market().window)

    asyncio.run(main())


def test_the_venue_refuses_what_the_account_does_not_cover() -> None:
    """Bought shares cannot be sold before they are on chain (PROTOCOL §9)."""
    codes: list[str] = []

    @define
    class Hasty(Taker):
        async def on_trade(self, event: TradeChanged) -> None:
            if event.previous is None:
                try:
                    await self.trading.sell(
                        event.fill.outcome, price=Decimal("0.05"), size=Decimal(10)
                    )
                except OrderRejected as error:
                    codes.append(error.code)

    assert_held(run_strategy(Hasty(), seed=3))
    assert "not_enough_balance" in codes


# Hooks fail in test_simulation, conversions in test_sim_conversions.
@pytest.mark.parametrize("kind", [k for k in Fault if not k.startswith(("hook_", "convert_"))])
def test_every_kind_of_fault_happens(kind: Fault) -> None:
    """Each kind alone, made likely, happens, and everything holds all the same."""
    faults = Faults({kind}, seed=1, rates={kind: 0.3})
    if kind in {Fault.STORE_ROT, Fault.STORE_LOST}:
        # Files rot while no process runs.
        faults = Faults({kind, Fault.KILL}, seed=1, rates={kind: 1.0, Fault.KILL: 0.1})
    venue = SimVenue(1, faults=faults)
    result = run_strategy(
        Taker(), Quoter(), series="btc-updown-5m", cycles=6, venue=venue, on_error="skip_cycle"
    )
    assert_held(result)
    assert result.faults[kind] > 0


def test_a_failed_check_fails_the_test() -> None:
    """The assertion names what did not hold and tells the last steps; others say what is missing."""
    broken = run_strategy(Quoter(), venue=Forgetful())
    assert {violation.invariant for violation in broken.violations} == {Invariant.VENUE_CASH}
    with pytest.raises(AssertionError, match="venue_cash: we have 1000 USD") as caught:
        assert_books_add_up(broken)
    assert "switch to btc-updown-15m" in str(caught.value)
    for check in (assert_isolated, assert_no_leaks):
        with pytest.raises(AssertionError, match="the run ended early"):
            check(broken)


class Forgetful(SimVenue):
    """A venue whose account loses a cent in the end."""

    async def fetch_resolution(self, market: object) -> object:  # type: ignore[override]
        self.account.cash -= Decimal("0.01")
        return await super().fetch_resolution(market)  # type: ignore[arg-type]
