"""What orders can come to, whoever wins, whatever still fills, and whatever fails. Exact.

A buy of x shares at p is worth x × (1 − p) USD if its outcome wins, and −x × p if not. So the worst
that can come of it has two sides: for the end in which its outcome wins as few of its shares as
possible count, for the other end as many as possible.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal

from attrs import frozen

from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, Side
from polyframe.model.trade import Fill, TradeStatus


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
    orders: Iterable[Order], fills: Iterable[Fill], certain: Collection[str] = ()
) -> list[Leg]:
    """Return what buys that rest can come to.

    What is matched may still fail, until its trade is confirmed. An order that may still fill can fill
    as a whole. So can one that has ended: a fill of it may not have been heard of yet. Only those that
    are `certain` have come to what is known of them.

    Args:
        orders: Orders of one cycle. A sell of Up at p earns what a buy of Down at 1 − p does, whoever
            wins; the fee of one that takes is left out.
        fills: Their fills.
        certain: Client ids of orders that had ended before all trades were read once more.
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
            _most(order, order.client_id in certain),
        )
        for order in orders
    ]


def _most(order: Order, is_certain: bool) -> Decimal:
    return order.filled if is_certain else max(order.size, order.filled)
