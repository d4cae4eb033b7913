"""Cancels of orders of one cycle, from being asked to being answered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError
from polyframe.exchange.base import CancelAnswer, Exchange
from polyframe.model.market import Market
from polyframe.model.order import Order
from polyframe.trading.commands import Applied, ApplyCancelAnswer, CancelOrder, CycleCommand, Reply
from polyframe.trading.ledger import Journal
from polyframe.trading.opencancel import BATCH

log = logging.getLogger(__name__)


class Cancelling:
    """Cancels for cycles that are open and for those that are over: only who applies differs.

    Args:
        exchange: The venue.
        clock: Market time.
        counters: Where answers are counted.
        ledger: Where it is written down.
    """

    def __init__(
        self, *, exchange: Exchange, clock: Clock, counters: Counters, ledger: Journal
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._ledger = ledger

    def mark(
        self, market: Market, orders: Iterable[Order], apply: Callable[[CycleCommand], Reply]
    ) -> list[Order]:
        """Note that orders are about to be cancelled; return those that are not over, for `send`."""
        marked = []
        for order in orders:
            reply = apply(CancelOrder(market.generation, order.client_id, self._now_ms()))
            if isinstance(reply, Applied) and reply.order is not None:
                self._ledger.cancel(market, reply.order, "asked")
                marked.append(reply.order)
        return marked

    async def send(
        self,
        market: Market,
        orders: Sequence[Order],
        apply: Callable[[ApplyCancelAnswer], object],
    ) -> ExchangeError | None:
        """Ask the venue to cancel all of `orders`, and apply what it says of each.

        One request takes up to `BATCH` of them; one that fails stops no other.

        Returns:
            Why there was no answer to the first of them that got none, ``None`` if all were
            answered. It is logged and counted already.
        """
        if len(orders) <= BATCH:
            return await self._send_batch(market, orders, apply)
        batches = [orders[first : first + BATCH] for first in range(0, len(orders), BATCH)]
        failures = [await self._send_batch(market, batch, apply) for batch in batches]
        return next((failed for failed in failures if failed is not None), None)

    async def _send_batch(
        self,
        market: Market,
        orders: Sequence[Order],
        apply: Callable[[ApplyCancelAnswer], object],
    ) -> ExchangeError | None:
        failed: ExchangeError | None = None
        answer = CancelAnswer()
        try:
            answer = await self._exchange.cancel_orders([order.venue_id for order in orders])
        except ExchangeError as error:
            failed = error
            log.error("%s: cancelling %d orders failed: %s", market.slug, len(orders), error)
        for order in orders:
            done = order.venue_id in answer.cancelled
            text = str(failed) if failed else answer.refused.get(order.venue_id, "")
            result = "error" if failed else "cancelled" if done else "refused"
            self._counters.add(Count.CANCELS_SENT, result)
            self._ledger.cancel(market, order, result, text)
            apply(ApplyCancelAnswer(market.generation, order.client_id, done, text, self._now_ms()))
        return failed

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
