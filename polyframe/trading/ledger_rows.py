"""What is handed to the ledger's writer: one small value per row, turned into columns over there.

The event loop only makes these values. Texts and JSON are made by `values`, in the writer's thread.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

import msgspec

from polyframe.model.events import OrderChanged, TradeChanged
from polyframe.model.market import Market
from polyframe.model.order import Order

if TYPE_CHECKING:
    from polyframe.trading.ledger import CycleRecord

Value = str | int | None
"""What a column holds. Amounts are texts, because a database's numbers are floats."""

_CYCLE = ("series", "slug", "generation")


class OrderRow(msgspec.Struct, frozen=True, gc=False):
    """A change of an order."""

    table: ClassVar[str] = "order_changes"
    columns: ClassVar[tuple[str, ...]] = (
        *("time_ms", *_CYCLE, "is_late", "sequence", "client_id", "venue_id", "token", "strategy"),
        *("outcome", "side", "price", "size", "order_type", "post_only", "previous", "status"),
        *("filled", "matched", "average_price", "fees", "reason", "created_ms", "updated_ms"),
        "intent",
    )

    time_ms: int
    market: Market
    change: OrderChanged
    is_late: bool

    def values(self) -> tuple[Value, ...]:
        """Return the columns."""
        order, previous = self.change.order, self.change.previous
        return (
            self.time_ms,
            *cycle_of(self.market),
            int(self.is_late),
            self.change.sequence,
            order.client_id,
            order.venue_id,
            order.token,
            order.strategy,
            order.outcome.value,
            order.side.value,
            amount(order.price),
            amount(order.size),
            order.order_type.value,
            int(order.post_only),
            None if previous is None else previous.value,
            order.status.value,
            amount(order.filled),
            amount(order.matched),
            None if order.average_price is None else amount(order.average_price),
            amount(order.fees),
            order.reason,
            order.created_ms,
            order.updated_ms,
            order.intent,
        )


class FillRow(msgspec.Struct, frozen=True, gc=False):
    """A new fill, or a step of its settlement."""

    table: ClassVar[str] = "fill_changes"
    columns: ClassVar[tuple[str, ...]] = (
        *("time_ms", *_CYCLE, "is_late", "sequence", "trade_id", "client_id", "venue_id"),
        *("strategy", "outcome", "side", "price", "size", "fee", "is_taker", "previous", "status"),
        "match_ms",
    )

    time_ms: int
    market: Market
    change: TradeChanged
    is_late: bool

    def values(self) -> tuple[Value, ...]:
        """Return the columns."""
        fill, previous = self.change.fill, self.change.previous
        return (
            self.time_ms,
            *cycle_of(self.market),
            int(self.is_late),
            self.change.sequence,
            fill.trade_id,
            fill.client_id,
            self.change.order.venue_id,
            fill.strategy,
            fill.outcome.value,
            fill.side.value,
            amount(fill.price),
            amount(fill.size),
            amount(fill.fee),
            int(fill.is_taker),
            None if previous is None else previous.value,
            fill.status.value,
            fill.time_ms,
        )


class CycleRow(msgspec.Struct, frozen=True, gc=False):
    """How a cycle stands."""

    table: ClassVar[str] = "cycle_changes"
    columns: ClassVar[tuple[str, ...]] = (
        *("time_ms", *_CYCLE, "status", "orders", "fills", "volume", "fees", "cash_flow"),
        *("payout", "winner", "profit", "refusals"),
    )

    time_ms: int
    record: CycleRecord

    def values(self) -> tuple[Value, ...]:
        """Return the columns."""
        record = self.record
        return (
            self.time_ms,
            record.series,
            record.slug,
            record.generation,
            record.status.value,
            record.orders,
            record.fills,
            amount(record.volume),
            amount(record.fees),
            amount(record.cash_flow),
            amount(record.payout),
            None if record.winner is None else record.winner.value,
            None if record.profit is None else amount(record.profit),
            json.dumps(dict(record.refusals)),
        )


class CancelRow(msgspec.Struct, frozen=True, gc=False):
    """A cancel that was asked for, or the answer to one."""

    table: ClassVar[str] = "cancels"
    columns: ClassVar[tuple[str, ...]] = (
        *("time_ms", *_CYCLE, "client_id", "venue_id", "answer", "text"),
    )

    time_ms: int
    market: Market
    order: Order
    answer: str
    text: str

    def values(self) -> tuple[Value, ...]:
        """Return the columns."""
        order = self.order
        where = cycle_of(self.market)
        return (self.time_ms, *where, order.client_id, order.venue_id, self.answer, self.text)


class RefusalRow(msgspec.Struct, gc=False):
    """An order or cancel that was refused; the writer merges those of one text.

    A strategy that is refused at every price would fill the disk otherwise.
    """

    table: ClassVar[str] = "refusals"
    columns: ClassVar[tuple[str, ...]] = ("time_ms", *_CYCLE, "rule", "text", "times", "strategy")

    time_ms: int
    market: Market | None
    rule: str
    text: str
    strategy: str = ""
    times: int = 1

    def values(self) -> tuple[Value, ...]:
        """Return the columns."""
        facts = (self.rule, self.text, self.times, self.strategy)
        return (self.time_ms, *cycle_of(self.market), *facts)


class LateRow(msgspec.Struct, frozen=True, gc=False):
    """An event or answer of a dead cycle."""

    table: ClassVar[str] = "late_events"
    columns: ClassVar[tuple[str, ...]] = ("time_ms", *_CYCLE, "kind", "subject", "result")

    time_ms: int
    market: Market
    kind: str
    subject: str
    result: str

    def values(self) -> tuple[Value, ...]:
        """Return the columns."""
        return (self.time_ms, *cycle_of(self.market), self.kind, self.subject, self.result)


class NoteRow(msgspec.Struct, frozen=True, gc=False):
    """Anything else, as JSON."""

    table: ClassVar[str] = "notes"
    columns: ClassVar[tuple[str, ...]] = ("time_ms", *_CYCLE, "kind", "data")

    time_ms: int
    market: Market | None
    kind: str
    data: bytes

    def values(self) -> tuple[Value, ...]:
        """Return the columns."""
        return (self.time_ms, *cycle_of(self.market), self.kind, self.data.decode())


Row = OrderRow | FillRow | CycleRow | CancelRow | RefusalRow | LateRow | NoteRow


def amount(value: Decimal) -> str:
    """Return an amount as a text without exponent: exact, and every database can read it."""
    return format(value, "f")


def cycle_of(market: Market | None) -> tuple[Value, ...]:
    """Return series, slug and generation."""
    if market is None:
        return (None, None, None)
    return (str(market.series), market.slug, market.generation)
