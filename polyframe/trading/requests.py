"""Requests to the venue that outlive their callers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Bell:
    """Wakes everybody who waits, whenever something has changed."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake those who wait now."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def wait(self) -> None:
        """Return after the next ring."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)


class Requests:
    """Runs each request in a task of its own: a cancelled caller must not lose the answer."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], frozenset[str]] = {}

    async def send(
        self, coro: Coroutine[Any, Any, T], name: str, subjects: Iterable[str] = ()
    ) -> T:
        """Await a request; if the caller is cancelled meanwhile, it goes on alone. See `start`."""
        return await asyncio.shield(self.start(coro, name, subjects))

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
        if not task.cancelled() and (error := task.exception()) is not None:
            # The caller gets it too, unless it was cancelled: then this line is all there is.
            log.warning("%s failed: %s", task.get_name(), error)

    @property
    def names(self) -> list[str]:
        """What is not answered yet, for people to read."""
        return sorted(task.get_name() for task in self._tasks)

    async def wait(self, subject: str, timeout: float) -> None:
        """Return once what concerns `subject` is answered, or after `timeout` network seconds."""
        tasks = [task for task, subjects in self._tasks.items() if subject in subjects]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

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
