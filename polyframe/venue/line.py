"""The last stretch of a WebSocket's messages: where they get lost, late, doubled or mixed up."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import Protocol
from weakref import WeakKeyDictionary

from attrs import frozen

from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import VenueFaults


class Receiver(Protocol):
    """A connection as far as the line knows it."""

    @property
    def is_gone(self) -> bool:
        """Whether nothing reaches the peer any more."""
        ...

    def send(self, text: str) -> None:
        """Send one frame."""
        ...

    def abort(self) -> None:
        """Break the connection."""
        ...


@frozen
class _Kinds:
    """The faults of one channel by what they do; ``None`` where it has none such."""

    drop: tuple[VenueFault, ...]
    duplicate: VenueFault
    delay: VenueFault
    reorder: VenueFault
    garbage: VenueFault
    disconnect: VenueFault
    replay: VenueFault | None = None
    stale: VenueFault | None = None


_CHANNELS: Mapping[str, _Kinds] = {
    "market": _Kinds(
        drop=(VenueFault.MARKET_FREEZE, VenueFault.MARKET_DROP),
        duplicate=VenueFault.MARKET_DUPLICATE,
        delay=VenueFault.MARKET_DELAY,
        reorder=VenueFault.MARKET_REORDER,
        garbage=VenueFault.MARKET_GARBAGE,
        disconnect=VenueFault.MARKET_DISCONNECT,
        stale=VenueFault.MARKET_STALE,
    ),
    "user": _Kinds(
        drop=(VenueFault.USER_DROP,),
        duplicate=VenueFault.USER_DUPLICATE,
        delay=VenueFault.USER_DELAY,
        reorder=VenueFault.USER_REORDER,
        garbage=VenueFault.USER_GARBAGE,
        disconnect=VenueFault.USER_DISCONNECT,
        replay=VenueFault.USER_REPLAY,
    ),
}

_NOWHERE = "0x" + "ee" * 32
_BROKEN = '{"event_type":'
_UNKNOWN = '{"event_type":"weather","asset_id":"1"}'
GARBAGE: Mapping[str, tuple[str, ...]] = {
    "market": (
        _BROKEN,
        _UNKNOWN,
        "[7]",
        json.dumps(
            {
                "event_type": "price_change",
                "market": _NOWHERE,
                "price_changes": [
                    {"asset_id": "1", "price": "0.5", "size": "9", "side": "BUY"},
                ],
                "timestamp": "1",
            }
        ),
        json.dumps({"event_type": "book", "market": _NOWHERE, "bids": [], "asks": []}),
    ),
    "user": (
        _BROKEN,
        _UNKNOWN,
        json.dumps({"event_type": "order", "type": "PLACEMENT", "asset_id": "1"}),
        json.dumps(
            {
                "event_type": "order",
                "type": "PLACEMENT",
                "id": _NOWHERE,
                "market": _NOWHERE,
                "asset_id": "1",
                "side": "BUY",
                "original_size": "5",
                "size_matched": "0",
                "price": "0.5",
                "status": "LIVE",
            }
        ),
    ),
}
"""What nobody should understand, or take for their own."""


class Line:
    """Delivers frames, as faithfully as the faults in force allow.

    Args:
        faults: What is to go wrong.
    """

    def __init__(self, faults: VenueFaults) -> None:
        self._faults = faults
        self._late: WeakKeyDictionary[Receiver, deque[tuple[float, str]]] = WeakKeyDictionary()
        self._books: WeakKeyDictionary[Receiver, dict[str, tuple[int, str]]] = WeakKeyDictionary()

    def deliver(self, channel: str, receiver: Receiver, text: str) -> None:
        """Send one frame of a channel to one connection, or do to it what is to be done."""
        if self._faults.is_quiet and not self._late:
            receiver.send(text)
            return
        if receiver.is_gone:
            return
        kinds, strike = _CHANNELS[channel], self._faults.strike
        if strike(kinds.disconnect):
            receiver.abort()
            return
        if strike(kinds.garbage):
            for junk in GARBAGE[channel]:
                self._send(receiver, junk)
        if strike(*kinds.drop):
            return
        loop = asyncio.get_running_loop()
        if reorder := strike(kinds.reorder):
            loop.call_later(reorder.late(), receiver.send, text)
            return
        delay = strike(kinds.delay)
        late = delay.late() if delay else 0.0
        for _ in range(2 if strike(kinds.duplicate) else 1):
            self._send(receiver, text, late)
        if kinds.replay is not None and (replay := strike(kinds.replay)):
            loop.call_later(replay.late(), receiver.send, text)
        if kinds.stale is not None and self._faults.find(kinds.stale) is not None:
            self._old_book(receiver, text, kinds.stale)

    def _send(self, receiver: Receiver, text: str, late: float = 0.0) -> None:
        """Send at once, or late, or behind what is late on this connection."""
        loop, waiting = asyncio.get_running_loop(), self._late.get(receiver)
        if waiting is not None:
            waiting.append((loop.time() + late, text))
        elif late:
            due = loop.time() + late
            self._late[receiver] = deque([(due, text)])
            loop.call_at(due, self._flush, receiver)
        else:
            receiver.send(text)

    def _flush(self, receiver: Receiver) -> None:
        loop, waiting = asyncio.get_running_loop(), self._late[receiver]
        while waiting and waiting[0][0] <= loop.time():
            receiver.send(waiting.popleft()[1])
        if waiting:
            loop.call_at(waiting[0][0], self._flush, receiver)
        else:
            del self._late[receiver]

    def _old_book(self, receiver: Receiver, text: str, kind: VenueFault) -> None:
        """After a book, send the first one of its token that went out since the fault is in force."""
        message = json.loads(text)
        if not isinstance(message, dict) or message.get("event_type") != "book":
            return
        firsts = self._books.setdefault(receiver, {})
        time_ms = int(message["timestamp"])
        first_ms, first = firsts.setdefault(message["asset_id"], (time_ms, text))
        if first_ms < time_ms and self._faults.strike(kind):
            self._send(receiver, first)
