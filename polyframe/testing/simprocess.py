"""One process of a simulated program, from its start to its end or its death."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from polyframe.clock import Clock
from polyframe.environment import Environment
from polyframe.testing.faults import Fault, Faults
from polyframe.testing.simcontracts import LineContracts
from polyframe.testing.simledger import Journals, SimLedger
from polyframe.testing.simline import SimLine
from polyframe.testing.simstore import SimDisk, SimStore
from polyframe.testing.simvenue import SimVenue
from polyframe.trading.limits import RiskLimits

T = TypeVar("T")

_PATIENCE = 10_000
"""Rounds in which the tasks of a dead process are to end."""

LOOK = 10.0
"""Seconds between two looks for an occasion to kill."""

_MOMENTS = ("any", "any", "sent", "append", "write", "step", "step", "opening", "message")

_CURRENT: contextvars.ContextVar[SimProcess | None] = contextvars.ContextVar(
    "process", default=None
)


class SimProcess:
    """A process: its line to the venue, its store, its ledger, its tasks and its environment.

    Args:
        venue: The venue.
        disk: Where its snapshots are.
        journals: Where its ledger is kept.
        true: The venue's time.
        clock: Its computer's clock.
        risk: What its strategies may do.
        on_event: Called with a word at the instants at which a death is most interesting.
        keeps_snapshots: Whether its environment is given the disk.

    Attributes:
        env: Its environment, not yet open.
        ledger: Its ledger.
        line: Its line to the venue.
        died: Set when it was killed.
        on_death: Called when it is killed, at once.
    """

    def __init__(
        self,
        venue: SimVenue,
        disk: SimDisk,
        journals: Journals,
        true: Clock,
        clock: Clock,
        risk: RiskLimits | None,
        on_event: Callable[[str], None],
        *,
        keeps_snapshots: bool,
    ) -> None:
        self.line = SimLine(venue, true, lambda: on_event("sent"), self._on_answer)
        self._on_event = on_event
        self.ledger = SimLedger(journals)
        self._store = SimStore(disk, venue.faults, self.kill, on_event)
        self.env = Environment(
            self.line,
            clock=clock,
            ledger=self.ledger,
            risk=risk,
            snapshots=self._store if keeps_snapshots else None,
            contracts=None
            if venue.contracts is None
            else LineContracts(venue.contracts, self.line),
        )
        self.died = asyncio.Event()
        self.on_death: Callable[[], None] = _nothing
        # In the order of their births, so that every run cancels them in the same one.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._main: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def is_dead(self) -> bool:
        """Whether it was killed."""
        return self.died.is_set()

    def _on_answer(self) -> None:
        if not self._opened.is_set():
            self._on_event("opening")

    def spawn(self, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run something in the process: all tasks that come of it are its own."""
        context = contextvars.copy_context()
        context.run(_CURRENT.set, self)
        return asyncio.get_running_loop().create_task(coro, name=name, context=context)

    async def open(self) -> None:
        """Open the environment; return when it is open, or the process was killed.

        Raises:
            ExchangeError: The venue did not answer; the process is over.
        """
        main = self._main = self.spawn(self._live(), "process")
        events = [asyncio.create_task(one.wait()) for one in (self._opened, self.died)]
        try:
            await asyncio.wait({main, *events}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for event in events:
                event.cancel()
        if main.done() and not self.is_dead:
            await main

    async def close(self) -> None:
        """Close the environment in order."""
        if self._main is not None and not self._main.done() and not self.is_dead:
            self._closing.set()
            await self._main

    async def _live(self) -> None:
        async with self.env:
            self._opened.set()
            await self._closing.wait()

    def own(self, task: asyncio.Task[Any]) -> None:
        """Take note of a task."""
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if self.is_dead and not task.cancelled():
            task.exception()  # nobody is left who could be told

    def kill(self) -> None:
        """Kill it: from this instant on it changes nothing at the venue, the disk or the ledger.

        Call it from anywhere, also from within. What is left of its tasks is collected by `bury`.
        """
        if self.is_dead:
            return
        self.line.cut()
        self._store.is_cut = self.ledger.is_cut = True
        self.died.set()
        self.on_death()

    async def bury(self) -> list[str]:
        """End all of its tasks; return the names of those that refuse."""
        for _ in range(_PATIENCE):
            if not self._tasks:
                break
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.sleep(0)
        return [task.get_name() for task in self._tasks]


def keep_tasks_apart(loop: asyncio.AbstractEventLoop) -> None:
    """Let every process know its tasks from now on."""

    def factory(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **options)
        context = options.get("context")
        process = _CURRENT.get() if context is None else context.get(_CURRENT)
        if process is not None:
            process.own(task)
        return task

    loop.set_task_factory(factory)  # type: ignore[arg-type]


class Killer:
    """Kills processes, by a seed: at any time, and at the instants that matter most.

    Args:
        faults: Says when.

    Attributes:
        process: Whom; ``None`` between two processes.
        until: Event loop time after which nobody is killed any more.
    """

    def __init__(self, faults: Faults) -> None:
        self.process: SimProcess | None = None
        self.until = float("inf")
        self._faults = faults
        self._awaits = ""
        self._left = 0

    def start(self) -> None:
        """Look for occasions from now on."""
        asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        loop, source = asyncio.get_running_loop(), self._faults.source(Fault.KILL)
        if loop.time() > self.until:
            return
        if not self._awaits and self._faults.hit(Fault.KILL):
            self._awaits, self._left = source.choice(_MOMENTS), source.randint(0, 4)
            # If the moment does not come, it is this one.
            loop.call_later(source.uniform(0.0, LOOK), self._strike, "any")
            loop.call_later(10 * LOOK, self._strike, self._awaits)
        self.start()

    def on_event(self, what: str) -> None:
        """Take note that something happens in the process."""
        if what == self._awaits and self.process is not None:
            if self._left == 0:
                self._strike(what)
            else:
                self._left -= 1

    def _strike(self, what: str) -> None:
        if what != self._awaits:
            return
        self._awaits = (
            ""  # also if nobody is there who could be killed: else there never was another
        )
        if self.process is not None:
            self.process.kill()


def _nothing() -> None:
    return
