"""Trades and fills, and how far their settlement is."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec
from attrs import frozen

from polyframe.model.market import Outcome
from polyframe.model.order import Side


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
        price: USD per share.
        size: Shares.
        is_taker: Whether this order crossed the spread; takers pay the fee.
    """

    order_id: str
    token: str
    side: Side
    price: Decimal
    size: Decimal
    is_taker: bool


@frozen
class Fill:
    """One fill of one of our orders. Never changes: every change makes a new value.

    Attributes:
        trade_id: The venue's id of the trade; with `client_id` the key of the fill.
        client_id: Our order.
        strategy: Name of the strategy that owns the order.
        generation, slug: The cycle.
        outcome, side, price, size: What was bought or sold, USD per share and shares.
        fee: USD, 0 for makers.
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
