"""Records series of markets: frames as they come, and a file per market when it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from attrs import evolve, field, frozen
from typing_extensions import override

from polyframe.checks import expect, expect_count, expect_list, expect_path, seconds
from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeError, PolyframeError
from polyframe.exchange.base import Exchange, ReferenceVenue, TapsFrames
from polyframe.model.events import MarketMessage, StreamState, TickSizeChange
from polyframe.model.reference import PriceSource
from polyframe.model.series import Series, Window
from polyframe.paths import local_path
from polyframe.recording.files import open_shelf
from polyframe.recording.finalise import (
    finalise,
    load_market,
    raw_folder,
    raw_folders,
    save_market,
)
from polyframe.recording.frames import FrameKind, FrameLog, RawFrame
from polyframe.recording.lock import FolderLock
from polyframe.recording.parquet import is_written, update_market
from polyframe.recording.reader import load_optional
from polyframe.recording.tape import TapeMarket
from polyframe.recording.writer import FrameWriter
from polyframe.shared import SharedService

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""Real seconds that closing waits for the disk, at most."""


@frozen(kw_only=True)
class RecorderSettings:
    """When a market is recorded, in seconds of market time.

    Attributes:
        lead: How long before its window a market is looked for.
        tail: How long after its window it is still listened to.
        retry: Between two attempts to find a market, or to learn how it ended.
        resolution_wait: How long after its window it is asked how it ended.

    Raises:
        ConfigError: A negative number.
    """

    lead: float = field(default=30.0, validator=seconds)
    tail: float = field(default=30.0, validator=seconds)
    retry: float = field(default=5.0, validator=seconds)
    resolution_wait: float = field(default=3600.0, validator=seconds)


class Recorder(SharedService):
    """Records every market of some series, each on a connection of its own.

    Give it to an environment (``env.provide(Recorder(...))``), or open it beside an exchange that is
    open. The event loop hands frames to a thread and does not wait; a disk that is full or hangs
    stops the recording with an alarm, and nothing else.

    When a market is over its file is written; as soon as it is known how it ended, that goes in. What
    an earlier run has left unfinished is finished first.

    Args:
        exchange: Polymarket, or another whose frames can be tapped.
        series: What to record.
        folder: Where to; made if it does not exist. One recorder uses it at a time.
        files: Where the files of markets go, if not there: a folder, or a URL of fsspec such as
            ``s3://bucket/recordings``.
        settings: Times.
        cycles: Windows to record of each series, the present one included; all by default.

    Raises:
        ConfigError: The frames of this exchange cannot be tapped, no series, no cycles, or `folder` is
            a URL.
    """

    def __init__(
        self,
        exchange: Exchange,
        series: Sequence[Series | str],
        folder: str | Path,
        *,
        files: str | Path | None = None,
        settings: RecorderSettings | None = None,
        cycles: int | None = None,
    ) -> None:
        if not isinstance(exchange, TapsFrames):
            name = getattr(exchange, "name", repr(exchange))
            msg = f"exchange: the frames of {name} cannot be tapped; use a PolymarketExchange"
            raise ConfigError(msg)
        expect_list("series", series, 'a list, for example ["btc-updown-15m"]')
        if not series:
            msg = 'series: expected at least one, for example "btc-updown-15m"'
            raise ConfigError(msg)
        expect_path("folder", folder)
        if files is not None:
            expect_path("files", files)
        is_settings = isinstance(settings, RecorderSettings | None)
        expect("settings", settings, "RecorderSettings(…)", is_right=is_settings)
        expect_count("cycles", cycles, or_none="for no end")
        advice = "frames need a folder of this machine, finished files may go to a URL (files)"
        self.folder = local_path("folder", folder, advice)
        self.files = folder if files is None else files
        self.series = tuple(dict.fromkeys(map(Series.parse, series)))
        self._exchange = exchange
        self._taps: TapsFrames = exchange
        self._records = exchange if isinstance(exchange, ReferenceVenue) else None
        self._settings = settings or RecorderSettings()
        self._cycles = cycles
        self._lock = FolderLock(self.folder)
        self._writer: FrameWriter | None = None
        self._main: asyncio.Task[None] | None = None
        self._has_stopped = False

    @override
    async def open(self, clock: Clock, counters: Counters) -> None:
        """Begin to record, in a task.

        Raises:
            ConfigError: The folder cannot be written, or another recorder uses it; pyarrow is not
                installed; or it was opened before.
        """
        if self._writer is not None:
            msg = "recorder: it opens once; make a new one"
            raise ConfigError(msg)
        # Not at the end of the first market.
        load_optional("pyarrow.parquet", "recorder")
        open_shelf(self.files)
        self._lock.take()
        self._clock, self._counters = clock, counters
        self._writer = FrameWriter()
        self._main = asyncio.create_task(self._run(), name="polyframe-recorder")

    async def wait(self) -> None:
        """Return when all cycles that were asked for are recorded, or recording has stopped."""
        if self._main is not None:
            await asyncio.wait({self._main})

    @property
    def failure(self) -> str:
        """Why recording stopped: ``"disk"``, ``"backlog"`` or ``"error"``; ``""`` if it did not."""
        return "" if self._writer is None else self._writer.failure

    @override
    async def close(self) -> None:
        """Stop recording. A market that is not over is gone on with by the next start."""
        main, self._main = self._main, None
        if main is not None:
            main.cancel()
            await asyncio.wait({main})
        if self._writer is not None:
            await _wait_for_disk(self._writer.close())
        self._lock.release()

    # ------------------------------------------------------------------ tasks

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._finish_left_over(), name="polyframe-recorder-left-over")
            for series in self.series:
                group.create_task(self._follow(series, group), name=f"polyframe-recorder-{series}")

    async def _follow(self, series: Series, group: asyncio.TaskGroup) -> None:
        window, number = series.window_at(self._clock.time()), 0
        while self._cycles is None or number < self._cycles:
            await self._clock.sleep_until(window.start - self._settings.lead)
            group.create_task(
                self._record(series, window), name=f"polyframe-recorder-{series}-{window.start}"
            )
            window, number = series.next(window), number + 1

    async def _record(self, series: Series, window: Window) -> None:
        """Record one market from now to its end; whatever goes wrong is told and ends here."""
        try:
            tape = await self._find(series, window)
            if tape is None:
                self._counters.add(Count.RECORDINGS, "missed")
                log.error("recorder: %s: no market was found", series.slug(window))
                return
            raw = raw_folder(self.folder, tape)
            await asyncio.to_thread(save_market, raw, tape)
            await self._listen(tape, raw)
            await self._finish(tape, raw)
        except Exception as error:  # noqa: BLE001 - one market must not end the others
            self._failed(series.slug(window), error)

    async def _finish_left_over(self) -> None:
        """Write the files that an earlier run owes."""
        for raw in await asyncio.to_thread(raw_folders, self.folder):
            try:
                tape = await asyncio.to_thread(load_market, raw)
                if tape.market.window.end > self._clock.time():
                    continue  # it is not over: whoever follows its series goes on with it
                if not await asyncio.to_thread(is_written, self.files, tape):
                    await self._finish(tape, raw)
                elif tape.winner is None or self._clock.time() < self._deadline(tape):
                    # After the deadline once: who won is known by then, and without it a file is half.
                    await self._settle(tape, raw)
            except Exception as error:  # noqa: BLE001 - nor what was left over
                self._failed(raw.name, error)

    def _failed(self, slug: str, error: Exception) -> None:
        self._counters.add(Count.RECORDINGS, "failed")
        if isinstance(error, OSError | PolyframeError):
            log.critical("recorder: %s: NOT RECORDED: %s", slug, error)
        else:
            log.critical("recorder: %s: NOT RECORDED", slug, exc_info=error)

    # ------------------------------------------------------------------ one market

    async def _find(self, series: Series, window: Window) -> TapeMarket | None:
        while self._clock.time() < window.end:
            try:
                market = await self._exchange.fetch_market(series, window)
            except ExchangeError as error:
                log.warning("recorder: %s: %s", series.slug(window), error)
                market = None
            if market is not None:
                return TapeMarket(market, source=self._exchange.name)
            await self._clock.sleep(self._settings.retry)
        return None

    async def _listen(self, tape: TapeMarket, raw: Path) -> None:
        writer, frames = self._opened_writer(), FrameLog(raw)
        tap = _Tap(writer, frames, self._clock, self._stop)
        stream = self._taps.tapped_market_stream(tape.market, tap, tap.on_frame)
        tap.resync = stream.resync
        stream.start()
        try:
            await self._clock.sleep_until(tape.market.window.end + self._settings.tail)
        finally:
            await stream.close()
            await _wait_for_disk(writer.close_log(frames))

    def _stop(self) -> None:
        """End all recording because frames cannot be written any more."""
        if self._main is not None and not self._has_stopped:
            self._has_stopped = True
            self._counters.add(Count.RECORDINGS, "stopped")
            self._main.cancel()

    async def _finish(self, tape: TapeMarket, raw: Path) -> None:
        decode = self._taps.frame_decoder()
        written = await asyncio.to_thread(finalise, self.files, raw, decode, tape)
        self._counters.add(Count.RECORDINGS, "written")
        log.info("recorder: %s has %d events", written.location, written.events)
        await self._settle(tape, raw)

    async def _settle(self, tape: TapeMarket, raw: Path) -> None:
        """Put into the file how the market ended, as soon as somebody says so."""
        while True:
            known, tape = tape, await self._with_price(await self._with_winner(tape))
            if tape != known:
                await asyncio.to_thread(update_market, self.files, tape)
                await asyncio.to_thread(save_market, raw, tape)
            if known.winner is None and tape.winner is not None:
                self._counters.add(Count.RECORDINGS, "settled")
            has_price = tape.price_to_beat is not None or self._records is None
            if tape.winner is not None and has_price:
                return
            if self._clock.time() >= self._deadline(tape):
                break
            await self._clock.sleep(self._settings.retry)
        if tape.winner is None:
            self._counters.add(Count.RECORDINGS, "unsettled")

    async def _with_winner(self, tape: TapeMarket) -> TapeMarket:
        if tape.winner is not None:
            return tape
        try:
            resolution = await self._exchange.fetch_resolution(tape.market)
        except ExchangeError as error:
            log.warning("recorder: %s: who won is not known: %s", tape.market.slug, error)
            return tape
        return tape if resolution is None else evolve(tape, winner=resolution.winner)

    async def _with_price(self, tape: TapeMarket) -> TapeMarket:
        if tape.price_to_beat is not None or self._records is None:
            return tape
        market = tape.market
        try:
            record = await self._records.fetch_price_record(market.series, market.window)
        except ExchangeError as error:
            log.warning("recorder: %s: the price to beat is not known: %s", market.slug, error)
            return tape
        if record.price_to_beat is None:
            return tape
        return evolve(
            tape, price_to_beat=record.price_to_beat, price_source=PriceSource.GAMMA.value
        )

    def _deadline(self, tape: TapeMarket) -> float:
        return tape.market.window.end + self._settings.resolution_wait

    def _opened_writer(self) -> FrameWriter:
        if self._writer is None:
            msg = "recorder: open it first"
            raise ConfigError(msg)
        return self._writer


class _Tap:
    """Takes what one stream says and hands it to the writer.

    Args:
        writer: Takes the frames.
        frames: Where they go.
        clock: Says when they came.
        stop: Called when a frame was not taken.

    Attributes:
        resync: Has both books sent afresh; the stream's.
    """

    resync: Callable[[str], None]

    def __init__(
        self, writer: FrameWriter, frames: FrameLog, clock: Clock, stop: Callable[[], None]
    ) -> None:
        self._writer = writer
        self._frames = frames
        self._clock = clock
        self._stop = stop
        self._connection = self._tick = 0

    def on_frame(self, frame: bytes) -> None:
        self._put(FrameKind.FRAME, frame)

    def on_market_message(self, message: MarketMessage) -> None:
        """Have both books sent afresh when the tick has changed; the frame itself is recorded.

        Who reads the recording trusts no book of before (PROTOCOL §4.6).
        """
        if isinstance(message, TickSizeChange) and message.new_tick != self._tick:
            self._tick = message.new_tick
            self.resync("tick")

    def on_market_stream(self, state: StreamState, reason: str) -> None:
        if state is StreamState.CONNECTED:
            self._connection += 1
            self._put(FrameKind.CONNECTED, b"")
        else:
            self._put(FrameKind.LOST, reason.encode())

    def _put(self, kind: FrameKind, data: bytes) -> None:
        record = RawFrame(self._clock.time(), self._connection, data, kind)
        if not self._writer.put(self._frames, record):
            self._stop()


async def _wait_for_disk(done: Future[None]) -> None:
    """Wait for the thread, but not for ever: a disk may hang."""
    _, pending = await asyncio.wait({asyncio.wrap_future(done)}, timeout=CLOSE_SECONDS)
    if pending:
        log.critical("recorder: the disk does not answer; the last frames may be lost")
