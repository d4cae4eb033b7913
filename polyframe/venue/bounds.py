"""What one client can ask of the server at once: bodies that are small, whole and in time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polyframe.venue.settings import VenueSettings


class Bounds:
    """Reads the body of each request before the application sees it.

    Args:
        app: The application behind it.
        settings: The largest body, and how long it may take.
    """

    def __init__(self, app: ASGIApp, settings: VenueSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                body = await self._read(scope, receive)
        except TimeoutError:
            await _refuse(send, 408, "Request Timeout")
            return
        except _TooLargeError:
            await _refuse(send, 413, "Payload Too Large")
            return
        if body is None:
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, ``None`` if the client left."""
        limit = self._settings.max_body
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        lengths = [value for name, value in headers if name == b"content-length"]
        if any(length.isdigit() and int(length) > limit for length in lengths):
            raise _TooLargeError
        body = bytearray()
        while True:
            message: dict[str, Any] = dict(await receive())
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > limit:
                raise _TooLargeError
            if not message.get("more_body", False):
                return bytes(body)


class _TooLargeError(Exception):
    """The body is larger than allowed."""


async def _refuse(send: Send, status: int, text: str) -> None:
    content = json.dumps({"error": text}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        # What is still to come of the body is not read.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
