"""The gate, the books behind it, and what subscribers are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.errors import StaleCycleError
from polyframe.exchange.base import Solo
from polyframe.marketbooks import MISMATCH_LIMIT
from polyframe.model.events import (
    BestQuote,
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketResolved,
    MarketTraded,
    OrderChanged,
    OrderReport,
    StreamState,
    TickSizeChange,
    TradeChanged,
    TradePrint,
    TradeReport,
)
from polyframe.model.market import Outcome
from polyframe.model.order import Side
from polyframe.model.stretch import ASK_UP, BID_UP, Changes
from polyframe.session import ExchangeSession, SessionState
from polyframe.trading.reconcile import ReconcileReport
from tests.support.fake import (
    FakeExchange,
    FakeStream,
    delta,
    make_market,
    order_report,
    snapshot,
    trade_report,
)
from tests.support.stage import settle

MARKET = make_market()
OTHER = make_market("eth-updown-15m")


class Ear:
    """A subscriber that writes down what it is told."""

    wants_books = True
    is_sated = False

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def price_changed(self, outcome: Outcome) -> None:
        self.heard.append(("price", outcome))

    def book_changed(self, outcome: Outcome) -> None:
        self.heard.append(("book", outcome))

    def market_traded(self, event: MarketTraded) -> None:
        self.heard.append(event)

    def order_changed(self, event: OrderChanged) -> None:
        self.heard.append(event)

    def trade_changed(self, event: TradeChanged) -> None:
        self.heard.append(event)

    def reconciled(self, report: ReconcileReport) -> None:
        self.heard.append(report)

    def prices(self) -> list[Outcome]:
        """Return the outcomes whose prices were told, and forget them."""
        told = [e[1] for e in self.heard if isinstance(e, tuple) and e[0] == "price"]
        self.heard.clear()
        return told


class Gate:
    """Takes what a session passes on of the user channel."""

    def __init__(self) -> None:
        self.passed: list[tuple[int, OrderReport | TradeReport]] = []

    def apply_order_report(self, generation: int, report: OrderReport) -> None:
        self.passed.append((generation, report))

    def apply_trade_report(self, generation: int, report: TradeReport) -> None:
        self.passed.append((generation, report))


class Room:
    """A session with everything around it in reach."""

    def __init__(self) -> None:
        self.clock = VirtualClock(MARKET.window.start)
        self.counters = Counters()
        self.gate = Gate()
        self.session = ExchangeSession(
            MARKET, clock=self.clock, counters=self.counters, user_gate=self.gate
        )
        self.ear = Ear()
        self.session.subscribe(self.ear)
        self.stream = FakeStream(self.session, lambda: None)
        self.session._stream = self.stream

    def know(self) -> None:
        """Make both books known and forget what was told of it."""
        self.stream.push(snapshot(MARKET, Outcome.UP))
        self.stream.push(snapshot(MARKET, Outcome.DOWN))
        self.ear.heard.clear()

    def count(self, name: Count, reason: str) -> int:
        return self.counters.get(name, reason)


SOLO = cast("Solo", SimpleNamespace(is_over=False))
"""What stands for the rows of a recording."""


class Pace:
    """Says how late it is while rows are taken."""

    last_ms = 0
    is_solo = False

    def arrive(self, row: int) -> float:
        """Return a time."""
        return float(row)

    def time_of(self, row: int) -> float:
        """Return a time."""
        return float(row)

    def steps(self, *_: object) -> Iterator[None]:
        """Nobody takes them."""
        raise NotImplementedError


def test_a_message_of_several_rows_is_told_when_all_of_them_are_in() -> None:
    """Within it a book may be crossed: nobody hears of that."""
    room = Room()
    room.know()
    session = room.session
    best = session.book(Outcome.UP).ask_units
    rows = Changes(
        numbers=[7, 7, 7],
        received=[5, 5, 5],
        times=[4, 4, 4],
        sides=[BID_UP, ASK_UP, ASK_UP],
        prices=[best, best, best + 100],
        sizes=[Decimal(3), Decimal(0), Decimal(3)],
        places=[best, -best, -best - 100],
    )
    told = [room.ear.prices() for _ in session.rows(rows, 0, 3, Pace())]
    assert told == [[Outcome.UP]]
    assert not session.book(Outcome.UP).is_crossed
    assert room.count(Count.GATE_PASSED, "book") == 3  # both books before, and one message


def test_a_book_is_never_that_of_the_other_outcome() -> None:
    """An outcome's name as text gives its own book; what names none is refused, not guessed."""
    room = Room()
    for outcome in Outcome:
        assert room.session.book(outcome.value) is room.session.book(outcome)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="outcome: expected"):
        room.session.book("UP")  # type: ignore[arg-type]


def test_books_are_known_only_with_both_snapshots() -> None:
    """One token's snapshot makes nothing known; the second makes both, Up told before Down."""
    room = Room()
    room.stream.push(snapshot(MARKET, Outcome.DOWN))
    assert not room.session.books_known
    price = room.session.price(Outcome.DOWN)
    assert (None,) * 4 == (price.bid, price.ask, price.bid_size, price.ask_size)
    assert [] == room.ear.prices()

    room.stream.push(snapshot(MARKET, Outcome.UP))

    assert [Outcome.UP, Outcome.DOWN] == room.ear.prices()
    price = room.session.price(Outcome.UP)
    assert price.known
    assert (Decimal("0.49"), Decimal("0.51")) == (price.bid, price.ask)
    assert (Decimal(100), Decimal(100)) == (price.bid_size, price.ask_size)


def test_a_late_subscriber_is_given_the_latest_state() -> None:
    """Subscribing to a session with known books tells both prices at once."""
    room = Room()
    room.know()
    late = Ear()
    room.session.subscribe(late)
    told = [(kind, outcome) for outcome in Outcome for kind in ("price", "book")]
    assert told == late.heard


def test_who_does_not_want_books_is_not_told_of_them() -> None:
    """Neither when it subscribes nor later; prices it is told of all the same."""
    room = Room()
    room.know()
    simple = Ear()
    simple.wants_books = False
    room.session.subscribe(simple)
    room.stream.push(delta(MARKET, Outcome.UP, 5000, 7, is_bid=True))
    assert [("price", Outcome.UP), ("price", Outcome.DOWN), ("price", Outcome.UP)] == simple.heard
    assert ("book", Outcome.UP) in room.ear.heard


def test_a_message_of_both_tokens_is_told_of_both_up_first() -> None:
    """Whichever comes first in it; each is told once, however many of its levels changed."""
    room = Room()
    room.know()
    up, down = MARKET.up_token, MARKET.down_token
    changes = (
        LevelChange(down, False, 5_000, Decimal(7)),
        LevelChange(up, True, 5_000, Decimal(7)),
        LevelChange(up, True, 4_900, Decimal(8)),
    )
    room.stream.push(BookDelta(MARKET.condition_id, changes))
    assert room.ear.heard == [(k, outcome) for outcome in Outcome for k in ("book", "price")]
    assert room.session.price(Outcome.UP).bid == room.session.price(Outcome.DOWN).ask


def test_price_is_told_only_when_the_top_changed() -> None:
    """A change below the top tells the book, a change of the top the price as well."""
    room = Room()
    room.know()
    room.stream.push(delta(MARKET, Outcome.UP, 4800, 7, is_bid=True))
    assert [("book", Outcome.UP)] == room.ear.heard
    assert [] == room.ear.prices()
    room.stream.push(delta(MARKET, Outcome.UP, 5000, 7, is_bid=True))
    assert [Outcome.UP] == room.ear.prices()


def test_one_message_is_one_look() -> None:
    """A message that crosses the book in its middle is judged after all of it."""
    room = Room()
    room.know()
    up, down = MARKET.up_token, MARKET.down_token
    changes = (
        LevelChange(up, True, 5200, Decimal(5)),
        LevelChange(down, False, 4800, Decimal(5)),
        LevelChange(up, True, 5200, Decimal(0)),
        LevelChange(down, False, 4800, Decimal(0)),
    )
    room.stream.push(BookDelta(MARKET.condition_id, changes))
    assert [] == room.ear.prices()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (snapshot(OTHER, Outcome.UP), "foreign_market"),
        (BookSnapshot("", MARKET.up_token, (), ()), "no_market"),
        (BookSnapshot(MARKET.condition_id, "", (), ()), "no_asset"),
        (BookSnapshot(MARKET.condition_id, OTHER.up_token, (), ()), "foreign_token"),
        (BookDelta(MARKET.condition_id, (LevelChange("", True, 1, Decimal(1)),)), "no_asset"),
        (
            BookDelta(MARKET.condition_id, (LevelChange(OTHER.up_token, True, 1, Decimal(1)),)),
            "foreign_token",
        ),
        (MarketResolved(MARKET.condition_id, ""), "no_asset"),
        (MarketResolved(OTHER.condition_id, OTHER.up_token), "foreign_market"),
        (BestQuote(MARKET.condition_id, "x", 1, 2), "foreign_token"),
    ],
)
def test_the_market_gate_counts_what_it_refuses(message: Any, reason: str) -> None:
    """A message that is not of this market or these tokens changes nothing and has a reason."""
    room = Room()
    room.know()
    room.stream.push(message)
    assert 1 == room.count(Count.GATE_DROPPED, reason)
    assert [] == room.ear.heard
    assert Decimal("0.49") == room.session.price(Outcome.UP).bid


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (order_report(OTHER, "0x1"), "foreign_token"),
        (order_report(MARKET, "0x1", token=""), "no_asset"),
        (order_report(MARKET, "0x1", market=OTHER.condition_id), "foreign_market"),
        (trade_report(OTHER, "t", "0x1"), "foreign_token"),
    ],
)
def test_the_user_gate_counts_what_it_refuses(
    report: OrderReport | TradeReport, reason: str
) -> None:
    """An order or trade event of another market, or of none, does not reach the engine."""
    room = Room()
    if isinstance(report, OrderReport):
        room.session.emit_order_update(report)
    else:
        room.session.emit_trade_update(report)
    assert 1 == room.count(Count.GATE_DROPPED, reason)
    assert [] == room.gate.passed


def test_missing_asset_ids_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """The counter counts each, the log says it once."""
    room = Room()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            room.session.emit_order_update(order_report(MARKET, f"0x{number}", token=""))
    assert 3 == room.count(Count.GATE_DROPPED, "no_asset")
    assert 1 == caplog.text.count("without asset id")


def test_a_price_without_asset_id_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """The same holds for the market channel."""
    room = Room()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            room.stream.push(TickSizeChange(MARKET.condition_id, "", 10))
    assert 3 == room.count(Count.GATE_DROPPED, "no_asset")
    assert 1 == caplog.text.count("market message without asset id")


def test_what_passes_is_enriched_on_a_copy() -> None:
    """Slug and outcome are filled in for the engine; the stream's message stays as it was."""
    room = Room()
    report = order_report(MARKET, "0x1", Outcome.DOWN)
    room.session.emit_order_update(report)
    generation, passed = room.gate.passed[0]
    assert isinstance(passed, OrderReport)
    assert (MARKET.generation, MARKET.slug, Outcome.DOWN) == (
        generation,
        passed.slug,
        passed.outcome,
    )
    assert ("", None) == (report.slug, report.outcome)


def test_an_order_event_without_market_passes_by_its_token() -> None:
    """The token decides; a condition id that is not there contradicts nothing."""
    room = Room()
    room.session.emit_order_update(order_report(MARKET, "0x1", market=""))
    assert 1 == len(room.gate.passed)


def test_foreign_legs_of_a_trade_are_taken_out() -> None:
    """A leg of a token that is not ours is counted and does not reach the engine."""
    room = Room()
    report = trade_report(MARKET, "t", "0x1")
    foreign = trade_report(OTHER, "t", "0x2").legs
    both = TradeReport(
        trade_id="t",
        market=report.market,
        token=report.token,
        status=report.status,
        legs=report.legs + foreign,
    )
    room.session.emit_trade_update(both)
    passed = room.gate.passed[0][1]
    assert isinstance(passed, TradeReport)
    assert report.legs == passed.legs
    assert 1 == room.count(Count.GATE_DROPPED, "foreign_leg")


@pytest.mark.parametrize("state", [StreamState.CONNECTED, StreamState.LOST])
def test_a_new_connection_voids_the_books(state: StreamState) -> None:
    """With a reconnect the books are unknown, told as such, until both snapshots are new."""
    room = Room()
    room.know()
    room.stream.state(state, "reset by peer")
    assert [Outcome.UP, Outcome.DOWN] == room.ear.prices()
    price = room.session.price(Outcome.UP)
    assert (False, None, None) == (price.known, price.bid, price.ask)
    room.stream.push(delta(MARKET, Outcome.UP, 5000, 7, is_bid=True))
    assert 1 == room.count(Count.BOOK_SKIPPED, "before_snapshot")
    room.stream.push(snapshot(MARKET, Outcome.UP))
    assert not room.session.books_known
    room.stream.push(snapshot(MARKET, Outcome.DOWN))
    assert room.session.books_known
    assert room.counters.get(Count.BOOK_UNKNOWN) == 1


def test_who_waits_for_books_waits_for_those_of_the_present_connection() -> None:
    """Books that were known before the connection was lost do not end the wait; fresh ones do."""
    room = Room()

    async def main() -> None:
        room.know()
        await room.session.wait_books()
        room.stream.state(StreamState.LOST, "reset by peer")
        waiting = asyncio.create_task(room.session.wait_books())
        await settle()
        assert not waiting.done()
        room.stream.state(StreamState.CONNECTED)
        room.stream.push(snapshot(MARKET, Outcome.UP))
        await settle()
        assert not waiting.done()
        room.stream.push(snapshot(MARKET, Outcome.DOWN))
        await waiting

    room.clock.run(main())


def test_a_tick_change_voids_the_books_and_asks_for_new_ones() -> None:
    """After a tick change both books are unknown; the two messages of it ask once."""
    room = Room()
    room.know()
    for token in (MARKET.up_token, MARKET.down_token):
        room.stream.push(TickSizeChange(MARKET.condition_id, token, 10))
    assert ["tick"] == room.stream.resyncs
    assert not room.session.books_known
    assert Decimal("0.001") == room.session.tick_size(Outcome.DOWN)
    for outcome in Outcome:
        message = snapshot(MARKET, outcome, 4905, 5110)
        fine = BookSnapshot(message.market, message.token, message.bids, message.asks, 0, 10)
        room.stream.push(fine)
    assert Decimal("0.4905") == room.session.price(Outcome.UP).bid
    assert Decimal("0.001") == room.session.tick_size(Outcome.UP)


def test_a_tick_change_that_comes_late_changes_nothing() -> None:
    """The second token's message after the fresh snapshots does not void the books again."""
    room = Room()
    room.know()
    room.stream.push(TickSizeChange(MARKET.condition_id, MARKET.up_token, 10))
    room.know()
    room.stream.push(TickSizeChange(MARKET.condition_id, MARKET.down_token, 10))
    assert room.session.books_known
    assert ["tick"] == room.stream.resyncs


def test_an_impossible_tick_is_skipped() -> None:
    """A tick that no book can have is counted and changes nothing."""
    room = Room()
    room.know()
    for tick in (0, 3, 20_000):
        room.stream.push(TickSizeChange(MARKET.condition_id, MARKET.up_token, tick))
    assert room.session.books_known
    assert 3 == room.count(Count.BOOK_SKIPPED, "bad_tick")


def test_a_book_that_disagrees_with_the_venue_is_counted_and_fetched_anew() -> None:
    """One difference is counted; as many in a row as the limit make the session start over."""
    room = Room()
    room.know()
    quote = BestQuote(MARKET.condition_id, MARKET.up_token, 4800, 5100)
    for _ in range(MISMATCH_LIMIT - 1):
        room.stream.push(quote)
    assert MISMATCH_LIMIT - 1 == room.count(Count.BOOK_MISMATCH, "Up")
    assert [] == room.stream.resyncs
    room.stream.push(quote)
    assert ["mismatch"] == room.stream.resyncs
    assert not room.session.books_known


def test_agreement_forgives_earlier_differences() -> None:
    """Only differences in a row count: the venue's messages may overtake each other."""
    room = Room()
    room.know()
    wrong = BestQuote(MARKET.condition_id, MARKET.up_token, 4800, 5100)
    right = BestQuote(MARKET.condition_id, MARKET.up_token, 4900, 5100)
    for _ in range(3):
        for _ in range(MISMATCH_LIMIT - 1):
            room.stream.push(wrong)
        room.stream.push(right)
    assert [] == room.stream.resyncs


def test_deltas_are_checked_against_their_own_best_prices() -> None:
    """A delta's best_bid and best_ask are compared after the whole message."""
    room = Room()
    room.know()
    change = LevelChange(MARKET.up_token, True, 5000, Decimal(5), 5000, 5100)
    room.stream.push(BookDelta(MARKET.condition_id, (change,)))
    assert 0 == room.counters.get(Count.BOOK_MISMATCH)
    lost = LevelChange(MARKET.up_token, True, 4800, Decimal(5), 5050, 5100)
    room.stream.push(BookDelta(MARKET.condition_id, (lost,)))
    assert 1 == room.count(Count.BOOK_MISMATCH, "Up")


def test_a_stale_snapshot_is_skipped() -> None:
    """A snapshot older than what was applied changes nothing and is counted."""
    room = Room()
    room.stream.push(snapshot(MARKET, Outcome.UP, 4900, 5100, ms=2000))
    room.stream.push(snapshot(MARKET, Outcome.DOWN, 4900, 5100, ms=2000))
    room.ear.heard.clear()
    room.stream.push(snapshot(MARKET, Outcome.UP, 1000, 1100, ms=1000))
    assert 1 == room.count(Count.BOOK_SKIPPED, "stale_snapshot")
    assert [] == room.ear.heard


def test_impossible_levels_are_skipped() -> None:
    """A price that no level can have is counted; the rest of the message holds."""
    room = Room()
    room.know()
    changes = (
        LevelChange(MARKET.up_token, True, 10_000, Decimal(5)),
        LevelChange(MARKET.up_token, True, 5000, Decimal(5)),
    )
    room.stream.push(BookDelta(MARKET.condition_id, changes))
    assert 1 == room.count(Count.BOOK_SKIPPED, "bad_level")
    assert Decimal("0.5") == room.session.price(Outcome.UP).bid


def test_market_trades_are_passed_on() -> None:
    """A public trade reaches the subscribers with outcome and exact price."""
    room = Room()
    room.stream.push(
        TradePrint(MARKET.condition_id, MARKET.down_token, 4567, Decimal("2.5"), Side.BUY, 5)
    )
    (event,) = room.ear.heard
    assert (
        MarketTraded(
            slug=MARKET.slug,
            generation=MARKET.generation,
            outcome=Outcome.DOWN,
            price=Decimal("0.4567"),
            size=Decimal("2.5"),
            side=Side.BUY,
            timestamp_ms=5,
        )
        == event
    )


def test_the_resolution_is_kept() -> None:
    """A resolution that the venue announces during the cycle can be read."""
    room = Room()
    room.stream.push(MarketResolved(MARKET.condition_id, MARKET.up_token))
    assert room.session.resolved is not None


def test_who_unsubscribes_hears_no_more() -> None:
    """Neither of prices nor of books; leaving twice, or without having come, harms nothing."""
    room = Room()
    room.know()
    for ear in (room.ear, room.ear, Ear()):
        room.session.unsubscribe(ear)
    room.stream.push(delta(MARKET, Outcome.UP, 5000, 7, is_bid=True))
    assert [] == room.ear.heard


def test_only_who_alone_subscribes_is_given_rows() -> None:
    """Neither one of two, nor one who has left while another stays, though that one is alone then."""
    room, other = Room(), Ear()
    room.session._take_solo = lambda: SOLO
    room.know()
    assert room.session.solo(room.ear) is SOLO
    room.session.subscribe(other)
    assert room.session.solo(room.ear) is None
    room.session.unsubscribe(room.ear)
    assert room.session.may_solo
    assert room.session.solo(room.ear) is None
    assert room.session.solo(other) is SOLO


def test_a_subscriber_that_raises_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The exception is counted and logged; the next subscriber is told all the same."""

    class Broken(Ear):
        def price_changed(self, outcome: Outcome) -> None:
            msg = "deaf"
            raise RuntimeError(msg)

        book_changed = price_changed

        def market_traded(self, event: MarketTraded) -> None:
            self.price_changed(Outcome.UP)

        def order_changed(self, event: OrderChanged) -> None:
            self.price_changed(Outcome.UP)

    room = Room()
    room.session.unsubscribe(room.ear)
    room.session.subscribe(Broken())
    room.session.subscribe(room.ear)
    with caplog.at_level(logging.ERROR):
        room.stream.push(snapshot(MARKET, Outcome.UP))
        room.stream.push(snapshot(MARKET, Outcome.DOWN))
        room.stream.push(TradePrint(MARKET.condition_id, MARKET.up_token, 5000, None, None))
        room.session.publish(OrderChanged(None, None, 1))  # type: ignore[arg-type]
    assert "deaf" in caplog.text
    assert 6 == room.count(Count.STRATEGY_ERRORS, "subscriber")
    assert 6 == len(room.ear.heard)


def test_a_shut_session_lets_nothing_through() -> None:
    """After shut() messages are counted as closed, subscribers are gone, values stay readable."""
    room = Room()
    room.know()
    room.session.shut()
    assert SessionState.CLOSING is room.session.state
    room.stream.push(delta(MARKET, Outcome.UP, 5000, 5, is_bid=True))
    assert 0 == room.count(Count.GATE_DROPPED, "closed")  # the stream itself is detached
    room.session.publish(OrderChanged(None, None, 1))  # type: ignore[arg-type]
    room.session.on_market_message(delta(MARKET, Outcome.UP, 5000, 5, is_bid=True))
    room.session.on_market_stream(StreamState.LOST, "gone")
    room.session.emit_order_update(order_report(MARKET, "0x1"))
    room.session.emit_trade_update(trade_report(MARKET, "t", "0x1"))
    assert 4 == room.count(Count.GATE_DROPPED, "closed")
    assert [] == room.ear.heard
    assert [] == room.gate.passed
    assert Decimal("0.49") == room.session.price(Outcome.UP).bid


def test_closing_is_complete_and_repeatable() -> None:
    """close() detaches and closes the stream, and every later use raises."""
    exchange = FakeExchange()
    clock = VirtualClock(MARKET.window.start)

    async def main() -> None:
        session = ExchangeSession(MARKET, clock=clock, counters=Counters(), user_gate=Gate())
        session.open(exchange)
        await session.wait_books()
        assert session.connected
        await session.close()
        await session.close()
        session.shut()
        assert exchange.streams[MARKET.slug].closed
        assert SessionState.DEAD is session.state
        assert "dead" in repr(session)
        with pytest.raises(StaleCycleError):
            session.price(Outcome.UP)
        with pytest.raises(StaleCycleError):
            session.subscribe(Ear())

    clock.run(main())
