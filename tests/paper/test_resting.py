"""Orders that rest: when they are filled, in which order, and how they end."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from polyframe.model.events import TickSizeChange, TradePrint
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, PlaceResult, Side
from polyframe.model.trade import TradeStatus
from polyframe.paper.queues import CancelsBehind, Touch
from tests.paper.kit import PROMPT, Desk, gtd, order, total

BUY, SELL = Side.BUY, Side.SELL
BEHIND = evolve(PROMPT, queue=CancelsBehind())


def test_trades_fill_what_gets_past_the_queue() -> None:
    """With 100 shares before it, a bid gets what is sold beyond these, at its own price."""
    desk = Desk(BEHIND)
    desk.book({48: 100}, {50: 30})
    bid = desk.send(order("0.48", 20))
    desk.print(48, 90, SELL)
    assert desk.fills(bid) == []
    desk.change(48, 10, is_bid=True)
    desk.print(48, 15, SELL)
    assert desk.fills(bid) == [("0.48", "5")]
    desk.print(48, 100, SELL)
    assert desk.fills(bid) == [("0.48", "5"), ("0.48", "15")]
    assert desk.reports(bid)[-1] == ("UPDATE", "MATCHED", 20)
    assert desk.venue.account.cash == 1000 - Decimal("9.60")  # makers pay no fee
    (first, _) = desk.trades(TradeStatus.MATCHED)
    assert not first.legs[0].is_taker


@pytest.mark.parametrize(
    ("outcome", "cents", "side"), [(Outcome.UP, 48, SELL), (Outcome.DOWN, 52, BUY)]
)
def test_a_trade_of_either_token_counts(outcome: Outcome, cents: int, side: Side) -> None:
    """Who buys Down at 0.52 sells Up at 0.48 (PROTOCOL §2.2); the print names the taker's token."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    bid = desk.send(order("0.48", 20))
    desk.print(cents, 110, side, outcome)
    assert desk.fills(bid) == [("0.48", "10")]


def test_a_bid_for_down_is_filled_by_who_buys_up() -> None:
    """It stands among the asks for Up, and its fills are in terms of Down."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    bid = desk.send(order("0.50", 20, outcome=Outcome.DOWN))
    desk.print(50, 40, BUY)
    assert desk.fills(bid) == [("0.5", "10")]
    assert desk.venue.account.shares == {desk.market.down_token: Decimal(10)}


def test_a_trade_on_the_other_side_is_none_of_ours() -> None:
    """Who buys at our bid's price or above meets asks."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    bid = desk.send(order("0.48", 20))
    desk.print(50, 500, BUY)
    desk.print(49, 500, SELL)
    assert desk.fills(bid) == []


def test_a_trade_at_a_worse_price_went_through_us() -> None:
    """Who sells at 0.47 would have met a bid at 0.48 before, whatever its queue."""
    desk = Desk()
    desk.book({48: 1000, 47: 50}, {50: 30})
    bid = desk.send(order("0.48", 20))
    desk.print(47, 15, SELL)
    assert desk.fills(bid) == [("0.48", "15")]


def test_an_offer_at_our_price_would_have_met_us() -> None:
    """If others ask no more than we bid, we buy at our bid: they came after us."""
    desk = Desk()
    desk.book({48: 1000}, {50: 30})
    bid = desk.send(order("0.48", 20))
    desk.book({46: 100}, {47: 12, 48: 3})
    assert desk.fills(bid) == [("0.48", "15")]
    desk.change(47, 12, is_bid=False)
    assert total(desk.fills(bid)) == 15


def test_one_trade_fills_no_more_than_its_size() -> None:
    """Two orders share what gets past their queues: the better price first, then the older."""
    desk = Desk()
    desk.book({47: 100}, {50: 30})
    older, younger = desk.send(order("0.48", 10)), desk.send(order("0.48", 10))
    better = desk.send(order("0.49", 10))
    desk.print(48, 25, SELL)
    assert [total(desk.fills(each)) for each in (better, older, younger)] == [10, 10, 5]


def test_touch_fills_whole_orders() -> None:
    """The optimist's model gives everything to everybody at the first trade."""
    desk = Desk(evolve(PROMPT, queue=Touch()))
    desk.book({48: 1000}, {50: 30})
    first, second = desk.send(order("0.48", 10)), desk.send(order("0.48", 10))
    desk.print(48, 1, SELL)
    assert total(desk.fills(first)) + total(desk.fills(second)) == 20


def test_prints_that_cannot_be_used_are_counted() -> None:
    """Without a size, without a side between the two sides, of another market, on no real book."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    bid = desk.send(order("0.48", 20))
    desk.print(48, None, SELL)
    desk.print(49, 500, None)
    desk.hear(TradePrint(desk.market.condition_id, "other", 4800, Decimal(500), SELL, desk.now))
    desk.book({1: 100}, {99: 30})
    desk.print(48, 500, SELL)
    assert desk.ignored == ["print_size", "print_side", "token", "print_untradable"]
    assert desk.fills(bid) == []


def test_a_print_without_a_side_takes_the_side_that_it_touches() -> None:
    """At the best bid somebody sold, at the best ask somebody bought."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    bid, ask = desk.send(order("0.48", 20)), desk.send(order("0.50", 20, outcome=Outcome.DOWN))
    desk.print(48, 110, None)
    desk.print(50, 35, None)
    assert [total(desk.fills(each)) for each in (bid, ask)] == [10, 5]


def test_messages_that_cannot_be_used_are_counted() -> None:
    """A book of another market, an older one, a price off the grid: nothing of it counts."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    other = evolve(desk.market, up_token="x")
    mine, desk.market = desk.market, other
    desk.book({40: 1}, {60: 1})
    desk.change(50, 1, is_bid=False)
    desk.market = mine
    desk.now -= 5
    desk.book({40: 1}, {60: 1})
    desk.now += 5
    desk.change(100, 1, is_bid=False)
    desk.book({100: 1}, {60: 1})
    assert desk.ignored == ["token", "token", "older_snapshot", "price", "price"]
    assert desk.fills(desk.send(order("0.50", 30, order_type=OrderType.FAK))) == [("0.5", "30")]


def test_a_change_of_the_tick_counts_at_once() -> None:
    """It comes as a message of its own too."""
    desk = Desk()
    desk.book({3: 100}, {4: 30})
    desk.hear(TickSizeChange(desk.market.condition_id, desk.market.up_token, 10, desk.now))
    assert desk.answer(desk.send(order("0.035", 100))).result is PlaceResult.LIVE


def test_an_order_that_came_without_a_book_joins_when_there_is_one() -> None:
    """Its place cannot be known before; then everybody shown stands before it."""
    desk = Desk(BEHIND)
    bid = desk.send(order("0.48", 20))
    desk.book({48: 100}, {50: 30})
    desk.print(48, 110, SELL)
    assert desk.fills(bid) == [("0.48", "10")]


def test_a_gap_credits_nothing_but_what_is_gone() -> None:
    """After a loss the queue before us is no longer than what is shown, and otherwise as it was."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    bid = desk.send(order("0.48", 20))
    desk.change(48, 400, is_bid=True)
    desk.venue.on_gap(desk.market.slug)
    desk.book({48: 300}, {50: 30})
    desk.wait(1_000)  # a drop that was credited would be forgotten by now
    desk.print(48, 100, SELL)
    assert desk.fills(bid) == []
    desk.venue.on_gap(desk.market.slug)
    desk.book({48: 200}, {50: 30})
    desk.print(48, 5, SELL)
    assert desk.fills(bid) == [("0.48", "5")]


def test_a_cancel_releases_what_was_held() -> None:
    """The answer names the order, a report follows, and a second cancel is refused."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    bid = desk.send(order("0.48", 20))
    assert desk.venue.held_cash == Decimal("9.60")
    assert desk.cancel(bid).cancelled == {bid}
    assert desk.reports(bid)[-1] == ("CANCELLATION", "CANCELED", 0)
    assert desk.venue.held_cash == 0
    desk.print(48, 500, SELL)
    assert desk.fills(bid) == []
    assert desk.cancel(bid, "nobody").refused == {
        bid: "already canceled or matched",
        "nobody": "Order not found or already canceled: nobody",
    }


def test_held_cash_cannot_be_spent_twice() -> None:
    """Open orders reserve: what is left is too little for another."""
    desk = Desk(cash="10")
    desk.book({48: 100}, {50: 30})
    first = desk.send(order("0.40", 20))
    assert desk.answer(desk.send(order("0.40", 20))).code == "not_enough_balance"
    desk.cancel(first)
    assert desk.answer(desk.send(order("0.40", 20))).result is PlaceResult.LIVE


def test_held_shares_cannot_be_sold_twice() -> None:
    """An open sell reserves its shares."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    desk.wait(2_000)
    first = desk.send(order("0.60", 6, SELL))
    assert desk.answer(desk.send(order("0.60", 6, SELL))).code == "not_enough_balance"
    desk.cancel(first)
    assert desk.answer(desk.send(order("0.60", 6, SELL))).result is PlaceResult.LIVE


def test_a_gtd_order_ends_a_minute_before_its_time() -> None:
    """As the venue does it (PROTOCOL §2.8)."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    seconds = desk.now // 1000
    bid = desk.send(gtd("0.48", 20, seconds + 200))
    desk.wait(139_999)
    assert desk.reports(bid)[-1][0] == "PLACEMENT"
    desk.wait(1)
    assert desk.reports(bid)[-1][:2] == ("CANCELLATION", "CANCELED_EXPIRED_ORDER")
    ended = desk.send(gtd("0.48", 20, seconds + 400))
    desk.cancel(ended)
    desk.wait(200_000)
    assert len(desk.reports(ended)) == 2
