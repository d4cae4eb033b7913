"""Orders: what a strategy asks for, and what became of it."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_UP, Decimal
from enum import StrEnum
from functools import cached_property

from attrs import Attribute, field, frozen

from polyframe.model.grid import LARGEST
from polyframe.model.market import Outcome, known_outcome
from polyframe.model.money import ZERO, decimal


class Side(StrEnum):
    """Buy or sell shares of one outcome."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """How long an order lives (PROTOCOL §2.10)."""

    GTC = "GTC"
    """Rests until it is filled, cancelled, or the market ends."""
    GTD = "GTD"
    """Rests like GTC, but not beyond a time; see `OrderRequest.expires`."""
    FOK = "FOK"
    """All of it now, or nothing."""
    FAK = "FAK"
    """What is there now; the rest is cancelled."""

    @cached_property
    def rests(self) -> bool:
        """Whether what is not filled at once stays in the book."""
        return self in _RESTING


_RESTING = frozenset({OrderType.GTC, OrderType.GTD})


class OrderStatus(StrEnum):
    """Life of an order; it only moves forward, and final states are final."""

    NEW = "new"
    """Known and reserved here, not yet sent."""
    SUBMITTING = "submitting"
    """Sent, no answer yet."""
    UNKNOWN = "unknown"
    """Sent, and the answer was lost: it may be live."""
    LIVE = "live"
    """Rests at the venue, nothing filled."""
    PARTIALLY_FILLED = "partially_filled"
    """Some of it is filled, the rest still open."""
    CANCELLING = "cancelling"
    """A cancel is on its way; fills may still come."""
    FILLED = "filled"
    """All of it is matched."""
    CANCELLED = "cancelled"
    """It was ended: by a cancel, as a FOK or FAK that found too little, or by the venue."""
    EXPIRED = "expired"
    """It ended by itself: its market is over, or its time is (GTD)."""
    REJECTED = "rejected"
    """Refused, or it never came to exist."""

    @cached_property
    def is_final(self) -> bool:
        """Whether nothing can change the state any more."""
        return self in _FINAL


_FINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)


class PlaceResult(StrEnum):
    """What became of a sent order."""

    LIVE = "live"
    """Accepted, rests."""
    MATCHED = "matched"
    """Accepted, at least partly filled; the trades tell how much."""
    DELAYED = "delayed"
    """Accepted, not matched yet."""
    REJECTED = "rejected"
    """Refused; it does not exist at the venue."""
    UNKNOWN = "unknown"
    """Sent, but the answer was lost or says nothing: it may be live."""


_SHARES = Decimal("0.0001")
"""The finest step of shares in an order for a sum of USD (PROTOCOL §2.8)."""


def _price(value: object) -> Decimal:
    return decimal(value, "price")


def _size(value: object) -> Decimal:
    return decimal(value, "size")


def _usd(value: object) -> Decimal | None:
    return None if value is None else decimal(value, "usd")


def _side(value: Side) -> Side:
    if type(value) is Side:
        return value
    if value not in tuple(Side):
        msg = f"side: expected Side.BUY or Side.SELL, got {value!r}"
        raise ValueError(msg)
    return Side(value)


def _order_type(value: OrderType) -> OrderType:
    if type(value) is OrderType:
        return value
    if value not in tuple(OrderType):
        msg = f"order_type: expected OrderType.GTC, GTD, FOK or FAK, got {value!r}"
        raise ValueError(msg)
    return OrderType(value)


def _whole_seconds(_: object, attribute: Attribute[int | None], value: object) -> None:
    if value is not None and type(value) is not int:
        msg = f"{attribute.name}: expected whole epoch seconds, got {value!r}; round it first"
        raise ValueError(msg)


def _is_bool(_: object, attribute: Attribute[bool], value: object) -> None:
    if type(value) is not bool:
        msg = f"{attribute.name}: expected True or False, got {value!r}"
        raise ValueError(msg)


@frozen
class OrderRequest:
    """What a strategy wants: plain values, checked against the market when it is placed.

    Outcomes, sides and types that are given as text become the members that they name.

    Attributes:
        outcome: Which share.
        side: Buy or sell.
        price: Limit in USD per share, strictly between 0 and 1.
        size: Shares.
        order_type: How long it lives.
        post_only: Refuse it rather than take liquidity (GTC and GTD only).
        intent: What the strategy means by it, ``""`` for no name. While an order of one intent is
            open or very young, another of the same is refused.
        expires: Of a GTD order: epoch seconds, at least three minutes ahead. The venue ends the
            order *one minute before*, so GTD is of no use in a 5-minute market: cancel instead.
        usd: Of a buy for a sum of USD (`market_buy`): what it spends, in whole cents, the fee not
            included. `size` is then what that buys at `price`; at a better price it buys more.

    Raises:
        ValueError: A value that is none of its kind; says which.
    """

    outcome: Outcome = field(converter=known_outcome)
    side: Side = field(converter=_side)
    price: Decimal = field(converter=_price)
    size: Decimal = field(converter=_size)
    order_type: OrderType = field(default=OrderType.GTC, converter=_order_type)
    post_only: bool = field(default=False, validator=_is_bool)
    intent: str = ""
    expires: int | None = field(default=None, validator=_whole_seconds)
    usd: Decimal | None = field(default=None, converter=_usd)

    @classmethod
    def market_buy(
        cls,
        outcome: Outcome,
        usd: Decimal,
        price: Decimal,
        order_type: OrderType = OrderType.FAK,
        intent: str = "",
    ) -> OrderRequest:
        """Return a buy that spends `usd` at `price` or better, now.

        Args:
            outcome: Which share.
            usd: What to spend, in whole cents; the fee comes on top.
            price: The limit in USD per share.
            order_type: FAK takes what is there, FOK all or nothing.
            intent: As in the class.

        Raises:
            ValueError: `price` is not above 0, or `usd` is more than any order spends.
        """
        limit, spent = decimal(price, "price"), decimal(usd, "usd")
        if limit <= 0:
            msg = f"price: expected a limit above 0, got {price}"
            raise ValueError(msg)
        if abs(spent) >= LARGEST * limit:
            msg = f"usd: expected less than {LARGEST * limit} at a price of {price}, got {usd}"
            raise ValueError(msg)
        size = (spent / limit).quantize(_SHARES, ROUND_DOWN)
        return cls(outcome, Side.BUY, limit, size, order_type, intent=intent, usd=spent)

    def most_shares(self, best_ask: Decimal | None) -> Decimal:
        """Return the most shares that it can trade when `best_ask` is the lowest price on offer.

        That is `size`, but for a buy that does not rest: the venue spends its USD, so at a better
        price than the limit it buys more shares, also when it was asked for in shares (PROTOCOL §2.8).
        """
        if self.side is Side.SELL or self.order_type.rests or best_ask is None:
            return self.size
        spent = self.price * self.size if self.usd is None else self.usd
        return max(self.size, (spent / best_ask).quantize(_SHARES, ROUND_UP))


@frozen
class Order:
    """One order at one instant. Never changes: every change makes a new value.

    Attributes:
        client_id: Our own id from birth; the key everywhere.
        venue_id: The venue's id, known before the order is sent.
        generation: The cycle that it belongs to.
        slug: Its market.
        token: Its token id.
        strategy: Name of the strategy that owns it; ``""`` for an order we did not place.
        outcome, side, price, size, order_type, post_only, intent: As requested.
        status: Where it is in its life.
        filled: Shares filled, the sum of its fills that did not fail.
        matched: Shares that the venue reports as matched; a cross-check of `filled`.
        average_price: Mean price of the fills in USD, ``None`` before the first.
        fees: Fees paid in USD.
        reason: Why it ended or was refused, in the venue's words.
        created_ms, updated_ms: Epoch milliseconds on our clock.
    """

    client_id: str
    venue_id: str
    generation: int
    slug: str
    token: str
    strategy: str
    outcome: Outcome
    side: Side
    price: Decimal
    size: Decimal
    order_type: OrderType = OrderType.GTC
    post_only: bool = False
    status: OrderStatus = OrderStatus.NEW
    filled: Decimal = ZERO
    matched: Decimal = ZERO
    average_price: Decimal | None = None
    fees: Decimal = ZERO
    reason: str = ""
    created_ms: int = 0
    updated_ms: int = 0
    intent: str = ""

    def stepped(self, status: OrderStatus, reason: str, now_ms: int) -> Order:
        """Return the order in another state from `now_ms` on: what ``evolve`` does, but for every step.

        Args:
            status: Where it is in its life now.
            reason: Why it ended or was refused, ``""`` if it did not or was not.
            now_ms: Epoch milliseconds on our clock.
        """
        return Order(
            self.client_id,
            self.venue_id,
            self.generation,
            self.slug,
            self.token,
            self.strategy,
            self.outcome,
            self.side,
            self.price,
            self.size,
            self.order_type,
            self.post_only,
            status,
            self.filled,
            self.matched,
            self.average_price,
            self.fees,
            reason,
            self.created_ms,
            now_ms,
            self.intent,
        )

    @property
    def remaining(self) -> Decimal:
        """Shares not yet filled (not negative)."""
        return max(self.size - self.filled, ZERO)

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return not self.status.is_final

    @property
    def is_external(self) -> bool:
        """Whether somebody else placed it: another program, or an earlier run."""
        return not self.strategy
