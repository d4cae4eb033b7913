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

_PATIENCE = 0.8
"""The part of the time between the next one and `LIMIT` that an answer may take: if one is lost, the
one after it still comes in time."""

Beat = Callable[[str], Awaitable[httpx.Response]]
"""Sends one sign of life with the id that the last one got, and returns the answer."""


class Heartbeat:
    """Sends a sign of life every few seconds, in a task of its own, from `start` to `close`.

    From the first one on the venue expects the next: when the program dies, or cannot reach the
    venue any more, or the heartbeat is closed, all orders of the API key are cancelled within
    seconds. Also those of other programs that use the same key. One that fails is sent again in time;
    whatever goes wrong, it goes on.

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

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            got_through = await self._try()
            self._judge(loop.time())
            # After a failure there is time for one more before the venue cancels.
            pause = self._interval if got_through else self._interval / 2
            await asyncio.sleep(max(0.0, begun + pause - loop.time()))

    async def _try(self) -> bool:
        """Send one, and the corrected one if it is needed; return whether it got through."""
        timeout = min(self._interval, (LIMIT - self._interval) * _PATIENCE)
        try:
            async with asyncio.timeout(timeout):
                return await self._beat() or await self._beat()
        except ExchangeError as error:
            _log.warning("heartbeat: %s", error)
        except TimeoutError:
            _log.warning("heartbeat: no answer within %s s", timeout)
        except Exception:  # noqa: BLE001 - a defect must not end what keeps the orders alive
            _log.exception("heartbeat: unexpected error")
        self._counters.add(Count.HEARTBEATS, "failed")
        return False

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
