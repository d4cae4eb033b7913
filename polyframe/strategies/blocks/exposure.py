"""What a strategy's buys come to at most: those on their way, and fills that are told late."""

from __future__ import annotations

from collections.abc import Container, Iterable
from decimal import ROUND_CEILING, Decimal

from attrs import define, field

from polyframe.model.grid import CENT
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.strategy import Strategy


@define(eq=False)
class Exposure:
    """What the buys of a strategy's cycle come to at most, whatever is still told of them.

    An order that is over may have been filled in the instant before, and the answer to its cancel
    does not say so (PROTOCOL §5.6): the trade may be told seconds later. Until a comparison with the
    venue that began after its end, an order therefore counts in full. What was matched counts also if
    its trade fails: the numbers never grow by what is heard of an order.

    ::

        _bought: Exposure = field(init=False, default=Factory(Exposure, takes_self=True))

    Attributes:
        strategy: Whose.
    """

    strategy: Strategy = field(repr=False)
    _certain: set[str] = field(init=False, factory=set)

    def shares(self, outcome: Outcome) -> Decimal:
        """Return the shares of `outcome` that resting buys bought or may still buy.

        A buy that does not rest spends a sum of USD and may get more shares than it names, at a
        better price (PROTOCOL §2.8): for those only `cost` is a bound.
        """
        return most_shares(self.strategy.trading.orders(), outcome, self._certain)

    def cost(self) -> Decimal:
        """Return the USD that buys cost or may still cost, without fees."""
        return most_cost(self.strategy.trading.orders(), self._certain)

    @property
    def is_certain(self) -> bool:
        """Whether no order that is over counts for more than it is known to have got."""
        return not any(_is_doubtful(o, self._certain) for o in self.strategy.trading.orders())

    async def ascertain(self) -> bool:
        """Compare with the venue if that is needed; return whether all is certain now.

        Raises:
            StaleCycleError: The cycle is over.
        """
        if not self.is_certain:
            orders = self.strategy.trading.orders()
            ended = {order.client_id for order in orders if order.status.is_final}
            if not (await self.strategy.trading.reconcile()).error:
                self._certain |= ended
        return self.is_certain


def most_shares(orders: Iterable[Order], outcome: Outcome, certain: Container[str] = ()) -> Decimal:
    """Return the shares of `outcome` that the buys among `orders` bought or may still buy.

    Args:
        orders: All of a cycle, also those that are over.
        outcome: Which share.
        certain: Client ids of orders that are over and of which nothing is still to be told.
    """
    shares = (_shares(order, certain) for order in orders if _buys(order, outcome))
    return sum(shares, ZERO)


def most_cost(orders: Iterable[Order], certain: Container[str] = ()) -> Decimal:
    """Return the USD that the buys among `orders` cost or may still cost, without fees.

    Each is counted in whole cents, rounded up; the arguments are those of `most_shares`.
    """
    costs = (order.price * _shares(order, certain) for order in orders if _buys(order))
    return sum((cost.quantize(CENT, ROUND_CEILING) for cost in costs), ZERO)


def _buys(order: Order, outcome: Outcome | None = None) -> bool:
    return order.side is Side.BUY and (outcome is None or order.outcome is outcome)


def _shares(order: Order, certain: Container[str]) -> Decimal:
    if order.is_open or _is_doubtful(order, certain):
        return order.size
    # At a better price the venue gives more shares for the same money.
    return min(max(order.filled, order.matched), order.size)


def _is_doubtful(order: Order, certain: Container[str]) -> bool:
    """Return whether an order that is over may have got more than is known."""
    return (
        order.status.is_final
        and order.status is not OrderStatus.REJECTED
        and order.side is Side.BUY
        and order.remaining > 0
        and order.client_id not in certain
    )
