"""One strategy instance in one cycle: its events, its tasks, its end.

A run has one task that delivers events, so hooks never overlap. Orders and trades wait in a queue,
go first and are all delivered; prices and books are only marked, and read when their turn comes, so
a slow hook sees the latest and never a backlog. Everything marked gets its turn before anything gets
a second one.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from polyframe.clock import doorbell
from polyframe.counters import Count, Counters
from polyframe.errors import OrderError, StaleCycleError
from polyframe.model.events import CycleEndReason, MarketTraded, OrderChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.strategy import Strategy, StrategyContext, overrides
from polyframe.trading.reconcile import ReconcileReport

if TYPE_CHECKING:
    from polyframe.environment import Environment
    from polyframe.exchange.base import Solo
    from polyframe.session import ExchangeSession
    from polyframe.trading.handle import StrategyTrading

log = logging.getLogger(__name__)

R = TypeVar("R")

ErrorPolicy = Literal["skip_cycle", "halt", "raise"]
"""What happens when a hook raises: sit out the rest of the cycle, of the run, or stop the trader."""

OwnEvent = OrderChanged | TradeChanged | ReconcileReport
"""What is never merged and never dropped while the cycle lives."""

_KINDS = {OrderChanged: "order", TradeChanged: "trade", ReconcileReport: "reconcile"}

MARKET_TRADES_KEPT = 1_000
"""Public trades that may wait for a slow strategy; older ones are dropped and counted."""


_UP = Outcome.UP
_PRICE = {Outcome.UP: 1, Outcome.DOWN: 2}
_BOOK_UP, _BOOK_DOWN = 4, 8
_BOOKS = _BOOK_UP | _BOOK_DOWN
"""Bits of what is marked; the lower goes first."""

_BITS = [(1, _UP), (2, Outcome.DOWN), (_BOOK_UP, _UP), (_BOOK_DOWN, Outcome.DOWN)]
_TURNS = tuple(
    tuple((bit, outcome) for bit, outcome in reversed(_BITS) if marks & bit) for marks in range(16)
)
"""What is to be told for each combination of marks, the first of it at the end."""


class StrategyRun:
    """A `Subscriber` that carries one strategy instance through one cycle.

    Args:
        strategy: A fresh instance.
        name: Its name.
        env: The environment.
        session: The cycle's session.
        trading: The strategy's handle for this cycle.
        counters: Where errors and overdue tasks are counted.
        on_failed: Called once, synchronously, when a hook or task of the strategy raised.
        is_leaving: Whether the trader was cancelled, so that the end of the cycle is to come.
        is_resumed: Whether an earlier run of the program has begun the cycle.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        name: str,
        env: Environment,
        session: ExchangeSession,
        trading: StrategyTrading,
        counters: Counters,
        on_failed: Callable[[StrategyRun, str, Exception], None],
        is_leaving: Callable[[], bool],
        is_resumed: bool = False,
    ) -> None:
        self.strategy = strategy
        self.name = name
        self.session = session
        self.trading = trading
        self._counters = counters
        self._loop_watch = env.loop_watch
        self._on_failed = on_failed
        self._is_leaving = is_leaving
        self._own: deque[OwnEvent] = deque()
        self._prints: deque[MarketTraded] = deque()
        self._marks = 0
        self._hook = ""
        self._bell = doorbell()
        # In order of birth: in a simulation nothing may hang on where in memory a task is.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._ending = False
        self._failed = False
        self._wants_price = overrides(strategy, "on_price")
        self._wants_book = overrides(strategy, "on_book")
        self._wants_market_trades = overrides(strategy, "on_market_trade")
        self._wants_reconciles = overrides(strategy, "on_reconcile")
        strategy._context = StrategyContext(  # noqa: SLF001
            env=env,
            session=session,
            trading=trading,
            tasks=self,
            name=name,
            is_resumed=is_resumed,
        )

    # ------------------------------------------------------------------ subscriber

    @property
    def wants_books(self) -> bool:
        """Whether the strategy has an ``on_book`` of its own."""
        return self._wants_book

    @property
    def is_sated(self) -> bool:
        """Whether both books are marked as new already, and the strategy is busy with something else."""
        return self._marks & _BOOKS == _BOOKS

    def price_changed(self, outcome: Outcome) -> None:
        """Mark one outcome's price as new."""
        if self._wants_price:
            self._marks |= _PRICE[outcome]
            self._bell.ring()

    def book_changed(self, outcome: Outcome) -> None:
        """Mark one outcome's book as new."""
        self._marks |= _BOOK_UP if outcome is _UP else _BOOK_DOWN  # spelled out: for every level
        self._bell.ring()

    def market_traded(self, event: MarketTraded) -> None:
        """Queue a public trade, if the strategy wants them."""
        if not self._wants_market_trades:
            return
        if len(self._prints) >= MARKET_TRADES_KEPT:
            self._prints.popleft()
            self._counters.add(Count.EVENTS_DISCARDED, "market_trade")
        self._prints.append(event)
        self._bell.ring()

    def order_changed(self, event: OrderChanged) -> None:
        """Queue a change of one of this strategy's orders, or of a foreign one."""
        if event.order.strategy in (self.name, ""):
            self._own.append(event)
            self._bell.ring()

    def trade_changed(self, event: TradeChanged) -> None:
        """Queue a change of one of this strategy's fills, or of a foreign one."""
        if event.order.strategy in (self.name, ""):
            self._own.append(event)
            self._bell.ring()

    def reconciled(self, report: ReconcileReport) -> None:
        """Queue a comparison with the venue, if the strategy wants them."""
        if self._wants_reconciles:
            self._own.append(report)
            self._bell.ring()

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Subscribe to the session and start the run's task. Synchronous: part of the barrier."""
        self._add_task(self._deliver(), "events", self._present_hook)
        self.session.subscribe(self)

    def spawn(self, coro: Coroutine[Any, Any, R], name: str = "") -> asyncio.Task[R | None]:
        """Start a task that belongs to the cycle.

        Raises:
            StaleCycleError: The cycle is over; the coroutine is closed unrun.
            TypeError: It is no coroutine.
        """
        if not asyncio.iscoroutine(coro):
            hint = "; call it" if callable(coro) else ""
            msg = f"spawn: expected a coroutine, such as self.watch(), got {coro!r}{hint}"
            raise TypeError(msg)
        label = name or getattr(coro, "__name__", "task")
        if self._ending:
            coro.close()
            what = f"spawn({label})"
            raise StaleCycleError(what, self.session.generation, None)
        task = self._add_task(self._guard(lambda: coro, label, is_hook=False), label)
        # Cancelled before it began, it would complain that it was never awaited.
        task.add_done_callback(lambda _: coro.close())
        return task

    def _add_task(
        self, coro: Coroutine[Any, Any, Any], label: str, hook: Callable[[], str] | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.create_task(coro, name=f"{self.name}/{label}@{self.session.slug}")
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        if self._loop_watch is not None:
            self._loop_watch.own(
                task, slug=self.session.slug, strategy=self.name, hook=hook or (lambda: label)
            )
        return task

    def _present_hook(self) -> str:
        return self._hook or "on_cycle_start"

    async def _guard(
        self, call: Callable[[], Awaitable[Any]], label: str = "", *, is_hook: bool = True
    ) -> Any:
        """Call and await code of the user's; an exception is reported and ends the cycle.

        Args:
            call: What is called.
            label: Under which name it is reported; by default as the hook that is running.
            is_hook: Whether nobody but the framework may cancel it.
        """
        task = asyncio.current_task()
        try:
            return await call()
        except asyncio.CancelledError:
            was_asked = task is not None and task.cancelling() > 0
            if self._ending or (was_asked and (not is_hook or self._is_leaving())):
                raise
            # Either the user's code let a cancellation of its own escape, or it cancelled the task
            # that calls the hooks: no more of them would ever be called, and nobody would know.
            text = (
                "its task was cancelled by the strategy itself, or by another part of the program"
            )
            why = text if was_asked else "a cancellation escaped from it"
            self._fail(label or self._present_hook(), RuntimeError(why))
        except StaleCycleError as error:
            # The switch came between an answer and its caller: no mistake of the strategy's.
            if not self._is_over:
                self._fail(label or self._hook, error)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001
            self._fail(label or self._hook, as_failure(error))
        return None

    def _fail(self, where: str, error: Exception) -> None:
        self._report(where, error)
        if not self._failed:
            self._failed = True
            self._on_failed(self, where, error)

    def _report(self, where: str, error: Exception) -> None:
        self._counters.add(Count.STRATEGY_ERRORS, where)
        # A refused order says by itself what was wrong: all that is missing is whose line it was.
        is_refusal = isinstance(error, OrderError)
        log.error(
            "strategy %s failed in %s() on %s: %s%s",
            self.name,
            where,
            self.session.slug,
            words_of(error),
            _line_of(error, self.strategy) if is_refusal else "",
            exc_info=None if is_refusal else error,
        )

    async def _deliver(self) -> None:
        strategy = self.strategy
        await self._guard(strategy.on_cycle_start, "on_cycle_start")
        if overrides(strategy, "run") and not self._stopped:
            self._add_task(self._guard(strategy.run, "run"), "run")
        if not self._stopped:
            # One guard for all of them: the first that raises is the last.
            await self._guard(self._deliver_events)

    async def _deliver_events(self) -> None:
        """Call the hooks, one after another, for as long as the cycle lives."""
        strategy, session, own, prints = self.strategy, self.session, self._own, self._prints
        # One turn: everything that was marked at one time, once. What is marked again meanwhile waits
        # for the next turn, so that a slow hook of one kind or outcome cannot keep the others waiting
        # for ever.
        turn: list[tuple[int, Outcome]] = []
        is_prints_turn = False
        solo: Solo | None = None
        # What `_stopped` says, spelled out: it is asked twice for each event.
        while session.is_open and not (self._failed or self._ending):
            if own:
                await self._deliver_own(own.popleft())
                continue
            if not turn and not is_prints_turn:
                if not self._marks and not prints:
                    solo = self._next_solo(solo) if session.may_solo else None
                    if solo is None:
                        await self._bell
                    else:
                        await self._take(solo)
                    continue
                turn += _TURNS[self._marks]
                is_prints_turn = bool(prints)
            if turn:
                mark, outcome = turn.pop()
                self._marks ^= mark
                if mark >= _BOOK_UP:
                    self._hook = "on_book"
                    await strategy.on_book(outcome)
                else:
                    self._hook = "on_price"
                    await strategy.on_price(session.price(outcome))
            else:
                is_prints_turn = False
                self._hook = "on_market_trade"
                await strategy.on_market_trade(prints.popleft())

    def _next_solo(self, solo: Solo | None) -> Solo | None:
        """Return rows of a recording to take instead of waiting to be told of them, if there are any."""
        if solo is not None and not (solo.is_over or solo.ready):
            return solo
        return self.session.solo(self)

    async def _take(self, solo: Solo) -> None:
        """Take rows until something is marked, or others are to go on."""
        strategy, own, ready, self._hook = self.strategy, self._own, solo.ready, "on_book"
        for outcome in solo.rows:
            if outcome is None:
                return
            await strategy.on_book(outcome)
            if ready or own or solo.is_over:
                return
        solo.end()

    async def _deliver_own(self, event: OwnEvent) -> None:
        strategy = self.strategy
        if isinstance(event, OrderChanged):
            self._hook = "on_order"
            await strategy.on_order(event)
        elif isinstance(event, TradeChanged):
            self._hook = "on_trade"
            await strategy.on_trade(event)
        else:
            self._hook = "on_reconcile"
            await strategy.on_reconcile(event)

    @property
    def _is_over(self) -> bool:
        # After a switch the session is shut at once, while `end` comes with a task a moment later.
        return self._ending or not self.session.is_open

    @property
    def _stopped(self) -> bool:
        return self._failed or self._is_over

    # ------------------------------------------------------------------ the end

    def leave(self) -> None:
        """Take note that the session is shut: one who waits for an event ends by himself, uncancelled."""
        self._bell.ring()

    async def end(self, reason: CycleEndReason, *, timeout: float) -> None:
        """Cancel the tasks, let the strategy clean up, then make its handle dead.

        Args:
            reason: Told to ``on_cycle_end``.
            timeout: Network seconds for all of it; half for the tasks, the rest for the hook.
        """
        self._ending = True
        if self.session.is_open:  # else it has nobody left
            self.session.unsubscribe(self)
        self.trading.begin_closing()
        self._count_discarded()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        try:
            await self._stop_tasks(timeout / 2)
            if overrides(self.strategy, "on_cycle_end"):
                # Hooks run one at a time, but one that ignores its cancellation must not keep the
                # strategy from cleaning up: then, and only then, on_cycle_end overlaps with it.
                hook = self._add_task(
                    self._guard(lambda: self.strategy.on_cycle_end(reason), "on_cycle_end"),
                    "on_cycle_end",
                )
                await _wait({hook}, deadline - loop.time())
                await self._stop_tasks(max(deadline - loop.time(), 0.05))
        finally:
            self.trading.kill()
            for task in [task for task in self._tasks if not task.done()]:
                task.cancel()
                self._counters.add(Count.TASKS_OVERDUE, self.name)
                log.error("task %r outlived its cycle and was abandoned", task.get_name())

    async def _stop_tasks(self, timeout: float) -> None:
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        # Most are over as soon as they had their turn: that needs no deadline. Also if there are none:
        # the order in which two cycles meet at a boundary is not to hang on what one has left behind.
        await asyncio.sleep(0)
        await _wait({task for task in tasks if not task.done()}, timeout)

    def _count_discarded(self) -> None:
        for event in self._own:
            self._counters.add(Count.EVENTS_DISCARDED, _KINDS[type(event)])
        if self._prints:
            self._counters.add(Count.EVENTS_DISCARDED, "market_trade", len(self._prints))
        self._own.clear()
        self._prints.clear()


def as_failure(error: BaseException) -> Exception:
    """Return what a strategy's own code raised as something that the trader can deal with.

    ``sys.exit`` would break the event loop off, with all that others are about; the trader ends in
    order. Of anything else that is no `Exception`, such as the panic of an extension in another
    language, nobody would ever hear: it would end with its task.
    """
    if isinstance(error, Exception):
        return error
    text = f"{type(error).__name__}: {words_of(error)}"
    if isinstance(error, SystemExit):
        text = f"sys.exit({error.code!r}) was called, which ends the run"
    failure = RuntimeError(text)
    failure.__cause__ = error
    return failure


def words_of(error: BaseException) -> str:
    """Return the text of an error; who made its class may have been wrong about that, too."""
    try:
        return str(error)
    except Exception as failed:  # noqa: BLE001
        return f"<its text cannot be made: {type(failed).__name__}>"


async def _wait(tasks: set[asyncio.Task[Any]], timeout: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=max(timeout, 0.0))


def _line_of(error: Exception, strategy: Strategy) -> str:
    """Return the last line of the strategy's own file that `error` came through."""
    home = getattr(sys.modules.get(type(strategy).__module__), "__file__", None)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == home]
    return f" ({Path(home).name}, line {lines[-1]})" if home and lines else ""
