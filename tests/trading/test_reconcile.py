"""Comparing with the venue: what was missed is applied, what cannot be known is said."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import define
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from polyframe.counters import Count
from polyframe.errors import (
    ConfigError,
    ExchangeUnavailable,
    OrderRejected,
)
from polyframe.exchange.base import PlaceAnswer, PreparedOrder
from polyframe.model.events import OrderEventKind, OrderReport
from polyframe.model.market import Market
from polyframe.model.order import Order, OrderStatus, PlaceResult
from polyframe.trading.reconcile import ReconcileSettings
from tests.support.fake import (
    START,
    FakeExchange,
    order_report,
    trade_report,
)
from tests.support.stage import Stage, play, settle
from tests.trading.reconcile_kit import (
    FEE,
    FIRST,
    LOST,
    ON_DEMAND,
    PRICE,
    SECOND,
    UP,
    buy,
    lose,
    now,
    orders_of,
    reports,
)

# ------------------------------------------------------------------ what is found


def test_a_missed_fill_is_applied_once() -> None:
    """A trade that the stream lost comes through the gate, to engine and strategy, and only once."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.trades = [trade_report(FIRST, "t1", order.venue_id)]
        del exchange.known[order.venue_id]
        report = await stage.trading.reconcile()
        assert (report.trades, report.orders, report.differs) == (("t1",), (), True)
        assert OrderStatus.FILLED is now(stage, order).status
        assert Decimal(1000) - 5 - FEE == stage.env.account.cash
        again = await stage.trading.reconcile()
        assert (again.trades, again.orders, again.differs) == ((), (), False)
        await settle()
        kinds = [kind for kind, _ in stage.diary.of(START, "order", "trade", "reconcile")]
        assert kinds[-3:] == ["trade", "order", "reconcile"]
        assert [report] == reports(stage)
        assert [] == exchange.queried
        assert 1 == stage.env.counters.get(Count.RECONCILE_REPAIRS, "trade")

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_an_order_that_the_venue_ended_is_asked_for() -> None:
    """It is not listed, so it is asked for by its id, and what the venue says of it is applied."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.end(order.venue_id)
        report = await stage.trading.reconcile()
        assert (order.client_id,) == report.orders
        assert [order.venue_id] == exchange.queried
        assert OrderStatus.CANCELLED is now(stage, order).status
        assert 0 == stage.env.account.reserved

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_absence_alone_proves_nothing() -> None:
    """An order that lived and is neither listed nor known stays open, and that is told once."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        del exchange.known[order.venue_id]
        await stage.env.clock.sleep(100)
        report = await stage.trading.reconcile()
        assert {order.client_id: "live here, not known there"} == report.unresolved
        assert OrderStatus.LIVE is now(stage, order).status
        assert stage.env.account.reserved > 0
        assert report.differs
        assert not (await stage.trading.reconcile()).differs

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_failed_question_leaves_the_order_as_it_is() -> None:
    """If the venue does not answer for one order, that order is unresolved; the rest is applied."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        gone, filled = await buy(stage), await buy(stage)
        exchange.end(gone.venue_id)
        del exchange.known[filled.venue_id]
        exchange.trades = [trade_report(FIRST, "t1", filled.venue_id)]
        exchange.query_error = ExchangeUnavailable("away")
        report = await stage.trading.reconcile()
        assert {gone.client_id: "not listed, and asking for it failed: away"} == report.unresolved
        assert [OrderStatus.LIVE, OrderStatus.FILLED] == [
            now(stage, order).status for order in (gone, filled)
        ]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


@pytest.mark.parametrize("failing", ["look_error", "trades_error"])
def test_half_a_view_changes_nothing(failing: str) -> None:
    """If orders or trades cannot be had, nothing of the other is applied, and the report says why."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        before = stage.trading.snapshot()
        exchange.change(order.venue_id, size_matched=Decimal(4), kind=OrderEventKind.UPDATE)
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        exchange.trades = [trade_report(FIRST, "t1", order.venue_id)]
        setattr(exchange, failing, ExchangeUnavailable("page 2 is missing"))
        report = await stage.trading.reconcile()
        assert ("page 2 is missing", False) == (report.error, report.differs)
        assert before == stage.trading.snapshot()
        assert [] == reports(stage)
        assert 1 == stage.env.counters.get(Count.RECONCILES, "failed")

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_balance_that_cannot_be_had_is_half_a_view() -> None:
    """The cash belongs to the view: without it nothing is applied either."""

    class Broke(FakeExchange):
        reads = 0

        async def fetch_balance(self) -> Decimal:
            self.reads += 1
            if self.reads > 1:
                msg = "no balance"
                raise ExchangeUnavailable(msg)
            return await super().fetch_balance()

    exchange = Broke()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        assert "no balance" == (await stage.trading.reconcile()).error
        assert () == stage.trading.snapshot().orders

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_an_order_that_fills_between_two_questions_is_not_missed() -> None:
    """Trades are asked for after orders: a fill in between is in the second answer at the latest."""

    class Quick(FakeExchange):
        async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
            found = await super().fetch_open_orders(market)
            for venue_id in list(self.known):
                self.trades.append(trade_report(FIRST, "t1", venue_id))
                del self.known[venue_id]
            return found

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        assert ("t1",) == (await stage.trading.reconcile()).trades
        assert OrderStatus.FILLED is now(stage, order).status

    play(act, exchange=Quick(), reconcile=ON_DEMAND)


@pytest.mark.parametrize("policy", ["report", "leave"])
def test_a_refused_order_that_rests_all_the_same_is_cancelled(policy: Any) -> None:
    """The venue's word was wrong, or was misread: an order that is over here is ended there as well."""
    settings = ReconcileSettings(open_interval=1e6, idle_interval=1e6, foreign_orders=policy)

    class Liar(FakeExchange):
        async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
            await super().place_order(prepared)
            return PlaceAnswer(PlaceResult.REJECTED, "rate_limited", "Too Many Requests")

    exchange = Liar()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        with pytest.raises(OrderRejected) as caught:
            await buy(stage)
        order = caught.value.order
        assert order is not None
        # A list may be older than an order's end: once proves nothing.
        first = await stage.trading.reconcile()
        assert (False, (), []) == (first.differs, first.cancelled, exchange.cancelled)
        second = await stage.trading.reconcile()
        assert (order.venue_id,) == second.cancelled
        assert [order.venue_id] == exchange.cancelled
        assert "rejected here, open there" in second.unresolved[order.client_id]
        assert not (await stage.trading.reconcile()).cancelled

    play(act, exchange=exchange, reconcile=settings)


def test_the_gate_holds_for_answers_too() -> None:
    """What is answered for another market or without asset id is dropped, counted, and not cancelled."""

    class Careless(FakeExchange):
        async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
            return [order_report(SECOND, "0xother"), order_report(FIRST, "0xnone", token="")]

    exchange = Careless()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert () == (await stage.trading.reconcile()).foreign
        assert () == stage.trading.snapshot().orders
        assert {"foreign_token": 2, "no_asset": 2} == stage.env.counters.reasons(Count.GATE_DROPPED)
        assert [] == exchange.cancelled

    play(act, exchange=exchange, reconcile=ReconcileSettings(foreign_orders="cancel"))


# ------------------------------------------------------------------ foreign orders


@pytest.mark.parametrize("policy", ["report", "cancel", "leave"])
def test_foreign_orders_are_treated_by_policy(policy: Any) -> None:
    """They are named, cancelled as well, or left alone and unsaid; ours are never touched by it."""
    exchange = FakeExchange()
    settings = ReconcileSettings(open_interval=1e6, idle_interval=1e6, foreign_orders=policy)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        mine = await buy(stage)
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        report = await stage.trading.reconcile()
        assert 2 == report.listed
        told = policy != "leave"
        assert (("0xforeign",) if told else ()) == report.foreign
        assert (("0xforeign",) if policy == "cancel" else ()) == report.cancelled
        assert (["0xforeign"] if policy == "cancel" else []) == exchange.cancelled
        assert told is report.differs
        assert told is ("0xforeign" in orders_of(stage))
        assert OrderStatus.LIVE is now(stage, mine).status
        await settle()
        heard = [event.order.venue_id for _, event in stage.diary.of(START, "order")]
        assert told is ("0xforeign" in heard)

    play(act, exchange=exchange, reconcile=settings)


def test_a_strategy_adopts_what_nobody_here_placed() -> None:
    """The order becomes its own, with fills and reservation: it can sell and cancel what it brought."""
    exchange = FakeExchange()
    settings = ReconcileSettings(
        open_interval=1e6, idle_interval=1e6, foreign_orders="adopt", adopter="Recorder"
    )

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign", size_matched=Decimal(4))
        exchange.trades = [trade_report(FIRST, "t1", "0xforeign", size=Decimal(4))]
        account = stage.env.account
        before = account.cash
        report = await stage.trading.reconcile()
        assert (("0xforeign",), ("0xforeign",)) == (report.foreign, report.adopted)
        (order,) = stage.trading.handle("Recorder").open_orders()
        assert (OrderStatus.PARTIALLY_FILLED, Decimal(4)) == (order.status, order.filled)
        assert Decimal(4) == stage.trading.handle("Recorder").sellable(UP)
        paid = Decimal(2) + FIRST.fees.taker_fee(Decimal(4), PRICE)
        assert before - paid == account.cash
        assert Decimal(3) + FIRST.fees.taker_fee(Decimal(6), PRICE) == account.reserved
        again = await stage.trading.reconcile()
        assert ((), ()) == (again.foreign, again.adopted)
        done = await stage.trading.handle("Recorder").cancel(order)
        assert OrderStatus.CANCELLED is done.status
        assert Decimal(0) == account.reserved
        await settle()
        heard = [event.order.strategy for _, event in stage.diary.of(START, "order")]
        assert ["", "Recorder"] == list(dict.fromkeys(heard))

    play(act, exchange=exchange, reconcile=settings)


def test_who_is_not_mounted_adopts_nothing() -> None:
    """The order stays foreign, and is reported as before."""
    exchange = FakeExchange()
    settings = ReconcileSettings(
        open_interval=1e6, idle_interval=1e6, foreign_orders="adopt", adopter="Somebody"
    )

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        report = await stage.trading.reconcile()
        assert (("0xforeign",), ()) == (report.foreign, report.adopted)
        assert stage.trading.handle("Somebody").open_orders() == []

    play(act, exchange=exchange, reconcile=settings)


@pytest.mark.parametrize(
    "settings", [{"foreign_orders": "adopt"}, {"adopter": "Recorder"}], ids=["nobody", "no policy"]
)
def test_adoption_needs_a_name_and_a_name_needs_adoption(settings: dict[str, Any]) -> None:
    """The error names the field and what goes with it."""
    with pytest.raises(ConfigError, match="adopter: the name of the strategy"):
        ReconcileSettings(**settings)


# ------------------------------------------------------------------ the rule


@define
class Fate:
    """What happens to one order at the venue, and which events of it are lost."""

    is_lost: bool
    exists: bool
    fills: tuple[int, ...]
    ends: bool
    lost_events: tuple[bool, ...]


fates = st.builds(
    Fate,
    is_lost=st.booleans(),
    exists=st.booleans(),
    fills=st.lists(st.integers(1, 4), max_size=3).map(tuple),
    ends=st.booleans(),
    lost_events=st.lists(st.booleans(), min_size=5, max_size=5).map(tuple),
)


@examples(max_examples=150, deadline=None)
@given(st.lists(fates, min_size=1, max_size=5))
def test_after_a_comparison_the_engine_equals_the_venue(plan: list[Fate]) -> None:
    """Whatever answers and events were lost: each order has the venue's state and fills, exactly once."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        tell = stage.env.router.on_user_message
        orders: list[Order] = []
        for number, fate in enumerate(plan):
            exists = fate.exists or not fate.is_lost
            exchange.accepts_lost = fate.exists
            exchange.answers = [LOST] if fate.is_lost else []
            order = await (lose(stage) if fate.is_lost else buy(stage))
            orders.append(order)
            if not exists:
                continue
            done = 0
            events = iter(fate.lost_events)
            for size in fate.fills:
                size = min(size, 10 - done)
                done += size
                trade = trade_report(
                    FIRST, f"t{number}/{done}", order.venue_id, size=Decimal(size), is_taker=False
                )
                if size:
                    exchange.trades.append(trade)
                    exchange.change(
                        order.venue_id, size_matched=Decimal(done), kind=OrderEventKind.UPDATE
                    )
                    if not next(events):
                        tell(trade)
            if fate.ends and done < 10:
                report = exchange.end(order.venue_id)
                if not next(events):
                    tell(report)
        await stage.env.clock.sleep(6)
        for order, fate in zip(orders, plan, strict=True):
            after = now(stage, order)
            if fate.is_lost and not fate.exists:
                assert OrderStatus.REJECTED is after.status
                continue
            done = min(sum(fate.fills), 10)
            assert done == after.filled
            if done == 10:
                wanted = OrderStatus.FILLED
            elif fate.ends:
                wanted = OrderStatus.CANCELLED
            else:
                wanted = OrderStatus.PARTIALLY_FILLED if done else OrderStatus.LIVE
            assert wanted is after.status
        state = stage.trading.state(FIRST)
        assert state is not None
        assert sum(f.size for f in state.fills.values()) == state.position(UP).size
        assert len(state.fills) == len(exchange.trades)
        bought = sum((f.size * f.price for f in state.fills.values()), Decimal(0))
        assert Decimal(1000) - bought == stage.env.account.cash
        assert stage.env.account.reserved == state.reserved_cash
        assert len(plan) == len(exchange.placed)

    play(act, exchange=exchange)
