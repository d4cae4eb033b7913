"""Checks of an account by the venue's records."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyframe.exchange.polymarket.checks import AccountReport, ProfitCheck, check_profit
from polyframe.exchange.polymarket.dataapi import DataClient
from polyframe.exchange.polymarket.datarecords import RecordedPosition, read_position
from polyframe.exchange.polymarket.restcalls import Region
from polyframe.exchange.polymarket.wire import parse_json
from tests.exchange.client import ask
from tests.exchange.kit import ADDRESS, CONDITION, encoded
from tests.exchange.test_dataapi import ACTIVITY, POSITION, page
from tests.exchange.test_rest import HOSTS, Venue


def held(**changes: object) -> RecordedPosition:
    """Return a position that differs in some fields."""
    return read_position(parse_json(encoded(POSITION | changes)))


def test_a_report_says_what_an_account_has() -> None:
    """Cash, orders, living positions, and what resolved markets still pay."""
    won = held(current_size=10, current_price=1)
    lost = held(current_size=7, current_price=0)
    alive = held(redeemable=False, current_price=None)
    report = AccountReport(
        cash=Decimal("993.5"),
        is_closed_only=True,
        region=Region(is_blocked=True, country="US", part="NY"),
        open_orders=2,
        positions=(won, lost, alive),
    )
    assert report.redeemable == 10
    assert report.describe() == (
        "993.5 USD, 2 open orders, 1 positions in open markets, 10 USD to redeem, may only reduce, "
        "orders from US are refused"
    )


@pytest.mark.parametrize(
    ("profit", "agrees", "difference"),
    [("3.8", True, "0"), ("3.791", True, "0.009"), ("3.7", False, "0.1"), ("13.8", False, "-10")],
)
def test_a_profit_is_compared_with_what_moved_and_what_is_still_paid(
    profit: str, agrees: bool, difference: str
) -> None:
    """Ten shares bought for 6.20 that pay 10 and are not redeemed yet: 3.80."""
    venue = Venue(page(ACTIVITY), page(POSITION | {"current_size": 10, "current_price": 1}))
    found = ask(
        venue,
        lambda http, skips: DataClient(http, HOSTS, ADDRESS, skips),
        lambda records: check_profit(records, CONDITION, Decimal(profit)),
    )
    expected = ProfitCheck(ours=Decimal(profit), recorded=Decimal("-6.2"), unredeemed=Decimal(10))
    assert found == expected
    assert found.agrees is agrees
    assert found.difference == Decimal(difference)
