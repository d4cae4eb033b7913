"""Market metadata as Gamma words it: JSON inside strings and all (PROTOCOL §1)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.venue.listing import Listing
from polyframe.venue.values import VenueMarket

_OPENED_AFTER = 69.328428
"""Seconds from minting to the opening of trading, as recorded (§1.2)."""


class GammaApi:
    """The routes below ``/gamma``.

    Args:
        listing: Which markets there are.
        clock: The venue's time.
    """

    def __init__(self, listing: Listing, clock: Clock) -> None:
        self._listing = listing
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/gamma/markets/slug/{slug}", self._market),
            Route("/gamma/markets", self._markets),
            Route("/gamma/events/slug/{slug}", self._event),
            Route("/gamma/events", self._events),
        ]

    async def _market(self, request: Request) -> Response:
        market = self._listing.by_slug(request.path_params["slug"])
        return _not_found() if market is None else JSONResponse(self.market_row(market))

    async def _event(self, request: Request) -> Response:
        market = self._listing.by_slug(request.path_params["slug"])
        return _not_found() if market is None else JSONResponse(self._event_row(market, whole=True))

    async def _markets(self, request: Request) -> Response:
        return JSONResponse([self.market_row(market) for market in self._selected(request)])

    async def _events(self, request: Request) -> Response:
        found = self._selected(request)
        return JSONResponse([self._event_row(market, whole=True) for market in found])

    def _selected(self, request: Request) -> list[VenueMarket]:
        """Return the markets of all ``slug`` parameters; closed ones only on request."""
        closed = request.query_params.get("closed", "false").lower() == "true"
        found = (self._listing.by_slug(slug) for slug in request.query_params.getlist("slug"))
        return [
            market
            for market in found
            if market is not None and (self._listing.winner(market) is not None) is closed
        ]

    def market_row(self, market: VenueMarket) -> dict[str, Any]:
        """Return the market object (§1.2, §1.3)."""
        facts = market.market
        winner = self._listing.winner(market)
        hydrated = self._listing.hydrated(market)
        minted = self._listing.minted_at(market)
        row: dict[str, Any] = {
            "id": market.row_id,
            "question": facts.question,
            "conditionId": market.condition_id,
            "slug": market.slug,
            "resolutionSource": f"https://data.chain.link/streams/{facts.series.asset}-usd",
            "startDate": _iso_micro(minted + _OPENED_AFTER),
            "eventStartTime": _iso(market.start),
            "endDate": _iso(market.end),
            "createdAt": _iso_micro(minted),
            "updatedAt": _iso_micro(self._clock.time()),
            "acceptingOrdersTimestamp": _iso(minted),
            "outcomes": json.dumps([Outcome.UP.value, Outcome.DOWN.value]),
            "outcomePrices": json.dumps(_outcome_prices(winner)),
            "clobTokenIds": json.dumps(list(market.tokens) if hydrated else []),
            "orderPriceMinTickSize": float(facts.tick_size),
            "orderMinSize": int(facts.min_size),
            "enableOrderBook": True,
            "acceptingOrders": self._clock.time() < market.end,
            "active": True,
            "closed": winner is not None,
            "archived": False,
            "restricted": True,
            "negRisk": facts.neg_risk,
            "automaticallyActive": True,
            "clearBookOnStart": False,
            "feesEnabled": facts.fees.rate > 0,
            "feeType": "crypto_fees_v2",
            "feeSchedule": {
                "exponent": facts.fees.exponent,
                "rate": float(facts.fees.rate),
                "takerOnly": True,
                "rebateRate": 0.2,
            },
            "makerBaseFee": 1000,
            "takerBaseFee": 1000,
            "makerRebatesFeeShareBps": 10000,
            "umaResolutionStatuses": "[]" if winner is None else '["proposed"]',
            "events": [self._event_row(market, whole=False)],
        }
        if winner is not None:
            resolved = datetime.fromtimestamp(self._listing.resolves_at(market), UTC)
            row["umaResolutionStatus"] = "resolved"
            row["automaticallyResolved"] = True
            # Not ISO: a blank and a short offset, as recorded (§1.3).
            row["closedTime"] = resolved.strftime("%Y-%m-%d %H:%M:%S+00")
        return row

    def _event_row(self, market: VenueMarket, *, whole: bool) -> dict[str, Any]:
        series = market.market.series
        family = f"{series.asset}-up-or-down-{series.period}"
        row: dict[str, Any] = {
            "id": market.row_id,
            "ticker": market.slug,
            "slug": market.slug,
            "title": market.market.question,
            "startTime": _iso(market.start),
            "startDate": _iso_micro(self._listing.minted_at(market) + _OPENED_AFTER),
            "endDate": _iso(market.end),
            "active": True,
            "closed": self._listing.winner(market) is not None,
            "archived": False,
            "seriesSlug": family,
            "series": [{"id": "10192", "slug": family, "recurrence": series.period}],
        }
        if whole:
            row["markets"] = [
                {name: part for name, part in self.market_row(market).items() if name != "events"}
            ]
        return row


def _outcome_prices(winner: Outcome | None) -> list[str]:
    if winner is None:
        return ["0.5", "0.5"]
    return ["1", "0"] if winner is Outcome.UP else ["0", "1"]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _iso_micro(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _not_found() -> Response:
    return JSONResponse({"type": "not found error", "error": "slug not found"}, 404)
