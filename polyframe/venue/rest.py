"""What the REST handlers share: routes, bodies and errors as the CLOB words them (PROTOCOL §2.7)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.venue.accounts import Accounts, Login
from polyframe.venue.intents import INVALID_PAYLOAD, Refusal
from polyframe.venue.messages import decode

PREFIX = "/clob"
END_CURSOR = "LTE="
_PAGE = 100
INTERVALS = {"1h": 3_600, "6h": 21_600, "1d": 86_400, "1w": 604_800, "1m": 2_592_000}
"""Names of stretches of time up to the present, in seconds; other names mean all."""

T = TypeVar("T")

Handler = Callable[[Request], Awaitable[Response]]
SignedHandler = Callable[[Request, Login], Awaitable[Response]]


def error(status: int, text: str) -> Response:
    """Return an error."""
    return JSONResponse({"error": text}, status)


def refused(refusal: Refusal) -> Response:
    """Return a refusal as the venue words it."""
    content: dict[str, Any] = {"error": refusal.text}
    headers = {}
    if refusal.code:
        content["code"] = refusal.code
    if refusal.retry_after:
        content["retry_after_seconds"] = refusal.retry_after
        headers["Retry-After"] = str(refusal.retry_after)
    return JSONResponse(content, refusal.status, headers)


async def unknown_path(_: Request, problem: Exception) -> Response:
    """Answer a request that no route takes."""
    status = problem.status_code if isinstance(problem, HTTPException) else 404
    text = problem.detail if isinstance(problem, HTTPException) else "Not Found"
    return error(status, text)


async def internal_error(_: Request, _problem: Exception) -> Response:
    """Answer a request that failed here; what went wrong is for the log, not for the client."""
    return error(500, "Internal server error")


def route(method: str, path: str, handler: Handler) -> Route:
    """Return the route of `path` below the CLOB's prefix."""
    return Route(PREFIX + path, handler, methods=[method])


def answering(handler: Handler) -> Handler:
    """Return `handler` with its refusals as answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            return refused(refusal)

    return answer


def signed(accounts: Accounts, handler: SignedHandler) -> Handler:
    """Return `handler` for requests with L2 headers; all others are 401 (§3.2)."""

    async def check(request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        path = request.url.path.removeprefix(PREFIX)
        login = accounts.authenticate(request.headers, request.method, path, body)
        if login is None:
            return error(401, "Unauthorized/Invalid api key")
        return await handler(request, login)

    return answering(check)


async def read_json(request: Request) -> Any:
    """Return the value in the body.

    Raises:
        Refusal: It is not JSON.
    """
    try:
        return decode(await request.body())
    except ValueError:
        raise Refusal(400, INVALID_PAYLOAD) from None


def page(request: Request, rows: Sequence[dict[str, Any]]) -> Response:
    """Return one page of the CLOB (§2.5)."""
    part, envelope = cut(request, rows)
    return JSONResponse({**envelope, "data": part})


def cut(request: Request, items: Sequence[T]) -> tuple[Sequence[T], dict[str, Any]]:
    """Return what is on the page that is asked for, and the rest of the answer.

    The cursor after the last page stands for −1.
    """
    offset = read_offset(request.query_params.get("next_cursor", ""))
    part = items[offset : offset + _PAGE]
    end = offset + len(part)
    following = write_offset(end) if end < len(items) else END_CURSOR
    return part, {"limit": _PAGE, "count": len(part), "next_cursor": following}


def write_offset(offset: int) -> str:
    """Return the cursor that stands for an offset: its digits in base64."""
    return base64.b64encode(str(offset).encode()).decode()


def read_offset(cursor: str) -> int:
    """Return the offset that a cursor stands for, 0 for none.

    Raises:
        Refusal: It is no cursor, or the one after the last page.
    """
    if not cursor:
        return 0
    try:
        offset = int(base64.b64decode(cursor, validate=True))
    except (binascii.Error, ValueError):
        offset = -1
    if offset < 0:
        raise Refusal(400, "invalid next_cursor")
    return offset
