"""Trades in which a taker met several prices: booked to the last digit, wherever they are kept."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.model.order import OrderStatus, Side
from polyframe.model.trade import TradeLeg, TradeStatus, mean_price
from polyframe.trading.account import Account, Stock
from polyframe.trading.image import CycleImage
from polyframe.trading.ledger import Ledger
from polyframe.trading.state import CycleState
from tests.support.produce_ledger import begun
from tests.trading.builders import BUY, SELL, UP, Desk, applied, dec, decs, make_market

Levels = tuple[tuple[Decimal, Decimal], ...]

EXAMPLE: Levels = ((dec("0.52"), dec("100")), (dec("0.53"), dec("50")))
PRICES = st.integers(1, 9_999).map(lambda units: Decimal(units).scaleb(-4))
SIZES = st.integers(1, 10**9).map(lambda units: Decimal(units).scaleb(-6))
LEVELS = st.lists(
    st.tuples(PRICES, SIZES), min_size=1, max_size=6, unique_by=lambda level: level[0]
).map(tuple)


def met(venue_id: str, levels: Levels, side: Side = BUY) -> TradeLeg:
    """Return the taker's part in a trade at several prices."""
    token = make_market().token(UP)
    size = sum((size for _, size in levels), Decimal(0))
    return TradeLeg(venue_id, token, side, mean_price(levels), size, True, levels)


def paid(levels: Levels) -> Decimal:
    """Return the USD that changed hands, without fees."""
    return sum((price * size for price, size in levels), Decimal(0))


def fee(levels: Levels) -> Decimal:
    """Return the fee at each price, each rounded to five decimals (PROTOCOL §2.9)."""
    fees = make_market().fees
    return sum((fees.taker_fee(size, price) for price, size in levels), Decimal(0))


def taken(levels: Levels = EXAMPLE, status: TradeStatus = TradeStatus.MATCHED) -> Desk:
    """Return a desk whose order took several prices."""
    desk = Desk("10000000")
    size = sum((size for _, size in levels), Decimal(0))
    desk.live("c1", BUY, "0.9999", f"{size:f}")
    applied(desk.trade("t1", met("v1", levels), status=status))
    return desk


def test_cash_and_fee_are_those_of_each_price() -> None:
    """100 at 0.52 and 50 at 0.53 cost 78.5 USD and two fees, not 150 times a rounded average."""
    desk = taken()
    position = desk.state.position(UP, "alpha")
    assert (position.cost, position.fees) == decs("78.5", "2.61905")
    assert desk.account.cash == dec("10000000") - dec("78.5") - dec("2.61905")
    order = desk.order("c1")
    assert (order.fees, order.status) == (dec("2.61905"), OrderStatus.FILLED)
    assert order.average_price == dec("0.523333333333")
    assert (desk.state.volume, desk.state.cash_flow) == decs("78.5", "-81.11905")


def test_it_is_one_fill_whatever_its_prices() -> None:
    """The fill has the mean price, and later statuses and repetitions change no money."""
    desk = taken()
    cash = desk.account.cash
    applied(desk.trade("t1", met("v1", EXAMPLE), status=TradeStatus.MINED))
    desk.trade("t1", met("v1", EXAMPLE))
    (fill,) = desk.state.fills.values()
    assert (fill.size, round(fill.price, 6)) == decs("150", "0.523333")
    assert fill.status is TradeStatus.MINED
    assert desk.account.cash == cash


@settings(deadline=None)
@given(LEVELS, LEVELS)
def test_cash_is_exact_whatever_was_bought_and_sold(bought: Levels, sold: Levels) -> None:
    """Every USD that a level moved is moved here, and a trade that fails brings all of it back."""
    desk = taken(bought)
    cash = dec("10000000") - paid(bought) - fee(bought)
    assert desk.account.cash == cash
    size = sum((size for _, size in sold), Decimal(0))
    desk.adjust(f"{size:f}")
    desk.live("c2", SELL, "0.0001", f"{size:f}")
    applied(desk.trade("t2", met("v2", sold, SELL)))
    assert desk.account.cash == cash + paid(sold) - fee(sold)
    assert desk.state.bought == paid(bought)
    assert desk.state.volume == paid(bought) + paid(sold)
    applied(desk.trade("t1", met("v1", bought), status=TradeStatus.FAILED))
    assert desk.account.cash == dec("10000000") + paid(sold) - fee(sold)
    applied(desk.trade("t2", met("v2", sold, SELL), status=TradeStatus.FAILED))
    assert desk.account.cash == dec("10000000")
    assert (desk.state.volume, desk.state.fees, desk.state.cash_flow) == decs("0", "0", "0")


@settings(deadline=None)
@given(LEVELS)
def test_a_snapshot_keeps_it_to_the_last_digit(levels: Levels) -> None:
    """Read back from a file, cost and cash flow are the same, and a failure undoes the same."""
    desk = taken(levels)
    image = msgspec.json.decode(msgspec.json.encode(desk.state.image()), type=CycleImage)
    copy = CycleState.restored(image, Account(dec("0")))
    assert copy.snapshot() == desk.state.snapshot()
    copy.account.take_stock(Stock(desk.account.cash))
    again = Desk(state=copy)
    applied(again.trade("t1", met("v1", levels), status=TradeStatus.FAILED))
    assert copy.account.cash == dec("10000000")
    assert copy.cash_flow == 0


def test_the_ledger_keeps_it_to_the_last_digit(tmp_path: Path) -> None:
    """The fill that is read back is the one that was booked: its price says what was paid."""
    desk = Desk()
    desk.live("c1", BUY, "0.6", "150")
    changes = applied(desk.trade("t1", met("v1", EXAMPLE))).changes
    path, market = tmp_path / "trades.sqlite", desk.state.market
    ledger = begun(path)
    ledger.changed(market, changes)
    ledger.close()
    with Ledger.open(path) as reader:
        (fill,) = reader.fills(market.slug)
    assert fill == desk.state.fills["t1", "c1"]
    assert round(fill.price * fill.size, 12) == dec("78.5")
