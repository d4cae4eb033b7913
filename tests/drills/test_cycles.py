"""Drills: markets that are late, close late, or are resolved late."""

from __future__ import annotations

from polyframe.counters import Count
from polyframe.model.order import OrderStatus
from polyframe.trading.ledger import CycleStatus
from tests.drills.kit import SERIES, Drill, Probe, drill


def _next_slug(s: Probe) -> str:
    return SERIES.slug(SERIES.next(s.market.window))


async def _trade(d: Drill, s: Probe) -> None:
    await s.take()


def test_market_hidden() -> None:
    """Trading pauses at the boundary and goes on when the market appears; the old cycle is not prolonged."""

    async def first(d: Drill, s: Probe) -> None:
        await s.take()
        d.inject("market_hidden", seconds=1.0, slug=_next_slug(s))

    done = drill(first, _trade)
    assert done.struck("market_hidden") > 0
    assert done.counters.get(Count.MARKET_WAITS, "not_found") > 0
    assert done.counters.get(Count.SWITCHES, "paused") >= 1
    assert [record.fills > 0 for record in done.records] == [True, True]


def test_market_unhydrated() -> None:
    """A market without token ids is waited for; no session ever begins on it."""

    async def first(d: Drill, s: Probe) -> None:
        await s.take()
        d.inject("market_unhydrated", seconds=1.0, slug=_next_slug(s))

    done = drill(first, _trade)
    assert done.struck("market_unhydrated") > 0
    assert done.counters.get(Count.MARKET_WAITS, "hydrating") > 0
    assert [record.fills > 0 for record in done.records] == [True, True]


def test_close_late() -> None:
    """An order that is taken after the switch is found and cancelled; the new cycle never sees it."""

    async def first(d: Drill, s: Probe) -> None:
        await s.take()
        d.inject("close_late", seconds=30)
        late = d.inject("request_late", path="/order", count=1, delay=0.3)
        s.spawn(s.rest(), "rest")
        await d.until(lambda: late.hits == 1)

    async def second(d: Drill, s: Probe) -> None:
        await d.until(lambda: d.counters.get(Count.LATE_ORDERS) == 1)
        assert s.trading.orders() == []
        await s.take()

    done = drill(first, second)
    assert done.struck("close_late") > 0
    assert done.counters.reasons(Count.LATE_ANSWERS) == {"live": 1}
    assert done.counters.reasons(Count.LATE_ORDERS) == {"cancelled": 1}


def test_resolution_late() -> None:
    """The record waits for the resolution however long it takes, and then has the profit."""

    async def act(d: Drill, s: Probe) -> None:
        await s.take()
        d.inject("resolution_late", seconds=1.0)

    done = drill(act)
    assert done.struck("resolution_late") > 0
    (record,) = done.records
    assert record.status is CycleStatus.RESOLVED
    assert record.profit is not None


def test_resolution_untold() -> None:
    """No stream says who won; it is asked for, and shares that won are cash."""

    async def act(d: Drill, s: Probe) -> None:
        order = await s.take()
        d.inject("resolution_untold", seconds=60)
        assert s.now(order).status is OrderStatus.FILLED

    done = drill(act)
    assert done.struck("resolution_untold") == 1
    assert done.counters.get(Count.RESOLUTIONS) == 1
    (record,) = done.records
    assert record.winner is not None
