"""Requests that outlive their callers, and who is woken when."""

from __future__ import annotations

import asyncio

import pytest

from polyframe.clock import VirtualClock
from polyframe.trading.requests import Bell, Requests, ended


def test_who_waits_longest_is_woken_first() -> None:
    """In a simulation nothing may hang on where in memory a waiter is."""
    woken: list[int] = []

    async def main() -> None:
        bell = Bell()

        async def wait(number: int) -> None:
            await bell.wait()
            woken.append(number)

        waiters = [asyncio.create_task(wait(number)) for number in range(100)]
        await asyncio.sleep(0)
        waiters[3].cancel()
        bell.ring()
        await asyncio.wait(waiters)

    VirtualClock().run(main())
    assert woken == [number for number in range(100) if number != 3]


def test_waiting_for_tasks_ends_none_of_them_and_leaves_nothing_behind() -> None:
    """Who is cancelled while waiting takes his callbacks along; a task that failed counts as over."""

    async def main() -> None:
        done: list[asyncio.Task[None]] = []

        async def fail() -> None:
            await asyncio.sleep(1)
            raise ValueError

        def note(task: asyncio.Task[None]) -> None:
            done.append(task)

        tasks = [asyncio.create_task(asyncio.sleep(2)), asyncio.create_task(fail())]
        for task in tasks:
            task.add_done_callback(note)
        gone, stays = (asyncio.create_task(ended(*tasks)) for _ in range(2))
        await asyncio.sleep(0.5)
        gone.cancel()
        await asyncio.wait({gone})
        assert gone.cancelled()
        assert done == []
        await stays
        assert asyncio.get_running_loop().time() == 2
        assert done == tasks[::-1]
        assert isinstance(tasks[1].exception(), ValueError)
        await ended(*tasks)  # of those that are over, too

    VirtualClock().run(main())


def test_a_request_that_was_given_up_is_a_cancellation_of_who_waits_for_it() -> None:
    """As for anybody who awaits a task."""

    async def main() -> None:
        requests = Requests()
        caller = asyncio.create_task(requests.send(asyncio.sleep(9), "r"))
        await asyncio.sleep(1)
        await requests.abandon()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert requests.names == []

    VirtualClock().run(main())
