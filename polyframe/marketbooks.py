"""Both books of one market: what is known, what changed, and whether the venue agrees.

This is the hot path: every message of the market channel that passed the gate ends here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from polyframe.clock import Clock
from polyframe.counters import Cell, Count, Counters
from polyframe.model.book import Book
from polyframe.model.events import BestQuote, BookDelta, BookSnapshot
from polyframe.model.market import Market, Outcome, known_outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.stretch import Changes

MISMATCH_LIMIT = 20
"""Consecutive tops of book that differ from the venue's own before the books are fetched anew."""


class BooksListener(Protocol):
    """Hears what becomes of the books (the session)."""

    def tell_price(self, outcome: Outcome) -> None:
        """The best bid or ask of `outcome` is another, or became (un)known."""
        ...

    @property
    def hears_books(self) -> bool:
        """Whether it makes a difference to anybody to be told that a book is another."""
        ...

    def subscriber_failed(self, error: Exception) -> None:
        """One of `MarketBooks.on_book` raised."""
        ...

    def tell_foreign(self, token: str) -> None:
        """A level change is of a token that is not of this market."""
        ...

    def fetch_books(self, reason: str) -> None:
        """Both books are void and wanted afresh."""
        ...


class Pace(Protocol):
    """Says how late it is while rows are taken, which is when they came.

    Attributes:
        last_ms: When the last row came that somebody may have heard of, epoch milliseconds.
        is_solo: Whether all that is heard is heard by one, who takes each step from the rows himself.
    """

    last_ms: int
    is_solo: bool

    def arrive(self, row: int) -> float:
        """Make it as late as the last row of a message, before anybody hears of it; return the time."""
        ...

    def time_of(self, row: int) -> float:
        """Return the market time at which a row came, or now if that is later."""
        ...

    def steps(
        self,
        changes: Changes,
        begin: int,
        end: int,
        places: Sequence[tuple[Book, bool, Outcome]],
        tell: Callable[[Outcome], None],
        passed: Cell,
    ) -> Iterator[Outcome | None]:
        """Take rows that are messages of their own in solo, for one who wants to hear of all of them.

        Args:
            changes: The rows.
            begin: Where to begin.
            end: Where to stop; there the instant is over.
            places: For each side its book, whether it is that of the bids, and whose the book is.
            tell: Tells that a book and its best prices may be others.
            passed: Counts the rows, when they are over.

        Yields:
            After each instant whose book changed; ``None`` where that was told.
        """
        ...


class _Side:
    """One token's book and what was last told of it."""

    __slots__ = (
        "best_ask",
        "best_bid",
        "book",
        "last",
        "mismatches",
        "outcome",
        "told_ask",
        "told_bid",
    )

    def __init__(self, outcome: Outcome, tick_units: int) -> None:
        self.outcome = outcome
        self.book = Book(tick_units)
        self.mismatches = 0
        self.told_bid, self.told_ask = 0, PRICE_UNITS
        # Of the message that is being applied: the venue's own top after it (-1: not said).
        self.best_bid = -1
        self.best_ask = -1
        # The last of the rows that are being applied (-1: none of them is of this side).
        self.last = -1

    def is_news(self, changes: Changes) -> bool:
        """Return whether the top after row `last` is another than was told, or than the venue says."""
        book, bids, asks = self.book, changes.best_bids, changes.best_asks
        if book.bid_units != self.told_bid or book.ask_units != self.told_ask:
            return True
        if bids is None or asks is None or bids[self.last] < 0:
            return False
        if bids[self.last] != book.bid_units or asks[self.last] != book.ask_units:
            return True
        self.mismatches = 0
        return False

    def take_tops(self, changes: Changes) -> None:
        """Take what the venue says of the top after row `last`."""
        bids, asks = changes.best_bids, changes.best_asks
        self.best_bid = -1 if bids is None else bids[self.last]
        self.best_ask = -1 if asks is None else asks[self.last]


class MarketBooks:
    """The books of Up and Down.

    They are known together or not at all: only when both tokens had a snapshot on the present
    connection can a strategy trust either (PROTOCOL §4.10).

    Args:
        market: The market.
        clock: Market time, for ages.
        counters: Where skipped messages and mismatches are counted.
        listener: Hears of changes.
    """

    def __init__(
        self, market: Market, *, clock: Clock, counters: Counters, listener: BooksListener
    ) -> None:
        self._clock = clock
        self._counters = counters
        self._listener = listener
        tick = int(market.tick_size * PRICE_UNITS)
        self._up, self._down = _Side(Outcome.UP, tick), _Side(Outcome.DOWN, tick)
        self._both = (self._up, self._down)
        self._sides = {market.up_token: self._up, market.down_token: self._down}
        up, down = self._up, self._down
        self._coded = ((up, True), (up, False), (down, True), (down, False))
        self._places = tuple((side.book, is_bid, side.outcome) for side, is_bid in self._coded)
        self.known = False
        self.on_book: tuple[Callable[[Outcome], None], ...] = ()
        """Called when some level of a book is another, or it became (un)known; never changed in place."""

    def book(self, outcome: Outcome) -> Book:
        """Return the live book of `outcome`.

        Raises:
            ValueError: `outcome` is none.
        """
        return (self._up if known_outcome(outcome) is Outcome.UP else self._down).book

    # ------------------------------------------------------------------ messages

    def on_snapshot(self, message: BookSnapshot) -> bool:
        """Apply a whole book; return whether it was applied."""
        side = self._sides[message.token]
        try:
            applied = side.book.apply_snapshot(
                message.bids, message.asks, message.timestamp_ms, message.tick_units
            )
        except ValueError:
            self._counters.add(Count.BOOK_SKIPPED, "bad_level")
            return False
        if not applied:
            self._counters.add(Count.BOOK_SKIPPED, "stale_snapshot")
            return False
        side.book.received = self._clock.time()
        side.mismatches = 0
        if self.known:
            self._tell(side)
        elif self._up.book.known and self._down.book.known:
            self.known = True
            self._tell_all()
        return True

    def on_delta(self, message: BookDelta) -> bool:
        """Apply the level changes of one message; return whether any was applied."""
        first = other = None
        for change in message.changes:
            side = self._sides.get(change.token)
            if side is None:
                self._listener.tell_foreign(change.token)
                continue
            try:
                side.book.apply_change(change.is_bid, change.price, change.size)
            except ValueError:
                reason = "bad_level" if side.book.known else "before_snapshot"
                self._counters.add(Count.BOOK_SKIPPED, reason)
                continue
            side.best_bid = change.best_bid
            side.best_ask = change.best_ask
            if first is None:
                first = side
            elif side is not first:
                other = side
        if first is None:
            return False
        # Checked and told once for the whole message: within it a book may cross for a moment.
        now, timestamp_ms = self._clock.time(), message.timestamp_ms
        book = first.book
        book.received = now
        if timestamp_ms > book.timestamp_ms:
            book.timestamp_ms = timestamp_ms
        if other is None:
            self._after_delta(first)
        else:
            # Both are dated first: a check may make them void.
            other.book.received = now
            other.book.touch(timestamp_ms)
            self._after_delta(self._up)
            self._after_delta(self._down)
        return True

    def _tell_change(self, outcome: Outcome) -> None:
        self._after_delta(self._up if outcome is Outcome.UP else self._down)

    def _after_delta(self, side: _Side) -> None:
        """Check and tell what a message has done to one side."""
        book = side.book
        if not self.known:
            return
        if side.best_bid >= 0:
            if side.best_bid == book.bid_units and side.best_ask == book.ask_units:
                side.mismatches = 0
            else:
                self._mismatch(side)
                if not self.known:  # one too many, and that was told
                    return
        for tell in self.on_book:  # `tell_book`, spelled out: it comes with every level
            try:
                tell(side.outcome)
            except Exception as error:  # noqa: BLE001
                self._listener.subscriber_failed(error)
        if book.bid_units != side.told_bid or book.ask_units != side.told_ask:
            self._tell_price(side)

    def rows(
        self, changes: Changes, begin: int, end: int, pace: Pace, passed: Cell
    ) -> Iterator[Outcome | None]:
        """Apply rows to books that are known, as `on_delta` does with each of their messages.

        What nobody hears of costs no more than its levels.

        Args:
            changes: The rows.
            begin: Where to begin.
            end: Where to stop at the latest; at least one message behind `begin`.
            pace: Is told how late it is, and how far the rows are taken, before anybody hears of one.
            passed: Counts the messages.

        Returns:
            Something for each instant of which somebody heard, and for the end, which comes early if the
            books become unknown: ``None``, or the outcome of the one book that changed where `pace.is_solo`
            and nobody was told. In solo nobody goes on at an early end: the instant is not over.
        """
        is_plain = changes.numbers is None and changes.best_bids is None
        if pace.is_solo and self.on_book and is_plain:
            self._up.best_bid = self._down.best_bid = -1
            return pace.steps(changes, begin, end, self._places, self._tell_change, passed)
        return self._rows(changes, begin, end, pace, passed)

    def _rows(
        self, changes: Changes, begin: int, end: int, pace: Pace, passed: Cell
    ) -> Iterator[None]:
        is_solo, has_tops = pace.is_solo, changes.best_bids is not None
        coded, codes, numbers = self._coded, changes.sides, changes.numbers
        prices, sizes, times = changes.prices, changes.sizes, changes.times
        received, up, down = changes.received, self._up, self._down
        wants_all, is_heard = self._listener.hears_books, False
        row = first = counted = begin
        # Whether somebody heard of something in this instant, which is played to its end then.
        is_amid = received[begin] == pace.last_ms
        up.last = down.last = -1
        while row < end:
            side, is_bid = coded[codes[row]]
            book = side.book
            book.apply_change(is_bid, prices[row], sizes[row])
            if times[row] > book.timestamp_ms:
                book.timestamp_ms = times[row]
            side.last = row
            row += 1
            if numbers is not None:
                if row < end and numbers[row] == numbers[first]:
                    continue
                other = down if side is up else up
                is_heard = other.last >= first and other.is_news(changes)
            # `is_news`, spelled out where that is all: this is what a row costs.
            if (
                is_heard
                or wants_all
                or book.bid_units != side.told_bid
                or book.ask_units != side.told_ask
                or (has_tops and side.is_news(changes))
            ):
                if wants_all and first == row - 1 and not has_tops:
                    # Who wants every level has heard of those before: `_hear`, spelled out.
                    side.last = side.best_bid = -1
                    book.received = pace.arrive(first)
                    self._after_delta(side)
                else:
                    self._hear(changes, first, pace)
                is_amid = True
            elif is_amid:
                self._hear(changes, row, pace)
            first = row
            if not is_amid or (self.known and row < end and received[row] == received[row - 1]):
                continue
            passed.value += row - counted if numbers is None else changes.count(counted, row)
            counted, is_amid = row, False
            if self.known or not is_solo:
                yield None
            if not self.known:
                return
            wants_all = self._listener.hears_books
        if counted < end:
            self._hear(changes, end, pace)
            passed.value += changes.count(counted, end)
            yield None

    def _hear(self, changes: Changes, first: int, pace: Pace) -> None:
        """Date what was applied, and tell what the rows from `first` on, a message, have done."""
        up, down = self._up, self._down
        early, late = (up, down) if up.last < down.last else (down, up)
        if early.last >= 0:
            early.book.received = pace.time_of(early.last)
        if late.last >= 0:
            late.book.received = pace.arrive(late.last)
        for side in self._both:
            if side.last >= first:
                side.take_tops(changes)
                self._after_delta(side)
            side.last = -1

    def on_quote(self, message: BestQuote) -> None:
        """Compare with the venue's own top of book."""
        side = self._sides[message.token]
        book = side.book
        if not self.known:
            return
        if message.best_bid == book.bid_units and message.best_ask == book.ask_units:
            side.mismatches = 0
        else:
            self._mismatch(side)

    def on_tick_change(self, tick_units: int) -> None:
        """Take a new tick: both books are void until they come afresh (PROTOCOL §4.6)."""
        # One message per token, but the tokens share one book: the second finds nothing to do.
        if all(side.book.tick_units == tick_units for side in self._both):
            return
        try:
            for side in self._both:
                side.book.set_tick(tick_units)
        except ValueError:
            self._counters.add(Count.BOOK_SKIPPED, "bad_tick")
            return
        self._start_over("tick")

    # ------------------------------------------------------------------ known and unknown

    def void(self, reason: str) -> bool:
        """Make both books unknown; return whether anything was known of either."""
        if not any(side.book.known for side in self._both):
            return False
        self._counters.add(Count.BOOK_UNKNOWN, reason)
        for side in self._both:
            side.book.invalidate()
            side.mismatches = 0
        if self.known:
            self.known = False
            self._tell_all()
        return True

    def _start_over(self, reason: str) -> None:
        if self.void(reason):
            self._listener.fetch_books(reason)

    def _mismatch(self, side: _Side) -> None:
        """Count a top that is not the venue's; too many in a row make the books void."""
        self._counters.add(Count.BOOK_MISMATCH, side.outcome.value)
        side.mismatches += 1
        if side.mismatches >= MISMATCH_LIMIT:
            self._start_over("mismatch")

    # ------------------------------------------------------------------ telling

    def _tell_all(self) -> None:
        for side in self._both:
            book = side.book
            side.told_bid, side.told_ask = book.bid_units, book.ask_units
            self.tell_book(side.outcome, self.on_book)
            self._listener.tell_price(side.outcome)

    def _tell(self, side: _Side) -> None:
        self.tell_book(side.outcome, self.on_book)
        if (side.told_bid, side.told_ask) != (side.book.bid_units, side.book.ask_units):
            self._tell_price(side)

    def tell_book(self, outcome: Outcome, to: tuple[Callable[[Outcome], None], ...]) -> None:
        """Tell those in `to` that a book is another."""
        for tell in to:
            try:
                tell(outcome)
            except Exception as error:  # noqa: BLE001
                self._listener.subscriber_failed(error)

    def _tell_price(self, side: _Side) -> None:
        side.told_bid, side.told_ask = side.book.bid_units, side.book.ask_units
        self._listener.tell_price(side.outcome)
