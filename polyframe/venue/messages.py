"""Messages of the market channel, as the venue words them (PROTOCOL §4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from polyframe.model.market import Outcome
from polyframe.venue.values import VenueMarket, mirrored, own_price, price_text, size_text

PONG = "PONG"
_FINGERPRINT_LENGTH = 40
_MAX_BRACKETS = 800
"""500 tokens with a bracket each are the most that one request asks for; that many levels of them
are within Python's own limit of recursion."""


def encode(message: Any) -> str:
    """Return compact JSON text."""
    return msgspec.json.encode(message).decode()


def decode(text: bytes) -> Any:
    """Return the value of a JSON text that a client sent.

    Raises:
        ValueError: It is none, or has more brackets than any request of this protocol: thousands of
            them within each other would overflow the stack of the parser.
    """
    if text.count(b"[") + text.count(b"{") > _MAX_BRACKETS:
        msg = f"text: expected at most {_MAX_BRACKETS} brackets"
        raise ValueError(msg)
    return json.loads(text)


def fingerprint(*parts: object) -> str:
    """Return 40 hexadecimal digits that differ when any part does."""
    text = "|".join(map(str, parts))
    return hashlib.blake2b(text.encode(), digest_size=_FINGERPRINT_LENGTH // 2).hexdigest()


def book_levels(
    outcome: Outcome, bids: Mapping[int, int], asks: Mapping[int, int]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return bids and asks of one outcome from the book in terms of Up, best level last."""
    if outcome is Outcome.DOWN:
        bids, asks = _mirror(asks), _mirror(bids)
    return (
        [{"price": price_text(p), "size": size_text(bids[p])} for p in sorted(bids)],
        [{"price": price_text(p), "size": size_text(asks[p])} for p in sorted(asks, reverse=True)],
    )


def _mirror(levels: Mapping[int, int]) -> dict[int, int]:
    return {mirrored(price): size for price, size in levels.items()}


def book(
    market: VenueMarket,
    outcome: Outcome,
    bids: Mapping[int, int],
    asks: Mapping[int, int],
    *,
    tick: int,
    last_trade: str,
    time_ms: int,
) -> dict[str, Any]:
    """Return a ``book`` message of one outcome."""
    token = market.market.token(outcome)
    bid_levels, ask_levels = book_levels(outcome, bids, asks)
    return {
        "event_type": "book",
        "market": market.condition_id,
        "asset_id": token,
        "timestamp": str(time_ms),
        "hash": fingerprint(token, time_ms, bid_levels, ask_levels),
        "bids": bid_levels,
        "asks": ask_levels,
        "tick_size": price_text(tick),
        "last_trade_price": last_trade,
    }


def price_change(
    market: VenueMarket,
    changes: Iterable[tuple[bool, int, int]],
    *,
    best_bid: int,
    best_ask: int,
    time_ms: int,
) -> dict[str, Any]:
    """Return one ``price_change`` with both tokens.

    Args:
        market: The market.
        changes: Whether it is a bid, price and new size of each level, in terms of Up.
        best_bid: Best bid for Up after all changes, 0 if there is none.
        best_ask: Best ask for Up after all changes, 10,000 if there is none.
        time_ms: The venue's time.
    """
    up_top = {"best_bid": price_text(best_bid), "best_ask": price_text(best_ask)}
    down_top = {
        "best_bid": price_text(mirrored(best_ask)),
        "best_ask": price_text(mirrored(best_bid)),
    }
    up, down = market.tokens
    entries = []
    # One digest for all of them; the other half says which change it is.
    digest = fingerprint(market.condition_id, time_ms)[:20]
    for is_bid, price, size in changes:
        text = size_text(size)
        for token, units, buys, top in (
            (up, price, is_bid, up_top),
            (down, mirrored(price), not is_bid, down_top),
        ):
            entries.append(
                {
                    "asset_id": token,
                    "price": price_text(units),
                    "size": text,
                    "side": "BUY" if buys else "SELL",
                    "hash": f"{digest}{token is up:x}{buys:x}{units:04x}{size:014x}",
                    **top,
                }
            )
    return {
        "event_type": "price_change",
        "market": market.condition_id,
        "price_changes": entries,
        "timestamp": str(time_ms),
    }


def best_bid_ask(
    market: VenueMarket, outcome: Outcome, best_bid: int, best_ask: int, time_ms: int
) -> dict[str, Any]:
    """Return a ``best_bid_ask`` message of one outcome; prices in terms of Up."""
    low, high = sorted((own_price(outcome, best_bid), own_price(outcome, best_ask)))
    return {
        "event_type": "best_bid_ask",
        "market": market.condition_id,
        "asset_id": market.market.token(outcome),
        "best_bid": price_text(low),
        "best_ask": price_text(high),
        "spread": price_text(high - low),
        "timestamp": str(time_ms),
    }


def last_trade_price(
    market: VenueMarket, outcome: Outcome, side: str, price: int, size: int, time_ms: int
) -> dict[str, Any]:
    """Return a ``last_trade_price`` of the taker's outcome; price in terms of that outcome."""
    token = market.market.token(outcome)
    return {
        "event_type": "last_trade_price",
        "market": market.condition_id,
        "asset_id": token,
        "price": price_text(price),
        "size": size_text(size),
        "side": side,
        "fee_rate_bps": "0",
        "timestamp": str(time_ms),
        "transaction_hash": f"0x{fingerprint(token, price, size, time_ms)}{'0' * 24}",
    }


def tick_size_change(
    market: VenueMarket, outcome: Outcome, old: int, new: int, time_ms: int
) -> dict[str, Any]:
    """Return a ``tick_size_change`` of one outcome."""
    return {
        "event_type": "tick_size_change",
        "market": market.condition_id,
        "asset_id": market.market.token(outcome),
        "old_tick_size": price_text(old),
        "new_tick_size": price_text(new),
        "timestamp": str(time_ms),
    }


def new_market(market: VenueMarket, time_ms: int) -> dict[str, Any]:
    """Return a ``new_market`` message: real arrays, unlike Gamma (PROTOCOL §4.8)."""
    facts = market.market
    return {
        "event_type": "new_market",
        "id": market.row_id,
        "question": facts.question,
        "market": market.condition_id,
        "condition_id": market.condition_id,
        "slug": market.slug,
        "description": "",
        "assets_ids": list(market.tokens),
        "clob_token_ids": list(market.tokens),
        "outcomes": [Outcome.UP.value, Outcome.DOWN.value],
        "event_message": _event_message(market),
        "tags": ["crypto", "up-or-down"],
        "active": True,
        "sports_market_type": "",
        "line": "",
        "game_start_time": "",
        "order_price_min_tick_size": str(facts.tick_size),
        "group_item_title": "",
        "taker_base_fee": "0",
        "fees_enabled": facts.fees.rate > 0,
        "fee_schedule": {
            "exponent": str(facts.fees.exponent),
            "rate": str(facts.fees.rate),
            "taker_only": True,
            "rebate_rate": "0.2",
        },
        "timestamp": str(time_ms),
    }


def market_resolved(market: VenueMarket, winner: Outcome, time_ms: int) -> dict[str, Any]:
    """Return a ``market_resolved`` message."""
    return {
        "event_type": "market_resolved",
        "id": market.row_id,
        "market": market.condition_id,
        "assets_ids": list(market.tokens),
        "winning_asset_id": market.market.token(winner),
        "winning_outcome": winner.value,
        "event_message": _event_message(market),
        "tags": ["crypto", "up-or-down"],
        "timestamp": str(time_ms),
    }


def _event_message(market: VenueMarket) -> dict[str, str]:
    return {
        "id": market.row_id,
        "ticker": market.slug,
        "slug": market.slug,
        "title": market.market.question,
        "description": "",
    }
