"""Requests to the venue that outlive their callers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Generator, Iterable
from types import coroutine
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Bell:
    """Wakes everybody who waits, whenever something has changed; who waits longest goes first."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    def ring(self) -> None:
        """Wake those who wait now."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def wait(self) -> None:
        """Return after the next ring."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[waiting] = None
        try:
            await waiting
        finally:
            self._waiting.pop(waiting, None)


@coroutine
def _give_way(turns: int) -> Generator[None, None, None]:
    """Let the others have some turns: each is an ``asyncio.sleep(0)`` without its cost."""
    for _ in range(turns):
        yield


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Return once all tasks are over, however they ended; who is cancelled meanwhile ends none.

    So does `asyncio.wait`, which takes several times as long.
    """
    waiting, left = asyncio.get_running_loop().create_future(), len(tasks)

    def note(_: asyncio.Task[Any]) -> None:
        nonlocal left
        left -= 1
        if not left and not waiting.done():
            waiting.set_result(None)

    for task in tasks:
        task.add_done_callback(note)
    try:
        await waiting
    finally:
        for task in tasks:
            task.remove_done_callback(note)


class Requests:
    """Runs each request in a task of its own: a cancelled caller must not lose the answer."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], frozenset[str]] = {}
        self._waiting: dict[asyncio.Task[Any], asyncio.Future[None]] = {}

    async def send(
        self, coro: Coroutine[Any, Any, T], name: str, subjects: Iterable[str] = ()
    ) -> T:
        """Await a request; if the caller is cancelled meanwhile, it goes on alone. See `start`."""
        return await self.result(self.start(coro, name, subjects))

    async def result(self, task: asyncio.Task[T]) -> T:
        """Await a request right after its `start`; if the caller is cancelled, it goes on alone."""
        waiting = self._waiting[task] = asyncio.get_running_loop().create_future()
        try:
            await waiting
        finally:
            del self._waiting[task]
        return task.result()

    def start(
        self, coro: Coroutine[Any, Any, T], name: str, subjects: Iterable[str] = ()
    ) -> asyncio.Task[T]:
        """Start a request that nobody need wait for.

        Args:
            coro: The request.
            name: For people to read.
            subjects: What can be waited for until the request is answered; see `wait`.
        """
        task = asyncio.create_task(coro, name=name)
        self._tasks[task] = frozenset(subjects)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        waiting = self._waiting.get(task)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The caller gets it too, unless it was cancelled: then this line is all there is.
            log.warning("%s failed: %s", task.get_name(), error)

    @property
    def names(self) -> list[str]:
        """What is not answered yet, for people to read."""
        return sorted(task.get_name() for task in self._tasks)

    async def wait(self, wanted: Collection[str], timeout: float) -> None:
        """Return once what concerns any of `wanted` is answered, or after `timeout` network seconds."""
        await _give_way(1)
        tasks = [task for task, about in self._tasks.items() if not about.isdisjoint(wanted)]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        # Others have a turn in any case: which of those who act at one instant is first does not hang on
        # what is under way.
        await _give_way(2)

    async def wait_idle(self) -> None:
        """Return once no request is under way."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def abandon(self) -> None:
        """Give up what is not answered yet; what became of it is then not known."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
