"""What the market allows (PROTOCOL §2.8): checked before anything is signed or sent."""

from __future__ import annotations

from decimal import Decimal

from polyframe.model.events import PriceChanged
from polyframe.model.grid import CENT, LARGEST, SIZE_STEP
from polyframe.model.market import Market
from polyframe.model.money import ONE
from polyframe.model.order import OrderRequest, OrderType, Side
from polyframe.trading.commands import Denied

GTD_LEAD = 180
"""Seconds that the expiry of a GTD order has to be ahead at least (PROTOCOL §2.8)."""


def broken_rule(
    market: Market, tick: Decimal, quote: PriceChanged, request: OrderRequest, now: float
) -> Denied | None:
    """Return the first rule of the market that a request breaks, ``None`` if it keeps them all.

    Args:
        market: The market.
        tick: The price step in USD that holds now.
        quote: The latest top of book of the request's outcome.
        request: What is wanted.
        now: Market time in epoch seconds.
    """
    return (
        _broken_price(tick, request.price)
        or (_broken_size(market, request) if request.usd is None else _broken_usd(request))
        or _broken_lifetime(request, now)
        or _broken_notional(market, quote, request)
    )


def _broken_price(tick: Decimal, price: Decimal) -> Denied | None:
    if not tick <= price <= ONE - tick:
        return Denied("price", f"price {price} is outside {tick} to {ONE - tick}")
    if price % tick:
        return Denied("tick", f"price {price} is not a multiple of the tick {tick}")
    return None


def _broken_size(market: Market, request: OrderRequest) -> Denied | None:
    price, size = request.price, request.size
    if size >= LARGEST:
        return Denied("size", f"size {size} must be below {LARGEST}")
    if size <= 0 or size % SIZE_STEP:
        return Denied("size", f"size {size} must be above 0, in steps of {SIZE_STEP}")
    if size < market.min_size:
        return Denied("min_size", f"size {size} is below the minimum {market.min_size}")
    if request.side is Side.BUY and not request.order_type.rests and price * size % CENT:
        # The venue spends a sum of USD for such an order, and sums have two decimals.
        text = (
            f"a {request.order_type} buy spends whole cents, but {price} × {size} is "
            f"{(price * size).normalize():f} USD; take a size that fits, a sum of USD "
            "(market_buy), or GTC"
        )
        return Denied("cents", text)
    return None


def _broken_usd(request: OrderRequest) -> Denied | None:
    price, size, usd = request.price, request.size, request.usd or Decimal(0)
    if request.side is not Side.BUY or request.order_type.rests:
        text = f"only a FOK or FAK buy is for a sum of USD, not a {request.order_type}"
        return Denied("usd", f"{text} {request.side}; give price and size")
    if usd >= LARGEST:
        return Denied("cents", f"{usd} USD must be below {LARGEST}")
    if usd <= 0 or usd % CENT:
        return Denied("cents", f"{usd} USD must be above 0, in whole cents")
    # Within one of the finest steps of shares; what is reserved follows from the size.
    if not 0 <= usd - price * size < price * CENT * CENT:
        text = f"size {size} is not what {usd} USD buy at {price}; use OrderRequest.market_buy"
        return Denied("usd", text)
    return None


def _broken_lifetime(request: OrderRequest, now: float) -> Denied | None:
    kind, expires = request.order_type, request.expires
    if request.post_only and not kind.rests:
        return Denied("post_only", f"post_only needs GTC or GTD, not {kind}")
    if (expires is not None) is not (kind is OrderType.GTD):
        return Denied("expires", f"GTD orders have a time to expire and others none, not {kind}")
    if expires is not None and expires < now + GTD_LEAD:
        text = (
            f"expires in {expires - now:.0f} s, but the venue takes GTD orders of at least "
            f"{GTD_LEAD} s (and ends them 60 s early); use GTC and cancel it"
        )
        return Denied("expires", text)
    return None


def _broken_notional(market: Market, quote: PriceChanged, request: OrderRequest) -> Denied | None:
    takes = not request.order_type.rests or (quote.ask is not None and request.price >= quote.ask)
    notional = request.price * request.size if request.usd is None else request.usd
    if request.side is Side.BUY and takes and notional < market.min_notional:
        text = f"{notional} USD is below the {market.min_notional} USD of a marketable buy"
        return Denied("min_notional", text)
    return None
