"""Faults of HTTP requests, applied around the whole application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import InjectedFault, VenueFaults
from polyframe.venue.settings import VenueStats

ADMIN_PREFIX = "/admin/"
"""Requests below it are never befallen: they are how faults end."""


class HttpFaults:
    """Counts requests, and lets them fail, wait or get lost.

    Args:
        app: The application behind it.
        faults: What is to go wrong.
        stats: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, faults: VenueFaults, stats: VenueStats) -> None:
        self._app = app
        self._faults = faults
        self._stats = stats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] == "websocket":
            if self._strike(scope, VenueFault.CONNECT_REFUSED):
                await send({"type": "websocket.close", "code": 1013})
                return
        elif scope["type"] == "http":
            self._stats.requests += 1
            if not self._faults.is_quiet and not scope["path"].startswith(ADMIN_PREFIX):
                await self._request(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _strike(self, scope: Scope, *kinds: VenueFault) -> InjectedFault | None:
        return self._faults.strike(*kinds, path=scope["path"], method=scope.get("method", ""))

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if late := self._strike(scope, VenueFault.REQUEST_LATE):
            await asyncio.sleep(late.late())
        failure = self._strike(
            scope,
            VenueFault.HTTP_ERROR,
            VenueFault.REPLY_ERROR,
            VenueFault.REQUEST_LOST,
            VenueFault.REPLY_LOST,
        )
        if failure is None:
            await self._answered(scope, receive, send)
            return
        if failure.kind in {VenueFault.REPLY_ERROR, VenueFault.REPLY_LOST}:
            await self._app(scope, receive, _discard)
        if failure.kind in {VenueFault.REQUEST_LOST, VenueFault.REPLY_LOST}:
            scope["state"]["transport"].abort()
            # To end before the server knows that nobody waits would be an error to it.
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await _answer(failure, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry it out, and hold the answer back or change it."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        is_order = scope["method"] == "POST" and scope["path"].endswith(("/order", "/orders"))
        if is_order and messages and messages[0].get("status") == 200:
            messages = self._delayed(messages)
        if late := self._strike(scope, VenueFault.REPLY_LATE):
            await asyncio.sleep(late.late())
        for message in messages:
            await send(message)

    def _delayed(self, messages: list[Message]) -> list[Message]:
        """Return the answer to one or several orders with those that were taken as ``delayed``."""
        if self._faults.find(VenueFault.ORDER_DELAYED) is None:
            return messages
        content = json.loads(b"".join(message.get("body", b"") for message in messages))
        entries = content if isinstance(content, list) else [content]
        struck = False
        for entry in entries:
            taken = bool(entry.get("orderID"))
            if taken and self._faults.strike(VenueFault.ORDER_DELAYED):
                struck = True
                entry.update(status="delayed", makingAmount="", takingAmount="", tradeIDs=[])
        if not struck:
            return messages
        body = json.dumps(content).encode()
        headers = [
            (name, str(len(body)).encode() if name == b"content-length" else value)
            for name, value in messages[0]["headers"]
        ]
        return [{**messages[0], "headers": headers}, {"type": "http.response.body", "body": body}]


async def _discard(_: Message) -> None:
    """Lose the real answer."""


async def _answer(failure: InjectedFault, send: Send) -> None:
    body: Any = failure.body
    is_text = isinstance(body, str)
    content = (body if is_text else json.dumps(body)).encode()
    kind = "text/plain; charset=utf-8" if is_text else "application/json"
    headers = {"content-type": kind, "content-length": str(len(content)), **failure.headers}
    await send(
        {
            "type": "http.response.start",
            "status": failure.status,
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": content})
