"""Placing several orders that are meant as one: all of them, or something is done about the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Protocol

from attrs import define, field

from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError, StaleCycleError
from polyframe.model.grid import SIZE_STEP
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderRequest, OrderStatus, OrderType, Side
from polyframe.trading.legs import Leg, LegsPlan, LegsResult
from polyframe.trading.placing import OpenCycle, Placing
from polyframe.trading.reconcile import DOUBTFUL, ReconcileReport
from polyframe.trading.requests import Bell, Requests
from polyframe.trading.sending import Answers, Sender, Sending

log = logging.getLogger(__name__)

_LOOKS = 1.0
"""Network seconds between two comparisons with the venue while the fate of a leg is open."""


class LegsDesk(Protocol):
    """The trading service, as far as legs need it."""

    @property
    def cycle(self) -> OpenCycle | None:
        """The cycle that is traded now, ``None`` while trading is paused."""
        ...

    async def reconcile(self, trigger: str = ...) -> ReconcileReport:
        """Compare the current cycle with the venue."""
        ...

    async def cancel_many(self, market: Market, client_ids: Collection[str]) -> list[Order]:
        """Cancel orders of a cycle."""
        ...


class LegsPlacing:
    """Places several orders that are meant as one.

    Args:
        desk: The trading service.
        placing: Checks and registers.
        sender: Sends.
        counters: Where it is counted what became of them.
        requests: Runs the whole of it, so that a cancelled caller does not leave half a job.
        bell: Rings with every change of the current cycle, and when it ends.
    """

    def __init__(
        self,
        desk: LegsDesk,
        *,
        placing: Placing,
        sender: Sender,
        counters: Counters,
        requests: Requests,
        bell: Bell,
    ) -> None:
        self._desk = desk
        self._placing = placing
        self._sender = sender
        self._counters = counters
        self._requests = requests
        self._bell = bell

    async def place(self, generation: int, strategy: str, plan: LegsPlan) -> LegsResult:
        """Place the legs and see to them; see `TradingService.place_legs`."""
        cycle, sendings = self._placing.register_all(generation, strategy, plan.requests)
        # They leave before anything is waited for: a cancelled caller leaves none behind unsent.
        sent = self._sender.start(cycle.market, sendings)
        group = _Group(
            desk=self._desk,
            placing=self._placing,
            sender=self._sender,
            counters=self._counters,
            bell=self._bell,
            cycle=cycle,
            strategy=strategy,
            plan=plan,
            sendings=sendings,
        )
        return await self._requests.send(
            group.run(sent), f"legs of {strategy} in {cycle.market.slug}"
        )


@define(eq=False, kw_only=True)
class _Group:
    """The legs of one call, from their departure to the end of the policy."""

    desk: LegsDesk
    placing: Placing
    sender: Sender
    counters: Counters
    bell: Bell
    cycle: OpenCycle
    strategy: str
    plan: LegsPlan
    sendings: Sequence[Sending]
    asked: set[str] = field(init=False, factory=set)
    """Client ids of the legs that the policy has tried to cancel."""
    sold: tuple[Order, ...] = field(init=False, default=())
    unsold: dict[Outcome, Decimal] = field(init=False, factory=dict)
    failures: list[str] = field(init=False, factory=list)

    async def run(self, sent: Sequence[Answers]) -> LegsResult:
        """Wait for the answers and what follows from them, then do as the policy says.

        Raises:
            StaleCycleError: The cycle ended meanwhile. Legs that are still open are cancelled then,
                unless they are to be kept.
        """
        try:
            placed = self.placing.judged(
                self.cycle.market, self.sendings, await self.sender.answers(sent)
            )
            await self._until(lambda: self._is_decided(self._legs()))
            missing = [_is_missing(order) for order in self._legs()]
            if any(missing) and self.plan.on_missing != "keep":
                await self._act()
        except StaleCycleError:
            self.counters.add(Count.LEGS, "ended")
            await self._leave()
            raise
        result = "failed" if self.failures else "missing" if any(missing) else "complete"
        self.counters.add(Count.LEGS, result)
        legs = zip(placed, self._legs(), missing, strict=True)
        return LegsResult(
            legs=tuple(Leg(one.request, order, one.error, gone) for one, order, gone in legs),
            on_missing=self.plan.on_missing,
            cancelled=tuple(
                order
                for order in self._legs()
                if order.client_id in self.asked and order.status is OrderStatus.CANCELLED
            ),
            sold=self.sold,
            unsold=self.unsold,
            failures=tuple(self.failures),
        )

    # ------------------------------------------------------------------ looking

    def _legs(self) -> list[Order]:
        """Return the orders of the legs as they are now."""
        return self._now(sending.client_id for sending in self.sendings)

    def _now(self, client_ids: Iterable[str]) -> list[Order]:
        # The state is the cycle's, also when that is over and the settlement side has it.
        return [self.cycle.state.orders[client_id] for client_id in client_ids]

    def _is_decided(self, orders: Sequence[Order]) -> bool:
        """Return whether it is known what came of orders, as far as that is a matter of moments."""
        awaits_trades = self.cycle.state.awaits_trades
        return not any(_is_undecided(o) or awaits_trades(o.client_id) for o in orders)

    async def _until(self, is_so: Callable[[], bool], patience: float | None = None) -> bool:
        """Return whether it came to be so in time; the venue is asked now and then.

        Raises:
            StaleCycleError: The cycle ended first.
        """
        loop, market = asyncio.get_running_loop(), self.cycle.market
        deadline = loop.time() + (self.plan.missing_timeout if patience is None else patience)
        while not is_so():
            current = self.desk.cycle
            if current is None or current.market.generation != market.generation:
                now = None if current is None else current.market.generation
                what = "place_legs"
                raise StaleCycleError(what, market.generation, now, was_sent=True)
            if loop.time() >= deadline:
                return False
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + _LOOKS)):
                    await self.bell.wait()
            except TimeoutError:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await self.desk.reconcile("legs")
        return True

    # ------------------------------------------------------------------ the policy

    async def _act(self) -> None:
        """Cancel what is open, and sell back what was bought if that is wanted."""
        # Two post-only legs of which one would take are ordinary business, and the caller is told.
        log.info(
            "%s: a leg is missing (%s): %s",
            self.cycle.market.slug,
            ", ".join(f"{order.client_id} {order.status}" for order in self._legs()),
            self.plan.on_missing,
        )
        await self._cancel()
        if self.plan.on_missing == "unwind":
            await self._unwind()
        for text in self.failures:
            log.error("%s: legs: %s", self.cycle.market.slug, text)

    async def _cancel(self) -> None:
        """Cancel every leg that is open, or may be, until all have ended or the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.plan.missing_timeout
        wanted = [order.client_id for order in self._legs() if order.is_open]
        trouble = ""
        while still := [order for order in self._now(wanted) if order.is_open]:
            ids = [order.client_id for order in still]
            self.asked.update(ids)
            try:
                await self.desk.cancel_many(self.cycle.market, ids)
            except ExchangeError as error:
                trouble = f" ({error})"
            if loop.time() >= deadline:
                self.failures += [
                    f"{order.client_id} could not be cancelled, it is {order.status}{trouble}"
                    for order in self._now(wanted)
                    if order.is_open
                ]
                break
            await self._until(lambda: not any(o.is_open for o in self._now(wanted)), _LOOKS)

    async def _unwind(self) -> None:
        """Sell back what the legs have bought."""
        # A cancel does not tell what was filled before it, and the trade may be on its way.
        if not await self._has_looked():
            self.failures.append("the venue did not tell what was filled; there may be more")
        await self._until(lambda: self._is_decided(self._legs()))
        bought = dict.fromkeys(Outcome, ZERO)
        requests: list[OrderRequest] = []
        for order, floor in zip(self._legs(), self._floors(), strict=True):
            if order.side is Side.BUY and order.filled:
                bought[order.outcome] += order.filled
                request = self._sale(order, floor, requests)
                if request is not None:
                    requests.append(request)
        placed = await self.placing.place_many(
            self.cycle.market.generation, self.strategy, requests
        )
        ids = [one.order.client_id for one in placed if one.order is not None]
        await self._until(lambda: self._is_decided(self._now(ids)))
        self.sold = tuple(self._now(ids))
        for one in placed:
            if one.error is not None:
                self.failures.append(
                    f"selling {one.request.size} {one.request.outcome}: {one.error}"
                )
        for outcome, shares in bought.items():
            left = shares - sum((o.filled for o in self.sold if o.outcome is outcome), ZERO)
            if left > 0:
                self.unsold[outcome] = left
                self.failures.append(f"{left} {outcome} are not sold back")

    async def _has_looked(self) -> bool:
        """Compare with the venue, again until it answers or the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.plan.missing_timeout
        while (await self.desk.reconcile("legs")).error:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(_LOOKS)
        return True

    def _floors(self) -> Sequence[Decimal | None]:
        return self.plan.unwind_floor or (None,) * len(self.sendings)

    def _sale(
        self, bought: Order, floor: Decimal | None, before: Sequence[OrderRequest]
    ) -> OrderRequest | None:
        """Return the order that sells back what a leg has bought, as far as it can be sold now."""
        outcome, state = bought.outcome, self.cycle.state
        price = self.cycle.quotes.price(outcome).bid if floor is None else floor
        if price is None:
            self.failures.append(f"{outcome} has no known bid, and no floor was given")
            return None
        planned = sum((r.size for r in before if r.outcome is outcome), ZERO)
        shares = min(bought.filled, state.sellable(outcome, self.strategy) - planned)
        size = shares // SIZE_STEP * SIZE_STEP
        if size < state.market.min_size:
            self.failures.append(f"{size} {outcome} are less than can be sold")
            return None
        return OrderRequest(outcome, Side.SELL, price, size, OrderType.FAK)

    async def _leave(self) -> None:
        """See to the legs of a cycle that is over."""
        open_ids = [order.client_id for order in self._legs() if order.is_open]
        if self.plan.on_missing == "keep" or not open_ids:
            return
        try:
            await self.desk.cancel_many(self.cycle.market, open_ids)
        except (ExchangeError, StaleCycleError) as error:
            log.error("%s: legs stay open: %s", self.cycle.market.slug, error)


def _is_undecided(order: Order) -> bool:
    """Return whether it will soon be known whether an order is there."""
    if order.status in DOUBTFUL or order.status is OrderStatus.CANCELLING:
        return True
    # A FOK or FAK that was matched: the trades tell how much.
    return order.is_open and not order.order_type.rests


def _is_missing(order: Order) -> bool:
    if order.is_open:
        return _is_undecided(order)
    return order.status is not OrderStatus.FILLED
