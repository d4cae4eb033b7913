"""Batches of a Parquet file, and what their columns hold as plain lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.recording.reader import load_optional

OUTCOMES = {outcome.value for outcome in Outcome}

_PRICES = (*range(PRICE_UNITS + 1), *range(-PRICE_UNITS, 0))
"""Each price, and each below 0 by its own index from the end."""


class Columns:
    """The columns of some rows of a batch.

    Args:
        of: A batch with all `polyframe.recording.rows.COLUMNS`, or columns of which these are some
            rows.
        rows: Which, as an array; ``None`` for all.

    Attributes:
        rows: As given.
        count: How many rows.
        pa, compute: The modules of pyarrow.
    """

    def __init__(self, of: Any, rows: Any = None) -> None:
        self.pa = load_optional("pyarrow", "ParquetRecording")
        self.compute = load_optional("pyarrow.compute", "ParquetRecording")
        self._of = of
        self.rows = rows
        self._known: dict[str, Any] = {}
        self.count = len(of) if rows is None else len(rows)

    def column(self, name: str) -> Any:
        """Return a column as pyarrow has it; times as whole numbers."""
        if (found := self._known.get(name)) is None:
            found = self._of.column(name)
            if self.pa.types.is_timestamp(found.type):
                found = found.view(self.pa.int64())
            if self.rows is not None:
                found = found.take(self.rows)
            self._known[name] = found
        return found

    def has_all(self, names: Iterable[str]) -> bool:
        """Return whether none of these columns has an empty place."""
        return all(self.column(name).null_count == 0 for name in names)

    def is_within(self, name: str, least: int, most: int | None = None) -> bool:
        """Return whether all numbers of a column that are there are within bounds."""
        return self.are_within(self.column(name), least, most)

    def are_within(self, numbers: Any, least: int, most: int | None = None) -> bool:
        """Return whether all numbers of an array that are there are within bounds."""
        found = self.compute.min_max(numbers).as_py()
        if found["min"] is None:
            return True  # it has none
        return bool(found["min"] >= least and (most is None or found["max"] <= most))

    def places(self) -> list[int]:
        """Return the numbers of the rows within the batch."""
        return list(range(self.count)) if self.rows is None else plain(self.rows)

    def has_words(self, name: str, known: Iterable[str]) -> bool:
        """Return whether a column has no other words than these."""
        return set(self.column(name).dictionary.to_pylist()) <= set(known)

    def numbers(self, name: str, missing: int = 0) -> list[int]:
        """Return a column of whole numbers."""
        column = self.column(name)
        return plain(column.fill_null(missing) if column.null_count else column)

    def prices(self, name: str, missing: int = 0) -> list[int]:
        """Return a column of prices."""
        column = self.column(name)
        return price_list(column.fill_null(missing) if column.null_count else column)

    def lengths(self, name: str) -> list[int]:
        """Return how many elements each list of a column has."""
        return plain(self.compute.list_value_length(self.column(name)))

    def flat(self, name: str) -> Any:
        """Return the elements of all lists of a column as one array."""
        return self.column(name).flatten()

    def meanings(self, name: str, of: Mapping[str, Any]) -> list[Any]:
        """Return what each word of a column means, ``None`` where none is."""
        column = self.column(name)
        # Where none is, the index -1 finds what stands last.
        table = [*(of[word] for word in column.dictionary.to_pylist()), None]
        return list(map(table.__getitem__, plain(column.indices.fill_null(-1))))

    def coded(self, name: str, of: Mapping[str, int]) -> Any:
        """Return the small number that each word of a column stands for, as an array."""
        column = self.column(name)
        table = [of[word] for word in column.dictionary.to_pylist()]
        return self.pa.array(table, self.pa.int8()).take(column.indices)

    def are(self, name: str, word: str) -> Any:
        """Return whether each word of a column without empty places is this one, as an array."""
        column = self.column(name)
        table = [found == word for found in column.dictionary.to_pylist()]
        return self.pa.array(table, self.pa.bool_()).take(column.indices)

    def by_word(self, name: str) -> dict[str, Columns]:
        """Return the rows of each word of a column without empty places."""
        found: dict[str, Columns] = {}
        for word in self.column(name).dictionary.to_pylist():
            rows = self.compute.indices_nonzero(self.are(name, word))
            if len(rows) == self.count:
                found[word] = self
            elif len(rows):
                found[word] = Columns(self, rows)
        return found


def plain(column: Any) -> list[int]:
    """Return an array of whole numbers without nulls; ``to_pylist`` takes three times as long."""
    if not len(column):
        return []
    values: Any = memoryview(column.buffers()[1]).cast("B")
    values = values.cast({8: "b", 32: "i", 64: "q"}[column.type.bit_width])
    found: list[int] = values[column.offset : column.offset + len(column)].tolist()
    return found


def price_list(column: Any) -> list[int]:
    """Return an array of prices, or of places, without nulls, as objects that all arrays share.

    Who keeps them in memory needs a third less of it.
    """
    return list(map(_PRICES.__getitem__, plain(column)))


def whole_messages(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the rows of `batches`, cut so that no message lies in two of them.

    Where `batches` raises, what came before is yielded first.
    """
    held: Any = None
    source = iter(batches)
    while True:
        try:
            batch = next(source, None)
        except Exception:
            if held is not None:
                yield held
            raise
        if batch is None:
            break
        if not len(batch):
            continue
        if held is not None:
            begin = _begin_of_last(held, _message_of(batch, 0))
            if begin:
                yield held.slice(0, begin)
            if begin < len(held):
                batch = _joined(held.slice(begin), batch)
        held = batch
    if held is not None:
        yield held


def _begin_of_last(batch: Any, message: tuple[object] | None) -> int:
    """Return the first of the rows at the end of a batch that are of `message`."""
    begin = len(batch)
    while begin and message is not None and _message_of(batch, begin - 1) == message:
        begin -= 1
    return begin


def _joined(first: Any, second: Any) -> Any:
    pa = load_optional("pyarrow", "ParquetRecording")
    (batch,) = pa.Table.from_batches([first, second]).combine_chunks().to_batches()
    return batch


def _message_of(batch: Any, row: int) -> tuple[object] | None:
    """Return the number of the message of a change, in a tuple; ``None`` if it is no change."""
    if batch.column("kind")[row].as_py() != "change":
        return None
    return (batch.column("message")[row].as_py(),)
