"""Faults and other interventions over HTTP, below ``{url}/admin`` (``docs/venue-faults.md``).

Whoever may use it can do to the venue what its tests do. So it answers programs on this machine
only, never a page in a browser, and only those that send the venue's token, unless the setting
`VenueSettings.admin` lets everybody on this machine in. To all others it does not exist.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.errors import ConfigError
from polyframe.venue.faultkinds import OPTIONS
from polyframe.venue.faults import VenueFaults
from polyframe.venue.settings import VenueSettings

TOKEN_HEADER = "X-Venue-Token"  # noqa: S105, the name of a header

_PREFIX = "/admin"
_BOUNDS = ("count", "seconds", "chance", "seed")
Kind = Literal["market", "user", "all"]


class Venue(Protocol):
    """The venue as this module needs it."""

    faults: VenueFaults
    admin_token: str

    def drop_connections(self, kind: Kind) -> int:
        """Cut WebSockets off."""
        ...

    def send_raw(self, kind: Kind, text: str) -> int:
        """Send one frame."""
        ...

    def withdraw_order(self, order_id: str) -> bool:
        """End an open order."""
        ...

    def fill_order(self, order_id: str, shares: Decimal | None = None) -> Decimal:
        """Fill an open order."""
        ...

    def refine_tick(self, slug: str) -> bool:
        """Make a price step fine."""
        ...


Handler = Callable[[dict[str, Any]], Any]


class AdminApi:
    """The routes below ``/admin``.

    Args:
        venue: What is intervened in.
        settings: Whether a token is needed.
    """

    def __init__(self, venue: Venue, settings: VenueSettings) -> None:
        self._venue = venue
        self._settings = settings

    def routes(self) -> list[Route]:
        """Return the routes."""
        handlers: list[tuple[str, str, Handler]] = [
            ("GET", "/faults", self._list),
            ("POST", "/faults", self._inject),
            ("DELETE", "/faults", self._clear),
            ("POST", "/drop-connections", self._drop),
            ("POST", "/send-raw", self._send_raw),
            ("POST", "/withdraw-order", self._withdraw),
            ("POST", "/fill-order", self._fill),
            ("POST", "/refine-tick", self._refine),
        ]
        return [
            Route(_PREFIX + path, self._guarded(handler), methods=[method])
            for method, path, handler in handlers
        ]

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if not self._may(request):
                return JSONResponse({"error": "Not Found"}, 404)
            try:
                return JSONResponse(handler(_fields(await request.body())))
            except (ConfigError, ValueError) as problem:
                return JSONResponse({"error": str(problem)}, 400)

        return answer

    def _may(self, request: Request) -> bool:
        # A browser names the page that a request comes from: no page has a business here.
        if "origin" in request.headers or not _is_here(request):
            return False
        if self._settings.admin:
            return True
        token = request.headers.get(TOKEN_HEADER, "").encode("utf-8", "replace")
        return hmac.compare_digest(token, self._venue.admin_token.encode())

    # ------------------------------------------------------------------ faults

    def _list(self, fields: dict[str, Any]) -> Any:
        _only(fields)
        faults = self._venue.faults
        return {
            "active": [fault.row() for fault in faults.active],
            "happened": {kind.value: times for kind, times in sorted(faults.happened.items())},
        }

    def _inject(self, fields: dict[str, Any]) -> Any:
        _only(fields, "kind", *_BOUNDS, *sorted(set().union(*OPTIONS.values())))
        kind = fields.pop("kind", "")
        return self._venue.faults.inject(kind, **fields).row()

    def _clear(self, fields: dict[str, Any]) -> Any:
        _only(fields)
        self._venue.faults.clear()
        return {}

    # ------------------------------------------------------------------ what is done at once

    def _drop(self, fields: dict[str, Any]) -> Any:
        _only(fields, "kind")
        return {"connections": self._venue.drop_connections(fields.get("kind", "all"))}

    def _send_raw(self, fields: dict[str, Any]) -> Any:
        _only(fields, "kind", "text")
        kind, text = fields.get("kind", "all"), _text(fields, "text")
        return {"connections": self._venue.send_raw(kind, text)}

    def _withdraw(self, fields: dict[str, Any]) -> Any:
        _only(fields, "order_id")
        return {"withdrawn": self._venue.withdraw_order(_text(fields, "order_id"))}

    def _fill(self, fields: dict[str, Any]) -> Any:
        _only(fields, "order_id", "shares")
        shares = None
        if "shares" in fields:
            try:
                shares = Decimal(_text(fields, "shares"))
            except InvalidOperation:
                shares = Decimal("NaN")
            if not shares.is_finite():
                msg = f"shares: expected a decimal number as a text, got {fields['shares']!r}"
                raise ConfigError(msg)
        return {"filled": str(self._venue.fill_order(_text(fields, "order_id"), shares))}

    def _refine(self, fields: dict[str, Any]) -> Any:
        _only(fields, "slug")
        return {"refined": self._venue.refine_tick(_text(fields, "slug"))}


def _is_here(request: Request) -> bool:
    host = request.client.host if request.client else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _fields(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        msg = 'body: expected a JSON object, for example {"kind": "market_freeze", "seconds": 5}'
        raise ConfigError(msg)
    return fields


def _only(fields: dict[str, Any], *known: str) -> None:
    for name in fields:
        if name not in known:
            msg = f"{name}: unknown; expected {', '.join(known) or 'no fields'}"
            raise ConfigError(msg)


def _text(fields: dict[str, Any], name: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str) or not text:
        msg = f"{name}: expected a text, got {text!r}"
        raise ConfigError(msg)
    return text
