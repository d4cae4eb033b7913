"""The prices that a taker met, read from the makers of its trade (PROTOCOL §5.5)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.events import TradeReport
from polyframe.model.order import Side
from polyframe.model.trade import TradeLeg
from tests.exchange.kit import DOWN, UP, Wire, sample
from tests.exchange.test_wire_user import MAKER, OTHER, TRADE


def _read(value: Any) -> tuple[TradeLeg, dict[str, int]]:
    """Return the one leg of a trade, and what was skipped."""
    wire = Wire()
    (report,) = wire.user(value)
    assert isinstance(report, TradeReport)
    (leg,) = report.legs
    return leg, wire.skipped


def _maker(amount: str, price: str, token: str = UP, side: str = "SELL") -> dict[str, Any]:
    return MAKER | {"matched_amount": amount, "price": price, "asset_id": token, "side": side}


@pytest.mark.parametrize(
    ("side", "makers"),
    [
        ("BUY", [("100", "0.52", UP, "SELL"), ("50", "0.53", UP, "SELL")]),
        ("BUY", [("100", "0.48", DOWN, "BUY"), ("50", "0.53", UP, "SELL")]),
        ("BUY", [("100", "0.48", DOWN, ""), ("50", "0.47", DOWN, "")]),
        ("SELL", [("100", "0.52", UP, "BUY"), ("50", "0.47", DOWN, "SELL")]),
        ("SELL", [("60", "0.52", UP, ""), ("50", "0.53", UP, ""), ("40", "0.48", DOWN, "")]),
    ],
    ids=["same_token", "mint_and_same", "mint", "same_and_merge", "one_price_twice"],
)
def test_a_taker_has_the_prices_that_it_met(
    side: str, makers: list[tuple[str, str, str, str]]
) -> None:
    """Makers of its token trade at their price, those of the other at the rest of the dollar (§5.5)."""
    trade = {"side": side, "size": "150", "price": "0.523333"}
    leg, skipped = _read(TRADE | trade | {"maker_orders": [_maker(*maker) for maker in makers]})
    assert leg.levels == ((Decimal("0.52"), Decimal(100)), (Decimal("0.53"), Decimal(50)))
    assert skipped == {}
    assert leg.price == Decimal("0.52333333333333333333")
    assert round(leg.price * leg.size, 12) == Decimal("78.5")
    assert (leg.size, leg.is_taker, leg.side) == (Decimal(150), True, Side(side))


def test_the_same_trade_from_both_sources_has_the_same_leg() -> None:
    """REST prefixes the status and names no sides; prices and sizes come out alike."""
    makers = [_maker("100", "0.52"), _maker("50", "0.47", DOWN, "BUY")]
    bare = [{key: maker[key] for key in maker if key != "side"} for maker in makers]
    told = TRADE | {"size": "150", "price": "0.523333"}
    listed = told | {"status": "TRADE_STATUS_MINED", "maker_orders": bare}
    assert _read(told | {"maker_orders": makers}) == _read(listed)


def test_a_single_level_is_its_price() -> None:
    """Several makers at one price are no levels; that price is believed to its last digit."""
    makers = [_maker("2", "0.5235"), _maker("3", "0.4765", DOWN, "BUY")]
    leg, _ = _read(TRADE | {"price": "0.52", "maker_orders": makers})
    assert leg == TradeLeg("0xtaker", UP, Side.BUY, Decimal("0.5235"), Decimal(5), True)


def test_the_recorded_trade_of_six_makers_as_its_taker_sees_it() -> None:
    """Five sold Yes at 0.518, one bought No at 0.482: that is one price, as the venue says."""
    trade = json.loads(sample("ws_user_trade_maker_many")) | {"trader_side": "TAKER"}
    strangers = {"owner": OTHER, "maker_address": "0x629B"}
    trade["maker_orders"] = [maker | strangers for maker in trade["maker_orders"]]
    leg, skipped = _read(trade)
    assert (leg.price, leg.size, leg.levels) == (Decimal("0.518"), Decimal("1096.87"), ())
    assert skipped == {}


@pytest.mark.parametrize(
    "makers",
    [
        [],
        None,
        5,
        ["junk"],
        [_maker("4", "0.52")],
        [_maker("5", "0.52"), _maker("1", "0.52")],
        [_maker("5", "1.52")],
        [_maker("5", "abc")],
        [_maker("6", "0.52"), _maker("-1", "0.52")],
        [_maker("5", "0.52", "")],
        [_maker("5", "0.52", UP, "BUY")],
        [_maker("5", "0.48", DOWN, "SELL")],
    ],
)
def test_makers_that_do_not_add_up_leave_the_stated_price(makers: object) -> None:
    """The taker's leg is booked as it is stated, and it is counted that its price is a rounded one."""
    leg, skipped = _read(TRADE | {"maker_orders": makers})
    assert (leg.price, leg.size, leg.levels) == (Decimal("0.52"), Decimal(5), ())
    assert skipped["trade_levels"] == 1


def test_the_documented_trade_whose_makers_are_too_many_is_booked_as_stated() -> None:
    """The sample's makers have 30 shares, its taker 25."""
    leg, skipped = _read(sample("clob_trade_two_makers"))
    assert (leg.price, leg.size, leg.levels) == (Decimal("0.5"), Decimal(25), ())
    assert skipped == {"trade_levels": 1}


def test_makers_are_believed_more_than_the_stated_price() -> None:
    """What makers asked for is what changes hands; that the trade says something else is counted."""
    makers = [_maker("3", "0.5"), _maker("2", "0.51")]
    leg, skipped = _read(TRADE | {"price": "0.52", "maker_orders": makers})
    assert leg.price == Decimal("0.504")
    assert skipped == {"trade_price": 1}


PRICES = st.integers(1, 9_999).map(lambda units: Decimal(units).scaleb(-4))
SIZES = st.integers(1, 10**12).map(lambda units: Decimal(units).scaleb(-6))


@given(st.lists(st.tuples(PRICES, SIZES, st.booleans()), min_size=1, max_size=8))
def test_a_mean_price_times_the_size_is_what_was_paid(
    parts: list[tuple[Decimal, Decimal, bool]],
) -> None:
    """Whatever prices a taker met: to 12 decimals, which is more than any amount of money has."""
    paid = sum(price * size for price, size, _ in parts)
    total = sum((size for _, size, _ in parts), Decimal(0))
    makers = [
        _maker(f"{size:f}", f"{1 - price:f}", DOWN, "BUY")
        if mints
        else _maker(f"{size:f}", f"{price:f}")
        for price, size, mints in parts
    ]
    stated = f"{(paid / total).quantize(Decimal('0.000001')):f}"
    leg, skipped = _read(TRADE | {"size": f"{total:f}", "price": stated, "maker_orders": makers})
    assert round(leg.price * leg.size, 12) == paid
    assert sum(price * size for price, size in leg.parts) == paid
    assert len({price for price, _ in leg.parts}) == len(leg.parts)
    assert skipped == {}
