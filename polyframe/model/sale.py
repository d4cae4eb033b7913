"""Selling what is held, now: the one order that does it and fits the grid."""

from __future__ import annotations

from decimal import Decimal

from polyframe.model.events import PriceChanged
from polyframe.model.grid import Grid
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, OrderType, Side


def sale(
    outcome: Outcome,
    size: Decimal,
    quote: PriceChanged,
    *,
    tick: Decimal,
    min_size: Decimal,
    slippage: Decimal = ZERO,
    floor: Decimal = ZERO,
) -> OrderRequest | None:
    """Return the FAK order that sells now, ``None`` if there is nothing that can be sold.

    Args:
        outcome: Whose shares.
        size: Shares that may be sold; cut to steps of 0.01.
        quote: Top of that outcome's book.
        tick: The price step of now.
        min_size: The market's smallest order.
        slippage: How far below the best bid the limit may be, in USD.
        floor: Nothing is sold for less than this, in USD.
    """
    grid = Grid(tick)
    shares, least = grid.floor_size(size), grid.ceil_price(floor)
    if quote.bid is None or quote.bid < max(floor, least) or shares < min_size:
        return None
    limit = max(grid.floor_price(quote.bid - slippage), least)
    return OrderRequest(outcome, Side.SELL, limit, shares, OrderType.FAK)
