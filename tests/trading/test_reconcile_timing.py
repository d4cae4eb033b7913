"""When the venue is compared with, and that a comparison ends with its cycle."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from polyframe.counters import Count
from polyframe.errors import (
    ExchangeUnavailable,
    RateLimited,
    StaleCycleError,
)
from polyframe.exchange.base import UserSink
from polyframe.model.events import OrderReport, StreamState
from polyframe.model.market import Market
from polyframe.model.order import OrderStatus
from tests.support.fake import (
    START,
    FakeExchange,
    FakeStream,
    order_report,
    trade_report,
)
from tests.support.stage import Stage, play, settle
from tests.trading.reconcile_kit import (
    FIRST,
    LOST,
    ON_DEMAND,
    SECOND,
    buy,
    lose,
    now,
    reports,
)

# ------------------------------------------------------------------ when


def test_the_timer_is_faster_while_orders_are_open() -> None:
    """Every 30 s when nothing is open, within 3 s of an order, every 3 s while one is open."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert 1 == exchange.looks
        await stage.env.clock.sleep(29.9)
        assert 1 == exchange.looks
        await stage.env.clock.sleep(0.2)
        assert 2 == exchange.looks
        await buy(stage)
        await stage.env.clock.sleep(3.1)
        assert 3 == exchange.looks
        await stage.env.clock.sleep(30)
        assert 13 == exchange.looks
        await stage.trading.handle("Recorder").cancel_all()
        await stage.env.clock.sleep(60)
        assert 15 == exchange.looks

    play(act, exchange=exchange)


def test_failures_are_repeated_with_growing_pauses() -> None:
    """After 3, 6, 12 and 24 s, then every 30 s; said once; and as usual again when it answers."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.look_error = ExchangeUnavailable("away")
        await stage.trading.reconcile()
        exchange.looks = 0
        await stage.env.clock.sleep(3 + 6 + 12 + 24 + 30 + 30 + 1)
        assert 6 == exchange.looks
        exchange.look_error = None
        await stage.env.clock.sleep(30)
        assert 7 == exchange.looks
        await stage.env.clock.sleep(30)
        assert 8 == exchange.looks

    play(act, exchange=exchange)


def test_a_venue_that_asks_for_a_pause_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    """After a refusal for its rate the next comparison waits as long as the venue says."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.look_error = RateLimited("slow down", retry_after=77.0)
        await stage.trading.reconcile()
        exchange.look_error = None
        exchange.looks = 0
        await stage.env.clock.sleep(76.5)
        assert 0 == exchange.looks
        await stage.env.clock.sleep(1)
        assert 1 == exchange.looks

    with caplog.at_level(logging.WARNING):
        play(act, exchange=exchange)
    assert 1 == caplog.text.count("slow down")


@pytest.mark.parametrize("reason", ["", "overflow"])
def test_a_gap_of_the_stream_is_filled_at_once(reason: str) -> None:
    """When the account's stream is back, or its full queue is empty, what it missed is fetched."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.trades = [trade_report(FIRST, "t1", order.venue_id)]
        assert exchange.user is not None
        exchange.user.state(StreamState.LOST, reason or "closed")
        await settle()
        assert OrderStatus.LIVE is now(stage, order).status
        exchange.user.state(StreamState.CONNECTED, reason)
        await settle()
        assert OrderStatus.FILLED is now(stage, order).status
        assert [reason or "connected"] == [report.trigger for report in reports(stage)]

    play(act, exchange=exchange)


def test_a_cancel_that_was_not_done_is_looked_into() -> None:
    """A refused cancel says little, so a second later it is found out what became of the order."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.trades = [trade_report(FIRST, "t1", order.venue_id)]
        exchange.cancel_refused = {order.venue_id: "already canceled or matched"}
        after = await stage.trading.handle("Recorder").cancel(order)
        assert OrderStatus.LIVE is after.status
        await stage.env.clock.sleep(1.5)
        assert OrderStatus.FILLED is now(stage, order).status

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_many_lost_answers_do_not_make_many_questions() -> None:
    """Comparisons that nobody asked for keep a distance; one serves all that are due."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.answers, exchange.accepts_lost = [LOST] * 4, True
        for _ in range(4):
            await lose(stage)
            await stage.env.clock.sleep(0.01)
        exchange.looks = 0
        await stage.env.clock.sleep(10)
        assert 3 <= exchange.looks <= 6

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_those_who_ask_while_one_runs_share_the_next() -> None:
    """A comparison that began before the question is no answer to it; one more serves all who wait."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.looks = 0
        first_hold = exchange.hold_look = asyncio.get_running_loop().create_future()
        first = asyncio.create_task(stage.trading.reconcile("first"))
        await settle()
        second = asyncio.create_task(stage.trading.reconcile("second"))
        third = asyncio.create_task(stage.trading.reconcile("third"))
        await settle()
        assert 1 == exchange.looks
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        first_hold.set_result(None)
        exchange.hold_look = None
        assert ("first", 0) == ((await first).trigger, (await first).listed)
        assert await second == await third
        assert ("second", 1) == ((await second).trigger, (await second).listed)
        assert 2 == exchange.looks

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_caller_that_gives_up_does_not_end_the_comparison() -> None:
    """It goes on for the others."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_look = asyncio.get_running_loop().create_future()
        impatient = asyncio.create_task(stage.trading.reconcile())
        patient = asyncio.create_task(stage.trading.reconcile())
        await settle()
        impatient.cancel()
        await settle()
        exchange.hold_look.set_result(None)
        assert "" == (await patient).error

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_without_an_account_nothing_is_asked() -> None:
    """Where there are no credentials, there is nothing to compare."""

    class Anonymous(FakeExchange):
        def user_stream(self, sink: UserSink) -> FakeStream:
            return None  # type: ignore[return-value]

    exchange = Anonymous()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.env.clock.sleep(100)
        assert 0 == exchange.looks

    play(act, exchange=exchange)


def test_a_defect_does_not_end_the_comparing(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody expected is logged and counted, and it is tried again."""

    class Odd(FakeExchange):
        async def fetch_trades(self, market: Market | None = None, after: int | None = None) -> Any:
            if self.looks == 2:
                msg = "a defect"
                raise RuntimeError(msg)
            return await super().fetch_trades(market, after)

    exchange = Odd()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.env.clock.sleep(30.5)
        assert 2 == exchange.looks
        assert 1 == stage.env.counters.get(Count.RECONCILES, "failed")
        await stage.env.clock.sleep(3)
        assert 3 == exchange.looks
        exchange.looks = 1
        with pytest.raises(RuntimeError, match="a defect"):
            await stage.trading.reconcile()

    with caplog.at_level(logging.ERROR):
        play(act, exchange=exchange)
    assert "a defect" in caplog.text


def test_trades_of_long_before_the_window_are_read() -> None:
    """A market trades from its minting on: what was matched hours before the window is learned of."""
    exchange = FakeExchange()
    early = trade_report(FIRST, "early", "0xearly")
    early = msgspec.structs.replace(early, match_time_ms=(START - 7200) * 1000)
    exchange.trades.append(early)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert [fill.trade_id for fill in stage.trading.snapshot().fills] == ["early"]

    play(act, exchange=exchange)


def test_a_long_answer_does_not_hold_up_others() -> None:
    """Between every few reports that are applied the event loop serves who waits."""
    exchange = FakeExchange()
    seen: list[int] = []

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        for number in range(200):
            exchange.known[f"0x{number}"] = order_report(FIRST, f"0x{number}")
        asking = asyncio.create_task(stage.trading.reconcile())
        while not asking.done():
            seen.append(len(stage.trading.snapshot().orders))
            await asyncio.sleep(0)
        assert 200 == len(stage.trading.snapshot().orders)

    play(act, exchange=exchange, reconcile=ON_DEMAND)
    assert 20 >= max(after - before for before, after in pairwise(seen))


# ------------------------------------------------------------------ the switch


def test_a_comparison_ends_with_its_cycle() -> None:
    """At the switch it is cancelled, whoever waits is told, and no task of it is left."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_look = asyncio.get_running_loop().create_future()
        asking = asyncio.create_task(stage.trading.reconcile())
        await settle()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        await stage.open_cycle(START + 900)
        with pytest.raises(StaleCycleError, match="reconcile"):
            await asking
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert [f"reconcile {SECOND.slug}"] == [n for n in names if n == f"reconcile {SECOND.slug}"]
        assert not [name for name in names if "reconcile" in name and FIRST.slug in name]
        stage.scheduler.switch(None)
        await stage.trading.wait_idle()
        with pytest.raises(StaleCycleError, match="reconcile"):
            await stage.trading.reconcile()
        assert not [task for task in asyncio.all_tasks() if "reconcile" in task.get_name()]

    play(act, exchange=exchange)


def test_a_view_that_comes_after_the_switch_does_not_reach_the_new_cycle() -> None:
    """Even if a request cannot be cancelled, its answer ends at the gate of its own session."""

    class Stubborn(FakeExchange):
        release: asyncio.Event
        is_stubborn = False

        async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
            if self.is_stubborn:
                self.is_stubborn = False
                while not self.release.is_set():
                    try:
                        await self.release.wait()
                    except asyncio.CancelledError:
                        continue
                return list(self.known.values())
            return await super().fetch_open_orders(market)

    exchange = Stubborn()

    async def act(stage: Stage) -> None:
        exchange.release = asyncio.Event()
        notes: list[Any] = []
        await stage.open_cycle()
        exchange.answers = [LOST]
        await lose(stage)
        exchange.query_error = ExchangeUnavailable("away")
        await stage.env.clock.sleep(10)
        exchange.query_error = None
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        exchange.trades = [trade_report(FIRST, "t1", "0xforeign")]
        exchange.is_stubborn = True
        asking = asyncio.create_task(stage.trading.reconcile())
        await stage.env.clock.sleep(60)
        session = await stage.prepare(START + 900)
        stage.scheduler.switch(session)
        await settle()
        stage.env.ledger.note = (  # type: ignore[method-assign]
            lambda kind, data, market=None: notes.append((kind, data))
        )
        exchange.release.set()
        await asyncio.wait({asking})
        await stage.env.clock.sleep(1)
        assert () == stage.trading.snapshot().orders
        assert () == stage.trading.snapshot().fills
        assert [] == reports(stage, START + 900)
        assert stage.env.counters.get(Count.GATE_DROPPED, "closed") >= 2
        assert {} == stage.trading.record().refusals  # type: ignore[union-attr]
        assert 1 == stage.env.counters.get(Count.ENGINE_STALE, "ApplyPlaceAnswer")
        assert [] == [data for kind, data in notes if kind == "reconcile"]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_the_barrier_does_not_wait_for_a_comparison() -> None:
    """With a comparison that hangs the switch happens in the same instant."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_look = asyncio.get_running_loop().create_future()
        asking = asyncio.create_task(stage.trading.reconcile())
        await settle()
        session = await stage.prepare(START + 900)
        stage.scheduler.switch(session)
        assert SECOND == stage.trading.market
        await asyncio.wait({asking})

    play(act, exchange=exchange, reconcile=ON_DEMAND)
