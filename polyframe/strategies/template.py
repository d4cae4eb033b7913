"""A strategy that does nothing: every hook there is, to copy and to fill in.

Copy the file, rename the class, and delete what you do not need: a hook that is not there costs nothing.
Mount it with ``trader.add(Template(), on="btc-updown-15m")``, or try it with
``polyframe demo --strategy mine.py:Mine``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from attrs import Attribute, define, field
from typing_extensions import override

from polyframe import (
    ConfigError,
    CycleEndReason,
    ExchangeError,
    MarketTraded,
    OrderChanged,
    OrderError,
    OrderType,
    Outcome,
    PriceChanged,
    ReconcileReport,
    Strategy,
    TradeChanged,
)


def _positive(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not (isinstance(value, Decimal) and value.is_finite() and value > 0):
        msg = f"{attribute.name}: expected a Decimal above 0, got {value!r}"
        raise ConfigError(msg)


@define
class Template(Strategy):
    """Places no orders. Say here what yours does, when, and where it loses.

    Each cycle has a fresh object with the same settings: nothing has to be reset, and nothing of one
    cycle can be seen in the next. Within a cycle hooks are called one at a time, so they need no locks;
    but whatever they ``await`` may take a while, and the world is another afterwards.

    What is there in every hook: ``self.market`` (names, window, rules), ``self.session`` (both books:
    ``price(outcome)``, ``tick_size(outcome)``), ``self.trading`` (orders, fills, positions, cash),
    ``self.seconds_left()``, ``self.clock`` (market time: use its ``sleep``, so that back-tests work),
    ``self.env`` (what was provided to the environment), ``self.log``.

    Attributes:
        size: Shares to buy. Settings are validated: a wrong one is told before anything trades.
    """

    size: Decimal = field(default=Decimal(10), validator=_positive)
    # What one cycle remembers: a field that is no argument, fresh in every cycle.
    _entered: bool = field(init=False, default=False)

    @override
    async def on_cycle_start(self) -> None:
        """Called once, before everything else. After a restart within the cycle orders may be there."""

    @override
    async def run(self) -> None:
        """Called after `on_cycle_start`, next to the hooks, and cancelled at the end of the cycle.

        The place for what goes by the clock: ``while True: await self.clock.sleep(1); …``
        """

    @override
    async def on_price(self, event: PriceChanged) -> None:
        """Called when the top of one book is another: the latest one, Up before Down.

        ``event.known`` is False and the prices are ``None`` while the book cannot be trusted; a price
        is also ``None`` where that side is empty.
        """
        if not self._entered and self._wants(event):
            self._entered = True
            await self._enter(event)

    @override
    async def on_book(self, outcome: Outcome) -> None:
        """Called when anything in a book is another, also behind the top.

        More often than `on_price`; if it is not there, books cost less. ``self.session`` has the depth.
        """

    @override
    async def on_market_trade(self, event: MarketTraded) -> None:
        """Called when somebody has traded in this market."""

    @override
    async def on_order(self, event: OrderChanged) -> None:
        """Called when an order of this strategy has changed, each change once and in order.

        Also for orders that nobody here has placed: their ``strategy`` is ``""``. What `on_order` and
        `on_trade` have to tell comes before any price.
        """

    @override
    async def on_trade(self, event: TradeChanged) -> None:
        """Called when a fill of this strategy is new, settled, or has failed and is taken back."""

    @override
    async def on_reconcile(self, report: ReconcileReport) -> None:
        """Called when a comparison with the venue has found a difference, after it was made up for."""

    @override
    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        """Called last, some seconds at most: no more orders, but cancels and reads work.

        ``self.trading.outlook()`` says how the cycle would end.
        """
        try:
            await self.trading.cancel_all()
        except ExchangeError as error:
            self.log.warning("not cancelled: %s", error)

    def _wants(self, event: PriceChanged) -> bool:  # noqa: ARG002
        """Return whether to enter at this price. Your rule goes here; this one never does."""
        return False

    async def _enter(self, event: PriceChanged) -> None:
        """Buy at the ask, and live with whatever comes of it."""
        if event.ask is None:
            return
        try:
            await self.trading.buy(
                event.outcome, price=event.ask, size=self.size, order_type=OrderType.FAK
            )
        except OrderError as error:  # denied here, refused there, or the answer was lost
            self.log.info("not bought: %s", error)
