"""What a tape is worth: how much is there, where nothing was heard, and whether its books hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from polyframe.checks import expect_list
from polyframe.model.book import Book
from polyframe.model.events import BestQuote, BookDelta, BookSnapshot, LevelChange, TickSizeChange
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed


@frozen(kw_only=True)
class TapeCheck:
    """What was found.

    Attributes:
        messages: Messages by kind, for example ``{"BookDelta": 9000}``.
        first_ms: When the first message came, in epoch milliseconds; 0 if there is none.
        last_ms: When the last one came, likewise.
        gaps: Gaps, by reason.
        longest_silence_ms: The longest time between two events, in milliseconds.
        unknown: Changes that came while their book was not known: before its first snapshot, or after
            a gap, a new tick or on a new connection before the next one.
        stale: Whole books that are older than what came before; they are not applied.
        crossed: Messages after which a book's bid was not below its ask.
        mismatches: Messages after which the top of a book was not what the venue said it is.
    """

    messages: Mapping[str, int] = field(factory=dict)
    first_ms: int = 0
    last_ms: int = 0
    gaps: Mapping[str, int] = field(factory=dict)
    longest_silence_ms: int = 0
    unknown: int = 0
    stale: int = 0
    crossed: int = 0
    mismatches: int = 0

    def covers(self, market: TapeMarket) -> bool:
        """Return whether there are messages from before the start of the window to its end."""
        window = market.market.window
        return 0 < self.first_ms <= window.start * 1000 and self.last_ms >= (window.end - 1) * 1000


def check_tape(events: Iterable[TapeEvent]) -> TapeCheck:
    """Play `events` into books and say what was found; takes as long as reading them.

    Args:
        events: Of one market, in order, as ``Recording.events`` yields them.
    """
    expect_list("events", events, "the events of one market, as Recording.events yields them")
    checker = _Checker()
    for event in events:
        checker.take(event)
    return checker.result()


class _Checker:
    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.first = self.last = self.silence = 0
        self.unknown = self.stale = self.crossed = self.mismatches = 0
        self._heard = 0
        self._epoch = 0
        self._books: dict[str, Book] = {}

    def take(self, event: TapeEvent) -> None:
        if self._heard:
            self.silence = max(self.silence, event.received_ms - self._heard)
        self._heard = event.received_ms
        if not isinstance(event, Timed):
            self.gaps[event.reason] += 1
            self._books.clear()
            return
        self.first, self.last = self.first or event.received_ms, event.received_ms
        self.messages[type(event.message).__name__] += 1
        if event.epoch != self._epoch:
            self._epoch = event.epoch
            self._books.clear()
        message = event.message
        if isinstance(message, BookSnapshot):
            book = self._books.setdefault(message.token, Book())
            if book.apply_snapshot(message.bids, message.asks, message.timestamp_ms):
                self.crossed += book.is_crossed
            else:
                self.stale += 1
        elif isinstance(message, BookDelta):
            self._change(message)
        elif isinstance(message, TickSizeChange):
            self._books.clear()  # nobody trusts them until they come afresh (PROTOCOL §4.6)
        elif isinstance(message, BestQuote) and (found := self._books.get(message.token)):
            self.mismatches += (found.bid_units, found.ask_units) != (
                message.best_bid,
                message.best_ask,
            )

    def _change(self, message: BookDelta) -> None:
        last: dict[str, LevelChange] = {}
        for change in message.changes:
            if (book := self._books.get(change.token)) is None:
                self.unknown += 1
                continue
            book.apply_change(change.is_bid, change.price, change.size)
            last[change.token] = change
        for token, change in last.items():
            book = self._books[token]
            book.touch(message.timestamp_ms)
            self.crossed += book.is_crossed
            if change.best_bid >= 0 and change.best_ask >= 0:
                told = (change.best_bid, change.best_ask)
                self.mismatches += (book.bid_units, book.ask_units) != told

    def result(self) -> TapeCheck:
        return TapeCheck(
            messages=dict(self.messages),
            first_ms=self.first,
            last_ms=self.last,
            gaps=dict(self.gaps),
            longest_silence_ms=self.silence,
            unknown=self.unknown,
            stale=self.stale,
            crossed=self.crossed,
            mismatches=self.mismatches,
        )
