"""What a strategy's buys come to at most, those on their way included."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal

from polyframe.model.grid import CENT
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, Side


def most_shares(orders: Iterable[Order], outcome: Outcome) -> Decimal:
    """Return the shares of `outcome` that the resting buys among `orders` bought or may still buy.

    What was matched counts although its trade is not told yet, or failed: the number never falls by
    what happens to an order, only by what can no longer happen to it.

    A buy that does not rest spends a sum of USD and may get more shares than it names, at a better
    price (PROTOCOL §2.8): for those only `most_cost` is a bound.
    """
    return sum((_shares(order) for order in orders if _buys(order, outcome)), ZERO)


def most_cost(orders: Iterable[Order]) -> Decimal:
    """Return the USD that the buys among `orders` cost or may still cost, without fees.

    Each is counted in whole cents, rounded up.
    """
    costs = (order.price * _shares(order) for order in orders if _buys(order, None))
    return sum((cost.quantize(CENT, ROUND_CEILING) for cost in costs), ZERO)


def _buys(order: Order, outcome: Outcome | None) -> bool:
    return order.side is Side.BUY and (outcome is None or order.outcome is outcome)


def _shares(order: Order) -> Decimal:
    if order.is_open:
        return order.size
    # At a better price the venue gives more shares for the same money.
    return min(max(order.filled, order.matched), order.size)
