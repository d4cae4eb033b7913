"""Markets and their trading parameters over the CLOB's REST (PROTOCOL §1.5, §2.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.venue.floor import Floor
from polyframe.venue.intents import NO_BOOK, Refusal
from polyframe.venue.listing import Listing
from polyframe.venue.rest import Handler, answering, cut, route
from polyframe.venue.settings import VenueSettings
from polyframe.venue.values import VenueMarket


class MarketsApi:
    """What markets there are, and by which rules they trade; no credentials needed.

    Args:
        listing: Which markets there are.
        floor: Their ticks.
        settings: Whether takers are delayed.
    """

    def __init__(self, listing: Listing, floor: Floor, settings: VenueSettings) -> None:
        self._listing = listing
        self._floor = floor
        self._settings = settings

    def routes(self) -> list[Route]:
        """Return the routes."""
        handlers: list[tuple[str, str, Handler]] = [
            ("GET", "/tick-size", self._tick_size),
            ("GET", "/tick-size/{token}", self._tick_size),
            ("GET", "/neg-risk", self._neg_risk),
            ("GET", "/neg-risk/{token}", self._neg_risk),
            ("GET", "/fee-rate", self._fee_rate),
            ("GET", "/fee-rate/{token}", self._fee_rate),
            ("GET", "/markets", self._markets),
            ("GET", "/simplified-markets", self._simplified),
            ("GET", "/sampling-markets", self._sampling),
            ("GET", "/sampling-simplified-markets", self._sampling_simplified),
            ("GET", "/markets/{condition}", self._market),
            ("GET", "/clob-markets/{condition}", self._clob_market),
            ("GET", "/markets-by-token/{token}", self._market_by_token),
        ]
        return [route(method, path, answering(handler)) for method, path, handler in handlers]

    # ------------------------------------------------------------------ parameters

    async def _tick_size(self, request: Request) -> Response:
        tick = self._floor.live(self._of_token(request)).tick
        return JSONResponse({"minimum_tick_size": tick / PRICE_UNITS})

    async def _neg_risk(self, request: Request) -> Response:
        return JSONResponse({"neg_risk": self._of_token(request).market.neg_risk})

    async def _fee_rate(self, request: Request) -> Response:
        self._of_token(request)
        # Legacy, in basis points: V2 fees are in the schedule of the market (§2.9).
        return JSONResponse({"base_fee": 0})

    def _of_token(self, request: Request) -> VenueMarket:
        token = request.path_params.get("token") or request.query_params.get("token_id", "")
        found = self._listing.by_token(token)
        if found is None or self._listing.resolved(found[0]):
            raise Refusal(404, NO_BOOK)
        return found[0]

    # ------------------------------------------------------------------ markets

    async def _market(self, request: Request) -> Response:
        return JSONResponse(self._row(self._of_condition(request)))

    async def _markets(self, request: Request) -> Response:
        return await self._page(request, self._hydrated(), self._row)

    async def _simplified(self, request: Request) -> Response:
        return await self._page(request, self._hydrated(), self._short)

    async def _sampling(self, request: Request) -> Response:
        return await self._page(request, self._trading(), self._row)

    async def _sampling_simplified(self, request: Request) -> Response:
        return await self._page(request, self._trading(), self._short)

    async def _page(
        self,
        request: Request,
        markets: list[VenueMarket],
        row: Callable[[VenueMarket], dict[str, Any]],
    ) -> Response:
        """Return one page; who won a made-up market takes a while, so others get their turn."""
        part, envelope = cut(request, markets)
        rows = []
        for market in part:
            rows.append(row(market))
            await asyncio.sleep(0)
        return JSONResponse({**envelope, "data": rows})

    def _hydrated(self) -> list[VenueMarket]:
        return [market for market in self._listing.known() if self._listing.hydrated(market)]

    def _trading(self) -> list[VenueMarket]:
        return [market for market in self._hydrated() if self._listing.trading(market)]

    def _row(self, market: VenueMarket) -> dict[str, Any]:
        facts = market.market
        winner = self._listing.winner(market)
        minted = datetime.fromtimestamp(int(self._listing.minted_at(market)), UTC)
        end = datetime.fromtimestamp(market.end, UTC)
        return {
            "condition_id": market.condition_id,
            "question_id": market.condition_id,
            "question": facts.question,
            "market_slug": market.slug,
            "end_date_iso": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "active": True,
            "closed": winner is not None,
            "archived": False,
            "accepting_orders": self._listing.trading(market),
            "accepting_order_timestamp": f"{minted:%Y-%m-%dT%H:%M:%SZ}",
            "enable_order_book": winner is None,
            "minimum_order_size": int(facts.min_size),
            "minimum_tick_size": self._floor.tick(market) / PRICE_UNITS,
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

    def _short(self, market: VenueMarket) -> dict[str, Any]:
        row = self._row(market)
        names = ("condition_id", "tokens", "active", "closed", "archived", "accepting_orders")
        return {name: row[name] for name in names}

    async def _clob_market(self, request: Request) -> Response:
        market = self._of_condition(request)
        facts = market.market
        compact: dict[str, Any] = {
            "c": market.condition_id,
            "t": [{"t": facts.token(outcome), "o": outcome.value} for outcome in Outcome],
            "fd": {"r": float(facts.fees.rate), "e": facts.fees.exponent, "to": True},
            "mbf": 1000,
            "tbf": 1000,
            "mts": self._floor.tick(market) / PRICE_UNITS,
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

    def _of_condition(self, request: Request) -> VenueMarket:
        market = self._listing.by_condition(request.path_params["condition"])
        if market is None:
            raise Refusal(404, "market not found")
        return market
