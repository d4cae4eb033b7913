"""Orders and trades of the accounts, and how the venue words them (PROTOCOL §2.5, §5)."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from attrs import define, field, frozen

from polyframe.model.market import Outcome
from polyframe.model.order import Side
from polyframe.model.trade import TradeStatus
from polyframe.venue.account import VenueAccount
from polyframe.venue.values import (
    SHARE,
    Lifetime,
    VenueMarket,
    notional,
    price_text,
    size_shares,
    size_text,
)

LIVE, MATCHED, CANCELED = "LIVE", "MATCHED", "CANCELED"
EXPIRED, RESOLVED = "CANCELED_EXPIRED_ORDER", "CANCELED_MARKET_RESOLVED"
INVALID = "INVALID"

_LARGE = 20 * SHARE
_AVERAGE = Decimal("0.000001")
_ALIASES = uuid.UUID("5b6a3a52-3f0c-4d0a-8a52-0f6f3a1f7d11")
"""Name space of the made-up owners that stand for the keys of others."""


@define(eq=False)
class VenueOrder:
    """An order that the venue took, alive or not.

    Attributes:
        order_id: Its id.
        account: Whose it is.
        api_key: The key that it was sent with.
        market: Its market.
        outcome, side, price, size: What was asked for; price and size in units.
        order_type: How long it lives.
        expiration: Text as sent.
        created_ms: Epoch milliseconds of the placement.
        target: Base units at which it is complete. For a buy that spends USD these can be more
            than it names: at a better price its USD buy more.
        matched: Base units filled.
        status: ``LIVE``, ``MATCHED``, ``INVALID`` or ``CANCELED…``.
        trades: Ids of its trades.
    """

    order_id: str
    account: VenueAccount
    api_key: str
    market: VenueMarket
    outcome: Outcome
    side: Side
    price: int
    size: int
    order_type: Lifetime
    expiration: str
    created_ms: int
    target: int
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
        return self.target - self.matched

    @property
    def reserved_cash(self) -> Decimal:
        """USD that its open part would cost; 0 for a sell."""
        return notional(self.price, self.remaining) if self.side is Side.BUY else Decimal(0)

    @property
    def reserved_shares(self) -> Decimal:
        """Shares that its open part would deliver; 0 for a buy."""
        return size_shares(self.remaining) if self.side is Side.SELL else Decimal(0)

    @property
    def party(self) -> Party:
        """Who stands behind it."""
        return Party(self.order_id, self.api_key, self.account.funder, self.account)

    def event(self, kind: str, time_ms: int) -> dict[str, Any]:
        """Return an ``order`` message of the user channel (§5.2)."""
        return {
            "event_type": "order",
            "type": kind,
            "id": self.order_id,
            "owner": self.api_key,
            "order_owner": self.api_key,
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
            "maker_address": self.account.funder,
            "timestamp": str(time_ms),
        }

    def killed_event(self, text: str, time_ms: int) -> dict[str, Any]:
        """Return the message of a FOK or FAK that found nothing; some fields are empty (§5.3)."""
        return {
            **self.event("CANCELLATION", time_ms),
            "size_matched": "",
            "associate_trades": [],
            "outcome": "",
            "created_at": "",
            "status": f"CANCELED_{text}",
        }

    def row(self) -> dict[str, Any]:
        """Return the object of ``/data/orders`` (§2.5)."""
        return {
            "id": self.order_id,
            "status": CANCELED if self.status == EXPIRED else self.status,
            "owner": self.api_key,
            "maker_address": self.account.funder,
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
    """Who stands behind one order of a trade.

    Attributes:
        order_id: The order.
        api_key: The key that it was sent with.
        address: Wallet that holds the funds.
        account: The account at this venue, ``None`` for a made-up one.
    """

    order_id: str
    api_key: str = field(repr=False)
    address: str
    account: VenueAccount | None = None

    @classmethod
    def stranger(cls) -> Party:
        """Return a made-up party."""
        return cls("0x" + secrets.token_hex(32), str(uuid.uuid4()), "0x" + secrets.token_hex(20))

    def owner(self, viewer: VenueAccount) -> str:
        """Return the ``owner`` that `viewer` is shown: its own key, never that of somebody else."""
        if self.account is viewer:
            return self.api_key
        return str(uuid.uuid5(_ALIASES, self.api_key))


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


@frozen
class Move:
    """What one fill at one price did to an account; `cash` is after the `fee`."""

    account: VenueAccount
    token: str
    shares: Decimal
    cash: Decimal
    fee: Decimal
    rebate: Decimal
    is_taker: bool


@define(eq=False)
class VenueTrade:
    """A trade in which accounts took part, on one side or on both.

    Its legs are at one price or at several, as the settings say. Each leg has its own exact price;
    the price of the whole is their average, which the wire shows with six decimals.

    Attributes:
        trade_id: Its id.
        market: Its market.
        taker: Who took.
        outcome, side, price, size: The taker's part; the price in USD, an average if it met several.
        makers: Who was hit.
        match_ms, update_ms: Epoch milliseconds of the match and of the last change.
        status: How far settlement is.
        transaction: Hash of the transaction, ``""`` before it is mined.
        moves: What it moved, to be taken back if it fails.
    """

    trade_id: str
    market: VenueMarket
    taker: Party
    outcome: Outcome
    side: Side
    price: Decimal
    size: int
    makers: list[MakerLeg]
    match_ms: int
    update_ms: int
    status: TradeStatus = TradeStatus.MATCHED
    transaction: str = ""
    moves: list[Move] = field(factory=list)

    @property
    def parties(self) -> Iterable[Party]:
        """The taker, then the makers."""
        yield self.taker
        for leg in self.makers:
            yield leg.party

    @property
    def accounts(self) -> list[VenueAccount]:
        """The accounts that took part, each once."""
        return list(dict.fromkeys(p.account for p in self.parties if p.account is not None))

    def event(self, viewer: VenueAccount, time_ms: int) -> dict[str, Any]:
        """Return the ``trade`` message that `viewer` gets on the user channel (§5.4)."""
        return {
            "event_type": "trade",
            "type": "TRADE",
            **self._common(viewer),
            "status": self.status.value,
            "trade_owner": self.taker.owner(viewer),
            "timestamp": str(time_ms),
        }

    def row(self, viewer: VenueAccount) -> dict[str, Any]:
        """Return the object of ``/data/trades``: its status has a prefix (§2.5)."""
        return {**self._common(viewer), "status": f"TRADE_STATUS_{self.status.value}"}

    def _common(self, viewer: VenueAccount) -> dict[str, Any]:
        return {
            "id": self.trade_id,
            "taker_order_id": self.taker.order_id,
            "market": self.market.condition_id,
            "asset_id": self.market.market.token(self.outcome),
            "side": self.side.value,
            "size": size_text(self.size),
            "fee_rate_bps": "0",
            "price": f"{self.price.quantize(_AVERAGE).normalize():f}",
            "match_time": str(self.match_ms // 1000),
            "last_update": str(self.update_ms // 1000),
            "outcome": self.outcome.value,
            "bucket_index": 0,
            "owner": self.taker.owner(viewer),
            "maker_address": self.taker.address,
            "transaction_hash": self.transaction,
            "maker_orders": [
                {
                    "order_id": leg.party.order_id,
                    "owner": leg.party.owner(viewer),
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
            "trader_side": "TAKER" if self.taker.account is viewer else "MAKER",
        }
