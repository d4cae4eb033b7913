"""The order book of one token."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.book import Book
from polyframe.model.money import units_price

D = Decimal
TICKS = [1000, 100, 50, 25, 10, 1]  # PROTOCOL §2.8


def made(
    bids: dict[int, str] | None = None, asks: dict[int, str] | None = None, tick: int = 100
) -> Book:
    """Return a known book with sizes by price units."""
    book = Book(tick)
    assert book.apply_snapshot(
        [(units, D(size)) for units, size in (bids or {}).items()],
        [(units, D(size)) for units, size in (asks or {}).items()],
    )
    return book


class TestUnknown:
    def test_before_the_first_snapshot(self) -> None:
        """A fresh book knows nothing: every price is None and both sides are empty."""
        book = Book()
        assert not book.known
        assert (book.bid_units, book.ask_units) == (0, 10_000)
        assert book.bid is book.ask is book.bid_size is book.ask_size is None
        assert book.spread is book.mid is None
        assert book.age(5.0) is None
        assert book.depth(True, 5) == book.depth(False, 5) == []
        assert book.sweep(False, D(10)) == (D(0), D(0))
        assert not book.is_crossed
        assert repr(book) == "Book(unknown)"

    def test_change_before_snapshot(self) -> None:
        """A change alone does not make a book, so it is refused."""
        book = Book()
        with pytest.raises(ValueError, match="unknown"):
            book.apply_change(True, 5000, D(1))
        assert book.bid is None

    def test_invalidate(self) -> None:
        """An invalidated book is empty, unknown, and takes an older snapshot (a new connection)."""
        book = made({5000: "10"}, {5100: "20"})
        book.touch(1_000)
        book.invalidate()
        assert not book.known
        assert (book.bid, book.ask, book.timestamp_ms) == (None, None, 0)
        assert book.apply_snapshot([(4900, D(1))], [], timestamp_ms=500)
        assert (book.known, book.bid, book.ask, book.timestamp_ms) == (True, D("0.49"), None, 500)

    def test_touched_while_unknown(self) -> None:
        """An unknown book takes any snapshot, whatever time was noted before."""
        book = Book()
        book.touch(9_000)
        assert book.apply_snapshot([(5000, D(1))], [], 1_000)

    def test_empty_snapshot(self) -> None:
        """An empty book is known all the same: nobody wants to trade."""
        book = made()
        assert book.known
        assert book.bid is book.ask is book.mid is None


class TestSnapshot:
    def test_any_order(self) -> None:
        """Levels come in any order; the best of each side is found, and size 0 is no level."""
        book = Book()
        bids = [(800, D("33343.4")), (1000, D(0)), (900, D("163939.58")), (100, D(1))]
        asks = [(9900, D("218442.27")), (1100, D(0)), (9800, D("13229.55")), (9950, D(2))]
        assert book.apply_snapshot(bids, asks, 1782753357257, 100)
        assert (book.bid, book.bid_size) == (D("0.09"), D("163939.58"))
        assert (book.ask, book.ask_size) == (D("0.98"), D("13229.55"))
        assert book.timestamp_ms == 1782753357257
        assert repr(book) == "Book(163939.58 @ 0.09 | 13229.55 @ 0.98)"

    def test_replaces_everything(self) -> None:
        """Levels that a snapshot does not name are gone."""
        book = made({5000: "1", 4900: "1"}, {5100: "1", 5200: "1"})
        assert book.apply_snapshot([(4800, D(3))], [(5300, D(4))])
        assert book.depth(True, 9) == [(D("0.48"), D(3))]
        assert book.depth(False, 9) == [(D("0.53"), D(4))]

    def test_older_is_refused(self) -> None:
        """A snapshot older than what was applied last changes nothing; the same age is applied."""
        book = Book()
        assert book.apply_snapshot([(5000, D(1))], [], 1_000)
        book.touch(2_000)
        assert not book.apply_snapshot([(4000, D(1))], [], 1_999, tick_units=10)
        assert (book.bid, book.tick_size, book.timestamp_ms) == (D("0.5"), D("0.01"), 2_000)
        assert book.apply_snapshot([(4000, D(1))], [], 2_000)
        assert book.bid == D("0.4")

    def test_without_time(self) -> None:
        """A snapshot without a time is applied and the time stays."""
        book = Book()
        book.apply_snapshot([(5000, D(1))], [], 1_000)
        assert book.apply_snapshot([(4000, D(1))], [])
        assert (book.bid, book.timestamp_ms) == (D("0.4"), 1_000)

    @pytest.mark.parametrize("units", [-100, 0, 10_000, 10_100])
    @pytest.mark.parametrize("is_bid", [True, False])
    def test_bad_level(self, units: int, is_bid: bool) -> None:
        """A price that cannot be a level refuses the whole snapshot and changes nothing."""
        book = made({5000: "1"}, {5100: "1"})
        levels = [(4000, D(1)), (units, D(1))]
        with pytest.raises(ValueError, match="price"):
            book.apply_snapshot(levels if is_bid else [], [] if is_bid else levels, 9, 10)
        assert (book.bid, book.ask, book.timestamp_ms) == (D("0.5"), D("0.51"), 0)
        assert book.tick_size == D("0.01")

    @pytest.mark.parametrize("tick", [-100, 30, 10_000, 20_000])
    def test_bad_tick(self, tick: int) -> None:
        """A tick that does not divide one dollar is refused by name, wherever it comes from."""
        book = made({5000: "1"})
        with pytest.raises(ValueError, match="tick_units"):
            book.apply_snapshot([], [], tick_units=tick)
        with pytest.raises(ValueError, match="tick_units"):
            book.set_tick(tick)
        with pytest.raises(ValueError, match="tick_units"):
            Book(tick)
        assert (book.bid, book.tick_size) == (D("0.5"), D("0.01"))


class TestChange:
    def test_size_is_absolute(self) -> None:
        """A change sets the size of a level, it does not add to it."""
        book = made({5000: "200"})
        book.apply_change(True, 5000, D("150.5"))
        assert book.bid_size == D("150.5")

    def test_better_and_gone(self) -> None:
        """A better level becomes the best, and its removal leads back over gaps."""
        book = made({4000: "1"}, {6000: "2"})
        book.apply_change(True, 5900, D(3))
        book.apply_change(False, 5950, D(4))
        assert (book.bid, book.ask) == (D("0.59"), D("0.595"))
        book.apply_change(True, 5900, D(0))
        book.apply_change(False, 5950, D(0))
        assert (book.bid, book.ask) == (D("0.4"), D("0.6"))
        book.apply_change(True, 4000, D(0))
        book.apply_change(False, 6000, D(0))
        assert (book.bid, book.ask) == (None, None)
        assert (book.bid_units, book.ask_units) == (0, 10_000)

    @pytest.mark.parametrize("units", [-1, 0, 10_000, 10_001])
    @pytest.mark.parametrize("is_bid", [True, False])
    def test_outside(self, units: int, is_bid: bool) -> None:
        """Prices 0 and 1 and beyond are never levels."""
        book = made({100: "1"}, {9900: "1"})
        with pytest.raises(ValueError, match="1 to 9999"):
            book.apply_change(is_bid, units, D(5))
        assert (book.bid, book.ask) == (D("0.01"), D("0.99"))
        assert book.size_at(is_bid, units) == 0

    def test_ends_of_the_range(self) -> None:
        """The lowest and the highest price of the finest tick are levels on either side."""
        book = made(tick=1)
        for units in (1, 9999):
            for is_bid in (True, False):
                book.apply_change(is_bid, units, D(7))
                assert book.size_at(is_bid, units) == 7
        assert (book.bid_units, book.ask_units) == (9999, 1)
        book.apply_change(True, 9999, D(0))
        book.apply_change(False, 1, D(0))
        assert (book.bid_units, book.ask_units) == (1, 9999)


class TestTick:
    @pytest.mark.parametrize("tick", TICKS)
    def test_tick_size(self, tick: int) -> None:
        """The tick is told in USD, from the constructor, a snapshot or a change."""
        size = units_price(tick)
        assert Book(tick).tick_size == size
        book = Book()
        book.apply_snapshot([], [], tick_units=tick)
        assert book.tick_size == size
        other = Book()
        other.set_tick(tick)
        assert other.tick_size == size

    def test_finer_price_appears(self) -> None:
        """A price between the ticks is a level like any other; the tick stays what was told."""
        book = made({5000: "1", 100: "2"}, {5100: "3", 9900: "4"})
        book.apply_change(True, 5005, D(9))
        assert (book.bid, book.bid_size, book.tick_size) == (D("0.5005"), D(9), D("0.01"))
        assert book.depth(True, 9) == [(D("0.5005"), D(9)), (D("0.5"), D(1)), (D("0.01"), D(2))]
        assert book.depth(False, 9) == [(D("0.51"), D(3)), (D("0.99"), D(4))]
        book.apply_change(True, 5005, D(0))
        assert book.bid == D("0.5")

    def test_coarser_tick_keeps_levels(self) -> None:
        """Resting orders survive a change to a coarser tick."""
        book = made({9615: "1"}, {9625: "2"}, tick=5 * 5)
        book.set_tick(100)
        assert (book.bid, book.ask, book.tick_size) == (D("0.9615"), D("0.9625"), D("0.01"))
        assert book.apply_snapshot([(9615, D(1))], [(9700, D(2))], tick_units=100)
        assert (book.bid, book.ask) == (D("0.9615"), D("0.97"))


class TestReading:
    def test_spread_and_mid(self) -> None:
        """Spread and mid are exact, and None while a side is empty."""
        book = made({5000: "1"}, {5001: "1"})
        assert (book.spread, book.mid) == (D("0.0001"), D("0.50005"))
        book.apply_change(True, 5000, D(0))
        assert (book.spread, book.mid) == (None, None)

    def test_crossed(self) -> None:
        """A book whose bid is at or above its ask is crossed."""
        book = made({5000: "1"}, {5100: "1"})
        assert not book.is_crossed
        book.apply_change(True, 5100, D(1))
        assert book.is_crossed
        book.apply_change(True, 5200, D(1))
        assert book.is_crossed
        assert book.spread == D("-0.01")

    def test_depth(self) -> None:
        """Depth gives as many levels as asked, best first, and no more than there are."""
        book = made({100: "1", 5000: "2", 4000: "3"}, {5100: "4", 9900: "5"})
        assert book.depth(True, 2) == [(D("0.5"), D(2)), (D("0.4"), D(3))]
        assert book.depth(True, 99) == [(D("0.5"), D(2)), (D("0.4"), D(3)), (D("0.01"), D(1))]
        assert book.depth(False, 1) == [(D("0.51"), D(4))]
        assert book.depth(False, 0) == book.depth(False, -1) == []

    def test_size_at(self) -> None:
        """The size at a price is 0 where there is no level, also between the ticks."""
        book = made({5000: "2"}, {5100: "4"})
        assert (book.size_at(True, 5000), book.size_at(False, 5100)) == (D(2), D(4))
        assert (book.size_at(True, 5100), book.size_at(True, 5001)) == (D(0), D(0))

    def test_sweep(self) -> None:
        """A sweep walks the levels best first and says what is there and what it is worth."""
        book = made({5000: "10", 4000: "5"}, {5100: "10", 6000: "20"})
        assert book.sweep(False, D(10)) == (D(10), D("5.10"))
        assert book.sweep(False, D("12.5")) == (D("12.5"), D("6.60"))
        assert book.sweep(False, D(100)) == (D(30), D("17.10"))
        assert book.sweep(True, D(12)) == (D(12), D("5.80"))
        assert book.sweep(True, D(0)) == (D(0), D(0))

    def test_touch(self) -> None:
        """The venue's time only goes forward."""
        book = made()
        book.touch(2_000)
        book.touch(1_000)
        book.touch(0)
        assert book.timestamp_ms == 2_000

    def test_age(self) -> None:
        """The age is the market time since the last change that the owner noted."""
        book = made({5000: "1"})
        book.received = 100.0
        assert book.age(102.5) == 2.5


@define
class Naive:
    """The plainest book that can be right: a dict a side."""

    bids: dict[int, Decimal] = field(factory=dict)
    asks: dict[int, Decimal] = field(factory=dict)

    def set(self, is_bid: bool, units: int, size: Decimal) -> None:
        """Set one level."""
        side = self.bids if is_bid else self.asks
        side.pop(units, None)
        if size:
            side[units] = size

    def check(self, book: Book) -> None:
        """Compare everything that can be read."""
        bids = [(units_price(u), self.bids[u]) for u in sorted(self.bids, reverse=True)]
        asks = [(units_price(u), self.asks[u]) for u in sorted(self.asks)]
        assert book.bid_units == max(self.bids, default=0)
        assert book.ask_units == min(self.asks, default=10_000)
        assert (book.bid, book.bid_size) == (bids[0] if bids else (None, None))
        assert (book.ask, book.ask_size) == (asks[0] if asks else (None, None))
        assert book.depth(True, 10_000) == bids
        assert book.depth(False, 10_000) == asks
        assert book.depth(True, 2) == bids[:2]
        for units in (*self.bids, *self.asks):
            assert book.size_at(True, units) == self.bids.get(units, 0)
            assert book.size_at(False, units) == self.asks.get(units, 0)


sizes = st.sampled_from([D(0), D(0), D("0.01"), D(5), D("163939.58")])
ticks = st.sampled_from(TICKS)


@st.composite
def levels(draw: st.DrawFn) -> list[tuple[int, Decimal]]:
    """Draw levels on the grid of some tick, each price once."""
    tick = draw(ticks)
    prices = draw(st.lists(st.integers(1, 10_000 // tick - 1), max_size=6, unique=True))
    return [(tick * n, draw(sizes)) for n in prices]


@st.composite
def changes(draw: st.DrawFn) -> tuple[bool, int, Decimal]:
    """Draw a change near the middle or anywhere, on the grid of some tick."""
    tick = draw(ticks)
    top = 10_000 // tick - 1
    near = st.integers(max(1, top // 2 - 2), min(top, top // 2 + 2))
    return draw(st.booleans()), tick * draw(near | st.integers(1, top)), draw(sizes)


steps = st.one_of(
    changes(),
    changes(),
    changes(),
    st.tuples(levels(), levels(), st.just(0) | ticks),
    ticks,
)


@given(tick=ticks, script=st.lists(steps, max_size=25))
def test_like_a_naive_book(
    tick: int,
    script: list[
        tuple[bool, int, Decimal]
        | tuple[list[tuple[int, Decimal]], list[tuple[int, Decimal]], int]
        | int
    ],
) -> None:
    """After every change, snapshot and tick, on any mix of grids, it agrees with plain dicts."""
    book, naive = made(tick=tick), Naive()
    for step in script:
        if isinstance(step, int):
            book.set_tick(step)
            tick = step
        elif isinstance(step[0], bool):
            book.apply_change(*step)
            naive.set(*step)
        else:
            bids, asks, new_tick = step
            assert book.apply_snapshot(bids, asks, tick_units=new_tick)
            naive = Naive({u: s for u, s in bids if s}, {u: s for u, s in asks if s})
            tick = new_tick or tick
        naive.check(book)
        assert book.tick_size == units_price(tick)


@given(bids=levels(), asks=levels(), size=st.decimals(0, 1000, places=2))
def test_sweep_against_depth(
    bids: list[tuple[int, Decimal]], asks: list[tuple[int, Decimal]], size: Decimal
) -> None:
    """A sweep never gives more than is asked or is there, and its value lies within its prices."""
    book = Book()
    book.apply_snapshot(bids, asks)
    for is_bid in (True, False):
        depth = book.depth(is_bid, 100)
        filled, value = book.sweep(is_bid, size)
        assert filled == min(size, sum((there for _, there in depth), D(0)))
        if filled:
            prices = sorted(price for price, _ in depth)
            assert prices[0] * filled <= value <= prices[-1] * filled
