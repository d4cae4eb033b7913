"""What the REST handlers share: routes, bodies and errors as the CLOB words them (PROTOCOL §2.7)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.venue.intents import Refusal

PREFIX = "/clob"
INVALID_PAYLOAD = "Invalid order payload"

Handler = Callable[[Request], Awaitable[Response]]


def error(status: int, text: str) -> Response:
    """Return an error."""
    return JSONResponse({"error": text}, status)


def route(method: str, path: str, handler: Handler) -> Route:
    """Return the route of `path` below the CLOB's prefix."""
    return Route(PREFIX + path, handler, methods=[method])


def answering(handler: Handler) -> Handler:
    """Return `handler` with its refusals as answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            return error(refusal.status, refusal.text)

    return answer


async def read_json(request: Request) -> Any:
    """Return the value in the body.

    Raises:
        Refusal: It is not JSON.
    """
    try:
        return json.loads(await request.body())
    except ValueError:
        raise Refusal(400, INVALID_PAYLOAD) from None
