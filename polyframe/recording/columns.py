"""Rows of a Parquet file as events, a batch at a time.

Level changes are nearly everything that a market does, so they are made column by column, without a
value in between for each row. What else there is, and each batch in which some change makes no sense,
goes row by row through `RowReader`, which knows what to say of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, pairwise, repeat
from operator import eq
from typing import Any

from attrs import define

from polyframe.model.events import BookDelta, LevelChange
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.recording.reader import load_optional
from polyframe.recording.rows import COLUMNS, IS_BID, Row, RowReader, schema
from polyframe.recording.tape import TapeEvent, Timed, shares

_NEEDED = ("message", "received", "epoch", "outcome", "side", "price_e4", "size_e6")
"""What a change must have."""


@define
class _Open:
    """A message of which the next batch may hold more changes."""

    number: int
    received: int
    epoch: int
    time: int
    changes: tuple[LevelChange, ...]


class ColumnReader:
    """Turns the batches of one market's file into events.

    Args:
        market: The market.
        rows: Reads what is no change, or makes no sense.
    """

    def __init__(self, market: Market, rows: RowReader) -> None:
        self._pa = load_optional("pyarrow", "ParquetRecording")
        self._compute = load_optional("pyarrow.compute", "ParquetRecording")
        self._types = schema(self._pa).types
        self._condition = market.condition_id
        self._tokens = {outcome.value: market.token(outcome) for outcome in Outcome}
        self._rows = rows
        self._open: _Open | None = None

    def events(self, batches: Iterable[Any]) -> Iterator[list[TapeEvent]]:
        """Yield the events of each batch (with all `COLUMNS`), and at last what was still open."""
        for batch in batches:
            yield self._batch(batch)
        yield self._closed()

    def _closed(self) -> list[TapeEvent]:
        last, self._open = self._open, None
        if last is None:
            return []
        message = BookDelta(self._condition, last.changes, last.time)
        return [Timed(last.received, last.epoch, message)]

    def _batch(self, batch: Any) -> list[TapeEvent]:
        compute = self._compute
        is_change = compute.fill_null(compute.equal(batch.column("kind"), "change"), False)
        others = compute.indices_nonzero(compute.invert(is_change)).to_pylist()
        changes = batch.filter(is_change) if others else batch
        if not self._makes_sense(changes):
            return self._row_by_row(batch)
        columns = self._columns(changes)
        if not others:
            return self._deltas(columns)
        events: list[TapeEvent] = []
        begin = 0
        for place, row in enumerate(self._plain(batch.take(self._pa.array(others)))):
            end = others[place] - place  # as many changes stand before it
            events += self._deltas([column[begin:end] for column in columns])
            events += self._closed()
            events += self._rows.event(row)
            begin = end
        return events + self._deltas([column[begin:] for column in columns])

    # ------------------------------------------------------------------ by column

    def _makes_sense(self, changes: Any) -> bool:
        """Return whether every change of a batch is one, as `RowReader` would see it."""
        if changes.schema.types != self._types:
            return False  # a file of somebody else's, with our names
        column = changes.column
        return (
            all(column(name).null_count == 0 for name in _NEEDED)
            and set(column("outcome").dictionary.to_pylist()) <= self._tokens.keys()
            and set(column("side").dictionary.to_pylist()) <= IS_BID.keys()
            and self._is_within(column("price_e4"), 1, PRICE_UNITS - 1)
            and self._is_within(column("size_e6"), 0, None)
            and self._is_within(column("best_bid_e4"), 0, PRICE_UNITS)
            and self._is_within(column("best_ask_e4"), 0, PRICE_UNITS)
        )

    def _is_within(self, column: Any, least: int, most: int | None) -> bool:
        found = self._compute.min_max(column).as_py()
        if found["min"] is None:
            return True  # it has no values
        return bool(found["min"] >= least and (most is None or found["max"] <= most))

    def _columns(self, batch: Any) -> list[list[Any]]:
        """Return number, times and epoch of each change, and the changes themselves."""
        fill = self._compute.fill_null

        def coded(name: str, meanings: dict[str, Any]) -> Iterator[Any]:
            column = batch.column(name)
            table = [meanings[word] for word in column.dictionary.to_pylist()]
            return map(table.__getitem__, _numbers(column.indices))

        def number(name: str, missing: int = 0) -> list[int]:
            column = batch.column(name)
            if self._pa.types.is_timestamp(column.type):
                column = column.cast(self._pa.int64())
            return _numbers(fill(column, missing) if column.null_count else column)

        def top(name: str) -> Iterable[int]:
            unknown = batch.column(name).null_count == len(batch)
            return repeat(-1) if unknown else number(name, -1)

        changes = map(
            LevelChange,
            coded("outcome", self._tokens),
            coded("side", IS_BID),
            number("price_e4"),
            map(shares, number("size_e6")),
            top("best_bid_e4"),
            top("best_ask_e4"),
        )
        heads = [number(name) for name in ("message", "received", "epoch", "time")]
        return [*heads, list(changes)]

    def _deltas(self, columns: list[list[Any]]) -> list[TapeEvent]:
        """Return the messages of changes that follow each other; the last one stays open."""
        numbers, received, epochs, times, changes = columns
        count, last = len(numbers), self._open
        if not count:
            return []
        groups: list[tuple[LevelChange, ...]]
        if not any(map(eq, numbers, islice(numbers, 1, None))):
            groups = list(zip(changes))  # as most recorders write them, each by itself
        else:
            begins = [0, *(i for i in range(1, count) if numbers[i] != numbers[i - 1])]
            groups = [tuple(changes[a:b]) for a, b in pairwise([*begins, count])]
            received, epochs, times = (
                [column[i] for i in begins] for column in (received, epochs, times)
            )
        events: list[TapeEvent] = []
        if last is not None:
            if last.number == numbers[0]:
                groups[0] = last.changes + groups[0]
                received[0], epochs[0], times[0] = last.received, last.epoch, last.time
                self._open = None
            events += self._closed()
        self._open = _Open(numbers[-1], received.pop(), epochs.pop(), times.pop(), groups.pop())
        messages = map(BookDelta, repeat(self._condition), groups, times)
        events += map(Timed, received, epochs, messages)
        return events

    # ------------------------------------------------------------------ by row

    def _row_by_row(self, batch: Any) -> list[TapeEvent]:
        events: list[TapeEvent] = []
        for row in self._plain(batch):
            last, is_change = self._open, row["kind"] == "change"
            if last is not None and (not is_change or row["message"] != last.number):
                events += self._closed()
            if not is_change:
                events += self._rows.event(row)
                continue
            for change in self._rows.change(row):
                if self._open is None:
                    self._open = _Open(
                        row["message"], row["received"], row["epoch"], row["time"] or 0, ()
                    )
                self._open.changes += (change,)
        return events

    def _plain(self, batch: Any) -> Iterator[Row]:
        """Yield the rows of a batch as dicts of plain values."""
        columns = []
        for name in COLUMNS:
            column = batch.column(name)
            if self._pa.types.is_timestamp(column.type):
                column = column.cast(self._pa.int64())
            columns.append(column.to_pylist())
        for values in zip(*columns, strict=True):
            yield dict(zip(COLUMNS, values, strict=True))


def _numbers(column: Any) -> list[int]:
    """Return a column of whole numbers without nulls; ``to_pylist`` takes three times as long."""
    if not len(column):
        return []
    values: Any = memoryview(column.buffers()[1]).cast("B")
    values = values.cast({8: "b", 32: "i", 64: "q"}[column.type.bit_width])
    found: list[int] = values[column.offset : column.offset + len(column)].tolist()
    return found
