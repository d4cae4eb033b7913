"""Orders whose fate was open when their cycle ended: what became of them, and what is done then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError
from polyframe.exchange.base import Exchange
from polyframe.model.events import OrderReport
from polyframe.model.order import Order, OrderStatus, PlaceResult
from polyframe.trading.ownorders import OwnOrders
from polyframe.trading.reconcile import DOUBTFUL, NOT_FOUND, ReconcileSettings
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)


class Estate(Protocol):
    """What the settlement side does with dead cycles, as far as late orders need it."""

    def apply_order_report(self, state: CycleState, report: OrderReport) -> None:
        """Apply what the venue says of an order."""
        ...

    def apply_place_answer(
        self, state: CycleState, client_id: str, result: PlaceResult, code: str, text: str
    ) -> None:
        """Apply what is known of the answer to an order."""
        ...

    async def cancel(self, slug: str, orders: Iterable[Order]) -> ExchangeError | None:
        """Cancel orders at the venue."""
        ...

    async def fetch_missed_trades(self, state: CycleState) -> None:
        """Apply the trades of a cycle once more from the venue's records."""
        ...


class LateOrders:
    """Deals with the orders of dead cycles that may be, or turn out to be, alive.

    Args:
        estate: The settlement side.
        exchange: Where orders are asked for.
        counters: Where they are counted.
        own: All our orders.
        settings: The policy, and when to ask.
    """

    def __init__(
        self,
        estate: Estate,
        *,
        exchange: Exchange,
        counters: Counters,
        own: OwnOrders,
        settings: ReconcileSettings,
    ) -> None:
        self._estate = estate
        self._exchange = exchange
        self._counters = counters
        self._own = own
        self._settings = settings

    async def found_alive(self, state: CycleState, order: Order) -> None:
        """Treat an order that is open at the venue, or may be, by the policy."""
        client_id = order.client_id
        is_proven = order.status not in DOUBTFUL
        if self._settings.late_orders == "leave":
            if is_proven:
                self._counters.add(Count.LATE_ORDERS, "left")
                log.warning("order %s is open after its cycle ended: left to itself", client_id)
            return
        log.warning("order %s is or may be open after its cycle ended: cancelling it", client_id)
        await self._estate.cancel(state.market.slug, [order])
        if state.orders[client_id].status is OrderStatus.CANCELLED:
            self._counters.add(Count.LATE_ORDERS, "cancelled")
        elif is_proven:
            self._counters.add(Count.LATE_ORDERS, "not_cancelled")

    async def resolve(
        self, state: CycleState, client_ids: Collection[str], closed: asyncio.Event
    ) -> None:
        """Ask for orders by their ids until it is known what became of each, or the cycle is closed."""
        waiting = list(client_ids)
        for pause in self._pauses():
            try:
                async with asyncio.timeout(pause):
                    await closed.wait()
            except TimeoutError:
                waiting = [one for one in waiting if not await self._is_decided(state, one)]
            if not waiting or closed.is_set():
                return

    def _pauses(self) -> Iterator[float]:
        before = 0.0
        for moment in self._settings.soon:
            yield moment - before
            before = moment
        while True:
            yield self._settings.idle_interval

    async def _is_decided(self, state: CycleState, client_id: str) -> bool:
        order = state.orders[client_id]
        try:
            if self._is_doubtful(order):
                await self._ask(state, order)
                order = state.orders[client_id]
        except ExchangeError as error:
            log.warning("order %s of a cycle that is over: %s", client_id, error)
            return False
        if self._is_doubtful(order) or order.status is OrderStatus.CANCELLING:
            return False
        if order.is_open:
            await self.found_alive(state, order)
            # A cancel that failed is tried again, as long as the market is not resolved.
            return self._settings.late_orders == "leave" or not state.orders[client_id].is_open
        return True

    @staticmethod
    def _is_doubtful(order: Order) -> bool:
        return order.status in DOUBTFUL

    async def _ask(self, state: CycleState, order: Order) -> None:
        """Ask for one order, and decide that it never existed if nothing speaks for it.

        Raises:
            ExchangeError: The venue did not answer.
        """
        report = await self._exchange.fetch_order(order.venue_id)
        if report is not None:
            self._estate.apply_order_report(state, report)
            if report.size_matched:
                await self._estate.fetch_missed_trades(state)
            return
        lost_at = self._own.lost_at(order.venue_id)
        now = asyncio.get_running_loop().time()
        if lost_at is None or now - lost_at < self._settings.grace:
            return
        await self._estate.fetch_missed_trades(state)
        # Ignored by the state if a trade has just shown that it exists.
        self._estate.apply_place_answer(
            state, order.client_id, PlaceResult.REJECTED, NOT_FOUND, "the venue does not know it"
        )
