"""The stream of one market: both tokens on one connection (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import json
import logging

from typing_extensions import override

from polyframe.counters import Cell, Count, Counters
from polyframe.exchange.base import MarketSink
from polyframe.exchange.polymarket.config import StreamSettings
from polyframe.exchange.polymarket.stream import ReconnectingStream
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.model.events import BookSnapshot, MarketMessage, StreamState
from polyframe.model.market import Market

_log = logging.getLogger(__name__)


class MarketStream(ReconnectingStream):
    """Delivers the messages of one market to its sink, straight from the read loop.

    A connection is given up when it brings no data of this market for `StreamSettings.silence`
    seconds, or not the books of both tokens within `StreamSettings.snapshot_timeout` of subscribing.
    Pings that are answered are no proof of anything (PROTOCOL §4.10).

    Args:
        url: WebSocket URL of the market channel.
        market: Whose tokens.
        sink: Takes the messages.
        decoder: Reads the frames.
        settings: Times.
        counters: Where connections and messages are counted.
    """

    def __init__(
        self,
        url: str,
        market: Market,
        sink: MarketSink,
        decoder: MarketDecoder,
        settings: StreamSettings,
        counters: Counters,
    ) -> None:
        super().__init__("market", url, settings, counters)
        self._market = market
        self._tokens = [market.up_token, market.down_token]
        self._sink: MarketSink | None = sink
        self._decoder = decoder
        self._counts: dict[type[MarketMessage], Cell] = {}
        self._resync_reason = ""
        self._last_data = 0.0
        self._missing: set[str] = set()
        self._snapshot_deadline = 0.0

    @override
    def detach(self) -> None:
        self._sink = None

    @override
    def resync(self, reason: str) -> None:
        """Have the books of both tokens sent afresh, on the same connection if it still works.

        The sink is told nothing now: it asked. If the books do not come in time, the connection is
        replaced, and the sink is told of that. Without a connection there is nothing to do: the
        next one begins with both books.
        """
        self._resync_reason = reason
        self._nudge()

    @override
    def _subscription(self) -> str:
        return json.dumps(
            {
                "type": "market",
                "assets_ids": self._tokens,
                "custom_feature_enabled": True,
                "initial_dump": True,
                "level": 2,
            }
        )

    @override
    def _on_connected(self, now: float) -> None:
        self._resync_reason = ""
        self._last_data = now
        self._expect_books(now)

    def _expect_books(self, now: float) -> None:
        self._missing = set(self._tokens)
        self._snapshot_deadline = now + self._settings.snapshot_timeout

    @override
    def _deadline(self) -> tuple[float, str]:
        silent = self._last_data + self._settings.silence
        if self._missing and self._snapshot_deadline < silent:
            return self._snapshot_deadline, "no_snapshot"
        return silent, "silence"

    @override
    def _frames(self, now: float) -> list[str]:
        reason, self._resync_reason = self._resync_reason, ""
        if not reason:
            return []
        _log.info("market stream: %s: fresh books wanted (%s)", self._market.slug, reason)
        self._expect_books(now)
        # To subscribe to what is subscribed already does nothing (PROTOCOL §4.1).
        unsubscribe = {"operation": "unsubscribe", "assets_ids": self._tokens}
        subscribe = {
            "operation": "subscribe",
            "assets_ids": self._tokens,
            "custom_feature_enabled": True,
        }
        return [json.dumps(unsubscribe), json.dumps(subscribe)]

    @override
    def _on_pong(self, now: float) -> None:
        """Prove nothing: a frozen connection answers too (PROTOCOL §4.10)."""

    @override
    def _on_frame(self, frame: bytes) -> None:
        if self._sink is None:
            return
        for message in self._decoder.decode(frame):
            self._count(message)
            if message.market == self._market.condition_id:
                # Only what concerns this market: the channel also tells of all new markets.
                self._last_data = asyncio.get_running_loop().time()
                self._healthy = True
                if self._missing and isinstance(message, BookSnapshot):
                    self._missing.discard(message.token)
            sink = self._sink
            if sink is None:  # detached by the message before
                return
            sink.on_market_message(message)

    def _count(self, message: MarketMessage) -> None:
        kind = type(message)
        cell = self._counts.get(kind)
        if cell is None:
            cell = self._counters.cell(Count.MARKET_MESSAGES, kind.__name__)
            self._counts[kind] = cell
        cell.value += 1

    @override
    def _on_state(self, state: StreamState, reason: str) -> None:
        if self._sink is not None:
            self._sink.on_market_stream(state, reason)
