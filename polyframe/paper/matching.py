"""The matching of one market: our orders against what others show and trade.

Pure and synchronous. Prices are for the Up share in units of 1e-4 USD, sizes units of 1e-6 shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from polyframe.model.events import BookDelta, MarketMessage, TradePrint
from polyframe.model.market import Market
from polyframe.model.money import PRICE_UNITS
from polyframe.model.order import Side
from polyframe.model.stretch import Changes
from polyframe.paper.book import PaperBook, micro
from polyframe.paper.queues import QueueModel
from polyframe.paper.values import Match, PaperOrder

_CASH = 10**10
"""Units of USD in which price times size is a whole number."""

_BOUGHT_STEP = 100
"""Units of the finest step of shares in a buy for a sum of USD: 0.0001 (PROTOCOL §2.8)."""

Fill = tuple[PaperOrder, int]
"""A resting order of ours, and the units of size that it got at its own price."""

_NOTHING: tuple[Fill, ...] = ()

_AHEAD = 512
"""Rows that are looked at at once for the next one that matters to our orders."""


class PaperMarket:
    """One market: its book and our resting orders.

    Args:
        market: Names and rules.
        queue: Makes the places of resting orders.
        stale_ms: Age from which its book is not traded against.
        ignore: Told why something could not be used, in one word.
    """

    def __init__(
        self,
        market: Market,
        queue: QueueModel,
        stale_ms: int,
        ignore: Callable[[str], None],
    ) -> None:
        self.market = market
        self.book = PaperBook(market, stale_ms, ignore)
        self.resting: dict[str, PaperOrder] = {}
        self._queue = queue
        self._ignore = ignore
        self._was_lost = False
        # Our prices, if every order of ours stands in its queue: see `can_wait`.
        self._bids: frozenset[int] | None = None
        self._asks: frozenset[int] = frozenset()
        # Behind these rows the next one may be of a price that matters, for as long as these are the
        # stakes: see `may_wait`.
        self._free_end = 0
        self._free_for: tuple[object, ...] = ()

    # ------------------------------------------------------------------ orders

    def plan(self, order: PaperOrder, now_ms: int) -> tuple[list[Match], bool]:
        """Return what an order would take now, best price first, and whether that is all of it."""
        left = _Money(order.usd) if order.spends else _Shares(order.open_size)
        matches: list[Match] = []
        for price, size, maker in self._offers(order, now_ms):
            wanted = left.at(order.flipped(price))
            if not wanted:
                break
            part = min(size, wanted)
            left.use(order.flipped(price), part)
            matches.append(Match(price, part, maker))
        return matches, left.is_used(order.flipped(order.limit))

    def _offers(
        self, order: PaperOrder, now_ms: int
    ) -> Iterator[tuple[int, int, PaperOrder | None]]:
        """Yield what an order can take: at each price the others first, then our own orders."""
        is_bid, limit = not order.is_bid, order.limit
        crowd = dict(self.book.offers(is_bid, limit)) if self.book.is_tradable(now_ms) else {}
        own: dict[int, list[PaperOrder]] = {}
        for maker in self.resting.values():
            if maker.is_bid is is_bid and (
                maker.limit >= limit if is_bid else maker.limit <= limit
            ):
                own.setdefault(maker.limit, []).append(maker)
        for price in sorted({*crowd, *own}, reverse=is_bid):
            if price in crowd:
                yield price, crowd[price], None
            for maker in own.get(price, ()):
                yield price, maker.open_size, maker

    def take(self, order: PaperOrder, match: Match) -> None:
        """Carry out one step of a plan."""
        order.matched += match.size
        if match.maker is None:
            self.book.take(not order.is_bid, match.price, match.size)
        else:
            self._fill(match.maker, match.size)

    def rest(self, order: PaperOrder, now_ms: int) -> None:
        """Let an order stand in the book, at the end of its queue."""
        was_seen = not self._was_lost and (self._bids is not None or not self.resting)
        self.keep(order)
        if self.book.is_tradable(now_ms):
            self._join(order)
            if was_seen:
                # It took what it could meet, and knows its queue: nothing is there that a look would find.
                self._note_prices()

    def keep(self, order: PaperOrder) -> None:
        """Let an order stand in the book; its queue is joined when the book can be traded against."""
        self.resting[order.order_id] = order
        self._bids = None

    def remove(self, order: PaperOrder) -> None:
        """Take an order out of the book, if it stands there."""
        self.resting.pop(order.order_id, None)

    def _join(self, order: PaperOrder) -> None:
        order.place = self._queue.join(self.book.shown(order.is_bid, order.limit))

    def _fill(self, order: PaperOrder, size: int) -> None:
        order.matched += size
        if not order.open_size:
            self.remove(order)

    # ------------------------------------------------------------------ the feed

    def forget(self) -> None:
        """Know nothing of the book until the next snapshot; places in the queue are kept."""
        self.book.forget()
        self._was_lost = True

    def on_message(self, message: MarketMessage, now_ms: int) -> Sequence[Fill]:
        """Take a message of the feed; return what it filled of our resting orders."""
        if type(message) is BookDelta and self.can_wait(message):
            self.book.apply_later(message, now_ms)
            return _NOTHING
        self._bids = None
        if isinstance(message, TradePrint):
            return self._print(message, now_ms)
        changed = self.book.apply(message, now_ms)
        if not changed or not self.resting or not self.book.is_tradable(now_ms):
            return []
        book, is_met = self.book, False
        was_lost, self._was_lost = self._was_lost, False
        for order in self.resting.values():
            is_bid, limit, place = order.is_bid, order.limit, order.place
            if place is None:
                self._join(order)
            elif was_lost:
                place.regained(book.shown(is_bid, limit))
            else:
                place.shown(book.shown(is_bid, limit), now_ms)
            is_met = is_met or book.meets(is_bid, limit)
        fills = self._crossed() if is_met else []
        self._note_prices()
        return fills

    def _note_prices(self) -> None:
        """Note where our orders rest: each stands in its queue, and none could trade now."""
        resting = self.resting.values()
        self._bids = frozenset([order.limit for order in resting if order.is_bid])
        self._asks = frozenset([order.limit for order in resting if not order.is_bid])

    def can_wait(self, message: BookDelta) -> bool:
        """Return whether a message changes nothing at our prices, nor where ours could trade.

        Then no queue moves and nothing is filled, if that is how it was before: known once a message
        was looked at whole, with a book that can be traded against, and of an order that comes to rest
        in such a book. Until then it is false, unless we have no orders here at all.
        """
        if not self.resting:
            return True
        bids, asks = self._bids, self._asks
        if bids is None:
            return False
        up = self.market.up_token
        for change in message.changes:
            is_bid, price = change.is_bid, change.price
            if change.token != up:
                is_bid, price = not is_bid, PRICE_UNITS - price
            if is_bid:
                if price in bids or (asks and price >= min(asks)):
                    return False
            elif price in asks or (bids and price <= max(bids)):
                return False
        return True

    def may_wait(self, changes: Changes, begin: int, end: int) -> int:
        """Return where the first message begins that may not wait, as `can_wait` has it; or `end`.

        A change at a price at which we took something may not either: each size that is shown counts.

        Args:
            changes: The rows.
            begin: Where to begin.
            end: Where to stop.
        """
        if not self.resting and not self.book.has_taken:
            return end
        if self.resting and self._bids is None:
            return begin
        stakes = (changes, self._bids, self._asks, self.book.takes, bool(self.resting))
        if begin >= self._free_end or stakes != self._free_for:
            self._free_for, self._free_end = stakes, self._first_watched(changes, begin)
        return min(self._free_end, end)

    def end_backlog(self) -> None:
        """Let go of the rows that were played: no more are to come."""
        self.book.end_backlog()
        self._free_for, self._free_end = (), 0

    def _first_watched(self, changes: Changes, begin: int) -> int:
        """Look some way ahead."""
        watched = self.book.taken_places
        lowest_ask, highest_bid = PRICE_UNITS, 0
        if self.resting and self._bids is not None:
            watched |= {*self._bids, *(-price for price in self._asks)}
            lowest_ask, highest_bid = (
                min(self._asks, default=lowest_ask),
                max(self._bids, default=0),
            )
        places = changes.places
        end = min(begin + _AHEAD, len(places))
        # Each price once: most of many rows are at a few of them.
        found = {
            place
            for place in set(places[begin:end])
            if place in watched or place >= lowest_ask or -highest_bid <= place < 0
        }
        if found:
            return changes.beginning(next(r for r in range(begin, end) if places[r] in found))
        # A message is not cut in two.
        return end if end == len(places) else max(changes.beginning(end), begin)

    def _crossed(self) -> list[Fill]:
        """Fill what others now offer at our price or better: they would have met our order."""
        fills: list[Fill] = []
        for order in self._by_priority():
            for price, size in list(self.book.offers(not order.is_bid, order.limit)):
                part = min(size, order.open_size)
                if not part:
                    break
                self.book.take(not order.is_bid, price, part)
                self._fill(order, part)
                fills.append((order, part))
        return fills

    def _print(self, message: TradePrint, now_ms: int) -> list[Fill]:
        """Let a trade eat the queues at its price; one at a worse price has eaten ours whole."""
        read = self._read_print(message, now_ms)
        if read is None:
            return []
        hits_bids, price, size = read
        fills: list[Fill] = []
        given = 0
        for order in self._by_priority():
            if order.is_bid is not hits_bids:
                continue
            better = order.limit - price if hits_bids else price - order.limit
            if better < 0:
                continue
            if better > 0:
                surplus = size
            else:
                surplus = 0 if order.place is None else order.place.traded(size, now_ms)
            part = min(max(surplus - given, 0), order.open_size)
            if part:
                given += part
                self._fill(order, part)
                fills.append((order, part))
        return fills

    def _read_print(self, message: TradePrint, now_ms: int) -> tuple[bool, int, int] | None:
        """Return whether a trade met bids for Up, its price for Up, and its size."""
        outcome_is_up = message.token == self.market.up_token
        if not outcome_is_up and message.token != self.market.down_token:
            self._ignore("token")
            return None
        if message.size is None:
            self._ignore("print_size")
            return None
        price = message.price if outcome_is_up else PRICE_UNITS - message.price
        if not self.resting:
            return None
        if not self.book.is_tradable(now_ms):
            self._ignore("print_untradable")
            return None
        if message.side is None:
            hits_bids = self.book.side_of(price)
            if hits_bids is None:
                self._ignore("print_side")
                return None
        else:
            hits_bids = (message.side is Side.SELL) is outcome_is_up
        return hits_bids, price, micro(message.size)

    def _by_priority(self) -> list[PaperOrder]:
        """Return our resting orders, the better prices first and then the older ones."""
        return sorted(
            self.resting.values(), key=lambda order: -order.limit if order.is_bid else order.limit
        )


class _Shares:
    """What is left of an order for shares."""

    def __init__(self, size: int) -> None:
        self._left = size

    def at(self, price: int) -> int:  # noqa: ARG002 - the same at every price
        return self._left

    def use(self, price: int, size: int) -> None:  # noqa: ARG002 - the same at every price
        self._left -= size

    def is_used(self, limit: int) -> bool:  # noqa: ARG002 - the same at every price
        return not self._left


class _Money:
    """What is left of an order for a sum of USD."""

    def __init__(self, usd: Decimal) -> None:
        self._left = int(usd * _CASH)

    def at(self, price: int) -> int:
        size = self._left // price
        return size - size % _BOUGHT_STEP

    def use(self, price: int, size: int) -> None:
        self._left -= price * size

    def is_used(self, limit: int) -> bool:
        return self._left < limit * _BOUGHT_STEP
