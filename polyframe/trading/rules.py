"""What the market allows (PROTOCOL §2.8): checked before anything is signed or sent."""

from __future__ import annotations

from decimal import Decimal

from polyframe.model.events import PriceChanged
from polyframe.model.market import Market
from polyframe.model.money import ONE
from polyframe.model.order import OrderRequest, OrderType, Side
from polyframe.trading.commands import Denied

SIZE_STEP = Decimal("0.01")
"""Orders have at most two decimals of shares."""


def broken_rule(
    market: Market, tick: Decimal, quote: PriceChanged, request: OrderRequest
) -> Denied | None:
    """Return the first rule of the market that a request breaks, ``None`` if it keeps them all.

    Args:
        market: The market.
        tick: The price step in USD that holds now.
        quote: The latest top of book of the request's outcome.
        request: What is wanted.
    """
    price, size = request.price, request.size
    if not tick <= price <= ONE - tick:
        return Denied("price", f"price {price} is outside {tick} to {ONE - tick}")
    if price % tick:
        return Denied("tick", f"price {price} is not a multiple of the tick {tick}")
    if size <= 0 or size % SIZE_STEP:
        return Denied("size", f"size {size} must be above 0, in steps of {SIZE_STEP}")
    if request.post_only and request.order_type is not OrderType.GTC:
        return Denied("post_only", f"post_only needs GTC, not {request.order_type}")
    if size < market.min_size:
        return Denied("min_size", f"size {size} is below the minimum {market.min_size}")
    takes = request.side is Side.BUY and quote.ask is not None and price >= quote.ask
    if takes and price * size < market.min_notional:
        text = f"{price} × {size} is below the {market.min_notional} USD of a marketable buy"
        return Denied("min_notional", text)
    return None
