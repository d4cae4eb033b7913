"""The hourly Parquet files of the pmxt archive (version 2), as a recording.

One file has the whole venue's market channel of an hour, sorted by market, token and time. Only those
row groups are read whose statistics allow for the market in question, and of these only its rows are
kept.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from typing_extensions import override

from polyframe.checks import expect, expect_list
from polyframe.errors import ConfigError
from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    TickSizeChange,
    TradePrint,
)
from polyframe.model.money import PRICE_UNITS, price_units, size_decimal
from polyframe.model.order import Side
from polyframe.recording.files import Shelf, found_anywhere, open_shelf
from polyframe.recording.reader import checked, load_optional, naming
from polyframe.recording.tape import Gap, TapeEvent, TapeMarket, Timed

LEAD = 300
"""Seconds before a window from which on its market is read."""
TAIL = 60
"""Seconds after a window until which its market is read."""

_COLUMNS = (
    "timestamp_received",
    "timestamp",
    "market",
    "event_type",
    "asset_id",
    "bids",
    "asks",
    "price",
    "size",
    "side",
    "best_bid",
    "best_ask",
    "new_tick_size",
)
_FILE = re.compile(r"polymarket_orderbook_(\d{4}-\d{2}-\d{2}T\d{2})\.parquet")
_HOUR = 3600
_BATCH = 8_192

Row = dict[str, Any]
Levels = tuple[tuple[int, Decimal], ...]
T = TypeVar("T")

_read_levels = msgspec.json.Decoder(list[tuple[str, str]]).decode


class PmxtArchive:
    """Markets in hourly files of the archive.

    The files know markets by condition id only, so say which markets they are: as the exchange gives
    them (``fetch_market``), with the winner if you know it.

    A row is one message of one token. Changes of a market that came in the same millisecond, with the
    same time of the venue, are one message again. The archive does not tell connections apart, so
    all is one epoch.

    *Skipped* are rows, by reason: ``out_of_order`` (earlier than the row before), ``bad_row`` (a price
    off the grid, a field missing), ``unknown_type``; and ``missing_hour``, an hour of a market without
    a file, which is a gap too. *Doubtful:* ``crossed``, a whole book whose best bid is not below its
    best ask.

    Args:
        folder: Where the hourly files are; a path or a URL of fsspec, of which only what is needed is
            fetched.
        markets: Which markets are wanted, and what is known of them.

    Attributes:
        groups_read: Row groups that were read so far, of all that there are in the files that were
            opened; each counts once per token.

    Raises:
        ConfigError: There is no such folder, it has no such file, or pyarrow (or what the URL needs) is
            not installed.
    """

    def __init__(self, folder: str | Path, markets: Sequence[TapeMarket]) -> None:
        expect_list("markets", markets, "a list of TapeMarket(…)")
        markets = tuple(markets)
        for one in markets:
            expect("markets", one, "TapeMarket(…) in it", is_right=isinstance(one, TapeMarket))
        self._parquet = load_optional("pyarrow.parquet", "PmxtArchive")
        self._shelf = open_shelf(folder, must_exist=True)
        self._folder = str(folder)
        self._files = _hourly_files(self._shelf, self._folder)
        self._markets = tuple(sorted(markets, key=lambda tape: tape.market.window))
        self._skipped: Counter[str] = Counter()
        self._doubtful: Counter[str] = Counter()
        self.groups_read = 0

    def markets(self) -> Sequence[TapeMarket]:
        """Return the markets that were named and for which there is an hour, in order."""
        return [tape for tape in self._markets if any(hour in self._files for hour in _hours(tape))]

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard of `market`, from shortly before its window to shortly after.

        Raises:
            KeyError: `market` is none of this recording.
        """
        if market not in self.markets():
            raise KeyError(market.market.slug)
        return checked(self._events(market), self._doubtful)

    def identity(self, market: TapeMarket) -> str:
        """Return what changes when the hours of `market` change: names, sizes and times."""
        names = [self._files[hour] for hour in _hours(market) if hour in self._files]
        return " ".join(f"{name} {self._shelf.stamp(name)}" for name in names)

    @override
    def __reduce__(self) -> tuple[type[PmxtArchive], tuple[str, tuple[TapeMarket, ...]]]:
        # To another process goes where it is, not what was read: that process opens it anew.
        return type(self), (found_anywhere(self._folder), self._markets)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Rows and hours that could not be used so far, by reason."""
        return self._skipped

    @property
    def doubtful(self) -> Mapping[str, int]:
        """Messages that looked wrong so far and were passed on, by reason."""
        return self._doubtful

    def _events(self, tape: TapeMarket) -> Iterator[TapeEvent]:
        start, end = _span_ms(tape)
        for hour in _hours(tape):
            name = self._files.get(hour)
            if name is None:
                self._skipped["missing_hour"] += 1
                yield Gap(max(hour * 1000, start), "missing_hour")
                continue
            rows = [
                self._rows(name, tape, token)
                for token in (tape.market.up_token, tape.market.down_token)
            ]
            merged = heapq.merge(*rows, key=lambda row: row["timestamp_received"])
            wanted = (row for row in merged if start <= row["timestamp_received"] < end)
            yield from self._messages(tape.market.condition_id, wanted)

    def _rows(self, name: str, tape: TapeMarket, token: str) -> Iterator[Row]:
        """Yield the rows of one token, in order of time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        condition, last = tape.market.condition_id.encode(), 0
        with (
            naming(self._shelf.location(name)),
            self._shelf.reading(name) as source,
            self._parquet.ParquetFile(source) as file,
        ):
            for group in _groups(file.metadata, market=condition, asset_id=token.encode()):
                self.groups_read += 1
                for batch in file.iter_batches(_BATCH, row_groups=[group], columns=_COLUMNS):
                    is_market = pc.equal(batch.column("market").cast(pa.binary()), condition)
                    is_token = pc.equal(batch.column("asset_id"), token)
                    for row in _plain(batch.filter(pc.and_(is_market, is_token))):
                        if row["timestamp_received"] < last:
                            self._skipped["out_of_order"] += 1
                            continue
                        last = row["timestamp_received"]
                        yield row

    def _messages(self, condition: str, rows: Iterator[Row]) -> Iterator[Timed]:
        for (received, time_ms, kind), together in groupby(rows, key=_moment):
            if kind == "price_change":
                changes = [
                    found for row in together if (found := self._try(_change, row)) is not None
                ]
                if changes:
                    yield Timed(received, 1, BookDelta(condition, tuple(changes), time_ms))
                continue
            for row in together:
                if kind not in _READERS:
                    self._skipped["unknown_type"] += 1
                elif (message := self._try(_READERS[kind], row)) is not None:
                    yield Timed(received, 1, message)

    def _try(self, read: Callable[[Row], T], row: Row) -> T | None:
        try:
            return read(row)
        except (ValueError, TypeError):
            self._skipped["bad_row"] += 1
            return None

    @override
    def __repr__(self) -> str:
        return f"PmxtArchive({self._folder!r}, {len(self._files)} hours)"


def _hourly_files(shelf: Shelf, folder: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for name in shelf.names(".parquet"):
        if match := _FILE.fullmatch(name):
            hour = datetime.strptime(match[1], "%Y-%m-%dT%H").replace(tzinfo=UTC)
            found[int(hour.timestamp())] = name
    if not found:
        msg = f"folder: {folder} has no file like polymarket_orderbook_2026-09-28T09.parquet"
        raise ConfigError(msg)
    return found


def _span_ms(tape: TapeMarket) -> tuple[int, int]:
    window = tape.market.window
    return (window.start - LEAD) * 1000, (window.end + TAIL) * 1000


def _hours(tape: TapeMarket) -> range:
    window = tape.market.window
    first = (window.start - LEAD) // _HOUR * _HOUR
    return range(first, window.end + TAIL, _HOUR)


def _groups(metadata: Any, **wanted: bytes) -> Iterator[int]:
    """Yield the row groups that may have a row with these values, by their statistics."""
    for group in range(metadata.num_row_groups):
        columns = (metadata.row_group(group).column(index) for index in range(metadata.num_columns))
        found = {column.path_in_schema: column.statistics for column in columns}
        # Both bounds of a sorted pair: between two tokens of one market only the second column tells.
        if all(_may_have(found.get(name), value) for name, value in wanted.items()):
            yield group


def _may_have(statistics: Any, value: bytes) -> bool:
    if statistics is None or not statistics.has_min_max:
        return True
    low, high = _bytes(statistics.min), _bytes(statistics.max)
    return low <= value <= high


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _plain(batch: Any) -> list[Row]:
    import pyarrow as pa

    columns = {
        name: column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    rows: list[Row] = pa.table(columns).to_pylist()
    return rows


def _moment(row: Row) -> tuple[int, int, str]:
    return row["timestamp_received"], row["timestamp"] or 0, row["event_type"]


def _change(row: Row) -> LevelChange:
    is_bid = Side(row["side"]) is Side.BUY
    price, size = _price(row["price"]), size_decimal(_text(row["size"]))
    top = [-1 if row[name] is None else price_units(str(row[name])) for name in _TOP]
    return LevelChange(row["asset_id"], is_bid, price, size, *top)


def _book(row: Row) -> BookSnapshot:
    bids, asks = _levels(row["bids"]), _levels(row["asks"])
    return BookSnapshot(_market(row), row["asset_id"], bids, asks, row["timestamp"])


def _trade(row: Row) -> TradePrint:
    size = None if row["size"] is None else size_decimal(str(row["size"]))
    side = Side(row["side"]) if row["side"] else None
    price = _price(row["price"])
    return TradePrint(_market(row), row["asset_id"], price, size, side, row["timestamp"])


def _tick(row: Row) -> TickSizeChange:
    tick = _price(row["new_tick_size"])
    if PRICE_UNITS % tick:
        msg = f"tick: expected a step that divides 1 USD, got {row['new_tick_size']}"
        raise ValueError(msg)
    return TickSizeChange(_market(row), row["asset_id"], tick, row["timestamp"])


_TOP = ("best_bid", "best_ask")
_READERS: dict[str, Callable[[Row], MarketMessage]] = {
    "book": _book,
    "last_trade_price": _trade,
    "tick_size_change": _tick,
}


def _market(row: Row) -> str:
    market: bytes = row["market"]
    return market.decode("ascii")


def _levels(text: str | None) -> Levels:
    return tuple([(_price(price), size_decimal(size)) for price, size in _read_levels(_text(text))])


def _price(value: Decimal | str | None) -> int:
    units = price_units(_text(value))
    if not 0 < units < PRICE_UNITS:
        msg = f"price: expected more than 0 and less than 1, got {value}"
        raise ValueError(msg)
    return units


def _text(value: Decimal | str | None) -> str:
    if value is None:
        msg = "expected a value, got none"
        raise ValueError(msg)
    return str(value)
