"""What was asked of the replayed venue and what came of it, as values: what reports are made of."""

from __future__ import annotations

from attrs import define, field

from polyframe.model.events import TradeReport
from polyframe.model.market import Market
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest
from polyframe.model.trade import TradeStatus
from polyframe.report.orders import Decision, Level, OrderView


@define(eq=False)
class Entry:
    """One order and its fills.

    Attributes:
        number: Of the order in the run, from 1.
        sent_ms: When it was decided.
        arrived_ms: When its answer was there; 0 before.
        slug: Its market.
        request: What was asked for.
        view: What its outcome's book showed when it was decided.
        answer: What became of it at first: ``"live"``, ``"matched"``, or the code of a refusal.
        fills: What it got, by trade id.
    """

    number: int
    sent_ms: int
    slug: str
    request: OrderRequest
    view: OrderView
    arrived_ms: int = 0
    answer: str = ""
    fills: dict[str, Level] = field(factory=dict)

    @property
    def levels(self) -> list[Level]:
        """What it got and kept, in order."""
        return [level for level in self.fills.values() if not level.failed]


@define(eq=False)
class Blotter:
    """All orders of a run, and all decisions in order."""

    entries: dict[str, Entry] = field(factory=dict)
    decisions: list[Decision] = field(factory=list)

    def placed(
        self, order_id: str, time_ms: int, slug: str, request: OrderRequest, view: OrderView
    ) -> Entry:
        """Enter an order that is on its way; `view` is what its book shows now."""
        number = len(self.entries) + 1
        entry = Entry(number, time_ms, slug, request, view)
        self.entries[order_id] = entry
        self._decided(time_ms, slug, "place", request, number)
        return entry

    def cancelled(self, order_id: str, time_ms: int) -> None:
        """Enter that an order is to be cancelled."""
        entry = self.entries.get(order_id)
        if entry is not None:
            self._decided(time_ms, entry.slug, "cancel", entry.request, entry.number)

    def filled(self, report: TradeReport, market: Market) -> None:
        """Enter what a trade says of the orders that took part in it."""
        failed = report.status is TradeStatus.FAILED
        if report.status is not TradeStatus.MATCHED and not failed:
            return
        for leg in report.legs:
            fee = market.fees.taker_fee(leg.size, leg.price) if leg.is_taker else ZERO
            self.entries[leg.order_id].fills[report.trade_id] = Level(
                report.match_time_ms, leg.price, leg.size, fee, leg.is_taker, failed
            )

    def _decided(
        self, time_ms: int, slug: str, action: str, request: OrderRequest, number: int
    ) -> None:
        self.decisions.append(
            Decision(
                time_ms,
                slug,
                action,
                request.outcome,
                request.side,
                request.price,
                request.size,
                request.order_type,
                number,
            )
        )
