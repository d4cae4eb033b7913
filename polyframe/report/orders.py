"""Orders as reports tell of them: what was asked for, what the book showed, what came of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from attrs import frozen

from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, OrderType, Side


class Decision(msgspec.Struct, frozen=True):
    """One thing that a strategy asked of the venue, at the instant at which it did.

    Attributes:
        time_ms: Epoch milliseconds of market time.
        slug: The market.
        action: ``"place"`` or ``"cancel"``.
        outcome, side, price, size, order_type: The order.
        number: Of the order in the run, from 1: the first order that is placed is 1.
    """

    time_ms: int
    slug: str
    action: str
    outcome: Outcome
    side: Side
    price: Decimal
    size: Decimal
    order_type: OrderType
    number: int


@frozen
class Level:
    """What one level gave.

    Attributes:
        time_ms: When it was matched, in epoch milliseconds.
        price: USD a share.
        size: Shares.
        fee: USD.
        is_taker: Whether the order crossed the spread.
        failed: Whether the trade failed afterwards.
    """

    time_ms: int
    price: Decimal
    size: Decimal
    fee: Decimal
    is_taker: bool
    failed: bool = False


@frozen
class OrderView:
    """What the book of an order's outcome showed when the order was decided.

    Attributes:
        mid: The middle of best bid and best ask in USD, ``None`` if a side was empty.
        touch: The best price of the side that the order takes from, ``None`` if that was empty.
        touch_size: Shares at `touch`.
        limit_size: Shares from `touch` to the order's limit; 0 if the limit does not reach it.
    """

    mid: Decimal | None
    touch: Decimal | None
    touch_size: Decimal
    limit_size: Decimal


@frozen
class ReportedOrder:
    """One order that was sent, and what it got.

    Attributes:
        slug: Its market.
        strategy: Name of the strategy that placed it.
        request: What was asked for.
        sent_ms: When it was decided, in epoch milliseconds.
        arrived_ms: When its answer was there; ``None`` if that was not recorded.
        view: The book at the decision, ``None`` if that was not recorded.
        answer: What became of it at first (``"live"``, ``"matched"``, the code of a refusal); out of
            a ledger its last status.
        levels: What it got and kept, level by level.
        result: USD that it earns after fees if its shares are held until the market pays: for a buy
            the payout minus cost, for a sell the proceeds minus the payout given up. ``None`` while
            the market is not resolved, or nothing was filled.
    """

    slug: str
    strategy: str
    request: OrderRequest
    sent_ms: int
    arrived_ms: int | None
    view: OrderView | None
    answer: str
    levels: tuple[Level, ...]
    result: Decimal | None = None

    @property
    def mid(self) -> Decimal | None:
        """The middle of its book at the decision in USD, ``None`` if that is not known."""
        return None if self.view is None else self.view.mid

    @property
    def touch(self) -> Decimal | None:
        """The best price that it could take at the decision, ``None`` if that is not known."""
        return None if self.view is None else self.view.touch

    @property
    def size(self) -> Decimal:
        """Shares that it got."""
        return sum((level.size for level in self.levels), ZERO)

    @property
    def value(self) -> Decimal:
        """USD that they cost or brought, without fees."""
        return sum((level.size * level.price for level in self.levels), ZERO)

    @property
    def fee(self) -> Decimal:
        """USD paid to the venue."""
        return sum((level.fee for level in self.levels), ZERO)

    def slippage(self, reference: Decimal | None) -> Decimal | None:
        """Return the USD by which it did worse than at `reference`, ``None`` if that is unknown."""
        if reference is None:
            return None
        worse = self.value - reference * self.size
        return worse if self.request.side is Side.BUY else -worse
