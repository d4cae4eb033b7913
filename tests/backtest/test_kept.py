"""A back-test of what is kept in memory is that of what it was read from, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from polyframe import (
    KeptRecording,
    Outcome,
    ParquetRecording,
    ResolvedMarkets,
    StrategyFailed,
    run_backtest,
    write_csv,
    write_market,
)
from polyframe.backtest.sweeps.task import Part
from polyframe.paper.models import PaperModels
from polyframe.recording.csvfiles import CsvRecording
from polyframe.recording.reader import Recording
from polyframe.recording.tape import file_name
from polyframe.report.values import Report
from polyframe.strategy import Strategy
from tests.backtest.kit import MODELS, Eager, wandering
from tests.backtest.sweepkit import Buyer
from tests.backtest.test_by_column import STRATEGIES, Noting, OnBook, run, tame, wild
from tests.recording.test_kept import Faulty
from tests.recording.test_parquet import rewrite

BOUNDS = st.sampled_from([None, 0.0, 0.02])


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    kinds=st.lists(st.sampled_from(STRATEGIES), min_size=2, max_size=3),
    megabytes=BOUNDS,
)
def test_strategies_hear_the_same_each_time(
    seed: int, kinds: list[list[type[Noting]]], megabytes: float | None
) -> None:
    """One run after another: every hook with its time and both books, every counter, the report."""
    plain, data = (Faulty(wild(seed).rows) for _ in range(2))
    kept = KeptRecording(data, megabytes)
    for each in kinds:
        expected = run(plain, each, seed, PaperModels(seed=seed))
        assert run(kept, each, seed, PaperModels(seed=seed)) == expected
    assert kept.skipped == plain.skipped
    assert kept.doubtful == plain.doubtful


def _bad_parquet(folder: Path) -> Recording:
    """Write files in which some rows make no sense."""
    for entry, events in tame(9).rows:
        path = Path(write_market(folder, entry, events).location)
        rewrite(path, lambda rows, _: [row.update(kind="later") for row in rows[7::13]])
    return ParquetRecording(folder)


def _csv(folder: Path) -> Recording:
    for entry, events in tame(8).rows:
        write_csv(folder, entry, events)
    return CsvRecording(folder)


def _sample(_: Path) -> Recording:
    sample = ResolvedMarkets()
    return Part(sample, [file_name(entry.market) for entry in sample.markets()[2:4]])


def _in_memory(_: Path) -> Recording:
    return Faulty(wild(10).rows)


@pytest.mark.parametrize("make", [_bad_parquet, _csv, _sample, _in_memory])
def test_reports_are_the_same_byte_for_byte(
    make: Callable[[Path], Recording], tmp_path: Path
) -> None:
    """Three runs of each of two strategies, files with rows that their reader skips among them."""
    (tmp_path / "data").mkdir()
    plain, kept = make(tmp_path / "data"), KeptRecording(make(tmp_path / "data"))
    for strategy in (Eager(), Buyer(limit=Decimal("0.7")), Eager(every=3)):
        reports = [
            run_backtest(strategy, data=data, models=MODELS, on_error="skip_cycle")
            for data in (plain, kept)
        ]
        told = [_written(report, tmp_path / "report") for report in reports]
        assert told[0] == told[1]
        assert reports[0].total.fills > 0
        assert reports[0].skipped == reports[1].skipped
        assert bool(reports[1].skipped) == (make in (_bad_parquet, _in_memory))
    assert kept.kept_megabytes > 0


def _written(report: Report, folder: Path) -> dict[str, bytes]:
    """Return the files of a report, by name."""
    report.write(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_recording_that_breaks_ends_each_run_with_its_error() -> None:
    """After the same hooks, in the first run and in the third."""
    plain, kept = (Faulty(wild(11, rows=400).rows, breaks=True) for _ in range(2))
    told = []
    for data in (plain, KeptRecording(kept)):
        notes: list[object] = []
        for _ in range(3):
            with pytest.raises(ValueError, match="broken"):
                run_backtest(OnBook(1), data=data, models=MODELS, services=[notes])
            notes.append("broken")
        told.append(notes)
    assert told[0] == told[1]
    assert len(told[0]) > 10


@define
class Late(Strategy):
    """Fails in the middle of one market."""

    slug: str = ""

    @override
    async def on_book(self, outcome: Outcome) -> None:
        """Fail."""
        if self.market.slug == self.slug and self.seconds_left() < 150:
            raise LookupError("late")


def test_a_run_that_ends_half_way_takes_nothing_from_the_next() -> None:
    """What it did not hear of its last market is told to the next run all the same."""
    plain = wandering(4, cycles=3)
    kept = KeptRecording(plain)
    slug = plain.markets()[1].market.slug
    with pytest.raises(StrategyFailed):
        run_backtest(Late(slug), data=kept, models=MODELS, on_error="raise")
    reports = [run_backtest(Eager(), data=data, models=MODELS) for data in (plain, kept)]
    assert repr(reports[0]) == repr(reports[1])
