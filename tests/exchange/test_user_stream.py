"""The account's stream over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import evolve
from typing_extensions import override

from polyframe.counters import Count, Counters
from polyframe.exchange.polymarket import StreamSettings
from polyframe.exchange.polymarket.user_stream import UserStream
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.events import StreamState, UserMessage
from tests.exchange.kit import ADDRESS, API_KEY, CREDENTIALS, PASSPHRASE, SECRET
from tests.exchange.servers import Reaction, WatchedSink, WsServer, only_this_task, pong
from tests.exchange.test_wire_user import ORDER, TRADE

CONNECTED = (StreamState.CONNECTED, "")
LONG = StreamSettings(
    ping_interval=60, silence=60, pong_timeout=60, backoff_base=0.02, backoff_cap=0.05
)


def _orders(first: int, count: int) -> str:
    return json.dumps([ORDER | {"id": str(number)} for number in range(first, first + count)])


def _ids(items: list[Any]) -> list[Any]:
    return [item if isinstance(item, tuple) else item.order_id for item in items]


@asynccontextmanager
async def _running(
    react: Reaction = pong,
    sink: WatchedSink | None = None,
    counters: Counters | None = None,
    **changes: Any,
) -> AsyncIterator[tuple[WsServer, UserStream, WatchedSink]]:
    sink, counts = sink or WatchedSink(), counters or Counters()
    async with WsServer(react) as server:
        stream = UserStream(
            f"{server.url}/ws/user",
            CREDENTIALS,
            sink,
            UserDecoder(Skips(counts), API_KEY, {ADDRESS}),
            evolve(LONG, **changes),
            counts,
        )
        stream.start()
        try:
            await sink.until(lambda: bool(sink.states))
            await server.until(lambda: bool(server.frames))
            yield server, stream, sink
        finally:
            await stream.close()
            await stream.close()
            assert only_this_task()


def test_the_first_frame_authenticates() -> None:
    """Credentials go into the first frame; all markets of the account are asked for (§5.1)."""

    async def main() -> None:
        async with _running() as (server, _, sink):
            assert json.loads(server.frames[0][1]) == {
                "type": "user",
                "auth": {"apiKey": API_KEY, "secret": SECRET, "passphrase": PASSPHRASE},
            }
            request = server.connections[0].request
            assert request is not None
            assert request.path == "/ws/user"
            assert sink.all == [CONNECTED]

    asyncio.run(main())


def test_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not even at the lowest log level do the secrets of the first frame appear."""

    async def main() -> None:
        async with _running() as (server, _, sink):
            await server.connections[0].close()
            await sink.until(lambda: len(sink.states) == 3)

    caplog.set_level(logging.INFO, logger="websockets.server")  # the test's own side
    caplog.set_level(logging.DEBUG)  # last, as it sets the level of the handler too
    asyncio.run(main())
    assert any(record.levelno == logging.DEBUG for record in caplog.records)
    assert SECRET not in caplog.text
    assert PASSPHRASE not in caplog.text


def test_messages_come_in_order_and_are_counted() -> None:
    """Orders and trades reach the sink one by one in the order of the wire."""

    async def main() -> None:
        counters = Counters()
        async with _running(counters=counters) as (server, _, sink):
            await server.send(_orders(0, 50))
            await server.send(json.dumps(TRADE))
            await server.send(_orders(50, 50))
            await sink.until(lambda: len(sink.messages) == 101)
            assert sink.messages.pop(50).trade_id == TRADE["id"]
            assert _ids(sink.messages) == [str(number) for number in range(100)]
        assert counters.reasons(Count.USER_MESSAGES) == {"order": 100, "trade": 1}

    asyncio.run(main())


def test_a_lost_connection_is_replaced_and_told_in_order() -> None:
    """What came before the loss is delivered before it, what comes after it after."""

    async def main() -> None:
        async with _running() as (server, _, sink):
            await server.send(_orders(0, 2))
            await server.connections[0].close()
            await server.until(lambda: len(server.connections) == 2)
            await server.until(lambda: len(server.sent_by(1)) == 1)
            await server.send(_orders(2, 1))
            await sink.until(lambda: len(sink.messages) == 3)
            lost = (StreamState.LOST, "closed")
            assert _ids(sink.all) == [CONNECTED, "0", "1", lost, CONNECTED, "2"]

    asyncio.run(main())


def test_a_full_queue_drops_tells_and_goes_on() -> None:
    """What does not fit is dropped and counted; the gap is told once, in its place."""

    async def main() -> None:
        counters = Counters()
        async with _running(counters=counters, user_queue=3) as (server, _, sink):
            burst = [*json.loads(_orders(0, 6)), TRADE]
            await server.send(json.dumps(burst))
            await sink.until(lambda: len(sink.states) == 3)
            await server.send(_orders(7, 2))
            await sink.until(lambda: len(sink.messages) == 5)
            gap = [(StreamState.LOST, "overflow"), (StreamState.CONNECTED, "overflow")]
            assert _ids(sink.all) == [CONNECTED, "0", "1", "2", *gap, "7", "8"]
            await server.send(json.dumps(burst))
            await sink.until(lambda: len(sink.states) == 5)
            assert len(server.connections) == 1
        assert counters.reasons(Count.USER_DROPPED) == {"order": 6, "trade": 2}

    asyncio.run(main())


def test_a_connection_without_pongs_is_given_up() -> None:
    """Orders are no proof: without a PONG in time the connection is replaced."""

    def mute(server: WsServer, connection: object, frame: str) -> list[str]:
        return [_orders(0, 1)] if frame == "PING" else []

    async def main() -> None:
        async with _running(mute, ping_interval=0.03, pong_timeout=0.3) as (server, _, sink):
            await sink.until(lambda: (StreamState.LOST, "no_pong") in sink.states)
            await sink.until(lambda: sink.states[-1] == CONNECTED)
            assert len(server.connections) == 2
            assert sink.messages

    asyncio.run(main())


def test_a_silent_connection_with_pongs_stays() -> None:
    """Silence is normal on this channel as long as pings are answered."""

    async def main() -> None:
        async with _running(ping_interval=0.03, pong_timeout=0.4) as (server, _, sink):
            await server.until(lambda: server.frames.count((0, "PING")) >= 25)
            assert sink.all == [CONNECTED]

    asyncio.run(main())


def test_resync_makes_a_new_connection() -> None:
    """There is no replay to ask for: the stream reconnects and says why."""

    async def main() -> None:
        async with _running() as (server, stream, sink):
            stream.resync("asked")
            await sink.until(lambda: len(sink.states) == 3)
            assert sink.states == [CONNECTED, (StreamState.LOST, "asked"), CONNECTED]
            assert len(server.connections) == 2

    asyncio.run(main())


def test_detach_ends_deliveries_even_of_what_is_queued() -> None:
    """A sink that detaches gets nothing more, though messages are waiting."""

    class Detaching(WatchedSink):
        stream: UserStream

        @override
        def on_user_message(self, message: UserMessage) -> None:
            super().on_user_message(message)
            self.stream.detach()

    async def main() -> None:
        sink = Detaching()
        async with _running(sink=sink) as (server, stream, _):
            sink.stream = stream
            await server.send(_orders(0, 5))
            await sink.until(lambda: len(sink.messages) == 1)
            await server.send(_orders(5, 5))
            await server.connections[0].close()
            await server.until(lambda: len(server.connections) == 2)
        assert _ids(sink.all) == [CONNECTED, "0"]

    asyncio.run(main())


def test_a_sink_that_raises_loses_one_message(caplog: pytest.LogCaptureFixture) -> None:
    """A defect behind the sink is logged and counted; later messages still come."""

    class Broken(WatchedSink):
        @override
        def on_user_message(self, message: UserMessage) -> None:
            super().on_user_message(message)
            if len(self.messages) == 1:
                msg = "defect"
                raise ZeroDivisionError(msg)

    async def main() -> None:
        counters = Counters()
        async with _running(sink=Broken(), counters=counters) as (server, _, sink):
            await server.send(_orders(0, 3))
            await sink.until(lambda: len(sink.messages) == 3)
            assert sink.states == [CONNECTED]
        assert counters.reasons(Count.USER_DROPPED) == {"sink_error": 1}

    asyncio.run(main())
    assert "ZeroDivisionError: defect" in caplog.text


def test_close_before_start_is_safe() -> None:
    """A stream that never ran can be closed, and not be started any more."""

    async def main() -> None:
        counters = Counters()
        decoder = UserDecoder(Skips(counters), API_KEY, {ADDRESS})
        stream = UserStream("ws://127.0.0.1:1", CREDENTIALS, WatchedSink(), decoder, LONG, counters)
        await stream.close()
        with pytest.raises(RuntimeError, match="start"):
            stream.start()
        assert only_this_task()

    asyncio.run(main())
