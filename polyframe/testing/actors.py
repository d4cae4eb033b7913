"""The strategies of the simulation: one that behaves, and one that does its worst."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from attrs import define, field

from polyframe.environment import Environment
from polyframe.errors import ExchangeError, OrderDenied, OrderError, StaleCycleError
from polyframe.model.events import (
    CycleEndReason,
    MarketTraded,
    OrderChanged,
    PriceChanged,
    TradeChanged,
)
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, OrderRequest, OrderType, Side
from polyframe.model.trade import Fill
from polyframe.session import ExchangeSession
from polyframe.strategy import Strategy
from polyframe.testing.faults import Fault, Faults, InjectedError
from polyframe.testing.invariants import Invariant
from polyframe.testing.monitor import Monitor
from polyframe.testing.simline import SimLine
from polyframe.trading.handle import StrategyTrading

DEAF_SECONDS = 20.0
"""How long a hook ignores its cancellation."""

LONG_DEAD = 30.0
"""Seconds after the end of a cycle at which nothing of it can be used any more."""

EXPECTED = (OrderError, StaleCycleError, ExchangeError)
"""What a call to the venue may raise."""


@define(eq=False)
class Keepsakes:
    """What strategies kept of dead cycles, though they should not; outlives the cycles."""

    kept: list[tuple[float, StrategyTrading, ExchangeSession, list[Order]]] = field(factory=list)
    _env: Environment | None = field(init=False, default=None)

    def keep(
        self,
        env: Environment,
        trading: StrategyTrading,
        session: ExchangeSession,
        orders: list[Order],
    ) -> None:
        """Keep a handle, the latest few of them."""
        self._only_of(env)
        self.kept.append((asyncio.get_running_loop().time(), trading, session, orders))
        del self.kept[:-6]

    def dead(self, env: Environment) -> list[tuple[StrategyTrading, ExchangeSession, list[Order]]]:
        """Return what can do nothing any more."""
        self._only_of(env)
        limit = asyncio.get_running_loop().time() - LONG_DEAD
        return [(t, s, o) for kept_at, t, s, o in self.kept if kept_at <= limit]

    def _only_of(self, env: Environment) -> None:
        """Forget what died with an earlier process."""
        if env is not self._env:
            self._env = env
            self.kept.clear()


@define
class Observed(Strategy):
    """Checks all that it is told and all that it reads, and suffers from the faults of hooks."""

    seed: int = 0
    _rng: random.Random = field(init=False, factory=random.Random)
    _changes: int = field(init=False, default=0)

    async def act(self, event: Any) -> None:
        """Do something, ``None`` at the start; raises `EXPECTED` errors only."""

    async def tidy(self) -> None:
        """Clean up at the end of the cycle."""

    # ------------------------------------------------------------------ hooks

    async def on_cycle_start(self) -> None:
        """Check that nothing is there."""
        self._rng = random.Random(f"{self.seed}/{self.name}/{self.market.slug}")
        trading = self.trading
        positions = [trading.position(outcome).size for outcome in Outcome]
        empty = not trading.fills() and not any(positions)
        text = f"{self.name} begins with {trading.fills()} and {positions}"
        self._check(empty or self.is_resumed, Invariant.FRESH_START, text)
        await self._go(None)

    async def on_price(self, event: PriceChanged) -> None:
        """Check and act."""
        self._check_cycle(event.generation, event.slug, event)
        await self._go(event)

    async def on_market_trade(self, event: MarketTraded) -> None:
        """Check and act."""
        self._check_cycle(event.generation, event.slug, event)
        await self._go(event)

    async def on_order(self, event: OrderChanged) -> None:
        """Check and act."""
        self._check_order(event.order, event.sequence)
        await self._go(event)

    async def on_trade(self, event: TradeChanged) -> None:
        """Check and act."""
        self._check_cycle(event.fill.generation, event.fill.slug, event)
        self._check_order(event.order, event.sequence)
        await self._go(event)

    async def on_cycle_end(self, reason: CycleEndReason) -> None:  # noqa: ARG002
        """Check what can be read, keep what should not be kept, clean up."""
        self._check_state()
        keepsakes = self.env.get(Keepsakes)
        keepsakes.keep(self.env, self.trading, self.session, self.trading.orders())
        await self._safely(self.tidy)

    # ------------------------------------------------------------------ checks

    def _check(self, holds: bool, invariant: Invariant, text: str) -> None:
        self.env.get(Monitor).check(holds, invariant, text, self.market.slug)

    def _check_cycle(self, generation: int, slug: str, event: Any) -> None:
        own = (generation, slug) == (self.market.generation, self.market.slug)
        self._check(own, Invariant.OWN_EVENTS, f"{self.name} was told of {event}")

    def _check_order(self, order: Order, sequence: int) -> None:
        self._check_cycle(order.generation, order.slug, order)
        own = order.strategy in (self.name, "")
        self._check(own, Invariant.OWN_EVENTS, f"{self.name} was told of {order}")
        last, self._changes = self._changes, sequence
        text = f"{self.name} was told of change {sequence} after {last}"
        self._check(sequence > last, Invariant.ORDER_OF_CHANGES, text)

    def _check_state(self) -> None:
        things: list[Order | Fill] = [*self.trading.orders(), *self.trading.fills()]
        for thing in things:
            own = (thing.generation, thing.slug, thing.strategy) == (
                self.market.generation,
                self.market.slug,
                self.name,
            )
            self._check(own, Invariant.OWN_STATE, f"{self.name} reads {thing}")
        for outcome in Outcome:
            position = self.trading.position(outcome)
            fine = position.size >= 0 and self.trading.sellable(outcome) >= 0
            self._check(fine, Invariant.OWN_STATE, f"{self.name} reads {position}")

    # ------------------------------------------------------------------ faults

    async def _go(self, event: Any) -> None:
        await self._trouble()
        await self._safely(lambda: self.act(event))

    async def _safely(self, act: Callable[[], Awaitable[None]]) -> None:
        """Act; anything that is not expected is a defect."""
        try:
            await act()
        except EXPECTED:
            return
        except Exception as error:
            self._check(False, Invariant.NO_DEFECT, f"{self.name} got {error!r}")
            raise

    async def _trouble(self) -> None:
        faults = self.env.get(Faults)
        if faults.hit(Fault.HOOK_SLOW):
            await self.clock.sleep(faults.source(Fault.HOOK_SLOW).choice((0.1, 5.0, 40.0)))
        if faults.hit(Fault.HOOK_HANG):
            await asyncio.Event().wait()
        if faults.hit(Fault.HOOK_DEAF):
            await self._play_deaf()
        if faults.hit(Fault.HOOK_RAISE):
            raise InjectedError

    async def _play_deaf(self) -> None:
        # In the loop's time, because the other may jump.
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        until = loop.time() + self.seconds_left() + DEAF_SECONDS
        if task is not None:
            self.env.get(Monitor).deaf[task.get_name()] = until + 1.0
        line = self.env.exchange
        while (left := until - loop.time()) > 0:
            if isinstance(line, SimLine) and line.is_cut:
                return  # nobody is deaf to a kill
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue


@define
class Careful(Observed):
    """Quotes both outcomes a step below the best bid, sells what is settled, cleans up."""

    size: Decimal = Decimal(10)
    quotes: int = 20

    async def act(self, event: Any) -> None:
        """Follow the price; sell what was bought once it is settled."""
        if isinstance(event, PriceChanged) and event.bid is not None:
            await self._quote(event.outcome, event.bid)
        elif isinstance(event, TradeChanged):
            await self._sell(event.fill.outcome)

    async def tidy(self) -> None:
        """Leave nothing at the venue."""
        await self.trading.cancel_all()

    async def _quote(self, outcome: Outcome, bid: Decimal) -> None:
        tick = self.session.tick_size(outcome)
        price = bid - tick
        mine = [
            order
            for order in self.trading.open_orders()
            if order.outcome is outcome and order.side is Side.BUY
        ]
        for order in mine:
            if abs(order.price - price) > 2 * tick:
                await self.trading.cancel(order)
        has_room = self.trading.position(outcome).size < 5 * self.size
        if not mine and price >= tick and has_room and self.quotes > 0:
            self.quotes -= 1
            await self.trading.buy(outcome, price=price, size=self.size, post_only=True)

    async def _sell(self, outcome: Outcome) -> None:
        settled = self.trading.position(outcome).settled
        size = min(settled, self.trading.sellable(outcome), self.size)
        bid = self.trading.price(outcome).bid
        if size >= self.market.min_size and bid is not None:
            await self.trading.sell(outcome, price=bid, size=size, order_type=OrderType.FAK)


@define
class Hostile(Observed):
    """Trades at random, asks for nonsense, and uses whatever it kept of dead cycles.

    What it does makes events, and events make it act: `budget` actions a cycle keep that finite.
    """

    budget: int = 60

    async def act(self, event: Any) -> None:
        """Do one of many things."""
        changed = isinstance(event, OrderChanged | TradeChanged)
        if self.budget <= 0 or (changed and self._rng.random() < 0.7):
            return
        self.budget -= 1
        draw = self._rng.random()
        if draw < 0.18:
            await self._place()
        elif draw < 0.24:
            self.spawn(self._safely(self._place), "place")
        elif draw < 0.32:
            await self._cancel()
        elif draw < 0.34:
            self.spawn(self._safely(self._cancel), "cancel")
        elif draw < 0.36:
            await self._nonsense()
        elif draw < 0.37:
            await self.trading.cancel_all(self._rng.choice((None, *Outcome)))
        elif draw < 0.39:
            await self._haunt()
        elif draw < 0.42:
            self._check_state()

    async def run(self) -> None:
        """Act without being told anything, and most of all around the end of the window."""
        rush = self.market.window.end - self._rng.uniform(0.0, 0.5)
        while True:
            if (left := rush - self.clock.time()) > 0:
                await self.clock.sleep(min(self._rng.uniform(5.0, 60.0), left))
                await self._safely(lambda: self.act(None))
            else:
                self.spawn(self._safely(self._rng.choice((self._place, self._cancel))), "rush")
                await self.clock.sleep(self._rng.uniform(0.0, 0.1))

    async def tidy(self) -> None:
        """Try to trade after the end; cancel some of what is left."""
        if self._rng.random() < 0.5:
            await self._refused_now()
        if self._rng.random() < 0.5:
            await self.trading.cancel_all()

    async def _place(self) -> None:
        await self.trading.place(self._request())

    def _request(self) -> OrderRequest:
        rng = self._rng
        outcome = rng.choice(list(Outcome))
        tick = self.session.tick_size(outcome)
        quote = self.session.price(outcome)
        middle = quote.bid if quote.bid is not None else Decimal("0.5")
        price = min(max(middle + rng.randint(-4, 5) * tick, tick), ONE - tick)
        held = self.trading.sellable(outcome)
        sells = held >= self.market.min_size and rng.random() < 0.5
        size = Decimal(rng.randint(500, 6000)).scaleb(-2)
        whole = (size // 10 + 1) * 10  # at any tick so many shares cost whole cents
        kind = rng.choice((OrderType.GTC, OrderType.GTC, OrderType.FAK, OrderType.FOK))
        return OrderRequest(
            outcome,
            Side.SELL if sells else Side.BUY,
            price,
            min(size, held).quantize(Decimal("0.01")) if sells else size if kind.rests else whole,
            kind,
            post_only=kind is OrderType.GTC and rng.random() < 0.3,
        )

    async def _cancel(self) -> None:
        orders = self.trading.orders()
        if orders:
            await self.trading.cancel(self._rng.choice(orders[-8:]))

    async def _nonsense(self) -> None:
        rng = self._rng
        form = rng.randrange(5)
        if form == 0:
            await self.trading.buy(Outcome.UP, price=Decimal("0.505050"), size=Decimal(10))
        elif form == 1:
            await self.trading.buy(Outcome.UP, price=Decimal("0.5"), size=Decimal(10**9))
        elif form == 2:
            await self.trading.sell(Outcome.DOWN, price=Decimal("0.5"), size=Decimal(10**6))
        elif form == 3:
            await self.trading.cancel("no such order")
        else:
            await self.trading.buy(Outcome.DOWN, price=Decimal("1.5"), size=ZERO)

    async def _haunt(self) -> None:
        """Use what was kept of dead cycles, in every way there is."""
        for trading, session, orders in self.env.get(Keepsakes).dead(self.env):
            request = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.5"), Decimal(10))
            await self._refused(trading.place(request), session)
            await self._refused(trading.cancel_all(), session)
            if orders:
                await self._refused(trading.cancel(orders[-1]), session)
                # An order of a dead cycle, through the handle of this one.
                await self._refused(self.trading.cancel(orders[-1]), session)

    async def _refused_now(self) -> None:
        """Place an order though the cycle is over."""
        await self._refused(self.trading.place(self._request()), self.session)

    async def _refused(self, call: Awaitable[Any], session: ExchangeSession) -> None:
        """Make a call that must be refused."""
        try:
            await call
        except (StaleCycleError, OrderDenied):
            return
        text = f"{self.name} could use what it kept of {session.slug}"
        self._check(False, Invariant.DEAD_HANDLES, text)
