"""What a change tells: the state before it, whose share it is, and what reports cannot change."""

from __future__ import annotations

import pytest

from polyframe.model.events import OrderChanged
from polyframe.model.market import Outcome
from polyframe.model.order import OrderStatus, Side
from polyframe.model.trade import TradeStatus
from polyframe.trading.account import Stock
from polyframe.trading.commands import Applied, ExpireOrder
from tests.trading.builders import (
    BUY,
    CANCELLATION,
    DOWN,
    PLACEMENT,
    SELL,
    UP,
    UPDATE,
    Desk,
    applied,
    dec,
    decs,
    ignored,
)

S = OrderStatus


def steps(reply: Applied) -> list[tuple[OrderStatus | None, OrderStatus]]:
    """Return from which state to which the orders went."""
    return [
        (change.previous, change.order.status)
        for change in reply.changes
        if isinstance(change, OrderChanged)
    ]


def test_each_change_of_an_order_tells_the_state_before() -> None:
    """Whatever changed it: an answer, a report, a fill, a cancel. Only its birth has none before."""
    desk = Desk()
    assert [(None, S.SUBMITTING)] == steps(applied(desk.place()))
    assert [(S.SUBMITTING, S.LIVE)] == steps(applied(desk.answer("c1", "live")))
    first = applied(desk.trade("t1", desk.leg("v1", "4")))
    assert [(S.LIVE, S.PARTIALLY_FILLED)] == steps(first)
    second = applied(desk.trade("t2", desk.leg("v1", "2")))
    assert [(S.PARTIALLY_FILLED, S.PARTIALLY_FILLED)] == steps(second)
    assert [(S.PARTIALLY_FILLED, S.CANCELLING)] == steps(applied(desk.cancel()))
    end = applied(desk.report("v1", CANCELLATION, "CANCELED", "6"))
    assert [(S.CANCELLING, S.CANCELLED)] == steps(end)
    failed = applied(desk.trade("t1", desk.leg("v1", "4"), status=TradeStatus.FAILED))
    assert [(S.CANCELLED, S.CANCELLED)] == steps(failed)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_foreign_order_is_of_the_outcome_of_its_token(outcome: Outcome) -> None:
    """Heard of by a report or by a fill: the token says whose share it is."""
    desk = Desk()
    token = desk.state.market.token(outcome)
    assert [(None, S.LIVE)] == steps(applied(desk.report("v8", PLACEMENT, token=token)))
    born = applied(desk.trade("t1", desk.leg("v9", "4", outcome=outcome)))
    assert None is steps(born)[0][0]
    assert [outcome, outcome] == [desk.order(name).outcome for name in ("v8", "v9")]
    assert dec("4") == desk.state.position(outcome).size
    assert 0 == desk.state.position(outcome.other).size


def test_a_report_does_not_change_what_we_have_asked_for() -> None:
    """Size and price of our order are ours, whatever a report says, or leaves out."""
    desk = Desk()
    desk.live("c1")
    desk.report("v1", UPDATE, price="0.49", size="7")
    desk.report("v1", UPDATE, price=None, size=None)
    order = desk.order("c1")
    assert (order.price, order.size, order.status) == (*decs("0.5", "10"), S.LIVE)


def test_an_order_that_expires_is_over() -> None:
    """It has the words that it was given and holds nothing; an end before it stays."""
    desk = Desk()
    desk.live("c1")
    desk.live("c2")
    applied(desk.cancel_answer("c2", cancelled=True))

    def expire(client_id: str) -> ExpireOrder:
        return ExpireOrder(desk.generation, client_id, "given up", 99)

    assert [(S.LIVE, S.EXPIRED)] == steps(applied(desk.submit(expire("c1"))))
    assert "given up" == desk.order("c1").reason
    assert 0 == desk.account.reserved
    assert "final" == ignored(desk.submit(expire("c2")))
    assert "final" == ignored(desk.submit(expire("c1")))
    assert "unknown_order" == ignored(desk.submit(expire("c3")))
    assert S.CANCELLED is desk.status("c2")


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize("taker", [False, True])
def test_a_trade_that_is_in_the_count_moves_no_cash(side: Side, taker: bool) -> None:
    """Bought or sold, with a fee or without: the count has it. If it fails its money comes back."""
    desk = Desk()
    desk.adjust("10", strategy="")
    desk.account.take_stock(Stock(dec("500"), frozenset({"t1"})))
    leg = desk.leg("v9", "4", side=side, taker=taker)
    applied(desk.trade("t1", leg))
    assert dec("500") == desk.account.cash
    assert dec("14" if side is BUY else "6") == desk.state.position(UP).size
    fee = dec("0.07") if taker else dec("0")
    assert desk.state.cash_flow == (dec("-2") if side is BUY else dec("2")) - fee
    applied(desk.trade("t1", leg, status=TradeStatus.FAILED))
    assert desk.account.cash == dec("500") + (dec("2") if side is BUY else dec("-2")) + fee
    assert dec("10") == desk.state.position(UP).size
    assert 0 == desk.state.position(DOWN).size
