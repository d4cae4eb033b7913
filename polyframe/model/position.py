"""What is held of one outcome, and what it cost."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen

from polyframe.model.market import Outcome
from polyframe.model.money import ZERO


@frozen
class Position:
    """Shares of one outcome. Never changes: every change makes a new value.

    Attributes:
        outcome: Whose shares.
        size: Shares held, counted from the match on.
        settled: Shares of `size` whose trades are confirmed on chain.
        cost: What the held shares cost in USD, without fees.
        fees: Fees paid in USD, buys and sells.
        realised: Profit of shares sold in USD, without fees.
    """

    outcome: Outcome
    size: Decimal = ZERO
    settled: Decimal = ZERO
    cost: Decimal = ZERO
    fees: Decimal = ZERO
    realised: Decimal = ZERO

    @property
    def average_price(self) -> Decimal | None:
        """Mean cost of a held share in USD, ``None`` when nothing is held."""
        return self.cost / self.size if self.size else None

    def unrealised(self, price: Decimal) -> Decimal:
        """Return what the held shares would earn in USD at `price` each, without fees."""
        return self.size * price - self.cost


@frozen
class Outlook:
    """How a cycle stands, and how it would end: USD, exactly.

    Attributes:
        realised: Profit of what was sold or paid out, without fees.
        unrealised: What the held shares would earn at the best bids, without fees; ``None`` while a
            bid that is needed is not known. An empty side of a known book bids 0.
        fees: Fees paid.
        if_up: Profit of the whole cycle, after fees and with what is realised so far, if Up wins and
            nothing more is traded; once the market is resolved, the profit.
        if_down: Likewise, if Down wins.
    """

    realised: Decimal
    unrealised: Decimal | None
    fees: Decimal
    if_up: Decimal
    if_down: Decimal
