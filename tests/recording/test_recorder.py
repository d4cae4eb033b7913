"""The recorder: from the wire to a file per market."""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from typing_extensions import override

from polyframe.clock import ScaledClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeError
from polyframe.exchange.polymarket import PolymarketExchange, StreamSettings
from polyframe.exchange.polymarket.tapped_stream import TappedMarketStream
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.model.book import Book
from polyframe.model.events import BookDelta, BookSnapshot, MarketMessage, TickSizeChange
from polyframe.model.market import Outcome
from polyframe.model.reference import PriceRecord
from polyframe.model.series import Series
from polyframe.recording import recorder as module
from polyframe.recording.finalise import finalise, load_market, raw_folders, tape_events
from polyframe.recording.frames import FrameKind, FrameLog, FrameReader, RawFrame
from polyframe.recording.parquet import ParquetRecording
from polyframe.recording.recorder import Recorder, RecorderSettings
from polyframe.recording.tape import Gap, TapeEvent, Timed
from tests.exchange.servers import WatchedSink
from tests.recording.fake import TappedExchange, until
from tests.support.fake import START, FakeExchange, make_market

pytest.importorskip("pyarrow")

SERIES = "btc-updown-5m"
FIRST, SECOND = make_market(SERIES, START), make_market(SERIES, START + 300)
SPEED = 600.0
"""Market seconds per real second: a window takes half a second."""


@asynccontextmanager
async def recording(
    folder: Path,
    exchange: TappedExchange,
    counters: Counters | None = None,
    *,
    cycles: int | None = 1,
    start: float = START + 10,
    series: Iterable[str] = (SERIES,),
) -> AsyncIterator[Recorder]:
    """Open a recorder on `exchange`, and close it."""
    clock, counters = ScaledClock(SPEED, start=start), counters or Counters()
    await exchange.open(clock, counters)
    settings = RecorderSettings(resolution_wait=300)
    recorder = Recorder(exchange, list(series), folder, cycles=cycles, settings=settings)
    await recorder.open(clock, counters)
    try:
        yield recorder
    finally:
        await recorder.close()


async def record(
    folder: Path, exchange: TappedExchange, *, cycles: int = 1, start: float = START + 10
) -> Counters:
    """Record whole cycles and return what was counted."""
    counters = Counters()
    async with recording(folder, exchange, counters, cycles=cycles, start=start) as recorder:
        async with asyncio.timeout(20):
            await recorder.wait()
        assert not recorder.failure
    return counters


def prices(events: Iterable[TapeEvent]) -> list[int | str]:
    """Return the prices of trades, and the reasons of gaps."""
    return [
        event.reason if isinstance(event, Gap) else event.message.price  # type: ignore[union-attr]
        for event in events
    ]


def test_each_market_becomes_a_file(tmp_path: Path) -> None:
    """Two cycles leave two files with what was heard, who won and the price to beat."""
    exchange = TappedExchange()
    counters = asyncio.run(record(tmp_path, exchange, cycles=2))
    found = ParquetRecording(tmp_path)
    markets = found.markets()
    assert [tape.market for tape in markets] == [FIRST, SECOND]
    for tape in markets:
        assert tape.winner is Outcome.UP
        assert (tape.price_to_beat, tape.price_source) == (Decimal("64000.5"), "gamma")
        assert tape.source == "fake"
        assert prices(found.events(tape)) == [4000, 4001]
    times = [next(iter(found.events(tape))).received_ms / 1000 for tape in markets]
    assert START + 10 <= times[0] < FIRST.window.end
    assert SECOND.window.start - 30 <= times[1] < SECOND.window.start + 60
    assert counters.reasons(Count.RECORDINGS) == {"written": 2, "settled": 2}
    assert all(stream.closed for stream in exchange.streams.values())


def test_series_are_recorded_at_the_same_time(tmp_path: Path) -> None:
    """One recorder takes any number of series."""

    async def main() -> None:
        names = (SERIES, "eth-updown-5m", SERIES)
        async with recording(tmp_path, TappedExchange(), series=names) as recorder:
            assert len(recorder.series) == 2
            async with asyncio.timeout(20):
                await recorder.wait()

    asyncio.run(main())
    assert {tape.market.series.asset for tape in ParquetRecording(tmp_path).markets()} == {
        "btc",
        "eth",
    }


def test_the_next_start_goes_on(tmp_path: Path) -> None:
    """Closed within a cycle and started again, the file has both parts and the gap between them."""
    exchange = TappedExchange()

    async def begin() -> None:
        async with recording(tmp_path, exchange):
            await until(lambda: exchange.shown > 0)

    asyncio.run(begin())
    assert len(list(FrameReader(raw_folders(tmp_path)[0]))) == 3
    assert not ParquetRecording(tmp_path).markets()
    counters = asyncio.run(record(tmp_path, exchange, start=START + 100))
    events = list(ParquetRecording(tmp_path).events(load_market(raw_folders(tmp_path)[0])))
    assert prices(events) == [4000, 4001, "restart", 4000, 4001]
    assert [event.epoch for event in events if isinstance(event, Timed)] == [1, 1, 2, 2]
    assert events[2].received_ms == events[1].received_ms
    assert counters.reasons(Count.RECORDINGS) == {"written": 1, "settled": 1}


def test_what_was_left_over_is_finished(tmp_path: Path) -> None:
    """A market that was over before anybody could write its file is written by the next start."""
    exchange = TappedExchange()

    async def begin() -> None:
        async with recording(tmp_path, exchange):
            await until(lambda: exchange.shown > 0)

    asyncio.run(begin())
    exchange.missing.add(SECOND.slug)
    counters = asyncio.run(record(tmp_path, exchange, start=START + 301))  # within the tail
    assert counters.reasons(Count.RECORDINGS) == {"written": 1, "settled": 1, "missed": 1}
    (tape,) = ParquetRecording(tmp_path).markets()
    assert tape.market == FIRST
    assert tape.winner is Outcome.UP


def test_a_winner_that_came_too_late_is_asked_for_by_the_next_start(tmp_path: Path) -> None:
    """Without a winner in time the file is without; a later start within the wait puts it in."""
    exchange = TappedExchange()
    exchange.unresolved.add(FIRST.slug)
    exchange.record = PriceRecord()

    async def begin() -> None:
        counters = Counters()
        async with recording(tmp_path, exchange, counters):
            await until(lambda: counters.get(Count.RECORDINGS, "written") > 0)

    asyncio.run(begin())
    assert ParquetRecording(tmp_path).markets()[0].winner is None
    exchange.unresolved.clear()
    exchange.missing.add(SECOND.slug)
    counters = asyncio.run(record(tmp_path, exchange, start=START + 420))
    assert counters.reasons(Count.RECORDINGS) == {"settled": 1, "missed": 1}
    tape = ParquetRecording(tmp_path).markets()[0]
    assert (tape.winner, tape.price_to_beat) == (Outcome.UP, None)


def test_a_start_long_after_asks_once_who_won(tmp_path: Path) -> None:
    """A file without a winner gets it from a start days later; one that nobody answers costs a question."""
    exchange = TappedExchange()
    exchange.unresolved.add(FIRST.slug)
    asyncio.run(record(tmp_path, exchange))
    later = START + 86_400
    exchange.missing.add(make_market(SERIES, later).slug)
    counters = asyncio.run(record(tmp_path, exchange, start=later + 200))
    assert counters.reasons(Count.RECORDINGS) == {"unsettled": 1, "missed": 1}
    exchange.unresolved.clear()
    counters = asyncio.run(record(tmp_path, exchange, start=later + 200))
    assert counters.reasons(Count.RECORDINGS) == {"settled": 1, "missed": 1}
    assert ParquetRecording(tmp_path).markets()[0].winner is Outcome.UP
    counters = asyncio.run(record(tmp_path, exchange, start=later + 200))
    assert counters.reasons(Count.RECORDINGS) == {"missed": 1}


def test_the_winner_does_not_wait_for_the_price(tmp_path: Path) -> None:
    """Who won goes into the file although the price to beat is not told, and the other way round."""
    exchange, counters = TappedExchange(), Counters()
    exchange.record_error = ExchangeError("gamma does not answer")

    async def main() -> None:
        async with recording(tmp_path, exchange, counters):
            await until(lambda: counters.get(Count.RECORDINGS, "settled") > 0)
            assert ParquetRecording(tmp_path).markets()[0].winner is Outcome.UP
            exchange.record_error = None
            await until(lambda: ParquetRecording(tmp_path).markets()[0].price_to_beat is not None)

    asyncio.run(main())
    assert counters.reasons(Count.RECORDINGS) == {"written": 1, "settled": 1}


def test_without_records_the_winner_is_enough(tmp_path: Path) -> None:
    """At an exchange that tells no prices, a market is done when its winner is known."""

    class Silent(TappedExchange):
        fetch_price_record = None  # type: ignore[assignment]

    async def main() -> None:
        clock, exchange = ScaledClock(SPEED, start=START + 200), Silent()
        await exchange.open(clock, Counters())
        recorder = Recorder(exchange, [SERIES], tmp_path, cycles=1)
        await recorder.open(clock, Counters())
        async with asyncio.timeout(5):  # not the hour that it would wait for a price
            await recorder.wait()
        await recorder.close()

    asyncio.run(main())
    assert ParquetRecording(tmp_path).markets()[0].winner is Outcome.UP


def test_nobody_says_who_won(tmp_path: Path) -> None:
    """When the wait is over the file stays without a winner, and that is counted."""
    exchange = TappedExchange()
    exchange.unresolved.add(FIRST.slug)
    counters = asyncio.run(record(tmp_path, exchange))
    assert counters.reasons(Count.RECORDINGS) == {"written": 1, "unsettled": 1}
    (tape,) = ParquetRecording(tmp_path).markets()
    assert tape.winner is None
    assert tape.price_to_beat == Decimal("64000.5")


def test_a_venue_that_does_not_answer_is_asked_again(tmp_path: Path) -> None:
    """An error while the market is looked for is no reason to miss it."""
    exchange = TappedExchange()
    exchange.failing.add(FIRST.slug)

    async def main() -> None:
        async with recording(tmp_path, exchange) as recorder, asyncio.timeout(20):
            await until(lambda: len(exchange.lookups) > 1)
            exchange.failing.clear()
            await recorder.wait()

    asyncio.run(main())
    assert len(ParquetRecording(tmp_path).markets()) == 1


def test_a_new_tick_has_the_books_sent_afresh(tmp_path: Path) -> None:
    """A tick change voids the books of whoever reads the recording: it asks for them, once a tick."""
    exchange = TappedExchange()
    asked: list[list[str]] = []

    async def main() -> None:
        async with recording(tmp_path, exchange):
            await until(lambda: exchange.shown > 0)
            stream = exchange.streams[FIRST.slug]
            for tick in (10, 100):
                for token in (FIRST.up_token, FIRST.down_token):
                    stream.push(TickSizeChange(FIRST.condition_id, token, tick))
                asked.append(list(stream.resyncs))

    asyncio.run(main())
    assert asked == [["tick"], ["tick", "tick"]]


def test_a_full_disk_stops_recording_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One alarm; the recorder ends and says why; who hands over frames never sees an error."""

    class Full(FrameLog):
        @override
        def write(self, records: Iterable[RawFrame]) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(module, "FrameLog", Full)
    counters, exchange = Counters(), TappedExchange()

    async def main() -> None:
        async with recording(tmp_path, exchange, counters, cycles=None) as recorder:
            await until(lambda: bool(recorder.failure))
            async with asyncio.timeout(20):
                exchange.send(FIRST, 4500)
                exchange.send(FIRST, 4600)
                await recorder.wait()
            assert recorder.failure == "disk"

    asyncio.run(main())
    assert counters.reasons(Count.RECORDINGS) == {"stopped": 1}
    assert exchange.streams[FIRST.slug].closed
    alarms = [found for found in caplog.records if found.levelno == logging.CRITICAL]
    assert len(alarms) == 1


def test_a_disk_that_hangs_keeps_nobody_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing waits for the disk for a while and no longer, and says so."""
    go = threading.Event()

    class Hanging(FrameLog):
        @override
        def write(self, records: Iterable[RawFrame]) -> None:
            go.wait(20)
            super().write(records)

    monkeypatch.setattr(module, "FrameLog", Hanging)
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    exchange = TappedExchange()

    async def main() -> None:
        async with recording(tmp_path, exchange):
            await until(lambda: exchange.shown > 0)

    asyncio.run(main())
    assert caplog.text.count("the disk does not answer") == 2
    go.set()
    for thread in threading.enumerate():
        if thread.name == "frame writer":
            thread.join(10)
    assert len(list(FrameReader(raw_folders(tmp_path)[0]))) == 3


def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure at the end of one market is an alarm; its frames are kept, the next is recorded."""
    work = finalise

    def broken(folder: Path, raw: Path, *rest: object) -> object:
        if raw.name == FIRST.slug:
            raise OSError(errno.ENOSPC, "no space left on device")
        return work(folder, raw, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "finalise", broken)
    counters = asyncio.run(record(tmp_path, TappedExchange(), cycles=2))
    assert counters.reasons(Count.RECORDINGS) == {"failed": 1, "written": 1, "settled": 1}
    assert f"{FIRST.slug}: NOT RECORDED" in caplog.text
    assert [tape.market for tape in ParquetRecording(tmp_path).markets()] == [SECOND]
    raw = raw_folders(tmp_path)[0]
    assert finalise(tmp_path, raw, TappedExchange().frame_decoder()).events == 2


def test_one_recorder_a_folder(tmp_path: Path) -> None:
    """A second recorder is refused while the first runs, and not afterwards; it opens once."""

    async def main() -> None:
        async with recording(tmp_path, TappedExchange(), cycles=None) as first:
            with pytest.raises(ConfigError, match="another recorder writes to"):
                async with recording(tmp_path, TappedExchange()):
                    pass
            with pytest.raises(ConfigError, match="opens once"):
                await first.open(ScaledClock(1), Counters())
        async with recording(tmp_path, TappedExchange(), cycles=None):
            pass

    asyncio.run(main())


def test_bad_settings_are_named(tmp_path: Path) -> None:
    """What cannot work is refused with the field and the fix."""
    exchange = TappedExchange()
    with pytest.raises(ConfigError, match=r"exchange: .*PolymarketExchange"):
        Recorder(FakeExchange(), [SERIES], tmp_path)
    with pytest.raises(ConfigError, match="series: expected at least one"):
        Recorder(exchange, [], tmp_path)
    with pytest.raises(ConfigError, match="series: "):
        Recorder(exchange, ["btc"], tmp_path)
    with pytest.raises(ConfigError, match="cycles: "):
        Recorder(exchange, [SERIES], tmp_path, cycles=0)
    with pytest.raises(ConfigError, match="lead: "):
        RecorderSettings(lead=-1)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        asyncio.run(
            Recorder(exchange, [SERIES], tmp_path / "file").open(ScaledClock(1), Counters())
        )
    (tmp_path / "market.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"market\.json: expected what a recorder wrote"):
        load_market(tmp_path)


def test_a_missing_package_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pyarrow nothing begins: it would be missed at the end of the first market only."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"recorder: .*pip install '\.\[data\]'"):
        asyncio.run(Recorder(TappedExchange(), [SERIES], tmp_path).open(ScaledClock(1), Counters()))


def test_frames_say_what_was_heard_and_where_it_was_not(tmp_path: Path) -> None:
    """Losses, restarts and damage are gaps; each connection is an epoch; failed attempts are none."""
    exchange = TappedExchange()

    def trade(price: int) -> bytes:
        frames: list[bytes] = []
        exchange.taps[FIRST.slug] = frames.append
        exchange.send(FIRST, price)
        return frames[0]

    log = FrameLog(tmp_path, segment_bytes=1)
    for number, (kind, data) in enumerate(
        [
            (FrameKind.LOST, b"connect"),
            (FrameKind.CONNECTED, b""),
            (FrameKind.FRAME, trade(1)),
            (FrameKind.LOST, b"silence"),
            (FrameKind.LOST, b"connect"),
            (FrameKind.CONNECTED, b""),
            (FrameKind.FRAME, trade(2)),
            (FrameKind.FRAME, trade(3)),  # this one is damaged below
            (FrameKind.FRAME, trade(4)),
            (FrameKind.CONNECTED, b""),
            (FrameKind.FRAME, trade(5)),
        ]
    ):
        log.write([RawFrame(START + number, 1, data, kind)])
    log.close()
    path = tmp_path / "000008.frames"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    events = list(tape_events(FrameReader(tmp_path), exchange.frame_decoder()))
    assert prices(events) == [1, "silence", 2, "damaged", 4, "restart", 5]
    assert [event.epoch for event in events if isinstance(event, Timed)] == [1, 2, 2, 3]
    assert [event.received_ms / 1000 - START for event in events] == [2, 3, 6, 6, 8, 8, 10]


def test_a_detached_stream_shows_nobody_a_frame() -> None:
    """The tap sees each frame as it came, whatever is in it, until the stream is detached."""
    seen: list[bytes] = []
    counters, sink = Counters(), WatchedSink()
    stream = TappedMarketStream(
        "ws://127.0.0.1:1", FIRST, sink, MarketDecoder(Skips(counters)), StreamSettings(), counters,
        tap=seen.append,
    )  # fmt: skip
    for frame in (b"not json", b"[]"):
        stream._on_frame(frame)
    stream.detach()
    stream._on_frame(b"late")
    assert seen == [b"not json", b"[]"]


# ------------------------------------------------------------------ over real sockets


def frames_heard(folder: Path) -> int:
    """Return how many frames are on disk by now."""
    kinds = (frame.kind for raw in raw_folders(folder) for frame in FrameReader(raw))
    return sum(kind is FrameKind.FRAME for kind in kinds)


def test_the_local_venue_is_recorded_as_it_was_heard(tmp_path: Path) -> None:
    """Over real sockets: the file has what another client heard, and a gap where the line broke."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    from polyframe.venue import LocalVenue, SyntheticSource

    heard: list[MarketMessage] = []
    series = Series.parse("btc-updown-5m")
    counters = Counters()

    async def main() -> None:
        clock = ScaledClock(60, start=START + 150)
        async with LocalVenue(SyntheticSource(series, seed=3), clock=clock) as venue:
            exchange = PolymarketExchange.local(venue.url, venue.account)
            await exchange.open(clock, counters)
            recorder = Recorder(exchange, [series], tmp_path, cycles=1)
            sink = WatchedSink()
            market = await exchange.fetch_market(series, series.window_at(START))
            assert market is not None
            stream = exchange.market_stream(market, sink)
            stream.start()
            await recorder.open(clock, counters)
            async with asyncio.timeout(60):
                await until(lambda: counters.get(Count.STREAM_CONNECTS, "market") == 2)
                await sink.until(lambda: len(sink.messages) > 40)
                await until(lambda: frames_heard(tmp_path) > 10)
                venue.drop_connections("market")
                await until(lambda: counters.get(Count.STREAM_CONNECTS, "market") == 4)
                await recorder.wait()
            heard.extend(sink.messages)
            await stream.close()
            await recorder.close()
            await exchange.close()

    asyncio.run(main())
    recording_ = ParquetRecording(tmp_path)
    (tape,) = recording_.markets()
    assert tape.winner is not None
    events = list(recording_.events(tape))
    assert [event.reason for event in events if isinstance(event, Gap)] == ["closed"]
    timed = [event for event in events if isinstance(event, Timed)]
    assert {event.epoch for event in timed} == {1, 2}
    for epoch in (1, 2):
        first = [event.message for event in timed if event.epoch == epoch][:2]
        assert all(isinstance(message, BookSnapshot) for message in first)
    recorded = [event.message for event in timed if isinstance(event.message, BookDelta)]
    other = [message for message in heard if isinstance(message, BookDelta)]
    common = [message for message in other if message in recorded]
    assert len(recorded) > 20
    assert len(common) > 0.9 * min(len(other), len(recorded))
    assert [message for message in recorded if message in other] == common
    assert recording_.skipped == {}
    assert counters.reasons(Count.WIRE_SKIPPED) == {}
    check_books(timed)


def check_books(events: list[Timed]) -> None:
    """Play what was recorded: after each message the venue's own top of book is ours."""
    books: dict[str, Book] = {}
    checked = 0
    for event in events:
        message = event.message
        if isinstance(message, BookSnapshot):
            books.setdefault(message.token, Book()).apply_snapshot(message.bids, message.asks)
        elif isinstance(message, BookDelta):
            for change in message.changes:
                book = books[change.token]
                book.apply_change(change.is_bid, change.price, change.size)
            last = message.changes[-1]
            if last.best_bid >= 0:
                assert (books[last.token].bid_units, books[last.token].ask_units) == (
                    last.best_bid,
                    last.best_ask,
                )
                checked += 1
    assert checked > 10
