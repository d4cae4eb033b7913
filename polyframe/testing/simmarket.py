"""One market of the simulated venue: its crowd, the account's orders in it, its trades, its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from decimal import Decimal

from polyframe.clock import Clock
from polyframe.exchange.base import PlaceAnswer, PreparedOrder
from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    OrderEventKind,
    OrderReport,
    TickSizeChange,
    TradePrint,
    UserMessage,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS, units_price
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.trade import TradeLeg
from polyframe.testing.faults import Fault, Faults
from polyframe.testing.simaccount import SimAccount
from polyframe.testing.simbook import Match, SimBook
from polyframe.testing.simstreams import SimMarketStream
from polyframe.testing.simtrades import SimTrades
from polyframe.testing.simvalues import SimHabits, SimOrder, shares

COARSE, FINE = 100, 10
"""Ticks in price units, before and after a change (PROTOCOL §4.6)."""

LEVELS = 4
"""Price levels that the crowd shows on each side."""


class SimMarket:
    """One market from its listing to the last word about it.

    Args:
        market: Names and rules.
        rng: Chance of the crowd, of settlement and of the outcome.
        clock: Market time.
        account: Where trades are booked.
        faults: What goes wrong.
        habits: Times.
        send: Sends a message to the account's stream.

    Attributes:
        orders: All orders of the account by id.
        trades: All trades in which the account took part.
        streams: The market's streams that are not closed.
        winner: The outcome, once the market is resolved.
        is_open: Whether it trades.
        is_abandoned: Whether it will never be resolved.
    """

    def __init__(
        self,
        market: Market,
        *,
        rng: random.Random,
        clock: Clock,
        account: SimAccount,
        faults: Faults,
        habits: SimHabits,
        send: Callable[[UserMessage], None],
    ) -> None:
        self.market = market
        self.tick = int(market.tick_size * PRICE_UNITS)
        self.orders: dict[str, SimOrder] = {}
        self.trades = SimTrades(
            market, rng=rng, clock=clock, account=account, faults=faults, habits=habits, send=send
        )
        self.streams: list[SimMarketStream] = []
        self.winner: Outcome | None = None
        self._rng = rng
        self._clock = clock
        self._account = account
        self._faults = faults
        self._habits = habits
        self._send = send
        self._book = SimBook()
        self._fair = PRICE_UNITS // 2
        self._shown: dict[tuple[bool, int], int] = {}
        self.is_open = True
        self.is_abandoned = False
        self._crowd()
        self._show()

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Let the crowd trade until the end of the window, then resolve."""
        left = self.market.window.end - self._clock.time()
        loop = asyncio.get_running_loop()
        loop.call_later(max(left, 0.0), self.close)
        self._next_step()

    def _next_step(self) -> None:
        delay = self._rng.uniform(*self._habits.step)
        asyncio.get_running_loop().call_later(delay, self._step)

    def _step(self) -> None:
        if self.is_open:
            self.step()
            self._next_step()

    def close(self) -> None:
        """End trading: what rests is cancelled; the resolution follows."""
        if not self.is_open:
            return
        self.is_open = False
        for order in list(self.orders.values()):
            if order.is_open:
                self.cancel(order.order_id, "CANCELED_MARKET_RESOLVED")
        delay = self._rng.uniform(*self._habits.resolved)
        if self._faults.hit(Fault.RESOLUTION_MISSING):
            self.is_abandoned = True
            return
        if self._faults.hit(Fault.RESOLUTION_LATE):
            delay += self._faults.source(Fault.RESOLUTION_LATE).uniform(60.0, 7200.0)
        asyncio.get_running_loop().call_later(delay, self._resolve)

    def _resolve(self) -> None:
        up = self._rng.random() * PRICE_UNITS < self._fair
        self.winner = Outcome.UP if up else Outcome.DOWN
        self._account.pay_out(self.market.token(self.winner))

    @property
    def is_quiet(self) -> bool:
        """Whether it is resolved, or never will be, and all its trades are final."""
        return (self.winner is not None or self.is_abandoned) and self.trades.are_final

    # ------------------------------------------------------------------ the crowd

    def step(self) -> None:
        """Move the crowd once, fill what it reaches, and show the difference."""
        if self._faults.hit(Fault.TICK_CHANGE):
            self._change_tick()
        self._fair += self._rng.choice((-2, -1, -1, 0, 0, 1, 1, 2)) * COARSE
        self._fair = min(max(self._fair, 6 * COARSE), PRICE_UNITS - 6 * COARSE)
        self._crowd()
        if self._rng.random() < 0.4:
            self._crowd_takes()
        self._show()

    def _crowd(self) -> None:
        rng = self._rng
        gap = rng.choice((1, 1, 2)) * COARSE
        bids = {self._fair - i * COARSE: rng.randint(4, 80) * 100 for i in range(LEVELS)}
        asks = {self._fair + gap + i * COARSE: rng.randint(4, 80) * 100 for i in range(LEVELS)}
        self._matched(self._book.move(bids, asks))

    def _crowd_takes(self) -> None:
        """Let somebody take: one trade, however many of the account's orders it meets."""
        rng = self._rng
        is_bid = rng.random() < 0.5
        limit = PRICE_UNITS - COARSE if is_bid else COARSE
        matches = self._book.plan(is_bid=is_bid, limit=limit, size=rng.randint(1, 60) * 100)
        if not matches:
            return
        self._book.carry_out(matches, is_bid=is_bid)
        self._matched(matches)
        last = matches[-1]
        side = Side.BUY if is_bid else Side.SELL
        size = shares(sum(match.size for match in matches))
        now = self._now_ms()
        self._tell(
            TradePrint(self.market.condition_id, self.market.up_token, last.price, size, side, now)
        )

    def _change_tick(self) -> None:
        self.tick = FINE if self.tick == COARSE else COARSE
        for token in (self.market.up_token, self.market.down_token):
            self._tell(TickSizeChange(self.market.condition_id, token, self.tick, self._now_ms()))

    # ------------------------------------------------------------------ the account's orders

    def accept(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Take an order as the venue does (PROTOCOL §2.3, §2.8, §2.10)."""
        request = prepared.request
        token = self.market.token(request.outcome)
        size = int(request.size * 100)
        if refusal := self._refusal(request, token):
            return PlaceAnswer(PlaceResult.REJECTED, refusal, f"refused: {refusal}")
        is_bid, limit = self._up_terms(request)
        matches = self._book.plan(is_bid=is_bid, limit=limit, size=size)
        if request.post_only and matches:
            code = "post_only_would_cross"
            return PlaceAnswer(PlaceResult.REJECTED, code, "invalid post-only order: crosses book")
        order = SimOrder(prepared.venue_id, request, token, size)
        self.orders[order.order_id] = order
        found = sum(match.size for match in matches)
        if (request.order_type is OrderType.FOK and found < size) or (
            request.order_type is OrderType.FAK and not found
        ):
            return self._kill(order)
        self._account.hold(request.side, token, request.price, request.size)
        self._report(order, OrderEventKind.PLACEMENT)
        self._book.carry_out(matches, is_bid=is_bid)
        self._matched(matches, taker=order)
        if order.is_open:
            if request.order_type is OrderType.FAK:
                self.cancel(order.order_id, "CANCELED_rest of FAK")
            else:
                self._book.rest(order.order_id, is_bid=is_bid, price=limit, size=size - found)
        self._show()
        return PlaceAnswer(PlaceResult.MATCHED if found else PlaceResult.LIVE)

    def _refusal(self, request: OrderRequest, token: str) -> str:
        price, size = request.price, request.size
        if not self.is_open:
            return "market_not_found"
        if price % units_price(self.tick) or not 0 < price < 1:
            return "tick_size"
        if size < self.market.min_size:
            return "min_size"
        if not self._account.covers(request.side, token, price, size):
            return "not_enough_balance"
        return ""

    def _kill(self, order: SimOrder) -> PlaceAnswer:
        kind = order.request.order_type.value.lower()
        text = f"no orders found to match with {kind}"
        self._end(order, f"CANCELED_{text}")
        self._report(order, OrderEventKind.CANCELLATION)
        return PlaceAnswer(PlaceResult.REJECTED, f"{kind}_not_filled", text)

    def cancel(self, order_id: str, status: str = "CANCELED") -> bool:
        """Cancel an order of the account; say whether it was open."""
        order = self.orders.get(order_id)
        if order is None or not order.is_open:
            return False
        self._book.cancel(order_id)
        request = order.request
        self._account.hold(request.side, order.token, request.price, -order.rest)
        self._end(order, status)
        self._report(order, OrderEventKind.CANCELLATION)
        self._show()
        return True

    def fill(self, order_id: str, size: Decimal | None = None) -> bool:
        """Let somebody take a resting order (`size` shares of it); say whether it rested."""
        resting = self._book.resting(order_id)
        if resting is None:
            return False
        part = resting.open if size is None else min(int(size * 100), resting.open)
        match = Match(resting.price, part, order_id)
        self._book.fill(order_id, part)
        self._matched([match])
        self._show()
        return True

    def _up_terms(self, request: OrderRequest) -> tuple[bool, int]:
        """Return whether a request bids for Up, and its limit for Up in price units."""
        units = int(request.price * PRICE_UNITS)
        is_buy = request.side is Side.BUY
        if request.outcome is Outcome.UP:
            return is_buy, units
        return not is_buy, PRICE_UNITS - units

    # ------------------------------------------------------------------ trades

    def _matched(self, matches: list[Match], taker: SimOrder | None = None) -> None:
        """Make trades of what was matched.

        The account as a taker gets one trade for each match, so that prices stay on the grid; a
        taker of the crowd makes one trade with all of the account's orders that it meets.
        """
        if taker is not None:
            for match in matches:
                legs = [self._leg(taker, match, is_taker=True)]
                if match.maker is not None:
                    legs.append(self._leg(self.orders[match.maker], match, is_taker=False))
                self._trade(taker.token, legs)
            return
        met: dict[str, Match] = {}
        for match in matches:
            if match.maker is not None:
                # All of one order's matches have its own price: they are one leg.
                size = match.size + (met[match.maker].size if match.maker in met else 0)
                met[match.maker] = Match(match.price, size, match.maker)
        legs = [
            self._leg(self.orders[maker], match, is_taker=False) for maker, match in met.items()
        ]
        if legs:
            token = self._rng.choice((self.market.up_token, self.market.down_token))
            self._trade(token, legs)

    def _leg(self, order: SimOrder, match: Match, *, is_taker: bool) -> TradeLeg:
        request = order.request
        price = match.price if request.outcome is Outcome.UP else PRICE_UNITS - match.price
        size = shares(match.size)
        order.filled += match.size
        self._account.hold(request.side, order.token, request.price, -size)
        if order.filled == order.size:
            self._end(order, "MATCHED")
        leg = TradeLeg(
            order.order_id, order.token, request.side, units_price(price), size, is_taker
        )
        self._account.book(leg, self.trades.fee(leg))
        return leg

    def _end(self, order: SimOrder, status: str) -> None:
        order.status, order.ended = status, self._clock.time()

    def _trade(self, token: str, legs: list[TradeLeg]) -> None:
        trade = self.trades.add(token, tuple(legs))
        reports: list[UserMessage] = [
            self._order_report(self.orders[leg.order_id], _UPDATE) for leg in legs
        ]
        # In which order the venue tells of these is not specified (PROTOCOL §5.6).
        place = self._rng.choice((0, len(reports)))
        reports.insert(place, self.trades.report(trade))
        for report in reports:
            self._send(report)

    # ------------------------------------------------------------------ what is told

    def order_report(self, order: SimOrder) -> OrderReport:
        """Return what the venue says of an order when it is asked."""
        kind = _UPDATE if order.is_open or order.status == "MATCHED" else _CANCELLATION
        return self._order_report(order, kind)

    def _report(self, order: SimOrder, kind: OrderEventKind) -> None:
        self._send(self._order_report(order, kind))

    def _order_report(self, order: SimOrder, kind: OrderEventKind) -> OrderReport:
        request = order.request
        return OrderReport(
            order_id=order.order_id,
            market=self.market.condition_id,
            token=order.token,
            kind=kind,
            status=order.status,
            side=request.side,
            price=request.price,
            original_size=request.size,
            size_matched=shares(order.filled),
            timestamp_ms=self._now_ms(),
        )

    def snapshots(self) -> list[BookSnapshot]:
        """Return both books as they are."""
        bids, asks = self._book.display(is_bid=True), self._book.display(is_bid=False)
        mirrored = ({PRICE_UNITS - p: s for p, s in side.items()} for side in (asks, bids))
        down_bids, down_asks = mirrored
        return [
            BookSnapshot(
                self.market.condition_id,
                token,
                _levels(bid_side),
                _levels(ask_side),
                self._now_ms(),
                self.tick,
            )
            for token, bid_side, ask_side in (
                (self.market.up_token, bids, asks),
                (self.market.down_token, down_bids, down_asks),
            )
        ]

    def _show(self) -> None:
        """Send what changed of the display since the last time."""
        bids, asks = self._book.display(is_bid=True), self._book.display(is_bid=False)
        shown = {(True, price): size for price, size in bids.items()}
        shown |= {(False, price): size for price, size in asks.items()}
        before, self._shown = self._shown, shown
        if not self.streams:
            return
        best_bid, best_ask = max(bids, default=0), min(asks, default=PRICE_UNITS)
        up, down = self.market.up_token, self.market.down_token
        changes = []
        for (is_bid, price), size in sorted(_difference(before, shown).items()):
            amount = shares(size)
            changes.append(LevelChange(up, is_bid, price, amount, best_bid, best_ask))
            changes.append(
                LevelChange(
                    down,
                    not is_bid,
                    PRICE_UNITS - price,
                    amount,
                    PRICE_UNITS - best_ask,
                    PRICE_UNITS - best_bid,
                )
            )
        if changes:
            self._tell(BookDelta(self.market.condition_id, tuple(changes), self._now_ms()))

    def _tell(self, message: MarketMessage) -> None:
        self.streams = [stream for stream in self.streams if not stream.closed]
        for stream in self.streams:
            stream.send(message)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


_UPDATE, _CANCELLATION = OrderEventKind.UPDATE, OrderEventKind.CANCELLATION


def _levels(side: Mapping[int, int]) -> tuple[tuple[int, Decimal], ...]:
    return tuple((price, shares(size)) for price, size in sorted(side.items()))


def _difference(
    before: Mapping[tuple[bool, int], int], after: Mapping[tuple[bool, int], int]
) -> dict[tuple[bool, int], int]:
    """Return the new sizes of the levels that differ; 0 where one is gone."""
    gone = {key: 0 for key in before if key not in after}
    return gone | {key: size for key, size in after.items() if before.get(key) != size}
