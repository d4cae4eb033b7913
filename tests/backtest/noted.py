"""A paper run that notes what it does, to be compared with a back-test."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from typing_extensions import override

from polyframe.clock import Clock
from polyframe.exchange.base import (
    CancelAnswer,
    Exchange,
    PlaceAnswer,
    PreparedOrder,
)
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, Side
from polyframe.paper.exchange import PaperExchange
from polyframe.paper.models import ConstantLatency, PaperModels
from polyframe.report.orders import Decision
from polyframe.report.values import Report

CASH = Decimal(10_000)
MODELS = PaperModels(
    order_latency=ConstantLatency(250), feed_latency=ConstantLatency(0), taker_delay_ms=0
)

Did = tuple[int, str, Outcome, Side, Decimal, Decimal, OrderType, int]
Got = tuple[int, Outcome, Side, Decimal, Decimal, bool]


class Noted(PaperExchange):
    """A paper exchange that notes what it is asked to do, and when."""

    def __init__(self, inner: Exchange, clock: Clock, models: PaperModels) -> None:
        super().__init__(inner, cash=CASH, models=models)
        self.did: list[Did] = []
        self.clock = clock
        self._asking = 0
        self._orders: dict[str, tuple[int, OrderRequest]] = {}

    def _note(self, action: str, venue_id: str) -> None:
        number, request = self._orders[venue_id]
        now_ms = round(self.clock.time() * 1000)
        outcome, side = request.outcome, request.side
        self.did.append(
            (now_ms, action, outcome, side, request.price, request.size, request.order_type, number)
        )

    @override
    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        for one in prepared:
            self._orders[one.venue_id] = (len(self._orders) + 1, one.request)
            self._note("place", one.venue_id)
        self._asking += 1
        try:
            return await super().place_orders(prepared)
        finally:
            self._asking -= 1

    @override
    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        for venue_id in venue_ids:
            self._note("cancel", venue_id)
        self._asking += 1
        try:
            return await super().cancel_orders(venue_ids)
        finally:
            self._asking -= 1

    @property
    def asking(self) -> int:
        """Orders and cancels that are on their way."""
        return self._asking

    async def got(self) -> list[Got]:
        """Return what its orders got."""
        found: list[Got] = []
        for trade in await self.fetch_trades():
            for leg in trade.legs:
                outcome = self._orders[leg.order_id][1].outcome
                found.append(
                    (trade.match_time_ms, outcome, leg.side, leg.price, leg.size, leg.is_taker)
                )
        return sorted(found)


def did(decisions: Sequence[Decision]) -> list[Did]:
    """Return the decisions of a back-test as a paper run notes them."""
    return [
        (d.time_ms, d.action, d.outcome, d.side, d.price, d.size, d.order_type, d.number)
        for d in decisions
    ]


def got(report: Report) -> list[Got]:
    """Return the fills of a back-test as a paper run has them."""
    return sorted(
        (
            each.time_ms,
            order.request.outcome,
            order.request.side,
            each.price,
            each.size,
            each.is_taker,
        )
        for order in report.trades
        for each in order.levels
    )
