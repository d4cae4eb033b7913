"""Threshold: follow the outcome whose ask climbs through a trigger."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from attrs import Attribute, define, field
from typing_extensions import override

from polyframe.checks import (
    Check,
    a_price,
    amount,
    must,
    not_negative,
    positive,
    seconds,
)
from polyframe.errors import ExchangeError, OrderError
from polyframe.model.events import CycleEndReason, PriceChanged
from polyframe.model.grid import Grid
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, Side
from polyframe.model.sale import sale
from polyframe.strategy import Strategy


def _beside_trigger(
    expected: str, holds: Callable[[Decimal, Decimal], bool], *, or_none: bool = False
) -> Check:
    """Return a validator of a price, given the trigger and the price."""

    def check(strategy: Threshold, attribute: Attribute[Any], value: Any) -> None:
        amount(expected, lambda price: holds(strategy.trigger, price), or_none=or_none)(
            strategy, attribute, value
        )

    return check


@define
class Threshold(Strategy):
    """Buys the outcome whose ask climbs through `trigger`, once per cycle; either one, or `outcome`.

    *Crossing*: the ask was below `trigger` earlier in this cycle and is at or above it now. An ask
    that is above from the start is no crossing, and what was seen before a gap in the data (a
    reconnect) does not count. A crossing at which the spread is wider than `max_spread`, the ask is
    above `max_price`, or the window has less than `cutoff` seconds left is let go; the ask has to
    fall below the trigger and climb again. There is one entry a cycle, whatever becomes of its
    order, and after a restart in the middle of a cycle it is still one.

    With `take` or `stop` it sells what it holds once the bid of that outcome is at or beyond them,
    and goes on selling until less than the market's minimum order is left. Otherwise the shares are
    held to the end. A stop is a sale, not a purchase of the other outcome: it gives the cash back.

    Bound: it never buys more than `size` shares in a cycle (a FAK that is filled at a better price
    than its limit spends its USD and gets a little more), pays no more than `max_price` for each,
    and sells nothing but what it holds.

    What to expect: the settings claim no edge. A share bought at 0.60 pays 1 if that outcome wins, so
    it earns only if outcomes that climb to 0.60 win more often than 60 times in 100, *plus* the
    taker fee (1.7 cents a share at 0.60) and the slippage. In a market that swings around the
    trigger it buys tops; a `stop` sells into the same thin book and pays the fee a second time.

    Attributes:
        trigger: Ask in USD to climb through, between 0 and 1.
        outcome: Buy this one only; either by default.
        size: Shares to buy. As FAK an order spends whole cents: a multiple of 10 does at any price of
            these markets, another size is denied (rule ``cents``) where it does not.
        max_price: Never bid more than this, in USD.
        max_spread: Widest spread in USD to buy into.
        slippage: How far beyond the best price a limit may go, in USD: above the ask to buy, below
            the bid to sell.
        cutoff: No entry when fewer market seconds than this are left.
        order_type: FAK takes what is there; GTC lets the rest wait at its limit.
        take: Sell when the bid reaches this, in USD; never by default.
        stop: Sell when the bid falls to this, in USD; never by default.
    """

    trigger: Decimal = field(default=Decimal("0.60"), validator=a_price)
    outcome: Outcome | None = field(
        default=None,
        validator=must(
            "Outcome.UP, Outcome.DOWN or None", lambda one: one is None or type(one) is Outcome
        ),
    )
    size: Decimal = field(default=Decimal(10), validator=positive)
    max_price: Decimal = field(
        default=Decimal("0.85"),
        validator=_beside_trigger(
            "at least the trigger and below 1", lambda trigger, price: trigger <= price < 1
        ),
    )
    max_spread: Decimal = field(default=Decimal("0.03"), validator=positive)
    slippage: Decimal = field(default=Decimal("0.01"), validator=not_negative)
    cutoff: float = field(default=60.0, validator=seconds)
    order_type: OrderType = field(
        default=OrderType.FAK,
        validator=must(
            "OrderType.FAK or OrderType.GTC", lambda kind: kind in {OrderType.FAK, OrderType.GTC}
        ),
    )
    take: Decimal | None = field(
        default=None,
        validator=_beside_trigger(
            "above the trigger and below 1",
            lambda trigger, price: trigger < price < 1,
            or_none=True,
        ),
    )
    stop: Decimal | None = field(
        default=None,
        validator=_beside_trigger(
            "above 0 and below the trigger",
            lambda trigger, price: 0 < price < trigger,
            or_none=True,
        ),
    )

    _was_below: set[Outcome] = field(init=False, factory=set)
    _entered: Outcome | None = field(init=False, default=None)
    _is_leaving: bool = field(init=False, default=False)

    @override
    async def on_cycle_start(self) -> None:
        # After a restart: what it has bought in this cycle was its entry.
        for order in self.trading.orders():
            if order.side is Side.BUY:
                self._entered = order.outcome

    @override
    async def on_price(self, event: PriceChanged) -> None:
        if self._entered is None:
            if self.outcome in (None, event.outcome) and self._crosses(event):
                await self._enter(event)
        elif event.outcome is self._entered:
            await self._leave_if_due(event)

    @override
    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        # The rest of a GTC entry would wait in a market that nobody watches any more.
        try:
            await self.trading.cancel_all()
        except ExchangeError as error:
            self.log.warning("not cancelled: %s", error)

    def _crosses(self, event: PriceChanged) -> bool:
        if not event.known:
            self._was_below.clear()
            return False
        if event.ask is None:
            return False
        if event.ask < self.trigger:
            self._was_below.add(event.outcome)
            return False
        if event.outcome not in self._was_below:
            return False
        self._was_below.discard(event.outcome)
        return True

    async def _enter(self, event: PriceChanged) -> None:
        ask, bid = event.ask, event.bid
        if ask is None or bid is None or ask > self.max_price or ask - bid > self.max_spread:
            self.log.info("no entry: bid %s, ask %s", bid, ask)
            return
        if self.seconds_left() < self.cutoff:
            self.log.info("no entry: %.0f seconds left", self.seconds_left())
            return
        self._entered = event.outcome
        grid = Grid(self.session.tick_size(event.outcome))
        limit = grid.floor_price(min(ask + self.slippage, self.max_price))
        try:
            await self.trading.buy(
                event.outcome,
                price=max(limit, ask),
                size=self.size,
                order_type=self.order_type,
            )
        except OrderError as error:
            self.log.info("no entry: %s", error)

    async def _leave_if_due(self, event: PriceChanged) -> None:
        if event.bid is None:
            return
        if not self._is_leaving:
            taken = self.take is not None and event.bid >= self.take
            stopped = self.stop is not None and event.bid <= self.stop
            if not (taken or stopped):
                return
            self._is_leaving = True
            try:
                await self.trading.cancel_all()
            except ExchangeError as error:
                self.log.warning("not cancelled: %s", error)
        request = sale(
            event.outcome,
            self.trading.sellable(event.outcome),
            event,
            tick=self.session.tick_size(event.outcome),
            min_size=self.market.min_size,
            slippage=self.slippage,
        )
        if request is None:
            return
        try:
            await self.trading.place(request)
        except OrderError as error:
            self.log.info("not sold: %s", error)
