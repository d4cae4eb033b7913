"""One Parquet file per market, in our own schema: ``<series>/<slug>.parquet``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from polyframe.checks import expect, expect_list
from polyframe.recording.batches import read_batches
from polyframe.recording.changes import as_events
from polyframe.recording.columns import ColumnReader
from polyframe.recording.files import Written, found_anywhere, open_shelf
from polyframe.recording.reader import Checker, Piece, load_optional, naming
from polyframe.recording.rows import COLUMNS, Row, RowReader, RowWriter, schema
from polyframe.recording.tape import TapeEvent, TapeMarket, file_name

log = logging.getLogger(__name__)

VERSION = 1
"""Of the schema; a reader takes files of this version only."""

_VERSION_KEY = b"polyframe.schema"
_MARKET_KEY = b"polyframe.market"
_GROUP = 50_000
"""Rows of a row group: as many are in memory while a file is written."""
_BATCH = _GROUP // 3 + 1
"""Rows that are in memory as Python values while a file is read: a row group is three times as many."""

_RISING = ("message", "received", "time")
"""Columns of which each number is near the one before it: files have the differences."""

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(TapeMarket).decode


def market_name(market: TapeMarket) -> str:
    """Return the name of the file of `market` below its folder."""
    return f"{market.market.series}/{file_name(market.market)}.parquet"


def write_market(folder: str | Path, market: TapeMarket, events: Iterable[TapeEvent]) -> Written:
    """Write the file of one market; it appears when it is complete, in place of an earlier one.

    Args:
        folder: Made if it does not exist; or a URL of fsspec.
        market: Goes into the file's metadata.
        events: In order of ``received_ms``; taken one by one.

    Raises:
        ConfigError: pyarrow, or what the URL needs, is not installed.
        OSError: The disk is full, or the folder cannot be written; an earlier file is as it was.
    """
    expect("market", market, "a TapeMarket(…)", is_right=isinstance(market, TapeMarket))
    expect_list("events", events, "the events of one market, in order")
    pa = load_optional("pyarrow", "write_market")
    shelf, name = open_shelf(folder), market_name(market)
    columns = schema(pa).with_metadata(_metadata(market))
    writer, count, rows = RowWriter(market.market), 0, list[Row]()
    with shelf.replacing(name) as file, _writer(pa, file, columns) as table:
        for event in events:
            found = writer.rows(event)
            count += bool(found)
            rows += found
            if len(rows) >= _GROUP:
                table.write_batch(_batch(pa, columns, rows))
                rows.clear()
        table.write_batch(_batch(pa, columns, rows))
    return Written(shelf.location(name), count, dict(writer.skipped))


def update_market(folder: str | Path, market: TapeMarket) -> None:
    """Put what is known of a market by now into its file; what was heard of it stays.

    Raises:
        ConfigError: pyarrow, or what the URL needs, is not installed.
        OSError: There is no such file, or the disk is full; an earlier file is as it was.
    """
    pa = load_optional("pyarrow", "update_market")
    parquet = load_optional("pyarrow.parquet", "update_market")
    shelf, name = open_shelf(folder), market_name(market)
    with shelf.reading(name) as source, parquet.ParquetFile(source) as old:
        columns = old.schema_arrow.with_metadata(_metadata(market))
        with shelf.replacing(name) as file, _writer(pa, file, columns) as table:
            for batch in old.iter_batches(batch_size=_GROUP):
                table.write_batch(batch)


def is_written(folder: str | Path, market: TapeMarket) -> bool:
    """Return whether there is a file of `market`."""
    return open_shelf(folder).exists(market_name(market))


def _metadata(market: TapeMarket) -> dict[bytes, bytes]:
    return {_VERSION_KEY: str(VERSION).encode(), _MARKET_KEY: _encode(market)}


def _writer(pa: Any, file: Any, columns: Any) -> Any:
    """Return a writer of files; what is updated may have columns of other types than ours."""
    rising: dict[str, str] = {}
    others: list[str] = []
    for column in columns:
        kind = column.type
        if column.name in _RISING and (pa.types.is_integer(kind) or pa.types.is_timestamp(kind)):
            rising[column.name] = "DELTA_BINARY_PACKED"
        else:
            others.append(column.name + ".list.element" * pa.types.is_list(kind))
    parquet = load_optional("pyarrow.parquet", "write_market")
    return parquet.ParquetWriter(
        file, columns, compression="zstd", use_dictionary=others, column_encoding=rising
    )


def _batch(pa: Any, columns: Any, rows: list[Row]) -> Any:
    arrays = [
        pa.array([row.get(column.name) for row in rows], type=column.type) for column in columns
    ]
    return pa.record_batch(arrays, schema=columns)


class ParquetRecording:
    """The markets below a folder, as `write_market` writes them.

    *Files that are skipped* are counted when the markets are listed: ``unreadable`` (no Parquet, or
    none of ours), ``schema_version`` (of another version),
    ``duplicate`` (another file has this market). *Rows that are skipped:* ``bad_row``
    (what a column says makes no sense), ``unknown_kind``.

    *Doubtful:* ``time_went_back`` and ``crossed``, see `polyframe.recording.reader.checked`.

    Args:
        folder: Where to look, at any depth; a path or a URL of fsspec.

    Raises:
        ConfigError: There is no such folder, or pyarrow (or what the URL needs) is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self._parquet = load_optional("pyarrow.parquet", "ParquetRecording")
        self._shelf = open_shelf(folder, must_exist=True)
        self._folder = str(folder)
        self._skipped: Counter[str] = Counter()
        self._doubtful: Counter[str] = Counter()
        self._files: dict[str, str] | None = None
        self._markets: tuple[TapeMarket, ...] = ()

    def markets(self) -> Sequence[TapeMarket]:
        """Return all markets in order of their windows; reads the ends of the files, once."""
        if self._files is None:
            found: dict[str, TapeMarket] = {}
            files: dict[str, str] = {}
            for path in self._shelf.names(".parquet"):
                if (market := self._read_metadata(path)) is None:
                    continue
                name = file_name(market.market)
                if name in found:
                    self._skipped["duplicate"] += 1
                    log.warning("%s: %s has this market already", path, files[name])
                    continue
                found[name], files[name] = market, path
            self._markets = tuple(
                sorted(found.values(), key=lambda tape: (tape.market.window, tape.market.slug))
            )
            self._files = files  # at the end: other threads may ask meanwhile
        return self._markets

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard of `market`.

        Raises:
            KeyError: `market` is none of this recording.
            OSError: Its file cannot be read to its end.
        """
        return as_events(market.market, self.stretches(market))

    def stretches(self, market: TapeMarket) -> Iterator[Piece]:
        """Yield what was heard of `market`, level changes as columns.

        Raises:
            KeyError: `market` is none of this recording.
            OSError: Its file cannot be read to its end.
        """
        self.markets()
        return self._pieces(market, (self._files or {})[file_name(market.market)])

    def identity(self, market: TapeMarket) -> str:
        """Return what changes when the file of `market` changes: name, size and time.

        Raises:
            KeyError: `market` is none of this recording.
        """
        self.markets()
        name = (self._files or {})[file_name(market.market)]
        return f"{name} {self._shelf.stamp(name)}"

    @property
    def skipped(self) -> Mapping[str, int]:
        """Files and rows that could not be used so far, by reason."""
        return self._skipped

    @property
    def doubtful(self) -> Mapping[str, int]:
        """Events that looked wrong so far and were passed on, by reason."""
        return self._doubtful

    def _read_metadata(self, path: str) -> TapeMarket | None:
        try:
            with self._shelf.reading(path) as source, self._parquet.ParquetFile(source) as file:
                names, metadata = set(file.schema_arrow.names), file.schema_arrow.metadata or {}
            if (version := metadata[_VERSION_KEY]) != str(VERSION).encode():
                log.warning("%s: skipped, schema %s, expected %s", path, version, VERSION)
                self._skipped["schema_version"] += 1
                return None
            if missing := set(COLUMNS) - names:
                raise KeyError(*sorted(missing))
            return _decode(metadata[_MARKET_KEY])
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s: skipped, no recording: %r", path, error)
            self._skipped["unreadable"] += 1
            return None

    def _pieces(self, market: TapeMarket, path: str) -> Iterator[Piece]:
        with (
            naming(self._shelf.location(path)),
            self._shelf.reading(path) as source,
            self._parquet.ParquetFile(source) as file,
        ):
            rows = RowReader(market.market, self._skipped)
            reader = ColumnReader(market.market, rows, Checker(self._doubtful))
            for block in reader.pieces(read_batches(file, _BATCH)):
                yield from block

    @override
    def __reduce__(self) -> tuple[type[ParquetRecording], tuple[str]]:
        # To another process goes where it is, not what was read: that process opens it anew.
        return type(self), (found_anywhere(self._folder),)

    @override
    def __repr__(self) -> str:
        return f"ParquetRecording({self._folder!r})"
