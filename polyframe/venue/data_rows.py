"""Rows of the Data API: one wording for both of its versions (PROTOCOL §7.1, §7.2)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from polyframe.model.market import Outcome
from polyframe.venue.account import VenueAccount
from polyframe.venue.portfolio import Fill, Redemption
from polyframe.venue.values import VenueMarket

_V1_NAMES = {
    "proxy_wallet": "proxyWallet",
    "token_id": "asset",
    "condition_id": "conditionId",
    "current_size": "size",
    "avg_price": "avgPrice",
    "entry_cost_usdc": "initialValue",
    "entry_fees_usdc": "entryFeesUsdc",
    "current_price": "curPrice",
    "current_value": "currentValue",
    "total_size": "totalBought",
    "realized_pnl": "realizedPnl",
    "unrealized_pnl": "cashPnl",
    "percent_pnl": "percentPnl",
    "percent_realized_pnl": "percentRealizedPnl",
    "usdc_size": "usdcSize",
    "outcome_index": "outcomeIndex",
    "opposite_outcome": "oppositeOutcome",
    "opposite_token_id": "oppositeAsset",
    "end_date": "endDate",
    "event_slug": "eventSlug",
    "negative_risk": "negativeRisk",
    "transaction_hash": "transactionHash",
}
_ONLY_V2 = {"total_cost_usdc", "total_pnl", "status", "archived", "verified"}
_ONLY_V2 |= {"first_entry_at", "last_event_at"}


def trade_row(account: VenueAccount, fill: Fill) -> dict[str, Any]:
    """Return one part of a trade."""
    return {
        "proxy_wallet": account.funder.lower(),
        "side": fill.side.value,
        "token_id": fill.move.token,
        "condition_id": fill.trade.market.condition_id,
        "size": float(fill.size),
        "price": float(fill.value / fill.size),
        "timestamp": fill.trade.match_ms // 1000,
        **names(fill.trade.market, fill.outcome),
        "transaction_hash": fill.trade.transaction,
    }


def redemption_row(account: VenueAccount, redemption: Redemption) -> dict[str, Any]:
    """Return a redemption as an activity."""
    return {
        "proxy_wallet": account.funder.lower(),
        "token_id": redemption.token,
        "condition_id": redemption.market.condition_id,
        "type": redemption.kind,
        "size": float(abs(redemption.shares)),
        "usdc_size": float(abs(redemption.cash)),
        "price": 0.0,
        "side": "",
        "timestamp": redemption.time_ms // 1000,
        **names(redemption.market, redemption.outcome),
        "transaction_hash": redemption.transaction,
    }


def names(market: VenueMarket, outcome: Outcome) -> dict[str, Any]:
    """Return what people call a market and its outcome."""
    return {
        "title": market.market.question,
        "slug": market.slug,
        "event_slug": market.slug,
        "outcome": outcome.value,
        "outcome_index": 0 if outcome is Outcome.UP else 1,
    }


def old_style(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as the first version of the API words it."""
    return {_V1_NAMES.get(name, name): value for name, value in row.items() if name not in _ONLY_V2}


def percent(part: Decimal, whole: Decimal) -> float:
    """Return a share of a whole in percent, 0 of nothing."""
    return round(float(part / whole * 100), 4) if whole else 0.0
