"""Positions, trades and activity of an account as the Data API words them (PROTOCOL §7.1, §7.2).

It shows what is on the chain: a trade appears when it is mined. Anybody may ask for any wallet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS, ZERO
from polyframe.venue.account import ADDRESS, VenueAccount
from polyframe.venue.accounts import Accounts
from polyframe.venue.blotter import Blotter
from polyframe.venue.data_rows import names, old_style, percent, redemption_row, trade_row
from polyframe.venue.floor import Floor
from polyframe.venue.intents import Refusal
from polyframe.venue.listing import Listing
from polyframe.venue.portfolio import Fill, Holding, Redemption, fills, holdings
from polyframe.venue.rest import INTERVALS, answering, read_offset, write_offset
from polyframe.venue.values import VenueMarket, own_price, usd

_PREFIX = "/data-api"
_LIMIT, _MAX_LIMIT, _MAX_OFFSET = 100, 500, 10_000
_MAX_PAGE = 1_000


class DataApi:
    """The routes below ``/data-api``.

    Args:
        accounts: Whose wallet is whose.
        blotter: Their trades.
        listing: Which markets there are.
        floor: What their shares are worth.
        clock: The venue's time.
    """

    def __init__(
        self,
        accounts: Accounts,
        blotter: Blotter,
        listing: Listing,
        floor: Floor,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._accounts = accounts
        self._blotter = blotter
        self._listing = listing
        self._floor = floor

    def routes(self) -> list[Route]:
        """Return the routes."""
        handlers = {
            "/positions": self._positions,
            "/closed-positions": self._closed_positions,
            "/trades": self._trades,
            "/activity": self._activity,
            "/value": self._value,
            "/v2/positions": self._positions_v2,
            "/v2/trades": self._trades_v2,
            "/v2/activity": self._activity_v2,
            "/v2/value": self._value_v2,
            "/v2/resolutions": self._resolutions_v2,
            "/v2/prices-history": self._history_v2,
        }
        return [
            Route(_PREFIX + path, answering(handler), methods=["GET"])
            for path, handler in handlers.items()
        ]

    # ------------------------------------------------------------------ camelCase

    async def _positions(self, request: Request) -> Response:
        query = request.query_params
        # By default small positions are left out, as the real one does (§7.1).
        least = _number(query.get("sizeThreshold"), Decimal(1), "sizeThreshold")
        rows = [
            old_style(row)
            for row in self._position_rows(request, "market")
            if row["status"] != "CLOSED"
            and Decimal(str(row["current_size"])) >= least
            and _agrees(query.get("redeemable"), row["redeemable"])
            and _agrees(query.get("mergeable"), row["mergeable"])
        ]
        return _slice(request, rows, _MAX_OFFSET)

    async def _closed_positions(self, request: Request) -> Response:
        rows = [
            old_style(row)
            for row in self._position_rows(request, "market")
            if row["status"] == "CLOSED"
        ]
        return _slice(request, rows, _MAX_OFFSET)

    async def _trades(self, request: Request) -> Response:
        rows = [
            old_style(row) for row in self._trade_rows(request, "market", "takerOnly", default=True)
        ]
        return _slice(request, rows, _MAX_OFFSET)

    async def _activity(self, request: Request) -> Response:
        rows = [old_style(row) for row in self._activity_rows(request, "market")]
        return _slice(request, rows, 5_000)

    async def _value(self, request: Request) -> Response:
        account = self._account(request)
        value = float(self._worth(account, request, "market"))
        return JSONResponse([{"user": account.funder.lower(), "value": value}])

    # ------------------------------------------------------------------ snake_case

    async def _positions_v2(self, request: Request) -> Response:
        status = request.query_params.get("status", "")
        rows = [
            row for row in self._position_rows(request, "condition_id") if _in_status(row, status)
        ]
        return _envelope(request, rows)

    async def _trades_v2(self, request: Request) -> Response:
        rows = self._trade_rows(request, "condition_id", "taker_only", default=False)
        return _envelope(request, rows)

    async def _activity_v2(self, request: Request) -> Response:
        return _envelope(request, self._activity_rows(request, "condition_id"))

    async def _value_v2(self, request: Request) -> Response:
        account = self._account(request)
        value = float(self._worth(account, request, "condition_id"))
        return JSONResponse({"data": {"proxy_wallet": account.funder.lower(), "value": value}})

    async def _resolutions_v2(self, request: Request) -> Response:
        rows = []
        for condition in _several(request, "condition_id"):
            market = self._listing.by_condition(condition)
            winner = self._listing.winner(market) if market else None
            if market is None or winner is None:
                continue
            price = "1" if winner is Outcome.UP else "0"
            rows.append(
                {
                    "question_id": market.condition_id,
                    "condition_id": market.condition_id,
                    "status": "resolved",
                    "was_disputed": False,
                    "proposed_price": price,
                    "price": price,
                    "last_update_timestamp": str(int(self._listing.resolves_at(market))),
                }
            )
        return _envelope(request, rows)

    async def _history_v2(self, request: Request) -> Response:
        query = request.query_params
        found = self._listing.by_token(query.get("token_id", ""))
        if found is None:
            return _envelope(request, [])
        market, outcome = found
        latest = min(int(self._clock.time()), market.end - 1)
        step = max(int(_number(query.get("bucket_seconds"), Decimal(60), "bucket_seconds")), 60)
        oldest = int(self._listing.minted_at(market))
        first, last = (int(limit) for limit in _window(request))
        first, last = max(first, oldest), min(last, latest)
        first = max(first, last - INTERVALS.get(query.get("interval", ""), last))
        if query.get("as_of"):
            at = min(int(_number(query.get("as_of"), ZERO, "as_of")), latest)
            points = self._floor.history(market, outcome, at, at, 1)
            step = 0
        else:
            points = self._floor.history(market, outcome, first, last, step)
        rows = [
            {"timestamp": at, "price": price, "resolution_seconds": step} for at, price in points
        ]
        return _envelope(request, rows)

    # ------------------------------------------------------------------ rows

    def _account(self, request: Request) -> VenueAccount:
        address = request.query_params.get("user", "")
        if not ADDRESS.fullmatch(address):
            raise Refusal(400, "required query param 'user' not provided or no address")
        account = self._accounts.by_address(address)
        # A wallet that nobody has used is empty, not an error.
        return account or VenueAccount.wallet(address, 0)

    def _fills(self, account: VenueAccount, markets: Sequence[str]) -> list[Fill]:
        """Return the fills of an account, the latest first."""
        return [
            fill
            for fill in fills(account, self._blotter.trades_of(account))
            if not markets or fill.trade.market.condition_id in markets
        ]

    def _redemptions(self, account: VenueAccount, markets: Sequence[str]) -> list[Redemption]:
        return [
            redemption
            for redemption in self._blotter.redemptions_of(account)
            if not markets or redemption.market.condition_id in markets
        ]

    def _position_rows(self, request: Request, parameter: str) -> list[dict[str, Any]]:
        account = self._account(request)
        held = self._holdings(account, _several(request, parameter))
        sizes = {holding.token: holding.size for holding in held}
        return [self._position_row(account, holding, sizes) for holding in held]

    def _holdings(self, account: VenueAccount, markets: Sequence[str]) -> list[Holding]:
        parts = self._fills(account, markets)
        return holdings(reversed(parts), self._redemptions(account, markets))

    def _worth(self, account: VenueAccount, request: Request, parameter: str) -> Decimal:
        held = self._holdings(account, _several(request, parameter))
        return sum((h.size * self._price(h.market, h.outcome) for h in held), ZERO)

    def _position_row(
        self, account: VenueAccount, holding: Holding, sizes: dict[str, Decimal]
    ) -> dict[str, Any]:
        market, outcome = holding.market, holding.outcome
        price = self._price(market, outcome)
        value = holding.size * price
        winner = self._listing.winner(market)
        other = market.market.token(outcome.other)
        unrealized = value - holding.cost
        total = unrealized + holding.realized
        status = "OPEN"
        if winner is not None:
            status = "REDEEMABLE"
        if not holding.size:
            status = "CLOSED"
        return {
            "proxy_wallet": account.funder.lower(),
            "token_id": holding.token,
            "condition_id": market.condition_id,
            "current_size": float(holding.size),
            "avg_price": float(holding.average),
            "entry_cost_usdc": float(holding.cost),
            "entry_fees_usdc": float(holding.fees),
            "total_cost_usdc": float(holding.cost),
            "current_price": float(price),
            "current_value": float(value),
            "total_size": float(holding.bought),
            "realized_pnl": float(holding.realized),
            "unrealized_pnl": float(unrealized),
            "total_pnl": float(total),
            "percent_pnl": percent(unrealized, holding.cost),
            "percent_realized_pnl": percent(holding.realized, holding.spent),
            "status": status,
            "redeemable": status == "REDEEMABLE",
            "mergeable": status == "OPEN" and bool(sizes.get(other)),
            "negative_risk": market.market.neg_risk,
            "archived": False,
            "verified": True,
            **names(market, outcome),
            "opposite_outcome": outcome.other.value,
            "opposite_token_id": other,
            "end_date": datetime.fromtimestamp(market.end, UTC).strftime("%Y-%m-%d"),
            "first_entry_at": holding.first_s,
            "last_event_at": holding.last_s,
        }

    def _price(self, market: VenueMarket, outcome: Outcome) -> Decimal:
        """Return what a share is worth: 1 or 0 after the resolution, the midpoint before."""
        winner = self._listing.winner(market)
        if winner is not None:
            return Decimal(int(outcome is winner))
        book = self._floor.live(market).book
        bid, ask = book.best_bid(), book.best_ask()
        if not bid and ask == PRICE_UNITS:
            return Decimal("0.5")
        return usd(own_price(outcome, bid) + own_price(outcome, ask)) / 2

    def _trade_rows(
        self, request: Request, parameter: str, taker_parameter: str, *, default: bool
    ) -> list[dict[str, Any]]:
        query = request.query_params
        account = self._account(request)
        flag = query.get(taker_parameter, "").lower()
        taker_only = flag != "false" if default else flag == "true"
        start, end = _window(request)
        return [
            trade_row(account, fill)
            for fill in self._fills(account, _several(request, parameter))
            if (fill.move.is_taker or not taker_only)
            and query.get("side", fill.side.value) == fill.side.value
            and start <= fill.trade.match_ms // 1000 <= end
        ]

    def _activity_rows(self, request: Request, parameter: str) -> list[dict[str, Any]]:
        account = self._account(request)
        markets = _several(request, parameter)
        rows = [
            {
                **trade_row(account, fill),
                "type": "TRADE",
                "usdc_size": float(fill.value),
            }
            for fill in self._fills(account, markets)
        ]
        rows.extend(
            redemption_row(account, redemption)
            for redemption in self._redemptions(account, markets)
        )
        kinds = _several(request, "type")
        start, end = _window(request)
        rows = [
            row
            for row in rows
            if (not kinds or row["type"] in kinds) and start <= row["timestamp"] <= end
        ]
        latest_first = request.query_params.get("sort_direction", "DESC").upper() != "ASC"
        return sorted(rows, key=lambda row: row["timestamp"], reverse=latest_first)


def _in_status(row: dict[str, Any], status: str) -> bool:
    if status in {"", "OPEN", "REDEEMABLE", "CLOSED"}:
        return status in {"", row["status"]}
    if status == "REDEEMABLE_LOST":
        return bool(row["status"] == "REDEEMABLE" and row["current_price"] == 0)
    return status == "MERGEABLE" and bool(row["mergeable"])


def _agrees(wanted: str | None, value: bool) -> bool:
    return wanted is None or wanted == "" or (wanted.lower() == "true") is value


def _several(request: Request, parameter: str) -> list[str]:
    """Return the values of a parameter that may be repeated or have commas."""
    texts = request.query_params.getlist(parameter)
    return [part for text in texts for part in text.split(",") if part]


def _window(request: Request) -> tuple[Decimal, Decimal]:
    start = _number(request.query_params.get("start"), ZERO, "start")
    return start, _number(request.query_params.get("end"), Decimal("1e18"), "end")


def _number(text: str | None, default: Decimal, name: str) -> Decimal:
    if not text:
        return default
    if len(text) > 20 or not text.replace(".", "", 1).isdecimal() or not text.isascii():
        raise Refusal(400, f"invalid {name}")
    return Decimal(text)


def _slice(request: Request, rows: Sequence[dict[str, Any]], most: int) -> Response:
    query = request.query_params
    limit = int(_number(query.get("limit"), Decimal(_LIMIT), "limit"))
    offset = int(_number(query.get("offset"), ZERO, "offset"))
    if offset > most:
        raise Refusal(400, f"max historical activity offset of {most} exceeded")
    return JSONResponse(list(rows[offset : offset + min(limit, _MAX_LIMIT)]))


def _envelope(request: Request, rows: Iterable[dict[str, Any]]) -> Response:
    found = list(rows)
    query = request.query_params
    limit = int(_number(query.get("limit"), Decimal(_LIMIT), "limit"))
    limit = min(max(limit, 1), _MAX_PAGE)
    offset = read_offset(query.get("cursor", ""))
    end = offset + limit
    more = end < len(found)
    return JSONResponse(
        {
            "data": found[offset:end],
            "pagination": {
                "has_more": more,
                "next_cursor": write_offset(end) if more else None,
            },
        }
    )
