"""Selling what a strategy must not keep to the end, on its behalf: what `EntryGuards.flattens` says."""

from __future__ import annotations

import logging
from decimal import Decimal

from polyframe.clock import Clock
from polyframe.errors import ExchangeError, OrderError, StaleCycleError
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Side
from polyframe.model.sale import sale
from polyframe.trading.guards import EntryGuards, unhedged, unhedged_since
from polyframe.trading.handle import StrategyTrading
from polyframe.trading.placing import Quotes
from polyframe.trading.service import TradingService
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)

LOOKS = 1.0
"""Market seconds between two looks, and between two attempts to sell."""

PATIENCE = 5.0
"""Market seconds for which a hedge of the strategy's own that is on its way is waited for."""


class Flattener:
    """Watches one strategy in one cycle, also after an error of its own has ended it there.

    Args:
        service: Trades the series.
        trading: The strategy's orders; a handle of its own, because the strategy's may be dead already.
        market: The market.
        quotes: Prices and ticks.
        strategy: Its name.
        guards: What it must not keep.
        clock: Market time.
    """

    def __init__(
        self,
        service: TradingService,
        trading: StrategyTrading,
        market: Market,
        quotes: Quotes,
        *,
        strategy: str,
        guards: EntryGuards,
        clock: Clock,
    ) -> None:
        self._service = service
        self._trading = trading
        self._market = market
        self._quotes = quotes
        self._strategy = strategy
        self._guards = guards
        self._clock = clock

    async def run(self) -> None:
        """Look until the window is over."""
        end = self._market.window.end
        if not self._guards.flatten_unhedged:
            await self._clock.sleep_until(end - (self._guards.flatten_before_end or 0.0))
        while self._clock.time() < end:
            try:
                if self._is_due():
                    await self._flatten()
            except StaleCycleError:
                return
            except (OrderError, ExchangeError) as error:
                log.warning("%s: not flattened: %s", self._market.slug, error)
            await self._clock.sleep(LOOKS)

    def _is_due(self) -> bool:
        guards, now = self._guards, self._clock.time()
        left, last = self._market.window.end - now, guards.flatten_before_end
        if last is not None and left <= last:
            return True
        state, limit = self._service.state(self._market), guards.max_unhedged_seconds
        if state is None or limit is None or not guards.flatten_unhedged:
            return False
        since = unhedged_since(state, self._strategy)
        return since is not None and now - since >= limit

    async def _flatten(self) -> None:
        """Cancel what rests, then sell what has no partner.

        Raises:
            StaleCycleError: The cycle is over.
            OrderError: It could not be sold.
            ExchangeError: The venue did not answer.
        """
        market, service = self._market, self._service
        resting = [o.client_id for o in self._trading.open_orders() if o.order_type.rests]
        if resting:
            await service.cancel_many(market, resting)
        state = service.state(market)
        if state is None:
            return
        outcome, shares = unhedged(state, self._strategy)
        # What is on its way already must not be sold or hedged twice: the other side would be alone.
        shares -= state.shares_on_offer(outcome, self._strategy) + self._hedged_soon(state, outcome)
        request = sale(
            outcome,
            min(shares, self._trading.sellable(outcome)),
            self._quotes.price(outcome),
            tick=self._quotes.tick_size(outcome),
            min_size=market.min_size,
            slippage=self._guards.flatten_slippage,
            floor=self._guards.flatten_floor or ZERO,
        )
        if request is None:
            return
        log.info("%s: selling %s %s of %s", market.slug, request.size, outcome, self._strategy)
        await self._trading.place(request)

    def _hedged_soon(self, state: CycleState, outcome: Outcome) -> Decimal:
        """Return the shares of the other outcome that buys which do not rest may bring at any moment."""
        since_ms = (self._clock.time() - PATIENCE) * 1000
        return sum(
            (
                state.to_come(order.client_id)[0]
                for order in self._trading.orders()
                if (order.side, order.outcome) == (Side.BUY, outcome.other)
                and not order.order_type.rests
                and order.created_ms > since_ms
            ),
            ZERO,
        )
