"""Reference prices over WebSockets: RTDS, and its successor with credentials (PROTOCOL §6).

Both tell what the source knows, once a second of the venue's clock. There is one price of an asset: the
one that decides the markets. All topics tell it, each in its own words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from attrs import define, field
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from polyframe.clock import Clock
from polyframe.venue.accounts import Accounts
from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import VenueFaults
from polyframe.venue.hub import Connection, serve
from polyframe.venue.messages import encode
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.sources import PricedSource

_CATCH_UP = 60
"""Seconds that are told again when the clock has jumped; what is older is left out."""
_SNAPSHOT, _MEMORY = 3, 120
"""Seconds that a subscription to `crypto_prices`, or to the successor, begins with."""
_TWAP_SECONDS = 60
_MAX_SUBSCRIPTIONS = 64
"""Of one connection of the successor (§6.2), and in one frame of either feed."""
_AUTH_CODE = 4001

_SPOT = "crypto_prices"
_ENDINGS = {
    _SPOT: "usdt",
    "crypto_prices_chainlink": "/usd",
    "crypto_prices_twap_thirty": "/usd",
    "crypto_prices_twap_sixty": "/usd",
}
"""Topics of RTDS, and how an asset is called there."""
_WINDOWS = {"crypto_prices_twap_thirty": 30, "crypto_prices_twap_sixty": 60}
_LIVE_CHANNELS = {"price.crypto": "pyth", "price.crypto.twap": "chainlink"}


class RtdsConnection(Connection):
    """A connection of RTDS.

    Attributes:
        wanted: Symbols by topic, ``None`` for all of a topic.
    """

    wanted: dict[str, set[str] | None]


@define(eq=False)
class _Channel:
    """One subscription of the successor: messages are numbered in each."""

    name: str
    asset: str
    seq: int = 0


class LiveConnection(Connection):
    """A connection of the successor."""

    is_authed = False
    channels: dict[tuple[str, str], _Channel]


@define(eq=False)
class PriceFeeds:
    """Serves both feeds.

    Args:
        source: Who knows the prices; ``None`` if nobody does: then the feeds are silent.
        clock: The venue's time.
        accounts: Who may use the successor.
        settings: Time-outs and the length of the queues.
        stats: Where connections that do not read are counted.
        faults: Whether prices stop.
    """

    _source: PricedSource | None
    _clock: Clock
    _accounts: Accounts
    settings: VenueSettings
    stats: VenueStats
    _faults: VenueFaults
    _rtds: set[RtdsConnection] = field(factory=set, init=False)
    _live: set[LiveConnection] = field(factory=set, init=False)
    _someone: asyncio.Event = field(factory=asyncio.Event, init=False)

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            WebSocketRoute("/rtds", self._serve_rtds),
            WebSocketRoute("/live/ws", self._serve_live),
        ]

    async def run(self) -> None:
        """Tell the price of each second, as soon as it has begun."""
        if self._source is None:
            return
        told = int(self._clock.time())
        while True:
            if not (self._rtds or self._live):
                # On a fast clock a second is short: nobody pays for it while nobody listens.
                self._someone.clear()
                await self._someone.wait()
                told = int(self._clock.time())
            await self._clock.sleep_until(told + 1)
            now = int(self._clock.time())
            for second in range(max(told + 1, now - _CATCH_UP + 1), now + 1):
                self._tell(second)
            told = now

    def _tell(self, second: int) -> None:
        if self._source is None:
            return
        for asset in self._source.assets:
            units = self._source.reference(asset, second * 1000)
            if units is None:
                continue
            for topic, ending in _ENDINGS.items():
                self._tell_topic(topic, asset + ending, second * 1000, units)
            for connection in self._live:
                for channel in connection.channels.values():
                    if channel.asset == asset:
                        self._send(connection, self._update(channel, second * 1000, units))

    def _tell_topic(self, topic: str, symbol: str, instant_ms: int, units: int) -> None:
        receivers = [c for c in self._rtds if _wants(c, topic, symbol)]
        if not receivers:
            return
        payload = {
            "symbol": symbol,
            "timestamp": instant_ms,
            "value": _rounded(units),
            "full_accuracy_value": _exact(topic, units),
        }
        if topic in _WINDOWS:
            payload["window_s"] = _WINDOWS[topic]
        message = self._message(topic, "update", payload)
        for connection in receivers:
            self._send(connection, message)

    def _message(self, topic: str, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
        now_ms = int(self._clock.time() * 1000)
        return {"topic": topic, "type": kind, "timestamp": now_ms, "payload": payload}

    def _send(self, connection: Connection, message: Any) -> None:
        if self._faults.strike(VenueFault.PRICES_FREEZE) is None:
            connection.send(encode(message))

    def _history(self, asset: str, seconds: int) -> list[tuple[int, int]]:
        """Return the prices of the last seconds, the oldest first: epoch milliseconds, 1e-8 USD."""
        now = int(self._clock.time())
        source = self._source
        if source is None:
            return []
        found = [
            (at * 1000, source.reference(asset, at * 1000))
            for at in range(now - seconds + 1, now + 1)
        ]
        return [(at, units) for at, units in found if units is not None]

    # ------------------------------------------------------------------ RTDS

    async def _serve_rtds(self, socket: WebSocket) -> None:
        await socket.accept()
        connection = RtdsConnection(socket, "prices", self)
        connection.wanted = {}
        connection.send("")  # as the real one greets
        self._rtds.add(connection)
        self._someone.set()
        try:
            await serve(
                connection, self.settings, lambda frame: self._rtds_frame(connection, frame)
            )
        finally:
            self._rtds.discard(connection)

    def _rtds_frame(self, connection: RtdsConnection, frame: Any) -> bool:
        # What it does not understand it ignores without a word.
        entries = frame.get("subscriptions") if isinstance(frame, dict) else None
        if not isinstance(entries, list):
            return True
        for entry in entries[:_MAX_SUBSCRIPTIONS]:
            topic = entry.get("topic") if isinstance(entry, dict) else None
            if topic not in _ENDINGS:
                continue
            symbols = _filtered(topic, entry.get("filters"))
            if frame.get("action") == "subscribe":
                known = connection.wanted.get(topic, set())
                # Without a filter a subscription is for all, and stays so.
                is_narrow = known is not None and symbols is not None
                both = (known or set()) | (symbols or set()) if is_narrow else None
                if len(both or ()) > self.settings.max_subscriptions:
                    continue
                connection.wanted[topic] = both
                connection.subscribed = True
                self._picture(connection, topic, symbols)
            elif frame.get("action") == "unsubscribe":
                known = connection.wanted.pop(topic, set())
                if known is not None and symbols is not None and known - symbols:
                    connection.wanted[topic] = known - symbols
        return True

    def _picture(self, connection: RtdsConnection, topic: str, symbols: set[str] | None) -> None:
        """Send the last seconds: of this topic only, the others have no memory (§6.1)."""
        if topic != _SPOT or self._source is None:
            return
        for asset in self._source.assets:
            symbol = asset + _ENDINGS[topic]
            if symbols is None or symbol in symbols:
                data = [
                    {"timestamp": at, "value": _rounded(units)}
                    for at, units in self._history(asset, _SNAPSHOT)
                ]
                payload = {"symbol": symbol, "data": data}
                self._send(connection, self._message(topic, "subscribe", payload))

    # ------------------------------------------------------------------ the successor

    async def _serve_live(self, socket: WebSocket) -> None:
        await socket.accept()
        connection = LiveConnection(socket, "prices", self)
        connection.channels = {}
        connection.close_code = _AUTH_CODE
        self._live.add(connection)
        self._someone.set()
        try:
            await serve(
                connection, self.settings, lambda frame: self._live_frame(connection, frame)
            )
        finally:
            self._live.discard(connection)

    def _live_frame(self, connection: LiveConnection, frame: Any) -> bool:
        frame = frame if isinstance(frame, dict) else {}
        op, rid = frame.get("op"), frame.get("rid")
        if op == "ping":
            connection.send(encode({"op": "pong"}))
        elif op == "auth":
            connection.is_authed = self._is_known(frame.get("auth"))
            if not connection.is_authed:
                connection.send(encode(_problem("auth_invalid", rid)))
                return False
            connection.send(encode({"op": "authed", "rid": rid}))
        elif not connection.is_authed:
            connection.send(encode(_problem("auth_required", rid)))
        elif op == "subscribe":
            entries = frame.get("subscriptions")
            for entry in entries[:_MAX_SUBSCRIPTIONS] if isinstance(entries, list) else []:
                self._subscribe(connection, entry, rid)
        else:
            connection.send(encode(_problem("bad_op", rid)))
        return True

    def _is_known(self, auth: Any) -> bool:
        auth = auth if isinstance(auth, Mapping) else {}
        parts = (str(auth.get(name, "")) for name in ("apiKey", "secret", "passphrase"))
        return self._accounts.by_key(*parts) is not None

    def _subscribe(self, connection: LiveConnection, entry: Any, rid: Any) -> None:
        entry = entry if isinstance(entry, dict) else {}
        name, wanted = entry.get("channel"), entry.get("filter")
        wanted = wanted if isinstance(wanted, dict) else {}
        asset = str(wanted.get("symbol", "")).removesuffix("usd")
        if name not in _LIVE_CHANNELS:
            connection.send(encode(_problem("bad_channel", rid)))
            return
        twap = name == "price.crypto.twap"
        if not asset or (twap and wanted.get("window_seconds") != _TWAP_SECONDS):
            connection.send(encode(_problem("bad_filter", rid)))
            return
        if (name, asset) not in connection.channels and (
            len(connection.channels) >= _MAX_SUBSCRIPTIONS
        ):
            connection.send(encode(_problem("sub_limit", rid)))
            return
        connection.subscribed = True
        channel = connection.channels[name, asset] = _Channel(name, asset)
        connection.send(encode({"op": "subscribed", "rid": rid, "channel": name}))
        points = [_point(at, units) for at, units in self._history(asset, _MEMORY)]
        if points:
            message = self._envelope(channel, {"data": points})
            self._send(connection, {**message, "snapshot": True})

    def _update(self, channel: _Channel, instant_ms: int, units: int) -> dict[str, Any]:
        return self._envelope(channel, _point(instant_ms, units))

    def _envelope(self, channel: _Channel, content: dict[str, Any]) -> dict[str, Any]:
        channel.seq += 1
        payload = {
            "symbol": f"{channel.asset}usd",
            "source": _LIVE_CHANNELS[channel.name],
            **content,
        }
        if channel.name == "price.crypto.twap":
            payload["window_seconds"] = _TWAP_SECONDS
        return {
            "v": 1,
            "channel": channel.name,
            "seq": channel.seq,
            "ts": int(self._clock.time() * 1000),
            "payload": payload,
        }


def _wants(connection: RtdsConnection, topic: str, symbol: str) -> bool:
    if topic not in connection.wanted:
        return False
    symbols = connection.wanted[topic]
    return symbols is None or symbol in symbols


def _filtered(topic: str, text: Any) -> set[str] | None:
    """Return the symbols that a filter means, ``None`` for all."""
    if not isinstance(text, str) or not text:
        return None
    if topic == _SPOT:
        return set(text.split(","))
    try:
        wanted = json.loads(text)
    except (ValueError, RecursionError):
        return set()
    symbol = wanted.get("symbol") if isinstance(wanted, dict) else None
    # It is compared as text: with a blank in it, it matches nothing (§6.1).
    compact = json.dumps({"symbol": symbol}, separators=(",", ":"))
    return {symbol} if isinstance(symbol, str) and text == compact else set()


def _usd(units: int) -> Decimal:
    return Decimal(units).scaleb(-8)


def _rounded(units: int) -> float:
    return float(round(_usd(units), 6))


def _exact(topic: str, units: int) -> str:
    """Return all digits: plain USD of Binance, whole numbers of 1e-18 USD of Chainlink (§6.1)."""
    return f"{_usd(units):f}" if topic == _SPOT else str(units * 10**10)


def _point(instant_ms: int, units: int) -> dict[str, Any]:
    return {
        "timestamp": instant_ms,
        "value": _rounded(units),
        "full_accuracy_value": f"{_usd(units):f}",
    }


def _problem(code: str, rid: Any) -> dict[str, Any]:
    return {"op": "error", "code": code, "rid": rid}
