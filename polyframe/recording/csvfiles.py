"""One CSV file per market, for people and for data from elsewhere: ``<series>/<slug>.csv``.

The columns are those of the Parquet files, written for people: prices and sizes as decimal numbers,
times as epoch milliseconds, the levels of a book as ``price:size`` with spaces between. What is known of
the market is in ``<slug>.json`` beside it.
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
from typing_extensions import override

from polyframe.errors import ConfigError
from polyframe.model.money import PRICE_UNITS, price_units, size_decimal
from polyframe.recording.files import Written, file_stamp, replacing
from polyframe.recording.reader import checked
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
        folder: Made if it does not exist.
        market: Goes into a file of its own, beside.
        events: In order of ``received_ms``; taken one by one.

    Raises:
        OSError: The disk is full, or the folder cannot be written; an earlier file is as it was.
    """
    parent = Path(folder) / str(market.market.series)
    parent.mkdir(parents=True, exist_ok=True)
    path = parent / f"{file_name(market.market)}.csv"
    rows, count = RowWriter(market.market), 0
    with replacing(path.with_suffix(".json")) as file:
        file.write(msgspec.json.format(_encode(market)) + b"\n")
    with replacing(path) as file:
        file.write(_line(COLUMNS))
        for event in events:
            found = rows.rows(event)
            count += bool(found)
            for row in found:
                file.write(_line(_texts(row)))
    return Written(str(path), count, dict(rows.skipped))


class CsvRecording:
    """The markets below a folder, as `write_csv` writes them or as you bring them.

    Columns may be missing, and in any order, as long as there are ``received_ms``, ``kind`` and
    ``outcome``. Without ``message`` each row is a message of its own, without ``epoch`` all is one
    epoch.

    *Files that are skipped* are counted when the markets are listed: ``unreadable``. *Rows that are
    skipped:* ``bad_row`` (what a column says makes no sense), ``unknown_kind``. *Doubtful:*
    ``time_went_back`` and ``crossed``, see `polyframe.recording.reader.checked`.

    Args:
        folder: Where to look, at any depth.

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            msg = f"folder: {self.folder} is no folder; name the one that recordings are in"
            raise ConfigError(msg)
        self._skipped: Counter[str] = Counter()
        self._doubtful: Counter[str] = Counter()
        self._files: dict[str, tuple[TapeMarket, Path]] | None = None

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
        _, path = self._found()[file_name(market.market)]
        name = path.relative_to(self.folder).as_posix()
        return f"{name} {file_stamp(path)} {file_stamp(path.with_suffix('.json'))}"

    @override
    def __reduce__(self) -> tuple[type[CsvRecording], tuple[str]]:
        # To another process goes where it is, not what was read: that process opens it anew.
        return type(self), (str(self.folder.resolve()),)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Files and rows that could not be used so far, by reason."""
        return self._skipped

    @property
    def doubtful(self) -> Mapping[str, int]:
        """Events that looked wrong so far and were passed on, by reason."""
        return self._doubtful

    def _found(self) -> dict[str, tuple[TapeMarket, Path]]:
        if self._files is None:
            found = []
            for path in sorted(self.folder.rglob("*.csv")):
                try:
                    found.append((_read_market(path), path))
                except (OSError, ValueError) as error:
                    log.warning("%s: skipped, no recording: %s", path, error)
                    self._skipped["unreadable"] += 1
            found.sort(key=lambda item: (item[0].market.window, item[0].market.slug))
            self._files = {file_name(tape.market): (tape, path) for tape, path in found}
        return self._files

    def _events(self, market: TapeMarket, path: Path) -> Iterator[TapeEvent]:
        with path.open(newline="", encoding="utf-8") as file:
            rows = self._rows(csv.DictReader(file))
            yield from checked(RowReader(market.market, self._skipped).events(rows), self._doubtful)

    def _rows(self, lines: Iterable[dict[str, str]]) -> Iterator[Row]:
        for number, line in enumerate(lines):
            try:
                yield _row(line, number)
            except (ValueError, TypeError):
                self._skipped["bad_row"] += 1

    @override
    def __repr__(self) -> str:
        return f"CsvRecording({str(self.folder)!r})"


def _read_market(path: Path) -> TapeMarket:
    with path.open(newline="", encoding="utf-8") as file:
        if missing := _NEEDED - set(next(csv.reader(file), [])):
            msg = f"expected a column {min(missing)}"
            raise ValueError(msg)
    return _decode(path.with_suffix(".json").read_bytes())


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


def _row(line: Mapping[str, str | None], number: int) -> Row:
    def of(name: str) -> str | None:
        return (line.get(name) or "").strip() or None

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
