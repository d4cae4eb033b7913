"""Ends at every moment: Ctrl-C anywhere, twice, during the clean-up; errors on the boundary."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any

import pytest
from attrs import define

from polyframe.clock import VirtualClock
from polyframe.counters import Count
from polyframe.environment import Environment
from polyframe.errors import StrategyFailed
from polyframe.exchange.base import PlaceAnswer, PreparedOrder
from polyframe.model.events import CycleEndReason, PriceChanged, StreamState
from polyframe.model.market import Market, Outcome
from polyframe.model.order import OrderStatus, PlaceResult
from polyframe.model.series import Series, Window
from polyframe.strategy import Strategy
from polyframe.tasks import see_through
from polyframe.trader import Trader, TraderSettings
from polyframe.trading.snapshotstore import MemoryStore
from tests.support.fake import START, FakeExchange, FakeStream, make_market, trade_report
from tests.support.stage import Diary, Recorder, Stage, play, settle

FIRST, SECOND, THIRD = (make_market(start=START + i * 900) for i in range(3))


@define
class Rests(Strategy):
    """Leaves an order, and notes how its cycles end."""

    async def on_cycle_start(self) -> None:
        await self.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        self.env.get(Diary).seen.append((self.market.generation, "end", reason))
        await asyncio.sleep(0.5)
        await self.trading.cancel_all()


async def cancelled_after(
    iterations: int, then: int | None, exchange: FakeExchange, clock: VirtualClock
) -> tuple[bool, list[str]]:
    """Run a program and cancel it after some turns of the loop, and perhaps once more.

    Returns:
        Whether it had ended by itself before, and the names of the tasks that are left.
    """

    async def program() -> None:
        async with Environment(exchange, clock=clock) as env:
            env.provide(Diary())
            trader = Trader(env, TraderSettings(cancel_on_exit=True))
            trader.add(Rests(), on="btc-updown-15m")
            await trader.run(cycles=2)

    before = asyncio.all_tasks()
    main = asyncio.create_task(program())
    for turns in (iterations, then):
        for _ in range(turns or 0):
            await asyncio.sleep(0)
            # Time moves on as well, or nothing but the first instant would be tried.
            if main.done():
                return True, []
        if turns is not None:
            main.cancel()
    async with asyncio.timeout(30):
        await asyncio.wait({main})
    await settle()
    assert main.cancelled()
    return False, sorted(t.get_name() for t in asyncio.all_tasks() - before - {main})


@pytest.mark.parametrize("then", [None, 1, 3])
def test_ctrl_c_at_every_turn_of_the_loop(then: int | None) -> None:
    """Whenever a program is cancelled, once or twice, it ends in time and leaves nothing open."""
    for iterations in range(1, 120):
        exchange = FakeExchange()
        clock = VirtualClock(START + 899.9)
        ended, left = clock.run(cancelled_after(iterations, then, exchange, clock))
        if ended:
            assert iterations > 40
            return
        assert left == [], (iterations, left)
        assert all(stream.closed for stream in exchange.all_streams), iterations
        if then is None and exchange.placed:
            done = {order.venue_id for order in exchange.placed}
            assert done == set(exchange.cancelled), iterations


def test_the_first_ctrl_c_during_the_end_waits_for_it() -> None:
    """One cancellation while strategies clean up lets them finish; it is raised afterwards."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=1))
        await stage.env.clock.sleep_until(START + 900.2)
        assert ("end", CycleEndReason.BOUNDARY) in stage.diary.of(START)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert ["0xorder1"] == exchange.cancelled
        assert all(stream.closed for stream in exchange.all_streams)

    play(act, Rests(), exchange=exchange)


def test_closing_the_environment_survives_one_ctrl_c() -> None:
    """A cancellation in ``__aexit__`` waits until stream and exchange are closed."""
    clock = VirtualClock(START)
    exchange = FakeExchange()

    async def main() -> None:
        async def program() -> None:
            async with Environment(exchange, clock=clock):
                pass

        task = asyncio.create_task(program())
        while exchange.user is None or not exchange.user.closed:  # noqa: ASYNC110 - turn by turn
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert exchange.closed

    clock.run(main())


def test_a_failure_while_opening_closes_what_was_open() -> None:
    """When the balance cannot be read, the stream and the exchange are closed again."""

    class Broke(FakeExchange):
        async def fetch_balance(self) -> Decimal:
            msg = "no balance"
            raise RuntimeError(msg)

    clock = VirtualClock(START)
    exchange = Broke()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="no balance"):
            async with Environment(exchange, clock=clock):
                pass
        assert exchange.closed
        assert exchange.user is not None
        assert exchange.user.closed

    clock.run(main())


def test_one_that_fails_to_close_does_not_keep_the_others_open() -> None:
    """An exception of the user stream's close still closes the exchange."""

    class Sticky(FakeStream):
        async def close(self) -> None:
            await super().close()
            msg = "stuck"
            raise OSError(msg)

    class Venue(FakeExchange):
        def user_stream(self, sink: Any) -> FakeStream:
            def up() -> None:
                stream.state(StreamState.CONNECTED)

            stream = Sticky(sink, up)
            return stream

    clock = VirtualClock(START)
    exchange = Venue()

    async def main() -> None:
        with pytest.raises(OSError, match="stuck"):
            async with Environment(exchange, clock=clock):
                pass
        assert exchange.closed

    clock.run(main())


def test_cancel_on_exit_does_not_wait_for_a_strategy_that_hangs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The cancels go out first: a hook that hangs up to the deadline does not cost them."""

    @define
    class Hangs(Strategy):
        async def on_cycle_start(self) -> None:
            await self.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))

        async def on_cycle_end(self, reason: CycleEndReason) -> None:
            await asyncio.Event().wait()

    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run())
        await stage.env.clock.sleep(5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert ["0xorder1"] == exchange.cancelled

    settings = TraderSettings(cancel_on_exit=True, cycle_end_timeout=9, shutdown_timeout=2)
    with caplog.at_level(logging.ERROR):
        play(act, Hangs(), exchange=exchange, settings=settings)
    assert f"given up: end of {FIRST.slug}; orders still open: none" in caplog.text


def test_a_request_that_hangs_is_named_and_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """An order whose answer never comes is named at the end, and its task does not live on."""

    class Deaf(FakeExchange):
        async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
            self.placed.append(prepared)
            await asyncio.Event().wait()
            raise AssertionError

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run())
        await stage.env.clock.sleep(5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("place ")]

    with caplog.at_level(logging.ERROR):
        play(act, Rests(), exchange=Deaf())
    assert f"place {FIRST.slug}-1; orders still open: {FIRST.slug}-1" in caplog.text


def test_a_window_slept_through_is_skipped() -> None:
    """A session that was prepared for a window that is over is closed and starts nothing."""

    class Sleepy(VirtualClock):
        jumped = False

        def time(self) -> float:
            now = super().time()
            # The lid is closed after the second market was prepared, for a little over a window.
            return now + (1000 if now > START + 870 else 0)

    clock = Sleepy(START)
    exchange = FakeExchange()

    async def main() -> list[str]:
        async with Environment(exchange, clock=clock) as env:
            diary = Diary()
            env.provide(diary)
            trader = Trader(env)
            trader.add(Recorder(), on="btc-updown-15m")
            await trader.run(cycles=2)
            return [value for _, kind, value in diary.seen if kind == "start"]

    assert [FIRST.slug, THIRD.slug] == clock.run(main())
    assert all(stream.closed for stream in exchange.all_streams)


def test_a_clock_that_was_wrong_for_a_moment_leads_into_no_cycle_twice() -> None:
    """It is set forward beyond the next window, and right again before another one is chosen."""
    exchange = FakeExchange()

    class Wrong(VirtualClock):
        def time(self) -> float:
            now = super().time()
            streams = exchange.all_streams
            is_right = now <= START + 870 or (len(streams) > 1 and streams[1].closed)
            return now if is_right else now + 1000

        async def sleep_until(self, when: float) -> None:
            while (left := when - self.time()) > 0:
                await self.sleep(min(left, 5.0))

    clock = Wrong(START)

    async def main() -> list[str]:
        async with Environment(exchange, clock=clock) as env:
            diary = Diary()
            env.provide(diary)
            trader = Trader(env)
            trader.add(Recorder(), on="btc-updown-15m")
            await trader.run(cycles=2)
            return [value for _, kind, value in diary.seen if kind == "start"]

    assert [FIRST.slug, SECOND.slug] == clock.run(main())


def test_a_market_that_is_found_while_the_clock_is_set_back_begins_at_its_start() -> None:
    """The clock was ahead and ended the cycle before; the next one waits until it is its turn again."""
    exchange = FakeExchange()
    exchange.missing = {SECOND.slug}

    class Wrong(VirtualClock):
        ahead = 0.0

        def time(self) -> float:
            return super().time() + self.ahead

        async def sleep_until(self, when: float) -> None:
            while (left := when - self.time()) > 0:
                await self.sleep(min(left, 5.0))

    clock = Wrong(START)

    async def main() -> None:
        async with Environment(exchange, clock=clock) as env:
            env.provide(Diary())
            trader = Trader(env)
            trader.add(Recorder(), on="btc-updown-15m")
            trading = asyncio.create_task(trader.run(cycles=2))
            await asyncio.sleep(860)
            clock.ahead = 50.0
            await asyncio.sleep(10)
            assert trader.session("btc-updown-15m") is None
            clock.ahead = 0.0
            exchange.missing.clear()
            await asyncio.sleep(28)
            assert any(slug == SECOND.slug for slug, when in exchange.lookups if when > START + 870)
            assert trader.session("btc-updown-15m") is None
            await asyncio.sleep(10)
            session = trader.session("btc-updown-15m")
            assert session is not None
            assert session.slug == SECOND.slug
            await trading

    clock.run(main())


@pytest.mark.parametrize("since", [300, 850], ids=["long before", "when it is prepared"])
def test_a_cycle_that_was_over_for_a_moment_stays_over(since: int) -> None:
    """A restored cycle that the settlement has begun to settle is not traded on, nor begun anew."""
    exchange, store = FakeExchange(), MemoryStore()

    class Wrong(VirtualClock):
        def time(self) -> float:
            now, task = super().time(), asyncio.current_task()
            is_settling = task is not None and task.get_name().startswith("settle ")
            return now + 2000 if is_settling and START + since < now < START + since + 40 else now

        async def sleep_until(self, when: float) -> None:
            while (left := when - self.time()) > 0:
                await self.sleep(min(left, 5.0))

    async def run(clock: VirtualClock, cycles: int) -> list[str]:
        async with Environment(exchange, clock=clock, snapshots=store) as env:
            diary = Diary()
            env.provide(diary)
            trader = Trader(env)
            trader.add(Rests(), on="btc-updown-15m")
            trader.add(Recorder(), on="btc-updown-15m")
            trading = asyncio.create_task(trader.run(cycles))
            await asyncio.wait({trading}, timeout=20.0 if cycles == 1 else None)
            trading.cancel()
            await asyncio.wait({trading})
            return [value for _, kind, value in diary.seen if kind == "start"]

    ahead = VirtualClock(START + 1000)
    assert [SECOND.slug] == ahead.run(run(ahead, 1))
    right = Wrong(START + 200)
    assert [FIRST.slug, THIRD.slug] == right.run(run(right, 2))


def test_a_defect_behind_the_seam_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception of the lookup is logged, counted and tried again; others go on."""

    class Buggy(FakeExchange):
        failures = 2

        async def fetch_market(self, series: Series, window: Window) -> Market | None:
            if series.asset == "eth" and self.failures:
                self.failures -= 1
                raise KeyError("conditionId")
            return await super().fetch_market(series, window)

    async def act(stage: Stage) -> None:
        stage.trader.add(Recorder(), on="eth-updown-15m")
        await stage.trader.run(cycles=1)
        assert 2 == stage.env.counters.get(Count.MARKET_WAITS, "error")
        assert 2 == len([1 for _, kind, _ in stage.diary.seen if kind == "start"])

    with caplog.at_level(logging.ERROR):
        play(act, exchange=Buggy())
    assert "KeyError" in caplog.text


def test_a_run_that_failed_just_before_the_boundary_cleans_up_in_its_own_session() -> None:
    """Its on_cycle_end can still read the session's last prices after the switch."""

    @define
    class Fails(Strategy):
        async def run(self) -> None:
            await self.clock.sleep_until(self.market.window.end - 0.001)
            msg = "no luck"
            raise ValueError(msg)

        async def on_cycle_end(self, reason: CycleEndReason) -> None:
            await asyncio.sleep(1)
            price = self.session.price(Outcome.UP).bid
            self.env.get(Diary).seen.append((self.market.generation, "price", price))

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=2))
        await stage.env.clock.sleep_until(START + 910)
        assert [("price", Decimal("0.49"))] == stage.diary.of(START)
        run.cancel()
        await asyncio.wait({run})

    play(act, Fails())


def test_the_policy_holds_in_on_cycle_end() -> None:
    """A clean-up that raises stops the trader if the policy says so."""

    @define
    class Fails(Strategy):
        async def on_cycle_end(self, reason: CycleEndReason) -> None:
            msg = "no luck"
            raise ValueError(msg)

    async def act(stage: Stage) -> None:
        with pytest.raises(StrategyFailed, match="on_cycle_end"):
            await stage.trader.run(cycles=3)
        # The first cycle's clean-up stopped the run; the second cycle had begun by then.
        assert 2 == stage.env.counters.get(Count.STRATEGY_ERRORS, "on_cycle_end")

    play(act, Fails(), on_error="raise")


def test_a_task_that_never_began_leaves_no_warning() -> None:
    """Spawned in the very instant in which the cycle ends, a coroutine is closed quietly."""

    @define
    class Spawns(Strategy):
        async def on_price(self, event: PriceChanged) -> None:
            self.spawn(self._work(), "work")

        async def _work(self) -> None:
            await asyncio.sleep(1)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        run = stage.trader._desks[Series.parse(stage.series)].runs[0]
        run.spawn(asyncio.sleep(1), "late")
        await run.end(CycleEndReason.BOUNDARY, timeout=1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play(act, Spawns())
        gc.collect()


def test_a_fill_that_overtakes_a_refusal_is_believed() -> None:
    """An order that has filled is returned, whatever the answer said of it."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_place = asyncio.get_running_loop().create_future()
        exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "unknown", "odd")]
        trading = stage.trading.handle("me")
        placing = asyncio.create_task(
            trading.buy(Outcome.UP, price=Decimal("0.50"), size=Decimal(10))
        )
        await settle()
        stage.env.router.on_user_message(trade_report(FIRST, "t", "0xorder1"))
        exchange.hold_place.set_result(None)
        assert OrderStatus.FILLED is (await placing).status

    play(act, exchange=exchange)


def test_a_cancel_does_not_overtake_its_order() -> None:
    """A cancel that is asked for while the order is under way is sent after its answer."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_place = asyncio.get_running_loop().create_future()
        trading = stage.trading.handle("me")
        placing = asyncio.create_task(
            trading.buy(Outcome.UP, price=Decimal("0.40"), size=Decimal(10))
        )
        await settle()
        cancelling = asyncio.create_task(trading.cancel(trading.orders()[0]))
        await settle()
        assert [] == exchange.cancelled
        exchange.hold_place.set_result(None)
        assert OrderStatus.CANCELLED is (await cancelling).status
        await placing

    play(act, exchange=exchange)


def test_see_through_raises_what_its_task_raised() -> None:
    """An exception of the task is the caller's; without one and without a cancel nothing is raised."""

    async def fails() -> None:
        msg = "no"
        raise ValueError(msg)

    async def works() -> None:
        await asyncio.sleep(1)

    def run(coro: Coroutine[Any, Any, None]) -> None:
        VirtualClock().run(see_through(coro, "x"))

    run(works())
    with pytest.raises(ValueError, match="no"):
        run(fails())
