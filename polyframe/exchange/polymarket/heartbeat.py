"""The dead man's switch: without a sign of life the venue cancels all orders (PROTOCOL §2.6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import httpx

from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError
from polyframe.exchange.polymarket.wire import parse_json, text

_log = logging.getLogger(__name__)

LIMIT = 10.0
"""Seconds without a sign of life after which the venue cancels."""

Beat = Callable[[str], Awaitable[httpx.Response]]
"""Sends one sign of life with the id that the last one got, and returns the answer."""


class Heartbeat:
    """Sends a sign of life every few seconds, in a task of its own, from `start` to `close`.

    From the first one on the venue expects the next: when the program dies, or cannot reach the
    venue any more, or the heartbeat is closed, all orders of the API key are cancelled within
    seconds. Also those of other programs that use the same key.

    Args:
        send: Sends one.
        interval: Network seconds between two.
        counters: Where they are counted.
    """

    def __init__(self, send: Beat, interval: float, counters: Counters) -> None:
        self._send = send
        self._interval = interval
        self._counters = counters
        self._id = ""
        self._last = 0.0
        self._is_late = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin. It works once."""
        self._last = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._run(), name="polyframe-heartbeat")

    async def close(self) -> None:
        """Stop. The venue cancels what is still open."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("heartbeat: it had failed", exc_info=error)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                async with asyncio.timeout(self._interval):
                    if not await self._beat():
                        await self._beat()
            except ExchangeError as error:
                self._counters.add(Count.HEARTBEATS, "failed")
                _log.warning("heartbeat: %s", error)
            except TimeoutError:
                self._counters.add(Count.HEARTBEATS, "failed")
                _log.warning("heartbeat: no answer within %s s", self._interval)
            self._judge(loop.time())
            await asyncio.sleep(max(0.0, begun + self._interval - loop.time()))

    async def _beat(self) -> bool:
        """Send one; return False if the venue expected another id, which is known now."""
        was = self._id
        answer = await self._send(was)
        try:
            value = parse_json(answer.content)
        except ValueError:
            value = None
        told = text(value.get("heartbeat_id")) if isinstance(value, dict) else ""
        if answer.is_success:
            self._id = told
            self._last = asyncio.get_running_loop().time()
            self._counters.add(Count.HEARTBEATS, "sent")
            return True
        if answer.status_code == 400 and told and told != was:
            self._id = told
            self._counters.add(Count.HEARTBEATS, "corrected")
            return False
        msg = f"POST /v1/heartbeats: HTTP {answer.status_code}"
        raise ExchangeError(msg)

    def _judge(self, now: float) -> None:
        is_late = now - self._last > LIMIT
        if is_late and not self._is_late:
            self._counters.add(Count.HEARTBEATS, "too_late")
            _log.error(
                "heartbeat: none got through for %.0f s; the venue cancels all orders of this key",
                now - self._last,
            )
        self._is_late = is_late
