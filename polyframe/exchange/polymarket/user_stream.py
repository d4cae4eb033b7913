"""The stream of one account: its orders and trades in all markets (PROTOCOL §5)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from typing_extensions import override

from polyframe.counters import Count, Counters
from polyframe.exchange.base import UserSink
from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.config import StreamSettings
from polyframe.exchange.polymarket.stream import QuietStream
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.events import OrderReport, StreamState

_log = logging.getLogger(__name__)


class UserStream(QuietStream):
    """Delivers the account's messages to its sink, in order, from one worker behind a bounded queue.

    The reader only decodes and appends, so however long the sink takes, the connection stays alive.
    When the queue is full, messages are dropped and counted; in their place the sink is told
    ``LOST, "overflow"``, once until the queue is empty again, and then ``CONNECTED, "overflow"``:
    between the two messages are missing, as in a reconnect.

    Args:
        url: WebSocket URL of the user channel.
        credentials: Sent in the first frame.
        sink: Takes the messages.
        decoder: Reads the frames.
        settings: Times, and the length of the queue.
        counters: Where connections, messages and drops are counted.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        sink: UserSink,
        decoder: UserDecoder,
        settings: StreamSettings,
        counters: Counters,
    ) -> None:
        super().__init__("user", url, settings, counters)
        self._credentials = credentials
        self._sink: UserSink | None = sink
        self._decoder = decoder
        self._queue: deque[Callable[[], None]] = deque()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._overflowed = False

    @override
    def start(self) -> None:
        super().start()
        self._worker = asyncio.create_task(self._deliver(), name="polyframe-user-stream-worker")

    @override
    def detach(self) -> None:
        self._sink = None
        self._queue.clear()

    @override
    async def close(self) -> None:
        """Detach, then close the socket and end the tasks, in at most two seconds."""
        try:
            await super().close()
        finally:
            await self._end(self._worker)

    @override
    def _subscription(self) -> str:
        # Without "markets": all of the account.
        auth = {
            "apiKey": self._credentials.api_key,
            "secret": self._credentials.secret,
            "passphrase": self._credentials.passphrase,
        }
        return json.dumps({"type": "user", "auth": auth})

    @override
    def _on_frame(self, frame: bytes) -> None:
        sink = self._sink
        if sink is None:
            return
        for message in self._decoder.decode(frame):
            self._healthy = True
            kind = "order" if isinstance(message, OrderReport) else "trade"
            self._counters.add(Count.USER_MESSAGES, kind)
            if len(self._queue) < self._settings.user_queue:
                self._append(partial(sink.on_user_message, message))
                continue
            self._counters.add(Count.USER_DROPPED, kind)
            if not self._overflowed:
                self._overflowed = True
                _log.error("user stream: the queue is full, messages are dropped")
                self._on_state(StreamState.LOST, "overflow")

    @override
    def _on_state(self, state: StreamState, reason: str) -> None:
        # Through the queue as well, so that the sink sees it where it belongs.
        if self._sink is not None:
            self._append(partial(self._sink.on_user_stream, state, reason))

    def _append(self, delivery: Callable[[], None]) -> None:
        self._queue.append(delivery)
        self._arrived.set()

    async def _deliver(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                delivery = self._queue.popleft()
                try:
                    delivery()
                except Exception:  # noqa: BLE001 - a defect of the sink must not end the account's events
                    _log.exception("user stream: the sink raised")
                    self._counters.add(Count.USER_DROPPED, "sink_error")
            if self._overflowed:
                # The queue empties whenever the reader waits, so before it can report a loss.
                self._overflowed = False
                self._on_state(StreamState.CONNECTED, "overflow")
