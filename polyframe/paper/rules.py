"""What the venue refuses (PROTOCOL §2.7, §2.8), with the codes that its client knows."""

from __future__ import annotations

from decimal import Decimal

from polyframe.exchange.base import PlaceAnswer
from polyframe.model.grid import CENT, SIZE_STEP
from polyframe.model.money import ZERO, units_price
from polyframe.model.order import OrderType, PlaceResult, Side
from polyframe.paper.account import PaperAccount
from polyframe.paper.book import shares
from polyframe.paper.matching import PaperMarket
from polyframe.paper.values import Match, PaperOrder

GTD_LEAD_MS = 180_000
"""How far ahead the expiry of a GTD order has to be at least (PROTOCOL §2.8)."""

GTD_EARLY_MS = 60_000
"""How much earlier than its expiry a GTD order ends (PROTOCOL §2.8)."""


def refused(code: str, text: str) -> PlaceAnswer:
    """Return the answer to an order that does not come to exist."""
    return PlaceAnswer(PlaceResult.REJECTED, code, text)


def malformed(order: PaperOrder, market: PaperMarket, now_ms: int) -> PlaceAnswer | None:
    """Return the refusal of an order that breaks a rule whatever the book is."""
    request = order.request
    tick = units_price(market.book.tick)
    if now_ms >= order.market.window.end * 1000:
        return refused("market_not_found", "no orderbook exists: the market is over")
    if not tick <= request.price <= 1 - tick or request.price % tick:
        return refused("tick_size", f"price {request.price} breaks minimum tick size {tick}")
    if payload := _broken_payload(order):
        return refused("invalid_payload", payload)
    if request.order_type.rests and request.size < order.market.min_size:
        text = f"size {request.size} lower than the minimum: {order.market.min_size}"
        return refused("min_size", text)
    is_gtd = request.order_type is OrderType.GTD
    if is_gtd is not (request.expires is not None) or (
        request.expires is not None and request.expires * 1000 < now_ms + GTD_LEAD_MS
    ):
        return refused("invalid_expiration", f"invalid expiration {request.expires}")
    return None


def _broken_payload(order: PaperOrder) -> str:
    request = order.request
    if request.usd is None and (request.size <= 0 or request.size % SIZE_STEP):
        return f"size {request.size} is not in steps of {SIZE_STEP}"
    if request.usd is not None and not order.spends:
        return "only a FOK or FAK buy is for a sum of USD"
    if order.spends and (order.usd <= 0 or order.usd % CENT):
        return f"{order.usd} USD are not whole cents"
    if request.post_only and not request.order_type.rests:
        return "post-only needs GTC or GTD"
    return ""


def unmatchable(
    order: PaperOrder, plan: list[Match], account: PaperAccount, held: Decimal
) -> PlaceAnswer | None:
    """Return the refusal of an order that must not meet the book as it is.

    Args:
        order: The order.
        plan: What it would take.
        account: Who would pay.
        held: What open orders hold of the cash (for a buy) or of the shares (for a sell).
    """
    request = order.request
    if request.post_only and plan:
        return refused("post_only_would_cross", "invalid post-only order: order crosses book")
    if request.side is Side.SELL:
        if request.size > account.sellable(order.token) - held:
            return refused("not_enough_balance", "not enough balance / allowance")
        return None
    takes = bool(plan) or not request.order_type.rests
    if takes and order.usd < order.market.min_notional:
        text = f"invalid amount for a marketable BUY order: min size {order.market.min_notional}"
        return refused("min_notional", text)
    if cost(order, plan) > account.cash - held:
        return refused("not_enough_balance", "not enough balance / allowance")
    return None


def cost(order: PaperOrder, plan: list[Match]) -> Decimal:
    """Return what a buy needs in USD: what it takes with the fees, and the rest at its limit.

    The fee is charged on top (PROTOCOL §2.9); what comes to rest is a maker and pays none.
    """
    taken = fees = ZERO
    for match in plan:
        size, price = shares(match.size), units_price(order.flipped(match.price))
        taken += size * price
        fees += order.market.fees.taker_fee(size, price)
    if order.spends:
        return order.usd + fees
    left = order.request.size - sum((shares(match.size) for match in plan), ZERO)
    return taken + fees + left * order.request.price
