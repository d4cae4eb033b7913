"""The barrier: whatever comes whenever, a new cycle sees exactly its own events."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.counters import Count, Counters
from polyframe.model.events import BookSnapshot, OrderChanged, PriceChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.session import ExchangeSession
from tests.support.fake import (
    START,
    FakeExchange,
    make_market,
    order_report,
    snapshot,
    trade_report,
)
from tests.support.stage import Stage, play, settle

OLD = make_market(start=START)
NEW = make_market(start=START + 900)
FOREIGN = make_market("eth-updown-15m")
STEPS = ("gate", "reset", "route", "detach", "start", "open")

PLACES = ("unprepared", "prepared", *STEPS, "later")
"""Where an event may come in: before the new session exists, before the barrier, after each step."""

KINDS = ("price", "order", "trade")
SOURCES = ("old", "foreign", "no_asset", "new")

events = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(KINDS), st.sampled_from(SOURCES)),
    max_size=40,
)


class Injector:
    """Puts generated events where they belong, each with a number of its own."""

    def __init__(self, stage: Stage, plan: list[tuple[str, str, str]]) -> None:
        self.stage = stage
        self.plan = [(place, kind, source, i) for i, (place, kind, source) in enumerate(plan)]
        self.prices: list[tuple[Outcome, Decimal]] = []
        self.new_events: list[tuple[str, str]] = []
        self.user_sent = 0
        self.market_sent = 0
        self.old: ExchangeSession | None = None
        self.new: ExchangeSession | None = None

    def at(self, place: str) -> None:
        for where, kind, source, number in self.plan:
            if where == place:
                if kind == "price":
                    self._price(source, number)
                else:
                    self._user(kind, source, number)

    def _price(self, source: str, number: int) -> None:
        # A price of its own for each event: 0.01 … 0.40, so that orders of delivery show.
        bid = 100 * (number + 1)
        outcome = Outcome.UP if number % 2 else Outcome.DOWN
        if source == "old":
            # Straight into the old session, as a read that was under way would.
            target, message = self.old, snapshot(OLD, outcome, bid, bid + 100)
        elif self.new is None:
            return
        else:
            target = self.new
            market = FOREIGN if source == "foreign" else NEW
            message = snapshot(market, outcome, bid, bid + 100)
            if source == "no_asset":
                message = BookSnapshot(NEW.condition_id, "", message.bids, message.asks)
        assert target is not None
        self.market_sent += 1
        if source == "new":
            self.prices.append((outcome, Decimal(number + 1) / 100))
        target.on_market_message(message)

    def _user(self, kind: str, source: str, number: int) -> None:
        market = {"old": OLD, "foreign": FOREIGN}.get(source, NEW)
        changes: dict[str, Any] = {"token": ""} if source == "no_asset" else {}
        if source == "new" and self.new is None:
            return  # nobody can know of a market that is not prepared: see the test on its own
        self.user_sent += 1
        router = self.stage.env.router
        if kind == "order":
            router.on_user_message(order_report(market, f"0x{number}", **changes))
        else:
            report = trade_report(market, f"t{number}", f"0x{number}")
            if source == "no_asset":
                report = type(report)(
                    trade_id=report.trade_id,
                    market=report.market,
                    token="",
                    status=report.status,
                    legs=report.legs,
                )
            router.on_user_message(report)
        if source == "new":
            self.new_events.append((kind, f"0x{number}" if kind == "order" else f"t{number}"))


def total(counters: Counters, name: Count, *reasons: str) -> int:
    """Return the sum of some reasons of a counter."""
    return sum(counters.get(name, reason) for reason in reasons)


async def live_through(stage: Stage, plan: list[tuple[str, str, str]]) -> Injector:
    """Switch from the old cycle to the new one with the planned events in between."""
    injector = Injector(stage, plan)
    injector.old = await stage.open_cycle(START)
    before = {(n, r): c for n, r, c in stage.env.counters}
    injector.at("unprepared")
    injector.new = await stage.prepare(START + 900)
    injector.at("prepared")
    names = []
    for step in stage.scheduler.switch_steps(injector.new):
        names.append(step)
        injector.at(step)
    assert list(STEPS) == names
    await settle()
    injector.at("later")
    await settle()
    for (name, reason), count in before.items():
        stage.env.counters.add(name, reason, -count)
    return injector


@settings(max_examples=300, deadline=None)
@given(events)
def test_a_new_cycle_sees_exactly_its_own_events(plan: list[tuple[str, str, str]]) -> None:
    """Own events arrive once and in order, foreign ones never, and every one is accounted for."""

    async def act(stage: Stage) -> None:
        injector = await live_through(stage, plan)
        generation = NEW.generation

        # Orders and trades: exactly those of the cycle, in the order in which they came.
        seen = []
        for kind, event in stage.diary.of(generation, "order", "trade"):
            if isinstance(event, TradeChanged):
                seen.append((kind, event.fill.trade_id))
                assert NEW.slug == event.fill.slug
            elif event.order.venue_id not in _traded(injector):
                seen.append((kind, event.order.venue_id))
                assert (NEW.slug, Outcome.UP) == (event.order.slug, event.order.outcome)
        expected = list(injector.new_events)
        assert expected == seen

        # Prices: in order, none twice, and the last of each outcome is the last that came.
        for outcome in Outcome:
            sent = [Decimal("0.49")] + [p for o, p in injector.prices if o is outcome]
            got = [
                e.bid
                for _, e in stage.diary.of(generation, "price")
                if isinstance(e, PriceChanged) and e.outcome is outcome
            ]
            assert sent[-1] == got[-1]
            rest: Iterator[Decimal | None] = iter(sent)
            assert all(price in rest for price in got), (sent, got)

        # Nothing of the new cycle reached the old one.
        for _, event in stage.diary.of(OLD.generation, "order", "trade"):
            assert isinstance(event, OrderChanged | TradeChanged)
            assert OLD.slug == event.order.slug

        counters = stage.env.counters
        accounted = (
            total(counters, Count.GATE_PASSED, "order", "trade")
            + counters.get(Count.ROUTER_SETTLEMENT)
            + counters.get(Count.ROUTER_DROPPED)
        )
        assert injector.user_sent == accounted
        market_accounted = (
            counters.get(Count.GATE_PASSED, "book")
            + counters.get(Count.GATE_DROPPED)
            # The two snapshots of the fake venue's new stream.
            - 2
        )
        assert injector.market_sent == market_accounted

    play(act)


def _traded(injector: Injector) -> set[str]:
    """Order ids that only a trade spoke of: their birth is not an event of the plan."""
    return {f"0x{number}" for _, kind, _, number in injector.plan if kind == "trade"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", SOURCES)
def test_each_event_at_each_step(place: str, kind: str, source: str) -> None:
    """One event of every kind and source at every step ends where the design says."""

    async def act(stage: Stage) -> None:
        injector = await live_through(stage, [(place, kind, source)])
        counters = stage.env.counters
        to_new = list(stage.diary.of(NEW.generation, kind))
        if kind == "price":
            to_new = [e for e in to_new if e[1].bid != Decimal("0.49")]
        if source == "new" and (injector.new_events or injector.prices):
            assert len(to_new) == 1
        else:
            assert to_new == []
        if source == "no_asset" and kind != "price":
            assert 1 == counters.get(Count.ROUTER_DROPPED, "no_asset")
        if source == "foreign" and kind != "price":
            assert 1 == counters.get(Count.ROUTER_DROPPED, "foreign")
        if source == "old" and kind == "price":
            after_detach = place in (*STEPS[3:], "later")
            assert int(after_detach) == counters.get(Count.GATE_DROPPED, "closed")
        if source == "old" and kind != "price":
            handed_over = place in (*STEPS, "later")
            assert int(handed_over) == counters.get(Count.ROUTER_SETTLEMENT, kind)

    play(act)


def test_events_of_an_unknown_market_are_counted_not_lost_silently() -> None:
    """An event for the next market before anybody prepared it is counted as foreign."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle(START)
        stage.env.router.on_user_message(order_report(NEW, "0x1"))

        assert 1 == stage.env.counters.get(Count.ROUTER_DROPPED, "foreign")

    play(act)


def test_the_switch_awaits_nothing() -> None:
    """The barrier is one piece: no task runs between its first and its last step."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle(START)
        new = await stage.prepare(START + 900)
        seen = len(stage.diary.seen)
        stage.env.router.on_user_message(order_report(OLD, "0x1"))

        stage.scheduler.switch(new)

        assert seen == len(stage.diary.seen)
        assert stage.scheduler.session is new
        assert NEW.generation == stage.trading.generation

    play(act)


def test_reset_comes_before_any_event_of_the_new_cycle() -> None:
    """Events parked for the new session are applied to the new engine state, not the old one."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle(START)
        new = await stage.prepare(START + 900)
        stage.env.router.on_user_message(order_report(NEW, "0x7"))
        assert 1 == stage.env.counters.get(Count.ROUTER_PARKED, "prepared")

        stage.scheduler.switch(new)

        assert ["0x7"] == [order.venue_id for order in stage.trading.snapshot().orders]

    play(act)


def test_a_prepared_session_that_is_never_used_gives_its_parked_events_back() -> None:
    """Stopping with a prepared session counts what was parked for it and closes its stream."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle(START)
        await stage.prepare(START + 900)
        stage.env.router.on_user_message(order_report(NEW, "0x1"))

        await stage.scheduler.stop()

        assert 1 == stage.env.counters.get(Count.ROUTER_DROPPED, "abandoned")
        assert exchange.streams[NEW.slug].closed

    play(act, exchange=exchange)
