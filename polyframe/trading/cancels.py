"""Cancels of one series: of orders of the open cycle, of dead ones, and of what the venue lists."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Protocol

from polyframe.clock import Clock
from polyframe.counters import Counters
from polyframe.errors import OrderDenied, StaleCycleError
from polyframe.exchange.base import Exchange
from polyframe.model.market import Market
from polyframe.model.order import Order
from polyframe.trading.cancelling import Cancelling
from polyframe.trading.commands import ApplyCancelAnswer, Command, Reply, Stale
from polyframe.trading.ledger import Journal
from polyframe.trading.opencancel import CancelReport, cancel_open_orders
from polyframe.trading.ownorders import OwnOrders
from polyframe.trading.requests import Requests
from polyframe.trading.settlement import Settlement
from polyframe.trading.state import CycleState

PLACE_PATIENCE = 5.0
"""Network seconds that a cancel waits for the answer to its own order."""


class CancelDesk(Protocol):
    """The trading service, as far as cancels need it."""

    @property
    def market(self) -> Market | None:
        """The market that is traded now."""
        ...

    @property
    def generation(self) -> int | None:
        """The engine's generation, ``None`` while trading is paused."""
        ...

    def state(self, market: Market) -> CycleState | None:
        """Return the state of a cycle, open or over."""
        ...

    def submit(self, command: Command) -> Reply:
        """Apply a command to the current cycle."""
        ...

    def denied(self, rule: str, text: str, market: Market | None = None) -> OrderDenied:
        """Count a denial."""
        ...

    def look_soon(self) -> None:
        """Compare with the venue in a moment."""
        ...


class Cancels:
    """Cancels for one series.

    Args:
        desk: The trading service.
        settlement: Cancels orders of dead cycles.
        exchange: The venue.
        clock: Market time.
        counters: Where answers are counted.
        ledger: Where it is written down.
        own: All our orders.
        requests: Runs what is sent, so that no cancelled caller loses an answer.
    """

    def __init__(
        self,
        desk: CancelDesk,
        *,
        settlement: Settlement,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        ledger: Journal,
        own: OwnOrders,
        requests: Requests,
    ) -> None:
        self._desk = desk
        self._settlement = settlement
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._ledger = ledger
        self._own = own
        self._requests = requests
        self._cancelling = Cancelling(
            exchange=exchange, clock=clock, counters=counters, ledger=ledger
        )

    async def cancel_many(self, market: Market, client_ids: Collection[str]) -> list[Order]:
        """Cancel orders of a cycle; see `TradingService.cancel_many`."""
        # A cancel must not overtake the order that it cancels.
        await self._requests.wait(client_ids, PLACE_PATIENCE)
        what, state = f"cancel {', '.join(client_ids)}", self._desk.state(market)
        if state is None:
            raise StaleCycleError(what, market.generation, self._desk.generation)
        for client_id in client_ids:
            if client_id not in state.orders:
                text = f"no order {client_id} in {market.slug}"
                raise self._desk.denied("unknown_order", text, market)
        orders = [state.orders[client_id] for client_id in client_ids]
        if market.generation != self._desk.generation:
            sending = self._settlement.cancel(market.slug, orders)
        elif wanted := self._cancelling.mark(market, orders, self._desk.submit):
            sending = self._cancelling.send(market, wanted, partial(self._cancelled, market))
        else:
            return orders
        error = await self._requests.send(sending, what)
        if error is not None:
            raise error
        return [state.orders[client_id] for client_id in client_ids]

    def _cancelled(self, market: Market, command: ApplyCancelAnswer) -> None:
        if isinstance(self._desk.submit(command), Stale):
            self._settlement.take_cancel_answer(market.slug, command)
        elif not command.cancelled:
            # Free words that say little (PROTOCOL §2.4): look what became of it.
            self._desk.look_soon()

    async def cancel_listed(
        self,
        market: Market | str | None,
        assets: Collection[str],
        *,
        only_untracked: bool,
        max_to_cancel: int | None,
        dry_run: bool,
    ) -> CancelReport:
        """Cancel what the venue lists; see `TradingService.cancel_exchange_open_orders`."""
        report, cancelled = await cancel_open_orders(
            market,
            assets,
            only_untracked=only_untracked,
            max_to_cancel=max_to_cancel,
            dry_run=dry_run,
            own=self._own,
            exchange=self._exchange,
            clock=self._clock,
            counters=self._counters,
        )
        in_order = sorted(cancelled)  # of a set, it would be another one in each process
        if not dry_run:
            found = {"report": report, "cancelled": in_order}
            self._ledger.note("cancel_open_orders", found, self._desk.market)
        for venue_id in in_order:
            self._cancelled_at_venue(venue_id)
        return report

    def _cancelled_at_venue(self, venue_id: str) -> None:
        """Apply that an order is cancelled; other series hear it on the account's stream."""
        for state in self._own.states():
            order = state.order_by_venue_id(venue_id)
            if order is None:
                continue
            slug, generation = state.market.slug, state.market.generation
            command = ApplyCancelAnswer(generation, order.client_id, True, now_ms=self._now_ms())
            is_current = generation == self._desk.generation
            if is_current and state is self._desk.state(state.market):
                self._desk.submit(command)
            else:
                self._settlement.take_cancel_answer(slug, command)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
