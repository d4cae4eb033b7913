"""No sequence of requests gets past a limit, and none is refused that keeps them all."""

from __future__ import annotations

from decimal import Decimal

import attrs
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.model.events import PriceChanged, TradeReport
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, PlaceResult, Side
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
from polyframe.trading.limits import RiskLimits
from polyframe.trading.risk import RiskGuard
from polyframe.trading.riskfacts import is_reducing, risk_facts
from polyframe.trading.state import CycleState
from tests.support.fake import START, make_market

UP, DOWN = Outcome.UP, Outcome.DOWN
BUY, SELL = Side.BUY, Side.SELL
SERIES = ("btc-updown-15m", "eth-updown-15m")

LIMITS = attrs.evolve(
    RiskLimits.unlimited(),
    max_order_notional=Decimal(12),
    max_order_shares=Decimal(40),
    max_cycle_notional=Decimal(30),
    max_position=Decimal(60),
    max_open_orders=4,
    max_run_notional=Decimal(80),
)


@define
class Sent:
    """One order as the test itself keeps it."""

    market: Market
    client_id: str
    request: OrderRequest
    filled: Decimal = ZERO
    paid: Decimal = ZERO
    is_open: bool = True

    @property
    def rest(self) -> Decimal:
        return self.request.size - self.filled if self.is_open else ZERO

    @property
    def spends(self) -> Decimal:
        """USD paid for shares and still to pay at worst."""
        if self.request.side is SELL:
            return ZERO
        return self.paid + self.rest * self.request.price


@define
class World:
    """Two series under one guard, and plain accounts of all that left."""

    guard: RiskGuard = field(factory=lambda: RiskGuard(LIMITS))
    account: Account = field(factory=lambda: Account(Decimal(10_000)))
    states: dict[str, CycleState] = field(factory=dict)
    sent: list[Sent] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        for series in SERIES:
            self.begin(make_market(series))

    def begin(self, market: Market) -> None:
        """Begin a cycle."""
        state = self.states[str(market.series)] = CycleState(market, self.account)
        self.guard.begin_cycle(state)

    def here(self, series: str) -> list[Sent]:
        """Return the orders of the series' cycle."""
        return [order for order in self.sent if order.market is self.states[series].market]

    def held(self, series: str, outcome: Outcome) -> Decimal:
        """Return the shares held."""
        return sum(
            (
                order.filled if order.request.side is BUY else -order.filled
                for order in self.here(series)
                if order.request.outcome is outcome
            ),
            ZERO,
        )

    def rest(self, series: str, outcome: Outcome, side: Side) -> Decimal:
        """Return the shares that open orders may still buy or sell."""
        return sum(
            (
                order.rest
                for order in self.here(series)
                if (order.request.outcome, order.request.side) == (outcome, side)
            ),
            ZERO,
        )

    def keeps_limits(self, series: str, request: OrderRequest) -> bool:
        """Return whether all limits are kept if `request` leaves, by the test's own accounts."""
        notional = request.price * request.size
        buys = request.side is BUY
        return (
            notional <= 12
            and request.size <= 40
            and sum(o.spends for o in self.here(series)) + (notional if buys else 0) <= 30
            and sum(o.spends for o in self.sent) + (notional if buys else 0) <= 80
            and self.held(series, request.outcome)
            + self.rest(series, request.outcome, BUY)
            + (request.size if buys else 0)
            <= 60
            and sum(o.is_open for o in self.here(series)) + 1 <= 4
        )

    def reduces(self, series: str, request: OrderRequest) -> bool:
        """Return whether `request` reduces a risk, by the test's own accounts."""
        outcome = request.outcome
        if request.side is SELL:
            free = self.held(series, outcome) - self.rest(series, outcome, SELL)
            return request.size <= free
        other = self.held(series, outcome.other) - self.rest(series, outcome.other, SELL)
        own = self.held(series, outcome) + self.rest(series, outcome, BUY)
        return request.size <= other - own

    # ------------------------------------------------------------------ what happens

    def place(self, series: str, request: OrderRequest) -> None:
        """Ask for an order; send it if it may go."""
        state = self.states[series]
        market = state.market
        quote = PriceChanged(
            slug=market.slug,
            generation=market.generation,
            outcome=request.outcome,
            bid=None,
            ask=None,
            bid_size=None,
            ask_size=None,
            known=True,
            timestamp_ms=0,
            received=0.0,
        )
        facts = risk_facts(state, "me", request, quote, time=START, network_time=0.0)
        reduces = self.reduces(series, request)
        assert is_reducing(request, facts) is reduces
        denied = self.guard.check("me", request, facts)
        if reduces:
            assert denied is None
        else:
            assert (denied is None) is self.keeps_limits(series, request), (denied, facts)
        if denied is not None:
            return
        client_id = f"{market.slug}-{len(self.sent)}"
        reply = state.apply(
            PlaceOrder(
                generation=market.generation,
                client_id=client_id,
                venue_id=f"0x{client_id}",
                strategy="me",
                token=market.token(request.outcome),
                request=request,
                now_ms=0,
            )
        )
        if isinstance(reply, Applied):
            self.guard.admit(client_id, "me", request, facts)
            self.sent.append(Sent(market, client_id, request))
            state.apply(ApplyPlaceAnswer(market.generation, client_id, PlaceResult.LIVE))
            self.guard.answered({client_id: (PlaceResult.LIVE, "")}, 0.0)
        else:
            # The engine has the last word: nothing but a sell of what is not there gets that far.
            assert request.side is SELL
            assert not reduces

    def fill(self, order: Sent, part: Decimal, better: Decimal) -> None:
        """Let a part of the rest be filled, at the limit or better."""
        size = (order.rest * part).quantize(Decimal("0.01"))
        if size <= 0 or (order.request.side is SELL and order.rest < size):
            return
        request, market = order.request, order.market
        price = request.price - better if request.side is BUY else request.price
        token = market.token(request.outcome)
        leg = TradeLeg(f"0x{order.client_id}", token, request.side, price, size, False)
        report = TradeReport(
            trade_id=f"t{order.client_id}-{order.filled}",
            market=market.condition_id,
            token=token,
            status=TradeStatus.MATCHED,
            legs=(leg,),
        )
        state = self.states[str(market.series)]
        assert isinstance(state.apply(ApplyTradeReport(market.generation, report, 0)), Applied)
        order.filled += size
        order.paid += size * price
        order.is_open = order.filled < request.size

    def cancel(self, order: Sent) -> None:
        """Cancel an order."""
        generation = order.market.generation
        state = self.states[str(order.market.series)]
        state.apply(CancelOrder(generation, order.client_id, 0))
        state.apply(ApplyCancelAnswer(generation, order.client_id, True))
        order.is_open = False

    def switch(self, series: str) -> None:
        """Go over to the next market; what was open stays as it is."""
        old = self.states[series]
        self.guard.end_cycle(old)
        self.begin(make_market(series, old.market.window.end))


prices = st.sampled_from([Decimal(f"0.{n}") for n in (10, 20, 30, 40, 50, 90)])
sizes = st.sampled_from([Decimal(n) for n in (5, 10, 10, 20, 20, 30, 41)])
requests = st.builds(
    OrderRequest,
    st.sampled_from([UP, DOWN]),
    st.sampled_from([BUY, BUY, BUY, SELL]),
    prices,
    sizes,
)
places = st.tuples(st.just("place"), st.sampled_from(SERIES), requests)
fills = st.tuples(
    st.just("fill"),
    st.integers(0, 3),
    st.sampled_from([Decimal("0.5"), Decimal(1)]),
    st.sampled_from([ZERO, Decimal("0.05")]),
)
cancels = st.tuples(st.just("cancel"), st.integers(0, 3))
switches = st.tuples(st.just("switch"), st.sampled_from(SERIES))
steps = st.sampled_from([places] * 6 + [fills] * 5 + [cancels] * 2 + [switches]).flatmap(
    lambda s: s
)


@settings(max_examples=100, deadline=None)
@given(script=st.lists(steps, min_size=30, max_size=90))
def test_exactly_what_keeps_the_limits_passes(script: list[tuple[object, ...]]) -> None:
    """An entry passes if and only if all limits are kept with it, and reducing orders always pass.

    Whatever was placed, filled, cancelled and switched before in two series; what is spent, held and
    open the test works out by itself.
    """
    world = World()
    for step in script:
        match step:
            case ("place", str(series), OrderRequest() as request):
                world.place(series, request)
            case ("switch", str(series)):
                world.switch(series)
            case (str(kind), int(which), *more):
                alive = [
                    order
                    for order in world.sent
                    if order.is_open
                    and order.market is world.states[str(order.market.series)].market
                ]
                if which >= len(alive):
                    continue
                if kind == "cancel":
                    world.cancel(alive[which])
                else:
                    part, better = more
                    assert isinstance(part, Decimal)
                    assert isinstance(better, Decimal)
                    world.fill(alive[which], part, better)
