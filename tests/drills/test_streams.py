"""Drills: what goes wrong with the streams of a market and of the account."""

from __future__ import annotations

from polyframe.counters import Count
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.order import OrderStatus
from polyframe.model.trade import TradeStatus
from tests.drills.kit import TEN, Drill, Probe, drill


async def books_agree(d: Drill, s: Probe) -> None:
    """Wait until both tops of book are the venue's."""
    (live,) = [m for m in d.venue._floor._live.values() if m.market.slug == s.market.slug]

    def agree() -> bool:
        price = s.trading.price(Outcome.UP)
        if not price.known or price.bid is None or price.ask is None:
            return False
        ours = int(price.bid * PRICE_UNITS), int(price.ask * PRICE_UNITS)
        return ours == (live.book.best_bid(), live.book.best_ask())

    await d.until(agree)


def _told(d: Drill) -> int:
    """Return how many prices the strategy was told."""
    return len(d.prices)


async def hear(d: Drill, prices: int) -> None:
    """Wait until the strategy was told so many further prices."""
    goal = _told(d) + prices
    await d.until(lambda: _told(d) >= goal)


def ends_once(statuses: list[OrderStatus]) -> bool:
    """Return whether an order that had ended stayed as it was."""
    ends = [status for status in statuses if status.is_final]
    return len(set(ends)) <= 1 and statuses[len(statuses) - len(ends) :] == ends


# ------------------------------------------------------------------ the market


def test_market_freeze() -> None:
    """Prices become unknown although pings are answered; they are back when the venue thaws."""

    async def act(d: Drill, s: Probe) -> None:
        order = await s.rest()
        frozen = d.inject("market_freeze", seconds=60)
        await d.until(lambda: d.counters.get(Count.STREAM_LOSSES, "market:silence") >= 2)
        assert not s.trading.price(Outcome.UP).known
        assert (await s.trading.cancel(order)).status is OrderStatus.CANCELLED
        frozen.stop()
        await books_agree(d, s)
        await s.take()

    done = drill(act)
    assert done.struck("market_freeze") > 0
    assert done.unknown_prices >= 2
    assert done.counters.get(Count.STREAM_CONNECTS, "market") >= 3
    assert done.counters.get(Count.BOOK_UNKNOWN, "lost") >= 1


def test_market_drop() -> None:
    """A wrong top of book is noticed by the venue's own, and the books are right again."""

    async def act(d: Drill, s: Probe) -> None:
        lost = d.inject("market_drop", seconds=60, chance=0.5, seed=2)
        await d.until(lambda: d.counters.get(Count.BOOK_MISMATCH) > 0)
        lost.stop()
        await books_agree(d, s)
        await s.take()

    done = drill(act)
    assert done.struck("market_drop") > 0
    assert done.counters.get(Count.BOOK_MISMATCH) > 0


def test_market_duplicate() -> None:
    """Double messages change nothing: the books are right, nothing is made afresh."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("market_duplicate", count=20)
        await hear(d, 20)
        await books_agree(d, s)
        await s.take()

    done = drill(act)
    assert done.struck("market_duplicate") == 20
    assert done.counters.reasons(Count.STREAM_LOSSES) == {}
    assert done.counters.get(Count.BOOK_MISMATCH) == 0
    assert done.unknown_prices == 0


def test_market_delay() -> None:
    """Late prices are late, in order, and right in the end."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("market_delay", count=10, delay=0.1, spread=0.5, seed=1)
        await hear(d, 20)
        await books_agree(d, s)
        await s.take()

    done = drill(act)
    assert done.struck("market_delay") == 10
    assert done.counters.get(Count.BOOK_MISMATCH) == 0
    stamps = [event.timestamp_ms for event in done.prices]
    assert stamps == sorted(stamps)


def test_market_reorder() -> None:
    """Messages out of order make wrong books; that is noticed, and they are made afresh."""

    async def act(d: Drill, s: Probe) -> None:
        mixed = d.inject("market_reorder", seconds=60, chance=0.5, delay=0.05, spread=1, seed=5)
        await d.until(lambda: d.counters.get(Count.BOOK_MISMATCH) > 3)
        mixed.stop()
        await books_agree(d, s)
        await s.take()

    done = drill(act)
    assert done.struck("market_reorder") > 0
    assert done.counters.get(Count.BOOK_MISMATCH) > 3


def test_market_stale() -> None:
    """Old books are left out; prices go on."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("market_stale", count=3)
        await d.until(lambda: d.counters.get(Count.BOOK_SKIPPED, "stale_snapshot") >= 3)
        await books_agree(d, s)
        await s.take()

    done = drill(act)
    assert done.struck("market_stale") == 3
    assert done.counters.get(Count.BOOK_SKIPPED, "stale_snapshot") >= 3
    assert done.unknown_prices == 0


def test_market_garbage() -> None:
    """What is not understood or not ours is counted, and touches no book."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("market_garbage", count=5)
        await hear(d, 5)
        await books_agree(d, s)
        await s.take()

    done = drill(act)
    assert done.struck("market_garbage") == 5
    skipped = done.counters.reasons(Count.WIRE_SKIPPED)
    assert {"json", "not_object", "unknown_event:weather", "no_asset"} <= skipped.keys()
    assert done.counters.get(Count.GATE_DROPPED, "foreign_market") == 5
    assert done.counters.reasons(Count.STREAM_LOSSES) == {}


def test_market_disconnect() -> None:
    """Each break makes prices unknown until both books are there afresh."""

    async def act(d: Drill, s: Probe) -> None:
        order = await s.rest()
        d.inject("market_disconnect", count=2, chance=0.2, seed=1)
        await d.until(lambda: d.counters.get(Count.STREAM_LOSSES, "market:closed") == 2)
        await books_agree(d, s)
        assert s.now(order).status is OrderStatus.LIVE
        await s.take()

    done = drill(act)
    assert done.struck("market_disconnect") == 2
    assert done.unknown_prices >= 2
    assert done.counters.get(Count.STREAM_CONNECTS, "market") == 3


def test_unsubscribe_late() -> None:
    """Every cycle has a connection of its own and none is ever unsubscribed: it cannot strike."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("unsubscribe_late", seconds=60, delay=5)
        await s.take()

    done = drill(act, act)
    assert done.struck("unsubscribe_late") == 0
    assert done.counters.reasons(Count.GATE_DROPPED) == {}


# ------------------------------------------------------------------ the account


def test_connect_refused() -> None:
    """While the account's stream cannot come back, comparisons tell what happens."""

    async def act(d: Drill, s: Probe) -> None:
        refused = d.inject("connect_refused", path="/ws/user", seconds=60)
        d.venue.drop_connections("user")
        order = await s.take()
        await d.until(lambda: s.trading.position(Outcome.UP).size >= TEN)
        assert refused.hits > 0
        refused.stop()
        await d.until(lambda: d.env.router.connected)
        assert s.now(order).status is OrderStatus.FILLED

    done = drill(act)
    assert done.counters.get(Count.STREAM_LOSSES, "user:connect") == done.struck("connect_refused")
    assert done.counters.get(Count.RECONCILE_REPAIRS, "trade") >= 1


def test_user_drop() -> None:
    """Lost events are made up for by comparisons: orders, fills, and a cancel from outside."""

    async def act(d: Drill, s: Probe) -> None:
        lost = d.inject("user_drop", seconds=60)
        taken, rests = await s.take(), await s.rest()
        d.venue.withdraw_order(rests.venue_id)
        await d.until(lambda: s.trading.position(Outcome.UP).size >= TEN)
        await d.until(lambda: s.now(rests).status is OrderStatus.CANCELLED)
        await d.until(lambda: d.settled(taken)[-1:] == [TradeStatus.CONFIRMED])
        lost.stop()

    done = drill(act)
    assert done.struck("user_drop") > 3
    assert any(report.trades for report in done.reports)
    assert done.counters.get(Count.RECONCILE_REPAIRS, "trade") >= 1
    assert done.counters.get(Count.RECONCILE_REPAIRS, "order") >= 1


def test_user_duplicate() -> None:
    """A fill that is told twice counts once, and the strategy hears of it once."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("user_duplicate", seconds=60)
        order = await s.take()
        await d.until(lambda: d.settled(order)[-1:] == [TradeStatus.CONFIRMED])
        assert s.trading.position(Outcome.UP).size >= TEN

    done = drill(act)
    assert done.struck("user_duplicate") > 3
    assert done.counters.get(Count.ENGINE_IGNORED, "duplicate") >= 3
    news = [event.sequence for event in done.trades]
    assert len(news) == len(set(news))
    assert sum(event.previous is None for event in done.trades) == done.records[0].fills


def test_user_delay() -> None:
    """The reply says what the events say later; nothing is told twice."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("user_delay", count=6, delay=0.2, spread=0.3, seed=1)
        order = await s.take()
        await d.until(lambda: d.settled(order)[-1:] == [TradeStatus.CONFIRMED])
        rests = await s.rest()
        assert (await s.trading.cancel(rests)).status is OrderStatus.CANCELLED

    done = drill(act)
    assert done.struck("user_delay") == 6
    for order in {event.order.client_id: event.order for event in done.orders}.values():
        assert ends_once(done.statuses(order))


def test_user_reorder() -> None:
    """Whatever comes first: states only move forward."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("user_reorder", seconds=60, chance=0.5, delay=0.1, spread=0.5, seed=3)
        orders = [await s.take() for _ in range(2)]
        rests = await s.rest()
        await s.trading.cancel(rests)
        await d.until(lambda: s.trading.position(Outcome.UP).size >= 2 * TEN)
        await d.until(
            lambda: all(d.settled(order)[-1:] == [TradeStatus.CONFIRMED] for order in orders)
        )

    done = drill(act)
    assert done.struck("user_reorder") > 0
    for order in {event.order.client_id: event.order for event in done.orders}.values():
        assert ends_once(done.statuses(order))


def test_user_replay() -> None:
    """What comes again after the switch is the dead cycle's; the new one hears nothing of it."""

    async def first(d: Drill, s: Probe) -> None:
        order = await s.take()
        await d.until(lambda: d.settled(order)[-1:] == [TradeStatus.CONFIRMED])
        d.inject("user_replay", count=3, delay=0.5)
        await s.rest()
        await s.take()

    async def second(d: Drill, s: Probe) -> None:
        await d.until(lambda: d.counters.get(Count.ROUTER_SETTLEMENT) >= 3)
        assert s.trading.orders() == []
        assert s.trading.position(Outcome.UP).size == 0
        await s.take()

    done = drill(first, second)
    assert done.struck("user_replay") == 3
    assert done.counters.get(Count.ROUTER_SETTLEMENT) >= 3


def test_user_garbage() -> None:
    """What is not understood or of a foreign token is counted, and changes nothing."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("user_garbage", count=3)
        order = await s.take()
        await d.until(lambda: d.settled(order)[-1:] == [TradeStatus.CONFIRMED])

    done = drill(act)
    assert done.struck("user_garbage") == 3
    skipped = done.counters.reasons(Count.WIRE_SKIPPED)
    assert {"json", "unknown_event:weather", "no_order_id"} <= skipped.keys()
    assert done.counters.get(Count.ROUTER_DROPPED, "foreign") == 3
    assert done.counters.reasons(Count.STREAM_LOSSES) == {}


def test_user_disconnect() -> None:
    """What happens while the stream is away is told after it, by the comparison that follows."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("user_disconnect", count=1)
        order = await s.take()
        await d.until(lambda: d.settled(order)[-1:] == [TradeStatus.CONFIRMED])
        assert s.trading.position(Outcome.UP).size >= TEN

    done = drill(act)
    assert done.struck("user_disconnect") == 1
    assert done.counters.get(Count.STREAM_LOSSES, "user:closed") == 1
    assert done.counters.get(Count.STREAM_CONNECTS, "user") == 2
    assert done.counters.get(Count.RECONCILES) > 1
