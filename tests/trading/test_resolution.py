"""The end of a market: orders end, positions pay, and what comes late is still booked exactly."""

from __future__ import annotations

import pytest

from polyframe.model.order import OrderStatus
from polyframe.model.trade import TradeStatus
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
    denied,
    ignored,
    kinds,
)

S = OrderStatus
T = TradeStatus


def bought(size: str = "10", price: str = "0.4") -> Desk:
    """Return a desk whose strategy alpha holds Up shares from a maker order."""
    desk = Desk()
    desk.live("c1", BUY, price, size)
    applied(desk.trade("t1", desk.leg("v1", size, price)))
    return desk


def test_winning_shares_pay_one_dollar_each_as_a_claim() -> None:
    """The payout is claimable, not cash, until it is redeemed."""
    desk = bought()
    assert desk.state.profit() is None
    assert applied(desk.resolve(UP)).changes == ()
    assert (desk.state.winner, desk.state.payout) == (UP, dec("10"))
    assert (desk.account.cash, desk.account.claimable) == decs("996", "10")
    assert desk.state.profit() == 6
    position = desk.state.position(UP, "alpha")
    assert (position.size, position.cost, position.realised) == decs("0", "0", "6")


def test_losing_shares_pay_nothing() -> None:
    """Their cost is the loss."""
    desk = bought()
    desk.resolve(DOWN)
    assert (desk.state.payout, desk.account.claimable) == decs("0", "0")
    assert desk.state.profit() == desk.state.realised == -4


def test_open_orders_end_with_their_market() -> None:
    """Everything that they hold is released, and each end is told."""
    desk = bought()
    desk.live("c2", BUY)
    desk.live("c3", SELL, "0.9", "10")
    applied(desk.place("c4"))
    desk.report("x1", PLACEMENT)
    assert kinds(desk.resolve()) == ["order expired"] * 4
    assert desk.order("c2").reason == "market resolved"
    assert desk.account.reserved == desk.state.reserved_cash == 0
    assert desk.state.open_orders() == ()


def test_matches_that_were_never_reported_hold_nothing_after_the_end() -> None:
    """A resolved market holds no cash, though the cycle is not settled yet."""
    desk = Desk()
    desk.live()
    desk.report("v1", CANCELLATION, "CANCELED", "6")
    assert desk.account.reserved > 0
    desk.resolve()
    assert desk.account.reserved == 0
    assert not desk.state.is_settled
    desk.trade("t1", desk.leg("v1", "6"), status=T.CONFIRMED)
    assert desk.state.is_settled
    assert desk.state.payout == 6


def test_a_market_is_resolved_once() -> None:
    """A repeat and a contradiction change nothing."""
    desk = bought()
    desk.resolve(UP)
    assert ignored(desk.resolve(UP)) == "duplicate"
    assert ignored(desk.resolve(DOWN)) == "conflict"
    assert (desk.state.winner, desk.account.claimable) == (UP, dec("10"))


def test_nothing_is_placed_in_a_resolved_market() -> None:
    """The denial says who won."""
    desk = bought()
    desk.resolve(UP)
    denial = denied(desk.place("c2"))
    assert (denial.rule, "Up won" in denial.text) == ("resolved", True)
    assert desk.account.reserved == 0


def test_late_fills_change_the_payout_too() -> None:
    """A fill that is reported after the end costs cash and brings its claim."""
    desk = Desk()
    desk.live("c1", BUY, "0.4")
    desk.resolve(UP)
    assert kinds(desk.trade("t1", desk.leg("v1", "10", "0.4"))) == [
        "trade MATCHED",
        "order expired",
    ]
    assert desk.order("c1").filled == 10
    assert (desk.account.cash, desk.account.claimable) == decs("996", "10")
    assert desk.state.profit() == desk.state.realised == 6
    assert desk.account.reserved == 0


def test_a_late_sell_of_winning_shares_takes_its_claim_back() -> None:
    """Shares that were sold before the end do not pay."""
    desk = bought()
    desk.live("c2", SELL, "0.6", "4")
    desk.resolve(UP)
    desk.trade("t2", desk.leg("v2", "4", "0.6", SELL))
    assert (desk.state.payout, desk.account.claimable) == decs("6", "6")
    assert desk.state.profit() == desk.state.realised == dec("4.4")


@pytest.mark.parametrize("redeemed", ["0", "7", "10"])
def test_a_failure_after_the_end_takes_the_claim_back(redeemed: str) -> None:
    """What was redeemed of it already comes out of the cash: all is as if it had never been."""
    desk = bought()
    desk.resolve(UP)
    desk.account.redeem(dec(redeemed))
    desk.trade("t1", desk.leg("v1", "10", "0.4"), status=T.FAILED)
    assert (desk.account.cash, desk.account.claimable) == decs("1000", "0")
    assert (desk.state.payout, desk.state.profit()) == (dec("0"), dec("0"))
    assert desk.state.realised == 0


def test_a_late_settlement_is_still_noted() -> None:
    """The cycle is settled when its last fill is final."""
    desk = bought()
    desk.resolve(UP)
    assert not desk.state.is_settled
    assert kinds(desk.trade("t1", desk.leg("v1", "10", "0.4"), status=T.CONFIRMED)) == [
        "trade CONFIRMED"
    ]
    assert desk.state.is_settled


def test_shares_that_somebody_else_sold_do_not_pay() -> None:
    """The account holds 10 and another program sold 4 of them: 6 pay."""
    desk = bought()
    desk.trade("t2", desk.leg("x1", "4", "0.5", SELL))
    desk.resolve(UP)
    assert desk.state.payout == 6
    assert desk.state.position(UP, "alpha").realised == 6
    assert desk.state.position(UP, "").realised == -2
    assert desk.state.profit() == desk.state.realised == 4


def test_a_payout_is_never_negative() -> None:
    """Shares sold that we never saw come in were somebody's before: they owe nothing."""
    desk = Desk()
    desk.trade("t1", desk.leg("x1", "4", "0.5", SELL))
    desk.resolve(UP)
    assert (desk.state.payout, desk.account.claimable) == decs("0", "0")
    assert desk.state.profit() == desk.state.realised == 2


def test_several_shortfalls_take_no_more_than_there_is() -> None:
    """Alpha holds 5, two others sold 4 each that they did not have: nothing is left to pay."""
    desk = bought("5")
    desk.live("c2", BUY, "0.4", "4", strategy="beta")
    desk.trade("t2", desk.leg("v2", "4", "0.4"))
    desk.live("c3", SELL, "0.5", "4", strategy="beta")
    desk.trade("t3", desk.leg("v3", "4", "0.5", SELL))
    desk.trade("t2", desk.leg("v2", "4", "0.4"), status=T.FAILED)
    desk.trade("t4", desk.leg("x1", "4", "0.5", SELL))
    assert desk.state.shortfall == 8
    desk.resolve(UP)
    assert (desk.state.payout, desk.account.claimable) == decs("0", "0")
    assert desk.state.profit() == desk.state.realised == 2


def test_foreign_orders_of_a_resolved_market_are_over() -> None:
    """A report that comes late tracks the order, but never as an open one."""
    desk = Desk()
    desk.resolve(UP)
    assert kinds(desk.report("x1", PLACEMENT)) == ["order expired"]
    assert kinds(desk.trade("t1", desk.leg("x2", "4"))) == ["trade MATCHED", "order expired"]
    assert desk.order("x2").reason == "market resolved"
    assert desk.state.open_orders() == ()
    assert desk.state.payout == 4


def test_a_cycle_is_settled_only_when_nothing_can_come() -> None:
    """An open order, a fill under way or a match without its trade keep it unsettled."""
    desk = Desk()
    assert desk.state.is_settled
    desk.live()
    assert not desk.state.is_settled
    desk.trade("t1", desk.leg("v1"))
    assert not desk.state.is_settled
    desk.trade("t1", desk.leg("v1"), status=T.CONFIRMED)
    assert desk.state.is_settled
    desk.live("c2")
    desk.trade("t2", desk.leg("v2"), status=T.FAILED)
    assert desk.state.is_settled


def test_what_happened_is_in_one_snapshot() -> None:
    """The snapshot agrees with every single question."""
    desk = bought()
    desk.live("c2")
    desk.report("x1", UPDATE)
    desk.trade("t2", desk.leg("x1", "2", "0.5", BUY, taker=True))
    state, snapshot = desk.state, desk.state.snapshot()
    assert snapshot.orders == tuple(state.orders.values())
    assert [order.client_id for order in snapshot.open_orders] == ["c2", "x1"]
    assert snapshot.positions == (
        ("", state.position(UP, "")),
        ("alpha", state.position(UP, "alpha")),
    )
    assert snapshot.fills == tuple(state.fills.values())
    assert snapshot.reserved == desk.account.reserved == state.reservation("c2")
    assert snapshot.volume == state.volume == 5
    assert snapshot.fees == state.fees == dec("0.035")
    assert snapshot.cash_flow == state.cash_flow == dec("-5.035")
    assert snapshot.sequence == state.sequence
    assert (snapshot.winner, snapshot.payout, snapshot.shortfalls) == (None, dec("0"), ())
    assert "2 open of 3 orders, 2 fills" in repr(state)
