"""Rows of a Parquet file as columns and events, a batch at a time.

Level changes are nearly everything that a market does, so they stay columns, without a value in
between for each row. What else there is, and each batch in which some row makes no sense, goes row by
row through `RowReader`, which knows what to say of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress, islice, pairwise, repeat
from operator import ne
from typing import Any

from polyframe.model.events import BookDelta, LevelChange
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.stretch import ASK_DOWN, ASK_UP, BID_DOWN, BID_UP, Changes, Stretch
from polyframe.recording.reader import Checker, Piece, load_optional
from polyframe.recording.rows import COLUMNS, IS_BID, Row, RowReader, schema
from polyframe.recording.tape import Timed, shares

_NEEDED = ("message", "received", "epoch", "outcome", "side", "price_e4", "size_e6")
"""What a change must have."""
_TOPS = ("best_bid_e4", "best_ask_e4")
_OUTCOMES = {Outcome.UP.value: BID_UP, Outcome.DOWN.value: BID_DOWN}
_SIDES = {word: BID_UP if bid else ASK_UP for word, bid in IS_BID.items()}
"""What an outcome and a side add to the side of a change."""


class ColumnReader:
    """Turns the batches of one market's file into level changes as columns, and events.

    Args:
        rows: Reads what is no change, or makes no sense.
        checker: Sees to the order of time.
    """

    def __init__(self, rows: RowReader, checker: Checker) -> None:
        self._pa = load_optional("pyarrow", "ParquetRecording")
        self._compute = load_optional("pyarrow.compute", "ParquetRecording")
        self._types = schema(self._pa).types
        self._rows = rows
        self._checker = checker

    def pieces(self, batches: Iterable[Any]) -> Iterator[list[Piece]]:
        """Yield what the rows of batches (with all `COLUMNS`) say, in order, some at a time."""
        return map(self._batch, self._whole_messages(batches))

    def _whole_messages(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the rows of `batches`, cut so that no message lies in two of them."""
        held: Any = None
        for batch in batches:
            if not len(batch):
                continue
            if held is None:
                held = batch
                continue
            begin, first = len(held), _message_of(batch, 0)
            while begin and first is not None and _message_of(held, begin - 1) == first:
                begin -= 1
            if begin:
                yield held.slice(0, begin)
            if begin < len(held):
                table = self._pa.Table.from_batches([held.slice(begin), batch])
                (held,) = table.combine_chunks().to_batches()
            else:
                held = batch
        if held is not None:
            yield held

    def _batch(self, batch: Any) -> list[Piece]:
        compute = self._compute
        if not self._makes_sense(batch):
            return self._row_by_row(batch)
        is_change = compute.equal(batch.column("kind"), "change")
        same = self._is_of_one_message(batch, is_change)
        others = compute.indices_nonzero(compute.invert(is_change))
        changes = batch.filter(is_change) if len(others) else batch
        if same is None or not self._are_changes(changes):
            return self._row_by_row(batch)
        numbers = None
        if compute.any(same).as_py():
            steps = compute.cumulative_sum(compute.invert(same).cast(self._pa.int32()))
            numbers = self._pa.concat_arrays([self._pa.array([0], self._pa.int32()), steps])
            numbers = _numbers(numbers.filter(is_change))
        columns = self._columns(changes, numbers)
        epochs = _numbers(changes.column("epoch"))
        pieces: list[Piece] = []
        begin = 0
        for place, (row, values) in enumerate(
            zip(others.to_pylist(), self._plain(batch.take(others)), strict=True)
        ):
            end = row - place  # as many changes stand before it
            pieces += _stretches(columns, epochs, begin, end)
            pieces += map(self._checker.take, self._rows.event(values))
            begin = end
        pieces += _stretches(columns, epochs, begin, len(epochs))
        self._checker.last = max(self._checker.last, batch.column("received")[-1].value)
        return pieces

    # ------------------------------------------------------------------ by column

    def _makes_sense(self, batch: Any) -> bool:
        """Return whether a batch has a kind and a time in each row, and times never fall."""
        if batch.schema.types != self._types:
            return False  # a file of somebody else's, with our names
        column, received = batch.column, batch.column("received")
        return (
            all(column(name).null_count == 0 for name in ("message", "received", "kind"))
            and received[0].value >= self._checker.last
            and self._compute.all(
                self._compute.greater_equal(received.slice(1), received.slice(0, len(batch) - 1))
            ).as_py()
        )

    def _are_changes(self, changes: Any) -> bool:
        """Return whether every change of a batch is one, as `RowReader` would see it."""
        column = changes.column
        return (
            all(column(name).null_count == 0 for name in _NEEDED)
            and set(column("outcome").dictionary.to_pylist()) <= _OUTCOMES.keys()
            and set(column("side").dictionary.to_pylist()) <= _SIDES.keys()
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

    def _is_of_one_message(self, batch: Any, is_change: Any) -> Any:
        """Return which rows go on with the message of the row before; ``None`` if that is torn.

        A message came at one time, on one connection.
        """
        compute, pa = self._compute, self._pa

        def is_alike(column: Any) -> Any:
            return compute.equal(column.slice(1), column.slice(0, len(column) - 1))

        both = compute.and_(is_change.slice(1), is_change.slice(0, len(batch) - 1))
        same = compute.and_(both, is_alike(batch.column("message")))
        if compute.any(same).as_py():
            for name in ("received", "epoch", "time"):
                alike = is_alike(batch.column(name).cast(pa.int64()).fill_null(0))
                if compute.any(compute.and_not(same, alike)).as_py():
                    return None
        return same

    def _columns(self, changes: Any, numbers: list[int] | None) -> Changes:
        compute, pa, column = self._compute, self._pa, changes.column

        def number(name: str, missing: int = 0) -> list[int]:
            values = column(name)
            if pa.types.is_timestamp(values.type):
                values = values.cast(pa.int64())
            return _numbers(compute.fill_null(values, missing) if values.null_count else values)

        def coded(name: str, meanings: dict[str, int]) -> Any:
            values = column(name)
            table = pa.array([meanings[word] for word in values.dictionary.to_pylist()], pa.int8())
            return table.take(values.indices)

        sides = compute.add(coded("outcome", _OUTCOMES), coded("side", _SIDES))
        factors = pa.array([1, -1, 1, -1], pa.int32()).take(sides)
        offsets = pa.array([0, 0, PRICE_UNITS, PRICE_UNITS], pa.int32()).take(sides)
        places = compute.multiply(compute.subtract(column("price_e4"), offsets), factors)
        has_tops = any(column(name).null_count < len(changes) for name in _TOPS)
        bids, asks = (number(name, -1) if has_tops else None for name in _TOPS)
        return Changes(
            numbers,
            number("received"),
            number("time"),
            _numbers(sides),
            number("price_e4"),
            list(map(shares, number("size_e6"))),
            _numbers(places),
            bids,
            asks,
        )

    # ------------------------------------------------------------------ by row

    def _row_by_row(self, batch: Any) -> list[Piece]:
        return list(map(self._checker.take, self._rows.events(self._plain(batch))))

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


def _stretches(changes: Changes, epochs: list[int], begin: int, end: int) -> list[Stretch]:
    """Return changes that follow each other, as one stretch for each connection."""
    if begin == end:
        return []
    ends = [row for row in range(begin + 1, end) if epochs[row] != epochs[row - 1]]
    return [Stretch(changes, a, b, epochs[a]) for a, b in pairwise([begin, *ends, end])]


def spread(market: Market, stretch: Stretch) -> Iterable[Timed]:
    """Return the messages of a stretch as events; quicker than one by one."""
    columns, begin, end = stretch.changes, stretch.begin, stretch.end
    tokens = (market.up_token, market.up_token, market.down_token, market.down_token)
    sides, bids, asks = columns.sides[begin:end], columns.best_bids, columns.best_asks
    changes = map(
        LevelChange,
        map(tokens.__getitem__, sides),
        map(_IS_BID.__getitem__, sides),
        columns.prices[begin:end],
        columns.sizes[begin:end],
        repeat(-1) if bids is None else bids[begin:end],
        repeat(-1) if asks is None else asks[begin:end],
    )
    received, times = columns.received[begin:end], columns.times[begin:end]
    groups: Iterable[tuple[LevelChange, ...]]
    if columns.numbers is None:
        groups = zip(changes)
    else:
        numbers, every = columns.numbers[begin:end], list(changes)
        count = len(numbers)
        begins = [0, *compress(range(1, count), map(ne, numbers, islice(numbers, 1, None)))]
        groups = [tuple(every[a:b]) for a, b in pairwise([*begins, count])]
        received, times = [received[row] for row in begins], [times[row] for row in begins]
    messages = map(BookDelta, repeat(market.condition_id), groups, times)
    return map(Timed, received, repeat(stretch.epoch), messages)


_IS_BID = {BID_UP: True, ASK_UP: False, BID_DOWN: True, ASK_DOWN: False}


def _message_of(batch: Any, row: int) -> tuple[object] | None:
    """Return the number of the message of a change, in a tuple; ``None`` if it is no change."""
    if batch.column("kind")[row].as_py() != "change":
        return None
    return (batch.column("message")[row].as_py(),)


def _numbers(column: Any) -> list[int]:
    """Return a column of whole numbers without nulls; ``to_pylist`` takes three times as long."""
    if not len(column):
        return []
    values: Any = memoryview(column.buffers()[1]).cast("B")
    values = values.cast({8: "b", 32: "i", 64: "q"}[column.type.bit_width])
    found: list[int] = values[column.offset : column.offset + len(column)].tolist()
    return found
