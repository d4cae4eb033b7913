"""Batches of columns read as the same events as their rows one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.events import BookDelta
from polyframe.model.stretch import Stretch, place
from polyframe.recording.changes import as_events
from polyframe.recording.columns import ColumnReader
from polyframe.recording.reader import Checker, Piece, checked
from polyframe.recording.rows import COLUMNS, Row, RowReader, RowWriter, schema
from polyframe.recording.tape import TapeEvent, Timed
from tests.recording.kit import EXAMPLES, MARKET, START_MS, messages_of, tapes

pa = pytest.importorskip("pyarrow")

LEVELS = ("bid_prices_e4", "bid_sizes_e6", "ask_prices_e4", "ask_sizes_e6")

DAMAGES: Sequence[tuple[str, object]] = [
    *(("message", value) for value in (None, 0, 3)),
    *(("received", value) for value in (None, START_MS - 5, START_MS + 100)),
    *(("epoch", value) for value in (None, 7)),
    *(("kind", value) for value in (None, "candle", "change", "gap", "quote", "trade", "book")),
    *(("outcome", value) for value in (None, "Sideways")),
    *(("time", value) for value in (None, START_MS - 7)),
    *(("side", value) for value in (None, "HOLD")),
    *(("price_e4", value) for value in (None, 0, 1, 9_999, 10_000)),
    *(("size_e6", value) for value in (None, -1, 2**63 - 1)),
    *((top, value) for top in ("best_bid_e4", "best_ask_e4") for value in (None, -1, 10_001)),
    *(("tick_e4", value) for value in (None, 0, 10_000)),
    *((name, [value]) for name in LEVELS for value in (None, -1, 0, 10_000)),
    *((name, value) for name in LEVELS for value in (None, [], [1, 1])),
    ("bid_prices_e4", [4100]),
]
"""What may be wrong with a row, or only looks as if it were."""


def batches_of(rows: list[Row], cuts: list[int]) -> list[Any]:
    """Return rows as record batches that end at `cuts`."""
    columns = schema(pa)
    ends = sorted({cut for cut in cuts if 0 < cut < len(rows)} | {len(rows)})
    begins = [0, *ends[:-1]]
    return [
        pa.record_batch(
            [
                pa.array([row.get(name) for row in rows[begin:end]], type=columns.field(name).type)
                for name in COLUMNS
            ],
            schema=columns,
        )
        for begin, end in zip(begins, ends, strict=True)
    ]


def taken_apart(piece: Piece) -> Sequence[TapeEvent]:
    """Return the events of a piece, those of a stretch as it says itself."""
    if not isinstance(piece, Stretch):
        return [piece]
    return list(messages_of(piece))


def rows_of(tape: Sequence[TapeEvent]) -> list[Row]:
    """Return events as rows that have all columns."""
    writer = RowWriter(MARKET)
    return [{name: row.get(name) for name in COLUMNS} for one in tape for row in writer.rows(one)]


def assert_same(rows: list[Row], cuts: list[int]) -> None:
    """Read rows in batches that end at `cuts`; require what `RowReader` says of them, and no more."""
    by_row, by_column = Counter[str](), Counter[str]()
    doubts: list[Counter[str]] = [Counter(), Counter()]
    expected = list(checked(RowReader(MARKET, by_row).events(rows), doubts[0]))
    reader = ColumnReader(MARKET, RowReader(MARKET, by_column), Checker(doubts[1]))
    pieces = list(chain(*reader.pieces(batches_of(rows, cuts))))
    assert list(chain.from_iterable(map(taken_apart, pieces))) == expected
    assert list(as_events(MARKET, pieces)) == expected
    assert by_column == by_row
    assert doubts[0] == doubts[1]
    for piece in pieces:
        if isinstance(piece, Stretch):
            assert_sound(piece)


def assert_sound(stretch: Stretch) -> None:
    """Require what `Stretch` and `Changes` say of themselves."""
    changes, begin, end = stretch.changes, stretch.begin, stretch.end
    columns = [getattr(changes, name) for name in type(changes).__struct_fields__]
    assert {len(column) for column in columns if column is not None} == {len(changes.received)}
    assert 0 <= begin < end <= len(changes.received)
    assert changes.received == sorted(changes.received)
    assert changes.places == list(map(place, changes.sides, changes.prices))
    assert (changes.best_bids is None) == (changes.best_asks is None)
    assert changes.count(begin, end) == len(list(messages_of(stretch)))
    if (numbers := changes.numbers) is not None:
        assert len(set(numbers)) < len(numbers)
        whens = dict(zip(numbers, zip(changes.received, changes.times, strict=True), strict=True))
        assert [whens[number] for number in numbers] == list(
            zip(changes.received, changes.times, strict=True)
        )
        assert begin == 0 or numbers[begin - 1] != numbers[begin]
        assert end == len(numbers) or numbers[end - 1] != numbers[end]


@given(
    tapes(),
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(DAMAGES)), max_size=2),
    st.lists(st.integers(1, 30), max_size=4),
)
def test_columns_say_what_their_rows_say(
    tape: list[TapeEvent], damages: list[tuple[int, tuple[str, object]]], cuts: list[int]
) -> None:
    """Whatever is in the rows, and wherever batches end: the same events, the same counts."""
    rows = rows_of(tape)
    for place_, (name, value) in damages:
        if rows:
            rows[place_ % len(rows)][name] = value
    assert_same(rows, cuts)


@pytest.mark.parametrize(("name", "value"), DAMAGES)
def test_each_damage_is_told_as_by_row(name: str, value: object) -> None:
    """One wrong value in an event of any kind: the rest is told, and the wrong is counted."""
    for number in range(len(rows_of(EXAMPLES))):
        rows = rows_of(EXAMPLES)
        rows[number][name] = value
        assert_same(rows, [])
        assert_same(rows, [number, number + 1])


def test_a_number_that_comes_again_is_another_message() -> None:
    """Changes of one number with something else between them are two messages."""
    rows = rows_of(EXAMPLES)
    rows = [rows[2], rows[0], *rows_of(EXAMPLES)[2:4]]
    for row in rows:
        row["received"] = START_MS
    assert_same(rows, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [("received", START_MS + 9), ("epoch", 2), ("time", START_MS + 9), ("time", None)],
)
def test_a_message_that_came_twice_is_told_as_it_began(name: str, value: int | None) -> None:
    """The first change of a message says when and how it came, whatever a later one says."""
    rows = rows_of(EXAMPLES[2:3])
    rows[1][name] = value
    assert_same(rows, [])


def test_a_file_with_columns_of_other_types_is_read() -> None:
    """Words that are plain texts, and numbers of another width, are as good as ours."""
    rows = rows_of(EXAMPLES)
    (batch,) = batches_of(rows, [])
    types = {pa.int32(): pa.int64(), pa.dictionary(pa.int8(), pa.string()): pa.string()}
    fields = [field.with_type(types.get(field.type, field.type)) for field in batch.schema]
    reader = ColumnReader(MARKET, RowReader(MARKET, Counter()), Checker(Counter()))
    pieces = chain.from_iterable(reader.pieces([batch.cast(pa.schema(fields))]))
    assert list(pieces) == list(EXAMPLES)


def test_only_a_message_waits_for_the_next_batch() -> None:
    """What is no change is told with its batch: nothing grows until the end of the file."""
    quotes = [EXAMPLES[5]] * 6
    reader = ColumnReader(MARKET, RowReader(MARKET, Counter()), Checker(Counter()))
    blocks = list(reader.pieces(batches_of(rows_of(quotes), [2, 4])))
    assert [len(block) for block in blocks] == [2, 2, 2]


def test_what_came_before_a_failure_is_told() -> None:
    """Where a file breaks off, all that was read of it comes first."""

    def breaking() -> Iterator[Any]:
        yield from batches_of(rows_of(EXAMPLES), [5])[:1]
        raise OSError("torn")

    found: list[Piece] = []
    reader = ColumnReader(MARKET, RowReader(MARKET, Counter()), Checker(Counter()))
    with pytest.raises(OSError, match="torn"):
        for pieces in reader.pieces(breaking()):
            found += pieces
    assert list(as_events(MARKET, found)) == list(EXAMPLES[:4])


def test_what_makes_sense_is_not_read_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast way is taken for every kind of event, and changes are columns in it."""
    rows = rows_of(EXAMPLES)
    monkeypatch.setattr(RowReader, "events", None)
    reader = ColumnReader(MARKET, RowReader(MARKET, Counter()), Checker(Counter()))
    pieces = list(chain.from_iterable(reader.pieces(batches_of(rows, [3, 7]))))
    assert list(chain.from_iterable(map(taken_apart, pieces))) == list(EXAMPLES)
    assert [type(piece) for piece in pieces].count(Stretch) == 1
    assert not any(isinstance(one, Timed) and type(one.message) is BookDelta for one in pieces)
