"""Hooks that hang, swallow, raise: one strategy's trouble is not the next cycle's, nor another's."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from attrs import define, field
from typing_extensions import override

from polyframe.counters import Count
from polyframe.definition import check_definition
from polyframe.environment import Environment
from polyframe.errors import (
    ConfigError,
    OrderDenied,
    PolyframeError,
    StaleCycleError,
    StrategyDefinitionError,
    StrategyFailed,
)
from polyframe.model.events import CycleEndReason, MarketTraded, PriceChanged, TradePrint
from polyframe.model.market import Outcome
from polyframe.model.order import OrderStatus
from polyframe.strategy import Strategy
from polyframe.strategyrun import MARKET_TRADES_KEPT, ErrorPolicy
from polyframe.trader import Trader, TraderSettings
from polyframe.trading.handle import HandleState
from tests.support.fake import START, FakeExchange, delta, make_market, order_report, trade_report
from tests.support.stage import Diary, Recorder, Stage, play, settle

FIRST, SECOND, THIRD = (make_market(start=START + i * 900) for i in range(3))


@define
class Hangs(Strategy):
    """Never comes back from one hook."""

    hook: str = "on_price"

    async def _hang(self, hook: str) -> None:
        if self.hook == hook:
            await asyncio.Event().wait()

    async def on_cycle_start(self) -> None:
        await self._hang("on_cycle_start")

    async def on_price(self, event: PriceChanged) -> None:
        await self._hang("on_price")

    async def run(self) -> None:
        await self._hang("run")

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        await self._hang("on_cycle_end")


@define
class Swallows(Strategy):
    """Ignores every cancellation until it is let go."""

    async def on_price(self, event: PriceChanged) -> None:
        release = self.env.get(Release)
        while not release.done:
            try:
                await release.wait()
            except asyncio.CancelledError:
                release.swallowed += 1


class Release:
    """Lets `Swallows` go, and counts what it ignored."""

    def __init__(self) -> None:
        self.swallowed = 0
        self._event = asyncio.Event()

    @property
    def done(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    def set(self) -> None:
        self._event.set()


@pytest.mark.parametrize("hook", ["on_cycle_start", "on_price", "run", "on_cycle_end"])
def test_a_hanging_hook_does_not_delay_the_next_cycle(hook: str) -> None:
    """The next cycle's first price comes at the boundary, though a hook of the old one hangs."""

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=2))
        await stage.env.clock.sleep_until(START + 900)
        await settle()
        seen = stage.diary.of(SECOND.generation)
        assert START + 900 == stage.env.clock.time()
        assert ["start", "price", "price"] == [k for k, _ in seen if k in ("start", "price")][:3]
        await run

    play(act, Hangs(hook), Recorder())


def test_a_hook_that_swallows_cancellation_is_abandoned_by_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A task that outlives its cycle's deadline is counted, named in the log, and in nobody's way."""

    async def act(stage: Stage) -> None:
        release = Release()
        stage.env.provide(release)
        run = asyncio.create_task(stage.trader.run(cycles=2))
        await stage.env.clock.sleep_until(START + 900)
        await settle()
        assert stage.diary.of(SECOND.generation, "price")
        await stage.env.clock.sleep(10)
        assert 1 == stage.env.counters.get(Count.TASKS_OVERDUE, "Swallows")
        assert release.swallowed >= 1
        release.set()
        await run
        assert 1 == stage.env.counters.get(Count.TASKS_OVERDUE, "Swallows")

    with caplog.at_level(logging.ERROR):
        play(act, Swallows(), Recorder())
    assert f"task 'Swallows/events@{FIRST.slug}' outlived its cycle" in caplog.text


@define
class Raises(Recorder):
    """Raises in one hook."""

    hook: str = "on_price"

    def _note(self, kind: str, value: Any) -> None:
        self.env.get(Diary).seen.append((self.market.generation, kind, value))
        if self.hook == {"start": "on_cycle_start", "price": "on_price", "order": "on_order"}.get(
            kind
        ):
            msg = "no luck"
            raise ValueError(msg)

    async def run(self) -> None:
        if self.hook == "run":
            msg = "no luck"
            raise ValueError(msg)


@pytest.mark.parametrize("hook", ["on_cycle_start", "on_price", "run", "on_order"])
def test_a_hook_that_raises_ends_its_cycle_and_starts_afresh(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With skip_cycle the failure is reported, on_cycle_end runs, the next cycle starts again."""

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=2))
        await stage.env.clock.sleep(10)
        stage.env.router.on_user_message(order_report(FIRST, "0x1"))
        await settle()
        count = len(stage.diary.of(FIRST.generation))
        assert ("end", CycleEndReason.ERROR) == stage.diary.of(FIRST.generation)[-1]
        stage.exchange.streams[FIRST.slug].push(delta(FIRST, Outcome.UP, 5000, 5, is_bid=True))
        await settle()
        assert count == len(stage.diary.of(FIRST.generation))
        await stage.env.clock.sleep_until(START + 910)
        assert ("start", SECOND.slug) in stage.diary.of(SECOND.generation)
        await run
        assert stage.env.counters.get(Count.STRATEGY_ERRORS, hook) >= 1

    with caplog.at_level(logging.WARNING):
        play(act, Raises(hook))
    assert f"strategy Raises failed in {hook}() on {FIRST.slug}: no luck" in caplog.text
    assert f"Raises sits out the rest of {FIRST.slug}; its next cycle begins afresh" in caplog.text


def test_halt_keeps_a_failed_strategy_out_of_later_cycles(caplog: pytest.LogCaptureFixture) -> None:
    """With halt the strategy does not start again, which is logged; the trader goes on."""

    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=2)
        assert stage.diary.of(FIRST.generation)
        assert not stage.diary.of(SECOND.generation)

    with caplog.at_level(logging.WARNING):
        play(act, Raises(), on_error="halt")
    assert (
        f"Raises sits out the rest of {FIRST.slug} and of the run (on_error: halt)" in caplog.text
    )


def test_raise_stops_the_trader_with_the_cause() -> None:
    """With raise, run() ends in StrategyFailed that names strategy and hook; others end properly."""

    async def act(stage: Stage) -> None:
        stage.trader.add(Recorder(), on=stage.series, name="other")
        with pytest.raises(StrategyFailed, match=r"'Raises' failed in on_price\(\)") as caught:
            await stage.trader.run()
        assert isinstance(caught.value.__cause__, ValueError)
        ends = [value for kind, value in stage.diary.of(FIRST.generation, "end")]
        assert [CycleEndReason.ERROR, CycleEndReason.SHUTDOWN] == ends

    play(act, Raises(), on_error="raise")


@pytest.mark.parametrize("policy", ["skip_cycle", "halt", "raise"])
def test_a_hook_that_calls_exit_stops_the_trader_in_order(policy: ErrorPolicy) -> None:
    """Whatever the policy: who wants the program to end is not traded on for, and others end properly."""

    @define
    class Exits(Recorder):
        async def on_price(self, event: PriceChanged) -> None:
            sys.exit("enough")

    async def act(stage: Stage) -> None:
        stage.trader.add(Recorder(), on=stage.series, name="other")
        with pytest.raises(StrategyFailed, match=r"'Exits' failed in on_price\(\)") as caught:
            await stage.trader.run()
        assert re.match(r"sys.exit\('enough'\) was called", str(caught.value.__cause__))
        ends = [value for kind, value in stage.diary.of(FIRST.generation, "end")]
        assert [CycleEndReason.ERROR, CycleEndReason.SHUTDOWN] == ends

    play(act, Exits(), on_error=policy)


class PanicError(BaseException):
    """What an extension in another language raises when it panics: no `Exception`."""


@define
class Panics(Recorder):
    """Panics at one place."""

    place: str

    def _panic(self, place: str) -> None:
        if self.place == place:
            raise PanicError(place)

    async def _boom(self) -> None:
        self._panic("task")

    async def on_cycle_start(self) -> None:
        await Recorder.on_cycle_start(self)
        self.spawn(self._boom(), "task")

    async def on_price(self, event: PriceChanged) -> None:
        self._panic("on_price")

    async def run(self) -> None:
        self._panic("run")


@pytest.mark.parametrize("place", ["task", "on_price", "run"])
def test_what_is_no_exception_ends_the_cycle_all_the_same(place: str) -> None:
    """A panic is told, counted and dealt with by policy, and the next cycle begins afresh."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle(FIRST.generation)
        assert {place: 1} == stage.env.counters.reasons(Count.STRATEGY_ERRORS)
        ends = [value for _, value in stage.diary.of(FIRST.generation, "end")]
        assert [CycleEndReason.ERROR] == ends
        await stage.open_cycle(SECOND.generation)
        assert {place: 2} == stage.env.counters.reasons(Count.STRATEGY_ERRORS)

    play(act, Panics(place))


class WordlessError(Exception):
    """Its class is wrong about its text, too."""

    @override
    def __str__(self) -> str:
        msg = "no words"
        raise RuntimeError(msg)


@define
class Wordless(Recorder):
    """Raises what cannot be told."""

    async def on_price(self, event: PriceChanged) -> None:
        raise WordlessError


@pytest.mark.parametrize("policy", ["skip_cycle", "halt", "raise"])
def test_an_error_that_has_no_text_is_dealt_with_all_the_same(policy: ErrorPolicy) -> None:
    """It ends the cycle by its policy and is told by its class, whatever its ``__str__`` does."""

    async def act(stage: Stage) -> None:
        if policy == "raise":
            with pytest.raises(StrategyFailed, match="on_price"):
                await stage.trader.run(cycles=2)
        else:
            await stage.trader.run(cycles=2)
        failed = stage.env.counters.get(Count.STRATEGY_ERRORS, "on_price")
        assert (2 if policy == "skip_cycle" else 1) == failed
        ends = [value for _, value in stage.diary.of(FIRST.generation, "end")]
        assert [CycleEndReason.ERROR] == ends

    play(act, Wordless(), on_error=policy)


@define
class Tiny(Strategy):
    """Orders what nobody may order."""

    async def on_price(self, event: PriceChanged) -> None:
        await self.trading.buy(Outcome.UP, price=Decimal("0.505"), size=Decimal(10))


def test_a_refused_order_that_nobody_catches_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """It says the rule and the numbers by itself, and the log adds the line; no traceback."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()

    with caplog.at_level(logging.ERROR):
        play(act, Tiny())
    (record,) = caplog.records
    assert record.exc_info is None
    assert re.search(
        r"strategy Tiny failed in on_price\(\) on \S+: order denied by rule 'tick': .*"
        r" \(test_strategies\.py, line \d+\)$",
        record.getMessage(),
    )


def test_one_strategys_failure_leaves_the_others_alone() -> None:
    """Another strategy of the same series goes on seeing prices after one failed."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        before = len(stage.diary.of(FIRST.generation, "price"))
        stage.exchange.streams[FIRST.slug].push(delta(FIRST, Outcome.UP, 5000, 5, is_bid=True))
        await settle()
        assert before + 1 == len(stage.diary.of(FIRST.generation, "price"))

    play(act, Raises("on_cycle_start"), Recorder())


@define
class Keeper(Strategy):
    """Leaves its context where the test finds it."""

    async def on_cycle_start(self) -> None:
        self.env.get(Diary).seen.append((self.market.generation, "self", self))

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        self.env.get(Diary).seen.append((self.market.generation, "end", self.trading.state))


def kept(stage: Stage, generation: int) -> Keeper:
    """Return the instance that ran in a cycle."""
    keeper = stage.diary.of(generation, "self")[0][1]
    assert isinstance(keeper, Keeper)
    return keeper


def test_every_call_through_a_dead_cycle_raises() -> None:
    """After its end, trading and session of the old instance raise StaleCycleError everywhere."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        old = kept(stage, FIRST.generation)
        order = await old.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))
        await stage.open_cycle(START + 900)
        await stage.env.clock.sleep(10)

        for call in (
            old.trading.orders,
            old.trading.open_orders,
            old.trading.fills,
            lambda: old.trading.position(Outcome.UP),
            lambda: old.trading.sellable(Outcome.UP),
            lambda: old.trading.price(Outcome.UP),
            lambda: old.trading.cash,
            lambda: old.session.price(Outcome.UP),
            lambda: old.session.book(Outcome.UP),
            lambda: old.session.tick_size(Outcome.UP),
            lambda: old.session.subscribe(None),  # type: ignore[arg-type]
        ):
            with pytest.raises(StaleCycleError):
                call()
        for coro in (
            old.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10)),
            old.trading.sell(Outcome.UP, price=Decimal("0.4"), size=Decimal(10)),
            old.trading.cancel(order),
            old.trading.cancel_all(),
        ):
            with pytest.raises(StaleCycleError):
                await coro
        with pytest.raises(StaleCycleError):
            old.spawn(asyncio.sleep(0))
        assert len(stage.exchange.placed) == 1

    play(act, Keeper())


def test_cancels_pass_while_closing_and_new_orders_do_not() -> None:
    """on_cycle_end can cancel what rests, though the new cycle is on; placing is refused."""

    @define
    class CleansUp(Strategy):
        async def on_cycle_start(self) -> None:
            await self.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))

        async def on_cycle_end(self, reason: CycleEndReason) -> None:
            diary = self.env.get(Diary)
            diary.seen.append((self.market.generation, "open", self.trading.open_orders()))
            cancelled = await self.trading.cancel_all()
            diary.seen.append((self.market.generation, "cancelled", cancelled))
            try:
                await self.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))
            except StaleCycleError as error:
                diary.seen.append((self.market.generation, "refused", error))

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        available = stage.env.account.available
        await stage.open_cycle(START + 900)
        await settle()

        old = dict(stage.diary.of(FIRST.generation))
        assert 1 == len(old["open"])
        assert [OrderStatus.CANCELLED] == [order.status for order in old["cancelled"]]
        assert "refused" in old
        # Cycle 1's order is released; cycle 2's holds as much again.
        assert available == stage.env.account.available
        assert ["0xorder1"] == stage.exchange.cancelled

    play(act, CleansUp())


def test_tasks_are_cancelled_in_the_order_in_which_they_were_begun() -> None:
    """What they do about it, cancelling orders perhaps, is then the same in each run of a simulation."""
    ended: list[int] = []

    @define
    class Busy(Strategy):
        async def on_cycle_start(self) -> None:
            for number in range(100):
                self.spawn(self._waits(number))

        async def _waits(self, number: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(number)

    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=1)

    play(act, Busy())
    assert ended == list(range(100))


def test_tasks_of_a_cycle_end_with_it() -> None:
    """spawn() and run() are cancelled at the boundary; nothing of them is left."""
    ended: list[str] = []

    @define
    class Busy(Strategy):
        async def on_cycle_start(self) -> None:
            self.spawn(self._forever("spawned"), "spawned")

        async def run(self) -> None:
            await self._forever("run")

        async def _forever(self, label: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(f"{label}@{self.market.generation}")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.open_cycle(START + 900)
        assert {f"run@{START}", f"spawned@{START}"} == set(ended)
        names = {task.get_name() for task in asyncio.all_tasks()}
        # Only the settlement side goes on with the old market.
        assert [f"settle {FIRST.slug}"] == [n for n in names if n.endswith(FIRST.slug)]
        assert f"Busy/spawned@{SECOND.slug}" in names
        assert {} == stage.env.counters.reasons(Count.TASKS_OVERDUE)

    play(act, Busy())


def test_an_exception_in_a_spawned_task_counts_like_one_in_a_hook() -> None:
    """A spawned task that raises ends the strategy's cycle by its policy."""

    @define
    class Spawns(Recorder):
        async def on_cycle_start(self) -> None:
            self.spawn(self._fail(), "background")

        async def _fail(self) -> None:
            msg = "broken"
            raise ValueError(msg)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert 1 == stage.env.counters.get(Count.STRATEGY_ERRORS, "background")
        assert [("end", CycleEndReason.ERROR)] == stage.diary.of(FIRST.generation, "end")

    play(act, Spawns())


def test_what_is_no_coroutine_cannot_be_spawned() -> None:
    """A method that was not called is refused with the fix, and nothing is started."""

    @define
    class Spawns(Recorder):
        async def on_cycle_start(self) -> None:
            uncalled: Any = self._watch
            nothing: Any = None
            with pytest.raises(TypeError, match=r"expected a coroutine, .*_watch.*; call it"):
                self.spawn(uncalled)
            with pytest.raises(TypeError, match=r"expected a coroutine, .* got None$"):
                self.spawn(nothing)
            assert 3 == await self.spawn(self._watch())
            self._note("start", "spawned")

        async def _watch(self) -> int:
            return 3

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert [("start", "spawned")] == stage.diary.of(FIRST.generation, "start")

    play(act, Spawns())


def test_a_cancellation_that_escapes_a_hook_is_an_error() -> None:
    """A CancelledError that nobody asked for does not end a strategy in silence."""

    @define
    class Escapes(Strategy):
        async def on_price(self, event: PriceChanged) -> None:
            task = asyncio.ensure_future(asyncio.Event().wait())
            task.cancel()
            await task

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert 1 == stage.env.counters.get(Count.STRATEGY_ERRORS, "on_price")

    play(act, Escapes())


@define
class CancelsItself(Strategy):
    """Cancels the task that it runs in, from one hook, in its first cycle."""

    hook: str = "on_price"
    awaits: bool = False

    async def _act(self, hook: str) -> None:
        self.env.get(Diary).seen.append((self.session.generation, hook, None))
        if hook == self.hook and self.session.generation == FIRST.generation:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if self.awaits:
                await asyncio.sleep(0)

    async def on_cycle_start(self) -> None:
        await self._act("on_cycle_start")

    async def run(self) -> None:
        await self._act("run")
        await asyncio.Event().wait()

    async def on_book(self, outcome: Outcome) -> None:
        await self._act("on_book")

    async def on_price(self, event: PriceChanged) -> None:
        await self._act("on_price")

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        self.env.get(Diary).seen.append((self.session.generation, "end", reason))


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("hook", ["on_cycle_start", "run", "on_book", "on_price"])
def test_a_hook_that_cancels_its_own_task_has_failed(hook: str, awaits: bool) -> None:
    """It would never be told of anything again: that is reported, and its next cycle is whole."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 1
        assert CycleEndReason.ERROR in dict(stage.diary.of(FIRST.generation)).values()
        session = await stage.open_cycle(START + 900)
        hooks = [kind for kind, _ in stage.diary.of(session.generation)]
        assert {"on_cycle_start", "run", "on_book", "on_price"} <= set(hooks)
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 1

    play(act, CancelsItself(hook, awaits))


@pytest.mark.parametrize("hook", ["on_cycle_start", "on_price", "run"])
def test_a_program_that_ends_around_its_trader_is_no_failure_of_a_strategy(hook: str) -> None:
    """Who leaves the event loop cancels each of its tasks: strategies end as in any shutdown."""

    async def act(stage: Stage) -> None:
        running = asyncio.create_task(stage.trader.run())
        await stage.env.clock.sleep(10)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.wait({running})
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 0
        assert [("end", CycleEndReason.SHUTDOWN)] == stage.diary.of(FIRST.generation, "end")

    play(act, Hangs(hook), Recorder())


def test_a_task_of_ones_own_may_be_cancelled() -> None:
    """What a strategy has spawned is its own: to cancel it is no failure."""

    @define
    class Spawns(Strategy):
        async def on_cycle_start(self) -> None:
            task = self.spawn(asyncio.Event().wait(), "waits")
            await asyncio.sleep(0)
            task.cancel()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 0

    play(act, Spawns())


def test_timeouts_and_task_groups_work_in_hooks() -> None:
    """A hook runs in a task of its strategy, so asyncio's own tools bind to the right one."""

    @define
    class UsesAsyncio(Strategy):
        async def on_price(self, event: PriceChanged) -> None:
            try:
                async with asyncio.timeout(5):
                    await asyncio.Event().wait()
            except TimeoutError:
                pass
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(1))
            self.env.get(Diary).seen.append((0, "done", event.outcome))

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.env.clock.sleep(60)
        assert [("done", Outcome.UP), ("done", Outcome.DOWN)] == stage.diary.of(0)

    play(act, UsesAsyncio())


def test_prices_are_merged_while_a_hook_runs() -> None:
    """A slow hook sees the latest price of each outcome next, and no backlog."""

    @define
    class Slow(Strategy):
        async def on_price(self, event: PriceChanged) -> None:
            self.env.get(Diary).seen.append((0, "price", (event.outcome, event.bid)))
            await asyncio.sleep(1)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        stream = stage.exchange.streams[FIRST.slug]
        for price in (4910, 4920, 4930):
            stream.push(delta(FIRST, Outcome.DOWN, price, 5, is_bid=True))
            stream.push(delta(FIRST, Outcome.UP, price + 5, 5, is_bid=True))
        await stage.env.clock.sleep(10)
        # The hook was in the first Up when all the rest came in; Down has its turn before Up again.
        expected = [
            (Outcome.UP, Decimal("0.49")),
            (Outcome.DOWN, Decimal("0.493")),
            (Outcome.UP, Decimal("0.4935")),
        ]
        assert expected == [value for _, value in stage.diary.of(0)]

    play(act, Slow())


def test_no_kind_of_event_starves_another() -> None:
    """With a hook slower than the market, both outcomes, books and trades all get their turns."""

    @define
    class Slow(Strategy):
        async def _note(self, kind: str) -> None:
            self.env.get(Diary).seen.append((0, kind, None))
            await asyncio.sleep(0.06)

        async def on_price(self, event: PriceChanged) -> None:
            await self._note(f"price {event.outcome}")

        async def on_book(self, outcome: Outcome) -> None:
            await self._note(f"book {outcome}")

        async def on_market_trade(self, event: MarketTraded) -> None:
            await self._note("market_trade")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        stream = stage.exchange.streams[FIRST.slug]
        for number in range(1500):
            price = 4900 + 10 * (number % 2)
            for outcome in Outcome:
                stream.push(delta(FIRST, outcome, 4910, 5 * (number % 2), is_bid=True))
            stream.push(TradePrint(FIRST.condition_id, FIRST.up_token, price, None, None))
            await stage.env.clock.sleep(0.04)
        kinds = [kind for kind, _ in stage.diary.of(0)]
        shares = {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)}
        assert {"price Up", "price Down", "book Up", "book Down", "market_trade"} == set(shares)
        assert min(shares.values()) > 0.15

    play(act, Slow())


def test_orders_come_before_prices_and_are_never_merged() -> None:
    """While a hook runs, order events queue up one by one and go first afterwards."""

    @define
    class SlowStart(Recorder):
        async def on_cycle_start(self) -> None:
            await asyncio.sleep(1)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        for number in range(5):
            stage.env.router.on_user_message(order_report(FIRST, f"0x{number}"))
        await stage.env.clock.sleep(2)
        kinds = [kind for kind, _ in stage.diary.of(FIRST.generation, "order", "price")]
        assert ["order"] * 5 + ["price", "price"] == kinds

    play(act, SlowStart())


def test_an_order_event_goes_before_a_price_that_waited_longer() -> None:
    """Between the two prices of one turn an order event has its turn at once."""

    @define
    class SlowPrices(Recorder):
        async def on_price(self, event: PriceChanged) -> None:
            await asyncio.sleep(1)
            await super().on_price(event)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        stage.env.router.on_user_message(order_report(FIRST, "0x1"))
        await stage.env.clock.sleep(5)
        kinds = [kind for kind, _ in stage.diary.of(FIRST.generation, "order", "price")]
        assert ["price", "order", "price"] == kinds

    play(act, SlowPrices())


def test_a_fresh_instance_each_cycle() -> None:
    """State dies with the cycle and settings are copied, not shared."""

    @define
    class Counts(Strategy):
        levels: list[int] = field(factory=list)
        starts: int = field(init=False, default=0)

        async def on_cycle_start(self) -> None:
            self.starts += 1
            self.levels.append(1)
            self.env.get(Diary).seen.append((0, "state", (self.starts, list(self.levels))))

    template = Counts(levels=[7])

    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=3)
        assert [(1, [7, 1])] * 3 == [value for _, value in stage.diary.of(0)]

    play(act, template)
    assert [7] == template.levels
    assert 0 == template.starts


def _hundredth(value: Decimal) -> Decimal:
    return value / 100


def _definitions() -> list[tuple[Any, str]]:
    @define
    class Shares(Strategy):
        cache: ClassVar[dict[str, int]] = {}

    class Undecorated(Strategy):
        limit: int = 3

    @define
    class SharedDefault(Strategy):
        seen: list[int] = field(init=False, default=[])

    @define
    class NotCopyable(Strategy):
        lock: Any = None

    @define
    class SyncHook(Strategy):
        def on_price(self, event: PriceChanged) -> None:  # type: ignore[override]
            pass

    @define
    class Inherits(Shares):
        pass

    class Box:
        pass

    @define
    class SharedBox(Strategy):
        box: Box = field(init=False, default=Box())

    @define
    class ClassBox(Strategy):
        cache: ClassVar[Box] = Box()

    @define(frozen=True)
    class Frozen(Strategy):
        limit: int = 3

    @define
    class WrongSignature(Strategy):
        async def on_price(self) -> None:  # type: ignore[override]
            pass

    @define
    class Misspelt(Strategy):
        async def on_prices(self, event: PriceChanged) -> None:
            pass

    @define
    class ConvertsTwice(Strategy):
        cents: Decimal = field(default=Decimal(62), converter=_hundredth)

    @define
    class Refuses(Strategy):
        low: int = 1
        high: int = field(init=False, default=0)

        def __attrs_post_init__(self) -> None:
            self.low, self.high = 5, self.low
            if self.high == 5:
                msg = "low must not be 5"
                raise ValueError(msg)

    @define
    class Limited(Strategy):
        limit: Decimal = Decimal("Infinity")

    return [
        (Limited(Decimal("NaN")), r"Limited.limit: Decimal\('NaN'\) is not a number"),
        (Limited(Decimal("sNaN")), r"Limited.limit: Decimal\('sNaN'\) is not a number"),
        (SharedBox(), r"SharedBox.box: its default is one Box shared"),
        (ClassBox(), r"ClassBox.cache: a mutable class attribute"),
        (Frozen(), r"Frozen: a frozen class cannot run"),
        (
            WrongSignature(),
            r"WrongSignature.on_price: write it as 'async def on_price\(self, event\)",
        ),
        (Misspelt(), r"Misspelt.on_prices: no hook has this name; is on_price meant\?"),
        (ConvertsTwice(), r"ConvertsTwice.cents: Decimal\('0.62'\) becomes Decimal\('0.0062'\)"),
        (Refuses(), r"Refuses: a copy of it cannot be made from its own settings: low must"),
        (Shares(), r"Shares.cache: a mutable class attribute"),
        (Inherits(), r"Shares.cache: a mutable class attribute"),
        (Undecorated(), r"Undecorated: decorate it with @define"),
        (SharedDefault(), r"SharedDefault.seen: its default is one list shared"),
        (NotCopyable(lock=threading.Lock()), r"NotCopyable.lock: a setting must be copyable"),
        (SyncHook(), r"SyncHook.on_price: write it as 'async def on_price\(self, event\)'"),
        (Recorder, r"got the class Recorder: call it"),
        (object(), r"expected a Strategy, got object"),
    ]


def test_methods_of_ones_own_may_have_any_name_that_is_no_hooks() -> None:
    """Only what is nearly a hook's name is refused, and only a method."""

    @define
    class Own(Strategy):
        on_prices: int = 3

        async def on_signal(self) -> None:
            pass

        def on_price_above(self, limit: Decimal) -> bool:
            return limit > self.on_prices

    check_definition(Own())


@pytest.mark.parametrize(("strategy", "text"), _definitions())
def test_add_refuses_what_would_leak(strategy: Any, text: str) -> None:
    """A class that would carry state from cycle to cycle is refused with the fix in the message."""

    async def act(stage: Stage) -> None:
        with pytest.raises(StrategyDefinitionError, match=text):
            stage.trader.add(strategy, on="eth-updown-5m")

    play(act)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"on": "btc-updown-15m"}, r"name: 'Recorder' is mounted on btc-updown-15m already"),
        ({"on": "btc-updown-16m"}, r"series"),
        ({"on": []}, r"on: expected at least one series"),
        ({"on": "eth-updown-15m", "on_error": "ignore"}, r"on_error: expected one of"),
        ({"on": "eth-updown-15m", "name": " "}, r"name: expected some text"),
        ({"on": "eth-updown-15m", "name": 5}, r"name: expected some text, got 5"),
        ({"on": 5}, r"series: expected .* got 5"),
    ],
)
def test_add_names_the_wrong_argument(kwargs: dict[str, Any], text: str) -> None:
    """Bad arguments of add() raise ConfigError that names the field and the fix."""

    async def act(stage: Stage) -> None:
        with pytest.raises(ConfigError, match=text):
            stage.trader.add(Recorder(), **kwargs)

    play(act)


@pytest.mark.parametrize(
    ("policy", "raised"),
    [
        ("skip_cycle", ValueError("no more")),
        ("raise", ValueError("no more")),
        ("skip_cycle", PanicError("no more")),
        ("skip_cycle", WordlessError()),
        ("skip_cycle", SystemExit("no more")),  # means the program, whatever the policy
    ],
)
def test_a_strategy_that_cannot_be_made_is_its_own_trouble(
    policy: str, raised: BaseException
) -> None:
    """A constructor that raises in a later cycle follows that strategy's policy; others go on."""
    made = {"count": 0}

    def touchy() -> int:
        made["count"] += 1
        # The template, the check when it is mounted, the first cycle; then it fails.
        if made["count"] > 3:
            raise raised
        return 0

    @define
    class Touchy(Strategy):
        state: int = field(init=False, factory=touchy)

    async def act(stage: Stage) -> None:
        stage.trader.add(Touchy(), on=stage.series, on_error=policy)  # type: ignore[arg-type]
        if policy == "raise" or isinstance(raised, SystemExit):
            with pytest.raises(StrategyFailed, match="its construction"):
                await stage.trader.run(cycles=2)
        else:
            await stage.trader.run(cycles=2)
        assert 1 == stage.env.counters.get(Count.STRATEGY_ERRORS, "construction")
        assert stage.diary.of(SECOND.generation, "start")

    play(act)


def test_add_mounts_on_every_series_or_on_none() -> None:
    """A name that is taken on one of several series leaves the others unmounted."""

    async def act(stage: Stage) -> None:
        with pytest.raises(ConfigError, match="is mounted on btc-updown-15m already"):
            stage.trader.add(Recorder(), on=["eth-updown-15m", "btc-updown-15m"])
        assert ["btc-updown-15m"] == [str(series) for series in stage.trader.series]

    play(act)


def test_two_traders_do_not_share_a_series() -> None:
    """A second trader is refused a series that is traded, until the first one has ended."""

    async def act(stage: Stage) -> None:
        other = Trader(stage.env)
        other.add(Recorder(), on="btc-updown-15m")
        run = asyncio.create_task(stage.trader.run(cycles=1))
        await stage.env.clock.sleep(5)
        with pytest.raises(ConfigError, match="btc-updown-15m is traded by another trader"):
            await other.run(cycles=1)
        await run
        await other.run(cycles=1)
        assert stage.diary.of(SECOND.generation, "start")

    play(act)


def test_a_trader_can_run_again() -> None:
    """A second run goes on with the next window: a cycle begins once, and halts are forgotten."""

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run())
        await stage.env.clock.sleep(5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await stage.trader.run(cycles=1)
        starts = [value for _, kind, value in stage.diary.seen if kind == "start"]
        assert [FIRST.slug, SECOND.slug] == starts

    play(act, Raises("on_price"), on_error="halt")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"exchange": None}, r"exchange: expected .* PolymarketExchange\(\), got None"),
        ({"exchange": FakeExchange}, r"exchange: expected .* got <class"),
        ({"clock": 5}, r"clock: expected .* WallClock\(\), got 5"),
        ({"counters": {}}, r"counters: expected .* Counters\(\), got \{\}"),
        ({"ledger": "a.sqlite"}, r"ledger: expected .* Ledger\('trades.sqlite'\), got 'a.sqlite'"),
        ({"risk": 50}, r"risk: expected .* RiskLimits\(.*\), got 50"),
        ({"reconcile": 5}, r"reconcile: expected .* ReconcileSettings\(\), got 5"),
        ({"snapshots": 5}, r"snapshots: expected .* folder, got 5"),
    ],
)
def test_an_environment_names_the_wrong_argument(given: dict[str, Any], text: str) -> None:
    """It does not come to light hours later, when the argument is used."""
    with pytest.raises(ConfigError, match=text):
        Environment(**{"exchange": FakeExchange(), **given})
    nothing: Any = None
    with pytest.raises(ConfigError, match="env: expected an Environment, got None"):
        Trader(nothing)


def test_an_environment_opens_once() -> None:
    """Opening it again would count the cash twice, so it is refused."""

    async def act(stage: Stage) -> None:
        with pytest.raises(ConfigError, match="it opens once"):
            async with stage.env:
                pass

    play(act)


def test_shared_services_are_found_by_type() -> None:
    """What was provided is found; what was not, or twice, is an error that says so."""

    async def act(stage: Stage) -> None:
        release = Release()
        stage.env.provide(release)
        assert release is stage.env.get(Release)
        with pytest.raises(ConfigError, match="a Release is there already"):
            stage.env.provide(Release())
        with pytest.raises(ConfigError, match=r"no int was provided \(there is: Diary, Release\)"):
            stage.env.get(int)

    play(act)


def test_a_strategy_outside_a_cycle_says_so() -> None:
    """Reading market or trading of a template raises a clear error, not an attribute error."""
    for name in ("market", "trading", "session", "env", "clock", "name", "log"):
        with pytest.raises(PolyframeError, match="Recorder: not running yet"):
            getattr(Recorder(), name)


def test_strategies_share_a_series_without_seeing_each_others_orders() -> None:
    """Each sees and cancels its own orders only; foreign orders are seen by all."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        one = stage.trading.handle("one")
        two = stage.trading.handle("two")
        order = await one.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))
        assert [order] == one.orders()
        assert [] == two.orders()
        with pytest.raises(OrderDenied, match="two has no order"):
            await two.cancel(order)
        assert HandleState.OPEN is two.state
        await settle()
        seen = stage.diary.of(FIRST.generation, "order")
        assert [] == seen
        stage.env.router.on_user_message(order_report(FIRST, "0xforeign"))
        await settle()
        assert ["0xforeign"] == [
            e.order.venue_id for _, e in stage.diary.of(FIRST.generation, "order")
        ]

    play(act)


def test_shutdown_runs_on_cycle_end_with_working_cancels() -> None:
    """A cancelled run() ends the cycle with reason shutdown before the streams close."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run())
        await stage.env.clock.sleep(30)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert ("end", CycleEndReason.SHUTDOWN) == stage.diary.of(FIRST.generation)[-1]
        assert all(stream.closed for stream in exchange.all_streams)

    play(act, exchange=exchange)


def test_shutdown_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A strategy whose on_cycle_end hangs holds the shutdown up to the deadline, not longer."""

    async def act(stage: Stage) -> float:
        run = asyncio.create_task(stage.trader.run())
        await stage.env.clock.sleep(30)
        before = stage.env.clock.time()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return stage.env.clock.time() - before

    settings = TraderSettings(cycle_end_timeout=60, shutdown_timeout=2)
    with caplog.at_level(logging.ERROR):
        assert 2 == play(act, Hangs("on_cycle_end"), settings=settings)
    assert f"shutdown took too long; given up: end of {FIRST.slug}" in caplog.text


def test_a_failed_strategy_can_clean_up_but_not_trade() -> None:
    """After a hook raised, on_cycle_end may cancel; a new order is refused though the market is on."""

    @define
    class Fails(Strategy):
        async def on_cycle_start(self) -> None:
            await self.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))
            msg = "no luck"
            raise ValueError(msg)

        async def on_cycle_end(self, reason: CycleEndReason) -> None:
            await self.trading.cancel_all()
            with pytest.raises(StaleCycleError):
                await self.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))
            self.env.get(Diary).seen.append((0, "cleaned", reason))

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert [("cleaned", CycleEndReason.ERROR)] == stage.diary.of(0)
        assert ["0xorder1"] == stage.exchange.cancelled
        assert 1 == len(stage.exchange.placed)

    play(act, Fails())


def test_public_trades_of_a_stuck_strategy_are_bounded() -> None:
    """Market trades that nobody reads are dropped beyond the limit and counted; orders never are."""

    @define
    class Stuck(Recorder):
        async def on_cycle_start(self) -> None:
            await asyncio.sleep(30)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        stream = stage.exchange.streams[FIRST.slug]
        for _ in range(MARKET_TRADES_KEPT + 5):
            stream.push(TradePrint(FIRST.condition_id, FIRST.up_token, 5000, None, None))
        stage.env.router.on_user_message(order_report(FIRST, "0x1"))
        assert 5 == stage.env.counters.get(Count.EVENTS_DISCARDED, "market_trade")
        await stage.env.clock.sleep(60)
        assert MARKET_TRADES_KEPT == len(stage.diary.of(FIRST.generation, "market_trade"))
        assert 1 == len(stage.diary.of(FIRST.generation, "order"))

    play(act, Stuck())


def test_events_left_at_the_end_are_counted() -> None:
    """What a slow strategy had not seen when its cycle ended is counted by kind."""

    @define
    class Slow(Recorder):
        async def on_cycle_start(self) -> None:
            await asyncio.sleep(3600)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        stage.env.router.on_user_message(order_report(FIRST, "0x1"))
        stage.env.router.on_user_message(trade_report(FIRST, "t", "0x1"))
        stage.exchange.streams[FIRST.slug].push(
            TradePrint(FIRST.condition_id, FIRST.up_token, 5000, None, None)
        )
        await stage.open_cycle(START + 900)
        counters = stage.env.counters
        assert counters.get(Count.EVENTS_DISCARDED, "order") >= 1
        assert 1 == counters.get(Count.EVENTS_DISCARDED, "trade")
        assert 1 == counters.get(Count.EVENTS_DISCARDED, "market_trade")

    play(act, Slow())


def test_cancel_on_exit_cancels_what_rests() -> None:
    """With cancel_on_exit all own open orders are cancelled when the program stops."""

    @define
    class Rests(Strategy):
        async def on_cycle_start(self) -> None:
            await self.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run())
        await stage.env.clock.sleep(30)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert ["0xorder1"] == stage.exchange.cancelled
        assert 0 == stage.env.account.reserved

    play(act, Rests(), settings=TraderSettings(cancel_on_exit=True))
