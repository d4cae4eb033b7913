"""Sweeps: what comes of each variant, what is kept, what is refused."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from polyframe import (
    ConfigError,
    Outcome,
    ParquetRecording,
    SweepResult,
    grid,
    run_backtest,
    sweep,
    write_market,
)
from polyframe.backtest.progress import Progress
from polyframe.backtest.sweeps.keys import canonical, task_key
from polyframe.backtest.sweeps.task import Part
from polyframe.backtest.sweeps.variants import label, make_variants
from polyframe.recording.gather import pieces_of
from polyframe.recording.kept import KeptRecording
from polyframe.recording.reader import Recording
from polyframe.recording.tape import TapeEvent, TapeMarket, file_name
from polyframe.strategy import Strategy
from polyframe.templates import read_settings
from tests.backtest.kit import MODELS, Eager, Made, both, make_entry, wandering
from tests.backtest.sweepkit import (
    SETTINGS,
    Buyer,
    InRounds,
    Odd,
    Shaky,
    eager_sweep,
    small,
    threads,
)


@pytest.fixture(scope="module")
def found() -> SweepResult:
    """Sweep once for the tests that only look at the result."""
    return eager_sweep()


# ---------------------------------------------------------------------- what comes of variants


def test_each_variant_is_what_a_back_test_with_its_settings_is(found: SweepResult) -> None:
    """Every figure of every cycle and of the total is that of `run_backtest`."""
    for variant, given_settings in zip(found.variants, SETTINGS, strict=True):
        report = run_backtest(Eager(**given_settings), data=small(), models=MODELS)
        assert [(c.slug, c.figures) for c in report.cycles] == [
            (c.slug, c.figures) for c in variant.cycles
        ]
        assert (report.total, report.drawdown, report.hit_rate) == (
            variant.total,
            variant.drawdown,
            variant.hit_rate,
        )
        assert report.total.trades
    assert found.markets == tuple(tape.market.slug for tape in small().markets())


def test_chunks_add_up_to_the_same_cycles(found: SweepResult) -> None:
    """Cut into chunks of one market, each cycle and the sums are the same where cash is no limit."""
    cut = eager_sweep(chunk=1)
    for whole, parts in zip(found.variants, cut.variants, strict=True):
        assert [evolve(c) for c in whole.cycles] == list(parts.cycles)
        assert whole.total is not None
        assert parts.total is not None
        assert whole.profit == parts.profit
        assert whole.total.volume == parts.total.volume
        assert whole.total.refusals == parts.total.refusals
        assert whole.total.exposure == max(c.figures.exposure for c in parts.cycles)


def test_each_chunk_begins_with_its_own_cash() -> None:
    """What one chunk has spent is not missing in the next; in one run it is."""
    data = Made()
    for number in range(2):
        entry = make_entry(number, Outcome.DOWN)  # what is bought is lost
        data.add(entry, (-10, both(entry, 49, 50)), (100, both(entry, 49, 50)))
    with threads() as executor:
        whole, cut = (
            sweep(
                Buyer(size=Decimal(10)),
                [{"limit": Decimal("0.5")}],
                data=data,
                executor=executor,
                chunk=chunk,
                cash=Decimal(8),
                on_error="skip_cycle",
                models=MODELS,
            )
            for chunk in (None, 1)
        )
    assert [whole.variants[0].figure("trades"), cut.variants[0].figure("trades")] == [1, 2]


def test_a_failed_variant_is_kept_with_its_error_and_the_others_go_on() -> None:
    """What a hook raises, and what a validator refuses, is in the row of that variant."""
    with threads() as executor:
        result = sweep(Odd, grid(number=[0, 1, 2, 9]), data=small(), executor=executor)
    good, luck, two, nine = result.variants
    assert good.failure is None
    assert good.profit == 0
    assert luck.failure is not None
    assert (luck.failure.kind, luck.failure.text) == ("LookupError", "no <luck>")
    assert "sweepkit.py" in luck.failure.trace
    assert two.failure is not None
    assert two.profit is None
    assert nine.failure is not None
    assert "number" in nine.failure.text
    assert result.failures == (luck, two, nine)
    rows = result.table().to_pylist()
    assert [row["status"] for row in rows] == ["done", "failed", "failed", "failed"]
    assert rows[1]["error"] == "LookupError: no <luck>"
    assert rows[1]["profit"] is None
    assert "FAILED number=1: LookupError: no <luck>" in result.text()
    assert "LookupError: no &lt;luck&gt;" in result._repr_html_()
    assert "<luck>" not in result._repr_html_()


@pytest.mark.parametrize("chunk", [None, 1])
def test_cycles_that_a_variant_sat_out_are_told(chunk: int | None, tmp_path: Path) -> None:
    """With errors that cost a cycle only, text, table and file say of how many cycles a variant is."""
    with threads() as executor:
        result = sweep(
            Shaky,
            grid(steady=[9, 1]),
            data=small(),
            executor=executor,
            chunk=chunk,
            folder=tmp_path,
            on_error="skip_cycle",
        )
    steady, shaky = result.variants
    assert (steady.failures, shaky.failures) == (
        {},
        {"Shaky: LookupError in on_cycle_start()": 2},
    )
    assert result.table().column("failed_cycles").to_pylist() == [0, 2]
    failed = "FAILED in cycles (Shaky: LookupError in on_cycle_start() 2): steady=1\n"
    assert failed in result.text()
    assert result.text().count("FAILED") == 1
    assert SweepResult.load(tmp_path) == result


def test_the_best_says_how_many_were_tried() -> None:
    """Beside the best figure stand the variants, the markets, the failures, and the median."""
    data = small()
    with threads() as executor:
        result = sweep(
            Eager, [*SETTINGS, {"every": 0}], data=data, executor=executor, models=MODELS
        )
    best = result.best()
    profits = [each.profit for each in result.variants if each.profit is not None]
    assert len(profits) == 4
    assert best.value == max(profits) == best.variant.profit
    assert best.text().startswith("5 variants were tried on 3 markets, 1 failed.\n")
    assert f"with every={best.variant.settings['every']}." in best.text()
    assert "Median of 4: " in best.text()
    assert "hindsight" in best.text()
    assert result.text().endswith(best.text() + "\n")
    assert result.best("trades").value == max(
        each.figure("trades") or 0 for each in result.variants
    )


def test_of_equals_the_first_is_the_best() -> None:
    """A tie is no matter of chance."""
    with threads() as executor:
        result = sweep(Odd, grid(number=[3, 0]), data=small(), executor=executor)
    assert result.best().variant.settings == {"number": 3}


def test_without_any_figure_there_is_no_best() -> None:
    """The error says how many failed, and the first reason."""
    with threads() as executor:
        result = sweep(Odd, grid(number=[1, 2]), data=small(), executor=executor)
    with pytest.raises(ConfigError, match="2 of 2 failed: no <luck>"):
        result.best()
    assert "no variant has a profit" in result.text()
    with pytest.raises(ConfigError, match=r"by: expected one of .*; got 'luck'"):
        result.best("luck")


# ---------------------------------------------------------------------- tables and files


def test_tables_of_all_kinds_have_the_same_rows(found: SweepResult) -> None:
    """Arrow, pandas, polars and CSV agree, and amounts are exact."""
    arrow = found.table().to_pylist()
    assert [row["every"] for row in arrow] == [3, 5, 8, 13]
    assert [row["profit"] for row in arrow] == [
        (each.profit or Decimal(0)).quantize(Decimal("0.00001")) for each in found.variants
    ]
    assert found.table("pandas").to_dict("records") == arrow
    assert found.table("polars").to_dicts() == arrow
    lines = found.csv().splitlines()
    assert lines[0].split(",")[:3] == ["variant", "every", "status"]
    assert len(lines) == 5
    with pytest.raises(ConfigError, match="kind: expected arrow, pandas or polars, got 'excel'"):
        found.table("excel")  # type: ignore[arg-type]


def test_cycles_are_a_table_as_well(found: SweepResult) -> None:
    """One row for each cycle of each variant."""
    rows = found.cycles().to_pylist()
    assert [row["variant"] for row in rows] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert rows[0]["winner"] in {"Up", "Down"}
    assert sum(row["trades"] for row in rows if row["variant"] == 2) == found.variants[2].figure(
        "trades"
    )


def test_a_setting_named_like_a_figure_has_a_column_of_its_own() -> None:
    """Nothing is overwritten."""

    @define
    class Named(Strategy):
        trades: int = 1
        side: Outcome = Outcome.UP

    with threads() as executor:
        variants = grid(trades=[7], side=list(Outcome))
        result = sweep(Named, variants, data=small(), executor=executor)
    rows = result.table().to_pylist()
    assert [(row["trades_setting"], row["trades"], row["side"]) for row in rows] == [
        (7, 0, "Up"),
        (7, 0, "Down"),
    ]


def test_a_sweep_is_the_same_after_it_was_saved(found: SweepResult, tmp_path: Path) -> None:
    """Everything comes back, and a file of something else is refused."""
    path = tmp_path / "sweep.json"
    found.save(path)
    assert SweepResult.load(path) == found
    assert SweepResult.load(path).encoded() == path.read_bytes()
    with threads() as executor:
        variants = grid(limit=[Decimal("0.50")], side=[Outcome.DOWN])
        typed = sweep(Buyer, variants, data=small(), executor=executor)
    typed.save(path)
    assert SweepResult.load(path).variants[0].settings == {"limit": Decimal("0.50"), "side": "Down"}
    path.write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read as a sweep"):
        SweepResult.load(path)


# ---------------------------------------------------------------------- what is tried


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.sampled_from("abcd"), st.lists(st.integers(), min_size=1, max_size=4), min_size=1
    )
)
def test_a_grid_has_every_combination_once_the_last_name_fastest(
    values: dict[str, list[int]],
) -> None:
    """It is the product of the lists, in their order."""
    found = grid(**values)
    assert [tuple(each.values()) for each in found] == list(itertools.product(*values.values()))
    assert all(list(each) == list(values) for each in found)


def test_the_same_settings_twice_are_one_variant() -> None:
    """Variants are objects or settings; what is equal is tried once."""
    same = make_variants(Eager(), [{"every": 3}, Eager(every=3), {"every": 5}, {"every": 3}])
    assert [each.settings for each in same] == [{"every": 3}, {"every": 5}]
    assert label({"a": Decimal("0.50"), "b": Outcome.UP, "c": None}) == "a=0.50, b=Up, c=None"


@pytest.mark.parametrize(
    ("variants", "match"),
    [
        ([], "variants: expected at least one"),
        ([{"limits": 1}], "limits: Buyer has no such setting; it has: limit, size, side"),
        ([{"limit": 0.5}], r"limit: expected Decimal, got 0.5; write Decimal\('0.5'\)"),
        ([{"limit": "0.5"}], "limit: expected Decimal, got '0.5'"),
        ([{"limit": Decimal("NaN")}], "limit: expected a finite number of an ordinary size, got"),
        ([{"limit": Decimal("1e999999")}], "limit: expected a finite number of an ordinary size"),
        ([{"side": "Up"}], "side: expected Outcome, got 'Up'"),
        ([{"done": True}], "done: Buyer has no such setting"),
        ([Eager()], "variants: expected Buyer objects, got Eager"),
        (["limit"], "variants: expected settings by name or strategies, got 'limit'"),
    ],
)
def test_variants_that_cannot_be_are_refused_before_anything_runs(
    variants: list[Any], match: str
) -> None:
    """The error names the setting, what it may be, and what was given."""
    with threads() as executor, pytest.raises(ConfigError, match=match):
        sweep(Buyer, variants, data=small(), executor=executor)


def test_values_of_settings_are_read_from_text() -> None:
    """By the type that the strategy declares."""

    @define
    class Typed(Strategy):
        price: Decimal = Decimal(1)
        count: int = 1
        is_on: bool = False
        side: Outcome = Outcome.UP
        title: str | None = None
        many: tuple[int, ...] = ()

    read = read_settings
    assert read(Typed, "price", ["0.55", "1"]) == [Decimal("0.55"), Decimal(1)]
    assert read(Typed, "count", ["5"]) == [5]
    assert read(Typed, "is_on", ["true", "No"]) == [True, False]
    assert read(Typed, "side", ["Up", "down"]) == [Outcome.UP, Outcome.DOWN]
    assert read(Typed, "title", ["x", "none"]) == ["x", None]
    not_prices = [("price", text) for text in ("x", "nan", "sNaN", "-inf", "1e999999")]
    for name, text in (*not_prices, ("count", "1.5"), ("is_on", "maybe")):
        with pytest.raises(ConfigError, match=f"{name}: expected .*, got '{text}'"):
            read(Typed, name, [text])
    with pytest.raises(ConfigError, match="many: a setting of this type cannot be given as text"):
        read(Typed, "many", ["1"])


@pytest.mark.parametrize("values", [{"a": []}, {"a": "text"}, {"a": 5}])
def test_a_grid_needs_lists(values: dict[str, Any]) -> None:
    """A text is no list of values, and nothing cannot be tried."""
    with pytest.raises(ConfigError, match="a: expected"):
        grid(**values)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"workers": 2}, "workers: expected no executor beside it"),
        ({"executor": None, "workers": 0}, "workers: expected a whole number from 1 on"),
        ({"executor": 5}, "executor: expected a concurrent.futures.Executor, got 5"),
        ({"chunk": 0}, "chunk: expected a whole number from 1 on, or None for all markets, got 0"),
        ({"counters": 1}, "counters: no option of a sweep; there are: cash, models"),
        ({"series": "eth-updown-5m"}, "series: nothing was recorded of eth-updown-5m"),
        ({"data": Made()}, "data: the recording has no markets"),
        ({"services": [lambda: 1]}, "options: they cannot be sent to workers"),
        ({"services": [object()]}, "services: object says nothing of itself"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(more: dict[str, Any], match: str) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError, match=match):
        eager_sweep(**more)


# ---------------------------------------------------------------------- the run folder


class Watched:
    """Takes progress and keeps the last."""

    def __init__(self) -> None:
        self.last = Progress()

    def __call__(self, progress: Progress) -> None:
        assert progress.done <= progress.total
        self.last = progress


def _resumed(folder: Path, data: Made | ParquetRecording, **more: Any) -> tuple[int, SweepResult]:
    """Sweep, and return how many tasks an earlier run had finished."""
    watched = Watched()
    result = eager_sweep(data, folder=folder, progress=watched, **more)
    assert watched.last.done == watched.last.total
    return watched.last.resumed, result


def test_finished_tasks_are_not_run_again(tmp_path: Path) -> None:
    """The second call finds all of it; whatever a result depends on makes it run again."""
    made, data = small(), tmp_path / "data"
    for tape in made.markets():
        write_market(data, tape, made.events(tape))
    folder = tmp_path / "run"
    first, result = _resumed(folder, ParquetRecording(data))
    assert (first, _resumed(folder, ParquetRecording(data))) == (0, (4, result))
    assert SweepResult.load(folder) == result
    assert _resumed(folder, ParquetRecording(data), cash=Decimal(500))[0] == 0
    assert _resumed(folder, ParquetRecording(data), models=evolve(MODELS, seed=1))[0] == 0
    file = next(data.rglob("*.parquet"))
    os.utime(file, ns=(1, 1))
    assert _resumed(folder, ParquetRecording(data), chunk=1)[0] == 0
    os.utime(file, ns=(2, 2))
    # Of three chunks two are what they were, for each of four variants.
    assert _resumed(folder, ParquetRecording(data), chunk=1)[0] == 8


def test_a_worker_that_stays_reads_replaced_files_afresh(tmp_path: Path) -> None:
    """What an executor of the caller's remembers of an earlier sweep is of the files of then."""

    def write(data: Made) -> ParquetRecording:
        for tape in data.markets():
            write_market(tmp_path / "data", tape, data.events(tape))
        return ParquetRecording(tmp_path / "data")

    def swept(executor: Executor, data: Made) -> SweepResult:
        for file in (tmp_path / "data").rglob("*.parquet"):
            file.unlink()
        return sweep(Eager, SETTINGS[:1], data=write(data), executor=executor, models=MODELS)

    first, second = wandering(1, 1, rows=50), wandering(2, 1, rows=50)
    with threads(1) as one, threads(1) as other:
        assert swept(one, first) != swept(one, second) == swept(other, second)


def test_a_recording_without_files_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    """Other events are another recording, although the markets are the same."""
    assert [_resumed(tmp_path, small(1))[0] for _ in range(2)] == [0, 4]
    data = small(1)
    data.rows[0][1].pop()
    assert _resumed(tmp_path, data)[0] == 0


def test_a_damaged_result_is_run_again(tmp_path: Path) -> None:
    """A file that cannot be read, or that is of another task, counts as none."""
    _, result = _resumed(tmp_path, small())
    first, second, third, _ = sorted((tmp_path / "tasks").iterdir())
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(third.read_bytes())
    assert _resumed(tmp_path, small()) == (2, result)
    assert _resumed(tmp_path, small()) == (4, result)


def test_failures_are_kept_until_somebody_wants_them_tried_again(tmp_path: Path) -> None:
    """They are results; `retry_failed` runs them, and only them."""

    def resumed(*, retry_failed: bool) -> tuple[int, int]:
        watched = Watched()
        with threads() as executor:
            sweep(
                Odd,
                grid(number=[0, 1]),
                data=small(),
                executor=executor,
                folder=tmp_path,
                progress=watched,
                retry_failed=retry_failed,
            )
        return watched.last.resumed, watched.last.failed

    assert resumed(retry_failed=False) == (0, 1)
    assert resumed(retry_failed=False) == (2, 1)
    assert resumed(retry_failed=True) == (1, 1)


class Torn(Made):
    """Cannot be read."""

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        raise OSError("torn tape")


def test_an_error_of_the_disk_is_no_result_that_is_kept(tmp_path: Path) -> None:
    """It is told as the variant's failure, and the next run tries again."""
    found = eager_sweep(Torn(small().rows), folder=tmp_path)
    assert len(found.failures) == 4
    assert found.table().to_pylist()[0]["error"] == "OSError: torn tape"
    assert not list((tmp_path / "tasks").iterdir())


def test_one_sweep_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    """The second is refused; the folder is free when the first has ended, also with an error."""

    def inside(_: Progress) -> None:
        with pytest.raises(ConfigError, match="folder: another sweep writes to"):
            eager_sweep(folder=tmp_path)
        raise KeyError("enough")

    with pytest.raises(KeyError):
        eager_sweep(folder=tmp_path, progress=inside)
    assert eager_sweep(folder=tmp_path).variants
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"folder: .* cannot be written"):
        eager_sweep(folder=tmp_path / "file")


Facts = tuple[int, dict[str, Any], list[str], str]


@settings(max_examples=40)
@given(st.data())
def test_a_key_is_as_different_as_what_it_is_of(data: st.DataObject) -> None:
    """Equal inputs have equal keys; another setting, option, market or version has another key."""
    facts: st.SearchStrategy[Facts] = st.tuples(
        st.integers(1, 3),
        st.dictionaries(st.sampled_from("ab"), st.sampled_from([1, Decimal(1), "1", None, (1,)])),
        st.lists(st.sampled_from("xy"), max_size=2),
        st.sampled_from(["1", "2"]),
    )
    first, second = data.draw(facts), data.draw(facts)

    def key(of: Facts) -> str:
        return task_key(Eager(every=of[0]), dict(reversed(of[1].items())), of[2], of[3])

    assert (key(first) == key(second)) == (repr(_typed(first)) == repr(_typed(second)))


class Shortened:
    """Tells of itself only in part, as large tables do."""

    def __init__(self, number: int) -> None:
        self.number = number

    @override
    def __repr__(self) -> str:
        return "Shortened([1, 2, ..., 9])"


def _times(factor: int) -> Callable[[int], int]:
    return lambda value: value * factor


def test_functions_without_a_name_and_shortened_texts_are_told_apart() -> None:
    """Two settings of one name or one text, which do different things, are no one task."""
    values: list[object] = [
        *(lambda value: value, lambda value: -value),
        *(_times(2), _times(3)),
        *(Shortened(1), Shortened(2)),
    ]
    told = [repr(canonical(value, "model")) for value in values]
    assert len(set(told)) == len(values)
    assert repr(canonical(_times(2), "model")) == told[2]
    assert repr(canonical(Shortened(1), "model")) == told[4]


def _typed(facts: Facts) -> object:
    return (facts[0], sorted(facts[1].items(), key=lambda pair: pair[0]), facts[2], facts[3])


# ---------------------------------------------------------------------- data


class Counted(Made):
    """Counts how often a market was read."""

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        reads.append(market.market.slug)
        return super().events(market)


reads: list[str] = []


def test_a_worker_reads_each_market_once_for_all_variants() -> None:
    """It remembers the events of the chunk at hand."""
    reads.clear()
    data = Counted(small().rows)
    with threads(1) as executor:
        sweep(Eager, SETTINGS, data=data, executor=executor, chunk=2, models=MODELS)
    assert reads == [tape.market.slug for tape in data.markets()]


def test_a_part_of_a_recording_is_some_of_its_markets() -> None:
    """Their events are those of the recording, by column, too; nothing is told of the others."""
    data = small()
    part = Part(data, [file_name(tape.market) for tape in data.markets()[:2]])
    assert list(part.markets()) == list(data.markets()[:2])
    for tape in part.markets():
        assert list(part.events(tape)) == list(data.events(tape))
        assert list(part.stretches(tape)) == list(pieces_of(data, tape))
    for ask in (part.events, part.stretches):
        with pytest.raises(KeyError):
            ask(data.markets()[2])


def test_what_a_worker_keeps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound markets are read anew for each variant; the table is the same."""
    data, tables = Counted(small().rows), list[str]()
    for megabytes, times in ((150.0, 1), (0.0, 4)):
        reads.clear()
        monkeypatch.setattr("polyframe.backtest.sweeps.task.REMEMBERED", megabytes)
        with threads(1) as executor:
            done = sweep(Eager, SETTINGS, data=data, executor=executor, models=MODELS)
        tables.append(done.csv())
        assert len(reads) == times * 3
    assert tables[0] == tables[1]


def test_a_kept_recording_is_kept_over_all_chunks_and_rounds() -> None:
    """A worker forgets a chunk for the next one; what it was told to keep it keeps, up to that bound."""
    data, tables = Counted(small().rows), list[str]()
    cases: list[tuple[Recording, int]] = [
        (data, 6),
        (KeptRecording(data), 3),
        (KeptRecording(data, megabytes=0), 12),
    ]
    for recording, times in cases:
        reads.clear()
        rounds = InRounds([SETTINGS[:2], SETTINGS[2:]])
        with threads(1) as executor:
            done = sweep(Eager, rounds, data=recording, executor=executor, models=MODELS, chunk=1)
        tables.append(done.csv())
        assert len(reads) == times
    assert tables[0] == tables[1] == tables[2]


def test_what_is_kept_of_a_recording_changes_no_key(tmp_path: Path) -> None:
    """A folder that was begun with a recording goes on with one that is kept, and says so."""
    told: list[Progress] = []
    for recording in (small(), KeptRecording(small()), KeptRecording(small(), megabytes=5)):
        eager_sweep(recording, folder=tmp_path, progress=told.append)
    assert (told[-1].done, told[-1].resumed) == (4, 4)


def test_a_recording_that_is_all_in_memory_is_refused_when_it_is_large() -> None:
    """Data travels as paths."""
    entry = make_entry()
    data = Made().add(entry, *((n / 100, both(entry, 49, 50)) for n in range(4_000)))
    with pytest.raises(ConfigError, match="are too much to send with each task; write it with"):
        eager_sweep(data)


def test_progress_counts_each_task() -> None:
    """What failed is told, and variants that cannot be made are no tasks."""
    told: list[Progress] = []
    with threads(1) as executor:
        variants = grid(number=[0, 1, 9])
        sweep(Odd, variants, data=small(), executor=executor, chunk=2, progress=told.append)
    assert told[0] == Progress(0, 4)
    assert told[-1] == Progress(4, 4, failed=2)
    assert [each.done for each in told] == [0, 1, 2, 3, 4]


def test_a_bar_shows_tasks_failures_and_what_was_done_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, on request; without a terminal or without rich nothing by default."""

    def shown(*, progress: bool | None) -> str:
        with threads(1) as executor:
            sweep(
                Odd,
                grid(number=[0, 1]),
                data=small(1),
                executor=executor,
                folder=tmp_path,
                progress=progress,
            )
        return capsys.readouterr().err

    assert shown(progress=None) == ""
    text = shown(progress=True)
    assert "2/2" in text
    assert "1 failed, 2 done before" in text
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert shown(progress=None) == ""
    with pytest.raises(ConfigError, match=r"progress: the package rich.console is not installed"):
        shown(progress=True)


def test_a_program_with_an_event_loop_sweeps_in_a_thread(found: SweepResult) -> None:
    """The loop goes on, and the result is the same."""

    async def main() -> SweepResult:
        return await asyncio.to_thread(eager_sweep)

    assert asyncio.run(main()).encoded() == found.encoded()


def test_a_table_says_which_package_is_missing(
    found: SweepResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody depends on pandas and polars."""
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(
        ConfigError, match="table: the package polars is not installed: pip install"
    ):
        found.table("polars")
