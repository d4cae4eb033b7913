"""What the market looks like, as rows for a spreadsheet."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from attrs import Attribute, define, field
from typing_extensions import override

from polyframe.errors import ConfigError
from polyframe.model.events import CycleEndReason, PriceChanged
from polyframe.model.market import Outcome
from polyframe.paths import local_path
from polyframe.recording.frames import RawFrame
from polyframe.recording.writer import FrameWriter
from polyframe.reference import ReferencePrices
from polyframe.strategy import Strategy

COLUMNS = (
    "time",
    "seconds_left",
    "up_bid",
    "up_bid_size",
    "up_ask",
    "up_ask_size",
    "down_bid",
    "down_bid_size",
    "down_ask",
    "down_ask_size",
    "reference",
    "reference_time",
    "price_to_beat",
    "price_to_beat_is_final",
    "doubt",
)

CLOSE_SECONDS = 1.0
"""Seconds that the end of a cycle waits for the disk, at most."""


def _to_folder(value: str | Path) -> Path:
    return local_path("folder", value, "rows are added to a file of this machine")


def _check_every(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, int | float) and 0 < value < float("inf")):
        msg = f"{attribute.name}: expected seconds above 0, or None for every change, got {value!r}"
        raise ConfigError(msg)


@define
class DataRecorder(Strategy):
    """Writes the top of both books, the reference price and the price to beat, and trades nothing.

    Each market gets ``<folder>/<series>/<slug>.csv``; a market that is gone on with after a restart
    goes on in its file. Nothing is filtered: a row that looks wrong says why in its last column, as
    words with spaces between. ``unknown_up``: there is no trustworthy book; ``one_sided_up``: a side is
    empty; ``crossed_up``: the bid is not below the ask (and the same for ``down``); ``no_reference``,
    ``no_price_to_beat``.

    The reference price and the price to beat come from a `ReferencePrices` that was given to the
    environment; without one these columns stay empty.

    Rows are written by a thread. A disk that is full or hangs stops the rows with an alarm, and
    nothing else.

    For the whole of what the venue says, use `Recorder`.

    Attributes:
        folder: Where the files go.
        every: Market seconds between two rows; ``None`` for a row whenever something changed.
    """

    folder: Path = field(default=Path("prices"), converter=_to_folder)
    every: float | None = field(default=None, validator=_check_every)
    _prices: ReferencePrices | None = field(init=False, default=None)
    _writer: FrameWriter | None = field(init=False, default=None)
    _rows: LineLog | None = field(init=False, default=None)
    _last: tuple[str, ...] = field(init=False, default=())

    @override
    async def on_cycle_start(self) -> None:
        self._prices = self._find_prices()
        path = self.folder / str(self.market.series) / f"{self.market.slug}.csv"
        self._writer, self._rows = FrameWriter(), LineLog(path, ",".join(COLUMNS))

    @override
    async def on_price(self, event: PriceChanged) -> None:
        self._note_change()

    @override
    async def run(self) -> None:
        window = self.market.window
        if self.every is None:
            if self._prices is not None:
                async for _ in self._prices.updates(self.market):
                    self._note_change()
            return
        number = int(max(self.clock.time() - window.start, 0) / self.every)
        while (when := window.start + number * self.every) < window.end:
            await self.clock.sleep_until(when)
            self._write(self._values())
            number += 1

    @override
    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        if self._writer is not None:
            done = asyncio.wrap_future(self._writer.close())
            await asyncio.wait({done}, timeout=CLOSE_SECONDS)

    def _find_prices(self) -> ReferencePrices | None:
        try:
            prices = self.env.get(ReferencePrices)
            prices.latest(self.market.series)
        except ConfigError as error:
            self.log.warning("no reference prices are recorded: %s", error)
            return None
        return prices

    # ------------------------------------------------------------------ rows

    def _note_change(self) -> None:
        if self.every is None and (values := self._values()) != self._last:
            self._last = values
            self._write(values)

    def _values(self) -> tuple[str, ...]:
        """Return all columns but the first two."""
        doubt: list[str] = []
        values: list[str] = []
        for outcome in Outcome:
            price = self.session.price(outcome)
            values += map(_text, (price.bid, price.bid_size, price.ask, price.ask_size))
            if word := _doubt(price):
                doubt.append(f"{word}_{outcome.lower()}")
        prices = self._prices
        latest = None if prices is None else prices.latest(self.market.series)
        if latest is None:
            values += ["", ""]
            doubt.append("no_reference")
        else:
            values += [_text(latest.value), _time_text(latest.instant_ms / 1000)]
        beat = None if prices is None else prices.price_to_beat(self.market)
        if beat is None or beat.value is None:
            values += ["", ""]
            doubt.append("no_price_to_beat")
        else:
            values += [_text(beat.value), "yes" if beat.is_final else "no"]
        return (*values, " ".join(doubt))

    def _write(self, values: tuple[str, ...]) -> None:
        now = self.clock.time()
        line = ",".join((_time_text(now), f"{self.seconds_left():.3f}", *values))
        if self._writer is not None and self._rows is not None:
            self._writer.put(self._rows, RawFrame(now, 0, line.encode()))


class LineLog:
    """Adds lines to one text file, for the writer's thread.

    Args:
        path: The file; it and its folder are made with the first line.
        header: First line of a file that is new.
    """

    def __init__(self, path: Path, header: str) -> None:
        self._path = path
        self._header = header
        self._file: IO[bytes] | None = None

    def write(self, records: Iterable[RawFrame]) -> None:
        """Add one line for each record.

        Raises:
            OSError: The disk is full or broken.
        """
        lines = [record.data + b"\n" for record in records]
        if self._file is None:
            lines.insert(0, self._open())
        data = b"".join(lines)
        file = self._file
        if file is not None and (written := file.write(data)) != len(data):
            msg = f"{written} of {len(data)} bytes were written"
            raise OSError(errno.ENOSPC, msg)

    def _open(self) -> bytes:
        """Open the file and return what has to stand before the next line."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+b", buffering=0)
        if (size := self._file.seek(0, os.SEEK_END)) == 0:
            return self._header.encode() + b"\n"
        self._file.seek(size - 1)
        # A program that was killed may have left half a line.
        return b"" if self._file.read(1) == b"\n" else b"\n"

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _doubt(price: PriceChanged) -> str:
    if not price.known:
        return "unknown"
    if price.bid is None or price.ask is None:
        return "one_sided"
    return "crossed" if price.bid >= price.ask else ""


def _text(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"


def _time_text(when: float) -> str:
    moment = datetime.fromtimestamp(round(when * 1000) / 1000, UTC)
    return moment.replace(tzinfo=None).isoformat(" ", "milliseconds")
