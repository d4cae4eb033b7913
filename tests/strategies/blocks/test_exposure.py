"""What buys come to at most."""

from __future__ import annotations

from decimal import Decimal

import attrs

from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.strategies.blocks.worstcase import most_cost, most_shares
from tests.strategies.blocks.test_requote import RESTING

UP, DOWN = Outcome.UP, Outcome.DOWN


def check(order: Order, shares: str, cost: str, *certain: str) -> None:
    """Check what one order comes to."""
    found = most_shares([order], UP, certain), most_cost([order], certain)
    assert found == (Decimal(shares), Decimal(cost))


def test_an_open_buy_counts_in_full() -> None:
    """Also one of which nobody knows whether it exists, and one that is being cancelled."""
    for status in OrderStatus:
        if not status.is_final:
            check(attrs.evolve(RESTING, status=status), "20", "10.00")


def test_a_buy_that_is_over_counts_in_full_until_it_is_certain() -> None:
    """A trade of the instant before may still be told; a refused order has none."""
    for status in OrderStatus:
        if status.is_final and status is not OrderStatus.REJECTED:
            check(attrs.evolve(RESTING, status=status), "20", "10.00")
    check(attrs.evolve(RESTING, status=OrderStatus.REJECTED), "0", "0.00")


def test_a_buy_that_is_certainly_over_counts_what_it_got() -> None:
    """What was matched counts before its trade is told, and also if that failed."""
    ended = attrs.evolve(RESTING, status=OrderStatus.CANCELLED)
    check(ended, "0", "0.00", "1")
    check(attrs.evolve(ended, filled=Decimal(5)), "5", "2.50", "1")
    check(attrs.evolve(ended, matched=Decimal(7)), "7", "3.50", "1")
    check(attrs.evolve(ended, filled=Decimal(7), matched=Decimal(5)), "7", "3.50", "1")


def test_a_buy_for_a_sum_costs_that_sum_at_most() -> None:
    """More shares for the same money at a better price: the cost stays, in whole cents."""
    order = attrs.evolve(
        RESTING, price=Decimal("0.37"), size=Decimal("27.0270"), status=OrderStatus.FILLED
    )
    assert most_cost([attrs.evolve(order, filled=Decimal("40.1"))]) == 10


def test_sells_and_the_other_outcome_do_not_count() -> None:
    """Shares are counted by outcome, cost over both."""
    orders = [
        RESTING,
        attrs.evolve(RESTING, outcome=DOWN, size=Decimal(8)),
        attrs.evolve(RESTING, side=Side.SELL, size=Decimal(100)),
    ]
    assert most_shares(orders, UP) == 20
    assert most_shares(orders, DOWN) == 8
    assert most_cost(orders) == 14
