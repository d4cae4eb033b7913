"""The market stream over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import evolve
from typing_extensions import override
from websockets.asyncio.server import ServerConnection

from polyframe.counters import Count, Counters
from polyframe.exchange.polymarket import StreamSettings
from polyframe.exchange.polymarket.market_stream import MarketStream
from polyframe.exchange.polymarket.stream import backoff
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.model.events import BookDelta, BookSnapshot, MarketMessage, StreamState
from tests.exchange.kit import DOWN, MARKET, UP, Sink
from tests.exchange.servers import (
    BOOKS,
    WatchedSink,
    WsServer,
    book,
    change,
    market_venue,
    only_this_task,
    pong,
    silent_peer,
)

CONNECTED = (StreamState.CONNECTED, "")
LONG = StreamSettings(
    ping_interval=60,
    silence=60,
    pong_timeout=60,
    snapshot_timeout=60,
    backoff_base=0.02,
    backoff_cap=0.05,
)


def _settings(**changes: Any) -> StreamSettings:
    return evolve(LONG, **changes)


def _stream(
    url: str, sink: Sink, settings: StreamSettings = LONG, counters: Counters | None = None
) -> MarketStream:
    counts = counters or Counters()
    return MarketStream(
        f"{url}/ws/market", MARKET, sink, MarketDecoder(Skips(counts)), settings, counts
    )


@asynccontextmanager
async def _running(
    server: WsServer, settings: StreamSettings = LONG, counters: Counters | None = None
) -> AsyncIterator[tuple[MarketStream, WatchedSink]]:
    sink = WatchedSink()
    async with server:
        stream = _stream(server.url, sink, settings, counters)
        stream.start()
        try:
            yield stream, sink
        finally:
            await stream.close()
            assert only_this_task()


def test_both_tokens_are_subscribed_and_delivered() -> None:
    """The subscription names both tokens; CONNECTED comes before the first message; all is counted."""

    async def main() -> None:
        counters = Counters()
        async with _running(server := WsServer(market_venue), counters=counters) as (_, sink):
            await sink.until(lambda: len(sink.messages) == 2)
            await server.send(change())
            await sink.until(lambda: len(sink.messages) == 3)
            assert json.loads(server.frames[0][1]) == {
                "type": "market",
                "assets_ids": [UP, DOWN],
                "custom_feature_enabled": True,
                "initial_dump": True,
                "level": 2,
            }
            request = server.connections[0].request
            assert request is not None
            assert request.path == "/ws/market"
            assert sink.all[0] == CONNECTED
            assert [message.token for message in sink.messages[:2]] == [UP, DOWN]
            assert isinstance(sink.messages[2], BookDelta)
        assert counters.reasons(Count.STREAM_CONNECTS) == {"market": 1}
        assert counters.reasons(Count.MARKET_MESSAGES) == {"BookSnapshot": 2, "BookDelta": 1}

    asyncio.run(main())


def test_a_lost_connection_is_replaced() -> None:
    """When the venue hangs up, the sink is told, and a new connection subscribes again."""

    async def main() -> None:
        counters = Counters()
        async with _running(server := WsServer(market_venue), counters=counters) as (_, sink):
            for number in range(3):
                await sink.until(lambda: len(sink.messages) == 2 * number + 2)  # noqa: B023
                await server.connections[-1].close()
            await sink.until(lambda: len(sink.messages) == 8)
            lost = (StreamState.LOST, "closed")
            assert sink.states == [CONNECTED, lost, CONNECTED, lost, CONNECTED, lost, CONNECTED]
            assert [len(server.sent_by(number)) for number in range(4)] == [1, 1, 1, 1]
        assert counters.reasons(Count.STREAM_LOSSES) == {"market:closed": 3}

    asyncio.run(main())


def test_a_venue_that_is_away_is_called_until_it_is_back() -> None:
    """Attempts go on for ever; however many fail, the sink is told of one loss."""

    async def main() -> None:
        async with WsServer(market_venue) as gone:
            port = int(gone.url.rsplit(":", 1)[1])
        sink, counters = WatchedSink(), Counters()
        stream = _stream(gone.url, sink, counters=counters)
        stream.start()
        await sink.until(lambda: sink.states == [(StreamState.LOST, "connect")])
        server = WsServer(market_venue, port)
        server.refusals = [(503, "")] * 3
        async with server:
            await sink.until(lambda: len(sink.messages) == 2)
            await stream.close()
        assert sink.states == [(StreamState.LOST, "connect"), CONNECTED]
        assert counters.get(Count.STREAM_LOSSES, "market:connect") >= 4

    asyncio.run(main())


def test_pauses_begin_at_once_and_double_up_to_the_cap() -> None:
    """The first retry is at once; pauses double, jittered by half, and never end."""
    settings = StreamSettings(backoff_base=0.5, backoff_cap=30)
    for seed in range(50):
        pauses = list(itertools.islice(backoff(settings, random.Random(seed)), 2000))
        assert pauses[0] == 0
        longest = [min(0.5 * 2 ** min(number, 20), 30) for number in range(1999)]
        assert all(top / 2 <= pause <= top for pause, top in zip(pauses[1:], longest, strict=True))


def _pauses(caplog: pytest.LogCaptureFixture) -> list[float]:
    return [float(text) for text in re.findall(r"next attempt in ([0-9.]+) s", caplog.text)]


@pytest.mark.parametrize("greeting", [[], [BOOKS]], ids=["nothing", "data"])
def test_pauses_grow_while_connections_do_not_last(
    greeting: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A venue that hangs up soon, even after data, is called more and more rarely."""

    def hang_up(server: WsServer, connection: ServerConnection, frame: str) -> list[str]:
        asyncio.get_running_loop().call_later(0.02, connection.transport.abort)
        return greeting

    async def main() -> None:
        settings = _settings(backoff_base=0.4, backoff_cap=0.6)
        async with _running(server := WsServer(hang_up), settings) as (_, sink):
            await server.until(lambda: len(server.connections) == 4)
            assert bool(sink.messages) is bool(greeting)

    asyncio.run(main())
    first, second, third = _pauses(caplog)[:3]
    assert first == 0.0
    assert second >= 0.2
    assert third >= 0.3


def test_pauses_start_over_after_a_connection_that_worked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A connection that brought data and lasted resets the back-off."""

    async def main() -> None:
        settings = _settings(backoff_base=0.05, backoff_cap=0.1)
        async with _running(server := WsServer(market_venue), settings) as (_, sink):
            for number in range(3):
                await sink.until(lambda: len(sink.messages) == 2 * number + 2)  # noqa: B023
                begun = time.monotonic()
                while time.monotonic() < begun + 0.06:
                    await server.send(change())
                    await asyncio.sleep(0.01)
                sink.messages.clear()
                await server.connections[-1].close()
                await server.until(lambda: len(server.connections) == number + 2)  # noqa: B023
                sink.messages[:0] = [None] * (2 * number + 2)

    asyncio.run(main())
    assert _pauses(caplog) == [0.0, 0.0, 0.0]


def test_pauses_grow_while_connections_stay_mute(caplog: pytest.LogCaptureFixture) -> None:
    """What an earlier connection brought does not count for one that brings nothing."""

    def once(server: WsServer, connection: ServerConnection, frame: str) -> list[str]:
        return [BOOKS] if len(server.connections) == 1 else []

    async def main() -> None:
        settings = _settings(backoff_base=0.2, backoff_cap=0.2, silence=0.3)
        async with _running(server := WsServer(once), settings):
            await server.until(lambda: len(server.connections) == 4)

    asyncio.run(main())
    first, second, third = _pauses(caplog)[:3]
    assert first == 0.0
    assert min(second, third) >= 0.1


def test_pings_are_sent() -> None:
    """The text PING goes out in every interval (PROTOCOL §4.2)."""

    async def main() -> None:
        async with _running(server := WsServer(market_venue), _settings(ping_interval=0.02)):
            await server.until(lambda: server.frames.count((0, "PING")) >= 3)

    asyncio.run(main())


def test_pongs_and_foreign_markets_are_no_data() -> None:
    """A frozen market is given up although pings are answered and other markets still talk."""

    def frozen(server: WsServer, connection: ServerConnection, frame: str) -> list[str]:
        if frame == "PING":
            return ["PONG", change(market="0xother"), '{"event_type":"new_market","id":"1"}']
        return market_venue(server, connection, frame)

    async def main() -> None:
        settings = _settings(ping_interval=0.02, silence=0.3)
        async with _running(server := WsServer(frozen), settings) as (_, sink):
            await sink.until(lambda: (StreamState.LOST, "silence") in sink.states)
            await sink.until(lambda: sink.states[-1] == CONNECTED)
            assert server.frames.count((0, "PING")) >= 2

    asyncio.run(main())


def test_data_keeps_a_connection_alive() -> None:
    """With data of this market the connection outlives the silence limit many times."""

    async def main() -> None:
        async with _running(server := WsServer(market_venue), _settings(silence=0.4)) as (_, sink):
            await sink.until(lambda: bool(sink.messages))
            for _ in range(40):
                await server.send(change())
                await asyncio.sleep(0.03)
            assert sink.states == [CONNECTED]

    asyncio.run(main())


def test_a_connection_without_both_books_is_given_up() -> None:
    """One book and live changes are not enough: without the other the market stays unknown."""

    def one_book(server: WsServer, connection: ServerConnection, frame: str) -> list[str]:
        return pong(server, connection, frame) or [json.dumps(book(UP)), change()]

    async def main() -> None:
        async with _running(WsServer(one_book), _settings(snapshot_timeout=0.2)) as (_, sink):
            await sink.until(lambda: (StreamState.LOST, "no_snapshot") in sink.states)

    asyncio.run(main())


def test_resync_gets_fresh_books_on_the_same_connection() -> None:
    """Unsubscribe and subscribe bring both books again; the sink hears of no change."""

    async def main() -> None:
        settings = _settings(snapshot_timeout=0.5)
        async with _running(server := WsServer(market_venue), settings) as (stream, sink):
            await sink.until(lambda: len(sink.messages) == 2)
            stream.resync("test")
            await sink.until(lambda: len(sink.messages) == 4)
            assert [json.loads(frame) for frame in server.sent_by(0)[1:]] == [
                {"operation": "unsubscribe", "assets_ids": [UP, DOWN]},
                {
                    "operation": "subscribe",
                    "assets_ids": [UP, DOWN],
                    "custom_feature_enabled": True,
                },
            ]
            await asyncio.sleep(0.7)  # past the limit: the books did come
            assert sink.states == [CONNECTED]
            assert len(server.connections) == 1

    asyncio.run(main())


def test_resync_without_an_answer_leads_to_a_new_connection() -> None:
    """If the fresh books do not come in time, the connection is replaced, and that is told."""

    def once(server: WsServer, connection: ServerConnection, frame: str) -> list[str]:
        return [] if "operation" in frame else market_venue(server, connection, frame)

    async def main() -> None:
        settings = _settings(snapshot_timeout=0.2)
        async with _running(server := WsServer(once), settings) as (stream, sink):
            await sink.until(lambda: len(sink.messages) == 2)
            stream.resync("test")
            await sink.until(lambda: len(sink.messages) == 4)
            assert sink.states == [CONNECTED, (StreamState.LOST, "no_snapshot"), CONNECTED]
            assert len(server.connections) == 2

    asyncio.run(main())


def test_resync_of_what_is_not_connected_does_nothing() -> None:
    """The next connection begins with both books anyway: no extra frames."""

    async def main() -> None:
        sink = WatchedSink()
        async with WsServer(market_venue) as server:
            stream = _stream(server.url, sink)
            stream.resync("before start")
            stream.start()
            stream.resync("before the connection")
            await sink.until(lambda: len(sink.messages) == 2)
            await server.send(change())
            await sink.until(lambda: len(sink.messages) == 3)
            assert len(server.sent_by(0)) == 1
            await stream.close()

    asyncio.run(main())


def test_detach_ends_deliveries_within_a_frame() -> None:
    """A sink that detaches during one message gets none of the rest of the same frame."""

    class Detaching(WatchedSink):
        stream: MarketStream

        @override
        def on_market_message(self, message: MarketMessage) -> None:
            super().on_market_message(message)
            self.stream.detach()

    async def main() -> None:
        sink, counters = Detaching(), Counters()
        async with WsServer(market_venue) as server:
            sink.stream = _stream(server.url, sink, counters=counters)
            sink.stream.start()
            await sink.until(lambda: len(sink.messages) == 1)
            await server.send(BOOKS)
            await server.connections[0].close()
            await server.until(lambda: len(server.connections) == 2)
            await sink.stream.close()
        assert len(sink.messages) == 1
        assert sink.states == [CONNECTED]
        assert counters.reasons(Count.STREAM_LOSSES) == {"market:closed": 1}

    asyncio.run(main())


def test_close_is_safe_at_any_time() -> None:
    """Close works before start, while connecting, twice and at once; nothing stays behind."""

    async def main() -> None:
        sink = WatchedSink()
        never = _stream("ws://127.0.0.1:1", sink)
        await never.close()
        await never.close()
        with pytest.raises(RuntimeError, match="start"):
            never.start()
        async with silent_peer() as url:
            connecting = _stream(url, sink)
            connecting.start()
            with pytest.raises(RuntimeError, match="start"):
                connecting.start()
            await asyncio.sleep(0.05)
            await asyncio.gather(connecting.close(), connecting.close())
            unstarted = _stream(url, sink)
            unstarted.start()
            await unstarted.close()  # before its task ran at all
        async with WsServer(market_venue) as server:
            stream = _stream(server.url, sink)
            stream.start()
            await sink.until(lambda: len(sink.messages) == 2)
            await stream.close()
            await stream.close()
            await server.connections[0].wait_closed()
            assert server.connections[0].close_code == 1000
        assert only_this_task()

    asyncio.run(main())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and their secrets take the way that is configured, not one the shell suggests."""

    async def main() -> None:
        async with _running(WsServer(market_venue)) as (_, sink):
            await sink.until(lambda: bool(sink.states))
            assert sink.states == [CONNECTED]

    for name in ("HTTP_PROXY", "http_proxy", "WS_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    asyncio.run(main())


def test_close_does_not_wait_for_a_dead_peer() -> None:
    """A venue that has stopped reading and answering cannot hold up the end."""

    async def main() -> None:
        sink = WatchedSink()
        async with WsServer(market_venue) as server:
            stream = _stream(server.url, sink)
            stream.start()
            await sink.until(lambda: len(sink.messages) == 2)
            server.connections[0].transport.pause_reading()
            begun = time.monotonic()
            await stream.close()
            assert time.monotonic() - begun < 2
            assert only_this_task()

    asyncio.run(main())


def test_a_connection_that_never_opens_is_given_up() -> None:
    """A peer that accepts and says nothing costs the open time-out, not for ever."""

    async def main() -> None:
        sink = WatchedSink()
        async with silent_peer() as url:
            stream = _stream(url, sink, _settings(open_timeout=0.1))
            stream.start()
            await sink.until(lambda: sink.states == [(StreamState.LOST, "connect")])
            await stream.close()

    asyncio.run(main())


def test_encryption_is_really_asked_for() -> None:
    """A wss URL does not talk to a server without TLS."""

    async def main() -> None:
        sink = WatchedSink()
        async with WsServer(market_venue) as server:
            stream = _stream(server.url.replace("ws:", "wss:"), sink)
            stream.start()
            await sink.until(lambda: sink.states == [(StreamState.LOST, "connect")])
            await stream.close()
            assert server.frames == []

    asyncio.run(main())


def test_a_redirect_to_another_host_is_not_followed() -> None:
    """The subscription, which may hold secrets, goes to the configured host only."""

    async def main() -> None:
        sink = WatchedSink()
        async with WsServer(market_venue) as other, WsServer(market_venue) as server:
            server.refusals = [(302, f"{other.url}/ws/market")]
            stream = _stream(server.url, sink)
            stream.start()
            await sink.until(lambda: len(sink.messages) == 2)
            await stream.close()
            assert sink.states == [(StreamState.LOST, "connect"), CONNECTED]
            assert other.connections == []

    asyncio.run(main())


def test_a_sink_that_raises_is_reported_and_the_stream_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A defect behind the sink ends one connection with a traceback in the log, not the stream."""

    class Broken(WatchedSink):
        @override
        def on_market_message(self, message: MarketMessage) -> None:
            super().on_market_message(message)
            if len(self.messages) == 1:
                msg = "defect"
                raise ZeroDivisionError(msg)

    async def main() -> None:
        sink = Broken()
        async with WsServer(market_venue) as server:
            stream = _stream(server.url, sink)
            stream.start()
            await sink.until(lambda: len(sink.messages) == 3)
            assert sink.states == [CONNECTED, (StreamState.LOST, "error"), CONNECTED]
            await stream.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert "ZeroDivisionError: defect" in caplog.text


def test_garbage_does_not_end_a_connection() -> None:
    """Broken and unknown frames are counted while the rest goes on."""

    async def main() -> None:
        counters = Counters()
        async with _running(server := WsServer(market_venue), counters=counters) as (_, sink):
            await sink.until(lambda: len(sink.messages) == 2)
            for frame in ("", "{", "[]", "PONG ", '{"event_type":"foo"}', change()):
                await server.send(frame)
            await sink.until(lambda: len(sink.messages) == 3)
            assert sink.states == [CONNECTED]
        assert counters.reasons(Count.WIRE_SKIPPED) == {"json": 3, "unknown_event:foo": 1}

    asyncio.run(main())


def test_snapshots_keep_their_order_with_changes() -> None:
    """Messages reach the sink in the order of the wire, whatever the framing."""

    async def main() -> None:
        async with _running(server := WsServer(market_venue)) as (_, sink):
            await sink.until(lambda: len(sink.messages) == 2)
            for number in range(200):
                await server.send(change(str(number)))
            await server.send(BOOKS)
            await sink.until(lambda: len(sink.messages) == 204)
            deltas = [message for message in sink.messages if isinstance(message, BookDelta)]
            assert [int(message.changes[0].size) for message in deltas] == list(range(200))
            assert all(isinstance(message, BookSnapshot) for message in sink.messages[-2:])

    asyncio.run(main())
