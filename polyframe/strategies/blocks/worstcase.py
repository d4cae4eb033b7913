"""What orders can come to, whoever wins, whatever still fills, and whatever fails. Exact.

How much an order may still get is `to_come`, and all else here follows from it. An order that is over
may have been filled in the instant before, and the answer to its cancel does not say so (PROTOCOL §5.6).
So it counts in full until a comparison with the venue that began after its end (`Exposure` has those
that are *certain*).

A buy of x shares at p is worth x × (1 − p) USD if its outcome wins, and −x × p if not. So the worst
that can come of it has two sides: for the end in which its outcome wins as few of its shares as
possible count, for the other end as many as possible.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from decimal import ROUND_CEILING, Decimal

from attrs import frozen

from polyframe.model.grid import CENT
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.trade import Fill, TradeStatus

# ---------------------------------------------------------------------------------- what may still fill


_OVER = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED})
"""Ends of an order before which it may have been filled; one that was rejected never existed."""


def is_doubtful(order: Order, certain: Container[str] = ()) -> bool:
    """Return whether an order that is over may have got more than is known."""
    return order.client_id not in certain and order.status in _OVER and order.remaining > 0


def to_come(order: Order, certain: Container[str] = ()) -> Decimal:
    """Return the shares that an order may still be filled with.

    Args:
        order: In whatever state.
        certain: Client ids of orders that are over and of which nothing is still to be told.
    """
    status = order.status
    if status is OrderStatus.REJECTED or (status in _OVER and order.client_id in certain):
        return ZERO
    return order.remaining


def most_shares(orders: Iterable[Order], outcome: Outcome, certain: Container[str] = ()) -> Decimal:
    """Return the shares of `outcome` that the buys among `orders` bought or may still buy.

    Args:
        orders: All of a cycle, also those that are over.
        outcome: Which share.
        certain: As in `to_come`.
    """
    buys = (each for each in orders if each.side is Side.BUY and each.outcome is outcome)
    return sum((_paid_for(order, certain) for order in buys), ZERO)


def most_cost(orders: Iterable[Order], certain: Container[str] = ()) -> Decimal:
    """Return the USD that the buys among `orders` cost or may still cost, without fees.

    Each is counted in whole cents, rounded up; the arguments are those of `most_shares`.
    """
    buys = (each for each in orders if each.side is Side.BUY)
    costs = (order.price * _paid_for(order, certain) for order in buys)
    return sum((cost.quantize(CENT, ROUND_CEILING) for cost in costs), ZERO)


def _paid_for(order: Order, certain: Container[str]) -> Decimal:
    """Return the most shares that an order gets at its limit; also what was matched and failed counts."""
    most = max(order.filled, order.matched) + to_come(order, certain)
    # At a better price the venue gives more shares for the same money.
    return min(most, order.size)


def most_unpaired(
    held: Mapping[Outcome, Decimal], orders: Iterable[Order], certain: Container[str] = ()
) -> Decimal:
    """Return the most shares that can be without a partner, whatever orders still fill.

    Args:
        held: Shares of each outcome, with what orders have been filled with so far.
        orders: Each may fill or not. Those that do not rest should not be among them as buys: they may
            get more shares than they name.
        certain: As in `to_come`.
    """
    low = high = held[Outcome.UP] - held[Outcome.DOWN]
    for order in orders:
        if (order.side is Side.BUY) is (order.outcome is Outcome.UP):
            high += to_come(order, certain)
        else:
            low -= to_come(order, certain)
    return max(high, -low, ZERO)


# ---------------------------------------------------------------------------------- whoever wins


@frozen
class Leg:
    """What one buy can come to.

    Attributes:
        outcome: What it buys.
        price: USD per share, at most.
        least: Shares that it surely has: their trades are confirmed.
        most: Shares that it can have in the end.
    """

    outcome: Outcome
    price: Decimal
    least: Decimal
    most: Decimal


def worst_ends(legs: Iterable[Leg]) -> dict[Outcome, Decimal]:
    """Return the USD that all legs together earn at least, by who wins; makers pay no fee."""
    ends = dict.fromkeys(Outcome, ZERO)
    for leg in legs:
        ends[leg.outcome] += leg.least * (ONE - leg.price)
        ends[leg.outcome.other] -= leg.most * leg.price
    return ends


def room_for(outcome: Outcome, price: Decimal, legs: Iterable[Leg], max_loss: Decimal) -> Decimal:
    """Return the shares of `outcome` that may be bid for at `price` without risking a greater loss.

    However much of the bid fills, it makes only the end worse in which the other outcome wins. So bids
    for both outcomes can be judged one by one, and placed at once.

    Args:
        outcome: What would be bid for.
        price: USD per share.
        legs: All buys so far, those under way included.
        max_loss: USD that may be lost.
    """
    end = worst_ends(legs)[outcome.other]
    return max((end + max_loss) / price, ZERO)


def legs_of(
    orders: Iterable[Order], fills: Iterable[Fill], certain: Container[str] = ()
) -> list[Leg]:
    """Return what orders that rest can come to.

    What is matched may still fail, until its trade is confirmed; `to_come` may still fill.

    Args:
        orders: Orders of one cycle. A sell of Up at p earns what a buy of Down at 1 − p does, whoever
            wins; the fee of one that takes is left out.
        fills: Their fills.
        certain: As in `to_come`.
    """
    sure: dict[str, Decimal] = {}
    for fill in fills:
        if fill.status is TradeStatus.CONFIRMED:
            sure[fill.client_id] = sure.get(fill.client_id, ZERO) + fill.size
    return [
        Leg(
            order.outcome if order.side is Side.BUY else order.outcome.other,
            order.price if order.side is Side.BUY else ONE - order.price,
            sure.get(order.client_id, ZERO),
            order.filled + to_come(order, certain),
        )
        for order in orders
    ]
