"""Faults on request, for tests of clients: the HTTP ones, applied around the whole application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from attrs import frozen
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polyframe.errors import ConfigError
from polyframe.venue.settings import VenueStats


@frozen
class _Failure:
    path_suffix: str
    status: int
    body: Any
    headers: dict[str, str]
    accept: bool


@frozen
class _Delay:
    path_suffix: str
    seconds: float


class HttpFaults:
    """Counts requests, and lets single ones fail or wait.

    Args:
        app: The application behind it.
        stats: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, stats: VenueStats) -> None:
        self._app = app
        self._stats = stats
        self._failures: list[_Failure] = []
        self._delays: list[_Delay] = []

    def fail_next(
        self, path_suffix: str, status: int, body: Any, headers: dict[str, str], *, accept: bool
    ) -> None:
        """Answer the next request whose path ends so with `status`; see `LocalVenue.fail_next`."""
        if not 200 <= status <= 599:
            msg = f"status: expected an HTTP status from 200 to 599, got {status!r}"
            raise ConfigError(msg)
        self._failures.append(_Failure(path_suffix, status, body, headers, accept))

    def delay_next(self, path_suffix: str, seconds: float) -> None:
        """Let the next request whose path ends so wait; see `LocalVenue.delay_next`."""
        if seconds < 0:
            msg = f"seconds: expected a number of at least 0, got {seconds!r}"
            raise ConfigError(msg)
        self._delays.append(_Delay(path_suffix, seconds))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._stats.requests += 1
        path: str = scope["path"]
        delay = next((d for d in self._delays if path.endswith(d.path_suffix)), None)
        if delay is not None:
            self._delays.remove(delay)
            await asyncio.sleep(delay.seconds)
        failure = next((f for f in self._failures if path.endswith(f.path_suffix)), None)
        if failure is None:
            await self._app(scope, receive, send)
            return
        self._failures.remove(failure)
        if failure.accept:
            await self._app(scope, receive, _discard)
        await _answer(failure, send)


async def _discard(_: Message) -> None:
    """Lose the real answer."""


async def _answer(failure: _Failure, send: Send) -> None:
    is_text = isinstance(failure.body, str)
    content = failure.body if is_text else json.dumps(failure.body)
    kind = "text/plain; charset=utf-8" if is_text else "application/json"
    headers = {
        "content-type": kind,
        "content-length": str(len(content.encode())),
        **failure.headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": failure.status,
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": content.encode()})
