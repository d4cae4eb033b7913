"""When a resting order is worth moving: do less."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from attrs import field, frozen
from attrs.validators import optional

from polyframe.checks import must, not_negative, some_seconds
from polyframe.model.order import Order, OrderStatus

_IN_FLIGHT = frozenset(
    {OrderStatus.NEW, OrderStatus.SUBMITTING, OrderStatus.UNKNOWN, OrderStatus.CANCELLING}
)
"""What happens to such an order is decided elsewhere; its answer is waited for."""


class Requote(Enum):
    """What to do about one quote."""

    KEEP = "keep"
    """Nothing: it rests well enough, or its answer is on the way, or nothing is wanted or there."""
    PLACE = "place"
    """There is no order: place one."""
    REPLACE = "replace"
    """Cancel it; place the new one once the venue has ended it."""
    CANCEL = "cancel"
    """Cancel it; nothing is wanted."""


@frozen
class RequotePolicy:
    """How far a resting order may be from what is wanted before it is moved.

    Each move costs two requests, the place in the queue, and an instant without a quote. So an order
    is kept while its price is within `ticks` of the wanted one, what is left of it within `shares` of
    the wanted size, *and* it is younger than `max_age`.

    Attributes:
        ticks: Ticks by which the price may differ.
        shares: Shares by which the size may differ.
        max_age: Market seconds after which it is moved if it differs at all; ``None`` for never.
    """

    ticks: int = field(
        default=1, validator=must("whole ticks, at least 0", lambda n: type(n) is int and n >= 0)
    )
    shares: Decimal = field(default=Decimal("0.5"), validator=not_negative)
    max_age: float | None = field(default=None, validator=optional(some_seconds))

    def decide(
        self, order: Order | None, price: Decimal | None, size: Decimal, tick: Decimal, now: float
    ) -> Requote:
        """Return what to do about a quote.

        Args:
            order: What rests now, ``None`` if nothing does.
            price: Wanted price in USD, ``None`` if no quote is wanted.
            size: Wanted shares.
            tick: The price step of now in USD.
            now: Market time in epoch seconds.
        """
        is_wanted = price is not None and size > 0
        if order is None or order.status.is_final:
            return Requote.PLACE if is_wanted else Requote.KEEP
        if order.status in _IN_FLIGHT:
            return Requote.KEEP
        if price is None or not is_wanted:
            return Requote.CANCEL
        moved, changed = abs(order.price - price), abs(order.remaining - size)
        if moved > self.ticks * tick or changed > self.shares:
            return Requote.REPLACE
        is_old = self.max_age is not None and now - order.created_ms / 1000 >= self.max_age
        return Requote.REPLACE if is_old and (moved or changed) else Requote.KEEP
