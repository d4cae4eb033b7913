"""Batches of columns read as the same events as their rows one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.events import BookDelta, LevelChange, TradePrint
from polyframe.model.order import Side
from polyframe.model.stretch import Stretch
from polyframe.recording.columns import ColumnReader, spread
from polyframe.recording.reader import Checker, Piece, checked
from polyframe.recording.rows import COLUMNS, Row, RowReader, RowWriter, schema
from polyframe.recording.tape import TapeEvent, Timed
from tests.recording.kit import CONDITION, MARKET, START_MS, UP, tapes

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


def spread_out(piece: Piece) -> Sequence[TapeEvent]:
    """Return the events of a piece as readers of events get them."""
    return list(spread(MARKET, piece)) if isinstance(piece, Stretch) else [piece]


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
    reader = ColumnReader(RowReader(MARKET, by_column), Checker(doubts[1]))
    pieces = list(chain(*reader.pieces(batches_of(rows, cuts))))
    assert list(chain.from_iterable(map(taken_apart, pieces))) == expected
    assert list(chain.from_iterable(map(spread_out, pieces))) == expected
    assert by_column == by_row
    assert doubts[0] == doubts[1]


def test_changes_that_make_sense_are_not_read_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast way is taken for what recordings are made of; only what is no change is a row."""
    change = LevelChange(UP, is_bid=True, price=4_800, size=Decimal(3))
    delta = BookDelta(CONDITION, (change, change))
    trade = TradePrint(CONDITION, UP, 4_900, Decimal(1), Side.BUY)
    tape = [Timed(START_MS + i, 1, trade if i == 5 else delta) for i in range(10)]
    writer = RowWriter(MARKET)
    rows = [row for one in tape for row in writer.rows(one)]
    read: list[object] = []
    event = RowReader.event

    def noting(self: RowReader, row: Row) -> Any:
        read.append(row["kind"])
        return event(self, row)

    monkeypatch.setattr(RowReader, "event", noting)
    monkeypatch.setattr(RowReader, "change", None)
    reader = ColumnReader(RowReader(MARKET, Counter()), Checker(Counter()))
    pieces = chain.from_iterable(reader.pieces(batches_of(rows, [7])))
    assert list(chain.from_iterable(map(taken_apart, pieces))) == tape
    assert read == ["trade"]
