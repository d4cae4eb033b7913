"""Orders on their way to the venue: checked, signed and registered before they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import count
from typing import Protocol

from attrs import frozen

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import (
    OrderDenied,
    OrderError,
    OrderOutcomeUnknown,
    OrderRejected,
    StaleCycleError,
)
from polyframe.exchange.base import Exchange, PlaceAnswer
from polyframe.model.events import PriceChanged
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderRequest, OrderStatus, PlaceResult
from polyframe.trading.commands import (
    ApplyPlaceAnswer,
    Denied,
    PlaceOrder,
)
from polyframe.trading.guards import Call, EntryBook
from polyframe.trading.ownorders import OwnOrders
from polyframe.trading.risk import RiskGuard
from polyframe.trading.riskfacts import risk_facts
from polyframe.trading.rules import broken_rule
from polyframe.trading.sending import Sender, Sending, SendingDesk
from polyframe.trading.state import CycleState


class Quotes(Protocol):
    """What placing reads of the session of a market."""

    def price(self, outcome: Outcome) -> PriceChanged:
        """Return the latest top of book."""
        ...

    def tick_size(self, outcome: Outcome) -> Decimal:
        """Return the price step that holds now, in USD."""
        ...


@frozen
class OpenCycle:
    """The cycle that is traded now."""

    state: CycleState
    quotes: Quotes

    @property
    def market(self) -> Market:
        """Its market."""
        return self.state.market


class PlacingDesk(SendingDesk, Protocol):
    """The trading service, as far as placing needs it."""

    @property
    def cycle(self) -> OpenCycle | None:
        """The cycle that is traded now, ``None`` while trading is paused."""
        ...

    def state(self, market: Market) -> CycleState | None:
        """Return the state of a cycle, open or over."""
        ...

    def denied(self, rule: str, text: str, *, strategy: str) -> OrderDenied:
        """Count a denial."""
        ...


@frozen
class Placed:
    """What became of one of several orders that were placed at once.

    Attributes:
        request: What was asked for.
        order: The order once the venue answered, ``None`` if it was denied here.
        error: Why it is not as wanted, ``None`` if it was accepted: `OrderDenied` (never sent),
            `OrderRejected`, or `OrderOutcomeUnknown` (it may be live).
    """

    request: OrderRequest
    order: Order | None
    error: OrderError | None


class Placing:
    """Places the orders of one series.

    Args:
        desk: The trading service.
        sender: Sends what is registered.
        exchange: Signs.
        clock: Market time.
        counters: Where stale calls are counted.
        own: Is told which orders are about to leave.
        risk: Is asked before every order.
        guards: Are asked after it.
    """

    def __init__(
        self,
        desk: PlacingDesk,
        *,
        sender: Sender,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        own: OwnOrders,
        risk: RiskGuard,
        guards: EntryBook,
    ) -> None:
        self._desk = desk
        self._sender = sender
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._own = own
        self._risk = risk
        self._guards = guards
        self._ids = count(1)

    def go_on_after(self, state: CycleState) -> None:
        """Give no order an id that one of an earlier run has."""
        start = f"{state.market.slug}-"
        numbers = (name.removeprefix(start) for name in state.orders if name.startswith(start))
        used = max((int(number) for number in numbers if number.isdigit()), default=0)
        self._ids = count(max(used + 1, next(self._ids)))

    async def place(self, generation: int, strategy: str, request: OrderRequest) -> Order:
        """Place one order; see `TradingService.place`."""
        cycle = self._current(generation, "place")
        sending = self._register(cycle, strategy, request, Call())
        (answer,) = await self._sender.send(cycle.market, [sending])
        return self._placed(cycle.market, sending.client_id, answer)

    async def place_many(
        self, generation: int, strategy: str, requests: Iterable[OrderRequest]
    ) -> tuple[Placed, ...]:
        """Place several orders at once; see `TradingService.place_many`."""
        cycle = self._current(generation, "place_many")
        call, tried = Call(), list[tuple[OrderRequest, Sending | OrderDenied]]()
        try:
            for request in requests:
                try:
                    tried.append((request, self._register(cycle, strategy, request, call)))
                except OrderDenied as denied:
                    tried.append((request, denied))
        except BaseException:
            # Nothing may stay registered that does not leave, whatever a caller's iterator raises.
            self._withdraw(cycle.market, _sendings(tried), "another order cannot be signed")
            raise
        market, sendings = cycle.market, _sendings(tried)
        answers = await self._sender.send(market, sendings)
        placed = iter(self.judged(market, sendings, answers))
        return tuple(
            Placed(request, None, sending) if isinstance(sending, OrderDenied) else next(placed)
            for request, sending in tried
        )

    def register_all(
        self, generation: int, strategy: str, requests: Sequence[OrderRequest]
    ) -> tuple[OpenCycle, list[Sending]]:
        """Check and register several orders, or none of them; `start` has to follow at once.

        Raises:
            StaleCycleError: `generation` is not the current cycle.
            OrderDenied: One of them is denied; the text says which.
        """
        cycle = self._current(generation, "place_legs")
        call, sendings = Call(is_one=True), list[Sending]()
        try:
            for number, request in enumerate(requests, 1):
                which = f"leg {number} of {len(requests)}: "
                sendings.append(self._register(cycle, strategy, request, call, which))
        except Exception:
            self._withdraw(cycle.market, sendings, "another leg cannot leave")
            raise
        return cycle, sendings

    def judged(
        self, market: Market, sendings: Sequence[Sending], answers: Sequence[PlaceAnswer]
    ) -> list[Placed]:
        """Return what became of several orders.

        Raises:
            StaleCycleError: The cycle ended meanwhile.
        """
        placed = []
        for sending, answer in zip(sendings, answers, strict=True):
            request, error = sending.prepared.request, None
            try:
                order = self._placed(market, sending.client_id, answer)
            except (OrderRejected, OrderOutcomeUnknown) as caught:
                order, error = caught.order, caught
            placed.append(Placed(request, order, error))
        return placed

    def _current(self, generation: int, what: str) -> OpenCycle:
        """Return the cycle of `generation`.

        Raises:
            StaleCycleError: It is not the current one.
        """
        cycle = self._desk.cycle
        if cycle is None or cycle.market.generation != generation:
            self._counters.add(Count.ENGINE_STALE, "PlaceOrder")
            raise StaleCycleError(what, generation, _generation(cycle))
        return cycle

    # ------------------------------------------------------------------ before it leaves

    def _register(
        self,
        cycle: OpenCycle,
        strategy: str,
        request: OrderRequest,
        call: Call,
        which: str = "",
    ) -> Sending:
        """Check one order, sign it, and register it with the engine, the guard and our own orders.

        Args:
            cycle: The current cycle.
            strategy: Whose order it is.
            request: What is wanted.
            call: The call that it is part of.
            which: What the text of a denial begins with.

        Raises:
            OrderDenied: With the rule that it breaks.
        """
        market, quote, now = cycle.market, cycle.quotes.price(request.outcome), self._clock.time()
        tick = cycle.quotes.tick_size(request.outcome)
        if (denied := broken_rule(market, tick, quote, request, now)) is not None:
            raise self._desk.denied(denied.rule, which + denied.text, strategy=strategy)
        facts = risk_facts(
            cycle.state,
            strategy,
            request,
            quote,
            time=now,
            network_time=asyncio.get_running_loop().time(),
        )
        if (denied := self._risk.check(strategy, request, facts)) is not None:
            raise self._desk.denied(denied.rule, which + denied.text, strategy=strategy)
        asked = (strategy, request, cycle.state, quote, now, call)
        if (denied := self._guards.check(*asked)) is not None:
            raise self._desk.denied(denied.rule, which + denied.text, strategy=strategy)
        prepared = self._exchange.prepare_order(market, request)
        client_id = f"{market.slug}-{next(self._ids)}"
        self._guards.admit(client_id, *asked)
        reply = self._desk.submit(
            PlaceOrder(
                generation=market.generation,
                client_id=client_id,
                venue_id=prepared.venue_id,
                strategy=strategy,
                token=market.token(request.outcome),
                request=request,
                now_ms=self._now_ms(),
            )
        )
        if isinstance(reply, Denied):
            raise self._desk.denied(reply.rule, which + reply.text, strategy=strategy)
        self._risk.admit(client_id, strategy, request, facts)
        self._own.sent(prepared.venue_id)
        return Sending(client_id, prepared, strategy)

    def _withdraw(self, market: Market, sendings: Iterable[Sending], why: str) -> None:
        """Undo the registration of orders that do not leave after all."""
        for sending in sendings:
            client_id, text = sending.client_id, f"not sent: {why}"
            self._own.answered(sending.prepared.venue_id, is_lost=False)
            self._risk.withdrawn(client_id)
            self._guards.withdrawn(client_id)
            self._desk.denied("withdrawn", text, strategy=sending.strategy)
            self._desk.submit(
                ApplyPlaceAnswer(
                    market.generation,
                    client_id,
                    PlaceResult.REJECTED,
                    "withdrawn",
                    text,
                    self._now_ms(),
                )
            )

    # ------------------------------------------------------------------ afterwards

    def _placed(self, market: Market, client_id: str, answer: PlaceAnswer) -> Order:
        """Return what became of an order.

        Raises:
            StaleCycleError: The cycle ended meanwhile.
            OrderRejected: Refused by the venue.
            OrderOutcomeUnknown: The answer was lost, and nothing else tells.
        """
        cycle, state = self._desk.cycle, self._desk.state(market)
        if state is None or _generation(cycle) != market.generation:
            what = f"place {client_id}"
            raise StaleCycleError(what, market.generation, _generation(cycle), was_sent=True)
        order = state.orders[client_id]
        # What the order is decides, not the answer: a fill or a report may have proved it meanwhile.
        if answer.result is PlaceResult.UNKNOWN and order.status is OrderStatus.UNKNOWN:
            raise OrderOutcomeUnknown(answer.text, order)
        if order.status is OrderStatus.REJECTED:
            raise OrderRejected(answer.code, answer.text, order)
        return order

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


def _sendings(tried: Iterable[tuple[OrderRequest, Sending | OrderDenied]]) -> list[Sending]:
    return [sending for _, sending in tried if isinstance(sending, Sending)]


def _generation(cycle: OpenCycle | None) -> int | None:
    return None if cycle is None else cycle.market.generation
