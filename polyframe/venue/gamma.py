"""Market metadata as Gamma words it: JSON inside strings and all (PROTOCOL §1)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.venue.listing import Listing
from polyframe.venue.settings import VenueSettings
from polyframe.venue.sources import PRICE_SCALE, PricedSource
from polyframe.venue.values import VenueMarket, derive_row_id

_LIMIT, _MAX_LIMIT, _MAX_KEYSET, _SEARCH_LIMIT = 20, 500, 100, 20
_TAG = "up-or-down"
_SERIES_IDS = {"btc-up-or-down-5m": "10684", "btc-up-or-down-15m": "10192"}
"""As far as they are known (§1.4)."""
_OPENED_AFTER = 69.328428
"""Seconds from minting to the opening of trading, as recorded (§1.2)."""


class GammaApi:
    """The routes below ``/gamma``.

    Args:
        listing: Which markets there are.
        clock: The venue's time.
        settings: When prices are on record.
        prices: Who knows them, ``None`` if nobody does.
    """

    def __init__(
        self,
        listing: Listing,
        clock: Clock,
        settings: VenueSettings,
        prices: PricedSource | None = None,
    ) -> None:
        self._settings = settings
        self._prices = prices
        self._listing = listing
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the routes."""
        handlers = {
            "/markets/slug/{slug}": self._market,
            "/markets/keyset": self._markets_keyset,
            "/markets/{row_id}": self._market,
            "/markets": self._markets,
            "/events/slug/{slug}": self._event,
            "/events/keyset": self._events_keyset,
            "/events/{row_id}": self._event,
            "/events": self._events,
            "/series/{row_id}": self._one_series,
            "/series": self._series,
            "/public-search": self._search,
        }
        return [Route(f"/gamma{path}", handler) for path, handler in handlers.items()]

    # ------------------------------------------------------------------ one

    async def _market(self, request: Request) -> Response:
        market = self._named(request)
        return _not_found() if market is None else JSONResponse(self.market_row(market))

    async def _event(self, request: Request) -> Response:
        market = self._named(request)
        return _not_found() if market is None else JSONResponse(self._event_row(market, whole=True))

    def _named(self, request: Request) -> VenueMarket | None:
        if slug := request.path_params.get("slug"):
            return self._listing.by_slug(slug)
        return self._listing.by_row(request.path_params["row_id"])

    # ------------------------------------------------------------------ lists

    async def _markets(self, request: Request) -> Response:
        return JSONResponse(await _in_turns(self.market_row, self._slice(request)))

    async def _events(self, request: Request) -> Response:
        return JSONResponse(await _in_turns(self._whole_event, self._slice(request)))

    async def _markets_keyset(self, request: Request) -> Response:
        found, following = self._keyset(request)
        return _page("markets", await _in_turns(self.market_row, found), following)

    async def _events_keyset(self, request: Request) -> Response:
        found, following = self._keyset(request)
        return _page("events", await _in_turns(self._whole_event, found), following)

    async def _series(self, request: Request) -> Response:
        slugs = request.query_params.getlist("slug")
        rows = {row["slug"]: row for row in map(_series_row, self._listing.known())}
        return JSONResponse([row for slug, row in rows.items() if not slugs or slug in slugs])

    async def _one_series(self, request: Request) -> Response:
        for market in self._listing.known():
            row = _series_row(market)
            if row["id"] == request.path_params["row_id"]:
                return JSONResponse(row)
        return _not_found()

    async def _search(self, request: Request) -> Response:
        words = request.query_params.get("q", "").lower().split()
        found = [
            market
            for market in self._listing.known()
            if all(word in f"{market.slug} {market.market.question}".lower() for word in words)
        ][:_SEARCH_LIMIT]
        events = [self._event_row(market, whole=True) for market in found]
        return JSONResponse(
            {"events": events, "pagination": {"hasMore": False, "totalResults": len(events)}}
        )

    def _selected(self, request: Request) -> list[VenueMarket]:
        """Return the markets that all filters let pass; closed ones only on request (§1.1)."""
        query = request.query_params
        closed = query.get("closed", "false").lower() == "true"
        slugs = query.getlist("slug")
        if slugs:
            named = (self._listing.by_slug(slug) for slug in slugs[:_MAX_LIMIT])
            found = [market for market in named if market is not None]
        else:
            found = self._listing.known()
        conditions = set(query.getlist("condition_ids"))
        tokens = set(query.getlist("clob_token_ids"))
        rows = set(query.getlist("id"))
        series = set(query.getlist("series_id"))
        tag = query.get("tag_slug", _TAG)
        return [
            market
            for market in found
            if self._listing.resolved(market) is closed
            and (not conditions or market.condition_id in conditions)
            and (not tokens or not tokens.isdisjoint(market.tokens))
            and (not rows or market.row_id in rows)
            and (not series or _series_row(market)["id"] in series)
            and tag in {_TAG, "crypto", market.market.series.asset}
        ]

    def _slice(self, request: Request) -> list[VenueMarket]:
        limit = _count(request, "limit", _LIMIT)
        offset = _count(request, "offset", 0)
        return self._selected(request)[offset : offset + min(limit, _MAX_LIMIT)]

    def _keyset(self, request: Request) -> tuple[list[VenueMarket], str]:
        """Return one page and the cursor of the next one, empty after the last (§1.1)."""
        limit = min(max(_count(request, "limit", _LIMIT), 1), _MAX_KEYSET)
        cursor = request.query_params.get("after_cursor", "")
        found = self._selected(request)
        after = [market for market in found if f"{market.start}-{market.row_id}" > cursor]
        part = after[:limit]
        last = f"{part[-1].start}-{part[-1].row_id}" if len(after) > limit else ""
        return part, last

    # ------------------------------------------------------------------ rows

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
            "version": "v1",
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

    def _whole_event(self, market: VenueMarket) -> dict[str, Any]:
        return self._event_row(market, whole=True)

    def _event_row(self, market: VenueMarket, *, whole: bool) -> dict[str, Any]:
        family = _series_row(market)
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
            "seriesSlug": family["slug"],
            "series": [family],
        }
        if record := self._record(market):
            row["eventMetadata"] = record
        if whole:
            row["markets"] = [
                {name: part for name, part in self.market_row(market).items() if name != "events"}
            ]
        return row

    def _record(self, market: VenueMarket) -> dict[str, float]:
        """Return the prices that decided a market, some time after its end (§1.6)."""
        if self._clock.time() < market.end + self._settings.price_record_after:
            return {}
        decided = None if self._prices is None else self._prices.decided_by(market)
        if decided is None:
            return {}
        beat, final = decided
        return {"priceToBeat": beat / PRICE_SCALE, "finalPrice": final / PRICE_SCALE}


def _series_row(market: VenueMarket) -> dict[str, Any]:
    series = market.market.series
    slug = f"{series.asset}-up-or-down-{series.period}"
    return {
        "id": _SERIES_IDS.get(slug) or derive_row_id(slug),
        "slug": slug,
        "ticker": slug,
        "title": f"{series.asset.upper()} Up or Down {series.period}",
        "seriesType": "single",
        "recurrence": series.period,
        "active": True,
        "closed": False,
    }


async def _in_turns(
    row: Callable[[VenueMarket], dict[str, Any]], markets: Iterable[VenueMarket]
) -> list[dict[str, Any]]:
    """Return the rows; who won a made-up market takes a while, so others get their turn meanwhile."""
    rows = []
    for market in markets:
        rows.append(row(market))
        await asyncio.sleep(0)
    return rows


def _page(name: str, rows: list[dict[str, Any]], following: str) -> Response:
    content: dict[str, Any] = {name: rows}
    if following:
        content["next_cursor"] = following
    return JSONResponse(content)


def _count(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


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
