"""The CLOB's REST interface (PROTOCOL §2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.venue.desk import Desk
from polyframe.venue.floor import Floor
from polyframe.venue.intents import Refusal
from polyframe.venue.listing import Listing
from polyframe.venue.live import LiveMarket
from polyframe.venue.settings import VenueSettings
from polyframe.venue.values import SHARE, VenueMarket, own_price, price_text

PREFIX = "/clob"
END_CURSOR = "LTE="

_NO_BOOK = "No orderbook exists for the requested token id"
_PAGE = 100
_MAX_BOOKS, _MAX_ORDERS, _MAX_CANCELS = 500, 15, 1_000
_ORDER_ID = re.compile(r"0x[0-9a-fA-F]{64}")
_EXCHANGE = "0xE111180000d2663C0091e4f400237545B87B996B"

Handler = Callable[[Request], Awaitable[Response]]


def error(status: int, text: str) -> Response:
    """Return an error as the CLOB words it."""
    return JSONResponse({"error": text}, status)


class ClobApi:
    """The routes below ``/clob``.

    Args:
        listing: Which markets there are.
        floor: Their books.
        desk: Where orders go.
        clock: The venue's time.
        settings: Behaviour.
    """

    def __init__(
        self, listing: Listing, floor: Floor, desk: Desk, clock: Clock, settings: VenueSettings
    ) -> None:
        self._listing = listing
        self._floor = floor
        self._desk = desk
        self._clock = clock
        self._settings = settings

    def routes(self) -> list[Route]:
        """Return the routes."""
        public: list[tuple[str, str, Handler]] = [
            ("GET", "/time", self._time),
            ("GET", "/ok", self._ok),
            ("GET", "/version", self._version),
            ("GET", "/book", self._book),
            ("POST", "/books", self._books),
            ("GET", "/midpoint", self._midpoint),
            ("GET", "/price", self._price),
            ("GET", "/spread", self._spread),
            ("GET", "/last-trade-price", self._last_trade),
            ("GET", "/tick-size", self._tick_size),
            ("GET", "/neg-risk", self._neg_risk),
            ("GET", "/markets/{condition}", self._market),
            ("GET", "/clob-markets/{condition}", self._clob_market),
            ("GET", "/markets-by-token/{token}", self._market_by_token),
        ]
        private: list[tuple[str, str, Handler]] = [
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
            *(_route(method, path, _answering(handler)) for method, path, handler in public),
            *(
                _route(method, path, self._signed(_answering(handler)))
                for method, path, handler in private
            ),
        ]

    def _signed(self, handler: Handler) -> Handler:
        async def check(request: Request) -> Response:
            body = (await request.body()).decode("utf-8", "replace")
            if not self._desk.account.authentic(
                request.headers,
                request.method,
                request.url.path.removeprefix(PREFIX),
                body,
                now=self._clock.time(),
                skew=self._settings.skew,
            ):
                return error(401, "Unauthorized/Invalid api key")
            return await handler(request)

        return check

    # ------------------------------------------------------------------ public

    async def _time(self, _: Request) -> Response:
        return JSONResponse(int(self._clock.time()))

    async def _ok(self, _: Request) -> Response:
        return JSONResponse("OK")

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": 2})

    async def _book(self, request: Request) -> Response:
        live, outcome = self._find(request.query_params.get("token_id", ""))
        return JSONResponse(_rest_book(live, outcome))

    async def _books(self, request: Request) -> Response:
        entries = await _json(request)
        if not isinstance(entries, list) or len(entries) > _MAX_BOOKS:
            raise Refusal(400, "Invalid order payload")
        books = []
        for entry in entries:
            token = entry.get("token_id") if isinstance(entry, dict) else None
            found = self._listing.by_token(token) if isinstance(token, str) else None
            if found:
                books.append(_rest_book(self._floor.live(found[0]), found[1]))
        return JSONResponse(books)

    async def _midpoint(self, request: Request) -> Response:
        bid, ask = self._top(request)
        return JSONResponse({"mid": f"{(Decimal(bid + ask) / 2).scaleb(-4).normalize():f}"})

    async def _price(self, request: Request) -> Response:
        side = request.query_params.get("side", "")
        if side not in {"BUY", "SELL"}:
            raise Refusal(400, "Invalid side")
        bid, ask = self._top(request)
        return JSONResponse({"price": price_text(bid if side == "BUY" else ask)})

    async def _spread(self, request: Request) -> Response:
        bid, ask = self._top(request)
        return JSONResponse({"spread": price_text(ask - bid)})

    async def _last_trade(self, request: Request) -> Response:
        live, _ = self._find(request.query_params.get("token_id", ""))
        return JSONResponse({"price": live.last_trade or "0.5", "side": live.last_side})

    async def _tick_size(self, request: Request) -> Response:
        live, _ = self._find(request.query_params.get("token_id", ""))
        return JSONResponse({"minimum_tick_size": live.tick / PRICE_UNITS})

    async def _neg_risk(self, request: Request) -> Response:
        live, _ = self._find(request.query_params.get("token_id", ""))
        return JSONResponse({"neg_risk": live.market.market.neg_risk})

    async def _market(self, request: Request) -> Response:
        market = self._condition(request)
        facts = market.market
        winner = self._listing.winner(market)
        accepting = self._listing.trading(market)
        return JSONResponse(
            {
                "condition_id": market.condition_id,
                "question": facts.question,
                "market_slug": market.slug,
                "end_date_iso": datetime.fromtimestamp(market.end, UTC).strftime(
                    "%Y-%m-%dT%H:%M:%SZ"
                ),
                "active": True,
                "closed": winner is not None,
                "archived": False,
                "accepting_orders": accepting,
                "enable_order_book": winner is None,
                "minimum_order_size": int(facts.min_size),
                "minimum_tick_size": self._floor.live(market).tick / PRICE_UNITS,
                "neg_risk": facts.neg_risk,
                "seconds_delay": 0,
                "maker_base_fee": 0,
                "taker_base_fee": 0,
                "is_50_50_outcome": False,
                "tokens": [
                    {
                        "token_id": facts.token(outcome),
                        "outcome": outcome.value,
                        "price": int(outcome is winner) if winner else 0.5,
                        "winner": outcome is winner,
                    }
                    for outcome in Outcome
                ],
            }
        )

    async def _clob_market(self, request: Request) -> Response:
        market = self._condition(request)
        facts = market.market
        compact: dict[str, Any] = {
            "c": market.condition_id,
            "t": [{"t": facts.token(outcome), "o": outcome.value} for outcome in Outcome],
            "fd": {"r": float(facts.fees.rate), "e": facts.fees.exponent, "to": True},
            "mbf": 1000,
            "tbf": 1000,
            "mts": self._floor.live(market).tick / PRICE_UNITS,
            "mos": int(facts.min_size),
            "ao": self._listing.trading(market),
        }
        if self._settings.taker_delay:
            compact["itode"] = True  # omitted when false, like nr
        if facts.neg_risk:
            compact["nr"] = True
        return JSONResponse(compact)

    async def _market_by_token(self, request: Request) -> Response:
        found = self._listing.by_token(request.path_params["token"])
        if found is None:
            raise Refusal(404, "market not found")
        up, down = found[0].tokens
        return JSONResponse(
            {
                "condition_id": found[0].condition_id,
                "primary_token_id": up,
                "secondary_token_id": down,
            }
        )

    def _find(self, token: str) -> tuple[LiveMarket, Outcome]:
        found = self._listing.by_token(token)
        if found is None or self._listing.winner(found[0]) is not None:
            raise Refusal(404, _NO_BOOK)
        return self._floor.live(found[0]), found[1]

    def _top(self, request: Request) -> tuple[int, int]:
        live, outcome = self._find(request.query_params.get("token_id", ""))
        prices = own_price(outcome, live.book.best_bid()), own_price(outcome, live.book.best_ask())
        return min(prices), max(prices)

    def _condition(self, request: Request) -> VenueMarket:
        market = self._listing.by_condition(request.path_params["condition"])
        if market is None:
            raise Refusal(404, "market not found")
        return market

    # ------------------------------------------------------------------ orders

    async def _post_order(self, request: Request) -> Response:
        return JSONResponse(await self._desk.place(await _json(request)))

    async def _post_orders(self, request: Request) -> Response:
        bodies = await _json(request)
        if not isinstance(bodies, list) or not bodies:
            raise Refusal(400, "Invalid order payload")
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
        body = await _json(request)
        order_id = body.get("orderID") if isinstance(body, dict) else None
        return self._cancel([order_id])

    async def _delete_orders(self, request: Request) -> Response:
        ids = await _json(request)
        if not isinstance(ids, list):
            raise Refusal(400, "Invalid order payload")
        _check_count(ids, _MAX_CANCELS)
        return self._cancel(ids)

    async def _cancel_all(self, _: Request) -> Response:
        return self._cancel([order.order_id for order in self._desk.open_orders()])

    async def _cancel_market(self, request: Request) -> Response:
        body = await _json(request)
        market = str(body.get("market") or "") if isinstance(body, dict) else ""
        token = str(body.get("asset_id") or "") if isinstance(body, dict) else ""
        if not market and not token:
            raise Refusal(400, "Invalid order payload")
        orders = self._desk.open_orders(condition_id=market, token=token)
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
            order = self._desk.orders.get(order_id)
            orders = [order] if order else []
        else:
            orders = self._desk.open_orders(query.get("market", ""), query.get("asset_id", ""))
        account = self._desk.account
        return _page(
            request, [o.row(api_key=account.api_key, address=account.address) for o in orders]
        )

    async def _order(self, request: Request) -> Response:
        order = self._desk.orders.get(request.path_params["order_id"])
        account = self._desk.account
        # An id that is not known gets null, not an error (§2.5).
        return JSONResponse(
            order.row(api_key=account.api_key, address=account.address) if order else None
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
        for trade in reversed(self._desk.trades.values()):
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
            amount = self._desk.account.cash
        elif kind.startswith("CONDITIONAL"):
            amount = self._desk.account.held(request.query_params.get("token_id", ""))
        else:
            raise Refusal(400, "invalid asset_type")
        return JSONResponse(
            {"balance": str(int(amount * SHARE)), "allowances": {_EXCHANGE: str((1 << 256) - 1)}}
        )

    async def _update_balance(self, _: Request) -> Response:
        # There is no cache to refresh here: the balance is always the present one.
        return JSONResponse("")


def _route(method: str, path: str, handler: Handler) -> Route:
    return Route(PREFIX + path, handler, methods=[method])


def _answering(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            return error(refusal.status, refusal.text)

    return answer


async def _json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError:
        raise Refusal(400, "Invalid order payload") from None


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


def _rest_book(live: LiveMarket, outcome: Outcome) -> dict[str, Any]:
    """Return a book as REST has it, with the venue's hash over it (§2.2)."""
    message = live.book_message(outcome)
    facts = live.market.market
    rest = {
        "market": message["market"],
        "asset_id": message["asset_id"],
        "timestamp": message["timestamp"],
        "hash": "",
        "bids": message["bids"],
        "asks": message["asks"],
        "min_order_size": str(facts.min_size),
        "tick_size": message["tick_size"],
        "neg_risk": facts.neg_risk,
        "last_trade_price": message["last_trade_price"],
    }
    text = json.dumps(rest, separators=(",", ":"))
    return {**rest, "hash": hashlib.sha1(text.encode()).hexdigest()}  # noqa: S324
