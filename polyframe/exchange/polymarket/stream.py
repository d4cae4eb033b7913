"""A WebSocket connection that keeps itself up: what all streams of the venue share."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import urlsplit

from typing_extensions import override
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from polyframe.counters import Count, Counters
from polyframe.exchange.polymarket.config import StreamSettings
from polyframe.model.events import StreamState

_log = logging.getLogger(__name__)

# At DEBUG the library logs every frame, and the first one of the user stream holds the secrets.
_wire_log = logging.getLogger("polyframe.websockets")
_wire_log.setLevel(logging.INFO)

CLOSE_SECONDS = 2.0
"""`close` takes no longer."""

_HANDSHAKE_SECONDS = 0.5
_MAX_FRAME = 16 * 1024 * 1024


class ConnectionGivenUp(Exception):
    """The connection is open but of no use.

    Attributes:
        reason: Short stable word.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@functools.cache
def _tls() -> ssl.SSLContext:
    # Reading the system's certificates takes milliseconds: once, not with every connection.
    return ssl.create_default_context()


class _Connect(connect):
    """A connection to the host that was named, or none: the secrets go nowhere else."""

    @override
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow no redirect."""
        return exc


def backoff(settings: StreamSettings, random_source: random.Random) -> Iterator[float]:
    """Yield the seconds before each further attempt: 0, then doubling up to the cap, without end.

    Each pause is drawn between half of its longest value and the whole, so that many clients of a
    venue that comes back do not all arrive at once.
    """
    yield 0.0
    longest = settings.backoff_base
    while True:
        longest = min(longest, settings.backoff_cap)
        yield longest * random_source.uniform(0.5, 1.0)
        longest *= 2


class ReconnectingStream(ABC):
    """One connection that is replaced whenever it ends, until the stream is closed.

    Two tasks at most, both owned and named: one connects and reads, one pings and watches. Times are
    the event loop's.

    Args:
        name: ``"market"``, ``"user"``, …: for tasks, counters and the log.
        url: WebSocket URL.
        settings: Times.
        counters: Connections and losses are counted there.
    """

    _PING = "PING"
    """The venue's own ping: a text frame (PROTOCOL §4.2)."""
    _FINAL: ClassVar[frozenset[str]] = frozenset()
    """Reasons after which it makes no sense to connect again."""

    def __init__(self, name: str, url: str, settings: StreamSettings, counters: Counters) -> None:
        self._name = name
        self._url = url
        self._settings = settings
        self._counters = counters
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._reported: StreamState | None = None
        self._wake = asyncio.Event()
        self._restart_reason = ""
        self._healthy = False

    # -- the life of the stream ---------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, in a task of its own.

        Raises:
            RuntimeError: Started before, or closed.
        """
        if self._closed or self._task is not None:
            msg = f"{self._name} stream: start() works once, before close()"
            raise RuntimeError(msg)
        self._task = asyncio.create_task(self._run(), name=f"polyframe-{self._name}-stream")

    def resync(self, reason: str) -> None:
        """Give up the present connection and make a new one (there is no replay to ask for)."""
        self._restart(reason)

    @abstractmethod
    def detach(self) -> None:
        """Stop all deliveries at once: no call reaches the sink after this returns."""

    async def close(self) -> None:
        """Detach, then close the socket and end the tasks, in at most two seconds."""
        self.detach()
        self._closed = True
        await self._end(self._task)

    async def _end(self, task: asyncio.Task[None] | None) -> None:
        if task is None:
            return
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=CLOSE_SECONDS)
        if pending:
            _log.error("%s: did not end within %s s", task.get_name(), CLOSE_SECONDS)

    # -- for subclasses -----------------------------------------------------------------------

    @abstractmethod
    def _subscription(self) -> str:
        """Return the first frame of a connection."""

    @abstractmethod
    def _on_frame(self, frame: bytes) -> None:
        """Take one frame that is not a ``PONG``. Never raises."""

    @abstractmethod
    def _on_pong(self, now: float) -> None:
        """Take a ``PONG`` that came at loop time `now`."""

    @abstractmethod
    def _on_state(self, state: StreamState, reason: str) -> None:
        """Tell the sink of a change of the connection. Never raises."""

    @abstractmethod
    def _deadline(self) -> tuple[float, str]:
        """Return the loop time at which the connection is given up, and why."""

    @abstractmethod
    def _on_connected(self, now: float) -> None:
        """Prepare for a fresh connection at loop time `now`, before anything is sent."""

    def _frames(self, now: float) -> list[str]:
        """Return what is to be sent at loop time `now`, after a `_nudge`."""
        del now
        return []

    def _closed_reason(self, closed: ConnectionClosed) -> str:
        """Return the short word for why the venue closed a connection."""
        del closed
        return "closed"

    def _least_pause(self, reason: str) -> float:
        """Return the seconds to wait at least after a connection that ended for `reason`."""
        del reason
        return 0.0

    def _nudge(self) -> None:
        """Make the watching task look at once; a no-op while there is no connection."""
        self._wake.set()

    def _restart(self, reason: str) -> None:
        """Give up the present connection; a no-op while there is none."""
        self._restart_reason = reason
        self._nudge()

    # -- the task -----------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pauses = self._new_pauses()
        while True:
            self._healthy = False
            begun = loop.time()
            reason, detail = await self._connection()
            self._counters.add(Count.STREAM_LOSSES, f"{self._name}:{reason}")
            if reason in self._FINAL:
                _log.error("%s stream: ended for good: %s (%s)", self._name, reason, detail)
                self._report(StreamState.LOST, reason)
                return
            # A venue that greets and hangs up at once must not be called in a tight loop.
            if self._healthy and loop.time() - begun >= self._settings.backoff_base:
                pauses = self._new_pauses()
            pause = max(next(pauses), self._least_pause(reason))
            _log.warning(
                "%s stream: %s (%s); next attempt in %.1f s", self._name, reason, detail, pause
            )
            self._report(StreamState.LOST, reason)
            await asyncio.sleep(pause)

    def _new_pauses(self) -> Iterator[float]:
        return backoff(self._settings, random.Random())  # noqa: S311

    def _report(self, state: StreamState, reason: str) -> None:
        # An outage is one loss, however many attempts it takes to end it.
        if state is not self._reported or state is StreamState.CONNECTED:
            self._reported = state
            self._on_state(state, reason)

    async def _connection(self) -> tuple[str, str]:
        """Connect, serve one connection to its end, and return why it ended and the details."""
        try:
            connection = await self._open()
        except Exception as exc:  # noqa: BLE001 - however it fails, the answer is to try again
            return "connect", f"{type(exc).__name__}: {exc}"
        try:
            return await self._serve(connection)
        except ConnectionGivenUp as exc:
            connection.transport.abort()  # nobody answers there: no farewell
            return exc.reason, "given up"
        except ConnectionClosed as exc:
            return self._closed_reason(exc), str(exc)
        except Exception as exc:  # noqa: BLE001 - a defect of ours must not end the stream for ever
            _log.exception("%s stream: unexpected error", self._name)
            return "error", type(exc).__name__
        finally:
            await connection.close()

    async def _open(self) -> ClientConnection:
        secure = urlsplit(self._url).scheme == "wss"
        return await _Connect(
            self._url,
            ssl=_tls() if secure else None,
            # Only the proxy that is configured, none of the environment.
            proxy=self._settings.proxy,
            open_timeout=self._settings.open_timeout,
            # The venue has a heartbeat of its own (PROTOCOL §4.2).
            ping_interval=None,
            close_timeout=_HANDSHAKE_SECONDS,
            compression=None,
            max_size=_MAX_FRAME,
            max_queue=256,
            logger=_wire_log,
        )

    async def _serve(self, connection: ClientConnection) -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        self._restart_reason = ""
        self._on_connected(loop.time())
        await connection.send(self._subscription())
        self._counters.add(Count.STREAM_CONNECTS, self._name)
        _log.info("%s stream: connected to %s", self._name, self._url)
        self._report(StreamState.CONNECTED, "")
        watcher = asyncio.create_task(
            self._watch(connection), name=f"polyframe-{self._name}-stream-watch"
        )
        try:
            while True:
                frame = await connection.recv(decode=False)
                if frame == b"PONG":
                    self._on_pong(loop.time())
                else:
                    self._on_frame(frame)
        except ConnectionClosed:
            # The watcher ends a connection by breaking it; then its verdict is the reason.
            if watcher.done():
                watcher.result()
            raise
        finally:
            watcher.cancel()
            await asyncio.wait({watcher})
            if not watcher.cancelled():
                watcher.exception()  # seen; whether it matters was decided above

    async def _watch(self, connection: ClientConnection) -> None:
        """Ping, and break the connection when it is of no use any more."""
        loop = asyncio.get_running_loop()
        next_ping = loop.time() + self._settings.ping_interval
        try:
            while True:
                now = loop.time()
                deadline, reason = self._deadline()
                if self._restart_reason or now >= deadline:
                    raise ConnectionGivenUp(self._restart_reason or reason)
                if now >= next_ping:
                    next_ping = now + self._settings.ping_interval
                    await connection.send(self._PING)
                try:
                    async with asyncio.timeout_at(min(next_ping, deadline)):
                        await self._wake.wait()
                except TimeoutError:
                    continue
                self._wake.clear()
                for frame in self._frames(loop.time()):
                    await connection.send(frame)
        except Exception:
            connection.transport.abort()  # wakes the reader, which asks why
            raise


class QuietStream(ReconnectingStream):
    """A stream on which data may stay out for long: only unanswered pings say that it is dead.

    A connection without a ``PONG`` for `StreamSettings.pong_timeout` seconds is given up.
    """

    _last_pong = 0.0

    @override
    def _on_connected(self, now: float) -> None:
        self._last_pong = now

    @override
    def _on_pong(self, now: float) -> None:
        self._last_pong = now
        self._healthy = True

    @override
    def _deadline(self) -> tuple[float, str]:
        return self._last_pong + self._settings.pong_timeout, "no_pong"
