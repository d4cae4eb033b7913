"""Batches of a Parquet file, and what their columns hold as plain lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.recording.reader import load_optional
from polyframe.recording.rows import COLUMNS, NOT_OF_CHANGES

OUTCOMES = {outcome.value for outcome in Outcome}

PRICES = [*range(PRICE_UNITS + 1), *range(-PRICE_UNITS, 0)]
"""Each price, and each below 0 by its own index from the end."""

_SINGLE = ("time", "best_bid_e4", "best_ask_e4", "tick_e4", "reason")
"""Columns without lists that may be empty all the way; words are read, as they are few."""

_WORTH = 2_000
"""Rows from which on it is worth while to look first which columns, or values, can be had for less."""

_SAMPLE = 256
_FEW = 64
"""Numbers are few where there are so many among as many as the sample has."""

T = TypeVar("T")


def read_batches(file: Any, size: int) -> Iterator[Any]:
    """Yield the rows of a Parquet file as batches of all `COLUMNS`, at most `size` rows each.

    All batches of a file have one schema. A column of a row group is not read where the statistics of the group say that nobody looks at it,
    or that nothing is in it. In its place comes one of its type without a value.
    """
    pa = load_optional("pyarrow", "ParquetRecording")
    fields = pa.schema([one for one in file.schema_arrow if one.name in COLUMNS])
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        needless = _needless(group) if group.num_rows >= _WORTH else ()
        most = min(size, group.num_rows)
        unread = {name: pa.nulls(most, fields.field(name).type) for name in needless}
        # Threads that decode would cost more time of all cores than they gain on one.
        batches = file.iter_batches(
            batch_size=size,
            row_groups=[number],
            columns=[name for name in fields.names if name not in unread],
            use_threads=False,
        )
        if not unread:
            yield from batches
            continue
        for batch in batches:
            columns = [
                unread[name][: len(batch)] if name in unread else batch.column(name)
                for name in fields.names
            ]
            yield pa.record_batch(columns, schema=fields)


def _needless(group: Any) -> set[str]:
    """Return the columns of a row group that need not be read, as far as its statistics tell."""
    found: set[str] = set()
    for number in range(group.num_columns):
        chunk = group.column(number)
        name, told = chunk.path_in_schema, chunk.statistics
        if told is None:
            continue
        if name == "kind" and told.has_min_max and told.min == told.max == "change":
            found |= NOT_OF_CHANGES
        # Not of lists: of their elements it does not tell a list of none from no list.
        if name in _SINGLE and told.has_null_count and told.null_count == group.num_rows:
            found.add(name)
    return found


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

    def the_one(self, name: str) -> int | None:
        """Return the number that all rows have of a column without empty places, if it is one."""
        found = self.compute.min_max(self.column(name)).as_py()
        return int(found["min"]) if found["min"] == found["max"] else None

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
        return looked_up(table, plain(column.indices.fill_null(-1)))

    def coded(self, name: str, of: Mapping[str, int]) -> Any:
        """Return the small number (0 or above) that each word of a column stands for, as an array."""
        column = self.column(name)
        table = [of[word] for word in column.dictionary.to_pylist()]
        return self.pa.array(table, self.pa.uint8()).take(column.indices)

    def are(self, name: str, word: str) -> Any:
        """Return whether each word of a column without empty places is this one, as an array."""
        column = self.column(name)
        table = [found == word for found in column.dictionary.to_pylist()]
        return self.pa.array(table, self.pa.bool_()).take(column.indices)

    def by_word(self, name: str) -> dict[str, Columns]:
        """Return the rows of each word of a column without empty places."""
        found: dict[str, Columns] = {}
        words = self.column(name).dictionary.to_pylist()
        if len(words) == 1:
            return {words[0]: self}
        for word in words:
            rows = self.compute.indices_nonzero(self.are(name, word))
            if len(rows) == self.count:
                found[word] = self
            elif len(rows):
                found[word] = Columns(self, rows)
        return found


_FORMATS = {"uint8": "B", "int8": "b", "int32": "i", "int64": "q", "uint64": "Q"}
"""The types of arrays as `memoryview` names them."""


def plain(column: Any) -> list[int]:
    """Return an array of whole numbers without nulls; ``to_pylist`` takes three times as long."""
    if not len(column):
        return []
    numbers: Any = memoryview(column.buffers()[1]).cast("B")
    begin, end = column.offset, column.offset + len(column)
    if (kind := _FORMATS[str(column.type)]) == "B":
        return list(numbers[begin:end].tobytes())  # a third of what its `tolist` takes
    found: list[int] = numbers.cast(kind)[begin:end].tolist()
    return found


def price_list(column: Any) -> list[int]:
    """Return an array of prices, or of places, without nulls, as objects that all arrays share.

    Who keeps them in memory needs a third less of it.
    """
    return looked_up(PRICES, plain(column))


def looked_up(table: list[T], places: list[int]) -> list[T]:
    """Return what stands at each of some places of a table."""
    return [table[place] for place in places]


def values(column: Any, value: Callable[[int], T]) -> list[T]:
    """Return the values of an array of whole numbers without nulls.

    Where it has few numbers, each is asked for once.
    """
    if len(column) >= _WORTH and len(column[:_SAMPLE].unique()) <= _FEW:
        coded = column.dictionary_encode()
        return looked_up(list(map(value, plain(coded.dictionary))), plain(coded.indices))
    return list(map(value, plain(column)))


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
