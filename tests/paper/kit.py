"""A paper venue that is driven by hand, and the messages of a feed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal

from attrs import evolve

from polyframe.exchange.base import CancelAnswer, PlaceAnswer, PreparedOrder
from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    OrderReport,
    TradePrint,
    TradeReport,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.order import OrderRequest, OrderType, Side
from polyframe.model.trade import TradeStatus
from polyframe.paper.core import PaperVenue
from polyframe.paper.models import ConstantLatency, PaperModels
from polyframe.paper.values import Cancelled, Placed, Told
from tests.support.fake import START, make_market

NOW = START * 1000 + 60_000
"""A minute into the window, in milliseconds."""

PROMPT = PaperModels(
    order_latency=ConstantLatency(0), feed_latency=ConstantLatency(0), taker_delay_ms=0
)
"""Orders arrive at once and are matched at once."""

Sizes = dict[int, int | str]
"""Sizes in shares by price in cents."""


def levels(sizes: Sizes) -> tuple[tuple[int, Decimal], ...]:
    """Return levels as messages have them."""
    return tuple((cents * 100, Decimal(size)) for cents, size in sizes.items())


class Desk:
    """One market at a paper venue, and the time."""

    def __init__(
        self, models: PaperModels = PROMPT, cash: str = "1000", market: Market | None = None
    ) -> None:
        self.ignored: list[str] = []
        seed = models.seed
        self.venue = PaperVenue(
            models,
            Decimal(cash),
            lambda name: random.Random(f"{seed}/{name}"),
            self.ignored.append,
        )
        self.market = market or make_market()
        self.venue.add_market(self.market)
        self.now = NOW
        self.told: list[Told] = []
        self._ids = 0

    def hear(self, message: MarketMessage) -> None:
        """Take a message of the feed."""
        self.venue.on_message(self.market.slug, message, self.now)
        self._collect()

    def book(self, bids: Sizes, asks: Sizes, outcome: Outcome = Outcome.UP, tick: int = 0) -> None:
        """Show a whole book."""
        token = self.market.token(outcome)
        self.hear(
            BookSnapshot(
                self.market.condition_id, token, levels(bids), levels(asks), self.now, tick
            )
        )

    def change(
        self, cents: int, size: int | str, *, is_bid: bool, outcome: Outcome = Outcome.UP
    ) -> None:
        """Show another size at one price."""
        token = self.market.token(outcome)
        change = LevelChange(token, is_bid, cents * 100, Decimal(size))
        self.hear(BookDelta(self.market.condition_id, (change,), self.now))

    def print(
        self,
        cents: int,
        size: int | str | None,
        side: Side | None,
        outcome: Outcome = Outcome.UP,
    ) -> None:
        """Show a trade; `side` is the taker's."""
        token = self.market.token(outcome)
        shares = None if size is None else Decimal(size)
        self.hear(TradePrint(self.market.condition_id, token, cents * 100, shares, side, self.now))

    def send(self, request: OrderRequest) -> str:
        """Send an order and return its id."""
        self._ids += 1
        prepared = PreparedOrder(f"o{self._ids}", self.market, request)
        self.venue.send_order(prepared, self.now)
        self.wait(0)
        return prepared.venue_id

    def cancel(self, *order_ids: str) -> CancelAnswer:
        """Cancel orders and return the answer, which must be there at once."""
        self.venue.send_cancel(7, order_ids, self.now)
        self.wait(0)
        found = [told.answer for told in self.told if isinstance(told, Cancelled)]
        return found[-1]

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds
        self.venue.advance(self.now)
        self._collect()

    def _collect(self) -> None:
        self.told += self.venue.outbox
        self.venue.outbox.clear()

    # ------------------------------------------------------------------ what was told

    def answer(self, order_id: str) -> PlaceAnswer:
        """Return the answer to an order."""
        (found,) = [
            told.answer
            for told in self.told
            if isinstance(told, Placed) and told.order_id == order_id
        ]
        return found

    def is_answered(self, order_id: str) -> bool:
        """Return whether an order was answered."""
        return any(isinstance(told, Placed) and told.order_id == order_id for told in self.told)

    def reports(self, order_id: str) -> list[tuple[str, str, object]]:
        """Return kind, status and matched size of what was told of an order."""
        return [
            (told.kind.value, told.status, told.size_matched)
            for told in self.told
            if isinstance(told, OrderReport) and told.order_id == order_id
        ]

    def fills(self, order_id: str) -> list[tuple[str, str]]:
        """Return price and size of each fill of an order, in terms of its own token."""
        return [
            (f"{leg.price:f}", f"{leg.size.normalize():f}")
            for trade in self.trades(TradeStatus.MATCHED)
            for leg in trade.legs
            if leg.order_id == order_id
        ]

    def trades(self, *statuses: TradeStatus) -> list[TradeReport]:
        """Return the trades that were told in one of these statuses."""
        return [
            told
            for told in self.told
            if isinstance(told, TradeReport) and told.status in (statuses or TradeStatus)
        ]


def order(
    price: str,
    size: int | str,
    side: Side = Side.BUY,
    order_type: OrderType = OrderType.GTC,
    outcome: Outcome = Outcome.UP,
    *,
    post_only: bool = False,
) -> OrderRequest:
    """Return a request."""
    return OrderRequest(outcome, side, Decimal(price), Decimal(size), order_type, post_only)


def gtd(price: str, size: int, expires: int) -> OrderRequest:
    """Return a request that ends by itself."""
    return evolve(order(price, size, order_type=OrderType.GTD), expires=expires)


def total(sizes: Iterable[tuple[str, str]]) -> Decimal:
    """Return the shares of some fills."""
    return sum((Decimal(size) for _, size in sizes), Decimal(0))
