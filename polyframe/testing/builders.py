"""Plausible values with few words: markets, books, and what the venue says of orders and trades."""

from __future__ import annotations

from decimal import Decimal

from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    LevelChange,
    OrderEventKind,
    OrderReport,
    TradeReport,
)
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS, ZERO
from polyframe.model.order import Side
from polyframe.model.series import Series
from polyframe.model.trade import TradeLeg, TradeStatus

START = 1_790_586_000
"""Epoch seconds at which a window of every 5-minute, 15-minute and hourly series begins."""

CRYPTO_FEES = FeeSchedule(rate=Decimal("0.07"))
"""The taker fee of the venue's crypto markets (PROTOCOL §2.9)."""


def make_market(
    series: Series | str = "btc-updown-15m",
    start: float = START,
    *,
    fees: FeeSchedule = CRYPTO_FEES,
    tick_size: Decimal = Decimal("0.01"),
) -> Market:
    """Return the market of the window of `series` that contains epoch second `start`."""
    series = Series.parse(series)
    window = series.window_at(start)
    return Market(
        slug=series.slug(window),
        series=series,
        window=window,
        condition_id=f"0x{series.asset}{series.period}{window.start}",
        up_token=f"{series.asset}-{series.period}-{window.start}-up",
        down_token=f"{series.asset}-{series.period}-{window.start}-down",
        tick_size=tick_size,
        fees=fees,
    )


def book_snapshot(
    market: Market,
    outcome: Outcome,
    *,
    bid: int = 4900,
    ask: int = 5100,
    size: Decimal = Decimal(100),
    time_ms: int = 0,
) -> BookSnapshot:
    """Return a book of one level a side, prices in units of 1e-4 USD (0 or 10,000: no level)."""
    return BookSnapshot(
        market=market.condition_id,
        token=market.token(outcome),
        bids=((bid, size),) if bid else (),
        asks=((ask, size),) if ask < PRICE_UNITS else (),
        timestamp_ms=time_ms,
    )


def book_delta(
    market: Market,
    outcome: Outcome,
    *,
    price: int,
    size: Decimal,
    is_bid: bool,
    time_ms: int = 0,
) -> BookDelta:
    """Return a change of one level of one token, the price in units of 1e-4 USD."""
    change = LevelChange(market.token(outcome), is_bid, price, size)
    return BookDelta(market.condition_id, (change,), time_ms)


def order_report(
    market: Market,
    order_id: str,
    outcome: Outcome = Outcome.UP,
    *,
    kind: OrderEventKind = OrderEventKind.PLACEMENT,
    status: str = "LIVE",
    side: Side = Side.BUY,
    price: Decimal = Decimal("0.50"),
    size: Decimal = Decimal(10),
    matched: Decimal = ZERO,
    time_ms: int = 0,
) -> OrderReport:
    """Return what the venue says of one order, by default of a 10-share buy of Up at 0.50."""
    return OrderReport(
        order_id=order_id,
        market=market.condition_id,
        token=market.token(outcome),
        kind=kind,
        status=status,
        side=side,
        price=price,
        original_size=size,
        size_matched=matched,
        timestamp_ms=time_ms,
    )


def trade_report(
    market: Market,
    trade_id: str,
    order_id: str,
    outcome: Outcome = Outcome.UP,
    *,
    side: Side = Side.BUY,
    price: Decimal = Decimal("0.50"),
    size: Decimal = Decimal(10),
    status: TradeStatus = TradeStatus.MATCHED,
    is_taker: bool = True,
    time_ms: int = 0,
) -> TradeReport:
    """Return a trade in which one order of ours took part, by default a 10-share buy at 0.50."""
    token = market.token(outcome)
    return TradeReport(
        trade_id=trade_id,
        market=market.condition_id,
        token=token,
        status=status,
        legs=(TradeLeg(order_id, token, side, price, size, is_taker),),
        match_time_ms=time_ms,
        timestamp_ms=time_ms,
    )
