"""Orders that meet the book: what they get, at which price, and when."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.paper.models import ConstantLatency, PaperModels
from tests.paper.kit import PROMPT, Desk, gtd, order, total

FAK, FOK = OrderType.FAK, OrderType.FOK
SELL = Side.SELL
SLOW = evolve(PROMPT, order_latency=ConstantLatency(60), feed_latency=ConstantLatency(40))


def test_a_taker_walks_the_book_one_trade_for_each_level() -> None:
    """It gets the better prices first, pays the fee of each, and the account has both sides."""
    desk = Desk()
    desk.book({48: 100}, {50: 30, 51: 20, 60: 500})
    taken = desk.send(order("0.51", 40))
    assert desk.fills(taken) == [("0.5", "30"), ("0.51", "10")]
    assert desk.answer(taken).result is PlaceResult.MATCHED
    fees = desk.market.fees
    paid = Decimal("20.10") + sum(
        fees.taker_fee(Decimal(size), Decimal(price)) for price, size in desk.fills(taken)
    )
    assert desk.venue.account.cash == 1000 - paid
    assert desk.venue.account.shares == {desk.market.up_token: Decimal(40)}
    assert desk.reports(taken) == [("PLACEMENT", "LIVE", 0), ("UPDATE", "MATCHED", 40)]


def test_a_buyer_of_down_takes_the_bids_of_up() -> None:
    """The two tokens share one book: a bid for Up at 0.48 is an ask for Down at 0.52."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    taken = desk.send(order("0.52", 10, outcome=Outcome.DOWN))
    assert desk.fills(taken) == [("0.52", "10")]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_newest_message_of_either_token_counts(outcome: Outcome) -> None:
    """A book or a change of Down moves the book of Up, mirrored."""
    desk = Desk()
    desk.book({40: 5}, {60: 5}, outcome.other)
    desk.book({48: 100}, {50: 30}, outcome)
    desk.change(49, 10, is_bid=False, outcome=outcome)
    taken = desk.send(order("0.50", 15, outcome=outcome))
    assert desk.fills(taken) == [("0.49", "10"), ("0.5", "5")]


def test_what_we_took_is_gone_until_the_level_grows() -> None:
    """The feed still shows it; a second order gets only what is new there."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    assert total(desk.fills(desk.send(order("0.50", 25, order_type=FAK)))) == 25
    assert total(desk.fills(desk.send(order("0.50", 20, order_type=FAK)))) == 5
    desk.change(50, 20, is_bid=False)
    assert desk.fills(desk.send(order("0.50", 20, order_type=FAK))) == []
    desk.change(50, 32, is_bid=False)
    assert total(desk.fills(desk.send(order("0.50", 20, order_type=FAK)))) == 12


def test_a_remainder_rests_and_does_not_take_the_same_shares_again() -> None:
    """A GTC order takes what is there and rests with the rest; the old level fills it no more."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    taken = desk.send(order("0.50", 100))
    desk.change(50, 29, is_bid=False)
    desk.change(48, 90, is_bid=True)
    assert total(desk.fills(taken)) == 30
    assert desk.reports(taken)[-1] == ("UPDATE", "LIVE", 30)
    assert desk.venue.held_cash == 35


def test_fok_gets_all_or_nothing() -> None:
    """Without enough it is killed with the venue's words, and nothing moved."""
    desk = Desk()
    desk.book({48: 100}, {50: 30, 51: 20})
    killed = desk.send(order("0.51", 100, order_type=FOK))
    assert desk.answer(killed).code == "fok_not_filled"
    kind, status, matched = desk.reports(killed)[0]
    assert (kind, matched) == ("CANCELLATION", 0)
    assert status.startswith("CANCELED_order couldn't be fully filled")
    assert desk.venue.account.cash == 1000
    # 49 shares at 0.51 are 24.99 USD, and it is these that a buy spends.
    filled = desk.send(order("0.51", 49, order_type=FOK))
    assert desk.reports(filled)[-1][1] == "MATCHED"
    assert total(desk.fills(filled)) == Decimal("49.5882")


def test_fak_takes_what_is_there_and_ends() -> None:
    """The rest is cancelled; without anything it is killed."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    some = desk.send(order("0.50", 100, order_type=FAK))
    assert desk.reports(some)[-1] == ("CANCELLATION", "CANCELED", 30)
    none = desk.send(order("0.40", 100, order_type=FAK))
    assert desk.answer(none).code == "fak_not_filled"
    assert desk.venue.held_cash == 0


def test_a_buy_for_usd_spends_them_at_better_prices_too() -> None:
    """10 USD at a limit of 0.50 buy 25 shares at 0.40, not 20."""
    desk = Desk()
    desk.book({30: 100}, {40: 300})
    bought = desk.send(OrderRequest.market_buy(Outcome.UP, Decimal(10), Decimal("0.50")))
    assert desk.fills(bought) == [("0.4", "25")]
    assert desk.reports(bought)[-1][:2] == ("UPDATE", "MATCHED")


@pytest.mark.parametrize(("in_shares", "bought"), [(False, "25"), (True, "20")])
@pytest.mark.parametrize("kind", [FAK, FOK])
def test_a_buy_in_shares_spends_what_they_cost_at_its_limit(
    kind: OrderType, *, in_shares: bool, bought: str
) -> None:
    """20 shares at 0.50 are 10 USD, and these buy 25 at 0.40; or just 20, where that is asked for."""
    desk = Desk(evolve(PROMPT, buys_in_shares=in_shares))
    desk.book({30: 100}, {40: 300})
    sent = desk.send(order("0.50", 20, order_type=kind))
    assert desk.fills(sent) == [("0.4", bought)]
    assert desk.reports(sent)[-1][:2] == ("UPDATE", "MATCHED")


def test_a_buy_for_usd_is_all_or_nothing_as_fok() -> None:
    """What cannot buy the finest step of shares any more counts as spent; a lack of asks does not."""
    desk = Desk()
    desk.book({30: 100}, {33: 10, 34: 10})
    short = desk.send(OrderRequest.market_buy(Outcome.UP, Decimal(10), Decimal("0.34"), FOK))
    assert desk.answer(short).code == "fok_not_filled"
    whole = desk.send(OrderRequest.market_buy(Outcome.UP, Decimal(5), Decimal("0.34"), FOK))
    assert desk.answer(whole).result is PlaceResult.MATCHED
    spent = sum(Decimal(price) * Decimal(size) for price, size in desk.fills(whole))
    assert 5 - Decimal("0.0001") < spent <= 5


def test_post_only_is_refused_rather_than_taking() -> None:
    """It crosses: refused. It does not: it rests."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    crossing = desk.send(order("0.50", 10, post_only=True))
    assert desk.answer(crossing).code == "post_only_would_cross"
    assert desk.reports(crossing) == []
    resting = desk.send(order("0.49", 10, post_only=True))
    assert desk.answer(resting).result is PlaceResult.LIVE


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (order("0.505", 10), "tick_size"),
        (order("1.00", 10), "tick_size"),
        (order("0.40", 4), "min_size"),
        (order("0.40", "5.001"), "invalid_payload"),
        (order("0.50", "1", order_type=FAK), "min_notional"),
        (order("0.40", 10, order_type=FAK, post_only=True), "invalid_payload"),
        (evolve(order("0.40", 10), usd=Decimal(4)), "invalid_payload"),
        (order("0.333", 10, order_type=FAK), "tick_size"),
        (order("0.33", "10.01", order_type=FAK), "invalid_payload"),
        (order("0.50", 3000), "not_enough_balance"),
        (order("0.40", 3000), "not_enough_balance"),
        (order("0.50", 10, SELL), "not_enough_balance"),
        (gtd("0.40", 10, 1), "invalid_expiration"),
        (evolve(order("0.40", 10), expires=9_999_999_999), "invalid_expiration"),
    ],
)
def test_what_the_venue_refuses(request_: OrderRequest, code: str) -> None:
    """Ticks, sizes, sums, funds and times are checked as the venue does, with its codes."""
    desk = Desk()
    desk.book({48: 100}, {50: 5000})
    refused = desk.send(request_)
    assert (desk.answer(refused).result, desk.answer(refused).code) == (PlaceResult.REJECTED, code)
    assert desk.venue.account.cash == 1000
    assert desk.venue.open_orders() == []


def test_the_fee_has_to_be_paid_as_well() -> None:
    """Cash for the shares alone is not enough to take them; to rest it is."""
    desk = Desk(cash="5")
    desk.book({48: 100}, {50: 30})
    assert desk.answer(desk.send(order("0.50", 10))).code == "not_enough_balance"
    assert desk.answer(desk.send(order("0.49", 10))).result is PlaceResult.LIVE


def test_the_same_order_twice_is_a_duplicate() -> None:
    """The second is told that it exists; there is only one."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    first = desk.send(order("0.40", 10))
    desk.told.clear()
    desk._ids = 0
    assert desk.send(order("0.40", 10)) == first
    assert desk.answer(first).code == "duplicate"
    assert desk.answer(first).result is PlaceResult.UNKNOWN
    assert len(desk.venue.open_orders()) == 1


def test_the_same_order_twice_is_a_duplicate_while_it_is_held() -> None:
    """The taker delay hides it from the book, not from this rule: it is filled once."""
    desk = Desk(PaperModels(ConstantLatency(0), ConstantLatency(0), taker_delay_ms=50))
    desk.book({48: 100}, {50: 30})
    first = desk.send(order("0.50", 10))
    desk._ids = 0
    desk.send(order("0.50", 10))
    assert desk.answer(first).code == "duplicate"
    desk.wait(50)
    assert desk.fills(first) == [("0.5", "10")]


def test_what_was_due_before_a_message_happens_before_it() -> None:
    """An order that has arrived meets the book of its arrival, also if nobody looked until now."""
    desk = Desk(SLOW)
    desk.book({48: 100}, {50: 30})
    arrived = desk.send(order("0.52", 10))
    desk.now += 101
    desk.book({48: 100}, {52: 30})
    assert desk.fills(arrived) == [("0.5", "10")]


def test_a_book_older_than_the_last_change_is_not_believed() -> None:
    """A snapshot that was overtaken by a change would bring back what is gone."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    desk.now += 10
    desk.change(50, 0, is_bid=False)
    desk.now -= 5
    desk.book({48: 100}, {50: 30})
    desk.now += 5
    assert desk.ignored == ["older_snapshot"]
    assert desk.answer(desk.send(order("0.50", 10, order_type=FAK))).code == "fak_not_filled"


def test_a_finer_tick_allows_finer_prices() -> None:
    """The tick of the latest book counts."""
    desk = Desk()
    desk.book({3: 100}, {4: 30}, tick=10)
    assert desk.answer(desk.send(order("0.035", 100))).result is PlaceResult.LIVE


def test_an_order_meets_the_book_that_stands_after_the_latencies() -> None:
    """What is shown while it is on its way counts, what was shown when it was sent does not."""
    desk = Desk(SLOW)
    desk.book({48: 100}, {50: 30})
    late = desk.send(order("0.52", 10))
    desk.wait(99)
    assert not desk.is_answered(late)
    desk.book({48: 100}, {52: 30})
    desk.wait(1)
    assert desk.fills(late) == [("0.52", "10")]


def test_a_marketable_order_is_held_and_checked_again() -> None:
    """The taker delay: it meets the book of its end, and cannot be cancelled until then."""
    desk = Desk(PaperModels(ConstantLatency(0), ConstantLatency(0), taker_delay_ms=50))
    desk.book({48: 100}, {50: 30})
    held = desk.send(order("0.50", 10))
    assert desk.cancel(held).refused == {held: "order is delayed and cannot be canceled"}
    assert not desk.is_answered(held)
    desk.book({48: 100}, {51: 30})
    desk.wait(50)
    assert desk.answer(held).result is PlaceResult.LIVE
    assert desk.fills(held) == []


def test_the_check_after_the_delay_refuses_too() -> None:
    """Of two held orders that the cash allows one by one, the second is refused in the end."""
    desk = Desk(PaperModels(ConstantLatency(0), ConstantLatency(0), taker_delay_ms=50), cash="10")
    desk.book({48: 100}, {50: 30})
    first, second = desk.send(order("0.50", 15)), desk.send(order("0.50", 15))
    desk.wait(50)
    assert desk.answer(first).result is PlaceResult.MATCHED
    assert desk.answer(second).code == "not_enough_balance"


@pytest.mark.parametrize(
    ("bids", "asks"),
    [({1: 500}, {99: 500}), ({}, {99: 500}), ({1: 500}, {}), ({55: 10}, {50: 10}), ({}, {})],
)
def test_a_placeholder_or_crossed_book_is_not_traded_against(
    bids: dict[int, int | str], asks: dict[int, int | str]
) -> None:
    """Nobody means these quotes; orders that would take find nothing, those that rest do."""
    desk = Desk()
    desk.book(bids, asks)
    assert desk.answer(desk.send(order("0.99", 10, order_type=FAK))).code == "fak_not_filled"
    resting = desk.send(order("0.99", 10))
    assert desk.answer(resting).result is PlaceResult.LIVE
    desk.book(bids, asks)
    assert desk.fills(resting) == []
    assert desk.venue.account.cash == 1000


def test_a_one_sided_book_near_the_end_is_real() -> None:
    """The winner has bids at 0.99 and no asks; a seller takes them."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    desk.wait(2_000)
    desk.book({99: 500}, {})
    assert desk.fills(desk.send(order("0.99", 10, SELL))) == [("0.99", "10")]


def test_a_stale_book_is_not_traded_against() -> None:
    """After 30 seconds without a change nothing is taken, until the next one."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    desk.wait(PROMPT.stale_ms + 1)
    assert desk.answer(desk.send(order("0.50", 10, order_type=FAK))).code == "fak_not_filled"
    desk.change(48, 90, is_bid=True)
    assert desk.answer(desk.send(order("0.50", 10, order_type=FAK))).result is PlaceResult.MATCHED


def test_an_unknown_book_is_not_traded_against() -> None:
    """Before the first snapshot and after a loss there is nothing to take, and changes are void."""
    desk = Desk()
    assert desk.answer(desk.send(order("0.50", 10, order_type=FAK))).code == "fak_not_filled"
    desk.book({48: 100}, {50: 30})
    desk.venue.on_gap(desk.market.slug)
    desk.change(50, 30, is_bid=False)
    assert desk.ignored == ["unknown_book"]
    assert desk.answer(desk.send(order("0.50", 10, order_type=FAK))).code == "fak_not_filled"


def test_after_the_window_nothing_trades() -> None:
    """At its end what rests is cancelled, and new orders have no market."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    resting = desk.send(order("0.40", 10))
    desk.wait(desk.market.window.end * 1000 - desk.now)
    assert desk.reports(resting)[-1][:2] == ("CANCELLATION", "CANCELED_MARKET_RESOLVED")
    assert desk.answer(desk.send(order("0.40", 10))).code == "market_not_found"


def test_our_own_orders_meet_each_other_last() -> None:
    """At one price others are met first; then ours, and both sides are told."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    maker = desk.send(order("0.49", 20, outcome=Outcome.UP))
    desk.change(49, 5, is_bid=True)
    taker = desk.send(order("0.51", 12, outcome=Outcome.DOWN))
    assert desk.fills(taker) == [("0.51", "12")]
    assert desk.fills(maker) == [("0.49", "7")]
    assert desk.reports(maker)[-1] == ("UPDATE", "LIVE", 7)
