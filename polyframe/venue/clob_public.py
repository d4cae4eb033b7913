"""Public market data of the CLOB over REST (PROTOCOL §2.1, §2.2)."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.venue.floor import Floor
from polyframe.venue.intents import INVALID_PAYLOAD, NO_BOOK, Refusal
from polyframe.venue.listing import Listing
from polyframe.venue.live import LiveMarket
from polyframe.venue.rest import Handler, answering, read_json, route
from polyframe.venue.settings import VenueSettings
from polyframe.venue.values import VenueMarket, own_price, price_text

_MAX_BOOKS = 500


class PublicApi:
    """Books, prices and trading parameters; no credentials needed.

    Args:
        listing: Which markets there are.
        floor: Their books.
        clock: The venue's time.
        settings: Behaviour.
    """

    def __init__(
        self, listing: Listing, floor: Floor, clock: Clock, settings: VenueSettings
    ) -> None:
        self._listing = listing
        self._floor = floor
        self._clock = clock
        self._settings = settings

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
            ("GET", "/tick-size", self._tick_size),
            ("GET", "/neg-risk", self._neg_risk),
            ("GET", "/markets/{condition}", self._market),
            ("GET", "/clob-markets/{condition}", self._clob_market),
            ("GET", "/markets-by-token/{token}", self._market_by_token),
        ]
        return [route(method, path, answering(handler)) for method, path, handler in handlers]

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
        entries = await read_json(request)
        if not isinstance(entries, list) or len(entries) > _MAX_BOOKS:
            raise Refusal(400, INVALID_PAYLOAD)
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
        live, outcome = self._find(request.query_params.get("token_id", ""))
        price, side = live.last_trade(outcome)
        return JSONResponse({"price": price or "0.5", "side": side})

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
            raise Refusal(404, NO_BOOK)
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
