"""The same run gives the same report."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from polyframe.backtest.run import backtest, run_backtest
from polyframe.counters import Count, Counters
from polyframe.recording.tape import TapeEvent, TapeMarket
from tests.backtest.kit import Eager, Made, wandering


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1_000), every=st.integers(2, 9))
def test_the_same_run_gives_the_same_report_byte_for_byte(seed: int, every: int) -> None:
    """Two runs in one process agree in everything that they tell."""
    data = wandering(seed, cycles=2, rows=60)
    first, second = (run_backtest(Eager(every), data=data) for _ in range(2))
    assert first == second
    assert repr(first) == repr(second)
    assert first.decisions == second.decisions


class Skipping(Made):
    """A recording that finds something to skip whenever it is read."""

    left_out: ClassVar[Counter[str]] = Counter()

    @override
    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        self.left_out["crossed"] += 1
        return super().events(market)

    @property
    @override
    def skipped(self) -> Mapping[str, int]:
        return self.left_out


def test_what_earlier_runs_skipped_is_not_in_a_report() -> None:
    """A recording counts as long as it lives; a report tells of its own run only."""
    data = Skipping(wandering(2, cycles=2).rows)
    first, second = (run_backtest(Eager(), data=data) for _ in range(2))
    assert first.skipped == second.skipped == {"crossed": 2}
    assert first.text() == second.text()
    assert "rows skipped: crossed 2" in first.text()


def test_a_window_that_was_not_recorded_pauses_trading_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Before the first market, between two and after the last, nothing is told as a trouble."""
    whole = wandering(3, cycles=4)
    del whole.rows[1:3]
    counters = Counters()
    with caplog.at_level("WARNING"):
        report = run_backtest(Eager(), data=whole, counters=counters)
    assert [cycle.slug for cycle in report.cycles] == [e.market.slug for e in whole.markets()]
    assert caplog.messages == []
    assert counters.get(Count.SWITCHES, "paused") == 2


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
