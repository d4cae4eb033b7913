"""Orders and trades of the account, and how the venue words them (PROTOCOL §2.5, §5)."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from attrs import define, field, frozen

from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, Side
from polyframe.model.trade import TradeStatus
from polyframe.venue.values import SHARE, VenueMarket, notional, price_text, size_shares, size_text

LIVE, MATCHED, CANCELED = "LIVE", "MATCHED", "CANCELED"

_LARGE = 20 * SHARE


@define(eq=False)
class VenueOrder:
    """An order that the venue took, alive or not.

    Attributes:
        order_id: Its id.
        market: Its market.
        outcome, side, price, size: What was asked for; price and size in units.
        order_type: How long it lives.
        expiration: Text as sent.
        created_ms: Epoch milliseconds of the placement.
        matched: Base units filled.
        status: ``LIVE``, ``MATCHED`` or ``CANCELED…``.
        trades: Ids of its trades.
    """

    order_id: str
    market: VenueMarket
    outcome: Outcome
    side: Side
    price: int
    size: int
    order_type: OrderType
    expiration: str
    created_ms: int
    matched: int = 0
    status: str = LIVE
    trades: list[str] = field(factory=list)

    @property
    def token(self) -> str:
        """Token id that it buys or sells."""
        return self.market.market.token(self.outcome)

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.status == LIVE

    @property
    def remaining(self) -> int:
        """Base units not filled."""
        return self.size - self.matched

    @property
    def reserved_cash(self) -> Decimal:
        """USD that its open part would cost; 0 for a sell."""
        return notional(self.price, self.remaining) if self.side is Side.BUY else Decimal(0)

    @property
    def reserved_shares(self) -> Decimal:
        """Shares that its open part would deliver; 0 for a buy."""
        return size_shares(self.remaining) if self.side is Side.SELL else Decimal(0)

    def event(self, kind: str, *, api_key: str, address: str, time_ms: int) -> dict[str, Any]:
        """Return an ``order`` message of the user channel (§5.2)."""
        return {
            "event_type": "order",
            "type": kind,
            "id": self.order_id,
            "owner": api_key,
            "order_owner": api_key,
            "market": self.market.condition_id,
            "asset_id": self.token,
            "side": self.side.value,
            "original_size": size_text(self.size),
            "size_matched": size_text(self.matched),
            "price": price_text(self.price),
            "associate_trades": list(self.trades) or None,
            "outcome": self.outcome.value,
            "created_at": str(self.created_ms // 1000),
            "expiration": self.expiration,
            "order_type": self.order_type.value,
            "status": self.status,
            "maker_address": address,
            "timestamp": str(time_ms),
        }

    def killed_event(
        self, text: str, *, api_key: str, address: str, time_ms: int
    ) -> dict[str, Any]:
        """Return the message of a FOK or FAK that found nothing; some fields are empty (§5.3)."""
        return {
            **self.event("CANCELLATION", api_key=api_key, address=address, time_ms=time_ms),
            "size_matched": "",
            "associate_trades": [],
            "outcome": "",
            "created_at": "",
            "status": f"CANCELED_{text}",
        }

    def row(self, *, api_key: str, address: str) -> dict[str, Any]:
        """Return the object of ``/data/orders`` (§2.5)."""
        return {
            "id": self.order_id,
            "status": self.status,
            "owner": api_key,
            "maker_address": address,
            "market": self.market.condition_id,
            "asset_id": self.token,
            "side": self.side.value,
            "original_size": size_text(self.size),
            "size_matched": size_text(self.matched),
            "price": price_text(self.price),
            "outcome": self.outcome.value,
            "expiration": self.expiration,
            "order_type": self.order_type.value,
            "associate_trades": list(self.trades),
            "created_at": self.created_ms // 1000,
        }


@frozen
class Party:
    """Who stands behind one order of a trade."""

    order_id: str
    api_key: str
    address: str

    @classmethod
    def stranger(cls) -> Party:
        """Return a made-up party."""
        return cls("0x" + secrets.token_hex(32), str(uuid.uuid4()), "0x" + secrets.token_hex(20))


@frozen
class MakerLeg:
    """One maker order of a trade, in terms of its own outcome."""

    party: Party
    outcome: Outcome
    side: Side
    price: int
    size: int


def strangers(outcome: Outcome, side: Side, price: int, size: int) -> Iterator[MakerLeg]:
    """Yield made-up maker legs that add up to `size`: two of them when it is large."""
    first = size * 3 // 5 if size > _LARGE else size
    for part in (first, size - first):
        if part:
            yield MakerLeg(Party.stranger(), outcome, side, price, part)


@define(eq=False)
class VenueTrade:
    """A trade in which the account took part, once or on both sides.

    All its legs are at one price: an order that takes several levels makes a trade for each, so
    that price, cost and fee of a trade are exact numbers.

    Attributes:
        trade_id: Its id.
        market: Its market.
        taker: Who took.
        is_taker: Whether that was the account.
        outcome, side, price, size: The taker's part.
        makers: Who was hit.
        match_ms, update_ms: Epoch milliseconds of the match and of the last change.
        status: How far settlement is.
        transaction: Hash of the transaction, ``""`` before it is mined.
    """

    trade_id: str
    market: VenueMarket
    taker: Party
    is_taker: bool
    outcome: Outcome
    side: Side
    price: int
    size: int
    makers: list[MakerLeg]
    match_ms: int
    update_ms: int
    status: TradeStatus = TradeStatus.MATCHED
    transaction: str = ""

    def event(self, time_ms: int) -> dict[str, Any]:
        """Return a ``trade`` message of the user channel (§5.4)."""
        return {
            "event_type": "trade",
            "type": "TRADE",
            **self._common(),
            "status": self.status.value,
            "trade_owner": self.taker.api_key,
            "timestamp": str(time_ms),
        }

    def row(self) -> dict[str, Any]:
        """Return the object of ``/data/trades``: its status has a prefix (§2.5)."""
        return {**self._common(), "status": f"TRADE_STATUS_{self.status.value}"}

    def _common(self) -> dict[str, Any]:
        return {
            "id": self.trade_id,
            "taker_order_id": self.taker.order_id,
            "market": self.market.condition_id,
            "asset_id": self.market.market.token(self.outcome),
            "side": self.side.value,
            "size": size_text(self.size),
            "fee_rate_bps": "0",
            "price": price_text(self.price),
            "match_time": str(self.match_ms // 1000),
            "last_update": str(self.update_ms // 1000),
            "outcome": self.outcome.value,
            "bucket_index": 0,
            "owner": self.taker.api_key,
            "maker_address": self.taker.address,
            "transaction_hash": self.transaction,
            "maker_orders": [
                {
                    "order_id": leg.party.order_id,
                    "owner": leg.party.api_key,
                    "maker_address": leg.party.address,
                    "matched_amount": size_text(leg.size),
                    "price": price_text(leg.price),
                    "fee_rate_bps": "0",
                    "asset_id": self.market.market.token(leg.outcome),
                    "outcome": leg.outcome.value,
                    "outcome_index": 0 if leg.outcome is Outcome.UP else 1,
                    "side": leg.side.value,
                }
                for leg in self.makers
            ],
            "trader_side": "TAKER" if self.is_taker else "MAKER",
        }
