"""Plays recordings in simulated time: each market's rows at the instants at which they were heard.

Everything is played from one place, in order of time over all markets, while the event loop has
nothing else to do. After the rows of an instant everybody else has their turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Protocol

from polyframe.clock import VirtualClock
from polyframe.exchange.base import MarketSink
from polyframe.model.events import BookSnapshot, MarketMessage, StreamState
from polyframe.recording.tape import Gap, TapeEvent, Timed

log = logging.getLogger(__name__)


class Floor(Protocol):
    """What a market's orders stand in: it is told of each row before anybody else."""

    def on_message(self, message: MarketMessage, now_ms: int) -> None:
        """Take one row."""
        ...

    def on_gap(self, now_ms: int) -> None:
        """Nothing is known any more, from `now_ms` on."""
        ...

    def snapshots(self) -> list[BookSnapshot]:
        """Return both books as they are, nothing while one is not known."""
        ...


class Tape:
    """One market that is played.

    Args:
        events: Its rows.
        floor: What its orders stand in.

    Attributes:
        next_ms: When its next row is due, in epoch milliseconds; ``None`` at its end.
    """

    def __init__(self, events: Iterator[TapeEvent], floor: Floor) -> None:
        self._events = events
        self._floor = floor
        self._epoch: int | None = None
        self._sinks: list[MarketSink] = []
        self._next: TapeEvent | None = next(events, None)
        self.next_ms: int | None = None if self._next is None else self._next.received_ms

    def play(self, now_ms: int) -> None:
        """Play everything that is due at `now_ms`."""
        event, events = self._next, self._events
        sinks, floor = self._sinks, self._floor
        while event is not None and event.received_ms <= now_ms:
            if isinstance(event, Timed):
                if event.epoch != self._epoch:
                    self._begin(event)
                message = event.message
                floor.on_message(message, event.received_ms)
                for sink in sinks:
                    sink.on_market_message(message)
            else:
                self._interrupt(event)
            event = next(events, None)
        self._next = event
        self.next_ms = None if event is None else event.received_ms

    def _begin(self, event: Timed) -> None:
        # The first connection is nothing new to who listens: it is told when it connects.
        is_first, self._epoch = self._epoch is None, event.epoch
        if not is_first:
            self._floor.on_gap(event.received_ms)
            for sink in self._sinks:
                sink.on_market_stream(StreamState.CONNECTED, "")

    def _interrupt(self, gap: Gap) -> None:
        self._floor.on_gap(gap.received_ms)
        for sink in self._sinks:
            sink.on_market_stream(StreamState.LOST, gap.reason)

    def connect(self, sink: MarketSink) -> None:
        """Begin to tell `sink`: first the books as they stand, then every row."""
        sink.on_market_stream(StreamState.CONNECTED, "")
        for snapshot in self._floor.snapshots():
            sink.on_market_message(snapshot)
        # A list of its own, because one of those who are being told may ask for it.
        self._sinks = [*self._sinks, sink]

    def disconnect(self, sink: MarketSink) -> None:
        """Tell `sink` nothing more."""
        self._sinks = [other for other in self._sinks if other is not sink]

    def stop(self) -> None:
        """End here, whatever was to come."""
        self._sinks, self._next, self.next_ms = [], None, None
        self._events = iter(())


class Player:
    """Plays tapes together.

    Args:
        clock: Simulated time.
        on_error: Told if a recording cannot be read on; nothing is played from there on.
    """

    def __init__(self, clock: VirtualClock, on_error: Callable[[Exception], None]) -> None:
        self._clock = clock
        self._on_error = on_error
        # Simulated time of the loop and of the market differ by a constant, which is exact as
        # long as time began at a whole second.
        self._origin = clock.time() - asyncio.get_running_loop().time()
        self._due: list[tuple[int, int, Tape]] = []
        self._added = 0
        clock.when_idle(self._run)

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds."""
        # A little more than the error of a float of this size, and far less than a millisecond.
        return int(self._clock.time() * 1000 + 0.01)

    def loop_time(self, time_ms: int) -> float:
        """Return the event loop's time of an instant in epoch milliseconds."""
        return time_ms / 1000 - self._origin

    def add(self, tape: Tape) -> None:
        """Begin to play a tape; what is past already is played at once."""
        tape.play(self.now_ms())
        self._added += 1
        self._push(tape, self._added)

    def catch_up(self) -> None:
        """Play what is due at this very instant, for those who act within it."""
        now_ms = self.now_ms()
        while self._due and self._due[0][0] <= now_ms:
            _, number, tape = heappop(self._due)
            tape.play(now_ms)
            self._push(tape, number)

    def stop(self) -> None:
        """Play nothing more."""
        self._clock.when_idle(None)
        self._due.clear()

    def _push(self, tape: Tape, number: int) -> None:
        if tape.next_ms is not None:
            heappush(self._due, (tape.next_ms, number, tape))

    def _run(self) -> bool:
        """Play the next instant, unless a timer is due before; say whether there was one."""
        due = self._due
        if not due:
            return False
        now_ms = due[0][0]
        # At the same instant rows come first: an order meets the book with them in it.
        if not self._clock.pass_to(now_ms / 1000 - self._origin):
            return False
        try:
            while due and due[0][0] <= now_ms:
                _, number, tape = heappop(due)
                tape.play(now_ms)
                if tape.next_ms is not None:
                    heappush(due, (tape.next_ms, number, tape))
        except Exception as error:  # noqa: BLE001 - a reader may raise whatever it likes
            self.stop()
            self._on_error(error)
        return True
