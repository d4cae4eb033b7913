"""What every cycle did and earned; it outlives cycles and no strategy writes to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum

from attrs import field, frozen

from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)


class CycleStatus(StrEnum):
    """How far the books of a cycle are closed."""

    OPEN = "open"
    """It is trading."""
    RESOLVING = "resolving"
    """Its window is over; orders, settlement or resolution are pending."""
    RESOLVED = "resolved"
    """The market is resolved and the profit final, unless a trade fails after the fact."""
    UNRESOLVED = "unresolved"
    """Nothing was heard of its resolution for too long, or the program stopped before."""


@frozen
class CycleRecord:
    """One cycle's account. Amounts in USD.

    Attributes:
        series, slug, generation: Which cycle.
        status: How far its books are closed.
        orders, fills: How many.
        volume: Sum of price × size over fills.
        fees: Fees paid.
        cash_flow: Cash received minus cash spent, fees included.
        payout: What the shares held at resolution paid.
        winner: The outcome that won, ``None`` if unknown.
        profit: ``cash_flow + payout``, ``None`` until resolved.
        refusals: How often an order or cancel was refused, by reason: the rule of ours that denied
            it, or ``venue:`` and the code of the venue's refusal.
    """

    series: str
    slug: str
    generation: int
    status: CycleStatus
    orders: int
    fills: int
    volume: Decimal
    fees: Decimal
    cash_flow: Decimal
    payout: Decimal
    winner: Outcome | None
    profit: Decimal | None
    refusals: Mapping[str, int] = field(factory=dict, hash=False)


def record_of(state: CycleState, status: CycleStatus) -> CycleRecord:
    """Return the record of a cycle as its state is now."""
    return CycleRecord(
        series=str(state.market.series),
        slug=state.market.slug,
        generation=state.market.generation,
        status=status,
        orders=sum(1 for order in state.orders.values() if not order.is_external),
        fills=len(state.fills),
        volume=state.volume,
        fees=state.fees,
        cash_flow=state.cash_flow,
        payout=state.payout,
        winner=state.winner,
        profit=state.profit(),
        refusals=dict(state.refusals),
    )


RecordListener = Callable[[CycleRecord], None]


class Ledger:
    """Records of cycles, the latest `limit` of them, in memory.

    Args:
        limit: Records kept; older ones are dropped, oldest first.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._records: dict[str, CycleRecord] = {}
        self._listeners: list[RecordListener] = []

    def put(self, record: CycleRecord) -> None:
        """Add or replace the record of a cycle and tell the listeners if it changed."""
        if self._records.get(record.slug) == record:
            return
        self._records[record.slug] = record
        while len(self._records) > self._limit:
            del self._records[next(iter(self._records))]
        for listener in tuple(self._listeners):
            try:
                listener(record)
            except Exception:
                log.exception("a ledger listener raised")

    def subscribe(self, listener: RecordListener) -> None:
        """Call `listener` with every new or changed record (synchronously)."""
        self._listeners.append(listener)

    def get(self, slug: str) -> CycleRecord | None:
        """Return the record of one cycle."""
        return self._records.get(slug)

    def __iter__(self) -> Iterator[CycleRecord]:
        """Iterate over the records, oldest first."""
        return iter(tuple(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    @property
    def profit(self) -> Decimal:
        """Sum of the final profits in USD."""
        return sum((r.profit for r in self if r.profit is not None), ZERO)
