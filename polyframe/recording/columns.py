"""Rows of a Parquet file as pieces of a recording, a batch at a time.

Level changes are nearly everything that a market does: they stay columns. What else there is is made
by column, too, all messages of a kind at a time. A batch in which anything makes no sense goes row by
row through `RowReader`, which knows what to say of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from polyframe.model.market import Market
from polyframe.model.stretch import Changes, Stretch
from polyframe.recording.batches import Columns, whole_messages
from polyframe.recording.changes import goes_on, is_torn, make_changes
from polyframe.recording.messages import MessageReader, makes_sense
from polyframe.recording.reader import Checker, Piece, load_optional
from polyframe.recording.rows import COLUMNS, Row, RowReader, schema
from polyframe.recording.tape import TapeEvent

_HEAD = ("message", "received", "kind")
"""What each row must have."""


class ColumnReader:
    """Turns the batches of one market's file into level changes as columns, and events.

    Args:
        market: The market.
        rows: Reads what makes no sense.
        checker: Sees to the order of time.
    """

    def __init__(self, market: Market, rows: RowReader, checker: Checker) -> None:
        self._types = schema(load_optional("pyarrow", "ParquetRecording")).types
        self._messages = MessageReader(market)
        self._rows = rows
        self._checker = checker

    def pieces(self, batches: Iterable[Any]) -> Iterator[list[Piece]]:
        """Yield what the rows of batches (with all `COLUMNS`) say, in order, some at a time."""
        for batch in whole_messages(batches):
            found = self._by_column(batch)
            yield self._by_row(batch) if found is None else found

    def _by_column(self, batch: Any) -> list[Piece] | None:
        """Return what a batch says; ``None`` if anything in it makes no sense."""
        if batch.schema.types != self._types:
            return None  # a file of somebody else's, with our names
        whole = Columns(batch)
        if not whole.has_all(_HEAD) or not self._is_in_order(whole):
            return None
        going_on = goes_on(whole)
        if going_on is not None and is_torn(whole, going_on):
            return None
        kinds = whole.by_word("kind")
        if not all(makes_sense(kind, columns) for kind, columns in kinds.items()):
            return None
        changed = kinds.pop("change", None)
        events: dict[int, TapeEvent] = {}
        for kind, columns in kinds.items():
            made = list(self._messages.events(kind, columns))
            events.update(zip(columns.places(), made, strict=True))
            if kind == "book":
                for event in made:
                    self._checker.look_at(event)
        self._checker.last = whole.column("received")[-1].as_py()
        if changed is None:
            return [events[row] for row in sorted(events)]
        epoch = changed.the_one("epoch")
        epochs = changed.numbers("epoch") if epoch is None else [epoch] * changed.count
        return _merged(events, make_changes(changed, going_on), epochs)

    def _is_in_order(self, whole: Columns) -> bool:
        """Return whether time never falls."""
        received = whole.column("received")
        falls = whole.compute.less(received.slice(1), received.slice(0, whole.count - 1))
        return received[0].as_py() >= self._checker.last and not whole.compute.any(falls).as_py()

    def _by_row(self, batch: Any) -> list[Piece]:
        return list(map(self._checker.take, self._rows.events(_plain_rows(batch))))


def _merged(events: Mapping[int, TapeEvent], changes: Changes, epochs: list[int]) -> list[Piece]:
    """Return events, by their rows, and what stands between them as stretches."""
    cuts: list[int] = []
    if epochs.count(epochs[0]) < len(epochs):
        cuts = [row for row in range(1, len(epochs)) if epochs[row] != epochs[row - 1]]
    pieces: list[Piece] = []
    begin = 0
    for place, row in enumerate([*sorted(events), len(epochs) + len(events)]):
        end = row - place  # as many changes stand before it
        if begin < end:
            edges = [begin, *(cut for cut in cuts if begin < cut < end), end] if cuts else None
            for a, b in pairwise(edges or (begin, end)):
                pieces.append(Stretch(changes, a, b, epochs[a]))
            begin = end
        if row in events:
            pieces.append(events[row])
    return pieces


def _plain_rows(batch: Any) -> Iterator[Row]:
    """Yield the rows of a batch as dicts of plain values."""
    columns = Columns(batch)
    values = [columns.column(name).to_pylist() for name in COLUMNS]
    for row in zip(*values, strict=True):
        yield dict(zip(COLUMNS, row, strict=True))
