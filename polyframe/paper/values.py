"""Orders and trades of a paper account, and what is told of them."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import msgspec
from attrs import define, field

from polyframe.exchange.base import CancelAnswer, PlaceAnswer
from polyframe.model.events import OrderEventKind, OrderReport, TradeReport, UserMessage
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS, ZERO, units_price
from polyframe.model.order import OrderRequest, Side
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.paper.book import micro, shares
from polyframe.paper.queues import QueuePlace

LIVE, MATCHED, CANCELED, INVALID = "LIVE", "MATCHED", "CANCELED", "INVALID"
EXPIRED, RESOLVED = "CANCELED_EXPIRED_ORDER", "CANCELED_MARKET_RESOLVED"


class Placed(msgspec.Struct, frozen=True):
    """The answer to an order."""

    order_id: str
    answer: PlaceAnswer


class Cancelled(msgspec.Struct, frozen=True):
    """The answer to a cancel; `ticket` is the number that it was sent under."""

    ticket: int
    answer: CancelAnswer


Told = Placed | Cancelled | UserMessage
"""What comes back from the venue."""

Outbox = deque[Told]
"""What is to be told, in order."""


@define(eq=False)
class PaperOrder:
    """One order that the venue has taken.

    Attributes:
        order_id: Its id.
        market: Its market.
        request: What was asked for.
        created_ms: When the venue took it.
        status: In the venue's own words.
        matched: Units of size that were filled.
        place: Where it stands in the queue, ``None`` while that cannot be known.
        in_shares: Whether it takes the shares that it names, also where the venue would spend USD.
        size: Units of size that were asked for.
        is_bid: Whether it bids for Up; an ask for Down does.
        limit: Its limit for Up in price units.
    """

    order_id: str
    market: Market
    request: OrderRequest
    created_ms: int
    status: str = LIVE
    matched: int = 0
    place: QueuePlace | None = field(default=None, repr=False)
    in_shares: bool = False
    size: int = field(init=False)
    is_bid: bool = field(init=False)
    limit: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        # Asked for with every message of the feed.
        request = self.request
        self.size = micro(request.size)
        self.is_bid = (request.side is Side.BUY) is (request.outcome is Outcome.UP)
        self.limit = self.flipped(int(request.price * PRICE_UNITS))

    @property
    def token(self) -> str:
        """The token that it is about."""
        return self.market.token(self.request.outcome)

    def flipped(self, price: int) -> int:
        """Return a price of Up as one of its own token, or the other way round."""
        return price if self.request.outcome is Outcome.UP else PRICE_UNITS - price

    @property
    def spends(self) -> bool:
        """Whether it is for a sum of USD: every buy that does not rest is (PROTOCOL §2.8)."""
        if self.request.side is not Side.BUY or self.request.order_type.rests:
            return False
        return self.request.usd is not None or not self.in_shares

    @property
    def usd(self) -> Decimal:
        """What it is worth at its limit."""
        request = self.request
        return request.price * request.size if request.usd is None else request.usd

    @property
    def is_open(self) -> bool:
        """Whether it may still be filled."""
        return self.status == LIVE

    @property
    def open_size(self) -> int:
        """Units of size that may still be filled."""
        return max(self.size - self.matched, 0) if self.is_open else 0

    def reserved(self, side: Side) -> Decimal:
        """Return the USD (of a buy) or the shares (of a sell) that it holds."""
        if self.request.side is not side:
            return ZERO
        open_size = shares(self.open_size)
        return open_size * self.request.price if side is Side.BUY else open_size

    def report(self, kind: OrderEventKind, now_ms: int) -> OrderReport:
        """Return what the user stream says of it (PROTOCOL §5.2)."""
        return OrderReport(
            order_id=self.order_id,
            market=self.market.condition_id,
            token=self.token,
            kind=kind,
            status=self.status,
            side=self.request.side,
            price=self.request.price,
            original_size=self.request.size,
            size_matched=shares(self.matched),
            timestamp_ms=now_ms,
        )

    def leg(self, price: int, size: int, *, is_taker: bool) -> TradeLeg:
        """Return its part in a trade at a price of Up."""
        own = units_price(self.flipped(price))
        return TradeLeg(self.order_id, self.token, self.request.side, own, shares(size), is_taker)


class Match(msgspec.Struct, frozen=True):
    """One step of a taker's walk.

    Attributes:
        price: For Up, in units.
        size: Units of size.
        maker: The order of ours that is met, ``None`` for somebody else's.
    """

    price: int
    size: int
    maker: PaperOrder | None = None


@define(eq=False)
class PaperTrade:
    """One trade in which orders of the account took part.

    Attributes:
        trade_id: Its id.
        market: Its market.
        token: Token of the taker's side.
        legs: Our orders in it.
        match_ms: When it was matched.
        mined_ms, confirmed_ms: When it is to be settled.
        fails: Whether it is to end FAILED at `mined_ms`.
        status: How far settlement is.
    """

    trade_id: str
    market: Market
    token: str
    legs: tuple[TradeLeg, ...]
    match_ms: int
    mined_ms: int
    confirmed_ms: int
    fails: bool
    status: TradeStatus = TradeStatus.MATCHED

    def cash(self, leg: TradeLeg) -> Decimal:
        """Return what a leg brings in USD: takers pay the fee, makers none (PROTOCOL §2.9)."""
        value = leg.price * leg.size
        fee = self.market.fees.taker_fee(leg.size, leg.price) if leg.is_taker else ZERO
        return (-value if leg.side is Side.BUY else value) - fee

    def report(self, now_ms: int) -> TradeReport:
        """Return what the user stream says of it (PROTOCOL §5.4)."""
        return TradeReport(
            trade_id=self.trade_id,
            market=self.market.condition_id,
            token=self.token,
            status=self.status,
            legs=self.legs,
            match_time_ms=self.match_ms,
            timestamp_ms=now_ms,
        )


def signed(leg: TradeLeg) -> Decimal:
    """Return the change of shares that a leg makes."""
    return leg.size if leg.side is Side.BUY else -leg.size
