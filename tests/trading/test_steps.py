"""What is done in short for every step of an order comes to the same as the long way."""

from __future__ import annotations

from decimal import Decimal

from attrs import asdict, evolve, fields
from hypothesis import given

from polyframe.model.events import OrderEventKind
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderStatus, OrderType, Side
from polyframe.trading.account import Account
from polyframe.trading.commands import CycleCommand
from polyframe.trading.state import CycleState
from tests.trading.builders import G1, Desk, dec, make_market
from tests.trading.scripts import commands, opening, scripts

CASH = dec("100")


def test_a_step_changes_state_reason_and_time_and_nothing_else() -> None:
    """Each other field is that of the order before, none is forgotten."""
    order = Order(
        client_id="c1",
        venue_id="v1",
        generation=G1,
        slug="a market",
        token="a token",
        strategy="alpha",
        outcome=Outcome.DOWN,
        side=Side.SELL,
        price=dec("0.41"),
        size=dec("12"),
        order_type=OrderType.GTD,
        post_only=True,
        status=OrderStatus.LIVE,
        filled=dec("5"),
        matched=dec("6"),
        average_price=dec("0.42"),
        fees=dec("0.01"),
        reason="none yet",
        created_ms=1,
        updated_ms=2,
        intent="leave",
    )
    defaults = {field.name: field.default for field in fields(Order)}
    assert all(value != defaults[name] for name, value in asdict(order).items())
    stepped = order.stepped(OrderStatus.CANCELLED, "by hand", 3)
    assert stepped == evolve(order, status=OrderStatus.CANCELLED, reason="by hand", updated_ms=3)


def asked(state: CycleState) -> list[object]:
    """Return what orders hold and may still do."""
    return [
        state.snapshot(),
        state.account.reserved,
        state.cost_to_come,
        state.open_count,
        state.is_settled,
        state.in_motion,
        [state.to_come(name) for name in state.orders],
        [state.awaits_trades(name) for name in state.orders],
        [state.shares_to_come(side, outcome) for side in Side for outcome in Outcome],
        [state.shares_on_offer(outcome, "alpha") for outcome in Outcome],
    ]


@given(scripts(commands(G1), 30))
def test_what_an_order_holds_is_what_it_would_be_if_worked_out_at_each_step(
    script: list[CycleCommand],
) -> None:
    """Also where a step changes nothing of it, and nothing is worked out."""
    short, long = (CycleState(make_market(G1), Account(CASH)) for _ in range(2))
    for command in (*opening(G1), *script):
        long._table._held_for.clear()
        assert short.apply(command) == long.apply(command)
        assert asked(short) == asked(long)


@given(scripts(commands(G1), 30))
def test_sums_of_a_cycle_are_those_of_its_positions(script: list[CycleCommand]) -> None:
    """Shares, fees and profit, before and after the resolution."""
    state = CycleState(make_market(G1), Account(CASH))
    for command in (*opening(G1), *script):
        state.apply(command)
        positions = state.snapshot().positions
        assert state.fees == sum((one.fees for _, one in positions), ZERO)
        assert state.realised == sum((one.realised for _, one in positions), ZERO)
        for outcome in Outcome:
            assert state.held(outcome) == state.position(outcome).size
            for strategy in ("alpha", "beta", ""):
                held = state.held(outcome, strategy)
                assert held == state.position(outcome, strategy).size


def test_cash_that_was_given_back_is_held_again_at_the_next_step() -> None:
    """Who is heard of after all can cost what it could before."""
    state = CycleState(make_market(G1), Account(CASH))
    for command in opening(G1):
        state.apply(command)
    (order, *_) = (order for order in state.open_orders() if state.reservation(order.client_id))
    held = state.reservation(order.client_id)
    state.forsake()
    assert state.reservation(order.client_id) == Decimal(0)
    state._table.refresh(order, 9)
    assert state.reservation(order.client_id) == held


def test_an_order_whose_size_becomes_known_may_fill_that_much() -> None:
    """Of a foreign order only a fill was seen, until a report tells the rest."""
    desk = Desk()
    desk.trade("t1", desk.leg("x1", "4"))
    assert desk.state.shares_to_come(Side.BUY, Outcome.UP) == 0
    desk.report("x1", OrderEventKind.UPDATE, matched="0")
    assert desk.state.shares_to_come(Side.BUY, Outcome.UP) == dec("6")
