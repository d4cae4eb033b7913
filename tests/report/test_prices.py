"""Price paths, and what the book showed at a decision."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.backtest.run import run_backtest
from polyframe.model.book import Book
from polyframe.model.events import BookDelta, BookSnapshot
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, Side
from polyframe.model.stretch import ASK_DOWN, ASK_UP, BID_DOWN, BID_UP, Changes, place
from polyframe.paper.book import PaperBook
from polyframe.recording.tape import Gap, TapeEvent, Timed
from polyframe.report.orders import OrderView
from polyframe.report.prices import POINTS, UNKNOWN, PathWriter, PricePath, view_of
from tests.backtest.kit import MODELS, Eager, Made, book, both, level, make_entry, wandering

UP, DOWN = Outcome.UP, Outcome.DOWN
ENTRY = make_entry()
MS = ENTRY.market.window.start * 1000


def paper_book() -> PaperBook:
    """Return a book that nothing is known of."""
    return PaperBook(ENTRY.market, 60_000, lambda _: None)


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_every_point_is_the_book_at_its_instant(seed: int) -> None:
    """A second book, which takes the same rows, shows the same prices at each point."""
    data = wandering(seed, cycles=1, rows=200)
    (entry,) = data.markets()
    report = run_backtest(Eager(), data=data, models=MODELS)
    path = report.cycles[0].path
    assert path is not None
    assert len(path) <= POINTS
    book, tops, end_ms = Book(), {}, entry.market.window.end * 1000
    for event in data.events(entry):
        assert isinstance(event, Timed)
        if event.received_ms >= end_ms:
            break
        if isinstance(message := event.message, BookSnapshot):
            if message.token == entry.market.up_token:
                book.apply_snapshot(message.bids, message.asks)
        elif isinstance(message, BookDelta):
            for change in message.changes:
                book.apply_change(change.is_bid, change.price, change.size)
        tops[event.received_ms] = (book.bid_units, book.ask_units)
    assert [tops[time_ms] for time_ms, _, _ in path] == [(bid, ask) for _, bid, ask in path]
    assert list(path.times_ms) == sorted(set(path.times_ms))


def test_a_path_is_bounded_and_misses_nothing_that_lasts() -> None:
    """Ten changes a second give no more than `POINTS` points, one for each step of time."""
    book = paper_book()
    writer = PathWriter(book, ENTRY.market.window)
    for at in range(3_000):
        for message in both(ENTRY, 30 + 7 * at % 31, 32 + 7 * at % 31):
            book.apply(message, MS + 100 * at)
        if MS + 100 * at >= writer.next_ms:
            writer.look(MS + 100 * at)
    step_ms = 300_000 // POINTS + 1
    assert 300 <= len(writer.path) <= POINTS
    gaps = [b - a for a, b in zip(writer.path.times_ms, writer.path.times_ms[1:], strict=False)]
    assert max(gaps) <= 3 * step_ms


@pytest.mark.parametrize("apart_ms", [1, 60, 300, 1_500])
@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_rows_that_waited_leave_the_path_that_each_by_itself_leaves(
    apart_ms: int, seed: int
) -> None:
    """However dense rows are, ahead of the window or in it, alone or several of a message."""
    chance, market = random.Random(f"{apart_ms}/{seed}"), ENTRY.market
    numbers, received, sides, prices = list[int](), list[int](), list[int](), list[int]()
    now_ms = MS - chance.choice([0, 30 * apart_ms])
    for number in range(150):
        now_ms += chance.choice([0, apart_ms, 2 * apart_ms])
        for _ in range(chance.choice([1, 1, 2])):
            numbers.append(number)
            received.append(now_ms)
            sides.append(chance.choice([BID_UP, ASK_UP, BID_DOWN, ASK_DOWN]))
            # Mostly on its own side of 0.50, in terms of Up.
            cents = 50 + chance.choice([1, 1, 2, 3, -1]) * (1 if sides[-1] in {1, 2} else -1)
            prices.append(100 * (cents if sides[-1] in {BID_UP, ASK_UP} else 100 - cents))
    sizes = [chance.choice([Decimal(0), Decimal(5)]) for _ in received]
    places = list(map(place, sides, prices))
    sent = [chance.choice([0, 0, 5_000]) for _ in range(150)]
    times = [ms - sent[number] for ms, number in zip(received, numbers, strict=True)]
    changes = Changes(numbers, received, times, sides, prices, sizes, places)

    one_by_one, waiting = paper_book(), paper_book()
    for each in (one_by_one, waiting):
        each.apply(book(ENTRY, UP, 48, 52), MS - 60_000)
    expected, found = (PathWriter(each, market.window) for each in (one_by_one, waiting))
    waiting.watcher = found
    backlog, row = waiting.begin_backlog(changes, 0), 0
    while row < len(received):
        behind = changes.behind(row)
        message = changes.message(market, row, behind)
        one_by_one.apply(message, received[row])
        if received[row] >= expected.next_ms:
            expected.look(received[row])
        if chance.random() < 0.05:
            waiting.apply_later(message, received[row])
            if received[row] >= found.next_ms:
                found.look(received[row])
            backlog.begin = behind
        backlog.end = row = behind
        if chance.random() < 0.02:
            assert waiting.top == one_by_one.top
    waiting.end_backlog()
    assert list(found.path) == list(expected.path)
    assert found.next_ms == expected.next_ms
    assert waiting.top == one_by_one.top
    for sent_ms in (max(times) - 1, max(times)):
        snapshot = BookSnapshot(market.condition_id, market.up_token, (), (), sent_ms)
        assert waiting.apply(snapshot, now_ms) is (sent_ms == max(times))


def test_a_book_that_is_crossed_for_a_moment_is_no_point() -> None:
    """The messages of one change come one by one: a point waits until they are all there."""
    book_of = paper_book()
    writer = PathWriter(book_of, ENTRY.market.window)
    book_of.apply(book(ENTRY, UP, 50, 52), MS)
    book_of.apply(level(ENTRY, UP, 53, 5, is_bid=True), MS)
    writer.look(MS)
    assert len(writer.path) == 0
    assert writer.next_ms <= MS
    book_of.apply(level(ENTRY, UP, 53, 0, is_bid=True), MS + 1)
    writer.look(MS + 1)
    assert list(writer.path) == [(MS + 1, 5_000, 5_200)]


def test_a_window_begins_with_the_last_prices_before_it() -> None:
    """Of what was heard ahead of the window one point is kept: an order may be filled with it."""
    rows: list[TapeEvent] = [
        Timed(MS - after, 1, m)
        for after, bid in ((30_000, 40), (20_000, 50), (10_000, 60))
        for m in both(ENTRY, bid, bid + 2)
    ]
    rows += [Timed(MS + 50_000, 1, m) for m in both(ENTRY, 70, 72)]
    report = run_backtest(Eager(), data=Made([(ENTRY, rows)]), models=MODELS)
    path = report.cycles[0].path
    assert path is not None
    assert list(path) == [(MS - 10_000, 6_000, 6_200), (MS + 50_000, 7_000, 7_200)]


def test_an_interruption_is_a_point_without_prices() -> None:
    """From a gap to the next snapshot nothing is known; that is told once."""
    rows: list[TapeEvent] = [Timed(MS, 1, m) for m in both(ENTRY, 50, 52)]
    rows += [Gap(MS + 20_000, "closed"), Gap(MS + 21_000, "closed")]
    rows += [Timed(MS + 30_000, 2, m) for m in both(ENTRY, 60, 62)]
    report = run_backtest(Eager(), data=Made([(ENTRY, rows)]), models=MODELS)
    path = report.cycles[0].path
    assert path is not None
    assert list(path) == [
        (MS, 5_000, 5_200),
        (MS + 20_000, UNKNOWN, UNKNOWN),
        (MS + 30_000, 6_000, 6_200),
    ]


@given(st.lists(st.integers(1, 98), min_size=1, max_size=200), st.integers(2, 40))
def test_a_thinned_path_is_part_of_the_whole_with_both_ends(bids: list[int], points: int) -> None:
    """No more points than asked for, in order, the first and the last among them."""
    path = PricePath()
    for at, bid in enumerate(bids):
        path.add(at, bid * 100, bid * 100 + 100)
    whole, thin = list(path), list(path.thinned(points))
    assert len(thin) == min(len(whole), points)
    assert (thin[0], thin[-1]) == (whole[0], whole[-1])
    assert [point for point in whole if point in thin] == thin


def test_a_thinned_path_keeps_what_sticks_out() -> None:
    """One point far from all others is not lost."""
    path = PricePath()
    for at in range(1_000):
        path.add(at, 9_000 if at == 777 else 5_000, 9_100 if at == 777 else 5_100)
    assert (777, 9_000, 9_100) in list(path.thinned(20))


@pytest.mark.parametrize(
    ("side", "outcome", "limit", "seen"),
    [
        # Up: 50 shares at each of 0.50, 0.49, … bid and 0.52, 0.53, … asked.
        (Side.BUY, UP, "0.54", ("0.51", "0.52", 50, 150)),
        (Side.BUY, UP, "0.51", ("0.51", "0.52", 50, 0)),
        (Side.SELL, UP, "0.49", ("0.51", "0.5", 50, 100)),
        (Side.BUY, DOWN, "0.51", ("0.49", "0.5", 50, 100)),
        (Side.SELL, DOWN, "0.47", ("0.49", "0.48", 50, 100)),
    ],
)
def test_what_a_book_shows_is_told_in_terms_of_the_order(
    side: Side, outcome: Outcome, limit: str, seen: tuple[str, str, int, int]
) -> None:
    """Mid and best price of the order's own outcome, and the shares of the side that it takes."""
    book = paper_book()
    for message in both(ENTRY, 50, 52):
        book.apply(message, MS)
    mid, touch, at_touch, to_limit = seen
    view = view_of(book, OrderRequest(outcome, side, Decimal(limit), Decimal(10)))
    assert view == OrderView(Decimal(mid), Decimal(touch), Decimal(at_touch), Decimal(to_limit))


def test_where_nobody_offers_there_is_no_price() -> None:
    """An empty book shows nothing to anybody."""
    request = OrderRequest(UP, Side.BUY, Decimal("0.5"), Decimal(10))
    assert view_of(paper_book(), request) == OrderView(None, None, Decimal(0), Decimal(0))
