"""A sleep that somebody else may cut short."""

from __future__ import annotations

import asyncio

import pytest

from polyframe.clock import VirtualClock
from polyframe.tasks import Nap


def test_a_nap_is_as_long_as_its_sleep_or_until_it_is_cut() -> None:
    """Cut, it ends at once and says so; it can be taken again and again."""
    clock, nap = VirtualClock(), Nap()

    async def main() -> None:
        assert not await nap.take(clock.sleep(5))
        nap.cut()  # there is none: the next one is as long as ever
        assert not await nap.take(clock.sleep(5))
        asyncio.get_running_loop().call_later(2, nap.cut)
        assert await nap.take(clock.sleep(5))
        assert clock.time() == 12
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    clock.run(main())


@pytest.mark.parametrize("order", ["cancel", "cut cancel", "cancel cut"])
def test_who_is_cancelled_is_cancelled(order: str) -> None:
    """That the nap is cut at the same instant must not swallow a cancellation of somebody else's."""
    clock, nap = VirtualClock(), Nap()

    async def main() -> None:
        task = asyncio.create_task(nap.take(clock.sleep(5)))
        await asyncio.sleep(0)
        for what in order.split():
            if what == "cut":
                nap.cut()
            else:
                task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    clock.run(main())


def test_who_cleans_up_after_a_cancellation_can_nap() -> None:
    """A cancellation of before is neither taken back nor raised once more."""
    clock, nap = VirtualClock(), Nap()
    ends: list[tuple[bool, int]] = []

    async def cleans_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await clock.sleep(9)
        finally:
            asyncio.get_running_loop().call_later(2, nap.cut)
            ends.append((await nap.take(clock.sleep(5)), task.cancelling()))

    async def main() -> None:
        task = asyncio.create_task(cleans_up())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    clock.run(main())
    assert ends == [(True, 1)]
    assert clock.time() == 2
