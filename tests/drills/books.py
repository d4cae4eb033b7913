"""Comparing our books and the ledger with the venue's own records."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from polyframe.model.order import Order, OrderStatus
from polyframe.model.trade import TradeStatus
from polyframe.trading.ledger import CycleStatus, Ledger

if TYPE_CHECKING:
    from tests.drills.kit import Drill


def trades_are_final(done: Drill) -> bool:
    """Return whether every fill is settled or taken back."""
    states = [done.env.settlement.state(record.slug) for record in done.env.ledger]
    fills = [fill for state in states if state is not None for fill in state.fills.values()]
    ends = {TradeStatus.CONFIRMED, TradeStatus.FAILED}
    return {fill.status for fill in fills} <= ends


def venue_orders(done: Drill) -> dict[str, str]:
    """Return how the account's orders ended at the venue."""
    blotter, account = done.venue._blotter, done.venue.account
    return {o.order_id: o.status for o in blotter.orders.values() if o.account is account}


Key = tuple[str, str]


def venue_fills(done: Drill) -> dict[Key, tuple[Decimal, str]]:
    """Return the account's fills at the venue by trade and order: shares, and settlement."""
    found: dict[Key, tuple[Decimal, str]] = {}
    account = done.venue.account
    for trade in done.venue._blotter.trades_of(account):
        if trade.taker.account is account:
            found[trade.trade_id, trade.taker.order_id] = (
                Decimal(trade.size).scaleb(-6),
                trade.status.value,
            )
        for leg in trade.makers:
            if leg.party.account is account:
                found[trade.trade_id, leg.party.order_id] = (
                    Decimal(leg.size).scaleb(-6),
                    trade.status.value,
                )
    return found


_ENDS = {
    OrderStatus.FILLED: {"MATCHED"},
    OrderStatus.CANCELLED: {"CANCELED", "INVALID", "CANCELED_MARKET_RESOLVED"},
    OrderStatus.EXPIRED: {"CANCELED_EXPIRED_ORDER", "CANCELED_MARKET_RESOLVED"},
    OrderStatus.REJECTED: {"CANCELED"},
}


def check_orders(done: Drill, orders: dict[str, Order]) -> None:
    """Check that each order ended as at the venue, with the shares of its trades that stand."""
    there = venue_orders(done)
    assert there.keys() <= orders.keys()
    standing: Counter[str] = Counter()
    for (_, venue_id), (size, status) in venue_fills(done).items():
        standing[venue_id] += int(size * 1_000_000) if status != "FAILED" else 0
    for venue_id, order in orders.items():
        if venue_id in there:
            assert there[venue_id] in _ENDS[order.status], order
        else:
            # It never came to exist. Nobody may have found that out before its market was over.
            assert order.status in {OrderStatus.REJECTED, OrderStatus.EXPIRED}, order
        assert int(order.filled * 1_000_000) == standing[venue_id], order


def compare_books(done: Drill) -> None:
    """Check that what the settlement side has is what the venue has."""
    orders: dict[str, Order] = {}
    fills: dict[Key, tuple[Decimal, str]] = {}
    for record in done.env.ledger:
        state = done.env.settlement.state(record.slug)
        assert state is not None
        orders |= {order.venue_id: order for order in state.orders.values()}
        for fill in state.fills.values():
            key = fill.trade_id, state.orders[fill.client_id].venue_id
            fills[key] = fill.size, fill.status.value
        assert record.status is CycleStatus.RESOLVED
    check_orders(done, orders)
    assert fills == venue_fills(done)
    account = done.env.account
    assert account.available == account.cash
    profits = [record.profit for record in done.env.ledger]
    assert account.cash == 1000 + sum(profit for profit in profits if profit is not None)


def compare_ledger(done: Drill, path: Path) -> None:
    """Check that the file tells the same as the venue."""
    orders: dict[str, Order] = {}
    fills: dict[Key, tuple[Decimal, str]] = {}
    with Ledger.open(path) as ledger:
        assert [entry.record for entry in ledger.cycles()] == done.records
        for record in done.records:
            here = {order.client_id: order for order in ledger.orders(record.slug)}
            orders |= {order.venue_id: order for order in here.values()}
            for fill in ledger.fills(record.slug):
                fills[fill.trade_id, here[fill.client_id].venue_id] = fill.size, fill.status.value
    check_orders(done, orders)
    assert fills == venue_fills(done)
