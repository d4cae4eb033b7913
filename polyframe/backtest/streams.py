"""The streams of a replayed venue. They never break by themselves: what broke is in the recording."""

from __future__ import annotations

import asyncio

from polyframe.backtest.tape import Tape
from polyframe.exchange.base import MarketSink, Solo, UserSink
from polyframe.model.events import MarketResolved, StreamState, UserMessage


class MarketStream:
    """Both tokens of one market: the books as they stand, then every row when it is due."""

    def __init__(self, tape: Tape, sink: MarketSink) -> None:
        self._tape = tape
        self._sink: MarketSink | None = sink

    def start(self) -> None:
        """Connect as soon as the loop goes on."""
        asyncio.get_running_loop().call_soon(self._connect)

    def detach(self) -> None:
        """Deliver nothing from now on."""
        if self._sink is not None:
            self._tape.disconnect(self._sink)
        self._sink = None

    def resync(self, reason: str) -> None:
        """Tell both books afresh, as a new connection does."""
        if self._sink is not None:
            self._tape.disconnect(self._sink)
            # Not in the context of a strategy that took the row because of which this happens.
            context = self._tape.context
            asyncio.get_running_loop().call_soon(self._reconnect, reason, context=context)

    async def close(self) -> None:
        """Detach."""
        self.detach()

    def solo(self) -> Solo | None:
        """Return the rows that are due before anything else happens, if there are any."""
        return None if self._sink is None else self._tape.solo()

    def _reconnect(self, reason: str) -> None:
        if self._sink is not None:
            self._sink.on_market_stream(StreamState.LOST, reason)
            self._connect()

    def _connect(self) -> None:
        if self._sink is not None:
            self._tape.connect(self._sink)


class ResolutionStream:
    """Tells who won one market, when the venue does.

    Args:
        slug: The market.
        sink: Takes the message.
        listening: Whom the venue tells, each with its market; this one while it is connected.
    """

    def __init__(self, slug: str, sink: MarketSink, listening: dict[ResolutionStream, str]) -> None:
        self._slug = slug
        self._sink = sink
        self._listening = listening

    def start(self) -> None:
        """Listen."""
        self._listening[self] = self._slug

    def detach(self) -> None:
        """Listen no more."""
        self._listening.pop(self, None)

    def resync(self, reason: str) -> None:
        """Nothing to do: there is no connection that could be bad."""

    async def close(self) -> None:
        """Detach."""
        self.detach()

    def tell(self, message: MarketResolved) -> None:
        """Deliver the message."""
        self._sink.on_market_message(message)


class UserStream:
    """The account's stream: every message, once and in order."""

    def __init__(self, sink: UserSink) -> None:
        self._sink: UserSink | None = sink

    def start(self) -> None:
        """Connect as soon as the loop goes on."""
        asyncio.get_running_loop().call_soon(self._connect)

    def detach(self) -> None:
        """Deliver nothing from now on."""
        self._sink = None

    def resync(self, reason: str) -> None:
        """Nothing to do: nothing was missed."""

    async def close(self) -> None:
        """Detach."""
        self.detach()

    def send(self, message: UserMessage) -> None:
        """Deliver a message when the loop goes on: never from within an order that is being taken."""
        asyncio.get_running_loop().call_soon(self._deliver, message)

    def _connect(self) -> None:
        if self._sink is not None:
            self._sink.on_user_stream(StreamState.CONNECTED, "")

    def _deliver(self, message: UserMessage) -> None:
        if self._sink is not None:
            self._sink.on_user_message(message)
