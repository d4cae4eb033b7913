"""No sequence of orders gets past the guards of a strategy, and none is refused that keeps them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.model.events import PriceChanged, TradeReport
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.trading.account import Account
from polyframe.trading.commands import (
    Applied,
    ApplyCancelAnswer,
    ApplyPlaceAnswer,
    ApplyTradeReport,
    CancelOrder,
    PlaceOrder,
)
from polyframe.trading.guards import Call, EntryBook, EntryGuards
from polyframe.trading.state import CycleState
from tests.support.fake import START, make_market

UP, DOWN = Outcome.UP, Outcome.DOWN
BUY, SELL = Side.BUY, Side.SELL

LIMITS: dict[str, Any] = {
    "max_entries": 3,
    "cool_down": 5.0,
    "max_unhedged": Decimal(30),
    "max_unhedged_seconds": 40.0,
    "max_budget": Decimal(20),
    "min_price": Decimal("0.15"),
    "max_price": Decimal("0.60"),
}
ANY = float("inf")
ASK = Decimal("0.50")


@define(eq=False)
class Sent:
    """One order as the test itself keeps it."""

    client_id: str
    strategy: str
    request: OrderRequest
    call: object
    time: float
    is_entry: bool
    reach: Decimal
    filled: Decimal = ZERO
    paid: Decimal = ZERO
    is_open: bool = True

    @property
    def rest(self) -> Decimal:
        """Shares still to come, at the most."""
        if not self.is_open:
            return ZERO
        return max(self.request.size, self.reach) - self.filled

    @property
    def spends(self) -> Decimal:
        """USD paid for shares and still to pay."""
        open_shares = max(self.request.size - self.filled, ZERO) if self.is_open else ZERO
        return self.paid + open_shares * self.request.price


@define
class World:
    """One cycle with a guarded strategy and one that is not, and plain accounts of what left."""

    guards: EntryGuards
    book: EntryBook = field(factory=EntryBook)
    state: CycleState = field(
        factory=lambda: CycleState(make_market("btc-updown-15m"), Account(Decimal(10_000)))
    )
    sent: list[Sent] = field(factory=list)
    now: float = START + 100.0
    unhedged_since: float | None = None
    calls: int = 0

    def __attrs_post_init__(self) -> None:
        self.book.set("me", self.guards)

    def mine(self, side: Side, outcome: Outcome | None = None) -> list[Sent]:
        """Return the guarded strategy's orders."""
        return [
            order
            for order in self.sent
            if order.strategy == "me"
            and order.request.side is side
            and outcome in (None, order.request.outcome)
        ]

    def held(self, outcome: Outcome) -> Decimal:
        """Return its shares."""
        bought = sum((order.filled for order in self.mine(BUY, outcome)), ZERO)
        return bought - sum((order.filled for order in self.mine(SELL, outcome)), ZERO)

    def free(self, outcome: Outcome) -> Decimal:
        """Return its shares that are not on offer."""
        return self.held(outcome) - sum((o.rest for o in self.mine(SELL, outcome)), ZERO)

    def alone(self, outcome: Outcome) -> Decimal:
        """Return the shares that may come to be without a partner."""
        coming = sum((order.rest for order in self.mine(BUY, outcome)), ZERO)
        return self.held(outcome) + coming - self.free(outcome.other)

    def entries(self, call: object = None) -> set[object]:
        """Return its entries that got something or may, with another one."""
        entries = {o.call for o in self.mine(BUY) if o.is_entry and (o.is_open or o.filled)}
        return entries if call is None else entries | {call}

    # ------------------------------------------------------------------ what happens

    def place(self, strategy: str, wanted: list[OrderRequest], is_one: bool) -> None:
        """Ask for orders of one call, each judged as if those before it were placed."""
        call, self.calls = Call(is_one), self.calls + 1
        for number, request in enumerate(wanted):
            label = self.calls if is_one else (self.calls, number)
            self._place(strategy, request, call, label)

    def _place(self, strategy: str, request: OrderRequest, call: Call, label: object) -> None:
        quote = PriceChanged(
            slug=self.state.market.slug,
            generation=self.state.generation,
            outcome=request.outcome,
            bid=ASK - Decimal("0.01"),
            ask=ASK,
            bid_size=Decimal(99),
            ask_size=Decimal(99),
            known=True,
            timestamp_ms=0,
            received=0.0,
        )
        asked = (strategy, request, self.state, quote, self.now, call)
        denied = self.book.check(*asked)
        reach = request.most_shares(ASK)
        completes = reach + self.alone(request.outcome) <= 0
        is_entry = strategy == "me" and request.side is BUY and not completes
        if not is_entry:
            assert denied is None, denied
        else:
            assert (denied is None) is self._keeps(request, reach, label), denied
        if denied is not None:
            assert denied.rule.startswith("guard_")
            return
        market = self.state.market
        client_id = f"order-{len(self.sent)}"
        self.book.admit(client_id, *asked)
        reply = self.state.apply(
            PlaceOrder(
                generation=market.generation,
                client_id=client_id,
                venue_id=f"0x{client_id}",
                strategy=strategy,
                token=market.token(request.outcome),
                request=request,
                now_ms=int(self.now * 1000),
            )
        )
        if not isinstance(reply, Applied):
            assert request.side is SELL  # of what is not there
            return
        self.sent.append(Sent(client_id, strategy, request, label, self.now, is_entry, reach))
        self.check()

    def _keeps(self, request: OrderRequest, reach: Decimal, label: object) -> bool:
        """Return whether all guards are kept if this entry leaves, by the test's own accounts."""
        first = label[0] if isinstance(label, tuple) else label
        before = [
            o.time
            for o in self.mine(BUY)
            if o.is_entry and (o.call[0] if isinstance(o.call, tuple) else o.call) != first
        ]
        waited = not before or self.now - max(before) >= 5
        since = self.unhedged_since
        hedged = since is None or self.now - since < 40
        spent = sum((o.spends for o in self.mine(BUY)), ZERO) + request.price * request.size
        guards = self.guards
        return (
            (guards.cool_down is None or waited)
            and (guards.max_unhedged_seconds is None or hedged)
            and len(self.entries(label)) <= (guards.max_entries or ANY)
            and spent <= (guards.max_budget or ANY)
            and reach + self.alone(request.outcome) <= (guards.max_unhedged or ANY)
            and (guards.min_price or 0) <= min(request.price, ASK)
            and request.price <= (guards.max_price or 1)
        )

    def check(self) -> None:
        """Assert what the guards promise, however the orders are filled from here."""
        assert len(self.entries()) <= (self.guards.max_entries or ANY)
        spent = sum((o.spends for o in self.mine(BUY) if o.is_entry), ZERO)
        assert spent <= (self.guards.max_budget or ANY)

    def answer(self, order: Sent, result: PlaceResult) -> None:
        """Let the venue answer."""
        generation = self.state.generation
        self.state.apply(ApplyPlaceAnswer(generation, order.client_id, result, "no", "", 0))
        order.is_open &= result is not PlaceResult.REJECTED

    def fill(self, order: Sent, part: Decimal) -> None:
        """Let a part of the rest be filled at the limit."""
        request, market = order.request, self.state.market
        rest = max(request.size - order.filled, ZERO)
        size = (rest * part).quantize(Decimal("0.01"))
        if size <= 0 or not order.is_open:
            return
        token = market.token(request.outcome)
        leg = TradeLeg(
            f"0x{order.client_id}", token, request.side, request.price, size, is_taker=False
        )
        report = TradeReport(
            trade_id=f"t{order.client_id}-{order.filled}",
            market=market.condition_id,
            token=token,
            status=TradeStatus.MATCHED,
            legs=(leg,),
            match_time_ms=int(self.now * 1000),
        )
        assert isinstance(self.state.apply(ApplyTradeReport(market.generation, report, 0)), Applied)
        order.filled += size
        order.paid += size * request.price
        order.is_open = order.filled < request.size
        apart = abs(self.held(UP) - self.held(DOWN)) >= market.min_size
        if order.strategy == "me":
            if not apart:
                self.unhedged_since = None
            elif self.unhedged_since is None:
                self.unhedged_since = self.now
        self.check()

    def cancel(self, order: Sent) -> None:
        """Cancel an order."""
        generation = self.state.generation
        self.state.apply(CancelOrder(generation, order.client_id, 0))
        self.state.apply(ApplyCancelAnswer(generation, order.client_id, True))
        order.is_open = False


prices = st.sampled_from([Decimal(f"0.{n}") for n in (10, 20, 20, 30, 40, 60, 70)])
sizes = st.sampled_from([Decimal(n) for n in (5, 10, 10, 20, 20, 31)])
requests = st.builds(
    OrderRequest,
    st.sampled_from([UP, DOWN]),
    st.sampled_from([BUY, BUY, BUY, SELL]),
    prices,
    sizes,
    st.sampled_from([OrderType.GTC, OrderType.GTC, OrderType.FAK]),
)
places = st.tuples(
    st.just("place"),
    st.sampled_from(["me", "me", "me", "other"]),
    st.lists(requests, min_size=1, max_size=3),
    st.booleans(),
)
fills = st.tuples(
    st.just("fill"), st.integers(0, 3), st.sampled_from([Decimal("0.5"), Decimal(1), Decimal(1)])
)
others = st.tuples(st.sampled_from(["cancel", "refuse"]), st.integers(0, 3))
waits = st.tuples(st.just("wait"), st.sampled_from([1.0, 6.0, 25.0]))
steps = st.sampled_from([places] * 4 + [fills] * 4 + [others] + [waits] * 2).flatmap(lambda s: s)


@pytest.mark.parametrize("names", [*((name,) for name in LIMITS), tuple(LIMITS)], ids="+".join)
@settings(max_examples=12, deadline=None)
@given(script=st.lists(steps, min_size=20, max_size=60))
def test_exactly_what_keeps_the_guards_passes(
    names: tuple[str, ...], script: list[tuple[object, ...]]
) -> None:
    """An entry passes if and only if every guard is kept with it, whatever of it fills later.

    Also while others are in flight, several at once, next to a strategy without guards; what is spent,
    held and open the test works out by itself.
    """
    world = World(EntryGuards(**{name: LIMITS[name] for name in names}))
    for step in script:
        opened = [order for order in world.sent if order.is_open]
        match step:
            case ("place", str(strategy), list(wanted), bool(is_one)):
                world.place(strategy, wanted, is_one)
            case ("wait", float(seconds)):
                world.now += seconds
            case ("fill", int(number), Decimal() as part) if opened:
                world.fill(opened[number % len(opened)], part)
            case ("cancel", int(number)) if opened:
                world.cancel(opened[number % len(opened)])
            case ("refuse", int(number)) if opened:
                order = opened[number % len(opened)]
                if not order.filled:
                    world.answer(order, PlaceResult.REJECTED)
