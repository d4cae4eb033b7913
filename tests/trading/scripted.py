"""A venue that treats each order as it is told to, fills included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from polyframe.errors import ExchangeUnavailable
from polyframe.exchange.base import CancelAnswer, PlaceAnswer, PreparedOrder
from polyframe.model.events import OrderEventKind, UserMessage
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.trading.handle import StrategyTrading
from tests.support.fake import START, FakeExchange, make_market, snapshot, trade_report
from tests.support.stage import Stage

FIRST = make_market(start=START)
UP, TEN = Outcome.UP, Decimal(10)
FAK, FOK, GTC = OrderType.FAK, OrderType.FOK, OrderType.GTC

FATES = ("rest", "reject", "kill", "lost", "vanish", "part", "fill", "quiet", "hush")
"""What the venue does with an order: let it rest; refuse it; fill nothing and end it; accept it and
lose the answer; lose the request; fill four shares; fill all; fill all and tell nobody; fill six
shares and tell nobody."""


class Scripted(FakeExchange):
    """Treats each order as the script says, fills included, and tells it on the account's stream."""

    def __init__(self, *fates: str, cancels: Sequence[str] = ()) -> None:
        super().__init__()
        self.fates = list(fates)
        self.cancels = list(cancels)
        self.tell: Callable[[UserMessage], None] = lambda _: None

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Treat one order."""
        self.placed.append(prepared)
        if self.hold_place is not None:
            await self.hold_place
        await asyncio.sleep(0.05)
        fate = self.fates.pop(0) if self.fates else "rest"
        kind = prepared.request.order_type
        if fate == "reject":
            return PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no")
        if fate == "vanish":
            return PlaceAnswer(PlaceResult.UNKNOWN, "no_answer", "timed out")
        if (
            fate == "kill"
            or (fate == "rest" and kind is not GTC)
            or (kind is FOK and fate in {"part", "hush"})
        ):
            if kind is GTC:
                return PlaceAnswer(PlaceResult.REJECTED, "post_only_would_cross", "no")
            return PlaceAnswer(PlaceResult.REJECTED, "fak_not_filled", "killed")
        self.accept(prepared)
        if fate == "part":
            self.fill(prepared, Decimal(4))
        elif fate == "hush":
            self.fill(prepared, Decimal(6), is_told=False)
        elif fate in {"fill", "quiet"} or kind is not GTC:
            self.fill(prepared, prepared.request.size, is_told=fate != "quiet")
        if fate == "lost":
            return PlaceAnswer(PlaceResult.UNKNOWN, "no_answer", "timed out")
        return PlaceAnswer(PlaceResult.LIVE if fate == "rest" else PlaceResult.MATCHED)

    def fill(self, prepared: PreparedOrder, size: Decimal, *, is_told: bool = True) -> None:
        """Match shares of an order; the trade is told a little later."""
        venue_id, request = prepared.venue_id, prepared.request
        ends = request.order_type is not GTC and size < request.size
        whole = size == request.size
        report = self.change(
            venue_id,
            size_matched=size,
            kind=OrderEventKind.CANCELLATION if ends else OrderEventKind.UPDATE,
            status="MATCHED" if whole else "CANCELED" if ends else "LIVE",
        )
        trade = trade_report(
            prepared.market,
            f"t{len(self.trades)}",
            venue_id,
            request.outcome,
            size=size,
            price=request.price,
            side=request.side,
        )
        self.trades.append(trade)
        if is_told:
            loop = asyncio.get_running_loop()
            loop.call_later(0.2, self.tell, report)
            loop.call_later(0.3, self.tell, trade)

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel, or fail as the script says: no answer, or a fill that was faster."""
        fate = self.cancels.pop(0) if self.cancels else ""
        if fate == "error":
            msg = "no answer"
            raise ExchangeUnavailable(msg)
        refused = {}
        for venue_id in venue_ids:
            known = self.known.get(venue_id)
            if fate == "race" and known is not None and known.kind is OrderEventKind.PLACEMENT:
                prepared = next(p for p in self.placed if p.venue_id == venue_id)
                self.fill(prepared, prepared.request.size)
                known = self.known[venue_id]
            if known is None or known.kind is OrderEventKind.CANCELLATION:
                refused[venue_id] = "order not found"
            elif known.size_matched == known.original_size:
                refused[venue_id] = "already canceled or matched"
        self.cancel_refused = refused
        return await super().cancel_orders(venue_ids)


def buy(outcome: Outcome = UP, price: str = "0.40", **more: Any) -> OrderRequest:
    """Return a request for ten shares."""
    return OrderRequest(outcome, Side.BUY, Decimal(price), TEN, **more)


async def handle(stage: Stage) -> StrategyTrading:
    """Open a cycle in which best bids are known, and return a strategy's handle."""
    await stage.open_cycle()
    if isinstance(stage.exchange, Scripted):
        stage.exchange.tell = stage.env.router.on_user_message
    for outcome in Outcome:
        stage.exchange.streams[FIRST.slug].push(snapshot(FIRST, outcome))
    return stage.trading.handle("me")
