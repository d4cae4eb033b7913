"""What can be asked of the order engine, and what it answers.

Every command carries the generation of the cycle that it belongs to, and every fact that the engine
needs: it reads no clock and makes no ids. `docs/design.md` has the table of what becomes of a
command whose generation is not the current one.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from polyframe.model.conversion import Conversion, ConversionKind, ReceiptState
from polyframe.model.events import OrderChanged, OrderReport, TradeChanged, TradeReport
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderRequest, PlaceResult
from polyframe.model.position import Position
from polyframe.model.trade import Fill

# --------------------------------------------------------------------------------------------
# Commands


class PlaceOrder(msgspec.Struct, frozen=True):
    """Register an order right before it is sent, and reserve what it may cost.

    A buy reserves price × size plus the worst taker fee (none if post-only) in cash; a sell
    reserves shares of its strategy. Denied with rule ``"duplicate"``, ``"token"``, ``"price"``,
    ``"size"``, ``"cash"``, ``"shares"`` or ``"resolved"``.

    Attributes:
        generation: The cycle.
        client_id: Our id of the order; unique in the cycle.
        venue_id: The id that the venue will use.
        strategy: Name of the strategy that owns it, not empty.
        token: Token id of ``request.outcome``.
        request: What to place.
        now_ms: Epoch milliseconds on our clock.
    """

    generation: int
    client_id: str
    venue_id: str
    strategy: str
    token: str
    request: OrderRequest
    now_ms: int

    def __post_init__(self) -> None:
        if not self.strategy:
            msg = "strategy: expected a name; without one it would count as a foreign order"
            raise ValueError(msg)


class CancelOrder(msgspec.Struct, frozen=True):
    """Mark an order as being cancelled, right before the cancel is sent. Safe to repeat.

    Denied with rule ``"unknown_order"`` or ``"final"``.
    """

    generation: int
    client_id: str
    now_ms: int


class ApplyPlaceAnswer(msgspec.Struct, frozen=True):
    """The answer to a sent order.

    Attributes:
        generation: The cycle.
        client_id: Our id of the order.
        answer: What became of it.
        code: Short stable code of a refusal, ``""`` otherwise.
        text: The venue's own words.
        now_ms: Epoch milliseconds on our clock.
    """

    generation: int
    client_id: str
    answer: PlaceResult
    code: str = ""
    text: str = ""
    now_ms: int = 0


class ApplyCancelAnswer(msgspec.Struct, frozen=True):
    """The answer to a cancel of one order.

    Attributes:
        generation: The cycle.
        client_id: Our id of the order.
        cancelled: Whether the venue says that it is cancelled now. If not, nothing is known.
        text: The venue's own words.
        now_ms: Epoch milliseconds on our clock.
    """

    generation: int
    client_id: str
    cancelled: bool
    text: str = ""
    now_ms: int = 0


class ExpireOrder(msgspec.Struct, frozen=True):
    """An order is over because its market is, though nobody says what became of it."""

    generation: int
    client_id: str
    text: str
    now_ms: int


class AdoptOrder(msgspec.Struct, frozen=True):
    """An order that nobody here placed becomes a strategy's, with its fills and what it holds.

    Denied with rule ``"unknown_order"``, ignored if it has an owner.
    """

    generation: int
    client_id: str
    strategy: str
    now_ms: int


class ApplyOrderReport(msgspec.Struct, frozen=True):
    """What the venue says of one order (PROTOCOL §5.2), by the stream or by a query."""

    generation: int
    report: OrderReport
    now_ms: int


class ApplyTradeReport(msgspec.Struct, frozen=True):
    """What the venue says of one trade (PROTOCOL §5.4), by the stream or by a query."""

    generation: int
    report: TradeReport
    now_ms: int


class AdjustPosition(msgspec.Struct, frozen=True):
    """Shares or cash moved without an order: a correction, or what was converted by hand.

    Splits and merges of strategies have commands of their own, which move both outcomes at once.

    Denied with rule ``"position"`` (it would go below zero), ``"shares"`` (open sells hold them) or
    ``"cash"``.

    Attributes:
        generation: The cycle.
        strategy: Whose position, ``""`` for nobody's.
        outcome: Which share.
        size_delta: Shares gained, negative if given away.
        cash_delta: USD gained, negative if paid.
        reason: Why, for the record.
        now_ms: Epoch milliseconds on our clock.
    """

    generation: int
    strategy: str
    outcome: Outcome
    size_delta: Decimal
    cash_delta: Decimal
    reason: str
    now_ms: int


class BeginConversion(msgspec.Struct, frozen=True):
    """Register a split or merge right before it is sent, and hold what it gives.

    A split holds cash, a merge holds shares of both outcomes: settled ones that no open sell offers.
    Nothing is booked. Denied with rule ``"resolved"``, ``"busy"`` (another one of the cycle is under
    way), ``"amount"``, ``"pairs"`` or ``"cash"``.

    Attributes:
        generation: The cycle.
        conversion_id: Our id of it; unique in the cycle.
        strategy: Whose shares.
        kind: Split or merge.
        shares: Pairs, above 0, at most 6 decimals.
        now_ms: Epoch milliseconds on our clock.
    """

    generation: int
    conversion_id: str
    strategy: str
    kind: ConversionKind
    shares: Decimal
    now_ms: int


class ApplyReceipt(msgspec.Struct, frozen=True):
    """What the venue says of a split or merge; only its confirmation moves shares and cash."""

    generation: int
    conversion_id: str
    state: ReceiptState
    transaction_id: str = ""
    text: str = ""
    now_ms: int = 0


class ApplyResolution(msgspec.Struct, frozen=True):
    """The market is resolved: orders end, positions turn into a claim."""

    generation: int
    winner: Outcome
    now_ms: int


class Query(msgspec.Struct, frozen=True):
    """Ask for a `Snapshot`."""

    generation: int


class Reset(msgspec.Struct, frozen=True):
    """Begin a fresh cycle, or none.

    Attributes:
        generation: The generation that begins; with no market, the one that ends.
        market: The market of the new cycle, ``None`` if no cycle is open from now on.
    """

    generation: int
    market: Market | None

    def __post_init__(self) -> None:
        market = self.market
        if market is not None and market.generation != self.generation:
            msg = f"generation: {market.slug} is cycle {market.generation}, not {self.generation}"
            raise ValueError(msg)


CycleCommand = (
    PlaceOrder
    | CancelOrder
    | ApplyPlaceAnswer
    | ApplyCancelAnswer
    | ExpireOrder
    | AdoptOrder
    | ApplyOrderReport
    | ApplyTradeReport
    | AdjustPosition
    | BeginConversion
    | ApplyReceipt
    | ApplyResolution
    | Query
)
"""Commands for one cycle's state."""

Command = CycleCommand | Reset

# --------------------------------------------------------------------------------------------
# Replies

Change = OrderChanged | TradeChanged


class Snapshot(msgspec.Struct, frozen=True):
    """The trading state of one cycle at one instant.

    Attributes:
        generation, slug: The cycle.
        orders: All orders in order of birth, foreign ones included.
        open_orders: Those of them that may still fill.
        positions: By strategy and outcome, sorted; ``""`` is nobody's.
        shortfalls: Shares sold beyond what was held, by strategy and outcome; normally empty.
        fills: All fills in order of first sight, failed ones included.
        reserved: Cash in USD that orders of this cycle hold.
        cash_flow: Sum of all cash moves of this cycle in USD, payout not included.
        fees: USD paid.
        volume: USD traded, both sides.
        realised: Profit of what was sold or paid out in USD, without fees.
        winner: The outcome that won, ``None`` until resolved.
        payout: USD that the winning shares pay.
        sequence: Number of the last change.
        conversions: All splits and merges in order of birth.
    """

    generation: int
    slug: str
    orders: tuple[Order, ...]
    open_orders: tuple[Order, ...]
    positions: tuple[tuple[str, Position], ...]
    shortfalls: tuple[tuple[str, Outcome, Decimal], ...]
    fills: tuple[Fill, ...]
    reserved: Decimal
    cash_flow: Decimal
    fees: Decimal
    volume: Decimal
    realised: Decimal
    winner: Outcome | None
    payout: Decimal
    sequence: int
    conversions: tuple[Conversion, ...] = ()


class Applied(msgspec.Struct, frozen=True):
    """The command was applied.

    Attributes:
        changes: What changed, in order; strategies see each of them once.
        order: The order that the command was about, as it is now; ``None`` for trades.
        snapshot: The answer to a query.
        shortfall: Shares by which sales newly exceed what was held; above 0 it is an alarm.
        conversion: The split or merge that the command was about, as it is now.
    """

    changes: tuple[Change, ...] = ()
    order: Order | None = None
    snapshot: Snapshot | None = None
    shortfall: Decimal = ZERO
    conversion: Conversion | None = None


class Denied(msgspec.Struct, frozen=True):
    """A rule forbids it; nothing changed.

    Attributes:
        rule: Short stable name of the rule.
        text: Why, with the numbers.
    """

    rule: str
    text: str


class Stale(msgspec.Struct, frozen=True):
    """The command belongs to another cycle; nothing changed.

    Attributes:
        command: Name of the command.
        generation: The generation that it carried.
        current: The generation that is open, ``None`` between two cycles.
    """

    command: str
    generation: int
    current: int | None


class Ignored(msgspec.Struct, frozen=True):
    """The message told nothing new, or something impossible; nothing changed.

    Attributes:
        reason: One of ``"duplicate"``, ``"final"`` (the order has ended), ``"exists"`` (refused,
            yet proven to exist), ``"unknown_order"``, ``"incomplete"`` (too little to track a
            foreign order), ``"foreign_token"``, ``"leg_mismatch"`` (token or side is not the
            order's), ``"no_legs"``, ``"conflict"`` (another winner).
    """

    reason: str


Reply = Applied | Denied | Stale | Ignored
