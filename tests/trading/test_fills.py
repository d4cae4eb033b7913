"""Trades: which legs count, what they do to cash and positions, and how it is taken back."""

from __future__ import annotations

import pytest

from polyframe.model.events import TradeChanged
from polyframe.model.order import OrderStatus
from polyframe.model.trade import TradeStatus
from polyframe.trading.commands import Applied
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

# ------------------------------------------------------------------------------- booking


@pytest.mark.parametrize("status", [T.MATCHED, T.RETRYING, T.MINED, T.CONFIRMED])
def test_the_first_sight_of_a_trade_applies_it(status: TradeStatus) -> None:
    """Any status but FAILED may be the first one that is seen."""
    desk = Desk()
    desk.live()
    reply = desk.trade("t1", desk.leg("v1", "4", "0.48"), status=status)
    assert kinds(reply) == [f"trade {status}", "order partially_filled"]
    position = desk.state.position(UP, "alpha")
    assert (position.size, position.cost) == decs("4", "1.92")
    assert position.settled == (4 if status is T.CONFIRMED else 0)
    assert desk.account.cash == dec("998.08")
    assert desk.state.cash_flow == dec("-1.92")
    assert desk.state.fills["t1", "c1"].time_ms == 7


def test_a_taker_pays_the_fee_on_top_of_a_buy() -> None:
    """10 shares at 0.50 cost 5 USD and 0.175 of fee, which is no cost of the position."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", taker=True))
    position = desk.state.position(UP, "alpha")
    assert (position.cost, position.fees, desk.state.fees) == decs("5", "0.175", "0.175")
    assert desk.order("c1").fees == desk.state.fills["t1", "c1"].fee == dec("0.175")
    assert (desk.account.cash, desk.account.reserved) == decs("994.825", "0")


def test_a_taker_pays_the_fee_out_of_the_proceeds_of_a_sell() -> None:
    """Selling realises the difference to the mean cost; the fee is kept apart."""
    desk = Desk()
    desk.adjust("10", "-4")
    desk.live("c1", SELL)
    desk.trade("t1", desk.leg("v1", "5", "0.5", SELL, taker=True))
    position = desk.state.position(UP, "alpha")
    assert (position.size, position.cost, position.realised) == decs("5", "2", "0.5")
    assert position.fees == dec("0.0875")
    assert desk.account.cash == dec("1000") - 4 + dec("2.5") - dec("0.0875")


def test_makers_pay_nothing() -> None:
    """Only the order that crossed the spread is charged."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1"))
    assert desk.state.fees == 0
    assert desk.account.cash == 995


def test_the_same_trade_again_changes_nothing() -> None:
    """A fill is keyed by trade and order: duplicates and earlier statuses are ignored."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", "4"), status=T.MINED)
    for status in (T.MINED, T.MATCHED, T.RETRYING):
        assert ignored(desk.trade("t1", desk.leg("v1", "4"), status=status)) == "duplicate"
    assert desk.order("c1").filled == 4
    applied(desk.trade("t2", desk.leg("v1", "4")))
    assert desk.order("c1").filled == 8


def test_later_statuses_only_settle() -> None:
    """MINED and CONFIRMED move no cash; CONFIRMED makes the shares settled."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", "4"))
    cash = desk.account.cash
    assert kinds(desk.trade("t1", desk.leg("v1", "4"), status=T.MINED)) == ["trade MINED"]
    assert desk.state.position(UP, "alpha").settled == 0
    reply = applied(desk.trade("t1", desk.leg("v1", "4"), status=T.CONFIRMED))
    change = reply.changes[0]
    assert isinstance(change, TradeChanged)
    assert (change.fill.status, change.previous) == (T.CONFIRMED, T.MINED)
    assert desk.state.position(UP, "alpha").settled == 4
    assert desk.account.cash == cash


def test_a_retried_trade_may_still_be_mined() -> None:
    """RETRYING comes before MINED, each of them is told once."""
    desk = Desk()
    desk.live()
    told = [
        kinds(desk.trade("t1", desk.leg("v1", "4"), status=status))[0]
        for status in (T.MATCHED, T.RETRYING, T.MINED, T.CONFIRMED)
    ]
    assert told == ["trade MATCHED", "trade RETRYING", "trade MINED", "trade CONFIRMED"]


def test_shares_sold_are_taken_from_the_settled_ones() -> None:
    """What is left to count on is what is confirmed less everything sold."""
    desk = Desk()
    desk.adjust("10")
    desk.live("c1", BUY)
    desk.trade("t1", desk.leg("v1"))
    desk.live("c2", SELL, "0.5", "8")
    desk.trade("t2", desk.leg("v2", "8", side=SELL))
    position = desk.state.position(UP, "alpha")
    assert (position.size, position.settled) == decs("12", "2")


def test_several_legs_of_one_trade_can_be_ours() -> None:
    """Recorded: two maker orders of one trade are ours; each is a fill of its own."""
    desk = Desk()
    desk.live("c1")
    desk.live("c2", BUY, "0.49")
    reply = desk.trade("t1", desk.leg("v1", "10", "0.5"), desk.leg("v2", "5", "0.49"))
    assert kinds(reply) == [
        "trade MATCHED",
        "order filled",
        "trade MATCHED",
        "order partially_filled",
    ]
    assert desk.state.position(UP, "alpha").cost == dec("7.45")


def test_a_leg_that_is_new_counts_beside_one_that_is_known() -> None:
    """A message that repeats one leg and adds another changes what is new."""
    desk = Desk()
    desk.live("c1")
    desk.live("c2")
    desk.trade("t1", desk.leg("v1"))
    assert kinds(desk.trade("t1", desk.leg("v1"), desk.leg("v2"))) == [
        "trade MATCHED",
        "order filled",
    ]
    assert desk.account.cash == 990


def test_a_trade_between_two_of_our_orders_is_two_fills() -> None:
    """A self-match leaves cash and shares as they were, less the taker's fee."""
    desk = Desk()
    desk.adjust("10", "-5")
    desk.live("c1", SELL)
    desk.live("c2", BUY)
    desk.trade("t1", desk.leg("v2", taker=True), desk.leg("v1", side=SELL))
    assert desk.status("c1") is desk.status("c2") is S.FILLED
    assert desk.state.position(UP, "alpha").size == 10
    assert desk.account.cash == dec("995") - dec("0.175")
    assert len(desk.state.fills) == 2


def test_a_minting_match_fills_each_leg_in_its_own_share() -> None:
    """Recorded: the taker buys Up at 0.518, our maker order buys Down at 0.482."""
    desk = Desk()
    desk.live("c1", BUY, "0.482", outcome=DOWN)
    desk.trade("t1", desk.leg("v1", "10", "0.482", outcome=DOWN))
    assert desk.state.position(UP).size == 0
    assert desk.state.position(DOWN, "alpha").cost == dec("4.82")


def test_strategies_have_positions_of_their_own() -> None:
    """A fill belongs to the strategy of its order; without a name the sum is told."""
    desk = Desk()
    desk.live("c1", strategy="alpha")
    desk.live("c2", strategy="beta")
    desk.trade("t1", desk.leg("v1"), desk.leg("v2", "4"))
    assert desk.state.position(UP, "alpha").size == 10
    assert desk.state.position(UP, "beta").size == 4
    total = desk.state.position(UP)
    assert (total.size, total.cost) == decs("14", "7")


@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("foreign_token", {"token": "U1800"}),
        ("leg_mismatch", {"token": "D900"}),
        ("leg_mismatch", {"side": SELL}),
        ("incomplete", {"size": "0"}),
    ],
)
def test_impossible_legs_are_ignored(reason: str, more: dict[str, str]) -> None:
    """A leg that cannot be this order's fill changes nothing, and says why."""
    desk = Desk()
    desk.live()
    assert ignored(desk.trade("t1", desk.leg("v1", **more))) == reason  # type: ignore[arg-type]
    assert (desk.order("c1").filled, desk.account.cash) == decs("0", "1000")


def test_a_trade_without_legs_is_ignored() -> None:
    """There is nothing of ours in it."""
    assert ignored(Desk().trade("t1")) == "no_legs"


# ------------------------------------------------------------------------------- failing


@pytest.mark.parametrize("before", [T.MATCHED, T.RETRYING, T.MINED])
def test_a_failed_trade_takes_everything_back(before: TradeStatus) -> None:
    """Cash, fee, shares and cost are exactly what they were; the filled order stays final."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", taker=True), status=before)
    assert desk.status("c1") is S.FILLED
    reply = desk.trade("t1", desk.leg("v1", taker=True), status=T.FAILED)
    assert kinds(reply) == ["trade FAILED", "order filled"]
    order, position = desk.order("c1"), desk.state.position(UP, "alpha")
    assert (order.filled, order.fees, order.average_price) == (dec("0"), dec("0"), None)
    assert (position.size, position.cost, position.fees) == decs("0", "0", "0")
    assert (desk.account.cash, desk.account.reserved) == decs("1000", "0")
    assert (desk.state.cash_flow, desk.state.volume, desk.state.fees) == decs("0", "0", "0")
    assert ignored(desk.trade("t1", desk.leg("v1"), status=T.FAILED)) == "duplicate"
    assert ignored(desk.trade("t1", desk.leg("v1"), status=T.CONFIRMED)) == "duplicate"


def test_a_confirmed_trade_cannot_fail() -> None:
    """Settlement is over: a FAILED after it is ignored."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1"), status=T.CONFIRMED)
    assert ignored(desk.trade("t1", desk.leg("v1"), status=T.FAILED)) == "duplicate"
    assert desk.order("c1").filled == 10


def test_a_trade_first_seen_as_failed_is_recorded_without_effect() -> None:
    """No cash moves, and the earlier statuses that come late change nothing."""
    desk = Desk()
    desk.live()
    assert kinds(desk.trade("t1", desk.leg("v1", "4"), status=T.FAILED)) == [
        "trade FAILED",
        "order partially_filled",
    ]
    assert ignored(desk.trade("t1", desk.leg("v1", "4"))) == "duplicate"
    assert (desk.order("c1").filled, desk.account.cash) == decs("0", "1000")
    assert desk.state.fills["t1", "c1"].status is T.FAILED


def test_shares_of_failed_trades_are_used_up() -> None:
    """4 of 10 shares failed, 6 were filled: nothing is left to fill or to hold cash for."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", "4"))
    desk.trade("t1", desk.leg("v1", "4"), status=T.FAILED)
    assert desk.account.reserved == dec("3.105")
    desk.trade("t2", desk.leg("v1", "6"))
    assert (desk.status("c1"), desk.order("c1").filled) == (S.FILLED, dec("6"))
    assert desk.account.reserved == 0


def test_a_sell_that_fails_brings_shares_and_profit_back() -> None:
    """The position is what it was before the sale, to the last decimal."""
    desk = Desk()
    desk.adjust("7", "-1")
    before = desk.state.position(UP, "alpha")
    desk.live("c1", SELL, "0.5", "3")
    desk.trade("t1", desk.leg("v1", "3", side=SELL))
    assert desk.state.position(UP, "alpha").realised > 0
    desk.trade("t1", desk.leg("v1", "3", side=SELL), status=T.FAILED)
    assert desk.state.position(UP, "alpha") == before
    assert desk.account.cash == 999


def test_a_buy_that_fails_after_its_shares_were_sold_leaves_a_shortfall() -> None:
    """The position stays at zero, the missing shares are reported, the cash is exact."""
    desk = Desk()
    desk.live("c1", BUY, "0.4")
    desk.trade("t1", desk.leg("v1", "10", "0.4"))
    desk.live("c2", SELL, "0.6")
    desk.trade("t2", desk.leg("v2", "10", "0.6", SELL))
    assert desk.state.shortfall == 0
    reply = applied(desk.trade("t1", desk.leg("v1", "10", "0.4"), status=T.FAILED))
    assert reply.shortfall == desk.state.shortfall == 10
    position = desk.state.position(UP, "alpha")
    assert (position.size, position.cost, position.realised) == decs("0", "0", "6")
    assert desk.account.cash == 1006
    assert desk.state.sellable(UP, "alpha") == 0


def test_a_shortfall_goes_when_its_sell_fails_too() -> None:
    """The two failures together leave nothing behind."""
    desk = Desk()
    desk.live("c1", BUY, "0.4")
    desk.trade("t1", desk.leg("v1", "10", "0.4"))
    desk.live("c2", SELL, "0.6")
    desk.trade("t2", desk.leg("v2", "10", "0.6", SELL))
    desk.trade("t1", desk.leg("v1", "10", "0.4"), status=T.FAILED)
    desk.trade("t2", desk.leg("v2", "10", "0.6", SELL), status=T.FAILED)
    assert (desk.state.shortfall, desk.state.realised, desk.account.cash) == decs("0", "0", "1000")


def test_a_shortfall_is_covered_by_the_next_buy() -> None:
    """A sell that is reported before the buy that it lives on ends at the same shares."""
    desk = Desk()
    desk.trade("t2", desk.leg("x1", "4", "0.5", SELL))
    assert desk.state.shortfall == 4
    assert applied(desk.trade("t3", desk.leg("x2", "6", "0.4"))).shortfall == 0
    position = desk.state.position(UP, "")
    assert (position.size, position.cost, position.realised) == decs("2", "0.8", "0.4")
    assert desk.state.shortfall == 0


# ------------------------------------------------------------------------------- foreign orders


def test_a_report_of_an_unknown_order_tracks_a_foreign_one() -> None:
    """It is known by its venue id, belongs to nobody and holds none of our cash."""
    desk = Desk()
    assert kinds(desk.report("x1", PLACEMENT)) == ["order live"]
    order = desk.order("x1")
    assert order.is_external
    assert (order.client_id, order.venue_id, order.size) == ("x1", "x1", dec("10"))
    assert desk.account.reserved == 0
    assert desk.state.open_orders() == (order,)
    assert kinds(desk.report("x1", CANCELLATION, "CANCELED")) == ["order cancelled"]


def test_a_foreign_order_can_be_cancelled() -> None:
    """Its client id is its venue id."""
    desk = Desk()
    desk.report("x1", PLACEMENT)
    assert kinds(desk.cancel("x1")) == ["order cancelling"]
    assert kinds(desk.cancel_answer("x1", cancelled=True)) == ["order cancelled"]


@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("incomplete", {"side": None}),
        ("incomplete", {"price": None}),
        ("incomplete", {"size": None}),
        ("incomplete", {"token": ""}),
        ("foreign_token", {"token": "U1800"}),
    ],
)
def test_a_foreign_order_of_which_too_little_is_known_is_ignored(
    reason: str, more: dict[str, str]
) -> None:
    """Nothing is guessed."""
    desk = Desk()
    assert ignored(desk.report("x1", PLACEMENT, **more)) == reason  # type: ignore[arg-type]
    assert not desk.state.orders


def test_a_fill_of_an_unknown_order_is_the_accounts_own() -> None:
    """Cash and nobody's position move; the size of the order is not known."""
    desk = Desk()
    reply = applied(desk.trade("t1", desk.leg("x1", "4", taker=True)))
    assert kinds(reply) == ["trade MATCHED", "order partially_filled"]
    assert reply.changes[1].previous is None
    assert desk.state.position(UP, "").size == 4
    assert desk.state.position(UP, "alpha").size == 0
    assert desk.account.cash == dec("998") - dec("0.07")
    desk.trade("t2", desk.leg("x1", "3"))
    assert (desk.order("x1").size, desk.status("x1")) == (dec("7"), S.PARTIALLY_FILLED)
    assert kinds(desk.report("x1", UPDATE, "MATCHED", "7", size="7")) == ["order filled"]


def test_a_late_order_takes_over_what_came_before_it() -> None:
    """A report that overtakes the order is never lost: its fills move to the strategy."""
    desk = Desk()
    desk.report("v1", PLACEMENT)
    desk.trade("t1", desk.leg("v1", "4", taker=True))
    reply = applied(desk.place())
    assert kinds(reply) == ["trade MATCHED", "order partially_filled"]
    assert [change.previous for change in reply.changes] == [None, None]
    assert list(desk.state.orders) == ["c1"]
    assert list(desk.state.fills) == [("t1", "c1")]
    assert desk.state.fills["t1", "c1"].strategy == "alpha"
    assert desk.state.position(UP, "").size == 0
    position = desk.state.position(UP, "alpha")
    assert (position.size, position.cost, position.fees) == decs("4", "2", "0.07")
    assert (desk.account.cash, desk.account.reserved) == decs("997.93", "3.105")
    # What may still come is that of one order, not of two.
    to_come = desk.state.shares_to_come(BUY, UP), desk.state.cost_to_come
    assert to_come == decs("6", "3")
    assert ignored(desk.answer("c1", "rejected")) == "exists"
    desk.trade("t1", desk.leg("v1", "4"), status=T.FAILED)
    assert (desk.order("c1").filled, desk.account.cash) == decs("0", "1000")


def test_a_late_order_takes_over_a_failed_fill_as_what_it_is() -> None:
    """A trade that has failed before its order was registered moves nothing, and uses up its shares."""
    desk = Desk()
    desk.trade("t1", desk.leg("v1", "4"))
    desk.trade("t1", desk.leg("v1", "4"), status=T.FAILED)
    desk.trade("t2", desk.leg("v1", "1"))
    applied(desk.place())
    assert [("t1", "c1"), ("t2", "c1")] == list(desk.state.fills)
    assert (desk.order("c1").filled, desk.state.position(UP, "alpha").size) == decs("1", "1")
    assert desk.state.shares_to_come(BUY, UP) == dec("5")
    assert desk.account.cash == dec("999.5")


def test_fills_that_complete_the_late_order_fill_it() -> None:
    """Its size was not known until it came; then the fills are seen to be all of it."""
    desk = Desk()
    desk.trade("t1", desk.leg("v1"))
    assert kinds(desk.place())[-1] == "order filled"
    assert desk.account.reserved == 0
    assert not desk.state.is_settled
    desk.trade("t1", desk.leg("v1"), status=T.CONFIRMED)
    assert desk.state.is_settled
    assert desk.state.open_orders() == ()


def test_a_settled_fill_stays_settled_when_its_order_comes_late() -> None:
    """A trade that is confirmed already is waited for no more; one that is not still is."""
    for status in (T.MATCHED, T.CONFIRMED):
        desk = Desk()
        desk.trade("t1", desk.leg("v1"), status=status)
        applied(desk.place())
        assert desk.state.is_settled is (status is T.CONFIRMED)
        assert desk.state.in_motion is (status is T.MATCHED)


def test_a_late_order_that_is_over_waits_for_its_fills() -> None:
    """It ended before it was registered: what was matched of it holds cash until it is reported."""
    desk = Desk()
    desk.report("v1", CANCELLATION, "CANCELED_by hand", "6")
    assert desk.account.reserved == 0
    assert kinds(desk.place()) == ["order cancelled"]
    assert (desk.order("c1").reason, desk.order("c1").matched) == ("by hand", dec("6"))
    assert desk.account.reserved == dec("3.105")
    desk.trade("t1", desk.leg("v1", "6"), status=T.CONFIRMED)
    assert desk.account.reserved == 0
    assert desk.state.is_settled


def test_a_late_sell_takes_over_only_shares_that_its_strategy_has() -> None:
    """What it sold already comes off the strategy's shares, so they must be there."""
    desk = Desk()
    desk.trade("t1", desk.leg("v1", "4", side=SELL))
    assert desk.state.shortfall == 4
    desk.adjust("9")
    assert denied(desk.place("c1", SELL)).rule == "shares"
    assert list(desk.state.orders) == ["v1"]
    desk.adjust("1")
    applied(desk.place("c1", SELL))
    assert desk.state.shortfall == 0
    assert desk.state.position(UP, "alpha").size == 6
    assert desk.state.sellable(UP, "alpha") == 0


def test_a_late_buy_without_the_cash_stays_foreign() -> None:
    """A denied order takes nothing over."""
    desk = Desk(cash="4")
    desk.report("v1", PLACEMENT)
    assert denied(desk.place()).rule == "cash"
    assert desk.order("v1").is_external
    assert desk.account.reserved == 0


@pytest.mark.parametrize("more", [{"side": SELL}, {"outcome": DOWN}, {"size": "10.02"}])
def test_a_late_order_that_is_another_one_is_denied(more: dict[str, str]) -> None:
    """The same id for another share, side or size cannot be the same order."""
    desk = Desk()
    desk.adjust("50")
    desk.report("v1", PLACEMENT)
    assert denied(desk.place("c1", **more)).rule == "duplicate"  # type: ignore[arg-type]


def test_a_late_order_that_is_smaller_than_its_fills_is_denied() -> None:
    """An order cannot have filled more than it has."""
    desk = Desk()
    desk.trade("t1", desk.leg("v1", "10.02"))
    assert denied(desk.place()).rule == "duplicate"
    applied(desk.place(size="10.01"))


# ------------------------------------------------------------------------------- adjustments


def test_adjustments_move_shares_and_cash() -> None:
    """Paying for shares is their cost, taking cash for them is realised."""
    desk = Desk()
    applied(desk.adjust("10", "-5"))
    assert applied(desk.adjust("-4", "3")).changes == ()
    position = desk.state.position(UP, "alpha")
    assert (position.size, position.settled, position.cost, position.realised) == decs(
        "6", "6", "3", "1"
    )
    assert (desk.account.cash, desk.state.cash_flow) == decs("998", "-2")
    assert desk.state.volume == 0


def test_cash_that_comes_without_shares_given_is_profit() -> None:
    """A gift costs nothing, and never makes a negative cost."""
    desk = Desk()
    desk.adjust("10", "2")
    position = desk.state.position(UP, "alpha")
    assert (position.cost, position.realised) == decs("0", "2")


def test_a_position_never_goes_below_zero() -> None:
    """Neither shares that are not there nor shares that an open sell holds can be given."""
    desk = Desk()
    desk.adjust("10")
    assert denied(desk.adjust("-10.01")).rule == "position"
    desk.live("c1", SELL, "0.5", "6")
    assert denied(desk.adjust("-4.01")).rule == "shares"
    applied(desk.adjust("-4"))
    assert denied(desk.adjust("-1", strategy="beta")).rule == "position"


def test_an_adjustment_cannot_spend_what_is_not_there() -> None:
    """Cash that orders hold is not available for a split."""
    desk = Desk(cash="10")
    desk.live()
    assert denied(desk.adjust("5", "-5")).rule == "cash"
    applied(desk.adjust("4", "-4"))


def test_an_applied_reply_without_changes_is_still_a_reply() -> None:
    """A zero adjustment is applied, and nothing is different."""
    desk = Desk()
    assert desk.adjust("0") == Applied()
