"""A trader whose switches can be watched step by step, and what is heard of its sessions."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

from attrs import frozen
from typing_extensions import override

from polyframe.environment import Environment
from polyframe.model.events import MarketTraded, OrderChanged, PriceChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.scheduler import MarketScheduler
from polyframe.session import ExchangeSession
from polyframe.testing.invariants import Invariant
from polyframe.testing.monitor import Monitor
from polyframe.trader import Trader, TraderSettings
from polyframe.trading.reconcile import ReconcileReport
from polyframe.trading.service import TradingService

OnBarrier = Callable[[TradingService, str, ExchangeSession | None, ExchangeSession | None], None]


class SteppedScheduler(MarketScheduler):
    """Lets somebody act between the steps of a switch."""

    on_barrier: OnBarrier | None = None

    @override
    def switch(self, new: ExchangeSession | None) -> None:
        if new is None and self.session is None:
            return
        old = self.session
        for step in self.switch_steps(new):
            if self.on_barrier is not None:
                self.on_barrier(self._trading, step, old, new)


class SimTrader(Trader):
    """A trader that switches in watched steps and draws its jitter from a seed."""

    _scheduler_type: ClassVar[type[MarketScheduler]] = SteppedScheduler

    def __init__(self, env: Environment, settings: TraderSettings, rng: random.Random) -> None:
        super().__init__(env, settings, rng=rng)
        self.on_barrier: OnBarrier | None = None

    @override
    def _scheduler(self, desk: Any) -> MarketScheduler:
        scheduler = super()._scheduler(desk)
        if isinstance(scheduler, SteppedScheduler):
            scheduler.on_barrier = self.on_barrier
        return scheduler


@frozen
class Seen:
    """Something that was published to the strategies of a cycle.

    Attributes:
        time: Market time.
        generation, slug: The cycle.
        event: An `OrderChanged`, `TradeChanged`, `MarketTraded`, `PriceChanged` or
            `ReconcileReport`.
    """

    time: float
    generation: int
    slug: str
    event: OrderChanged | TradeChanged | MarketTraded | PriceChanged | ReconcileReport


class Tap:
    """A subscriber that checks what a session publishes.

    Args:
        monitor: Is told what does not hold.
        session: The session.
        sequence: Number of the last change before.
        saw: Called with everything that is published.
    """

    wants_books = is_sated = False

    def __init__(
        self,
        monitor: Monitor,
        session: ExchangeSession,
        sequence: int,
        saw: Callable[[ExchangeSession, Any], None],
    ) -> None:
        self._monitor = monitor
        self._session = session
        self._sequence = sequence
        self._saw = saw

    def price_changed(self, outcome: Outcome) -> None:
        """Keep the latest price."""
        self._saw(self._session, self._session.price(outcome))

    def book_changed(self, outcome: Outcome) -> None:
        """Books are not watched: nothing but the session makes them."""

    def market_traded(self, event: MarketTraded) -> None:
        """Check and keep a public trade."""
        self._own(event.generation, event.slug, event)

    def order_changed(self, event: OrderChanged) -> None:
        """Check and keep a change of an order."""
        self._own(event.order.generation, event.order.slug, event)
        self._in_order(event)

    def trade_changed(self, event: TradeChanged) -> None:
        """Check and keep a change of a fill."""
        self._own(event.fill.generation, event.fill.slug, event)
        self._in_order(event)

    def reconciled(self, report: ReconcileReport) -> None:
        """Keep a comparison with the venue."""
        self._saw(self._session, report)

    def _own(
        self, generation: int, slug: str, event: OrderChanged | TradeChanged | MarketTraded
    ) -> None:
        session = self._session
        own = (generation, slug) == (session.generation, session.slug)
        self._monitor.check(own, Invariant.OWN_EVENTS, f"published {event}", session.slug)
        self._saw(session, event)

    def _in_order(self, event: OrderChanged | TradeChanged) -> None:
        monitor, slug = self._monitor, self._session.slug
        last, self._sequence = self._sequence, event.sequence
        text = f"change {event.sequence} came after {last}"
        monitor.check(event.sequence == last + 1, Invariant.ORDER_OF_CHANGES, text, slug)
        if isinstance(event, OrderChanged) and event.previous is not None:
            stays = not event.previous.is_final or event.previous is event.order.status
            text = f"{event.order.client_id} went from {event.previous} to {event.order.status}"
            monitor.check(stays, Invariant.ORDER_OF_CHANGES, text, slug)
