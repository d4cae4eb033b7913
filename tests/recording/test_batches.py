"""Row groups of files, by whomever they were written, read as the same events."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.events import BookDelta, BookSnapshot, LevelChange
from polyframe.recording import batches
from polyframe.recording.batches import read_batches, values
from polyframe.recording.changes import as_events
from polyframe.recording.columns import ColumnReader
from polyframe.recording.reader import Checker, checked
from polyframe.recording.rows import COLUMNS, Row, RowReader
from polyframe.recording.tape import TapeEvent, Timed, shares
from tests.recording.kit import CONDITION, DOWN, EXAMPLES, MARKET, START_MS, UP, tapes
from tests.recording.test_columns import batches_of, rows_of

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

SIZES = ("bid_prices_e4", "bid_sizes_e6", "ask_prices_e4", "ask_sizes_e6")


def change(number: int, best_bid: int = -1, time_ms: int = 0) -> Timed:
    """Return a message of one change, with or without what may be missing."""
    level = LevelChange(UP, True, 3900, Decimal(number), best_bid, -1)
    return Timed(START_MS + number, 1, BookDelta(CONDITION, (level,), time_ms))


@pytest.fixture(autouse=True, scope="module")
def _of_few_rows() -> Iterator[None]:
    """Look at what is told of the smallest groups, too: these tests have no others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_WORTH", 1)
        yield


CHANGES = [change(number) for number in range(5)]


@define
class Spy:
    """A Parquet file that notes which columns are asked for."""

    file: Any
    asked: list[Sequence[str]] = field(factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def iter_batches(self, *, columns: Sequence[str], **options: Any) -> Any:
        self.asked.append(columns)
        return self.file.iter_batches(columns=columns, **options)


def file_of(rows: list[Row], group: int, *, statistics: bool = True) -> Spy:
    """Return a file of row groups of `group` rows."""
    (batch,) = batches_of(rows, [])
    target = io.BytesIO()
    table = pa.Table.from_batches([batch])
    parquet.write_table(table, target, row_group_size=group, write_statistics=statistics)
    return Spy(parquet.ParquetFile(io.BytesIO(target.getvalue())))


def assert_read(rows: list[Row], file: Spy, size: int) -> None:
    """Read `file` some rows at a time; require what `RowReader` says of `rows`, and no more."""
    by_row, by_column = Counter[str](), Counter[str]()
    expected = list(checked(RowReader(MARKET, by_row).events(rows), Counter()))
    reader = ColumnReader(MARKET, RowReader(MARKET, by_column), Checker(Counter()))
    found = chain.from_iterable(reader.pieces(read_batches(file, size)))
    assert list(as_events(MARKET, found)) == expected
    assert by_column == by_row


@given(tapes(), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_row_groups_of_any_size_say_what_their_rows_say(
    tape: list[TapeEvent], group: int, size: int, statistics: bool
) -> None:
    """Whatever is in a group, with what is told of it or without: the same events and counts."""
    if rows := rows_of(tape):
        assert_read(rows, file_of(rows, group, statistics=statistics), size)


def test_of_changes_alone_only_their_columns_are_read() -> None:
    """Where a group tells that it has changes only, nothing is read that these have not."""
    rows = rows_of([*CHANGES, EXAMPLES[0]])
    file = file_of(rows, 5)
    assert_read(rows, file, 3)
    used = {"message", "received", "epoch", "kind", "outcome", "side", "price_e4", "size_e6"}
    assert set(file.asked[0]) == used  # neither times nor tops are in it
    assert set(file.asked[1]) > {*used, *SIZES, "time"}


@pytest.mark.parametrize("group", [1, 2, 3, 4, 99])
def test_changes_among_others_leave_these_whole(group: int) -> None:
    """Whatever stands before or behind changes in a group, by the order of its word, too, is read."""
    for example in EXAMPLES:
        rows = rows_of([CHANGES[0], example, CHANGES[1]])
        rows[-1]["received"] = rows[0]["received"] = rows[1]["received"]
        assert_read(rows, file_of(rows, group), 9)


def test_of_few_rows_all_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a group is small, looking at what is told of it would cost more than it saves."""
    monkeypatch.setattr(batches, "_WORTH", 6)
    rows = rows_of(CHANGES)
    file = file_of(rows, 5)
    assert_read(rows, file, 5)
    assert list(file.asked[0]) == list(COLUMNS)


def test_a_file_that_tells_nothing_is_read_as_a_whole() -> None:
    """Without statistics every column is read, and says the same."""
    rows = rows_of(CHANGES)
    file = file_of(rows, 5, statistics=False)
    assert_read(rows, file, 5)
    assert list(file.asked[0]) == list(COLUMNS)


@pytest.mark.parametrize("name", ["time", "best_bid_e4", "best_ask_e4", "tick_e4", "reason"])
def test_one_value_in_a_column_is_enough_to_read_it(name: str) -> None:
    """What one row of a group has is told, wherever that row stands."""
    for number in range(len(rows_of(EXAMPLES))):
        rows = rows_of(EXAMPLES)
        for place, row in enumerate(rows):
            if place != number and row["kind"] == "change":
                row[name] = None
        assert_read(rows, file_of(rows, len(rows)), 4)


def test_a_book_without_levels_is_a_book() -> None:
    """A list of none is no missing list, though statistics count both alike."""
    empty = [Timed(START_MS, 1, BookSnapshot(CONDITION, DOWN, (), ())) for _ in range(3)]
    rows = rows_of(empty)
    assert_read(rows, file_of(rows, 3), 3)
    for row in rows:
        row["bid_prices_e4"] = None  # no such book: it is counted as a bad row
    assert_read(rows, file_of(rows, 3), 3)


def test_a_row_of_no_kind_among_changes_is_counted() -> None:
    """What a group tells of its kinds leaves out the rows that have none."""
    rows = rows_of(CHANGES)
    rows[2]["kind"] = None
    (batch,) = batches_of(rows, [])
    fields = [one.with_nullable(True) for one in batch.schema]
    table = pa.Table.from_arrays(batch.columns, schema=pa.schema(fields))
    target = io.BytesIO()
    parquet.write_table(table, target)
    file = Spy(parquet.ParquetFile(io.BytesIO(target.getvalue())))
    assert_read(rows, file, 5)
    assert not set(SIZES) & set(file.asked[0])


def test_a_message_over_two_groups_of_unlike_columns_is_one() -> None:
    """A message whose end stands in the next group is told as one, though that has tops of books."""
    levels = [LevelChange(UP, True, 3900 + number, Decimal(1)) for number in range(3)]
    levels.append(LevelChange(DOWN, False, 6100, Decimal(2), 4000, 4100))
    rows = rows_of([change(0), Timed(START_MS + 1, 1, BookDelta(CONDITION, tuple(levels), 7))])
    file = file_of(rows, 3)
    assert_read(rows, file, 3)
    assert len({len(columns) for columns in file.asked}) == 2


@pytest.mark.parametrize("names", [COLUMNS, COLUMNS[::-1]])
def test_a_message_may_go_on_in_a_group_of_which_all_is_read(
    names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is cut by the end of a group is one, though the last group is a small one."""
    monkeypatch.setattr(batches, "_WORTH", 3)
    levels = tuple(LevelChange(UP, True, 3900 + number, Decimal(1)) for number in range(4))
    rows = rows_of([Timed(START_MS, 1, BookDelta(CONDITION, levels, 7))])
    (batch,) = batches_of(rows, [])
    target = io.BytesIO()
    table = pa.Table.from_batches([batch]).select(list(names))
    parquet.write_table(table, target, row_group_size=3)
    file = Spy(parquet.ParquetFile(io.BytesIO(target.getvalue())))
    assert_read(rows, file, 3)
    assert len({len(columns) for columns in file.asked}) == 2


@pytest.mark.parametrize("several", [1, 3, 60, 300, 5000])
def test_sizes_are_the_same_however_many_there_are(several: int) -> None:
    """Few that come again and again or each another one: each number has its value, in its place."""
    numbers = [number % several * 250_000 for number in range(1_000)]
    array = pa.array([7, *numbers], pa.int64())[1:]
    assert values(array, shares) == [Decimal(number) / 1_000_000 for number in numbers]


def test_sizes_of_which_few_come_first_are_all_told() -> None:
    """What the first of many rows look like does not bind the others."""
    numbers = [1_000_000] * 300 + [number * 1_000 for number in range(500)]
    found = values(pa.array(numbers, pa.int64()), shares)
    assert found == [Decimal(number) / 1_000_000 for number in numbers]


def test_few_sizes_are_asked_for_once_each() -> None:
    """Where a few numbers are all there are, their values are made once."""
    asked: list[int] = []

    def value(number: int) -> int:
        asked.append(number)
        return number

    numbers = [number % 9 for number in range(1_000)]
    assert values(pa.array(numbers, pa.int64()), value) == numbers
    assert asked == list(range(9))
