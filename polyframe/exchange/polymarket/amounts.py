"""From price, size or USD to the two amounts that an order carries, exactly (PROTOCOL §2.8)."""

from __future__ import annotations

from decimal import Decimal

from polyframe.model.grid import FINEST_TICK, TICKS, Grid
from polyframe.model.money import PRICE_UNITS
from polyframe.model.order import OrderRequest, Side

BASE_UNITS = 1_000_000
"""Base units in one USD and in one share (PROTOCOL §0.2)."""

_DECIMALS = dict(zip(TICKS, (3, 4, 5, 6, 5, 6), strict=True))
"""Decimals of the amount that is a product or quotient, by tick."""

_MARKET_DECIMALS = 4
"""The most decimals that the venue takes for it in an order that does not rest, at every tick.

The official clients use the table above, and on the ticks with more decimals their market orders are
refused: "taker amount a max of 4 decimals" (ISSUE py-clob-client-v2#99). With four or fewer decimals
the amounts are theirs.
"""


def limit_amounts(
    side: Side, price: Decimal, size: Decimal, tick: Decimal = FINEST_TICK
) -> tuple[int, int]:
    """Return ``(makerAmount, takerAmount)`` of an order that may rest, in base units.

    Nothing is rounded: with a price on the grid and a size of two decimals the product has at most
    as many decimals as the tick allows.

    Args:
        side: A buy gives USD for shares, a sell gives shares for USD.
        price: USD per share.
        size: Shares.
        tick: Price step of the market in USD.

    Raises:
        ValueError: Price or size off the grid; names it.
    """
    grid = Grid(tick)
    shares = _units(grid.check_size(size))
    usd = shares * _price_units(grid.check_price(price)) // PRICE_UNITS
    return (usd, shares) if side is Side.BUY else (shares, usd)


def market_buy_amounts(
    price: Decimal, usd: Decimal, tick: Decimal = FINEST_TICK
) -> tuple[int, int]:
    """Return ``(makerAmount, takerAmount)`` of a buy for a sum of USD, in base units.

    The venue spends the USD at `price` or better; the shares in the order only say the limit, and
    more are bought at a better price. They are rounded down, so that an ask at exactly `price` can
    be taken.

    Args:
        price: The limit in USD per share.
        usd: What to spend, without the fee: that is charged on top.
        tick: Price step of the market in USD.

    Raises:
        ValueError: Price or USD off the grid, or so few USD that the limit would not hold.
    """
    grid = Grid(tick)
    spent, limit = _units(grid.check_usd(usd)), _price_units(grid.check_price(price))
    shares = _cut(spent * PRICE_UNITS // limit, tick)
    # The finest next price must stay out of reach, or the limit is none.
    if spent * PRICE_UNITS >= shares * (limit + 1):
        msg = f"usd: {usd} is too little to keep the limit {price}; spend more"
        raise ValueError(msg)
    return spent, shares


def market_sell_amounts(
    price: Decimal, size: Decimal, tick: Decimal = FINEST_TICK
) -> tuple[int, int]:
    """Return ``(makerAmount, takerAmount)`` of a sell that does not rest, in base units.

    Args:
        price: The limit in USD per share.
        size: Shares.
        tick: Price step of the market in USD.

    Raises:
        ValueError: Price or size off the grid, or so few shares that the limit would not hold.
    """
    grid = Grid(tick)
    shares, limit = _units(grid.check_size(size)), _price_units(grid.check_price(price))
    usd = _cut(shares * limit // PRICE_UNITS, tick)
    if usd * PRICE_UNITS <= shares * (limit - 1):
        msg = f"size: {size} shares are too few to keep the limit {price}; sell more"
        raise ValueError(msg)
    return shares, usd


def order_amounts(request: OrderRequest, tick: Decimal = FINEST_TICK) -> tuple[int, int]:
    """Return ``(makerAmount, takerAmount)`` of whatever is wanted, in base units.

    A buy that does not rest names USD at the venue, also when it was asked for in shares: then price
    times size has to be whole cents.

    Args:
        request: What is wanted.
        tick: Price step of the market in USD.

    Raises:
        ValueError: It cannot be written as an order; names the field.
    """
    if request.order_type.rests:
        return limit_amounts(request.side, request.price, request.size, tick)
    if request.side is Side.SELL:
        return market_sell_amounts(request.price, request.size, tick)
    if request.usd is not None:
        return market_buy_amounts(request.price, request.usd, tick)
    Grid(tick).check_size(request.size)
    return market_buy_amounts(request.price, request.price * request.size, tick)


def _cut(units: int, tick: Decimal) -> int:
    step: int = 10 ** (6 - min(_DECIMALS[Grid(tick).tick], _MARKET_DECIMALS))
    return units - units % step


def _units(amount: Decimal) -> int:
    return int(amount * BASE_UNITS)


def _price_units(price: Decimal) -> int:
    return int(price * PRICE_UNITS)
