"""What the account's orders of one recorded market would have done: synchronous, and without a clock."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
from attrs import define, field

from polyframe.exchange.base import PlaceAnswer
from polyframe.model.book import Book
from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    MarketMessage,
    OrderEventKind,
    OrderReport,
    TickSizeChange,
    TradeReport,
    UserMessage,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS, ZERO, units_price
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.trade import TradeLeg, TradeStatus

PLACEHOLDER_BID, PLACEHOLDER_ASK = 100, 9_900
"""A book with nothing between these is one of the venue's placeholders: nobody trades there yet."""


@define(eq=False)
class Sent:
    """One order of the account as the venue has it."""

    order_id: str
    request: OrderRequest
    token: str
    filled: Decimal = ZERO
    status: str = "LIVE"

    @property
    def is_open(self) -> bool:
        """Whether it rests."""
        return self.status == "LIVE"

    @property
    def rest(self) -> Decimal:
        """Shares not filled."""
        return self.request.size - self.filled


@define(eq=False)
class _Side:
    """The book of one outcome, and what our own fills have taken from its levels."""

    book: Book
    changed_ms: int = 0
    taken: dict[tuple[bool, Decimal], Decimal] = field(factory=dict)


class MarketFloor:
    """The books of one market and the account's orders in it.

    A taker walks the book that stands when it arrives, a fill for each level; what it took is gone
    until the next row that speaks of that level. An order that rests is filled at its price as far
    as the other side of the book comes to it.

    Args:
        market: The market.
        max_age_ms: A book that did not change for longer is stale.
        on_fill: Told of each new trade, and of its fee in USD.
        send: Takes what the account's stream is to tell of orders.
    """

    def __init__(
        self,
        market: Market,
        *,
        max_age_ms: int,
        on_fill: Callable[[Sent, TradeReport, Decimal], None],
        send: Callable[[UserMessage], None],
    ) -> None:
        self._market = market
        self._max_age_ms = max_age_ms
        tick = int(market.tick_size * PRICE_UNITS)
        self._sides = {outcome: _Side(Book(tick)) for outcome in Outcome}
        self._by_token = {market.token(outcome): self._sides[outcome] for outcome in Outcome}
        self._orders: dict[str, Sent] = {}
        self._resting: dict[str, Sent] = {}
        self._trades: dict[str, TradeReport] = {}
        self._held = dict.fromkeys(Outcome, ZERO)
        self._sellable = dict.fromkeys(Outcome, ZERO)
        self._is_open = True
        self._on_fill = on_fill
        self._send = send

    # ------------------------------------------------------------------ the recording's side

    def on_message(self, message: MarketMessage, now_ms: int) -> None:
        """Take one row."""
        if isinstance(message, BookDelta):
            sides = self._by_token
            for change in message.changes:
                side = sides.get(change.token)
                if side is not None and side.book.known:
                    side.book.apply_change(change.is_bid, change.price, change.size)
                    side.changed_ms = now_ms
                    if side.taken:
                        side.taken.pop((change.is_bid, units_price(change.price)), None)
        elif isinstance(message, BookSnapshot):
            side = self._by_token.get(message.token)
            if side is not None and side.book.apply_snapshot(
                message.bids, message.asks, message.timestamp_ms, message.tick_units
            ):
                side.changed_ms = now_ms
                side.taken.clear()
        elif isinstance(message, TickSizeChange):
            for side in self._sides.values():
                side.book.set_tick(message.new_tick)
            self.on_gap()
        if self._resting:
            self._fill_resting(now_ms)

    def on_gap(self) -> None:
        """Nothing is known any more."""
        for side in self._sides.values():
            side.book.invalidate()
            side.taken.clear()

    def snapshots(self) -> list[BookSnapshot]:
        """Return both books as they are, nothing while one is not known."""
        if not all(side.book.known for side in self._sides.values()):
            return []
        return [
            BookSnapshot(
                self._market.condition_id,
                self._market.token(outcome),
                _levels(side.book, is_bid=True),
                _levels(side.book, is_bid=False),
                side.book.timestamp_ms,
                side.book.tick_units,
            )
            for outcome, side in self._sides.items()
        ]

    def book(self, outcome: Outcome) -> Book:
        """Return the recorded book of `outcome` as it is now."""
        return self._sides[outcome].book

    def close(self, now_ms: int) -> None:
        """End all trading: what rests is cancelled."""
        self._is_open = False
        for order_id in list(self._resting):
            self.cancel(order_id, now_ms, "CANCELED_MARKET_RESOLVED")
        self.on_gap()

    # ------------------------------------------------------------------ orders

    def place(self, order_id: str, request: OrderRequest, now_ms: int) -> PlaceAnswer:
        """Take one order that has arrived now."""
        side = self._sides[request.outcome]
        if refusal := self._refusal(request, side):
            return PlaceAnswer(PlaceResult.REJECTED, refusal, f"refused: {refusal}")
        found = self._plan(side, request, request.size, now_ms)
        if request.post_only and found:
            text = "invalid post-only order: order crosses book"
            return PlaceAnswer(PlaceResult.REJECTED, "post_only_would_cross", text)
        total = sum((size for _, size in found), ZERO)
        kind = request.order_type
        if (kind is OrderType.FOK and total < request.size) or (
            kind is OrderType.FAK and not found
        ):
            name = kind.value.lower()
            text = f"no orders found to match with {kind.value} order"
            return PlaceAnswer(PlaceResult.REJECTED, f"{name}_not_filled", text)
        order = Sent(order_id, request, self._market.token(request.outcome))
        self._orders[order_id] = order
        self._report(order, OrderEventKind.PLACEMENT, now_ms)
        for price, size in found:
            self._take(side, order, price, size)
            self._fill(order, price, size, now_ms, is_taker=True)
        if order.is_open:
            if kind.rests:
                self._resting[order_id] = order
            else:
                self._end(order, "CANCELED", now_ms)
        return PlaceAnswer(PlaceResult.MATCHED if found else PlaceResult.LIVE)

    def _refusal(self, request: OrderRequest, side: _Side) -> str:
        if not self._is_open:
            return "market_closed"
        if int(request.price * PRICE_UNITS) % side.book.tick_units:
            return "tick_size"
        if request.size < self._market.min_size:
            return "min_size"
        if request.side is Side.SELL and request.size > self._sellable[request.outcome]:
            return "not_enough_balance"
        return ""

    def _plan(
        self, side: _Side, request: OrderRequest, size: Decimal, now_ms: int
    ) -> list[tuple[Decimal, Decimal]]:
        """Return what `size` shares would take now, as ``(price, shares)``, best level first."""
        if not self._is_tradable(side, now_ms):
            return []
        is_buy = request.side is Side.BUY
        found = []
        for price, there in side.book.depth(not is_buy, PRICE_UNITS):
            if not size or (price > request.price if is_buy else price < request.price):
                break
            part = min(there - side.taken.get((not is_buy, price), ZERO), size)
            if part > 0:
                found.append((price, part))
                size -= part
        return found

    @staticmethod
    def _take(side: _Side, order: Sent, price: Decimal, size: Decimal) -> None:
        key = (order.request.side is not Side.BUY, price)
        side.taken[key] = side.taken.get(key, ZERO) + size

    def _is_tradable(self, side: _Side, now_ms: int) -> bool:
        book = side.book
        if not book.known or now_ms - side.changed_ms > self._max_age_ms:
            return False
        return book.bid_units > PLACEHOLDER_BID or book.ask_units < PLACEHOLDER_ASK

    def cancel(self, order_id: str, now_ms: int, status: str = "CANCELED") -> bool:
        """Cancel an order; say whether it was open."""
        order = self._resting.get(order_id)
        if order is None:
            return False
        self._end(order, status, now_ms)
        return True

    def _fill_resting(self, now_ms: int) -> None:
        for order in list(self._resting.values()):
            request = order.request
            side = self._sides[request.outcome]
            units = int(request.price * PRICE_UNITS)
            is_buy = request.side is Side.BUY
            if side.book.ask_units > units if is_buy else side.book.bid_units < units:
                continue
            for price, size in self._plan(side, request, order.rest, now_ms):
                self._take(side, order, price, size)
                self._fill(order, request.price, size, now_ms, is_taker=False)

    def _fill(
        self, order: Sent, price: Decimal, size: Decimal, now_ms: int, *, is_taker: bool
    ) -> None:
        request = order.request
        order.filled += size
        leg = TradeLeg(order.order_id, order.token, request.side, price, size, is_taker)
        report = TradeReport(
            f"{order.order_id}-{len(self._trades) + 1}",
            self._market.condition_id,
            order.token,
            TradeStatus.MATCHED,
            (leg,),
            now_ms,
            now_ms,
        )
        self._trades[report.trade_id] = report
        self._held[request.outcome] += size if request.side is Side.BUY else -size
        if request.side is Side.SELL:
            self._sellable[request.outcome] -= size
        fee = self._market.fees.taker_fee(size, price) if is_taker else ZERO
        if not order.rest:
            order.status = "MATCHED"
            self._resting.pop(order.order_id, None)
        self._report(order, OrderEventKind.UPDATE, now_ms)
        self._on_fill(order, report, fee)

    def _end(self, order: Sent, status: str, now_ms: int) -> None:
        order.status = status
        self._resting.pop(order.order_id, None)
        self._report(order, OrderEventKind.CANCELLATION, now_ms)

    # ------------------------------------------------------------------ what is held

    def settle(self, trade_id: str, status: TradeStatus, now_ms: int) -> TradeReport:
        """Move a trade on in its settlement and return what is told of it."""
        trade = self._trades[trade_id]
        if status is TradeStatus.CONFIRMED:
            for leg in trade.legs:
                outcome = self._market.outcome(leg.token)
                if outcome is not None and leg.side is Side.BUY:
                    self._sellable[outcome] += leg.size
        trade = msgspec.structs.replace(trade, status=status, timestamp_ms=now_ms)
        self._trades[trade_id] = trade
        return trade

    def held(self, outcome: Outcome) -> Decimal:
        """Return the shares of `outcome` that the account has."""
        return self._held[outcome]

    @property
    def is_untouched(self) -> bool:
        """Whether there never was an order."""
        return not self._orders

    # ------------------------------------------------------------------ what is told

    def open_orders(self, now_ms: int) -> list[OrderReport]:
        """Return what rests."""
        return [self._describe(o, OrderEventKind.UPDATE, now_ms) for o in self._resting.values()]

    def order(self, order_id: str, now_ms: int) -> OrderReport | None:
        """Return one order in whatever state, ``None`` if there is none."""
        order = self._orders.get(order_id)
        if order is None:
            return None
        ended = not order.is_open and order.status != "MATCHED"
        kind = OrderEventKind.CANCELLATION if ended else OrderEventKind.UPDATE
        return self._describe(order, kind, now_ms)

    def trades(self) -> list[TradeReport]:
        """Return all trades as they stand."""
        return list(self._trades.values())

    def _report(self, order: Sent, kind: OrderEventKind, now_ms: int) -> None:
        self._send(self._describe(order, kind, now_ms))

    def _describe(self, order: Sent, kind: OrderEventKind, now_ms: int) -> OrderReport:
        request = order.request
        return OrderReport(
            order_id=order.order_id,
            market=self._market.condition_id,
            token=order.token,
            kind=kind,
            status=order.status,
            side=request.side,
            price=request.price,
            original_size=request.size,
            size_matched=order.filled,
            timestamp_ms=now_ms,
        )


def _levels(book: Book, *, is_bid: bool) -> tuple[tuple[int, Decimal], ...]:
    depth = book.depth(is_bid, PRICE_UNITS)
    return tuple((int(price * PRICE_UNITS), size) for price, size in depth)
