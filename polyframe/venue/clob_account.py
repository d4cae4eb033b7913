"""The account's side of the CLOB over REST (PROTOCOL §2.3 to §2.6)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.clock import Clock, ScaledClock
from polyframe.venue.blotter import Blotter
from polyframe.venue.desk import Desk
from polyframe.venue.intents import Refusal
from polyframe.venue.rest import (
    INVALID_PAYLOAD,
    PREFIX,
    Handler,
    answering,
    error,
    read_json,
    route,
)
from polyframe.venue.settings import VenueSettings
from polyframe.venue.values import SHARE

END_CURSOR = "LTE="

_PAGE = 100
_MAX_ORDERS, _MAX_CANCELS = 15, 1_000
_ORDER_ID = re.compile(r"0x[0-9a-fA-F]{64}")
_EXCHANGE = "0xE111180000d2663C0091e4f400237545B87B996B"


class AccountApi:
    """Orders, trades and balances; every call is signed (§3.2).

    Args:
        desk: Where orders go.
        blotter: What became of them.
        clock: The venue's time.
        settings: Behaviour.
    """

    def __init__(
        self,
        desk: Desk,
        blotter: Blotter,
        clock: Clock,
        settings: VenueSettings,
    ) -> None:
        self._desk = desk
        self._blotter = blotter
        self._account = blotter.account
        self._clock = clock
        # A request is late by real seconds; on a faster clock those are more of the venue's own.
        speed = clock.speed if isinstance(clock, ScaledClock) else 1.0
        self._skew = settings.skew * max(speed, 1.0)

    def routes(self) -> list[Route]:
        """Return the routes."""
        handlers: list[tuple[str, str, Handler]] = [
            ("POST", "/order", self._post_order),
            ("POST", "/orders", self._post_orders),
            ("DELETE", "/order", self._delete_order),
            ("DELETE", "/orders", self._delete_orders),
            ("DELETE", "/cancel-all", self._cancel_all),
            ("DELETE", "/cancel-market-orders", self._cancel_market),
            ("GET", "/data/orders", self._orders),
            ("GET", "/data/order/{order_id}", self._order),
            ("GET", "/data/trades", self._trades),
            ("GET", "/balance-allowance", self._balance),
            ("GET", "/balance-allowance/update", self._update_balance),
        ]
        return [
            route(method, path, self._signed(answering(handler)))
            for method, path, handler in handlers
        ]

    def _signed(self, handler: Handler) -> Handler:
        async def check(request: Request) -> Response:
            body = (await request.body()).decode("utf-8", "replace")
            if not self._account.authentic(
                request.headers,
                request.method,
                request.url.path.removeprefix(PREFIX),
                body,
                now=self._clock.time(),
                skew=self._skew,
            ):
                return error(401, "Unauthorized/Invalid api key")
            return await handler(request)

        return check

    # ------------------------------------------------------------------ orders

    async def _post_order(self, request: Request) -> Response:
        return JSONResponse(await self._desk.place(await read_json(request)))

    async def _post_orders(self, request: Request) -> Response:
        bodies = await read_json(request)
        if not isinstance(bodies, list) or not bodies:
            raise Refusal(400, INVALID_PAYLOAD)
        _check_count(bodies, _MAX_ORDERS)
        answers = []
        for body in bodies:
            try:
                answers.append(await self._desk.place(body))
            except Refusal as refusal:
                # As recorded: a refused entry says success and has no id (§2.3, §2.7).
                answers.append(
                    {
                        "success": True,
                        "errorMsg": refusal.text,
                        "orderID": "",
                        "status": "",
                        "makingAmount": "",
                        "takingAmount": "",
                    }
                )
        return JSONResponse(answers)

    async def _delete_order(self, request: Request) -> Response:
        body = await read_json(request)
        order_id = body.get("orderID") if isinstance(body, dict) else None
        return self._cancel([order_id])

    async def _delete_orders(self, request: Request) -> Response:
        ids = await read_json(request)
        if not isinstance(ids, list):
            raise Refusal(400, INVALID_PAYLOAD)
        _check_count(ids, _MAX_CANCELS)
        return self._cancel(ids)

    async def _cancel_all(self, _: Request) -> Response:
        return self._cancel([order.order_id for order in self._blotter.open_orders()])

    async def _cancel_market(self, request: Request) -> Response:
        body = await read_json(request)
        market = str(body.get("market") or "") if isinstance(body, dict) else ""
        token = str(body.get("asset_id") or "") if isinstance(body, dict) else ""
        if not market and not token:
            raise Refusal(400, INVALID_PAYLOAD)
        orders = self._blotter.open_orders(condition_id=market, token=token)
        return self._cancel([order.order_id for order in orders])

    def _cancel(self, ids: Sequence[object]) -> Response:
        known = [text for text in ids if isinstance(text, str) and _ORDER_ID.fullmatch(text)]
        if len(known) != len(ids):
            raise Refusal(400, "Invalid orderID")
        return JSONResponse(self._desk.cancel(known))

    # ------------------------------------------------------------------ the account

    async def _orders(self, request: Request) -> Response:
        query = request.query_params
        if order_id := query.get("id", ""):
            order = self._blotter.orders.get(order_id)
            orders = [order] if order else []
        else:
            orders = self._blotter.open_orders(query.get("market", ""), query.get("asset_id", ""))
        return _page(
            request,
            [o.row(api_key=self._account.api_key, address=self._account.address) for o in orders],
        )

    async def _order(self, request: Request) -> Response:
        order = self._blotter.orders.get(request.path_params["order_id"])
        # An id that is not known gets null, not an error (§2.5).
        return JSONResponse(
            order.row(api_key=self._account.api_key, address=self._account.address)
            if order
            else None
        )

    async def _trades(self, request: Request) -> Response:
        query = request.query_params
        wanted = {
            name: query[name]
            for name in ("id", "market", "asset_id", "maker_address")
            if query.get(name)
        }
        before, after = _seconds(query.get("before")), _seconds(query.get("after"))
        rows = []
        for trade in reversed(self._blotter.trades.values()):
            row = trade.row()
            if any(row[name].lower() != value.lower() for name, value in wanted.items()):
                continue
            matched = trade.match_ms // 1000
            if (before is None or matched < before) and (after is None or matched > after):
                rows.append(row)
        return _page(request, rows)

    async def _balance(self, request: Request) -> Response:
        kind = request.query_params.get("asset_type", "")
        if kind == "COLLATERAL":
            amount = self._account.cash
        elif kind.startswith("CONDITIONAL"):
            amount = self._account.held(request.query_params.get("token_id", ""))
        else:
            raise Refusal(400, "invalid asset_type")
        return JSONResponse(
            {"balance": str(int(amount * SHARE)), "allowances": {_EXCHANGE: str((1 << 256) - 1)}}
        )

    async def _update_balance(self, _: Request) -> Response:
        # There is no cache to refresh here: the balance is always the present one.
        return JSONResponse("")


def _check_count(entries: Sequence[object], limit: int) -> None:
    if len(entries) > limit:
        text = f"Too many orders in payload: {len(entries)}, max allowed: {limit}"
        raise Refusal(400, text)


def _page(request: Request, rows: Sequence[dict[str, Any]]) -> Response:
    """Return one page; a cursor is the offset in base64, the last one stands for −1 (§2.5)."""
    offset = _offset(request.query_params.get("next_cursor", ""))
    part = rows[offset : offset + _PAGE]
    end = offset + len(part)
    following = END_CURSOR
    if end < len(rows):
        following = base64.b64encode(str(end).encode()).decode()
    return JSONResponse(
        {"limit": _PAGE, "count": len(part), "next_cursor": following, "data": part}
    )


def _offset(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        offset = int(base64.b64decode(cursor, validate=True))
    except (binascii.Error, ValueError):
        offset = -1
    if offset < 0:
        raise Refusal(400, "invalid next_cursor")
    return offset


def _seconds(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Refusal(400, "invalid time")
    return int(text)
