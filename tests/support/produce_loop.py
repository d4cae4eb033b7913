"""For every count of an event loop that is held up: something that does so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from unittest.mock import patch

import polyframe.loopwatch
from polyframe.counters import Count, Counters
from polyframe.loopwatch import LoopWatch
from tests.support.produce_events import Producer

_LIMIT, _PATIENCE = 0.05, 30.0


def _watched(act: Callable[[], None], reason: str, *, hook: str = "") -> Counters:
    """Let `act` hold up a loop until it was counted; in real time, because nobody looks in simulated time."""
    counters = Counters()

    async def hold_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        if hook:
            watch.own(task, slug="a-market", strategy="Mine", hook=lambda: hook)
        deadline = time.monotonic() + _PATIENCE
        # More than once, in case others use the processor at the moment.
        while not counters.get(Count.LOOP_BLOCKED, reason) and time.monotonic() < deadline:
            act()
            await asyncio.sleep(_LIMIT)

    async def main() -> None:
        watch.start()
        try:
            await asyncio.create_task(hold_up())
        finally:
            watch.stop()

    watch = LoopWatch(_LIMIT, counters)
    asyncio.run(main())
    return counters


def _block() -> None:
    time.sleep(4 * _LIMIT)


def _suspended() -> Counters:
    now = polyframe.loopwatch._now
    asleep = 0.0

    def sleep() -> None:
        nonlocal asleep
        asleep += 60.0

    with patch.object(polyframe.loopwatch, "_now", lambda: now() + asleep):
        return _watched(sleep, "stood_still")


LOOP: dict[tuple[Count, str], Producer] = {
    (Count.LOOP_BLOCKED, "<hook>"): lambda: _watched(_block, "on_price", hook="on_price"),
    (Count.LOOP_BLOCKED, "elsewhere"): lambda: _watched(_block, "elsewhere"),
    (Count.LOOP_BLOCKED, "stood_still"): _suspended,
}
