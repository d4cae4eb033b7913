"""The life of an order: which state follows, and what the order can still cost."""

from __future__ import annotations

from decimal import Decimal

from attrs import define, field

from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderStatus

DUST = Decimal("0.01")
"""Shares by which a complete order may differ from the sum of its fills (PROTOCOL §5.6)."""


@define
class OrderTrack:
    """What is known of an order besides its value.

    Attributes:
        proven: The venue has accepted it, reported it or filled it: it exists, or did.
        said_matched: The venue called it matched, so a rest within `DUST` never fills.
        size_known: False for a foreign order of which only fills were seen.
        seen: Shares of all its fills. Those of failed trades count: the venue has matched them and
            does not put them back.
        trades: Ids of its trades in order of first sight, with the number under which the fill is
            booked (``None`` if it failed).
    """

    proven: bool = False
    said_matched: bool = False
    size_known: bool = True
    seen: Decimal = ZERO
    trades: dict[str, int | None] = field(factory=dict)


def next_status(
    order: Order, track: OrderTrack, wanted: OrderStatus | None, *, market_open: bool
) -> OrderStatus:
    """Return the state that follows.

    Final states stay. Otherwise a state only moves forward, but for a cancel that was refused.

    Args:
        order: The order as it was.
        track: What is known now.
        wanted: The state that a command or message leads to; ``LIVE`` stands for "as open as its
            fills and proofs say", ``None`` for no opinion.
        market_open: False once the market is resolved: nothing is open then.
    """
    if order.status.is_final:
        return order.status
    if is_complete(order, track):
        return OrderStatus.FILLED
    if not market_open:
        return OrderStatus.EXPIRED
    if wanted is not None and wanted is not OrderStatus.LIVE:
        return wanted
    if order.status is OrderStatus.CANCELLING and wanted is None:
        return order.status
    if track.seen:
        return OrderStatus.PARTIALLY_FILLED
    if track.proven:
        return OrderStatus.LIVE
    # A refused cancel of an order that nothing has proven: the venue may not even know it.
    return OrderStatus.UNKNOWN if order.status is OrderStatus.CANCELLING else order.status


def is_complete(order: Order, track: OrderTrack) -> bool:
    """Return whether its fills are all that it will ever have."""
    if not track.size_known or (not track.seen and order.size > 0):
        return False
    missing = order.size - track.seen
    if missing <= 0:
        return True
    said = track.said_matched or order.matched >= order.size
    return said and bool(track.seen) and missing <= DUST


def unreported(order: Order, track: OrderTrack) -> Decimal:
    """Return the shares that the venue says are matched and of which no trade came yet.

    Up to `DUST` of them is rounding, and none at all.
    """
    if not order.matched:
        return ZERO
    missing = min(order.matched, order.size) - track.seen
    return missing if missing > DUST else ZERO


def may_fill(order: Order, track: OrderTrack) -> Decimal:
    """Return the shares that may still be filled: the rest, or the matches still to be reported."""
    if order.is_open:
        return max(order.size - track.seen, ZERO)
    return unreported(order, track)
