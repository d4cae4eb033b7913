"""For every count of the wire: something that makes it happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from attrs import evolve
from typing_extensions import override

from polyframe.counters import Count, Counters
from polyframe.exchange.polymarket import StreamSettings
from polyframe.exchange.polymarket.market_stream import MarketStream
from polyframe.exchange.polymarket.user_stream import UserStream
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.events import MarketMessage, StreamState, UserMessage
from tests.exchange.kit import (
    ADDRESS,
    API_KEY,
    CONDITION,
    CREDENTIALS,
    MARKET,
    SERIES,
    UP,
    WINDOW,
    Wire,
)
from tests.exchange.servers import (
    BOOKS,
    Reaction,
    WatchedSink,
    WsServer,
    book,
    change,
    market_venue,
    pong,
)
from tests.exchange.test_gamma import ROW, RULES
from tests.exchange.test_listing import FAMILY, listed, page
from tests.exchange.test_rest import Venue
from tests.exchange.test_wire_user import ORDER, TRADE
from tests.support.produce_events import Producer

# ------------------------------------------------------------------ decoders


def skipped_market(value: Any) -> Counters:
    """Return the counters of a decoder that was given a frame of the market channel."""
    wire = Wire()
    wire.market(value)
    return wire.counters


def skipped_user(value: Any) -> Counters:
    """Return the counters of a decoder that was given a frame of the user channel."""
    wire = Wire()
    wire.user(value)
    return wire.counters


def _many_kinds() -> Counters:
    wire = Wire()
    wire.market([{"event_type": f"kind{number}"} for number in range(250)])
    wire.market(b"no JSON")
    return wire.counters


def _rows_of_another_market() -> Counters:
    page = {"next_cursor": "LTE=", "data": [ORDER | {"market": "0xother"}]}
    venue = Venue(page)
    venue.ask(lambda rest: rest.fetch_open_orders(MARKET))
    return venue.counters


FLAT_CHANGE = {"event_type": "price_change", "market": CONDITION, "price": "0.5", "asset_id": UP}

_SKIPS: dict[str, Producer] = {
    "json": partial(skipped_market, b"no JSON"),
    "not_object": partial(skipped_market, [1]),
    "unknown_event:<type>": partial(skipped_market, {"event_type": "news"}),
    "bad_field:<field>": partial(skipped_market, book(UP) | {"bids": "none"}),
    "no_asset": partial(skipped_market, book("")),
    "obsolete_price_change": partial(skipped_market, FLAT_CHANGE),
    "no_order_id": partial(skipped_user, ORDER | {"id": ""}),
    "unknown_order_type:<type>": partial(skipped_user, ORDER | {"type": "NEWS"}),
    "no_trade_id": partial(skipped_user, TRADE | {"id": ""}),
    "unknown_trade_status:<status>": partial(skipped_user, TRADE | {"status": "NEWS"}),
    "no_trader_side": partial(skipped_user, TRADE | {"trader_side": ""}),
    "no_own_leg": partial(skipped_user, TRADE | {"trader_side": "MAKER", "maker_orders": []}),
    "trade_levels": partial(skipped_user, TRADE | {"maker_orders": []}),
    "trade_price": partial(skipped_user, TRADE | {"price": "0.5"}),
    "foreign_market": _rows_of_another_market,
    "<family>:other": _many_kinds,
    "other": _many_kinds,
}
SKIPS = {(Count.WIRE_SKIPPED, reason): producer for reason, producer in _SKIPS.items()}


OTHER_TOKENS = [{"t": "1", "o": "Up"}, {"t": "2", "o": "Down"}]


def market_row(*answers: Any) -> Counters:
    """Return the counters of a client that asked for a market and got `answers`."""
    venue = Venue(*answers)
    venue.ask(lambda rest: rest.fetch_market(SERIES, WINDOW))
    return venue.counters


WAITS: dict[tuple[Count, str], Producer] = {
    (Count.MARKET_WAITS, reason): partial(market_row, answer)
    for reason, answer in {
        "not_found": 404,
        "hydrating": ROW | {"clobTokenIds": ""},
        "closed": ROW | {"closed": True},
        "archived": ROW | {"archived": True},
        "inactive": ROW | {"active": False},
        "no_order_book": ROW | {"enableOrderBook": False},
        "not_accepting": ROW | {"acceptingOrders": False},
        "wrong_slug": ROW | {"slug": "another"},
        "wrong_window": ROW | {"endDate": "2026-09-28T09:20:00Z"},
        "bad_row": [1],
        "bad_outcomes": ROW | {"outcomes": '["Yes", "No"]'},
        "bad_tick": ROW | {"orderPriceMinTickSize": 2},
        "bad_min_size": ROW | {"orderMinSize": "many"},
        "bad_fees": ROW | {"feeSchedule": 7},
    }.items()
}
RULES_COUNTS: dict[tuple[Count, str], Producer] = {
    (Count.MARKET_WAITS, "wrong_tokens"): partial(market_row, ROW, RULES | {"t": OTHER_TOKENS}),
    (Count.MARKET_RULES, "unanswered"): partial(market_row, ROW, 500),
    (Count.MARKET_RULES, "differ"): partial(market_row, ROW, RULES | {"mts": 0.001}),
}


def _zombies() -> Counters:
    venue = Venue(FAMILY, page(ROW | {"enableOrderBook": False}))
    listed(venue)
    return venue.counters


ZOMBIES: dict[tuple[Count, str], Producer] = {(Count.WIRE_SKIPPED, "zombie_row:<reason>"): _zombies}

# ------------------------------------------------------------------ streams over real sockets

SETTINGS = StreamSettings(
    ping_interval=60,
    silence=60,
    pong_timeout=60,
    snapshot_timeout=60,
    backoff_base=0.02,
    backoff_cap=0.05,
)

Play = Callable[[WsServer, WatchedSink], Awaitable[None]]


def silent(_server: WsServer, _connection: object, _frame: str) -> list[str]:
    """Answer nothing."""
    return []


def stream_case(
    kind: str,
    play: Play,
    *,
    react: Reaction | None = None,
    sink: Callable[[], WatchedSink] = WatchedSink,
    decoder: Any = None,
    url: str = "",
    **settings: Any,
) -> Producer:
    """Return a producer that plays with a market or user stream and a server of its own."""

    async def main() -> Counters:
        counters, watched = Counters(), sink()
        skips, times = Skips(counters), evolve(SETTINGS, **settings)
        async with WsServer(react or (market_venue if kind == "market" else pong)) as server:
            where = url or server.url
            stream: MarketStream | UserStream
            if kind == "market":
                reader = decoder or MarketDecoder(skips)
                stream = MarketStream(where, MARKET, watched, reader, times, counters)
            else:
                reader = decoder or UserDecoder(skips, API_KEY, {ADDRESS})
                stream = UserStream(where, CREDENTIALS, watched, reader, times, counters)
            stream.start()
            try:
                async with asyncio.timeout(20):
                    await play(server, watched)
            finally:
                await stream.close()
        return counters

    return lambda: asyncio.run(main())


async def connected(_server: WsServer, sink: WatchedSink) -> None:
    """Wait for the connection."""
    await sink.until(lambda: (StreamState.CONNECTED, "") in sink.states)


def until_lost(reason: str) -> Play:
    """Return a play that waits until the connection is lost."""

    async def play(_server: WsServer, sink: WatchedSink) -> None:
        await sink.until(lambda: (StreamState.LOST, reason) in sink.states)

    return play


async def hang_up(server: WsServer, sink: WatchedSink) -> None:
    """Close the connection on the venue's side."""
    await connected(server, sink)
    await server.connections[-1].close()
    await until_lost("closed")(server, sink)


def sending(count: int, *frames: str) -> Play:
    """Return a play that sends frames and waits for so many messages."""

    async def play(server: WsServer, sink: WatchedSink) -> None:
        await connected(server, sink)
        await server.until(lambda: bool(server.frames))
        for frame in frames:
            await server.send(frame)
        await sink.until(lambda: len(sink.messages) >= count)

    return play


class Clumsy(WatchedSink):
    """Fails with every message, after it has taken it."""

    @override
    def on_market_message(self, message: MarketMessage) -> None:
        super().on_market_message(message)
        msg = "a mistake"
        raise RuntimeError(msg)

    @override
    def on_user_message(self, message: UserMessage) -> None:
        super().on_user_message(message)
        msg = "a mistake"
        raise RuntimeError(msg)


class Broken:
    """A decoder with a defect."""

    def decode(self, frame: bytes) -> list[UserMessage]:
        """Fail."""
        msg = "a mistake"
        raise RuntimeError(msg)


def _frame(event: str, **fields: Any) -> str:
    common = {"event_type": event, "market": CONDITION, "asset_id": UP, "timestamp": "1"}
    return json.dumps(common | fields)


CHANNEL = {
    "BookSnapshot": BOOKS,
    "BookDelta": change(),
    "BestQuote": _frame("best_bid_ask", best_bid="0.4", best_ask="0.6"),
    "TradePrint": _frame("last_trade_price", price="0.5", size="1", side="BUY"),
    "TickSizeChange": _frame("tick_size_change", old_tick_size="0.01", new_tick_size="0.001"),
    "MarketResolved": _frame("market_resolved", winning_asset_id=UP, winning_outcome="Up"),
}
NOBODY = "ws://127.0.0.1:9"  # the port of "discard": nobody listens there
ORDERS, TRADES = json.dumps([ORDER] * 3), json.dumps([TRADE] * 3)
overflow = until_lost("overflow")


def _overflowing(frame: str) -> Producer:
    async def play(server: WsServer, sink: WatchedSink) -> None:
        await connected(server, sink)
        await server.until(lambda: bool(server.frames))
        await server.send(frame)
        await overflow(server, sink)

    return stream_case("user", play, user_queue=1)


STREAMS: dict[tuple[Count, str], Producer] = {
    (Count.STREAM_CONNECTS, "market"): stream_case("market", connected),
    (Count.STREAM_CONNECTS, "user"): stream_case("user", connected),
    (Count.STREAM_LOSSES, "market:connect"): stream_case(
        "market", until_lost("connect"), url=NOBODY
    ),
    (Count.STREAM_LOSSES, "market:closed"): stream_case("market", hang_up),
    (Count.STREAM_LOSSES, "market:silence"): stream_case(
        "market", until_lost("silence"), silence=0.05
    ),
    (Count.STREAM_LOSSES, "market:no_snapshot"): stream_case(
        "market", until_lost("no_snapshot"), react=pong, snapshot_timeout=0.05
    ),
    (Count.STREAM_LOSSES, "market:error"): stream_case("market", until_lost("error"), sink=Clumsy),
    (Count.STREAM_LOSSES, "user:connect"): stream_case("user", until_lost("connect"), url=NOBODY),
    (Count.STREAM_LOSSES, "user:closed"): stream_case("user", hang_up),
    (Count.STREAM_LOSSES, "user:no_pong"): stream_case(
        "user", until_lost("no_pong"), react=silent, pong_timeout=0.05
    ),
    (Count.STREAM_LOSSES, "user:error"): stream_case(
        "user",
        until_lost("error"),
        react=lambda *_: [ORDERS],
        decoder=Broken(),
    ),
    (Count.USER_MESSAGES, "order"): stream_case("user", sending(3, ORDERS)),
    (Count.USER_MESSAGES, "trade"): stream_case("user", sending(3, TRADES)),
    (Count.USER_DROPPED, "order"): _overflowing(ORDERS),
    (Count.USER_DROPPED, "trade"): _overflowing(TRADES),
    # The first failure is counted before the second message comes.
    (Count.USER_DROPPED, "sink_error"): stream_case("user", sending(2, ORDERS), sink=Clumsy),
}
for _kind, _text in CHANNEL.items():
    STREAMS[Count.MARKET_MESSAGES, _kind] = stream_case("market", sending(3, _text))

WIRE = SKIPS | ZOMBIES | WAITS | RULES_COUNTS | STREAMS
