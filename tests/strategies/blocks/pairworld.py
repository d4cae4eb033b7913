"""A venue of a few lines for tests of pair plans: what is true, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from attrs import define, evolve, field

from polyframe.model.events import PriceChanged
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, OrderRequest, OrderStatus, Side
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
from polyframe.testing import make_market

UP, DOWN = Outcome.UP, Outcome.DOWN
CENT = Decimal("0.01")
RULES = PairRules(target=Decimal("0.02"), open_timeout=2, leg_timeout=60, stop=Decimal("0.08"))


def quote(outcome: Outcome, bid: Decimal | None, ask: Decimal | None) -> PriceChanged:
    """Return a top of one book."""
    return PriceChanged("m", 0, outcome, bid, ask, ONE, ONE, bid is not None, 0, 0.0)


def mirrored_quotes(bid: Decimal | None, ask: Decimal | None) -> dict[Outcome, PriceChanged]:
    """Return both displays of a book, given the top of Up."""
    down = (None if ask is None else ONE - ask, None if bid is None else ONE - bid)
    return {UP: quote(UP, bid, ask), DOWN: quote(DOWN, *down)}


def an_order(number: int, request: OrderRequest, **changes: Any) -> Order:
    """Return an order that rests."""
    order = Order(
        client_id=f"o{number}",
        venue_id=f"v{number}",
        generation=0,
        slug="m",
        token=request.outcome,
        strategy="s",
        outcome=request.outcome,
        side=request.side,
        price=request.price,
        size=request.size,
        order_type=request.order_type,
        post_only=request.post_only,
        status=OrderStatus.LIVE,
    )
    return evolve(order, **changes)


@define(eq=False)
class PairWorld:
    """Orders of one plan as the venue has them (`true`), and as they are known (`told`)."""

    rules: PairRules = RULES
    market: Market = field(factory=make_market)
    now: float = 0.0
    bid: Decimal | None = Decimal("0.49")
    ask: Decimal | None = Decimal("0.50")
    must_close: bool = False
    settles: bool = True
    true: list[Order] = field(factory=list)
    told: dict[str, Order] = field(factory=dict)
    plan: PairPlan = field(init=False)
    actions: list[Action] = field(init=False, factory=list)

    def begin(self, *requests: OrderRequest) -> PairWorld:
        """Place the first orders of a plan."""
        orders = [self.accept(request) for request in requests]
        self.plan = PairPlan.begin(self.rules, (order.client_id for order in orders), self.now)
        return self

    def accept(self, request: OrderRequest) -> Order:
        """Let an order rest."""
        order = an_order(len(self.true), request)
        self.true.append(order)
        self.told[order.client_id] = order
        return order

    # ------------------------------------------------------------------ the venue

    def fill(
        self, number: int, size: Decimal | int, price: Decimal | None = None, *, tell: bool = True
    ) -> None:
        """Fill an order; at a better price than its own it takes, and pays the fee."""
        order = self.true[number]
        size = min(Decimal(size), order.remaining)
        if not order.is_open or not size:
            return
        price = order.price if price is None else price
        fee = self.market.fees.taker_fee(size, price) if price != order.price else ZERO
        filled = order.filled + size
        value = order.filled * (order.average_price or ZERO) + size * price
        status = OrderStatus.FILLED if filled == order.size else OrderStatus.PARTIALLY_FILLED
        self.true[number] = evolve(
            order,
            filled=filled,
            average_price=value / filled,
            fees=order.fees + fee,
            status=status,
        )
        if tell:
            self.tell()

    def end(self, number: int, status: OrderStatus = OrderStatus.CANCELLED) -> None:
        """End an order, and tell of that but not of its fills."""
        if self.true[number].is_open:
            self.true[number] = evolve(self.true[number], status=status)
            name = self.true[number].client_id
            self.told[name] = evolve(self.told[name], status=status)

    def tell(self) -> None:
        """Tell all that is true."""
        self.told = {order.client_id: order for order in self.true}

    # ------------------------------------------------------------------ the plan

    def state(self) -> PlanState:
        """Return where the plan is."""
        return self.plan.state

    def seen(self) -> Seen:
        """Return what the plan can see."""
        held = {outcome: self.held(outcome) for outcome in Outcome}
        return Seen(
            now=self.now,
            orders=tuple(self.told[client_id] for client_id in self.plan.client_ids),
            quotes=mirrored_quotes(self.bid, self.ask),
            tick=CENT,
            deliverable=held if self.settles else dict.fromkeys(Outcome, ZERO),
            market=self.market,
            must_close=self.must_close,
        )

    def held(self, outcome: Outcome) -> Decimal:
        """Return the shares that are truly held."""
        return sum(
            (
                o.filled if o.side is Side.BUY else -o.filled
                for o in self.true
                if o.outcome is outcome
            ),
            ZERO,
        )

    def paid(self) -> Decimal:
        """Return the USD that were truly paid, fees included."""
        return sum(
            (
                (1 if o.side is Side.BUY else -1) * o.filled * (o.average_price or ZERO) + o.fees
                for o in self.true
            ),
            ZERO,
        )

    def step(self) -> Action | None:
        """Take one step of the plan and note what it wants done."""
        self.plan, action = self.plan.step(self.seen())
        if action is not None:
            self.actions.append(action)
        return action

    def run(self, seconds: float = 0.0, *, refuse: bool = False, check: bool = True) -> None:
        """Let time pass, do what the plan wants until it wants nothing."""
        self.now += seconds
        while (action := self.step()) is not None:
            self.perform(action, refuse=refuse, check=check)

    def perform(self, action: Action, *, refuse: bool = False, check: bool = True) -> None:
        """Do what the plan wants."""
        match action:
            case Place(request):
                if refuse:
                    self.plan = self.plan.refused(self.now)
                else:
                    self.plan = self.plan.placed(self.accept(request).client_id)
            case Cancel(client_ids):
                for number, order in enumerate(self.true):
                    if order.client_id not in client_ids:
                        continue
                    if not order.is_open:
                        self.tell()  # a cancel that is not done makes the framework ask
                    self.end(number)
            case Check():
                if check:
                    self.tell()
                self.plan = self.plan.checked(self.seen(), is_complete=check)

    def requests(self) -> list[OrderRequest]:
        """Return what the plan has asked for."""
        return [action.request for action in self.actions if isinstance(action, Place)]


def entry(
    size: int = 10, price: str = "0.50", outcome: Outcome = UP, *, post_only: bool = False
) -> OrderRequest:
    """Return a GTC buy."""
    return OrderRequest(outcome, Side.BUY, Decimal(price), Decimal(size), post_only=post_only)


def open_sizes(orders: Iterable[Order]) -> list[Decimal]:
    """Return what is left of open orders."""
    return [order.remaining for order in orders if order.is_open]
