"""Batches of columns read as the same events as their rows one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.events import BookDelta
from polyframe.model.stretch import Stretch
from polyframe.recording.changes import as_events
from polyframe.recording.columns import ColumnReader
from polyframe.recording.reader import Checker, Piece, checked
from polyframe.recording.rows import COLUMNS, Row, RowReader, RowWriter, schema
from polyframe.recording.tape import TapeEvent, Timed
from tests.recording.kit import EXAMPLES, MARKET, START_MS, tapes

pa = pytest.importorskip("pyarrow")

damages: st.SearchStrategy[tuple[str, object]] = st.sampled_from(
    [
        *(("price_e4", value) for value in (None, 0, 10_000)),
        *(("size_e6", value) for value in (None, -1)),
        *(("side", value) for value in (None, "HOLD")),
        *(("outcome", value) for value in (None, "Sideways")),
        *(("best_bid_e4", value) for value in (-1, 10_001)),
        *(("best_ask_e4", value) for value in (-1, 10_001)),
        ("kind", "candle"),
        ("epoch", None),
        ("time", None),
        ("received", START_MS - 5),
    ]
)


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
    return [Timed(received, piece.epoch, message) for received, message in piece.messages(MARKET)]


@given(tapes(), st.lists(st.tuples(st.integers(0, 30), damages), max_size=2), st.data())
def test_columns_say_what_their_rows_say(
    tape: list[TapeEvent], damage: list[tuple[int, tuple[str, object]]], data: st.DataObject
) -> None:
    """Whatever is in the rows, and wherever batches end: the same events, the same counts."""
    writer = RowWriter(MARKET)
    rows = [{name: row.get(name) for name in COLUMNS} for one in tape for row in writer.rows(one)]
    for place, (name, value) in damage:
        if rows:
            rows[place % len(rows)][name] = value
    cuts = data.draw(st.lists(st.integers(1, 30), max_size=4))
    by_row, by_column = Counter[str](), Counter[str]()
    doubts: list[Counter[str]] = [Counter(), Counter()]
    expected = list(checked(RowReader(MARKET, by_row).events(rows), doubts[0]))
    reader = ColumnReader(MARKET, RowReader(MARKET, by_column), Checker(doubts[1]))
    pieces = list(chain(*reader.pieces(batches_of(rows, cuts))))
    assert list(chain.from_iterable(map(taken_apart, pieces))) == expected
    assert list(as_events(MARKET, pieces)) == expected
    assert by_column == by_row
    assert doubts[0] == doubts[1]


def test_what_makes_sense_is_not_read_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast way is taken for every kind of event, and changes are columns in it."""
    writer = RowWriter(MARKET)
    rows = [row for one in EXAMPLES for row in writer.rows(one)]
    monkeypatch.setattr(RowReader, "events", None)
    reader = ColumnReader(MARKET, RowReader(MARKET, Counter()), Checker(Counter()))
    pieces = list(chain.from_iterable(reader.pieces(batches_of(rows, [3, 7]))))
    assert list(chain.from_iterable(map(taken_apart, pieces))) == list(EXAMPLES)
    assert [type(piece) for piece in pieces].count(Stretch) == 1
    assert not any(isinstance(one, Timed) and type(one.message) is BookDelta for one in pieces)
