"""Public market data of the CLOB over REST (PROTOCOL §2.1, §2.2)."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.clock import Clock, ScaledClock
from polyframe.model.market import Outcome
from polyframe.venue.floor import Floor
from polyframe.venue.intents import INVALID_PAYLOAD, NO_BOOK, Refusal
from polyframe.venue.listing import Listing
from polyframe.venue.live import LiveMarket
from polyframe.venue.rest import INTERVALS, Handler, answering, read_json, route
from polyframe.venue.values import own_price, price_text

_MAX_BOOKS = 500


class PublicApi:
    """Books and prices; no credentials needed.

    Args:
        listing: Which markets there are.
        floor: Their books.
        clock: The venue's time.
    """

    def __init__(self, listing: Listing, floor: Floor, clock: Clock) -> None:
        self._listing = listing
        self._floor = floor
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the routes."""
        handlers: list[tuple[str, str, Handler]] = [
            ("GET", "/time", self._time),
            ("GET", "/ok", self._ok),
            ("GET", "/version", self._version),
            ("GET", "/book", self._book),
            ("POST", "/books", self._books),
            ("GET", "/midpoint", self._midpoint),
            ("GET", "/price", self._price),
            ("GET", "/spread", self._spread),
            ("GET", "/last-trade-price", self._last_trade),
            ("POST", "/midpoints", self._midpoints),
            ("POST", "/prices", self._prices),
            ("POST", "/spreads", self._spreads),
            ("POST", "/last-trades-prices", self._last_trades),
            ("GET", "/prices-history", self._history),
            ("GET", "/fees/builder-fees/{code}", self._builder_fees),
        ]
        routes = [route(method, path, answering(handler)) for method, path, handler in handlers]
        return [*routes, Route("/clock", self._own_clock)]

    async def _own_clock(self, _: Request) -> Response:
        """Tell the time exactly, and how fast it runs: for programs that go by it.

        The real venue has nothing like it, so it is not below the CLOB's prefix.
        """
        speed = self._clock.speed if isinstance(self._clock, ScaledClock) else 1.0
        return JSONResponse({"time": self._clock.time(), "speed": speed})

    async def _time(self, _: Request) -> Response:
        return JSONResponse(int(self._clock.time()))

    async def _ok(self, _: Request) -> Response:
        return JSONResponse("OK")

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": 2})

    async def _book(self, request: Request) -> Response:
        live, outcome = self._find(request.query_params.get("token_id", ""))
        return JSONResponse(_rest_book(live, outcome))

    async def _midpoint(self, request: Request) -> Response:
        live, outcome = self._find(request.query_params.get("token_id", ""))
        return JSONResponse({"mid": _middle(_top(live, outcome))})

    async def _price(self, request: Request) -> Response:
        side = request.query_params.get("side", "")
        if side not in {"BUY", "SELL"}:
            raise Refusal(400, "Invalid side")
        bid, ask = _top(*self._find(request.query_params.get("token_id", "")))
        return JSONResponse({"price": price_text(bid if side == "BUY" else ask)})

    async def _spread(self, request: Request) -> Response:
        bid, ask = _top(*self._find(request.query_params.get("token_id", "")))
        return JSONResponse({"spread": price_text(ask - bid)})

    async def _last_trade(self, request: Request) -> Response:
        live, outcome = self._find(request.query_params.get("token_id", ""))
        price, side = live.last_trade(outcome)
        return JSONResponse({"price": price or "0.5", "side": side})

    # ------------------------------------------------------------------ several at once

    async def _books(self, request: Request) -> Response:
        return JSONResponse(
            [_rest_book(live, outcome) for _, live, outcome in await self._entries(request)]
        )

    async def _midpoints(self, request: Request) -> Response:
        found = await self._entries(request)
        return JSONResponse({token: _middle(_top(live, o)) for token, live, o in found})

    async def _prices(self, request: Request) -> Response:
        """Return a price for each side of a token that is asked for; without a side, both."""
        prices: dict[str, dict[str, str]] = {}
        for entry in await self._list(request):
            token, side = entry.get("token_id"), entry.get("side")
            found = self._listing.by_token(token) if isinstance(token, str) else None
            if found is None or not isinstance(token, str):
                continue
            top = _top(self._floor.live(found[0]), found[1])
            for name, price in zip(("BUY", "SELL"), top, strict=True):
                if side in (name, None, ""):
                    prices.setdefault(token, {})[name] = price_text(price)
        return JSONResponse(prices)

    async def _spreads(self, request: Request) -> Response:
        found = await self._entries(request)
        tops = {token: _top(live, outcome) for token, live, outcome in found}
        return JSONResponse({token: price_text(ask - bid) for token, (bid, ask) in tops.items()})

    async def _last_trades(self, request: Request) -> Response:
        """Return the last trade of each token; one that was never traded is left out."""
        rows = []
        for token, live, outcome in await self._entries(request):
            price, side = live.last_trade(outcome)
            if price:
                rows.append({"token_id": token, "price": price, "side": side})
        return JSONResponse(rows)

    async def _list(self, request: Request) -> list[dict[str, Any]]:
        entries = await read_json(request)
        if not isinstance(entries, list) or len(entries) > _MAX_BOOKS:
            raise Refusal(400, INVALID_PAYLOAD)
        return [entry for entry in entries if isinstance(entry, dict)]

    async def _entries(self, request: Request) -> list[tuple[str, LiveMarket, Outcome]]:
        """Return the tokens in the body that have a book, each once, in their order."""
        rows = {}
        for entry in await self._list(request):
            token = entry.get("token_id")
            found = self._listing.by_token(token) if isinstance(token, str) else None
            if found is not None and isinstance(token, str):
                rows[token] = (token, self._floor.live(found[0]), found[1])
        return list(rows.values())

    # ------------------------------------------------------------------ history

    async def _history(self, request: Request) -> Response:
        """Return the midpoints of a token over time, one a minute or every `fidelity` minutes."""
        query = request.query_params
        found = self._listing.by_token(query.get("market", ""))
        if found is None:
            raise Refusal(404, NO_BOOK)
        market, outcome = found
        now = int(self._clock.time())
        last = min(_seconds(query.get("endTs"), now), now, market.end - 1)
        first = max(_seconds(query.get("startTs"), 0), int(self._listing.minted_at(market)))
        first = max(first, last - INTERVALS.get(query.get("interval", ""), last))
        step = 60 * max(_seconds(query.get("fidelity"), 1), 1)
        points = self._floor.history(market, outcome, first, last, step)
        return JSONResponse({"history": [{"t": at, "p": price} for at, price in points]})

    async def _builder_fees(self, _: Request) -> Response:
        return JSONResponse({"builder_maker_fee_rate_bps": 0, "builder_taker_fee_rate_bps": 0})

    def _find(self, token: str) -> tuple[LiveMarket, Outcome]:
        found = self._listing.by_token(token)
        if found is None or self._listing.resolved(found[0]):
            raise Refusal(404, NO_BOOK)
        return self._floor.live(found[0]), found[1]


def _top(live: LiveMarket, outcome: Outcome) -> tuple[int, int]:
    """Return best bid and best ask of one outcome in price units."""
    prices = own_price(outcome, live.book.best_bid()), own_price(outcome, live.book.best_ask())
    return min(prices), max(prices)


def _middle(top: tuple[int, int]) -> str:
    return f"{(Decimal(sum(top)) / 2).scaleb(-4).normalize():f}"


def _seconds(text: str | None, default: int) -> int:
    if not text:
        return default
    if len(text) > 12 or not (text.isascii() and text.isdigit()):
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
