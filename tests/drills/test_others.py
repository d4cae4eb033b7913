"""Drills beyond the kinds of faults: other programs, the venue's own decisions, several at once."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError, OrderDenied, OrderError
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderStatus, Side
from tests.drills.kit import LOW, TEN, Drill, Probe, drill

STORM: dict[str, dict[str, Any]] = {
    "reply_lost": {"path": "/order", "chance": 0.2},
    "request_lost": {"path": "/order", "chance": 0.1},
    "reply_late": {"delay": 0.05, "spread": 0.5, "chance": 0.3},
    "http_error": {"method": "GET", "status": 503, "chance": 0.1},
    "cancel_race": {"chance": 0.3},
    "user_drop": {"chance": 0.15},
    "user_duplicate": {"chance": 0.2},
    "user_reorder": {"chance": 0.2, "delay": 0.05},
    "user_disconnect": {"chance": 0.05},
    "market_disconnect": {"chance": 0.01},
    "trade_failed": {"chance": 0.2},
    "trade_retrying": {"chance": 0.2},
}


def test_another_program_of_the_account() -> None:
    """Its orders are seen as nobody's, its fills move cash and no position of ours, its cancels end our orders."""

    async def act(d: Drill, s: Probe) -> None:
        other = PolymarketExchange.local(d.venue.url, d.venue.account)
        await other.open(d.clock, Counters())
        ours = await s.rest()
        request = OrderRequest(Outcome.DOWN, Side.BUY, LOW, TEN)
        foreign = other.prepare_order(s.market, request)
        await other.place_order(foreign)
        await other.cancel_orders([ours.venue_id])
        await d.until(lambda: s.now(ours).status is OrderStatus.CANCELLED)
        await d.until(lambda: any(foreign.venue_id in r.foreign for r in d.reports))
        d.venue.fill_order(foreign.venue_id, Decimal(4))
        await d.until(lambda: any(e.order.venue_id == foreign.venue_id for e in d.trades))
        assert s.trading.position(Outcome.DOWN).size == 0
        report = await s.trading.cancel_exchange_open_orders(only_untracked=True)
        assert report.cancelled == 1
        await other.close()

    done = drill(act)
    assert done.counters.get(Count.STREAM_LOSSES) == 0
    assert any(report.foreign for report in done.reports)


def test_the_venue_withdraws_an_order() -> None:
    """It is cancelled, and what it held is free again."""

    async def act(d: Drill, s: Probe) -> None:
        order = await s.rest()
        assert d.venue.withdraw_order(order.venue_id)
        await d.until(lambda: s.now(order).status is OrderStatus.CANCELLED)
        assert d.env.account.reserved == 0

    drill(act)


def test_the_tick_becomes_finer() -> None:
    """Prices are unknown for a moment; then orders at the finer step pass, which were denied before."""

    async def act(d: Drill, s: Probe) -> None:
        fine = Decimal("0.021")
        with pytest.raises(OrderDenied) as denied:
            await s.rest(fine)
        assert denied.value.rule == "tick"
        assert d.venue.refine_tick(s.market.slug)
        await d.until(lambda: d.counters.get(Count.BOOK_UNKNOWN, "tick") > 0)
        await s.known()
        assert (await s.rest(fine)).status is OrderStatus.LIVE

    done = drill(act)
    assert done.unknown_prices > 0
    assert done.counters.reasons(Count.ORDERS_DENIED) == {"tick": 1}


def test_everything_at_once() -> None:
    """A storm of faults over two cycles: whatever happened, nothing is lost."""

    async def act(d: Drill, s: Probe) -> None:
        for number, (kind, options) in enumerate(STORM.items()):
            d.inject(kind, seconds=1.5, seed=number, **options)
        storm = asyncio.get_running_loop().time() + 1.5
        while asyncio.get_running_loop().time() < storm:
            for place in (s.take, s.rest):
                try:
                    order = await place()
                    if order.is_open:
                        await s.trading.cancel(order)
                except (OrderError, ExchangeError):
                    continue  # as a strategy would: what became of it is told later
        d.venue.faults.clear()

    done = drill(act, act)
    assert sum(done.venue.faults.happened.values()) > 10
    assert all(record.fills > 0 for record in done.records)
