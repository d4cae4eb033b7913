"""The risk guard at work: through the service, with an exchange in memory."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from decimal import Decimal
from typing import Any

import attrs
import pytest
from attrs import define, field

from polyframe.counters import Count
from polyframe.errors import (
    OrderDenied,
    OrderError,
    OrderOutcomeUnknown,
    OrderRejected,
    StaleCycleError,
)
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import PriceChanged, StreamState
from polyframe.model.market import Outcome
from polyframe.model.order import OrderStatus, OrderType, PlaceResult
from polyframe.strategy import Strategy
from polyframe.trading.handle import StrategyTrading
from polyframe.trading.ledger import CycleStatus
from polyframe.trading.limits import RiskLimits
from tests.support.fake import START, FakeExchange, make_market, snapshot, trade_report
from tests.support.stage import Recorder, Stage, play, settle

FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
TEN = Decimal(10)
UP, DOWN = Outcome.UP, Outcome.DOWN
FORTY = Decimal("0.40")
RESTARTING = PlaceAnswer(PlaceResult.REJECTED, "restarting", "back in a moment")


async def handle(stage: Stage) -> StrategyTrading:
    """Open a cycle and return a strategy's handle in it."""
    await stage.open_cycle()
    return stage.trading.handle("me")


async def denied(stage: Stage, trading: StrategyTrading, rule: str, **order: Any) -> str:
    """Ask for an order that `rule` forbids; return the message."""
    sent = len(stage.exchange.placed)
    with pytest.raises(OrderDenied) as caught:
        wanted: dict[str, Any] = {"outcome": UP, "price": FORTY, "size": TEN} | order
        await trading.buy(**wanted)
    assert caught.value.rule == rule
    assert len(stage.exchange.placed) == sent
    return str(caught.value)


async def bought(stage: Stage, trading: StrategyTrading, outcome: Outcome = UP) -> None:
    """Buy ten shares at 0.50."""
    order = await trading.buy(outcome, price=Decimal("0.50"), size=TEN)
    market = stage.session.market
    trade = trade_report(market, f"t{order.venue_id}", order.venue_id, outcome)
    stage.env.router.on_user_message(trade)


# ------------------------------------------------------------------ why did it not trade


def test_every_refusal_is_counted_in_its_own_cycle() -> None:
    """The record of a cycle tells what was refused in it and why; the next begins with nothing."""
    exchange = FakeExchange()
    exchange.answers = [
        PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no money"),
        PlaceAnswer(PlaceResult.REJECTED, "fak_not_filled", "killed"),
    ]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        for price in ("0.405", "0.405", "0.001"):
            with pytest.raises(OrderDenied):
                await trading.buy(UP, price=Decimal(price), size=TEN)
        with pytest.raises(OrderRejected):
            await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        await trading.buy(UP, price=Decimal("0.40"), size=TEN, order_type=OrderType.FAK)
        expected = {"tick": 2, "price": 1, "venue:not_enough_balance": 1}
        record = stage.trading.record()
        assert record is not None
        assert expected == record.refusals
        await stage.open_cycle(START + 900)
        record = stage.trading.record()
        assert record is not None
        assert {} == record.refusals
        dead = stage.env.ledger.get(FIRST.slug)
        assert dead is not None
        assert expected == dead.refusals
        with pytest.raises(OrderDenied):
            await stage.trading.cancel(FIRST, "nothing")
        state = stage.env.settlement.state(FIRST.slug)
        assert state is not None
        assert expected | {"unknown_order": 1} == state.refusals
        assert record.refusals == {}

    play(act, exchange=exchange)


def test_a_late_refusal_is_counted_in_the_cycle_that_asked() -> None:
    """A rejection that comes after the switch belongs to the dead cycle's refusals."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "market_not_ready", "closed")]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.buy(UP, price=Decimal("0.40"), size=TEN))
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_place.set_result(None)
        with pytest.raises(StaleCycleError):
            await placing
        state = stage.env.settlement.state(FIRST.slug)
        assert state is not None
        assert {"venue:market_not_ready": 1} == state.refusals
        record = stage.trading.record()
        assert record is not None
        assert {} == record.refusals

    play(act, exchange=exchange)


def test_a_denial_by_risk_is_counted_and_costs_nothing() -> None:
    """It has a rule like every denial: an error, a count, a refusal of its cycle; nothing is signed."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await denied(stage, trading, "risk_order_notional", size=Decimal(2501))
        assert stage.env.counters.get(Count.ORDERS_DENIED, "risk_order_notional") == 1
        record = stage.trading.record()
        assert record is not None
        assert {"risk_order_notional": 1} == record.refusals
        assert stage.env.account.reserved == 0
        order = await trading.buy(UP, price=FORTY, size=TEN)
        assert order.venue_id == "0xorder1", "the denied order was prepared"

    play(act)


# ------------------------------------------------------------------ states


def test_a_halt_stops_everything_but_cancels() -> None:
    """After halt() no order leaves, also none that reduces; cancels do; resume() ends it."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await bought(stage, trading)
        order = await trading.buy(UP, price=FORTY, size=TEN)
        stage.env.risk.halt("fire")
        assert "fire" in await denied(stage, trading, "risk_halted")
        with pytest.raises(OrderDenied, match="risk_halted"):
            await trading.sell(UP, price=Decimal("0.60"), size=TEN)
        assert OrderStatus.CANCELLED is (await trading.cancel(order)).status
        await stage.open_cycle(START + 900)
        await denied(stage, stage.trading.handle("me"), "risk_halted")
        stage.env.risk.resume()
        await stage.trading.handle("me").buy(UP, price=FORTY, size=TEN)

    play(act)


def test_a_pause_lets_risks_be_reduced() -> None:
    """After pause() held shares can be sold and pairs completed, and nothing else be bought."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await bought(stage, trading)
        stage.env.risk.pause("news")
        assert "news" in await denied(stage, trading, "risk_reducing")
        await denied(stage, trading, "risk_reducing", outcome=DOWN, size=Decimal(11))
        await trading.buy(DOWN, price=FORTY, size=Decimal(5))
        await trading.sell(UP, price=Decimal("0.60"), size=Decimal(5))
        await denied(stage, trading, "risk_reducing", outcome=DOWN, size=Decimal(5))

    play(act)


# ------------------------------------------------------------------ cycles


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        ({"max_cycle_notional": Decimal(5)}, "risk_cycle_notional"),
        ({"max_position": Decimal(15)}, "risk_position"),
        ({"max_open_orders": 1}, "risk_open_orders"),
    ],
)
def test_cycle_limits_begin_anew_with_each_cycle(limits: dict[str, Any], rule: str) -> None:
    """What one cycle used up the next has again, also while old orders are still open."""

    async def act(stage: Stage) -> None:
        for start in (START, START + 900):
            await stage.open_cycle(start)
            trading = stage.trading.handle("me")
            await trading.buy(UP, price=FORTY, size=TEN)
            await denied(stage, trading, rule)

    play(act, risk=RiskLimits(**limits))


def test_a_cancel_makes_room() -> None:
    """What a cancelled order would have cost counts no longer."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        order = await trading.buy(UP, price=FORTY, size=TEN)
        await denied(stage, trading, "risk_cycle_notional")
        await trading.cancel(order)
        await trading.buy(UP, price=FORTY, size=TEN)

    play(act, risk=RiskLimits(max_cycle_notional=Decimal(5)))


def test_run_limits_hold_over_cycles_and_series() -> None:
    """What an earlier cycle spent is spent for the run, and so is what another series bids."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await trading.buy(UP, price=FORTY, size=TEN)
        await stage.open_cycle(START + 900)
        await stage.trading.handle("me").buy(UP, price=FORTY, size=TEN)
        stage.trader.add(Recorder(), on="eth-updown-15m")
        other = stage.trader._desks[next(s for s in stage.trader.series if s.asset == "eth")]
        scheduler = stage.trader._scheduler(other)
        scheduler.switch(await scheduler._prepare(make_market("eth-updown-15m").window))
        eth = other.trading.handle("me")
        await eth.buy(UP, price=FORTY, size=TEN)
        with pytest.raises(OrderDenied, match="risk_run_notional"):
            await eth.buy(UP, price=FORTY, size=TEN)

    play(act, risk=RiskLimits(max_run_notional=Decimal(14)))


def test_results_come_from_the_ledger() -> None:
    """A resolved cycle's profit reaches the loss limits; entries end, reducing orders do not."""
    exchange = FakeExchange()
    exchange.winner = DOWN

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await bought(stage, trading)
        await stage.open_cycle(START + 900)
        trading = stage.trading.handle("me")
        await bought(stage, trading)
        assert stage.env.risk.losing_cycles == 0
        await stage.env.clock.sleep_until(START + 1000)
        record = stage.env.ledger.get(FIRST.slug)
        assert record is not None
        assert CycleStatus.RESOLVED is record.status
        assert record.profit is not None
        assert record.profit < -5
        assert stage.env.risk.profit == record.profit
        assert stage.env.risk.losing_cycles == 1
        stage.exchange.streams[SECOND.slug].push(snapshot(SECOND, UP))
        await denied(stage, trading, "risk_run_loss")
        await trading.sell(UP, price=FORTY, size=TEN)

    play(act, exchange=exchange, risk=RiskLimits(max_run_loss=Decimal(5)))


def test_cycles_lost_in_a_row_stop_entries_until_resumed() -> None:
    """The row is counted over cycles, and resume() lets the strategy try again."""
    exchange = FakeExchange()
    exchange.winner = DOWN

    async def act(stage: Stage) -> None:
        for number in range(2):
            await stage.open_cycle(START + 900 * number)
            await bought(stage, stage.trading.handle("me"))
        await stage.open_cycle(START + 1800)
        await stage.env.clock.sleep_until(START + 2000)
        market = stage.session.market
        stage.exchange.streams[market.slug].push(snapshot(market, UP))
        trading = stage.trading.handle("me")
        assert "2 cycles" in await denied(stage, trading, "risk_losing_cycles")
        stage.env.risk.resume()
        await trading.buy(UP, price=FORTY, size=TEN)

    play(act, exchange=exchange, risk=RiskLimits(max_losing_cycles=2))


def test_a_loss_within_the_cycle_stops_its_entries() -> None:
    """Shares sold for less than they cost count at once, and the next cycle begins at nothing."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await bought(stage, trading)
        order = await trading.sell(UP, price=FORTY, size=TEN)
        await trading.buy(UP, price=FORTY, size=TEN)
        leg = {"price": Decimal("0.10"), "side": order.side, "is_taker": False}
        stage.env.router.on_user_message(trade_report(FIRST, "t9", order.venue_id, **leg))  # type: ignore[arg-type]
        # 10 × 0.40 and the fee of the buy, 10 × 0.07 × 0.25.
        assert "4.175" in await denied(stage, trading, "risk_cycle_loss")
        await stage.open_cycle(START + 900)
        await stage.trading.handle("me").buy(UP, price=FORTY, size=TEN)

    play(act, risk=RiskLimits(max_cycle_loss=Decimal(4)))


# ------------------------------------------------------------------ time and book


def test_entries_have_a_window() -> None:
    """None right after the start, none right before the end; leaving is possible at any time."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await denied(stage, trading, "risk_entry_window")
        await stage.env.clock.sleep_until(START + 10)
        await bought(stage, trading)
        await stage.env.clock.sleep_until(START + 881)
        assert "19.0 s before the end" in await denied(stage, trading, "risk_entry_window")
        await trading.sell(UP, price=Decimal("0.60"), size=TEN)

    play(act, risk=RiskLimits(entry_after=10.0, entry_before_end=20.0, max_book_age=None))


def test_a_stale_book_admits_no_entries() -> None:
    """A minute without a change of that outcome's book is too long by default; a change ends it."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await stage.env.clock.sleep(60.5)
        assert "60.5 s" in await denied(stage, trading, "risk_book_age")
        stage.exchange.streams[FIRST.slug].push(snapshot(FIRST, DOWN))
        await denied(stage, trading, "risk_book_age")
        stage.exchange.streams[FIRST.slug].push(snapshot(FIRST, UP))
        await trading.buy(UP, price=FORTY, size=TEN)

    play(act)


@pytest.mark.parametrize("age", [60.0, None])
def test_an_unknown_book_admits_no_entries(age: float | None) -> None:
    """While the connection is lost nothing is bought blindly, unless the age does not matter."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await bought(stage, trading)
        stage.exchange.streams[FIRST.slug].state(StreamState.LOST, "test")
        if age is None:
            await trading.buy(UP, price=FORTY, size=TEN)
        else:
            await denied(stage, trading, "risk_book_unknown")
        await trading.sell(UP, price=Decimal("0.60"), size=TEN)

    play(act, risk=RiskLimits(max_book_age=age, max_spread=None))


def test_a_wide_spread_admits_no_entries() -> None:
    """The difference of ask and bid counts; a side that is missing counts as the end of the scale."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        stream = stage.exchange.streams[FIRST.slug]
        for bid, ask, is_wide in (
            (4000, 5000, False),
            (3900, 5000, True),
            (0, 1000, False),
            (0, 1100, True),
            (9000, 10_000, False),
            (8900, 10_000, True),
        ):
            stream.push(snapshot(FIRST, UP, bid, ask))
            if is_wide:
                await denied(stage, trading, "risk_spread", price=Decimal("0.30"))
            else:
                await trading.buy(UP, price=Decimal("0.30"), size=TEN)

    play(act, risk=RiskLimits(max_spread=Decimal("0.1")))


# ------------------------------------------------------------------ pace


@define
class RunsAway(Strategy):
    """Buys as fast as it can, on every price and for ever."""

    errors: dict[str, int] = field(factory=dict)

    async def run(self) -> None:
        while True:
            try:
                await self.trading.buy(UP, price=Decimal("0.10"), size=TEN)
            except OrderError as error:
                self.env.get(dict).setdefault(str(error).split("'")[1], self.clock.time())
                await self.clock.sleep(0.05)


def test_a_loop_that_runs_away_is_stopped_by_default() -> None:
    """The pace slows it at once, the number of open orders stops it for the rest of the cycle."""

    async def act(stage: Stage) -> None:
        first_denied: dict[str, float] = {}
        stage.env.provide(first_denied)
        await stage.open_cycle()
        limits = RiskLimits()
        assert len(stage.exchange.placed) <= limits.order_burst
        await stage.env.clock.sleep(30)
        assert first_denied["risk_rate"] == START
        assert list(first_denied)[1] == "risk_open_orders"
        assert len(stage.exchange.placed) == limits.max_open_orders

    play(act, RunsAway())


def test_an_order_that_the_engine_denies_uses_nothing_up() -> None:
    """Only what leaves takes from the pace."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await denied(stage, trading, "cash", size=Decimal(2450))
        await trading.buy(UP, price=FORTY, size=TEN)
        await denied(stage, trading, "risk_rate")
        await stage.env.clock.sleep(1.1)
        await trading.buy(UP, price=FORTY, size=TEN)

    play(act, risk=RiskLimits(max_orders_per_second=1.0, order_burst=1))


# ------------------------------------------------------------------ breaker


def test_trouble_at_the_venue_stops_entries_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Five errors in a row open the breaker, over cycles; then one order tries, and closes it."""
    exchange = FakeExchange()
    exchange.answers = [RESTARTING] * 5

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        for number in range(5):
            if number == 3:
                await stage.open_cycle(START + 900)
                trading = stage.trading.handle("me")
            with pytest.raises(OrderRejected, match="restarting"):
                await trading.buy(UP, price=FORTY, size=TEN)
        assert "5 venue errors" in await denied(stage, trading, "risk_breaker")
        await stage.env.clock.sleep(29.5)
        await denied(stage, trading, "risk_breaker")
        await stage.env.clock.sleep(0.6)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        trying = asyncio.create_task(trading.buy(UP, price=FORTY, size=TEN))
        await settle()
        await denied(stage, trading, "risk_breaker")
        exchange.hold_place.set_result(None)
        await trying
        await trading.buy(UP, price=FORTY, size=TEN)

    with caplog.at_level(logging.WARNING, logger="polyframe.trading.sending"):
        play(act, exchange=exchange)
    told = [line.split(": ", 1)[1] for line in caplog.messages if "breaker" in line]
    assert told == ["the breaker is open (back in a moment)", "the breaker is closed ()"]


def test_refusals_by_rule_never_open_the_breaker() -> None:
    """Orders that the venue refuses for a reason of their own may go on for ever."""
    exchange = FakeExchange()
    exchange.answers = [
        PlaceAnswer(PlaceResult.REJECTED, code, "no")
        for code in ("not_enough_balance", "tick_size", "fok_not_filled", "min_size") * 5
    ]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        for _ in range(20):
            try:
                await trading.buy(UP, price=FORTY, size=TEN)
            except OrderRejected:
                continue
        await trading.buy(UP, price=FORTY, size=TEN)

    play(act, exchange=exchange)


def test_a_late_answer_tells_of_the_venue_too() -> None:
    """Answers that come after the switch count for the breaker like any other."""
    exchange = FakeExchange()
    exchange.answers = [RESTARTING]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.buy(UP, price=FORTY, size=TEN))
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_place.set_result(None)
        with pytest.raises(StaleCycleError):
            await placing
        await denied(stage, stage.trading.handle("me"), "risk_breaker")

    play(act, exchange=exchange, risk=RiskLimits(breaker_errors=1))


# ------------------------------------------------------------------ intents


def test_an_intent_is_sent_once() -> None:
    """While the first order of an intent is under way or open, a second one is not sent."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        first = asyncio.create_task(trading.buy(UP, price=FORTY, size=TEN, intent="dip"))
        await settle()
        await denied(stage, trading, "duplicate_intent", intent="dip")
        exchange.hold_place.set_result(None)
        order = await first
        assert order.intent == "dip"
        await stage.env.clock.sleep(10)
        await denied(stage, trading, "duplicate_intent", intent="dip")
        await stage.trading.handle("you").buy(UP, price=FORTY, size=TEN, intent="dip")
        await trading.cancel(order)
        await trading.buy(UP, price=FORTY, size=TEN, intent="dip")
        await denied(stage, trading, "duplicate_intent", intent="dip")
        await stage.open_cycle(START + 900)
        await stage.trading.handle("me").buy(UP, price=FORTY, size=TEN, intent="dip")
        assert stage.env.counters.get(Count.ORDERS_DENIED, "duplicate_intent") == 3

    play(act, exchange=exchange)


def test_intents_of_sells_count_too() -> None:
    """A strategy that leaves in a panic sells once."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await bought(stage, trading)
        await trading.sell(UP, price=Decimal("0.60"), size=Decimal(5), intent="out")
        with pytest.raises(OrderDenied, match="duplicate_intent"):
            await trading.sell(UP, price=Decimal("0.60"), size=Decimal(5), intent="out")

    play(act)


@pytest.mark.parametrize(
    ("answer", "is_free"),
    [
        (PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no"), True),
        (PlaceAnswer(PlaceResult.REJECTED, "fak_not_filled", "killed"), True),
        (PlaceAnswer(PlaceResult.UNKNOWN, "no_answer", "time-out"), False),
    ],
)
def test_an_intent_is_free_again_when_nothing_came_of_it(
    answer: PlaceAnswer, is_free: bool
) -> None:
    """A refused or killed order may be tried again at once, a lost one may not; no breaker hears."""
    exchange = FakeExchange()
    exchange.answers = [answer]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        order = {"price": FORTY, "size": TEN, "order_type": OrderType.FAK, "intent": "dip"}
        with suppress(OrderRejected, OrderOutcomeUnknown):
            await trading.buy(UP, **order)  # type: ignore[arg-type]
        if is_free:
            await trading.buy(UP, **order)  # type: ignore[arg-type]
        else:
            for _ in range(10):
                await denied(stage, trading, "duplicate_intent", intent="dip")
            await trading.buy(UP, price=FORTY, size=TEN)

    play(act, exchange=exchange, risk=attrs.evolve(RiskLimits(), breaker_errors=2))


def test_prices_reach_strategies_whatever_the_guard_says() -> None:
    """A halt stops orders, not the world: strategies go on seeing prices."""

    @define
    class Watches(Strategy):
        async def on_price(self, event: PriceChanged) -> None:
            self.env.get(list).append(event.outcome)

    async def act(stage: Stage) -> None:
        seen: list[Outcome] = []
        stage.env.provide(seen)
        stage.env.risk.halt("test")
        await stage.open_cycle()
        assert seen == [UP, DOWN]

    play(act, Watches())
