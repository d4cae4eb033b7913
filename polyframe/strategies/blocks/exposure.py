"""What a strategy's buys come to at most: those on their way, and fills that are told late."""

from __future__ import annotations

from collections.abc import Container
from decimal import Decimal

from attrs import define, field

from polyframe.model.market import Outcome
from polyframe.model.order import Side
from polyframe.strategies.blocks.worstcase import is_doubtful, most_cost, most_shares
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
        sides: Whose orders are to be certain. Shares and cost are those of buys in any case.
    """

    strategy: Strategy = field(repr=False)
    sides: frozenset[Side] = frozenset({Side.BUY})
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
    def certain(self) -> Container[str]:
        """Client ids of the orders that are over and of which nothing is still to be told."""
        return self._certain

    @property
    def is_certain(self) -> bool:
        """Whether no order that is over counts for more than it is known to have got."""
        orders = self.strategy.trading.orders()
        return not any(
            is_doubtful(order, self._certain) for order in orders if order.side in self.sides
        )

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
