"""A trader whose switches can be watched step by step, and whose chance repeats itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, ClassVar

from attrs import frozen
from typing_extensions import override

from polyframe.clock import VirtualClock
from polyframe.environment import Environment
from polyframe.model.events import MarketTraded, OrderChanged, PriceChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.scheduler import MarketScheduler
from polyframe.session import ExchangeSession
from polyframe.testing.faults import Fault
from polyframe.testing.invariants import Invariant
from polyframe.testing.monitor import Monitor
from polyframe.testing.simclock import SimWallClock
from polyframe.testing.simvenue import SimVenue
from polyframe.trader import Trader, TraderSettings
from polyframe.trading.reconcile import ReconcileReport
from polyframe.trading.service import TradingService

GRACE = 1.0
"""Seconds after the deadline of a cycle's end at which nothing of it may be left."""

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


class Stage:
    """An open environment on a simulated venue, with a trader and a monitor.

    Attributes:
        venue, clock, env, trader, monitor: The parts.
        began: Market time at the start.
        seen: What was published to strategies, by generation, if it is kept.
    """

    def __init__(
        self,
        venue: SimVenue,
        clock: VirtualClock,
        env: Environment,
        settings: TraderSettings,
        *,
        keep_events: bool,
    ) -> None:
        self.venue = venue
        self.clock = clock
        self.began = clock.time()
        self.env = env
        self.monitor = Monitor(venue, clock)
        self.trader = SimTrader(env, settings, random.Random(f"{venue.seed}/schedule"))
        self.trader.on_barrier = self._on_barrier
        self.seen: list[Seen] = []
        self._keep_events = keep_events
        self._settings = settings
        self._next: dict[str, int] = {}

    def services(self) -> list[TradingService]:
        """Return the trading services of all series."""
        return [self.trader.trading(series) for series in self.trader.series]

    def _on_barrier(
        self,
        service: TradingService,
        step: str,
        old: ExchangeSession | None,
        new: ExchangeSession | None,
    ) -> None:
        """Check a step of a switch, and let events come in between if a fault says so."""
        if step == "start" and new is not None:
            new.subscribe(Tap(self, new))
        self.monitor.on_barrier(service, step, old, new)
        if step == "detach" and old is not None:
            deadline = self._settings.cycle_end_timeout + GRACE
            asyncio.get_running_loop().call_later(deadline, self.monitor.expect_dead, old)
        if step != "open" and self.venue.faults.hit(Fault.BARRIER):
            self._disturb(old, new)

    def _disturb(self, old: ExchangeSession | None, new: ExchangeSession | None) -> None:
        """Let messages arrive and markets move, within a switch."""
        source = self.venue.faults.source(Fault.BARRIER)
        wall = self.env.clock
        if isinstance(wall, SimWallClock) and self.venue.faults.hit(Fault.CLOCK_JUMP):
            wall.jump()
        if self.venue.user is not None:
            self.venue.user.rush(source.randint(0, 4))
        for session in (old, new):
            market = None if session is None else self.venue.markets.get(session.slug)
            if market is not None and market.is_open:
                market.step()
        if self.venue.user is not None:
            self.venue.user.rush(source.randint(0, 2))

    def saw(self, session: ExchangeSession, event: Any) -> None:
        """Keep what was published in a cycle."""
        if self._keep_events:
            self.seen.append(Seen(self.clock.time(), session.generation, session.slug, event))


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
    """A subscriber that checks what a session publishes."""

    wants_books = False

    def __init__(self, stage: Stage, session: ExchangeSession) -> None:
        self._stage = stage
        self._session = session
        self._sequence = 0

    def price_changed(self, outcome: Outcome) -> None:
        """Keep the latest price."""
        self._stage.saw(self._session, self._session.price(outcome))

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
        self._stage.saw(self._session, report)

    def _own(
        self, generation: int, slug: str, event: OrderChanged | TradeChanged | MarketTraded
    ) -> None:
        session = self._session
        own = (generation, slug) == (session.generation, session.slug)
        self._stage.monitor.check(own, Invariant.OWN_EVENTS, f"published {event}", session.slug)
        self._stage.saw(session, event)

    def _in_order(self, event: OrderChanged | TradeChanged) -> None:
        monitor, slug = self._stage.monitor, self._session.slug
        last, self._sequence = self._sequence, event.sequence
        text = f"change {event.sequence} came after {last}"
        monitor.check(event.sequence == last + 1, Invariant.ORDER_OF_CHANGES, text, slug)
        if isinstance(event, OrderChanged) and event.previous is not None:
            stays = not event.previous.is_final or event.previous is event.order.status
            text = f"{event.order.client_id} went from {event.previous} to {event.order.status}"
            monitor.check(stays, Invariant.ORDER_OF_CHANGES, text, slug)
