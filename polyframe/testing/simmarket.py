"""One market of the simulated venue: its crowd, the account's orders in it, its trades, its end."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from polyframe.exchange.base import PlaceAnswer, PreparedOrder
from polyframe.model.events import (
    OrderEventKind,
    OrderReport,
    TickSizeChange,
    TradePrint,
    UserMessage,
)
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS, ZERO, units_price
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.trade import TradeLeg
from polyframe.testing.faults import Fault
from polyframe.testing.simbook import Match, SimBook
from polyframe.testing.simdisplay import SimDisplay
from polyframe.testing.simforeign import OtherProgram
from polyframe.testing.simtrades import SimTrades
from polyframe.testing.simvalues import SimOrder, SimWorld, shares

COARSE, FINE = 100, 10
"""Ticks in price units, before and after a change (PROTOCOL §4.6)."""

LEVELS = 4
"""Price levels that the crowd shows on each side."""


class SimMarket:
    """One market from its listing to the last word about it.

    Args:
        world: Names, rules, chance, time, account and faults.

    Attributes:
        market: Names and rules.
        display: What it shows.
        orders: All orders of the account by id.
        trades: All trades in which the account took part.
        winner: The outcome, once the market is resolved.
        pairs: Pairs that were split off, less those that were merged.
        is_open: Whether it trades.
        is_abandoned: Whether it will never be resolved.
    """

    def __init__(self, world: SimWorld) -> None:
        self.market = world.market
        self.orders: dict[str, SimOrder] = {}
        self.trades = SimTrades(world)
        self.winner: Outcome | None = None
        self.pairs = ZERO
        self.is_open = True
        self.is_abandoned = False
        self._world = world
        self._rng = world.rng
        self._book = SimBook()
        self._fair = PRICE_UNITS // 2
        self._crowd()
        self.display = SimDisplay(world, self._book, int(world.market.tick_size * PRICE_UNITS))
        self._other = OtherProgram(self)

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Let the crowd trade until the end of the window, then resolve."""
        left = self.market.window.end - self._world.clock.time()
        faults = self._world.faults
        if faults.hit(Fault.CLOSE_LATE):
            left += faults.source(Fault.CLOSE_LATE).choice((0.1, 2.0, 40.0))
        asyncio.get_running_loop().call_later(max(left, 0.0), self.close)
        self._next_step()

    def _next_step(self) -> None:
        delay = self._rng.uniform(*self._world.habits.step)
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
        delay = self._rng.uniform(*self._world.habits.resolved)
        if self._world.faults.hit(Fault.RESOLUTION_MISSING):
            self.is_abandoned = True
            return
        if self._world.faults.hit(Fault.RESOLUTION_LATE):
            delay += self._world.faults.source(Fault.RESOLUTION_LATE).uniform(60.0, 7200.0)
        asyncio.get_running_loop().call_later(delay, self._resolve)

    def _resolve(self) -> None:
        up = self._rng.random() * PRICE_UNITS < self._fair
        self.winner = Outcome.UP if up else Outcome.DOWN
        self._world.account.pay_out(self.market.token(self.winner))

    @property
    def is_quiet(self) -> bool:
        """Whether it is resolved, or never will be, and all its trades are final."""
        return (self.winner is not None or self.is_abandoned) and self.trades.are_final

    # ------------------------------------------------------------------ the crowd

    def step(self) -> None:
        """Move the crowd once, fill what it reaches, and show the difference."""
        if self._world.faults.hit(Fault.TICK_CHANGE):
            self._change_tick()
        self._fair += self._rng.choice((-2, -1, -1, 0, 0, 1, 1, 2)) * COARSE
        self._fair = min(max(self._fair, 6 * COARSE), PRICE_UNITS - 6 * COARSE)
        self._crowd()
        if self._rng.random() < 0.4:
            self._crowd_takes()
        if self._world.faults.hit(Fault.FOREIGN):
            self._other.act(self._world.faults.source(Fault.FOREIGN), self._fair)
        self.display.show()

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
        now = self._world.now_ms()
        self.display.tell(
            TradePrint(self.market.condition_id, self.market.up_token, last.price, size, side, now)
        )

    def _change_tick(self) -> None:
        display = self.display
        display.tick = FINE if display.tick == COARSE else COARSE
        for token in (self.market.up_token, self.market.down_token):
            self.display.tell(
                TickSizeChange(self.market.condition_id, token, display.tick, self._world.now_ms())
            )

    # ------------------------------------------------------------------ the account's orders

    def accept(self, prepared: PreparedOrder, *, is_foreign: bool = False) -> PlaceAnswer:
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
        order = SimOrder(prepared.venue_id, request, token, size, is_foreign=is_foreign)
        self.orders[order.order_id] = order
        found = sum(match.size for match in matches)
        if (request.order_type is OrderType.FOK and found < size) or (
            request.order_type is OrderType.FAK and not found
        ):
            return self._kill(order)
        self._world.account.hold(request.side, token, request.price, request.size)
        self._report(order, OrderEventKind.PLACEMENT)
        self._book.carry_out(matches, is_bid=is_bid)
        self._matched(matches, taker=order)
        if order.is_open:
            if request.order_type is OrderType.FAK:
                self.cancel(order.order_id, "CANCELED_rest of FAK")
            else:
                self._book.rest(order.order_id, is_bid=is_bid, price=limit, size=size - found)
        self.display.show()
        return PlaceAnswer(PlaceResult.MATCHED if found else PlaceResult.LIVE)

    def _refusal(self, request: OrderRequest, token: str) -> str:
        price, size = request.price, request.size
        if not self.is_open:
            return "market_not_found"
        if price % units_price(self.display.tick) or not 0 < price < 1:
            return "tick_size"
        if size < self.market.min_size:
            return "min_size"
        if not self._world.account.covers(request.side, token, price, size):
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
        self._world.account.hold(request.side, order.token, request.price, -order.rest)
        self._end(order, status)
        self._report(order, OrderEventKind.CANCELLATION)
        self.display.show()
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
        self.display.show()
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
        self._world.account.hold(request.side, order.token, request.price, -size)
        if order.filled == order.size:
            self._end(order, "MATCHED")
        leg = TradeLeg(
            order.order_id, order.token, request.side, units_price(price), size, is_taker
        )
        self._world.account.book(leg, self.trades.fee(leg))
        return leg

    def _end(self, order: SimOrder, status: str) -> None:
        order.status, order.ended = status, self._world.clock.time()

    def _trade(self, token: str, legs: list[TradeLeg]) -> None:
        trade = self.trades.add(token, tuple(legs))
        reports: list[UserMessage] = [
            self._order_report(self.orders[leg.order_id], _UPDATE) for leg in legs
        ]
        # In which order the venue tells of these is not specified (PROTOCOL §5.6).
        place = self._rng.choice((0, len(reports)))
        reports.insert(place, self.trades.report(trade))
        for report in reports:
            self._world.send(report)

    # ------------------------------------------------------------------ what is told

    def order_report(self, order: SimOrder) -> OrderReport:
        """Return what the venue says of an order when it is asked."""
        kind = _UPDATE if order.is_open or order.status == "MATCHED" else _CANCELLATION
        return self._order_report(order, kind)

    def _report(self, order: SimOrder, kind: OrderEventKind) -> None:
        self._world.send(self._order_report(order, kind))

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
            timestamp_ms=self._world.now_ms(),
        )


_UPDATE, _CANCELLATION = OrderEventKind.UPDATE, OrderEventKind.CANCELLATION
