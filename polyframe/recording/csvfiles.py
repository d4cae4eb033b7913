"""One CSV file per market, for people and for data from elsewhere: ``<series>/<slug>.csv``.

The columns are those of the Parquet files, written for people: prices and sizes as decimal numbers,
times as epoch milliseconds, the levels of a book as ``price:size`` with spaces between. What is known of
the market is in ``<slug>.json`` beside it.
"""

from __future__ import annotations

import csv
import io
import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
from typing_extensions import override

from polyframe.checks import expect, expect_list
from polyframe.model.money import PRICE_UNITS, price_units, size_decimal
from polyframe.recording.files import Written, found_anywhere, open_shelf
from polyframe.recording.reader import checked, naming
from polyframe.recording.rows import Row, RowReader, RowWriter
from polyframe.recording.tape import TapeEvent, TapeMarket, base_units, file_name, shares

log = logging.getLogger(__name__)

COLUMNS = (
    "message",
    "received_ms",
    "epoch",
    "kind",
    "outcome",
    "time_ms",
    "side",
    "price",
    "size",
    "best_bid",
    "best_ask",
    "tick",
    "bids",
    "asks",
    "reason",
)
_NEEDED = frozenset({"received_ms", "kind", "outcome"})
_COMMAS = ",;\t"
"""What may stand between columns. Where it is no comma, a comma is a decimal point: so spreadsheets
write where people do."""

_PRICES = {
    "price": "price_e4",
    "best_bid": "best_bid_e4",
    "best_ask": "best_ask_e4",
    "tick": "tick_e4",
}
_WORDS = ("kind", "outcome", "side", "reason")

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(TapeMarket).decode


def write_csv(folder: str | Path, market: TapeMarket, events: Iterable[TapeEvent]) -> Written:
    """Write the file of one market; it appears when it is complete, in place of an earlier one.

    Args:
        folder: Made if it does not exist; or a URL of fsspec.
        market: Goes into a file of its own, beside.
        events: In order of ``received_ms``; taken one by one.

    Raises:
        ConfigError: What the URL needs is not installed.
        OSError: The disk is full, or the folder cannot be written; an earlier file is as it was.
    """
    expect("market", market, "a TapeMarket(…)", is_right=isinstance(market, TapeMarket))
    expect_list("events", events, "the events of one market, in order")
    shelf, name = open_shelf(folder), f"{market.market.series}/{file_name(market.market)}.csv"
    rows, count = RowWriter(market.market), 0
    with shelf.replacing(_beside(name)) as file:
        file.write(msgspec.json.format(_encode(market)) + b"\n")
    with shelf.replacing(name) as file:
        file.write(_line(COLUMNS))
        for event in events:
            found = rows.rows(event)
            count += bool(found)
            for row in found:
                file.write(_line(_texts(row)))
    return Written(shelf.location(name), count, dict(rows.skipped))


class CsvRecording:
    """The markets below a folder, as `write_csv` writes them or as you bring them.

    Columns may be missing, and in any order, as long as there are ``received_ms``, ``kind`` and
    ``outcome``. Without ``message`` each row is a message of its own, without ``epoch`` all is one
    epoch. What a spreadsheet has written is read as well: semicolons or tabs between the columns, then
    also commas within numbers.

    *Files that are skipped* are counted when the markets are listed: ``unreadable``, and ``duplicate``
    (another file has this market). *Rows that are skipped:* ``bad_row`` (what a column says makes no
    sense, or the file ends within the row; the log says what is wrong with the first one of a file),
    ``unknown_kind``. *Doubtful:* ``time_went_back`` and ``crossed``, see
    `polyframe.recording.reader.checked`.

    Args:
        folder: Where to look, at any depth; a path or a URL of fsspec.

    Raises:
        ConfigError: There is no such folder, or what the URL needs is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self._shelf = open_shelf(folder, must_exist=True)
        self._folder = str(folder)
        self._skipped: Counter[str] = Counter()
        self._doubtful: Counter[str] = Counter()
        self._files: dict[str, tuple[TapeMarket, str]] | None = None

    def markets(self) -> Sequence[TapeMarket]:
        """Return all markets in order of their windows; reads what is beside the files, once."""
        return [tape for tape, _ in self._found().values()]

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard of `market`.

        Raises:
            KeyError: `market` is none of this recording.
        """
        return self._events(market, self._found()[file_name(market.market)][1])

    def identity(self, market: TapeMarket) -> str:
        """Return what changes when the files of `market` change: name, sizes and times.

        Raises:
            KeyError: `market` is none of this recording.
        """
        _, name = self._found()[file_name(market.market)]
        return f"{name} {self._shelf.stamp(name)} {self._shelf.stamp(_beside(name))}"

    @override
    def __reduce__(self) -> tuple[type[CsvRecording], tuple[str]]:
        # To another process goes where it is, not what was read: that process opens it anew.
        return type(self), (found_anywhere(self._folder),)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Files and rows that could not be used so far, by reason."""
        return self._skipped

    @property
    def doubtful(self) -> Mapping[str, int]:
        """Events that looked wrong so far and were passed on, by reason."""
        return self._doubtful

    def _found(self) -> dict[str, tuple[TapeMarket, str]]:
        if self._files is None:
            found: dict[str, tuple[TapeMarket, str]] = {}
            for name in self._shelf.names(".csv"):
                try:
                    tape = self._read_market(name)
                except (OSError, ValueError, csv.Error) as error:
                    log.warning("%s: skipped, no recording: %s", name, error)
                    self._skipped["unreadable"] += 1
                    continue
                if (known := found.get(file_name(tape.market))) is not None:
                    log.warning("%s: skipped, %s has this market already", name, known[1])
                    self._skipped["duplicate"] += 1
                    continue
                found[file_name(tape.market)] = tape, name
            self._files = dict(
                sorted(found.items(), key=lambda of: (of[1][0].market.window, of[0]))
            )
        return self._files

    def _read_market(self, name: str) -> TapeMarket:
        with self._opened(name) as (lines, _, _):
            if missing := _NEEDED - set(lines.fieldnames or ()):
                msg = f"expected a column {min(missing)}"
                raise ValueError(msg)
        with self._shelf.opened(_beside(name)) as file:
            return _decode(file.read())

    def _events(self, market: TapeMarket, name: str) -> Iterator[TapeEvent]:
        with (
            naming(self._shelf.location(name)),
            self._opened(name) as (lines, ending, has_decimal_commas),
        ):
            is_told = False

            def on_bad(error: Exception) -> None:
                nonlocal is_told
                if not is_told:
                    is_told = True
                    log.warning("%s: line %d is skipped: %s", name, lines.line_num + 1, _why(error))

            reader = RowReader(market.market, self._skipped, on_bad)
            rows = _rows(lines, ending, reader, has_decimal_commas=has_decimal_commas)
            yield from checked(reader.events(rows), self._doubtful)

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[csv.DictReader[str], _Lines, bool]]:
        """Open a file; give its rows, its lines, and whether commas are decimal points in it."""
        # A mark of the byte order is what some programs begin with. What is no UTF-8 spoils its row.
        with (
            self._shelf.opened(name) as file,
            io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="") as text,
        ):
            head = text.readline()
            between = max(_COMMAS, key=head.count)
            columns = [name.strip() for name in next(csv.reader([head], delimiter=between), [])]
            rest = _Lines(text)
            yield csv.DictReader(rest, columns, delimiter=between), rest, between != ","

    @override
    def __repr__(self) -> str:
        return f"CsvRecording({self._folder!r})"


def _beside(name: str) -> str:
    """Return the name of the file with what is known of the market."""
    return f"{name.removesuffix('.csv')}.json"


def _why(error: Exception) -> str:
    if isinstance(error, TypeError) or error.args == (None,):
        return "a value that this kind of row needs is missing"
    return f"{error} is unknown" if isinstance(error, KeyError) else str(error)


class _Lines:
    """The lines of a file.

    Attributes:
        is_whole: Whether the last one that was read has an end.
    """

    def __init__(self, text: Iterable[str]) -> None:
        self._text = text
        self.is_whole = True

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self.is_whole = line.endswith(("\n", "\r"))
            yield line


def _rows(
    lines: csv.DictReader[str], ending: _Lines, reader: RowReader, *, has_decimal_commas: bool
) -> Iterator[Row]:
    """Yield the rows of a file that can be understood."""
    for number in itertools.count():
        try:
            line = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            reader.bad(error)
            continue
        # A row may leave out what is empty at its end, as spreadsheets do. But what a value was cut to
        # may look like one.
        if None in line.values() and not ending.is_whole:
            reader.bad(ValueError("the file ends within it"))
            continue
        try:
            yield _row(line, number, has_decimal_commas=has_decimal_commas)
        except (ValueError, TypeError) as error:
            reader.bad(error)


def _line(values: Iterable[str]) -> bytes:
    # Quotes only where a reason has one or a comma: no other column can.
    quoted = (
        f'"{text.replace(_QUOTE, _QUOTE * 2)}"' if _is_special(text) else text for text in values
    )
    return (",".join(quoted) + "\n").encode()


_QUOTE = '"'


def _is_special(text: str) -> bool:
    return any(mark in text for mark in ',"\r\n')


def _texts(row: Row) -> Iterator[str]:
    plain = {
        "message": row["message"],
        "received_ms": row["received"],
        "epoch": row.get("epoch"),
        "time_ms": row.get("time"),
        "size": _size_text(row.get("size_e6")),
        "bids": _levels_text(row.get("bid_prices_e4"), row.get("bid_sizes_e6")),
        "asks": _levels_text(row.get("ask_prices_e4"), row.get("ask_sizes_e6")),
    }
    plain |= {name: row.get(name) for name in _WORDS}
    plain |= {name: _price_text(row.get(column)) for name, column in _PRICES.items()}
    return ("" if plain[name] is None else str(plain[name]) for name in COLUMNS)


def _price_text(units: int | None) -> str | None:
    return None if units is None else f"{(Decimal(units) / PRICE_UNITS):f}"


def _size_text(base: int | None) -> str | None:
    return None if base is None else f"{shares(base):f}"


def _levels_text(prices: list[int] | None, sizes: list[int] | None) -> str | None:
    if prices is None or sizes is None:
        return None
    return " ".join(
        f"{_price_text(price)}:{_size_text(size)}"
        for price, size in zip(prices, sizes, strict=True)
    )


def _row(line: Mapping[str, str | None], number: int, *, has_decimal_commas: bool) -> Row:
    def of(name: str) -> str | None:
        text = (line.get(name) or "").strip()
        if has_decimal_commas and name != "reason":
            text = text.replace(",", ".")
        return text or None

    message, epoch, time, size = of("message"), of("epoch"), of("time_ms"), of("size")
    row: Row = {name: of(name) for name in _WORDS}
    row |= {
        "message": number if message is None else int(message),
        "received": int(of("received_ms") or ""),
        "epoch": 1 if epoch is None else int(epoch),
        "time": None if time is None else int(time),
        "size_e6": None if size is None else base_units(size_decimal(size)),
    }
    for name, column in _PRICES.items():
        text = of(name)
        row[column] = None if text is None else price_units(text)
    for name, side in (("bids", "bid"), ("asks", "ask")):
        levels = [level.split(":") for level in (of(name) or "").split()]
        row[f"{side}_prices_e4"] = [price_units(price) for price, _ in levels]
        row[f"{side}_sizes_e6"] = [base_units(size_decimal(size)) for _, size in levels]
    return row
