"""The account's side of the CLOB over REST (PROTOCOL §2.3 to §2.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.venue.accounts import Accounts, Login
from polyframe.venue.blotter import Blotter
from polyframe.venue.desk import Desk
from polyframe.venue.intents import INVALID_PAYLOAD, ORDER_ID, Refusal
from polyframe.venue.modes import VenueMode
from polyframe.venue.ratelimits import Kind, RateLimits
from polyframe.venue.rest import (
    PREFIX,
    SignedHandler,
    error,
    page,
    read_json,
    refused,
    route,
    signed,
)
from polyframe.venue.typed_data import EXCHANGE, NEG_RISK_EXCHANGE
from polyframe.venue.values import SHARE

UNLIMITED = (1 << 256) - 1

_MAX_ORDERS, _MAX_CANCELS = 15, 1_000


class AccountApi:
    """Orders, trades and balances; every call is signed (§3.2).

    Args:
        desk: Where orders go.
        blotter: What became of them.
        accounts: Who may sign.
        rates: How much they may send.
    """

    def __init__(self, desk: Desk, blotter: Blotter, accounts: Accounts, rates: RateLimits) -> None:
        self._rates = rates
        self._desk = desk
        self._blotter = blotter
        self._accounts = accounts

    def routes(self) -> list[Route]:
        """Return the routes."""
        handlers: list[tuple[str, str, SignedHandler]] = [
            ("POST", "/order", self._metered("orders", self._post_order)),
            ("POST", "/orders", self._metered("orders", self._post_orders)),
            ("DELETE", "/order", self._metered("cancels", self._delete_order)),
            ("DELETE", "/orders", self._metered("cancels", self._delete_orders)),
            ("DELETE", "/cancel-all", self._metered("cancels", self._cancel_all)),
            ("DELETE", "/cancel-market-orders", self._metered("cancels", self._cancel_market)),
            ("GET", "/data/orders", self._orders),
            ("GET", "/data/pre-migration-orders", self._old_orders),
            ("GET", "/data/order/{order_id}", self._order),
            ("GET", "/data/trades", self._trades),
            ("GET", "/balance-allowance", self._balance),
            ("GET", "/balance-allowance/update", self._update_balance),
        ]
        return [
            route(method, path, signed(self._accounts, handler))
            for method, path, handler in handlers
        ]

    def _metered(self, kind: Kind, handler: SignedHandler) -> SignedHandler:
        """Return `handler` with the signer's token bucket before it (§2.11)."""

        async def meter(request: Request, login: Login) -> Response:
            cost = await self._cost(request, login)
            passes, headers = self._rates.admit(login.account, kind, cost)
            if not passes:
                response = error(429, "Too Many Requests")
            else:
                try:
                    response = await handler(request, login)
                except Refusal as refusal:
                    response = refused(refusal)
            response.headers.update(headers)
            return response

        return meter

    async def _cost(self, request: Request, login: Login) -> int:
        """Return the tokens that a request costs: one for each entry, one more for each it finds."""
        path = request.url.path.removeprefix(PREFIX)
        if path == "/cancel-all":
            return 1 + self._blotter.open_count(login.account)
        try:
            body = await read_json(request)
        except Refusal:
            return 1
        if path == "/cancel-market-orders" and isinstance(body, dict):
            market, token = str(body.get("market") or ""), str(body.get("asset_id") or "")
            return 1 + len(self._blotter.open_orders(login.account, market, token))
        return max(len(body), 1) if isinstance(body, list) else 1

    # ------------------------------------------------------------------ orders

    async def _post_order(self, request: Request, login: Login) -> Response:
        return JSONResponse(await self._desk.place(await read_json(request), login))

    async def _post_orders(self, request: Request, login: Login) -> Response:
        bodies = await read_json(request)
        if not isinstance(bodies, list) or not bodies:
            raise Refusal(400, INVALID_PAYLOAD)
        _check_count(bodies, _MAX_ORDERS)
        if self._desk.turnstile.mode is not VenueMode.POST_ONLY:
            self._desk.turnstile.check_order(None)
        return JSONResponse(await asyncio.gather(*(self._entry(body, login) for body in bodies)))

    async def _entry(self, body: Any, login: Login) -> dict[str, Any]:
        """Return the answer to one order of a batch."""
        try:
            return await self._desk.place(body, login)
        except Refusal as refusal:
            # As recorded: a refused entry says success and has no id (§2.3, §2.7).
            return {
                "success": True,
                "errorMsg": refusal.text,
                "orderID": "",
                "status": "",
                "makingAmount": "",
                "takingAmount": "",
            }

    async def _delete_order(self, request: Request, login: Login) -> Response:
        body = await read_json(request)
        order_id = body.get("orderID") if isinstance(body, dict) else None
        return self._cancel(login, [order_id])

    async def _delete_orders(self, request: Request, login: Login) -> Response:
        ids = await read_json(request)
        if not isinstance(ids, list):
            raise Refusal(400, INVALID_PAYLOAD)
        _check_count(ids, _MAX_CANCELS)
        return self._cancel(login, ids)

    async def _cancel_all(self, _: Request, login: Login) -> Response:
        orders = self._blotter.open_orders(login.account)
        return self._cancel(login, [order.order_id for order in orders])

    async def _cancel_market(self, request: Request, login: Login) -> Response:
        body = await read_json(request)
        market = str(body.get("market") or "") if isinstance(body, dict) else ""
        token = str(body.get("asset_id") or "") if isinstance(body, dict) else ""
        if not market and not token:
            raise Refusal(400, INVALID_PAYLOAD)
        orders = self._blotter.open_orders(login.account, market, token)
        return self._cancel(login, [order.order_id for order in orders])

    def _cancel(self, login: Login, ids: Sequence[object]) -> Response:
        known = [text for text in ids if isinstance(text, str) and ORDER_ID.fullmatch(text)]
        if len(known) != len(ids):
            raise Refusal(400, "Invalid orderID")
        self._desk.turnstile.check_cancel()
        return JSONResponse(self._desk.cancel(login.account, known))

    # ------------------------------------------------------------------ the account

    async def _orders(self, request: Request, login: Login) -> Response:
        query = request.query_params
        if order_id := query.get("id", ""):
            order = self._blotter.order(login.account, order_id)
            orders = [order] if order else []
        else:
            market, token = query.get("market", ""), query.get("asset_id", "")
            orders = self._blotter.open_orders(login.account, market, token)
        return page(request, [order.row() for order in orders])

    async def _old_orders(self, request: Request, _login: Login) -> Response:
        # All of them were wiped when version 2 began (§0.5).
        return page(request, [])

    async def _order(self, request: Request, login: Login) -> Response:
        order = self._blotter.order(login.account, request.path_params["order_id"])
        # An id that is not known gets null, not an error (§2.5).
        return JSONResponse(order.row() if order else None)

    async def _trades(self, request: Request, login: Login) -> Response:
        query = request.query_params
        wanted = {
            name: query[name]
            for name in ("id", "market", "asset_id", "maker_address")
            if query.get(name)
        }
        before, after = _seconds(query.get("before")), _seconds(query.get("after"))
        rows = []
        for trade in self._blotter.trades_of(login.account):
            row = trade.row(login.account)
            if any(value.lower() not in _values(row, name) for name, value in wanted.items()):
                continue
            matched = trade.match_ms // 1000
            if (before is None or matched < before) and (after is None or matched > after):
                rows.append(row)
        return page(request, rows)

    async def _balance(self, request: Request, login: Login) -> Response:
        kind = request.query_params.get("asset_type", "")
        account = login.account
        if kind == "COLLATERAL":
            amount = account.cash
            allowed = UNLIMITED if account.allowance is None else int(account.allowance * SHARE)
        elif kind.startswith("CONDITIONAL"):
            amount = account.held(request.query_params.get("token_id", ""))
            allowed = UNLIMITED if account.approved else 0
        else:
            raise Refusal(400, "invalid asset_type")
        allowances = {spender: str(allowed) for spender in (EXCHANGE, NEG_RISK_EXCHANGE)}
        return JSONResponse({"balance": str(int(amount * SHARE)), "allowances": allowances})

    async def _update_balance(self, _: Request, _login: Login) -> Response:
        # There is no cache to refresh here: the balance is always the present one.
        return JSONResponse("")


def _check_count(entries: Sequence[object], limit: int) -> None:
    if len(entries) > limit:
        text = f"Too many orders in payload: {len(entries)}, max allowed: {limit}"
        raise Refusal(400, text)


def _values(row: dict[str, Any], name: str) -> set[str]:
    """Return what a filter by `name` looks at: the taker's part and the makers' (§2.5)."""
    values = {str(row[name])}
    if name in {"asset_id", "maker_address"}:
        values.update(str(leg[name]) for leg in row["maker_orders"])
    return {value.lower() for value in values}


def _seconds(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Refusal(400, "invalid time")
    return int(text)
