"""Trades and fills, and how far their settlement is."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum

import msgspec
from attrs import frozen

from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Side

_MEAN_STEP = Decimal("1e-20")


class TradeStatus(StrEnum):
    """Settlement of a trade (PROTOCOL §5.4, §9); FAILED reverses the fill."""

    MATCHED = "MATCHED"
    RETRYING = "RETRYING"
    MINED = "MINED"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether settlement is over."""
        return self is TradeStatus.CONFIRMED or self is TradeStatus.FAILED


class TradeLeg(msgspec.Struct, frozen=True, gc=False):
    """One order's part in a trade, in terms of that order's own token.

    Attributes:
        order_id: The venue's id of the order.
        token: Token id that this order bought or sold.
        side: What this order did.
        price: USD per share; the mean if it met several prices, with so many decimals that price
            times size is what was paid or received to 12 decimals.
        size: Shares.
        is_taker: Whether this order crossed the spread; takers pay the fee.
        levels: If it met several prices: (USD per share, shares) of each, one by one.
    """

    order_id: str
    token: str
    side: Side
    price: Decimal
    size: Decimal
    is_taker: bool
    levels: tuple[tuple[Decimal, Decimal], ...] = ()

    @property
    def parts(self) -> tuple[tuple[Decimal, Decimal], ...]:
        """What it met: (USD per share, shares) of each price. The venue charges each by itself."""
        return self.levels or ((self.price, self.size),)


def mean_price(levels: Iterable[tuple[Decimal, Decimal]]) -> Decimal:
    """Return the mean of (USD per share, shares) with 20 decimals at most.

    They are so many that the mean times all shares, up to 10^7 of them, is the sum of the levels to
    12 decimals, which is what cash is booked with. So no amount need be carried beside the price.
    """
    notional = shares = ZERO
    for price, size in levels:
        notional += price * size
        shares += size
    return (notional / shares).quantize(_MEAN_STEP).normalize()


@frozen
class Fill:
    """One fill of one of our orders. Never changes: every change makes a new value.

    Attributes:
        trade_id: The venue's id of the trade; with `client_id` the key of the fill.
        client_id: Our order.
        strategy: Name of the strategy that owns the order.
        generation, slug: The cycle.
        outcome, side, price, size: What was bought or sold, USD per share and shares. The price of
            a taker that met several is their mean, with up to 20 decimals: price times size is what
            was paid or received to 12 decimals.
        fee: USD, 0 for makers; that of a taker is the sum of the fees at each price.
        is_taker: Whether we crossed the spread.
        status: How far settlement is.
        time_ms: Epoch milliseconds of the match.
    """

    trade_id: str
    client_id: str
    strategy: str
    generation: int
    slug: str
    outcome: Outcome
    side: Side
    price: Decimal
    size: Decimal
    fee: Decimal
    is_taker: bool
    status: TradeStatus
    time_ms: int = 0
