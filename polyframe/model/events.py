"""Messages from the venue, and events for strategies.

Hot values are frozen msgspec Structs: they cost a seventh of a frozen attrs object. Prices of the
market channel travel as integer units of 1e-4 USD (`polyframe.model.money`) up to the book and
become ``Decimal`` where a strategy sees them.

Two families:

*Venue messages* are what a stream decodes and hands to a sink: they still carry the venue's keys
(condition id, token id) and have passed no gate. *Strategy events* are what comes out behind the
gate: they carry slug, generation and outcome.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.trade import Fill, TradeLeg, TradeStatus

# --------------------------------------------------------------------------------------------
# Venue messages of the market channel


class BookSnapshot(msgspec.Struct, frozen=True, gc=False):
    """The whole book of one token; replaces what was known.

    Attributes:
        market: Condition id.
        token: Token id.
        bids, asks: ``(price units, size)`` in any order.
        timestamp_ms: The venue's time, 0 if it sent none.
        tick_units: Tick in units of 1e-4 USD, 0 if it sent none.
    """

    market: str
    token: str
    bids: tuple[tuple[int, Decimal], ...]
    asks: tuple[tuple[int, Decimal], ...]
    timestamp_ms: int = 0
    tick_units: int = 0


class LevelChange(msgspec.Struct, frozen=True, gc=False):
    """New total size at one price of one token; size 0 removes the level.

    Attributes:
        best_bid, best_ask: The venue's own top of book after the change in units, -1 if it sent
            none. 0 and 10,000 stand for an empty side.
    """

    token: str
    is_bid: bool
    price: int
    size: Decimal
    best_bid: int = -1
    best_ask: int = -1


class BookDelta(msgspec.Struct, frozen=True, gc=False):
    """Level changes of one market that belong together (both tokens), in order."""

    market: str
    changes: tuple[LevelChange, ...]
    timestamp_ms: int = 0


class BestQuote(msgspec.Struct, frozen=True, gc=False):
    """The venue's own top of book of one token in units; 0 and 10,000 mean an empty side."""

    market: str
    token: str
    best_bid: int
    best_ask: int
    timestamp_ms: int = 0


class TradePrint(msgspec.Struct, frozen=True, gc=False):
    """A public trade; `side` is the taker's. `size` is ``None`` where the venue left it out."""

    market: str
    token: str
    price: int
    size: Decimal | None
    side: Side | None
    timestamp_ms: int = 0


class TickSizeChange(msgspec.Struct, frozen=True, gc=False):
    """The tick of one token changed; in units of 1e-4 USD."""

    market: str
    token: str
    new_tick: int
    timestamp_ms: int = 0


class MarketResolved(msgspec.Struct, frozen=True, gc=False):
    """The venue says which token won."""

    market: str
    winning_token: str
    timestamp_ms: int = 0


MarketMessage = BookSnapshot | BookDelta | BestQuote | TradePrint | TickSizeChange | MarketResolved


class StreamState(StrEnum):
    """What a stream tells its sink about its connection."""

    CONNECTED = "connected"
    """A connection is up and subscribed; what was known before is void (a new epoch)."""
    LOST = "lost"
    """The connection is gone or was judged dead; a reconnect is under way."""


# --------------------------------------------------------------------------------------------
# Venue messages of the user channel


class OrderEventKind(StrEnum):
    """Why the venue speaks of an order."""

    PLACEMENT = "PLACEMENT"
    UPDATE = "UPDATE"
    CANCELLATION = "CANCELLATION"


class OrderReport(msgspec.Struct, frozen=True):
    """What the venue says of one order of the account (PROTOCOL §5.2).

    `slug` and `outcome` are empty as it leaves the stream; the session that it belongs to passes
    on a copy that has them.

    Attributes:
        order_id: The venue's id.
        market: Condition id, ``""`` if the venue sent none.
        token: Token id, ``""`` if the venue sent none.
        kind: Placement, update or cancellation.
        status: The venue's own text, for example ``"LIVE"`` or ``"CANCELED_…"``.
        side, price, original_size: The order, as far as the message has it.
        size_matched: Cumulative shares matched.
        timestamp_ms: The venue's time, 0 if it sent none.
    """

    order_id: str
    market: str
    token: str
    kind: OrderEventKind
    status: str
    side: Side | None = None
    price: Decimal | None = None
    original_size: Decimal | None = None
    size_matched: Decimal = Decimal(0)
    timestamp_ms: int = 0
    slug: str = ""
    outcome: Outcome | None = None


class TradeReport(msgspec.Struct, frozen=True):
    """What the venue says of one trade of the account (PROTOCOL §5.4), once per status.

    Attributes:
        trade_id: The venue's id; the same for every status.
        market: Condition id, ``""`` if the venue sent none.
        token: Token id of the taker's side, ``""`` if the venue sent none.
        status: How far settlement is.
        legs: The orders that took part and may be ours, each in terms of its own token.
        match_time_ms, timestamp_ms: The venue's times, 0 if it sent none.
    """

    trade_id: str
    market: str
    token: str
    status: TradeStatus
    legs: tuple[TradeLeg, ...]
    match_time_ms: int = 0
    timestamp_ms: int = 0
    slug: str = ""


UserMessage = OrderReport | TradeReport

# --------------------------------------------------------------------------------------------
# Strategy events


class PriceChanged(msgspec.Struct, frozen=True, gc=False):
    """The top of one outcome's book is another than before; only the latest is delivered.

    Attributes:
        slug, generation: The cycle.
        outcome: Whose book.
        bid, ask: Best prices in USD, ``None`` where that side is empty or the book is unknown.
        bid_size, ask_size: Shares at those prices, ``None`` likewise.
        known: False while there is no trustworthy book (before the first snapshot, after a
            reconnect or a tick change): bid and ask are then ``None``.
        timestamp_ms: The venue's time of the last change.
        received: Our clock in epoch seconds when it came in.
    """

    slug: str
    generation: int
    outcome: Outcome
    bid: Decimal | None
    ask: Decimal | None
    bid_size: Decimal | None
    ask_size: Decimal | None
    known: bool
    timestamp_ms: int
    received: float


class MarketTraded(msgspec.Struct, frozen=True, gc=False):
    """Somebody traded in this market. `side` is the taker's, `size` may be unknown."""

    slug: str
    generation: int
    outcome: Outcome
    price: Decimal
    size: Decimal | None
    side: Side | None
    timestamp_ms: int


class OrderChanged(msgspec.Struct, frozen=True):
    """One of our orders (or a foreign one in our market) changed.

    Attributes:
        order: The order as it is now.
        previous: Its status before, ``None`` at its birth.
        sequence: Number of the change within the cycle, from 1, shared with `TradeChanged`.
    """

    order: Order
    previous: OrderStatus | None
    sequence: int


class TradeChanged(msgspec.Struct, frozen=True):
    """One of our fills is new, settled, or failed.

    Attributes:
        fill: The fill as it is now.
        order: Its order as it is now.
        previous: Settlement status before, ``None`` when the fill is new.
        sequence: Number of the change within the cycle, shared with `OrderChanged`.
    """

    fill: Fill
    order: Order
    previous: TradeStatus | None
    sequence: int


class CycleEndReason(StrEnum):
    """Why a strategy's cycle ended."""

    BOUNDARY = "boundary"
    """The market's window is over."""
    SHUTDOWN = "shutdown"
    """The program stops."""
    ERROR = "error"
    """A hook of the strategy raised."""
