"""The streams of a replayed venue. They never break by themselves: what broke is in the recording."""

from __future__ import annotations

import asyncio

from polyframe.backtest.tape import Tape
from polyframe.clock import Clock
from polyframe.exchange.base import MarketSink, Solo, UserSink
from polyframe.model.events import MarketResolved, StreamState, UserMessage
from polyframe.recording.tape import TapeMarket


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
    """Tells who won one market, when that is known.

    Args:
        entry: The market, with its winner.
        sink: Takes the message.
        clock: Market time.
        due: When the venue tells it, in epoch seconds.
    """

    def __init__(self, entry: TapeMarket, sink: MarketSink, clock: Clock, due: float) -> None:
        self._entry = entry
        self._sink: MarketSink | None = sink
        self._clock = clock
        self._due = due
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Wait for the time."""
        if self._entry.winner is not None:
            left = max(self._due - self._clock.time(), 0.0)
            self._handle = asyncio.get_running_loop().call_later(left, self._tell)

    def detach(self) -> None:
        """Deliver nothing from now on."""
        self._sink = None

    def resync(self, reason: str) -> None:
        """Nothing to do: there is no connection that could be bad."""

    async def close(self) -> None:
        """Detach, and wait for nothing any more."""
        self.detach()
        if self._handle is not None:
            self._handle.cancel()

    def _tell(self) -> None:
        winner, market = self._entry.winner, self._entry.market
        if self._sink is not None and winner is not None:
            due_ms = int(self._due * 1000)
            message = MarketResolved(market.condition_id, market.token(winner), due_ms)
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
