"""Ends that must be reached although somebody is in a hurry, and sleeps that need not be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any


async def see_through(coro: Coroutine[Any, Any, None], name: str, *, patient: bool = True) -> None:
    """Run `coro` to its end in a task of its own, although the caller is cancelled meanwhile.

    The first cancellation waits for the end and is raised then; a second one cancels `coro` and
    waits for what it does about that.

    Args:
        coro: Bounded in time, also when it is cancelled.
        name: Name of the task.
        patient: False if the caller was cancelled before, so that the next cancellation is a second.
    """
    task = asyncio.create_task(coro, name=name)
    interrupted: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            if interrupted is not None or not patient:
                # Not at once: cancelled before its first step it would not run at all.
                asyncio.get_running_loop().call_soon(task.cancel)
            interrupted = error
    if not task.cancelled():
        task.result()
    if interrupted is not None:
        raise interrupted


class Nap:
    """A sleep of a task that somebody else may cut short.

    What `asyncio.timeout` does for a time that is not known before, at less than half its cost.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._is_cut = False

    async def take(self, sleep: Awaitable[None]) -> bool:
        """Await `sleep`, or until `cut`; say whether it was cut short."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - somebody awaits this
        before = task.cancelling()
        self._task, self._is_cut = task, False
        try:
            await sleep
        except asyncio.CancelledError:
            # If somebody has cancelled the task as well, that is not ours to take back.
            if not self._is_cut or task.uncancel() > before:
                raise
        finally:
            self._task = None
        return self._is_cut

    def cut(self) -> None:
        """End the sleep, if there is one now."""
        if self._task is not None and not self._is_cut:
            self._is_cut = True
            self._task.cancel()
