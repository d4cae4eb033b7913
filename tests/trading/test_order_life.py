"""The life of one order: which message leads where, and what it holds meanwhile."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyframe.model.events import OrderEventKind
from polyframe.model.order import OrderRequest, OrderStatus, OrderType
from polyframe.model.trade import TradeStatus
from polyframe.trading.commands import Applied, PlaceOrder
from tests.trading.builders import (
    BUY,
    CANCELLATION,
    DOWN,
    G1,
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

# ------------------------------------------------------------------------------- placing


def test_a_buy_reserves_its_price_and_the_worst_fee() -> None:
    """10 shares at 0.50 hold 5 USD and a taker fee of 0.175."""
    desk = Desk()
    reply = applied(desk.place("c1", BUY, "0.5", "10"))
    assert reply.order == desk.order("c1")
    assert desk.status("c1") is S.SUBMITTING
    assert kinds(reply) == ["order submitting"]
    assert reply.changes[0].previous is None
    assert desk.state.reservation("c1") == desk.account.reserved == dec("5.175")
    assert desk.account.cash == 1000


def test_a_post_only_buy_reserves_no_fee() -> None:
    """An order that can only be a maker pays no fee."""
    desk = Desk()
    applied(desk.place("c1", post_only=True))
    assert desk.account.reserved == 5


def test_a_buy_without_the_cash_is_denied_with_the_numbers() -> None:
    """Nothing changes, and the text says what is missing."""
    desk = Desk(cash="5.174999")
    denial = denied(desk.place())
    assert denial.rule == "cash"
    assert "needs 5.17500 USD" in denial.text
    assert "5.174999 USD are available" in denial.text
    assert not desk.state.orders
    assert desk.account.reserved == 0
    applied(Desk(cash="5.175").place())


def test_cash_that_other_orders_hold_is_not_available() -> None:
    """The second order sees what the first one left."""
    desk = Desk(cash="10")
    applied(desk.place("c1"))
    assert denied(desk.place("c2")).rule == "cash"
    applied(desk.place("c2", price="0.4"))


def test_a_sell_reserves_shares_of_its_own_strategy() -> None:
    """Neither another strategy's shares nor shares held by another sell can be sold."""
    desk = Desk()
    applied(desk.adjust("10", "-5", strategy="alpha"))
    denial = denied(desk.place("c1", SELL, size="6", strategy="beta"))
    assert denial.rule == "shares"
    assert "needs 6 shares of Up, 0 of beta" in denial.text
    assert denied(desk.place("c1", SELL, size="6", outcome=DOWN)).rule == "shares"
    applied(desk.place("c1", SELL, size="6"))
    assert desk.state.sellable(UP, "alpha") == 4
    assert denied(desk.place("c2", SELL, size="4.000001")).rule == "shares"
    applied(desk.place("c2", SELL, size="4"))
    assert desk.state.sellable(UP, "alpha") == 0
    assert desk.account.reserved == 0


def test_ids_are_used_once() -> None:
    """A client id or venue id that is known already is denied."""
    desk = Desk()
    applied(desk.place("c1"))
    assert denied(desk.place("c1", venue_id="v9")).rule == "duplicate"
    assert denied(desk.place("c9", venue_id="v1")).rule == "duplicate"
    assert len(desk.state.orders) == 1
    assert desk.account.reserved == dec("5.175")


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        ("token", {"token": "U9"}),
        ("token", {"token": "D900"}),
        ("price", {"price": "0"}),
        ("price", {"price": "1"}),
        ("size", {"size": "0"}),
        ("size", {"size": "-5"}),
    ],
)
def test_impossible_orders_are_denied(rule: str, more: dict[str, str]) -> None:
    """A token of another share, a price outside 0 to 1 and a size of nothing never get in."""
    desk = Desk()
    assert denied(desk.place("c1", **more)).rule == rule  # type: ignore[arg-type]
    assert not desk.state.orders


def test_an_order_of_ours_has_a_strategy() -> None:
    """Without a strategy it would count as somebody else's: the command cannot be made."""
    request = OrderRequest(UP, BUY, dec("0.5"), dec("10"))
    with pytest.raises(ValueError, match="strategy: expected a name"):
        PlaceOrder(G1, "c1", "v1", "", "U900", request, 0)


# ------------------------------------------------------------------------------- answers


@pytest.mark.parametrize("kind", ["live", "delayed", "matched"])
def test_an_accepted_order_is_live_until_a_fill_says_more(kind: str) -> None:
    """An answer alone never fills an order, even if it says matched."""
    desk = Desk()
    applied(desk.place())
    assert kinds(desk.answer("c1", kind)) == ["order live"]
    assert desk.order("c1").filled == 0
    assert desk.account.reserved == dec("5.175")
    assert ignored(desk.answer("c1", kind)) == "duplicate"


def test_a_rejected_order_gives_everything_back() -> None:
    """A refusal ends the order with the venue's words and frees the cash."""
    desk = Desk()
    applied(desk.place())
    assert kinds(desk.answer("c1", "rejected", "not enough balance")) == ["order rejected"]
    assert desk.order("c1").reason == "not enough balance"
    assert desk.account.reserved == 0
    assert ignored(desk.answer("c1", "rejected")) == "final"


def test_a_rejection_without_words_keeps_its_code() -> None:
    """The reason is never empty if the venue gave a code."""
    desk = Desk()
    applied(desk.place())
    desk.answer("c1", "rejected", code="tick_size")
    assert desk.order("c1").reason == "tick_size"


def test_a_rejection_is_not_believed_once_the_order_is_proven() -> None:
    """A live report, an accepting answer or a fill before it proves that the order exists."""
    by_report, by_answer, by_fill = Desk(), Desk(), Desk()
    for desk in (by_report, by_answer, by_fill):
        applied(desk.place())
    by_report.report("v1", PLACEMENT)
    by_answer.answer("c1", "live")
    by_fill.trade("t1", by_fill.leg("v1", "4"))
    for desk, status in (
        (by_report, S.LIVE),
        (by_answer, S.LIVE),
        (by_fill, S.PARTIALLY_FILLED),
    ):
        assert ignored(desk.answer("c1", "rejected")) == "exists"
        assert desk.status("c1") is status
        assert desk.account.reserved > 0


def test_a_proof_counts_even_while_the_order_is_being_cancelled() -> None:
    """An accepting answer during the cancel changes no state, but is remembered."""
    desk = Desk()
    applied(desk.place())
    desk.cancel()
    assert ignored(desk.answer("c1", "live")) == "duplicate"
    assert ignored(desk.answer("c1", "rejected")) == "exists"
    desk.cancel_answer("c1", cancelled=False)
    assert desk.status("c1") is S.LIVE


def test_a_lost_answer_keeps_the_reservation() -> None:
    """The order may be live: it holds its cash until the venue says what became of it."""
    desk = Desk()
    applied(desk.place())
    assert kinds(desk.answer("c1", "unknown", "read time-out")) == ["order unknown"]
    assert desk.order("c1").reason == "read time-out"
    assert desk.account.reserved == dec("5.175")
    assert kinds(desk.report("v1", PLACEMENT)) == ["order live"]
    assert desk.order("c1").reason == ""
    assert ignored(desk.answer("c1", "unknown")) == "duplicate"
    assert desk.status("c1") is S.LIVE


def test_an_unknown_order_that_the_venue_never_saw_can_still_be_rejected() -> None:
    """A later look-up that finds nothing ends it and frees the cash."""
    desk = Desk()
    applied(desk.place())
    desk.answer("c1", "unknown")
    assert kinds(desk.answer("c1", "rejected", "not found")) == ["order rejected"]
    assert desk.account.reserved == 0


def test_answers_for_orders_that_are_not_here_are_ignored() -> None:
    """There is nothing to change."""
    desk = Desk()
    assert ignored(desk.answer("c7", "live")) == "unknown_order"
    assert ignored(desk.cancel_answer("c7", cancelled=True)) == "unknown_order"


# ------------------------------------------------------------------------------- cancelling


def test_a_cancelled_order_frees_the_rest_only() -> None:
    """What was filled stays spent, what was not comes back."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", "4"))
    assert kinds(desk.cancel()) == ["order cancelling"]
    assert desk.account.reserved == dec("3.105")
    assert kinds(desk.cancel_answer("c1", cancelled=True)) == ["order cancelled"]
    assert (desk.account.cash, desk.account.reserved) == decs("998", "0")
    assert desk.order("c1").filled == 4


def test_cancelling_twice_is_the_same_as_once() -> None:
    """The second cancel is accepted and changes nothing."""
    desk = Desk()
    desk.live()
    desk.cancel()
    again = applied(desk.cancel())
    assert again.changes == ()
    assert again.order == desk.order("c1")


@pytest.mark.parametrize("lost", [False, True])
def test_an_order_without_an_answer_can_be_cancelled(lost: bool) -> None:
    """The venue's id is known before the order is sent."""
    desk = Desk()
    applied(desk.place())
    if lost:
        desk.answer("c1", "unknown")
    assert kinds(desk.cancel()) == ["order cancelling"]
    desk.cancel_answer("c1", cancelled=True, text="gone")
    assert (desk.status("c1"), desk.order("c1").reason) == (S.CANCELLED, "gone")
    assert ignored(desk.answer("c1", "live")) == "final"
    assert desk.account.reserved == 0


def test_cancels_of_unknown_and_ended_orders_are_denied() -> None:
    """The denial names the state in which the order ended."""
    desk = Desk()
    assert denied(desk.cancel("c7")).rule == "unknown_order"
    applied(desk.place())
    desk.answer("c1", "rejected")
    denial = denied(desk.cancel())
    assert (denial.rule, "rejected" in denial.text) == ("final", True)


def test_a_refused_cancel_leads_back_to_what_the_fills_say() -> None:
    """The venue's refusal says nothing of the order: it never ends it."""
    desk = Desk()
    desk.live()
    desk.cancel()
    assert kinds(desk.cancel_answer("c1", cancelled=False, text="matched")) == ["order live"]
    desk.cancel()
    desk.trade("t1", desk.leg("v1", "4"))
    assert desk.status("c1") is S.CANCELLING
    assert kinds(desk.cancel_answer("c1", cancelled=False)) == ["order partially_filled"]
    assert ignored(desk.cancel_answer("c1", cancelled=False)) == "duplicate"
    assert desk.account.reserved == dec("3.105")


def test_a_refused_cancel_proves_nothing() -> None:
    """An order that the venue never confirmed is unknown afterwards, not live."""
    desk = Desk()
    applied(desk.place())
    desk.cancel()
    assert kinds(desk.cancel_answer("c1", cancelled=False, text="not found")) == ["order unknown"]
    assert desk.account.reserved == dec("5.175")
    assert kinds(desk.answer("c1", "live")) == ["order live"]


def test_fills_after_a_cancel_are_real() -> None:
    """The state stays cancelled, the shares and the cash are booked all the same."""
    desk = Desk()
    desk.live()
    desk.cancel()
    desk.cancel_answer("c1", cancelled=True)
    assert kinds(desk.trade("t1", desk.leg("v1", "10"))) == ["trade MATCHED", "order cancelled"]
    assert (desk.status("c1"), desk.order("c1").filled) == (S.CANCELLED, dec("10"))
    assert desk.state.position(UP, "alpha").size == 10
    assert (desk.account.cash, desk.account.reserved) == decs("995", "0")


def test_a_complete_fill_during_a_cancel_fills_the_order() -> None:
    """The refused cancel that follows says nothing new."""
    desk = Desk()
    desk.live()
    desk.cancel()
    desk.trade("t1", desk.leg("v1", "10"))
    assert desk.status("c1") is S.FILLED
    assert ignored(desk.cancel_answer("c1", cancelled=False)) == "final"


# ------------------------------------------------------------------------------- reports


def test_a_placement_report_may_overtake_the_answer() -> None:
    """Whichever comes first makes the order live; the other one changes nothing."""
    desk = Desk()
    applied(desk.place())
    assert kinds(desk.report("v1", PLACEMENT)) == ["order live"]
    assert ignored(desk.answer("c1", "live")) == "duplicate"
    assert ignored(desk.report("v1", PLACEMENT)) == "duplicate"


def test_what_the_venue_calls_matched_only_grows_and_fills_nothing() -> None:
    """`matched` is a cross-check; shares and cash come from trades."""
    desk = Desk()
    desk.live()
    assert kinds(desk.report("v1", UPDATE, "LIVE", "6")) == ["order live"]
    assert ignored(desk.report("v1", UPDATE, "LIVE", "4")) == "duplicate"
    assert kinds(desk.report("v1", UPDATE, "MATCHED", "10")) == ["order live"]
    order = desk.order("c1")
    assert (order.matched, order.filled, order.status) == (*decs("10", "0"), S.LIVE)
    assert desk.account.reserved == dec("5.175")
    assert desk.account.cash == 1000


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("CANCELED", "CANCELED"),
        ("INVALID", "INVALID"),
        ("CANCELED_ORDER_TIMED_OUT", "ORDER_TIMED_OUT"),
        ("CANCELED_order couldn't be fully filled.", "order couldn't be fully filled."),
        ("LIVE", "LIVE"),
        ("SYSTEM_HALT", "SYSTEM_HALT"),
    ],
)
def test_a_cancellation_ends_the_order_with_the_venues_words(status: str, reason: str) -> None:
    """The type decides, whatever the open-ended status text says."""
    desk = Desk()
    desk.live()
    assert kinds(desk.report("v1", CANCELLATION, status)) == ["order cancelled"]
    assert desk.order("c1").reason == reason
    assert desk.account.reserved == 0
    assert ignored(desk.report("v1", CANCELLATION, status)) == "final"


@pytest.mark.parametrize("reason", ["EXPIRED_ORDER", "MARKET_RESOLVED"])
@pytest.mark.parametrize("is_cancelling", [False, True])
def test_an_order_whose_time_or_market_is_over_expires(reason: str, is_cancelling: bool) -> None:
    """That is no cancel, also while one is under way; it is final, and holds nothing."""
    desk = Desk()
    desk.live()
    if is_cancelling:
        desk.cancel()
    assert kinds(desk.report("v1", CANCELLATION, f"CANCELED_{reason}")) == ["order expired"]
    assert desk.order("c1").reason == reason
    assert desk.account.reserved == 0
    assert ignored(desk.cancel_answer("c1", cancelled=True)) == "final"
    assert desk.status("c1") is S.EXPIRED


def test_a_complete_order_is_filled_although_its_market_is_over() -> None:
    """A CANCELLATION at the end of the market that says that all was matched."""
    desk = Desk()
    desk.live()
    assert kinds(desk.report("v1", CANCELLATION, "CANCELED_MARKET_RESOLVED", "10")) == [
        "order filled"
    ]


def test_a_looked_up_order_that_is_cancelled_ends_too() -> None:
    """A query has no type of event: the prefix of its status decides."""
    desk = Desk()
    desk.live()
    assert kinds(desk.report("v1", UPDATE, "canceled_market_resolved")) == ["order expired"]


def test_a_killed_fok_is_cancelled_by_its_event_and_the_refusal_changes_nothing() -> None:
    """Recorded: HTTP 400 for a killed order comes together with a CANCELLATION event."""
    desk = Desk()
    applied(desk.place(order_type=OrderType.FOK))
    desk.report("v1", CANCELLATION, "CANCELED_order couldn't be fully filled.")
    assert ignored(desk.answer("c1", "rejected", "fok")) == "final"
    assert (desk.status("c1"), desk.account.reserved) == (S.CANCELLED, dec("0"))


def test_a_killed_fok_is_rejected_by_its_answer_and_the_event_changes_nothing() -> None:
    """The other way round: the answer ends it, the event is ignored."""
    desk = Desk()
    applied(desk.place(order_type=OrderType.FOK))
    desk.answer("c1", "rejected", "fok")
    assert ignored(desk.report("v1", CANCELLATION, "CANCELED_x")) == "final"
    assert (desk.status("c1"), desk.account.reserved) == (S.REJECTED, dec("0"))


def test_a_cancellation_of_a_complete_order_fills_it() -> None:
    """Recorded: a CANCELLATION whose matched size equals the original size."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", "4"))
    assert kinds(desk.report("v1", CANCELLATION, "CANCELED", "10")) == ["order filled"]
    assert desk.order("c1").reason == ""
    assert desk.account.reserved == dec("3.105")
    assert not desk.state.is_settled
    desk.trade("t2", desk.leg("v1", "6"))
    assert (desk.status("c1"), desk.order("c1").filled) == (S.FILLED, dec("10"))
    assert (desk.account.cash, desk.account.reserved) == decs("995", "0")


def test_a_cancellation_keeps_what_is_matched_but_not_reported() -> None:
    """6 of 10 are matched, 4 of them reported: the missing 2 stay reserved until they come."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", "4"), status=TradeStatus.CONFIRMED)
    desk.report("v1", CANCELLATION, "CANCELED", "6")
    assert desk.status("c1") is S.CANCELLED
    assert desk.account.reserved == dec("1") + dec("0.035")
    assert not desk.state.is_settled
    desk.trade("t2", desk.leg("v1", "2"), status=TradeStatus.CONFIRMED)
    assert (desk.account.cash, desk.account.reserved) == decs("997", "0")
    assert desk.state.is_settled


def test_a_report_after_the_cancel_can_reserve_again() -> None:
    """An ended order of which more was matched holds cash again, whatever is available."""
    desk = Desk(cash="5.175")
    desk.live()
    desk.cancel()
    desk.cancel_answer("c1", cancelled=True)
    applied(desk.place("c2"))
    assert kinds(desk.report("v1", CANCELLATION, "CANCELED", "4")) == ["order cancelled"]
    assert desk.account.reserved == dec("5.175") + dec("2.07")
    assert desk.account.available == dec("-2.07")
    desk.trade("t1", desk.leg("v1", "4"))
    assert desk.account.reserved == dec("5.175")


def test_a_sell_keeps_matched_shares_held_after_its_end() -> None:
    """Shares that are sold already but not reported cannot be sold again."""
    desk = Desk()
    desk.adjust("10")
    desk.live("c1", SELL)
    desk.report("v1", CANCELLATION, "CANCELED", "6")
    assert desk.state.sellable(UP, "alpha") == 4
    desk.trade("t1", desk.leg("v1", "6", side=SELL))
    assert desk.state.sellable(UP, "alpha") == desk.state.position(UP, "alpha").size == 4


def test_the_killed_rest_of_a_fak_is_released_without_an_event() -> None:
    """An order that never rests is over once the venue calls it matched."""
    desk = Desk()
    applied(desk.place(order_type=OrderType.FAK))
    desk.answer("c1", "matched")
    desk.trade("t1", desk.leg("v1", "6"))
    assert desk.status("c1") is S.PARTIALLY_FILLED
    assert kinds(desk.report("v1", UPDATE, "MATCHED", "6")) == ["order cancelled"]
    assert desk.order("c1").reason == "rest of FAK killed"
    assert desk.account.reserved == 0


@pytest.mark.parametrize(
    ("kind", "status", "matched"),
    [
        (PLACEMENT, "MATCHED", "6"),
        (UPDATE, "LIVE", "6"),
        (UPDATE, "MATCHED", "0"),
        (UPDATE, "MATCHED", "10"),
    ],
)
def test_less_than_that_does_not_end_a_fak(kind: OrderEventKind, status: str, matched: str) -> None:
    """It takes an update that calls it matched and tells how little; all of it takes the fills."""
    desk = Desk()
    applied(desk.place(order_type=OrderType.FAK))
    assert kinds(desk.report("v1", kind, status, matched)) == ["order live"]


def test_a_resting_order_that_is_matched_in_part_lives_on() -> None:
    """The same words about a GTC order do not end it."""
    desk = Desk()
    desk.live()
    desk.report("v1", UPDATE, "MATCHED", "6")
    assert desk.status("c1") is S.LIVE


# ------------------------------------------------------------------------------- dust


@pytest.mark.parametrize(
    ("size", "said", "status"),
    [
        ("9.99", True, S.FILLED),
        ("9.99", False, S.PARTIALLY_FILLED),
        ("9.9899", True, S.PARTIALLY_FILLED),
        ("10", False, S.FILLED),
        ("10.004", False, S.FILLED),
    ],
)
def test_dust_completes_an_order_only_if_the_venue_says_so(
    size: str,
    said: bool,
    status: OrderStatus,
) -> None:
    """Up to 0.01 share may be missing from an order that the venue calls matched."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", size))
    if said:
        desk.report("v1", UPDATE, "MATCHED", size)
    assert desk.status("c1") is status
    assert (desk.account.reserved == 0) is (status is S.FILLED)


def test_the_answer_matched_is_remembered_for_dust() -> None:
    """A fill that is short of the order by dust completes it."""
    desk = Desk()
    applied(desk.place())
    desk.answer("c1", "matched")
    assert kinds(desk.trade("t1", desk.leg("v1", "9.995"))) == ["trade MATCHED", "order filled"]


def test_a_matched_size_of_all_of_it_completes_up_to_dust() -> None:
    """The size counts where the status text says nothing."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", "9.995"))
    assert kinds(desk.report("v1", UPDATE, "LIVE", "10")) == ["order filled"]


def test_an_order_as_small_as_dust_is_not_filled_without_a_fill() -> None:
    """However little it is, shares come from trades only."""
    desk = Desk()
    applied(desk.place(size="0.01"))
    assert kinds(desk.answer("c1", "matched")) == ["order live"]
    assert kinds(desk.trade("t1", desk.leg("v1", "0.01"))) == ["trade MATCHED", "order filled"]


def test_a_matched_size_that_is_more_than_the_fills_by_dust_holds_nothing() -> None:
    """Rounding never keeps cash reserved, nor a cycle from being settled."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", "9.995"), status=TradeStatus.CONFIRMED)
    desk.report("v1", CANCELLATION, "CANCELED", "10")
    assert desk.status("c1") is S.FILLED
    assert desk.account.reserved == 0
    assert desk.state.is_settled


# ------------------------------------------------------------------------------- numbering


def test_changes_are_numbered_without_a_gap() -> None:
    """One sequence for orders and trades; what changes nothing takes no number."""
    desk = Desk()
    replies = [
        desk.place(),
        desk.answer("c1", "live"),
        desk.answer("c1", "live"),
        desk.trade("t1", desk.leg("v1", "4")),
        desk.trade("t1", desk.leg("v1", "4")),
        desk.cancel(),
        desk.cancel_answer("c1", cancelled=True),
    ]
    changes = [change for r in replies if isinstance(r, Applied) for change in r.changes]
    assert [change.sequence for change in changes] == [1, 2, 3, 4, 5, 6]
    assert desk.state.sequence == 6


def test_times_are_those_of_the_commands() -> None:
    """An order remembers its birth and its last change, not repeats."""
    desk = Desk()
    desk.live()
    desk.answer("c1", "live")
    order = desk.order("c1")
    assert (order.created_ms, order.updated_ms) == (1, 2)


def test_the_mean_price_counts_every_fill() -> None:
    """Price improvement shows in the mean price, in the cash and in the reservation."""
    desk = Desk()
    desk.live()
    desk.trade("t1", desk.leg("v1", "4", "0.48"))
    desk.trade("t2", desk.leg("v1", "2", "0.45"))
    assert desk.order("c1").average_price == Decimal("2.82") / 6
    assert desk.account.cash == dec("997.18")
    assert desk.account.reserved == dec("2.07")
