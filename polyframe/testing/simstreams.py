"""The two streams of the simulated venue: what is said arrives, late, twice, or not at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import count
from typing import Protocol

import msgspec

from polyframe.counters import Count, Counters
from polyframe.exchange.base import MarketSink, UserSink
from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    MarketMessage,
    MarketResolved,
    OrderReport,
    StreamState,
    UserMessage,
)
from polyframe.model.market import Market
from polyframe.testing.faults import Fault, Faults

LATENCY = (0.001, 0.05)
"""Seconds that a message of the user stream travels without faults, from and to."""

OnStep = Callable[[str], None]
"""Told in a word or two what was just delivered."""


class BookSource(Protocol):
    """What a market stream shows first."""

    market: Market

    def snapshots(self) -> list[BookSnapshot]:
        """Return both books as they are."""
        ...


class SimUserStream:
    """The account's stream.

    Without faults messages arrive in order after `LATENCY`.

    Args:
        sink: Takes what arrives.
        faults: What goes wrong.
        rng: Chance of the latencies.
        counters: Where arrivals and drops are counted, as the real stream does.
        on_step: Told of each arrival.

    Attributes:
        connected: Whether anybody listens.
        sent: Messages that the venue sent, those that nobody listened to included.
        delivered: Messages that reached the sink.
    """

    def __init__(
        self,
        sink: UserSink,
        *,
        faults: Faults,
        rng: random.Random,
        counters: Counters,
        on_step: OnStep,
    ) -> None:
        self._sink: UserSink | None = sink
        self._faults = faults
        self._rng = rng
        self._counters = counters
        self._on_step = on_step
        self._on_way: dict[int, tuple[asyncio.TimerHandle, Callable[[], None]]] = {}
        self._numbers = count()
        self._due = 0.0
        self._dropping = 0
        self.connected = False
        self.closed = False
        self.sent = 0
        self.delivered = 0

    # ------------------------------------------------------------------ the seam

    def start(self) -> None:
        """Connect after a moment."""
        asyncio.get_running_loop().call_later(self._rng.uniform(*LATENCY), self._connect)

    def detach(self) -> None:
        """Deliver nothing from now on."""
        self._sink = None

    def resync(self, reason: str) -> None:
        """Break the connection and make a new one."""
        asyncio.get_running_loop().call_soon(self.disconnect, reason)

    async def close(self) -> None:
        """Detach and drop what is on the way."""
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """End at once."""
        self.detach()
        self.closed = True
        self.connected = False
        for handle, _ in self._on_way.values():
            handle.cancel()
        self._on_way.clear()

    # ------------------------------------------------------------------ the venue's side

    def send(self, message: UserMessage) -> None:
        """Send a message, with the faults that befall it."""
        self.sent += 1
        if not self.connected:
            return
        faults = self._faults
        if faults.hit(Fault.USER_DISCONNECT):
            self.disconnect("reset")
            return
        if self._dropping or faults.hit(Fault.USER_OVERFLOW):
            self._overflow(message)
            return
        if faults.hit(Fault.USER_REPLAY):
            self._replay(message)
        if faults.hit(Fault.USER_DROP):
            return
        if faults.hit(Fault.USER_DELAY):
            stall = faults.source(Fault.USER_DELAY).choice((0.5, 5.0, 60.0))
            self._due = max(self._due, asyncio.get_running_loop().time()) + stall
        if faults.hit(Fault.USER_GARBAGE):
            self._garbage(message)
        if faults.hit(Fault.USER_REORDER):
            self._overtaken(message, faults.source(Fault.USER_REORDER).choice((0.1, 1.0, 20.0)))
        else:
            self._in_order(lambda: self._deliver(message))
        if faults.hit(Fault.USER_DUPLICATE):
            self._overtaken(message, faults.source(Fault.USER_DUPLICATE).choice((0.0, 0.1, 10.0)))

    def disconnect(self, reason: str) -> None:
        """Break the connection: what is on the way is lost; a new one follows after a while."""
        if not self.connected:
            return
        self.connected = False
        for handle, _ in self._on_way.values():
            handle.cancel()
        self._on_way.clear()
        self._dropping = 0
        if self._sink is not None:
            self._sink.on_user_stream(StreamState.LOST, reason)
        pause = self._faults.source(Fault.USER_DISCONNECT).choice((0.2, 3.0, 30.0))
        asyncio.get_running_loop().call_later(pause, self._connect)

    def rush(self, limit: int) -> None:
        """Deliver up to `limit` messages that are on the way, now."""
        for number in list(self._on_way)[:limit]:
            self._on_way[number][0].cancel()
            self._arrive(number)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on the way."""
        return not self._on_way

    # ------------------------------------------------------------------ the way

    def _connect(self) -> None:
        if self.closed or self.connected:
            return
        self.connected = True
        if self._sink is not None:
            self._sink.on_user_stream(StreamState.CONNECTED, "")
            self._on_step("user connected")

    def _in_order(self, delivery: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._due = max(self._due, loop.time() + self._rng.uniform(*LATENCY))
        self._put(self._due, delivery)

    def _overtaken(self, message: UserMessage, delay: float) -> None:
        due = asyncio.get_running_loop().time() + self._rng.uniform(*LATENCY) + delay
        self._put(due, lambda: self._deliver(message))

    def _replay(self, message: UserMessage) -> None:
        delay = self._faults.source(Fault.USER_REPLAY).choice((1.0, 200.0, 700.0, 7000.0))
        self._overtaken(message, delay)

    def _put(self, due: float, delivery: Callable[[], None]) -> None:
        number = next(self._numbers)
        handle = asyncio.get_running_loop().call_at(due, self._arrive, number)
        self._on_way[number] = (handle, delivery)

    def _arrive(self, number: int) -> None:
        _, delivery = self._on_way.pop(number)
        delivery()

    def _deliver(self, message: UserMessage) -> None:
        if self._sink is None:
            return
        self.delivered += 1
        self._counters.add(Count.USER_MESSAGES, _kind(message))
        self._sink.on_user_message(message)
        self._on_step(f"user {_kind(message)}")

    def _overflow(self, message: UserMessage) -> None:
        if not self._dropping:
            self._dropping = self._faults.source(Fault.USER_OVERFLOW).randint(1, 6) + 1
            self._in_order(lambda: self._tell(StreamState.LOST))
        self._counters.add(Count.USER_DROPPED, _kind(message))
        self._dropping -= 1
        if self._dropping == 1:
            self._dropping = 0
            self._in_order(lambda: self._tell(StreamState.CONNECTED))

    def _tell(self, state: StreamState) -> None:
        if self._sink is not None:
            self._sink.on_user_stream(state, "overflow")
            if state is StreamState.CONNECTED:
                self._on_step("user connected")

    def _garbage(self, message: UserMessage) -> None:
        form = self._faults.source(Fault.USER_GARBAGE).randrange(3)
        if form == 0:
            message = msgspec.structs.replace(message, token="")
        elif form == 1:
            names = {"token": "nobody", "market": "nowhere"}
            message = msgspec.structs.replace(message, **names)
        else:
            message = msgspec.structs.replace(message, market="nowhere")
        self._in_order(lambda: self._deliver(message))


class SimMarketStream:
    """The stream of one market. Without faults messages arrive at once.

    Args:
        source: The market that is shown.
        sink: Takes what arrives.
        faults: What goes wrong.
        rng: Chance of the latencies.
        on_step: Told of each arrival.

    Attributes:
        connected: Whether anybody listens.
        closed: Whether it was closed.
        misdirected: Delivered messages that name another market.
    """

    def __init__(
        self,
        source: BookSource,
        sink: MarketSink,
        *,
        faults: Faults,
        rng: random.Random,
        on_step: OnStep,
    ) -> None:
        self._source = source
        self._sink: MarketSink | None = sink
        self._faults = faults
        self._rng = rng
        self._on_step = on_step
        self._silent_until = 0.0
        self.market = source.market
        self.connected = False
        self.closed = False
        self.misdirected = 0

    # ------------------------------------------------------------------ the seam

    def start(self) -> None:
        """Connect after a moment, then show both books."""
        asyncio.get_running_loop().call_later(self._rng.uniform(0.01, 0.3), self._connect)

    def detach(self) -> None:
        """Deliver nothing from now on."""
        self._sink = None

    def resync(self, reason: str) -> None:
        """Break the connection and make a new one."""
        asyncio.get_running_loop().call_soon(self.disconnect, reason)

    async def close(self) -> None:
        """Detach and end."""
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """End at once."""
        self.detach()
        self.closed = True

    # ------------------------------------------------------------------ the venue's side

    def send(self, message: MarketMessage) -> None:
        """Send a message, with the faults that befall it."""
        loop, faults = asyncio.get_running_loop(), self._faults
        if not self.connected or loop.time() < self._silent_until:
            return
        if faults.hit(Fault.MARKET_DISCONNECT):
            self.disconnect("reset")
        elif faults.hit(Fault.MARKET_FREEZE):
            silence = faults.source(Fault.MARKET_FREEZE).uniform(5.0, 60.0)
            self._silent_until = loop.time() + silence
            # A frozen connection is given up in the end.
            loop.call_later(silence, self.disconnect, "frozen")
        elif not faults.hit(Fault.MARKET_DROP):
            if faults.hit(Fault.MARKET_GARBAGE):
                self._deliver(self._garbage(message))
            if faults.hit(Fault.MARKET_DELAY):
                delay = faults.source(Fault.MARKET_DELAY).choice((0.1, 3.0, 400.0))
                loop.call_later(delay, self._deliver, message)
            else:
                self._deliver(message)
            if faults.hit(Fault.MARKET_DUPLICATE):
                self._deliver(message)

    def disconnect(self, reason: str) -> None:
        """Break the connection; a new one follows after a while."""
        if not self.connected or self.closed:
            return
        self.connected = False
        if self._sink is not None:
            self._sink.on_market_stream(StreamState.LOST, reason)
        asyncio.get_running_loop().call_later(self._rng.uniform(0.1, 3.0), self._connect)

    # ------------------------------------------------------------------ the way

    def _connect(self) -> None:
        if self.closed or self.connected:
            return
        self.connected = True
        self._silent_until = 0.0
        if self._sink is not None:
            self._sink.on_market_stream(StreamState.CONNECTED, "")
            for snapshot in self._source.snapshots():
                self._deliver(snapshot)

    def _deliver(self, message: MarketMessage) -> None:
        if self._sink is not None:
            self.misdirected += message.market != self.market.condition_id
            self._sink.on_market_message(message)
            self._on_step("market")

    def _garbage(self, message: MarketMessage) -> MarketMessage:
        form = self._faults.source(Fault.MARKET_GARBAGE).randrange(3)
        if form == 0:
            return msgspec.structs.replace(message, market="nowhere")
        token = "" if form == 1 else "nobody"
        if isinstance(message, BookDelta):
            changes = tuple(msgspec.structs.replace(c, token=token) for c in message.changes)
            return msgspec.structs.replace(message, changes=changes)
        if isinstance(message, MarketResolved):
            return msgspec.structs.replace(message, winning_token=token)
        return msgspec.structs.replace(message, token=token)


def _kind(message: UserMessage) -> str:
    return "order" if isinstance(message, OrderReport) else "trade"
