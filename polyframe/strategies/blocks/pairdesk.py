"""Carries out the plans of a strategy's pairs: one at a time, whatever happens meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from attrs import Attribute, define, evolve, field

from polyframe.checks import some_seconds
from polyframe.errors import (
    ConfigError,
    ExchangeError,
    OrderError,
    OrderOutcomeUnknown,
    OrderRejected,
)
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO, is_sane
from polyframe.model.order import Order, OrderRequest, Side
from polyframe.strategies.blocks.pairplan import (
    Action,
    Cancel,
    Check,
    PairPlan,
    PairRules,
    Place,
    PlanState,
    Seen,
)
from polyframe.strategies.blocks.pairs import Tally, unpaired
from polyframe.strategies.blocks.worstcase import most_unpaired
from polyframe.strategy import Strategy

ROUND = "round "
"""What the intent of an order that opens a round begins with: it outlives the program with the order."""


def _round(order: Order) -> int:
    """Return the number of the round that an order has opened, 0 if it opened none."""
    if not order.intent.startswith(ROUND):
        return 0
    return int(order.intent.removeprefix(ROUND).partition(" ")[0])


@define(eq=False)
class PairDesk:
    """Carries out pair plans for one strategy in one cycle.

    Call `advance` from every hook that may matter and once a second: it looks at everything anew and
    does what is due. Calls while one is under way only make that one look again.

    Attributes:
        strategy: Whose orders.
        rules: How its plans go on.
        close_before_end: Market seconds before the end of the window at which all plans give up.
        plans: All plans of the cycle, oldest first.
    """

    strategy: Strategy
    rules: PairRules
    close_before_end: float
    plans: list[PairPlan] = field(init=False, factory=list)
    _filled: dict[int, tuple[Decimal, ...]] = field(init=False, factory=dict)
    _is_busy: bool = field(init=False, default=False)
    _looks_again: bool = field(init=False, default=False)

    # ------------------------------------------------------------------ reading

    @property
    def is_free(self) -> bool:
        """Whether every plan is over, nothing is being done, and a new one may begin."""
        return not self._is_busy and all(plan.state.is_over for plan in self.plans)

    @property
    def has_failed(self) -> bool:
        """Whether a plan has failed: it gave up, and left something unpaired."""
        return any(plan.state is PlanState.FAILED for plan in self.plans)

    @property
    def held(self) -> dict[Outcome, Decimal]:
        """Shares that the strategy holds, by outcome."""
        return {outcome: self.strategy.trading.position(outcome).size for outcome in Outcome}

    def most_unpaired(self) -> Decimal:
        """Return the most shares that can be without a partner, whatever becomes of open orders."""
        return most_unpaired(self.held, self.strategy.trading.open_orders())

    @property
    def rounds(self) -> int:
        """Rounds that began in this cycle, also before a restart of the program."""
        return self._last_round

    @property
    def rounds_filled(self) -> int:
        """Rounds of this cycle in which anything was filled, also before a restart of the program."""
        return len({number for order in self._orders if order.filled and (number := _round(order))})

    @property
    def filled_until(self) -> float:
        """When the last round in which anything was filled was over, 0 if there was none."""
        orders = {order.client_id: order for order in self._orders}
        return max(
            (p.since for p in self.plans if any(orders[c].filled for c in p.client_ids)),
            default=0.0,
        )

    @property
    def is_closing(self) -> bool:
        """Whether the window is so close to its end that nothing new begins."""
        return self.strategy.seconds_left() <= self.close_before_end

    # ------------------------------------------------------------------ acting

    async def open(self, requests: Sequence[OrderRequest]) -> str:
        """Begin a round with one order, or with legs; return why not, ``""`` if anything was sent.

        Raises:
            StaleCycleError: The cycle is over.
        """
        number = self._last_round + 1
        named = [evolve(each, intent=f"{ROUND}{number} {each.outcome}") for each in requests]
        self._is_busy = True
        try:
            if len(named) > 1:
                orders, error = await self._place_legs(named)
            else:
                order, error = await self._place(named[0])
                orders = () if order is None else (order,)
        finally:
            self._is_busy = False
        if orders:
            now = self.strategy.clock.time()
            self.plans.append(PairPlan.begin(self.rules, (o.client_id for o in orders), now))
        return "" if error is None else str(error)

    def take_over(self) -> None:
        """Go on with the rounds of this cycle that an earlier run of the program has begun.

        One pair was carried out at a time: what follows the first orders of a round belongs to it.
        """
        rounds: dict[int, list[Order]] = {}
        for order in self._orders:
            rounds.setdefault(max(_round(order), *rounds, 0), []).append(order)
        now = self.strategy.clock.time()
        self.plans += [PairPlan.take_over(self.rules, orders, now) for orders in rounds.values()]

    async def advance(self) -> None:
        """Do all that is due.

        Raises:
            StaleCycleError: The cycle is over.
        """
        self._looks_again = True
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._looks_again:
                self._looks_again = False
                self._take_in()
                orders = {order.client_id: order for order in self._orders}
                for number, plan in enumerate(self.plans):
                    if not self._rests(number, plan, orders):
                        await self._carry_out(number)
        finally:
            self._is_busy = False

    async def run(self) -> None:
        """Advance once a second of market time; time-outs are due without any event."""
        while True:
            await self.strategy.clock.sleep(1.0)
            await self.advance()

    async def finish(self) -> None:
        """Cancel what is open and report what is unpaired; for ``on_cycle_end``."""
        strategy = self.strategy
        try:
            await strategy.trading.cancel_all()
        except ExchangeError as error:
            strategy.log.warning("not all orders are cancelled: %s", error)
        left = unpaired(self.held, strategy.market)
        if left.size:
            level = logging.INFO if left.is_dust else logging.WARNING
            reasons = "; ".join(plan.why for plan in self.plans if plan.why) or "dust"
            strategy.log.log(level, "%s %s unpaired (%s)", left.size, left.outcome, reasons)

    @property
    def _orders(self) -> list[Order]:
        return self.strategy.trading.orders()

    @property
    def _last_round(self) -> int:
        return max(map(_round, self._orders), default=0)

    def _take_in(self) -> None:
        """Give orders that are none of a plan, as those of the strategy's guards, to the plan they close.

        Else it would go on to complete pairs of shares that were sold.
        """
        known = {client_id for plan in self.plans for client_id in plan.client_ids}
        orders = {order.client_id: order for order in self._orders}
        for order in orders.values():
            if not self.plans or order.client_id in known or not (order.is_open or order.filled):
                continue
            more = order.outcome if order.side is Side.SELL else order.outcome.other

            def excess(number: int, more: Outcome = more) -> Decimal:
                held = Tally.of(orders[each] for each in self.plans[number].client_ids).held
                return held[more] - held[more.other]

            number = max(range(len(self.plans)), key=excess)
            self.plans[number] = self.plans[number].placed(order.client_id)

    def _rests(self, number: int, plan: PairPlan, orders: Mapping[str, Order]) -> bool:
        """Return whether a plan is over and nothing has happened to its orders since it was looked at."""
        filled = tuple(orders[client_id].filled for client_id in plan.client_ids)
        was, self._filled[number] = self._filled.get(number), filled
        return plan.state.is_over and filled == was and plan.is_closing is self.is_closing

    async def _carry_out(self, number: int) -> None:
        while True:
            before = self.plans[number]
            plan, action = before.step(self._seen(before))
            self._keep(number, plan)
            if action is None:
                return
            await self._perform(number, action)

    def _keep(self, number: int, plan: PairPlan) -> None:
        before, self.plans[number] = self.plans[number], plan
        if plan.why and not before.why:
            self.strategy.log.info("a pair is given up: %s", plan.why)

    async def _perform(self, number: int, action: Action) -> None:
        strategy = self.strategy
        match action:
            case Place(request):
                order, error = await self._place(request)
                plan = self.plans[number]
                if order is not None:
                    plan = plan.placed(order.client_id)
                if error is not None:
                    strategy.log.info("%s %s: %s", request.side, request.outcome, error)
                    plan = plan.refused(strategy.clock.time())
                self._keep(number, plan)
            case Cancel(client_ids):
                for client_id in client_ids:
                    try:
                        await strategy.trading.cancel(client_id)
                    except (ExchangeError, OrderError) as error:  # it is asked for again
                        strategy.log.info("not cancelled: %s", error)
            case Check():
                report = await strategy.trading.reconcile()
                plan = self.plans[number]
                seen = self._seen(plan)
                self._keep(number, plan.checked(seen, is_complete=not report.error))

    async def _place(self, request: OrderRequest) -> tuple[Order | None, OrderError | None]:
        """Return the order, if one came to be registered, and the error that ended it."""
        try:
            return await self.strategy.trading.place(request), None
        except OrderOutcomeUnknown as error:  # it may be live: an order like any other
            return error.order, None
        except OrderRejected as error:
            return error.order, error
        except OrderError as error:
            return None, error

    async def _place_legs(
        self, requests: Sequence[OrderRequest]
    ) -> tuple[tuple[Order, ...], OrderError | None]:
        """Return the orders of the legs, and why there are none or one of them failed."""
        try:
            result = await self.strategy.trading.place_legs(requests, on_missing="cancel")
        except OrderError as error:
            return (), error
        errors = (leg.error for leg in result.legs if leg.error is not None)
        return tuple(leg.order for leg in result.legs), next(errors, None)

    def _seen(self, plan: PairPlan) -> Seen:
        strategy, trading = self.strategy, self.strategy.trading
        orders = {order.client_id: order for order in self._orders}
        return Seen(
            now=strategy.clock.time(),
            orders=tuple(orders[client_id] for client_id in plan.client_ids),
            quotes={outcome: trading.price(outcome) for outcome in Outcome},
            tick=max(strategy.session.tick_size(outcome) for outcome in Outcome),
            deliverable={outcome: self._deliverable(outcome) for outcome in Outcome},
            market=strategy.market,
            must_close=self.is_closing,
        )

    def _deliverable(self, outcome: Outcome) -> Decimal:
        trading = self.strategy.trading
        on_offer = trading.position(outcome).size - trading.sellable(outcome)
        return max(trading.position(outcome).settled - on_offer, ZERO)


# ------------------------------------------------------------------ settings of pair strategies


def at_least_size(strategy: Any, attribute: Attribute[Any], value: Any) -> None:
    """Check shares that may be without a partner: one round has to fit, or there is never any."""
    if not isinstance(value, Decimal) or not is_sane(value) or value < strategy.size:
        msg = f"{attribute.name}: expected a Decimal, at least the size {strategy.size}, got {value!r}"
        raise ConfigError(msg)


def before_closing(strategy: Any, attribute: Attribute[Any], value: Any) -> None:
    """Check a cut-off: what begins later would have to be closed at once."""
    some_seconds(strategy, attribute, value)
    if value < strategy.close_before_end:
        msg = (
            f"{attribute.name}: expected at least close_before_end, {strategy.close_before_end}, "
            f"got {value!r}"
        )
        raise ConfigError(msg)
