"""The streams of reference prices over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from polyframe.clock import ScaledClock, VirtualClock
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.exchange.polymarket import (
    Credentials,
    PolymarketExchange,
    PolymarketHosts,
    StreamSettings,
)
from polyframe.exchange.polymarket.reference_stream import LivePriceStream, RtdsStream
from polyframe.exchange.polymarket.wire import Skips
from polyframe.model.reference import PriceSource
from polyframe.reference import ReferencePrices
from tests.exchange.kit import (
    API_KEY,
    CREDENTIALS,
    MARKET,
    PASSPHRASE,
    SECRET,
    SERIES,
    WINDOW,
)
from tests.exchange.servers import (
    PriceSink,
    Reaction,
    WsServer,
    live_frame,
    live_venue,
    only_this_task,
    price_frame,
)

MS = 1_790_586_000_000
BTC = (PriceSource.TWAP, "btc")
SETTINGS = StreamSettings(ping_interval=60, price_silence=60, backoff_base=0.02, backoff_cap=0.05)


class Scene:
    """A server, a stream connected to it, and what came out."""

    def __init__(self, server: WsServer, sink: PriceSink, counters: Counters) -> None:
        self.server, self.sink, self.counters = server, sink, counters
        self.stream: RtdsStream | LivePriceStream

    async def ended(self, reason: str) -> None:
        """Wait until the stream has ended by itself, for that reason."""
        assert self.stream._task is not None
        async with asyncio.timeout(10):
            await self.stream._task
        assert self.counters.reasons(Count.STREAM_LOSSES) == {reason: 1}


@asynccontextmanager
async def scene(
    kind: str = "rtds",
    wanted: Sequence[tuple[PriceSource, str]] = (BTC,),
    react: Reaction | None = None,
    **settings: Any,
) -> AsyncIterator[Scene]:
    """Run a stream against a server of its own."""
    default: Reaction = live_venue if kind == "live" else (lambda *_: [])
    async with WsServer(react or default) as server:
        sink, counters = PriceSink(), Counters()
        skips, times = Skips(counters), evolve(SETTINGS, **settings)
        found = Scene(server, sink, counters)
        if kind == "live":
            found.stream = LivePriceStream(
                server.url, CREDENTIALS, sink, wanted, times, counters, skips
            )
        else:
            found.stream = RtdsStream(server.url, sink, wanted, times, counters, skips)
        found.stream.start()
        try:
            await server.until(lambda: bool(server.frames))
            yield found
        finally:
            await found.stream.close()
            assert only_this_task()


@pytest.mark.parametrize(
    ("wanted", "subscriptions"),
    [
        (
            [BTC],
            [
                {
                    "topic": "crypto_prices_twap_sixty",
                    "type": "update",
                    "filters": '{"symbol":"btc/usd"}',
                }
            ],
        ),
        (
            [BTC, (PriceSource.TWAP, "eth"), BTC],
            [{"topic": "crypto_prices_twap_sixty", "type": "update"}],
        ),
        (
            [(PriceSource.BINANCE, "btc"), (PriceSource.BINANCE, "eth")],
            [{"topic": "crypto_prices", "type": "update", "filters": "btcusdt,ethusdt"}],
        ),
    ],
)
def test_each_topic_has_its_own_kind_of_filter(
    wanted: list[tuple[PriceSource, str]], subscriptions: list[dict[str, str]]
) -> None:
    """One symbol as JSON without blanks, several not at all, Binance's as a list (§6.1)."""

    async def main() -> None:
        async with scene(wanted=wanted) as found:
            frame = json.loads(found.server.frames[0][1])
            assert frame == {"action": "subscribe", "subscriptions": subscriptions}

    asyncio.run(main())


def test_only_wanted_prices_are_handed_on() -> None:
    """Without a filter every asset comes; the others stop here."""

    async def main() -> None:
        async with scene() as found:
            for asset, offset in (("eth", 0), ("btc", 0), ("doge", 1), ("btc", 1000)):
                await found.server.send(price_frame(MS + offset, asset=asset))
            await found.sink.until(lambda: len(found.sink.prices) == 2)
            assert [p.instant_ms - MS for p in found.sink.prices] == [0, 1000]
            assert {p.asset for p in found.sink.prices} == {"btc"}

    asyncio.run(main())


def test_a_silent_connection_is_replaced() -> None:
    """The feed is known to stop without a word: then a new connection subscribes again (§6.1)."""

    async def main() -> None:
        async with scene(price_silence=0.05) as found:
            await found.server.until(lambda: len(found.server.sent_by(1)) == 1)
            assert found.server.sent_by(1) == found.server.sent_by(0)
            assert found.counters.get(Count.STREAM_LOSSES, "rtds:silence") >= 1

    asyncio.run(main())


async def chatter(connection: ServerConnection) -> None:
    """Send another asset's prices without a pause that would count as silence."""
    number = 0
    while True:
        number += 1
        await connection.send(price_frame(MS + number, asset="eth"))
        await asyncio.sleep(0.02)


def test_one_price_that_stops_is_noticed_while_others_go_on() -> None:
    """Each price that came has its own age; another's does not vouch for it."""

    async def main() -> None:
        wanted = [BTC, (PriceSource.TWAP, "eth")]
        async with scene(wanted=wanted, price_silence=0.3) as found:
            await found.server.send(price_frame(MS))
            others = asyncio.create_task(chatter(found.server.connections[0]))
            await found.server.until(lambda: len(found.server.connections) == 2)
            others.cancel()
            await asyncio.wait({others})
            assert others.cancelled() or isinstance(others.exception(), ConnectionClosed)
            assert found.counters.get(Count.STREAM_LOSSES, "rtds:silence") == 1
            assert found.sink.prices[-1].asset == "eth"

    asyncio.run(main())


def test_a_price_that_never_came_is_no_reason_to_reconnect() -> None:
    """An asset that the venue does not have must not cost the others their connection."""

    async def main() -> None:
        wanted = [BTC, (PriceSource.TWAP, "nonesuch")]
        async with scene(wanted=wanted, price_silence=0.2) as found:
            for number in range(15):  # longer than the silence, in all
                await found.server.send(price_frame(MS + number))
                await asyncio.sleep(0.03)
            assert len(found.server.connections) == 1

    asyncio.run(main())


def test_pings_are_text_frames_and_their_answers_prove_nothing() -> None:
    """RTDS is pinged at least every 5 seconds; a PONG is no price."""

    async def main() -> None:
        def pong(_server: WsServer, _connection: ServerConnection, frame: str) -> list[str]:
            return ["PONG"] if frame == "PING" else []

        async with scene(react=pong, ping_interval=0.02, price_silence=0.2) as found:
            await found.server.until(lambda: len(found.server.connections) == 2)
            assert (0, "PING") in found.server.frames
            assert found.counters.get(Count.STREAM_LOSSES, "rtds:silence") == 1

    asyncio.run(main())
    stream = RtdsStream("ws://x", PriceSink(), [BTC], SETTINGS, Counters(), Skips(Counters()))
    assert stream._settings.ping_interval == 5.0


def test_nothing_is_delivered_after_detaching() -> None:
    """A detached stream keeps silent although prices go on."""

    async def main() -> None:
        async with scene() as found:
            await found.server.send(price_frame(MS))
            await found.sink.until(lambda: len(found.sink.prices) == 1)
            found.stream.detach()
            await found.server.send(price_frame(MS + 1000))
            await found.server.connections[0].close()  # what was sent before is read before
            await found.server.until(lambda: len(found.server.connections) == 2)
            assert len(found.sink.prices) == 1

    asyncio.run(main())


def test_the_live_feed_subscribes_once_it_is_let_in() -> None:
    """First the credentials, after the answer one subscription, then two minutes of prices (§6.2)."""

    async def main() -> None:
        async with scene("live", [BTC, (PriceSource.BINANCE, "btc")]) as found:
            await found.server.until(lambda: len(found.server.frames) == 2)
            auth, subscribe = (json.loads(frame) for _, frame in found.server.frames)
            assert auth["auth"] == {
                "apiKey": API_KEY,
                "secret": SECRET,
                "passphrase": PASSPHRASE,
            }
            assert subscribe["subscriptions"] == [
                {
                    "channel": "price.crypto.twap",
                    "filter": {"symbol": "btcusd", "window_seconds": 60},
                }
            ]
            await found.server.send(live_frame(MS, MS + 1000))
            await found.sink.until(lambda: len(found.sink.prices) == 2)

    asyncio.run(main())


@pytest.mark.parametrize(("code", "reason"), [(4001, "live:auth"), (4008, "live:policy")])
def test_a_refusal_for_good_ends_the_live_feed(
    code: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With close codes that say so there is no second attempt; no secret is logged (§6.2)."""
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with scene("live") as found:
            await found.server.connections[0].close(code)
            await found.ended(reason)
            assert len(found.server.connections) == 1

    asyncio.run(main())
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("polyframe")]
    assert any("ended for good" in line for line in ours)
    assert not any(SECRET in line or PASSPHRASE in line for line in ours)


def test_refused_credentials_end_the_live_feed() -> None:
    """An error answer about the credentials is final; others are counted only."""

    async def main() -> None:
        def refuse(_server: WsServer, _connection: ServerConnection, frame: str) -> list[str]:
            return ['{"op":"error","code":"rate_limited"}', '{"op":"error","code":"auth_invalid"}']

        async with scene("live", react=refuse) as found:
            await found.ended("live:auth")
            assert found.counters.reasons(Count.WIRE_SKIPPED) == {
                "venue_error:rate_limited": 1,
                "venue_error:auth_invalid": 1,
            }

    asyncio.run(main())


@pytest.mark.parametrize(("code", "reason"), [(4002, "live:closed"), (4003, "live:draining")])
def test_another_end_of_the_live_feed_is_followed_by_a_new_connection(
    code: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draining or a slow reader: connect, authenticate and subscribe again (§6.2)."""
    monkeypatch.setattr("polyframe.exchange.polymarket.reference_stream._DRAIN_SECONDS", 0.05)

    async def main() -> None:
        async with scene("live") as found:
            await found.server.until(lambda: len(found.server.frames) == 2)
            await found.server.connections[0].close(code)
            await found.server.until(lambda: len(found.server.sent_by(1)) == 2)
            assert found.counters.reasons(Count.STREAM_LOSSES) == {reason: 1}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("hosts", "credentials", "urls"),
    [
        (PolymarketHosts(), None, ["wss://ws-live-data.polymarket.com"]),
        (
            PolymarketHosts(),
            CREDENTIALS,
            ["wss://ws-live-data.polymarket.com", "wss://ws-live-v2.polymarket.com/ws"],
        ),
        (
            PolymarketHosts.local("http://127.0.0.1:1"),
            CREDENTIALS,
            ["ws://127.0.0.1:1/rtds", "ws://127.0.0.1:1/live/ws"],
        ),
        (
            evolve(PolymarketHosts.local("http://127.0.0.1:1"), live="wss://example.com"),
            CREDENTIALS,
            ["ws://127.0.0.1:1/rtds"],
        ),
    ],
)
def test_the_credentials_decide_which_feeds_are_used(
    hosts: PolymarketHosts, credentials: Credentials | None, urls: list[str]
) -> None:
    """The second feed needs them, and those of an account on this machine never leave it."""

    async def main() -> None:
        exchange = PolymarketExchange(hosts=hosts, credentials=credentials)
        await exchange.open(VirtualClock(0), Counters())
        streams = exchange.reference_streams([BTC], PriceSink())
        assert [stream._url for stream in streams] == urls  # type: ignore[attr-defined]
        hourly = exchange.reference_streams([(PriceSource.BINANCE, "btc")], PriceSink())
        assert len(hourly) == 1
        await exchange.close()

    asyncio.run(main())


def test_a_strategys_environment_learns_the_price_to_beat() -> None:
    """From the socket to the answer: the whole way, opened and closed with the environment."""
    start = WINDOW.start

    async def main() -> None:
        async with WsServer(lambda *_: []) as server:
            local = PolymarketHosts.local("http://127.0.0.1:1")
            exchange = PolymarketExchange(hosts=evolve(local, rtds=server.url))
            env = Environment(exchange=exchange, clock=ScaledClock(1, start + 5.0))
            prices = ReferencePrices(exchange, SERIES)
            env.provide(prices)
            async with env, asyncio.timeout(10):
                await server.until(lambda: bool(server.frames))
                waiting = asyncio.create_task(prices.wait_price_to_beat(MARKET))
                for offset, value in ((-1, "1"), (0, "65000.5"), (1, "3")):
                    await server.send(price_frame((start + offset) * 1000, value))
                found = await waiting
                assert (found.value, found.is_final) == (Decimal("65000.5"), True)
            assert only_this_task()

    asyncio.run(main())


def test_who_is_sent_away_to_make_room_does_not_come_back_at_once() -> None:
    """After draining the pause is any time up to ten seconds; after other ends it is the usual one."""
    skips = Skips(Counters())
    stream = LivePriceStream("ws://x", CREDENTIALS, PriceSink(), [BTC], SETTINGS, Counters(), skips)
    pauses = [stream._least_pause("draining") for _ in range(200)]
    assert min(pauses) < 2
    assert 8 < max(pauses) <= 10
    assert stream._least_pause("closed") == 0
