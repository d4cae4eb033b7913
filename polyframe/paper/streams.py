"""The two streams of a paper exchange: one that is listened in on, and one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from polyframe.exchange.base import MarketSink, UserSink
from polyframe.model.events import MarketMessage, StreamState, UserMessage
from polyframe.model.market import Market


class MarketTap:
    """Passes on what a market stream says, and lets the paper venue hear it too.

    The session hears it first: its book is right before a fill is told that this book explains.

    Args:
        market: Whose stream it is.
        sink: Who asked for the stream.
        on_message: Takes each message after `sink`.
        on_gap: Called when books become unknown.
    """

    def __init__(
        self,
        market: Market,
        sink: MarketSink,
        on_message: Callable[[MarketTap, MarketMessage], None],
        on_gap: Callable[[MarketTap], None],
    ) -> None:
        self.market = market
        self._sink = sink
        self._on_message = on_message
        self._on_gap = on_gap

    def on_market_message(self, message: MarketMessage) -> None:
        """Take one decoded message."""
        self._sink.on_market_message(message)
        self._on_message(self, message)

    def on_market_stream(self, state: StreamState, reason: str) -> None:
        """Take a change of the connection: whichever it is, what was known is void."""
        self._sink.on_market_stream(state, reason)
        self._on_gap(self)


class PaperUserStream:
    """The account's stream: connected as soon as it is started, and never lost.

    Args:
        sink: Who asked for it.
        open_streams: The exchange's open streams, of which this is one until it is detached.
    """

    def __init__(self, sink: UserSink, open_streams: list[PaperUserStream]) -> None:
        self._sink: UserSink | None = sink
        self._open_streams = open_streams
        self._is_connected = False

    def start(self) -> None:
        """Connect, with the next turn of the event loop."""
        asyncio.get_running_loop().call_soon(self._connect)

    def _connect(self) -> None:
        if self._sink is not None:
            self._is_connected = True
            self._sink.on_user_stream(StreamState.CONNECTED, "")

    def push(self, message: UserMessage) -> None:
        """Deliver one message; before the connection is up it is lost, as at any venue."""
        if self._sink is not None and self._is_connected:
            self._sink.on_user_message(message)

    def detach(self) -> None:
        """Stop all deliveries at once."""
        self._sink = None
        if self in self._open_streams:
            self._open_streams.remove(self)

    def resync(self, reason: str) -> None:
        """Make a new connection."""
        if self._sink is not None and self._is_connected:
            self._is_connected = False
            self._sink.on_user_stream(StreamState.LOST, reason)
            self.start()

    async def close(self) -> None:
        """Detach; safe to repeat."""
        self.detach()
