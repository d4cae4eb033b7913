"""Ends that must be reached although somebody is in a hurry."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
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
