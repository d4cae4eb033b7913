"""Drills: what goes wrong with requests, their replies, and the venue that gives them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyframe.counters import Count
from polyframe.errors import OrderOutcomeUnknown, OrderRejected, VenueRestarting
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderStatus, Side
from polyframe.model.trade import TradeStatus
from tests.drills.kit import LOW, TEN, Drill, Probe, drill, now


def test_http_error() -> None:
    """A refusal is an error with a code and no order; after a 500 or 429 the order is looked for by its id."""
    codes: list[str] = []

    async def act(d: Drill, s: Probe) -> None:
        order = {"path": "/order", "method": "POST", "count": 1}
        for status, wait in ((500, {}), (429, {"Retry-After": "1"})):
            d.inject("http_error", **order, status=status, headers=wait)
            with pytest.raises(OrderOutcomeUnknown) as caught:
                await s.rest()
            await d.until(lambda: s.now(caught.value.order).status is OrderStatus.REJECTED)
        for status, text in ((400, "invalid nonce"), (425, "Too Early")):
            d.inject("http_error", **order, status=status, body={"error": text})
            with pytest.raises(OrderRejected) as refused:
                await s.rest()
            codes.append(refused.value.code)
        await s.take()

    done = drill(act)
    assert done.struck("http_error") == 4
    assert codes == ["invalid_nonce", "restarting"]
    assert done.counters.reasons(Count.ORDERS_SENT) == {"rejected": 2, "unknown": 2, "matched": 1}
    assert done.counters.get(Count.RECONCILE_REPAIRS, "not_found") == 2
    assert done.venue.stats.orders == 1


def test_request_lost() -> None:
    """The strategy hears that the outcome is unknown, later that the order never came to exist."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("request_lost", path="/order", method="POST", count=1)
        with pytest.raises(OrderOutcomeUnknown) as caught:
            await s.rest()
        lost = caught.value.order
        reserved = d.env.account.reserved
        assert reserved > 0
        await d.until(lambda: OrderStatus.REJECTED in d.statuses(lost))
        assert s.now(lost).status is OrderStatus.REJECTED
        assert d.env.account.reserved == 0
        await s.take()

    done = drill(act)
    assert done.struck("request_lost") == 1
    assert done.counters.get(Count.RECONCILE_REPAIRS, "not_found") == 1
    assert done.venue.stats.orders == 1


def test_reply_lost() -> None:
    """Unknown, then live; sent once. A cancel whose reply is lost leaves an order that ends all the same."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("user_drop", seconds=0.3)
        d.inject("reply_lost", path="/order", method="POST", count=1)
        with pytest.raises(OrderOutcomeUnknown) as caught:
            await s.rest()
        lost = caught.value.order
        await d.until(lambda: s.now(lost).status is OrderStatus.LIVE)
        d.inject("reply_lost", path="/orders", method="DELETE", count=1)
        d.inject("reply_lost", path="/order", method="DELETE", count=1)
        with pytest.raises(Exception, match=r"."):
            await s.trading.cancel(lost)
        await d.until(lambda: s.now(lost).status is OrderStatus.CANCELLED)
        d.venue.faults.clear()
        await s.take()

    done = drill(act)
    assert done.struck("reply_lost") == 2
    assert done.counters.get(Count.ORDERS_SENT, "unknown") == 1
    assert done.counters.get(Count.CANCELS_SENT, "error") == 1
    assert done.venue.stats.orders == 2


def test_reply_error() -> None:
    """An order that was matched and answered with 500: unknown, and its fill comes all the same."""

    async def act(d: Drill, s: Probe) -> None:
        # Else its events tell of it before the reply, and nothing is unknown.
        d.inject("user_drop", seconds=0.3)
        d.inject(
            "reply_error",
            path="/order",
            count=1,
            status=500,
            body={"error": "Internal server error"},
        )
        with pytest.raises(OrderOutcomeUnknown) as caught:
            await s.take()
        lost = caught.value.order
        await d.until(lambda: s.now(lost).status is OrderStatus.FILLED)
        await d.until(lambda: s.trading.position(Outcome.UP).size >= TEN)

    done = drill(act)
    assert done.struck("reply_error") == 1
    assert done.counters.get(Count.ORDERS_SENT, "unknown") == 1
    assert done.venue.stats.orders == 1


def test_request_late() -> None:
    """The call takes as long as the request; nothing is sent twice."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("request_late", path="/order", count=2, delay=0.2, spread=0.1, seed=1)
        began = now()
        order = await s.rest()
        assert now() - began > 0.1
        assert order.status is OrderStatus.LIVE
        await s.take()

    done = drill(act)
    assert done.struck("request_late") == 2
    assert done.counters.reasons(Count.ORDERS_SENT) == {"live": 1, "matched": 1}


def test_reply_late() -> None:
    """Events overtake the reply; a reply after the switch goes to the settlement side, not to the next cycle."""

    async def first(d: Drill, s: Probe) -> None:
        d.inject("reply_late", path="/order", count=1, delay=0.3)
        began = now()
        order = await s.take()
        assert now() - began >= 0.3
        await d.until(lambda: OrderStatus.FILLED in d.statuses(order))
        d.inject("reply_late", path="/order", count=1, delay=0.6)
        s.spawn(s.rest(), "rest")
        await d.until(lambda: d.venue.stats.orders == 2)

    async def second(d: Drill, s: Probe) -> None:
        assert s.trading.orders() == []
        await d.until(lambda: d.counters.get(Count.LATE_ANSWERS) == 1)
        assert s.trading.orders() == []
        await s.take()

    done = drill(first, second)
    assert done.struck("reply_late") == 2
    assert done.counters.reasons(Count.LATE_ANSWERS) == {"live": 1}
    assert [record.orders for record in done.records] == [2, 1]


def test_order_delayed() -> None:
    """The order is accepted first and filled later, by its events."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("user_delay", seconds=0.4, delay=0.2)
        d.inject("order_delayed", count=1)
        order = await s.take()
        assert order.is_open
        assert order.filled == 0
        await d.until(lambda: s.now(order).status is OrderStatus.FILLED)

    done = drill(act)
    assert done.struck("order_delayed") == 1
    assert done.counters.reasons(Count.ORDERS_SENT) == {"delayed": 1}


def test_cancel_race() -> None:
    """The cancel comes too late: the strategy gets a filled order back and the shares."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("cancel_race", count=1)
        order = await s.rest()
        await s.trading.cancel(order)
        await d.until(lambda: s.now(order).status is OrderStatus.FILLED)
        await d.until(lambda: s.trading.position(Outcome.UP).size >= TEN)

    done = drill(act)
    assert done.struck("cancel_race") == 1
    assert done.counters.reasons(Count.CANCELS_SENT) == {"refused": 1}


def test_restart() -> None:
    """No order and no cancel, then post-only orders, then everything; what rested rests on."""
    heard: list[str] = []

    async def act(d: Drill, s: Probe) -> None:
        before = await s.rest()
        restart = d.inject("restart", seconds=0.5, post_only=0.7)
        with pytest.raises(OrderRejected) as refused:
            await s.rest()
        heard.append(refused.value.code)
        with pytest.raises(VenueRestarting):
            await s.trading.cancel(before)
        await d.until(lambda: restart.left < restart.post_only)
        with pytest.raises(OrderRejected) as refused:
            await s.take()
        heard.append(refused.value.code)
        quote = OrderRequest(Outcome.UP, Side.BUY, LOW, TEN, post_only=True)
        assert (await s.trading.place(quote)).status is OrderStatus.LIVE
        await restart.wait_over()
        await s.take()
        assert (await s.trading.cancel(before)).status is OrderStatus.CANCELLED

    done = drill(act)
    assert done.struck("restart") >= 4
    assert heard == ["restarting", "post_only_mode"]
    assert done.counters.get(Count.CANCELS_SENT, "error") == 1


def test_mode() -> None:
    """While only cancels pass, an order is refused by its code and a cancel is done."""

    async def act(d: Drill, s: Probe) -> None:
        order = await s.rest()
        mode = d.inject("mode", seconds=60, mode="cancel-only")
        with pytest.raises(OrderRejected) as refused:
            await s.take()
        assert refused.value.code == "cancel_only"
        assert (await s.trading.cancel(order)).status is OrderStatus.CANCELLED
        mode.stop()
        await s.take()

    done = drill(act)
    assert done.struck("mode") >= 2
    assert done.counters.reasons(Count.ORDERS_SENT) == {"live": 1, "rejected": 1, "matched": 1}


# ------------------------------------------------------------------ settlement of trades


def test_trade_failed() -> None:
    """MATCHED, RETRYING, FAILED: shares and cash are as before, and the record counts no profit."""

    async def act(d: Drill, s: Probe) -> None:
        cash = d.env.account.cash
        d.inject("trade_failed", count=1)
        order = await s.take(Decimal(5))
        await d.until(lambda: TradeStatus.FAILED in d.settled(order))
        assert s.trading.position(Outcome.UP).size == 0
        assert d.env.account.cash == cash
        await s.take()

    done = drill(act)
    assert done.struck("trade_failed") == 1
    first = done.trades[0].order
    statuses = done.settled(first)
    assert statuses[0] is TradeStatus.MATCHED
    assert statuses[-1] is TradeStatus.FAILED


def test_trade_retrying() -> None:
    """A second attempt to settle changes nothing but the status."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("trade_retrying", count=1)
        order = await s.take(Decimal(5))
        await d.until(lambda: TradeStatus.CONFIRMED in d.settled(order))
        assert s.trading.position(Outcome.UP).size >= 5
        assert TradeStatus.RETRYING in d.settled(order)

    done = drill(act)
    assert done.struck("trade_retrying") == 1


def test_trade_late() -> None:
    """Shares are held from the match on; the trade is followed until it is settled, however late."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("trade_late", count=1, delay=6)
        order = await s.take(Decimal(5))
        await d.until(lambda: s.trading.position(Outcome.UP).size >= 5)
        await d.until(lambda: d.settled(order) == [TradeStatus.MATCHED])
        await d.until(lambda: d.settled(order)[-1:] == [TradeStatus.CONFIRMED])

    done = drill(act)
    assert done.struck("trade_late") == 1
