"""The same run gives the same report."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from polyframe import clock as clock_module
from polyframe.backtest.run import backtest, run_backtest
from polyframe.clock import Doorbell
from polyframe.counters import Count, Counters
from polyframe.model.events import TradePrint
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, Side
from polyframe.paper.book import PaperBook
from polyframe.paper.matching import PaperMarket
from polyframe.paper.models import PaperModels
from polyframe.paper.queues import CancelsBehind, Power2, ProRata, QueueModel, Touch
from polyframe.recording.parquet import ParquetRecording, write_market
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed
from polyframe.report.html import page
from polyframe.report.ledgers import ledger_report
from polyframe.strategy import Strategy
from tests.backtest.kit import MODELS, Eager, Made, both, level, make_entry, wandering
from tests.backtest.noted import got


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1_000), every=st.integers(2, 9))
def test_the_same_run_gives_the_same_report_byte_for_byte(seed: int, every: int) -> None:
    """Two runs in one process agree in everything that they tell."""
    data = wandering(seed, cycles=2, rows=60)
    first, second = (run_backtest(Eager(every), data=data) for _ in range(2))
    assert first == second
    assert repr(first) == repr(second)
    assert first.decisions == second.decisions


def traded(made: Made, seed: int) -> Made:
    """Return a recording with trades among its rows."""
    chance, found = random.Random(seed), Made()
    for entry, rows in made.rows:
        events = list[TapeEvent]()
        for event in rows:
            events.append(event)
            if chance.random() < 0.3:
                name, token = entry.market.condition_id, entry.market.up_token
                price, size = chance.randint(40, 60) * 100, Decimal(chance.randint(1, 90))
                message = TradePrint(name, token, price, size, chance.choice([None, *Side]))
                events.append(Timed(event.received_ms, 1, message))
        found.rows.append((entry, events))
    return found


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    every=st.integers(2, 9),
    queue=st.sampled_from([Power2(), ProRata(), CancelsBehind(), Touch()]),
    is_delayed=st.booleans(),
)
def test_what_saves_time_changes_nothing_in_a_report(
    seed: int, every: int, queue: QueueModel, is_delayed: bool
) -> None:
    """Rows played where a strategy waits, and a book that is looked at late: as one by one, in turn."""
    data = traded(wandering(seed, cycles=2, rows=60), seed)
    models = evolve(PaperModels(seed=seed) if is_delayed else MODELS, queue=queue)
    report = run_backtest(Eager(every), data=data, models=models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock_module, "_IdleDoorbell", lambda _: Doorbell())
        patch.setattr(PaperMarket, "can_wait", lambda *_: False)
        patch.setattr(PaperBook, "apply_later", PaperBook.apply)
        plain = run_backtest(Eager(every), data=data, models=models)
    assert report == plain
    assert repr(report) == repr(plain)
    assert report.decisions == plain.decisions
    assert report.text() == plain.text()


@define
class Once(Strategy):
    """Takes what the first ask shows, as soon as there is one."""

    is_done: bool = field(init=False, default=False)

    @override
    async def on_book(self, outcome: Outcome) -> None:
        ask = self.session.price(Outcome.UP).ask
        if ask is not None and not self.is_done:
            self.is_done = True
            await self.trading.buy(
                Outcome.UP, price=ask, size=Decimal(10), order_type=OrderType.FAK
            )


def test_an_order_that_arrives_with_a_change_meets_the_book_before_it() -> None:
    """A change that nobody waits for is left for later, but never before what is due with it."""
    entry = make_entry()
    gone = level(entry, Outcome.UP, 51, 0, is_bid=False)
    made = Made().add(entry, (-5, both(entry, 50, 51)), (0.25, [gone]))
    report = run_backtest(Once(), data=made, models=MODELS)
    (fill,) = got(report)
    assert fill[0] == entry.market.window.start * 1000 + 250
    assert fill[3:5] == (Decimal("0.51"), Decimal(10))


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


def test_files_that_were_skipped_are_in_each_report(tmp_path: Path) -> None:
    """A file that is no recording, or has a market twice, is told by text and page of every run on it."""
    made = wandering(2, cycles=1)
    for part in ("a", "b"):
        write_market(tmp_path / part, made.markets()[0], made.events(made.markets()[0]))
    (tmp_path / "mine.parquet").touch()
    data, path = ParquetRecording(tmp_path), tmp_path / "trades.sqlite"
    first, second = (run_backtest(Eager(), data=data, ledger=each) for each in (path, None))
    assert first.skipped == second.skipped == {"duplicate": 1, "unreadable": 1}
    assert first.text() == second.text()
    assert "files skipped: duplicate 1, unreadable 1\n" in first.text()
    assert "<dt>files skipped</dt><dd>duplicate 1, unreadable 1</dd>" in page(first)
    for each in (data, data, ParquetRecording(tmp_path)):
        assert ledger_report(path, data=each).skipped == first.skipped


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
    assert ticks > 1  # it would be 1 if it held the loop until its end
