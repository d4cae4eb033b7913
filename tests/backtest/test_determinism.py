"""The same run gives the same report."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.backtest.run import backtest, run_backtest
from tests.backtest.kit import Eager, wandering


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1_000), every=st.integers(2, 9))
def test_the_same_run_gives_the_same_report_byte_for_byte(seed: int, every: int) -> None:
    """Two runs in one process agree in everything that they tell."""
    data = wandering(seed, cycles=2, rows=60)
    first, second = (run_backtest(Eager(every), data=data) for _ in range(2))
    assert first == second
    assert repr(first) == repr(second)
    assert first.decisions == second.decisions


def test_within_an_event_loop_the_report_is_the_same() -> None:
    """The awaited form runs beside the caller's tasks and finds what the blocking one finds."""
    data = wandering(5)
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        running = asyncio.create_task(backtest(Eager(), data=data))
        while not running.done():
            ticks += 1
            await asyncio.sleep(0.001)
        assert await running == run_in_thread

    run_in_thread = run_backtest(Eager(), data=data)
    asyncio.run(main())
    assert ticks > 3
