"""When the venue is compared with: at the start of a cycle, after gaps, on a timer, on demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import StaleCycleError
from polyframe.exchange.base import Exchange
from polyframe.trading.comparison import Comparison, ReconcileDesk, UserGate
from polyframe.trading.ownorders import OwnOrders
from polyframe.trading.reconcile import ReconcileReport, ReconcileSettings
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)

_BREATH = 0.25
"""Network seconds between two comparisons that nobody asked for."""


class Reconciler:
    """Keeps the current cycle of one series equal to the venue.

    Each cycle has a watch of its own, whose tasks are cancelled when it ends; what still comes back
    after that meets the shut gate of its own session.

    Args:
        desk: The trading service.
        exchange: The venue.
        clock: Market time.
        counters: Where comparisons are counted.
        own: All our orders.
        settings: When and how.
    """

    def __init__(
        self,
        *,
        desk: ReconcileDesk,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        own: OwnOrders,
        settings: ReconcileSettings,
    ) -> None:
        self._desk = desk
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._own = own
        self._settings = settings
        self._watches = self._from_start = False
        self._cycle: _CycleWatch | None = None
        self._ending: set[asyncio.Task[Any]] = set()

    def watch(self, *, from_start: bool = True) -> None:
        """Compare by itself from the next cycle on; until then only on demand.

        Args:
            from_start: From the start of each cycle; else from the first reason to look in it.
        """
        self._watches, self._from_start = True, from_start

    def begin(self, state: CycleState, gate: UserGate) -> None:
        """Begin with a cycle. Synchronous: part of the barrier."""
        comparison = Comparison(
            state,
            gate,
            self._desk,
            exchange=self._exchange,
            clock=self._clock,
            counters=self._counters,
            own=self._own,
            settings=self._settings,
        )
        self._cycle = _CycleWatch(comparison, self._counters, self._settings, self._watches)
        if self._watches and self._from_start:
            self._cycle.start()

    def end(self) -> None:
        """Be done with the cycle: end its tasks, without waiting. Part of the barrier."""
        cycle, self._cycle = self._cycle, None
        if cycle is not None:
            for task in cycle.stop():
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def wait_ended(self) -> None:
        """Return once no task of a cycle that is over is left."""
        while self._ending:
            await asyncio.wait(tuple(self._ending))

    def wake(self, trigger: str) -> None:
        """Compare as soon as possible, because events may have been missed."""
        if self._cycle is not None:
            self._cycle.wake(trigger)

    def soon(self) -> None:
        """Compare in a moment and again a little later, because the fate of an order is open."""
        if self._cycle is not None:
            self._cycle.soon()

    async def reconcile(self, trigger: str) -> ReconcileReport:
        """Compare now with a view of the venue that is fetched after this call.

        Raises:
            StaleCycleError: Trading is paused, or the cycle ended meanwhile.
        """
        if self._cycle is None:
            what = "reconcile"
            raise StaleCycleError(what, 0, None)
        return await self._cycle.reconcile(trigger)


class _CycleWatch:
    """The comparisons of one cycle: one at a time, and each for all who asked before it began."""

    def __init__(
        self,
        comparison: Comparison,
        counters: Counters,
        settings: ReconcileSettings,
        watches: bool,
    ) -> None:
        self._comparison = comparison
        self._counters = counters
        self._settings = settings
        self._market = comparison.market
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.time()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._current: asyncio.Task[ReconcileReport] | None = None
        self._next: asyncio.Task[ReconcileReport] | None = None
        self._wake = asyncio.Event()
        self._is_asleep = watches
        self._wanted = ""
        self._due: list[float] = []

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        self._is_asleep = False
        self._spawn(self._run("start"), f"reconcile {self._market.slug}")

    def stop(self) -> set[asyncio.Task[Any]]:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

    def _spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ------------------------------------------------------------------ one at a time

    async def reconcile(self, trigger: str) -> ReconcileReport:
        if self._next is None:
            self._next = self._spawn(
                self._in_turn(self._current, trigger), f"reconcile {self._market.slug} ({trigger})"
            )
        task = self._next
        await asyncio.wait({task})
        if task.cancelled():
            what = "reconcile"
            raise StaleCycleError(what, self._market.generation, None)
        return task.result()

    async def _in_turn(
        self, running: asyncio.Task[ReconcileReport] | None, trigger: str
    ) -> ReconcileReport:
        if running is not None:
            await asyncio.wait({running})
        # From here on it is too late to join: its view of the venue may be older than a new caller.
        self._current, self._next = self._next, None
        now = self._loop.time()
        self._due = [due for due in self._due if due > now]
        try:
            return await self._comparison.run(trigger)
        except Exception:
            # Counts like a view that could not be had, so that it is repeated with growing pauses.
            self._comparison.failures += 1
            self._counters.add(Count.RECONCILES, "failed")
            raise
        finally:
            self._ended = self._loop.time()

    # ------------------------------------------------------------------ when

    def wake(self, trigger: str) -> None:
        self._wanted = trigger
        self._go_on()

    def soon(self) -> None:
        now = self._loop.time()
        self._due += [now + delay for delay in self._settings.soon]
        self._go_on()

    def _go_on(self) -> None:
        self._wake.set()
        if self._is_asleep:
            self._is_asleep = False
            self._spawn(self._run(), f"reconcile {self._market.slug}")

    async def _run(self, trigger: str = "") -> None:
        while True:
            trigger = trigger or await self._wait()
            try:
                await self.reconcile(trigger)
            except Exception:  # a defect must not end the comparing for the rest of the cycle
                log.exception("%s: reconciling failed", self._market.slug)
            trigger = ""

    async def _wait(self) -> str:
        """Return at the next reason to compare, with its name."""
        while True:
            self._wake.clear()
            if self._wanted:
                trigger, self._wanted = self._wanted, ""
                return trigger
            now = self._loop.time()
            regular = self._ended + self._interval()
            if any(due <= now for due in self._due):
                return "soon"
            if regular <= now:
                return "timer"
            # Orders may be placed at any time: look again before the longer interval is over.
            until = min([regular, now + self._settings.open_interval, *self._due])
            try:
                async with asyncio.timeout_at(max(until, self._ended + _BREATH)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _interval(self) -> float:
        settings, failures = self._settings, self._comparison.failures
        if failures:
            growing = settings.open_interval * 2.0 ** min(failures - 1, 10)
            return max(min(growing, settings.idle_interval), self._comparison.retry_after)
        return settings.open_interval if self._comparison.is_busy else settings.idle_interval
