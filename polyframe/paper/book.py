"""Both books of a market as one, in terms of the Up share, and what of it can be traded against.

The two tokens of a market share one book (PROTOCOL §2.2): a bid for Down at p is an ask for Up at
1 − p. Whichever token a message is about, the newest one counts. Prices are units of 1e-4 USD,
sizes integers of 1e-6 shares; nothing of our own orders is in here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Protocol

from attrs import define

from polyframe.model.book import Book, Levels
from polyframe.model.events import BookDelta, BookSnapshot, MarketMessage, TickSizeChange
from polyframe.model.market import Market
from polyframe.model.money import PRICE_UNITS
from polyframe.model.stretch import Changes

MICRO = 1_000_000
"""Units of size in one share."""

_EDGE = 100
"""A book that bids no more than this and asks no less than 1 USD minus this is a placeholder."""

_DENSE = 8
"""Rows between two looks of a watcher from which on it costs less to let them wait until the look."""


def micro(size: Decimal) -> int:
    """Return shares as integer units of size."""
    return int(size * MICRO)


def shares(size: int) -> Decimal:
    """Return integer units of size as shares."""
    return Decimal(size) / MICRO


@define
class _Taken:
    size: int
    shown: int


class Backlog:
    """Rows of a recording that are over but that nobody has looked at yet.

    Who plays them moves `end`, who looks takes what is there: it costs nothing to let a row wait.
    """

    __slots__ = ("begin", "changes", "end")

    def __init__(self) -> None:
        self.changes: Changes | None = None
        self.begin = self.end = 0


class Watcher(Protocol):
    """Wants to know the best prices from time to time.

    Attributes:
        next_ms: After the first message from this instant on it wants to know them next.
        step_ms: About how long it does not want to know them after that.
    """

    next_ms: int
    step_ms: int

    def note(self, now_ms: int, bid: int, ask: int) -> None:
        """Take them as they were at `now_ms`, in units."""
        ...

    def stay(self, times: Sequence[int], begin: int, end: int, bid: int, ask: int) -> None:
        """Take them as they were after each of the messages from `begin` to before `end`."""
        ...


class PaperBook:
    """What others show.

    Liquidity that we took stays in the feed, because nobody but us knows that we took it. It is
    taken for us as long as the level only shrinks; of a level that grows, what came new is there.

    Args:
        market: Names and rules.
        stale_ms: Age from which the book is not traded against.
        ignore: Told why something could not be used, in one word.

    Attributes:
        takes: How often we took something.
        watcher: Is told of the rows of a backlog, when they are taken.
    """

    def __init__(self, market: Market, stale_ms: int, ignore: Callable[[str], None]) -> None:
        self._up, self._down = market.up_token, market.down_token
        self._stale_ms = stale_ms
        self._ignore = ignore
        self._book = Book(int(market.tick_size * PRICE_UNITS))
        self._changed_ms = 0
        self._taken: dict[tuple[bool, int], _Taken] = {}
        self.takes = 0
        self.watcher: Watcher | None = None
        self._backlog = Backlog()
        # Sizes that nobody has looked at yet, by price; that of an ask is below 0: see `apply_later`.
        self._waiting: dict[int, Decimal] = {}

    @property
    def tick(self) -> int:
        """The price step that holds now, in units."""
        return self._book.tick_units

    @property
    def is_known(self) -> bool:
        """Whether there was a snapshot on the present connection."""
        return self._book.known

    @property
    def top(self) -> tuple[int, int]:
        """Best bid and ask as others show them, in units; 0 and 10,000 stand for an empty side."""
        self.catch_up()
        return self._book.bid_units, self._book.ask_units

    def forget(self) -> None:
        """Know nothing until the next snapshot."""
        self.catch_up()
        self._book.invalidate()

    def apply(self, message: MarketMessage, now_ms: int) -> bool:
        """Take a message; return whether levels may be different."""
        self.catch_up()
        if isinstance(message, BookDelta):
            return self._delta(message, now_ms)
        if isinstance(message, BookSnapshot):
            changed = self._snapshot(message)
        else:
            if isinstance(message, TickSizeChange) and message.token in (self._up, self._down):
                self._book.set_tick(message.new_tick)
            return False
        if changed:
            self._changed(now_ms)
        return changed

    def apply_later(self, message: BookDelta, now_ms: int) -> None:
        """Take a message when it is needed: whoever looks at the book finds it there.

        For times in which nobody has a stake in the book. Of each level only the last size is kept.
        """
        book = self._book
        if self._taken or not book.known:
            self.catch_up()
            self._delta(message, now_ms)  # each step of a level counts, or nothing is known
            return
        if self._backlog.begin < self._backlog.end:
            self._clear_backlog()
        up, down, is_used = self._up, self._down, False
        for change in message.changes:
            price, token = change.price, change.token
            if not 0 < price < PRICE_UNITS:
                self._ignore("price")
            elif token == up:
                self._waiting[price if change.is_bid else -price] = change.size
                is_used = True
            elif token == down:
                price -= PRICE_UNITS  # an ask for Up at what is left of 1 USD
                self._waiting[price if change.is_bid else -price] = change.size
                is_used = True
            else:
                self._ignore("token")
        if is_used:
            if message.timestamp_ms > book.timestamp_ms:
                book.timestamp_ms = message.timestamp_ms
            self._changed_ms = now_ms

    def begin_backlog(self, changes: Changes, begin: int) -> Backlog:
        """Return a new backlog for rows from `begin` on, all of which `apply_later` might take."""
        self.catch_up()
        backlog = self._backlog
        backlog.changes, backlog.begin, backlog.end = changes, begin, begin
        return backlog

    def end_backlog(self) -> None:
        """Take what waits, and hold on to no rows: a market is known for long after its end."""
        self.catch_up()
        self._backlog.changes = None

    def catch_up(self) -> None:
        """Take what waits."""
        if self._backlog.begin < self._backlog.end:
            self._clear_backlog()
        if self._waiting:
            self._take_waiting()

    def _take_waiting(self) -> None:
        for place, size in self._waiting.items():
            self._book.apply_change(place > 0, abs(place), size)
        self._waiting.clear()

    def _clear_backlog(self) -> None:
        """Let the rows of the backlog wait as messages do, the later size of a level in its place."""
        backlog, watcher = self._backlog, self.watcher
        begin, end, changes = backlog.begin, backlog.end, backlog.changes
        backlog.begin = end
        if changes is None:
            return
        received = changes.received
        self._changed_ms = last_ms = received[end - 1]
        if watcher is not None and last_ms >= watcher.next_ms:
            if (end - begin) * watcher.step_ms < _DENSE * (last_ms - received[begin]):
                self._show_all(watcher, changes, begin, end)
            else:
                self._show(watcher, changes, begin, end)
        else:
            self._let_wait(changes, begin, end)

    def _show(self, watcher: Watcher, changes: Changes, begin: int, end: int) -> None:
        """Let rows wait up to each that the watcher wants to know of, and those behind the last."""
        received, book = changes.received, self._book
        while begin < end and received[end - 1] >= (look_ms := watcher.next_ms):
            # Up to the first message that the watcher wants to know of.
            behind = changes.behind(begin)
            if received[begin] < look_ms:
                behind = changes.behind(bisect_left(received, look_ms, begin, end))
            self._let_wait(changes, begin, behind)
            self._take_waiting()
            watcher.note(received[behind - 1], book.bid_units, book.ask_units)
            begin = behind
        if begin < end:
            self._let_wait(changes, begin, end)

    def _show_all(self, watcher: Watcher, changes: Changes, begin: int, end: int) -> None:
        """Take rows, of most of which the watcher wants to know; most often the best prices stay."""
        self._take_waiting()
        received, book = changes.received, self._book
        book.touch(max(changes.times[begin:end]))
        bid, ask, row = book.bid_units, book.ask_units, begin
        for place, size in zip(changes.places[begin:end], changes.sizes[begin:end], strict=True):
            if book.apply_change(place > 0, abs(place), size):
                if (message := changes.beginning(row)) > begin:
                    watcher.stay(received, begin, message, bid, ask)
                    begin = message
                bid, ask = book.bid_units, book.ask_units
            row += 1
        watcher.stay(received, begin, end, bid, ask)

    def _let_wait(self, changes: Changes, begin: int, end: int) -> None:
        places, sizes, times = changes.places, changes.sizes, changes.times
        if end == begin + 1:
            self._waiting[places[begin]] = sizes[begin]
            self._book.touch(times[begin])
        else:
            self._waiting.update(zip(places[begin:end], sizes[begin:end], strict=True))
            self._book.touch(max(times[begin:end]))

    def _changed(self, now_ms: int) -> None:
        self._changed_ms = now_ms
        if self._taken:
            self._review()

    def _snapshot(self, message: BookSnapshot) -> bool:
        bids: Levels
        asks: Levels
        if message.token == self._up:
            bids, asks = message.bids, message.asks
        elif message.token == self._down:
            bids = [(PRICE_UNITS - units, size) for units, size in message.asks]
            asks = [(PRICE_UNITS - units, size) for units, size in message.bids]
        else:
            self._ignore("token")
            return False
        try:
            applied = self._book.apply_snapshot(
                bids, asks, message.timestamp_ms, message.tick_units
            )
        except ValueError:
            self._ignore("price")
            return False
        if not applied:
            self._ignore("older_snapshot")
        return applied

    def _delta(self, message: BookDelta, now_ms: int) -> bool:
        book, up, changed = self._book, self._up, False
        if not book.known:
            self._ignore("unknown_book")
            return False
        for change in message.changes:
            price, token = change.price, change.token
            if not 0 < price < PRICE_UNITS:
                self._ignore("price")
            elif token == up:
                book.apply_change(change.is_bid, price, change.size)
                changed = True
            elif token == self._down:
                book.apply_change(not change.is_bid, PRICE_UNITS - price, change.size)
                changed = True
            else:
                self._ignore("token")
        if changed:
            # `touch` and `_changed`, spelled out: this is what a row costs.
            if message.timestamp_ms > book.timestamp_ms:
                book.timestamp_ms = message.timestamp_ms
            self._changed_ms = now_ms
            if self._taken:
                self._review()
        return changed

    @property
    def has_taken(self) -> bool:
        """Whether we took something that is still shown."""
        return bool(self._taken)

    @property
    def taken_places(self) -> frozenset[int]:
        """Where we took something that is still shown; as prices of Up, those of asks below 0."""
        return frozenset(price if is_bid else -price for is_bid, price in self._taken)

    def is_tradable(self, now_ms: int) -> bool:
        """Return whether the book is known, fresh, not crossed and no placeholder.

        Before anybody quotes, a market shows 0.01 / 0.99 or one far side alone (PROTOCOL §2.2).
        """
        self.catch_up()
        book = self._book
        if not book.known or book.is_crossed or now_ms - self._changed_ms > self._stale_ms:
            return False
        return book.bid_units > _EDGE or book.ask_units < PRICE_UNITS - _EDGE

    def side_of(self, price: int) -> bool | None:
        """Return whether a trade at `price` met bids; ``None`` if it was between the two sides."""
        self.catch_up()
        if price <= self._book.bid_units:
            return True
        return False if price >= self._book.ask_units else None

    def meets(self, is_bid: bool, limit: int) -> bool:
        """Return whether others show anything at which a bid (an ask) of `limit` could trade."""
        self.catch_up()
        book = self._book
        return limit >= book.ask_units if is_bid else limit <= book.bid_units

    def shown(self, is_bid: bool, price: int) -> int:
        """Return the total size at one price."""
        self.catch_up()
        return micro(self._book.size_at(is_bid, price))

    def best(self, is_bid: bool) -> tuple[int, int] | None:
        """Return the best that one side still has for us: price and size; ``None`` if it has nothing."""
        self.catch_up()
        if not self._taken:
            price = self._book.bid_units if is_bid else self._book.ask_units
            if size := micro(self._book.size_at(is_bid, price)):
                return price, size
        return next(self.offers(is_bid, 1 if is_bid else PRICE_UNITS - 1), None)

    def offers(self, is_bid: bool, limit: int) -> Iterator[tuple[int, int]]:
        """Yield what one side still has for us up to `limit`: prices and sizes, best first.

        Args:
            is_bid: The side that is asked for.
            limit: The lowest bid, or the highest ask, that is wanted.
        """
        self.catch_up()
        best = self._book.bid_units if is_bid else self._book.ask_units
        if best < limit if is_bid else best > limit:
            return
        for units, size in self._book.levels(is_bid):
            if units < limit if is_bid else units > limit:
                return
            taken = self._taken.get((is_bid, units))
            left = micro(size) - (0 if taken is None else taken.size)
            if left > 0:
                yield units, left

    def take(self, is_bid: bool, price: int, size: int) -> None:
        """Note that we took `size` at one price."""
        taken = self._taken.setdefault((is_bid, price), _Taken(0, self.shown(is_bid, price)))
        taken.size += size
        self.takes += 1

    def _review(self) -> None:
        for key, taken in list(self._taken.items()):
            shown = self.shown(*key)
            if shown < taken.shown:
                taken.size = min(taken.size, shown)
            taken.shown = shown
            if not taken.size:
                del self._taken[key]
