"""Random commands for one cycle or several, dense enough that they meet each other."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

from hypothesis import strategies as st

from polyframe.model.conversion import ConversionKind, ReceiptState
from polyframe.model.events import OrderEventKind, OrderReport, TradeReport
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.trade import TradeLeg, TradeStatus, mean_price
from polyframe.trading.commands import (
    AdjustPosition,
    AdoptOrder,
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyReceipt,
    ApplyResolution,
    ApplyTradeReport,
    BeginConversion,
    CancelOrder,
    CycleCommand,
    ExpireOrder,
    PlaceOrder,
    Query,
)
from tests.trading.builders import BUY, DOWN, SELL, UP, decs

Step = TypeVar("Step")
CENT = Decimal("0.01")

# Order n is known to the venue as vn and is always the same share and side, so that most reports fit
# the order that they meet. The last one is never placed by us, the first ones may come late.
_ROLES: tuple[tuple[Outcome, Side], ...] = ((UP, BUY), (UP, SELL), (DOWN, BUY), (UP, BUY))
_OURS = st.integers(0, 2)
_ALL = st.integers(0, 3)
_PRICES = st.sampled_from(decs("0.3", "0.5", "0.97"))
_SIZES = st.sampled_from(decs("5", "10"))
_PARTS = st.sampled_from(decs("2", "5", "9.995", "10"))
_MATCHED = st.sampled_from(decs("0", "2", "5", "9.995", "10"))
_STRATEGIES = st.sampled_from(["alpha", "beta"])
_TRADES = st.sampled_from(["t1", "t2", "t3", "t4"])
_STATUSES = st.sampled_from(
    [
        "LIVE",
        "MATCHED",
        "INVALID",
        "CANCELED",
        "CANCELED_MARKET_RESOLVED",
        "CANCELED_EXPIRED_ORDER",
        "UNMATCHED",
        "",
    ]
)
_TIMES = st.integers(1, 10**6)


def _token(outcome: Outcome, generation: int) -> str:
    return f"{'U' if outcome is UP else 'D'}{generation}"


def _place(
    generation: int, n: int, strategy: str, price: Decimal, size: Decimal, kind: OrderType, now: int
) -> PlaceOrder:
    outcome, side = _ROLES[n]
    return PlaceOrder(
        generation,
        f"c{n}",
        f"v{n}",
        strategy,
        _token(outcome, generation),
        OrderRequest(outcome, side, price, size, kind),
        now,
    )


def _order_report(
    generation: int,
    n: int,
    kind: OrderEventKind,
    status: str,
    price: Decimal,
    size: Decimal,
    matched: Decimal,
    now: int,
) -> ApplyOrderReport:
    outcome, side = _ROLES[n]
    token = _token(outcome, generation)
    report = OrderReport(f"v{n}", "m", token, kind, status, side, price, size, matched)
    return ApplyOrderReport(generation, report, now)


def _leg(generation: int, n: int, price: Decimal, size: Decimal, taker: bool) -> TradeLeg:
    outcome, side = _ROLES[n]
    levels: tuple[tuple[Decimal, Decimal], ...] = ()
    if taker and size > 5:
        # A taker may meet several prices, and thirds of a cent are no round mean.
        levels = ((price, size - 3), (price - CENT, Decimal(3)))
        price = mean_price(levels)
    return TradeLeg(f"v{n}", _token(outcome, generation), side, price, size, taker, levels)


def _trade_report(
    generation: int, trade: str, status: TradeStatus, legs: list[TradeLeg], now: int
) -> ApplyTradeReport:
    report = TradeReport(f"{trade}", "m", _token(UP, generation), status, tuple(legs))
    return ApplyTradeReport(generation, report, now)


def commands(generation: int) -> st.SearchStrategy[CycleCommand]:
    """Return any command of one cycle."""
    cycle = st.just(generation)
    legs = st.lists(
        st.builds(_leg, cycle, _ALL, _PRICES, _PARTS, st.booleans()), min_size=1, max_size=2
    )
    trades = st.builds(_trade_report, cycle, _TRADES, st.sampled_from(TradeStatus), legs, _TIMES)
    places = st.builds(
        _place, cycle, _OURS, _STRATEGIES, _PRICES, _SIZES, st.sampled_from(OrderType), _TIMES
    )
    clients = _OURS.map("c{}".format)
    conversion_ids = st.sampled_from(["k1", "k1", "k2"])
    begins = st.builds(
        BeginConversion,
        cycle,
        conversion_ids,
        _STRATEGIES,
        st.sampled_from(ConversionKind),
        st.sampled_from(decs("1.5", "3", "10")),
        _TIMES,
    )
    receipts = st.builds(
        ApplyReceipt,
        cycle,
        conversion_ids,
        st.sampled_from([*ReceiptState, ReceiptState.CONFIRMED, ReceiptState.CONFIRMED]),
        st.sampled_from(["", "x1"]),
        st.just("text"),
        _TIMES,
    )
    trading = st.one_of(
        places,
        places,
        trades,
        trades,
        st.builds(
            _order_report,
            cycle,
            _ALL,
            st.sampled_from(OrderEventKind),
            _STATUSES,
            _PRICES,
            _SIZES,
            _MATCHED,
            _TIMES,
        ),
        st.builds(
            ApplyPlaceAnswer,
            cycle,
            clients,
            st.sampled_from(PlaceResult),
            st.just("code"),
            st.just("text"),
            _TIMES,
        ),
        st.builds(CancelOrder, cycle, clients | st.just("v3"), _TIMES),
        st.builds(ExpireOrder, cycle, clients | st.just("v3"), st.just("over"), _TIMES),
        st.builds(
            ApplyCancelAnswer,
            cycle,
            clients | st.just("v3"),
            st.booleans(),
            st.just("text"),
            _TIMES,
        ),
        st.builds(
            AdjustPosition,
            cycle,
            _STRATEGIES | st.just(""),
            st.sampled_from(Outcome),
            st.sampled_from(decs("-5", "3", "10")),
            st.sampled_from(decs("-3", "0", "2")),
            st.just("test"),
            _TIMES,
        ),
        begins,
        receipts,
        receipts,
        st.builds(AdoptOrder, cycle, clients | st.just("v3"), _STRATEGIES, _TIMES),
        st.builds(Query, cycle),
    )
    resolution = st.builds(ApplyResolution, cycle, st.sampled_from(Outcome), _TIMES)
    # Rare, because little is left to happen after it.
    return st.integers(0, 29).flatmap(lambda n: resolution if n == 29 else trading)


def opening(generation: int) -> list[CycleCommand]:
    """Return commands after which alpha holds shares and has three orders."""
    half, ten = decs("0.5", "10")
    shares = AdjustPosition(generation, "alpha", UP, ten + ten, -half, "opening", 1)
    places = [_place(generation, n, "alpha", half, ten, OrderType.GTC, 1) for n in range(3)]
    return [shares, *places]


def scripts(step: st.SearchStrategy[Step], longest: int) -> st.SearchStrategy[list[Step]]:
    """Return lists of all lengths up to `longest`, equally likely.

    Left to itself, hypothesis prefers short lists, in which little meets.
    """
    return st.integers(0, longest).flatmap(lambda n: st.lists(step, min_size=n, max_size=n))
