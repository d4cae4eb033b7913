"""The way of a market's price, thinned to a bounded number of points, and the book at a decision."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from attrs import define, field, frozen

from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS, units_price
from polyframe.model.order import OrderRequest, Side
from polyframe.model.series import Window
from polyframe.paper.book import PaperBook, shares
from polyframe.report.orders import OrderView

POINTS = 360
"""Points of one market's path at most, but for interruptions: one in 2.5 s of a quarter of an hour."""

UNKNOWN = -1
"""Stands for both prices from the instant on from which the book is not known."""


def _times() -> array[int]:
    return array("q")


def _units() -> array[int]:
    return array("h")


@frozen
class PricePath:
    """Best bid and ask of Up over the window; a point holds until the next one.

    Those of Down are their mirror: a bid for Up at p is an ask for Down at 1 − p (PROTOCOL §2.2).

    Attributes:
        times_ms: Epoch milliseconds; the first one may lie before the window.
        bids: Units of 1e-4 USD; 0 where nobody bids, `UNKNOWN` where the book is not known.
        asks: Likewise; 10,000 where nobody asks.
    """

    times_ms: array[int] = field(factory=_times, repr=False, hash=False)
    bids: array[int] = field(factory=_units, repr=False, hash=False)
    asks: array[int] = field(factory=_units, repr=False, hash=False)

    def __len__(self) -> int:
        return len(self.times_ms)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Iterate over (time, bid, ask)."""
        return zip(self.times_ms, self.bids, self.asks, strict=True)

    def thinned(self, points: int) -> PricePath:
        """Return a path of `points` points or a few less, with the ends and the outliers kept.

        Of neighbours that share a place the one that is farthest from the last point stays.
        """
        if len(self) <= points:
            return self
        kept, last = PricePath(), self.bids[0] + self.asks[0]
        count = len(self)
        for place in range(points):
            share = range(count * place // points, count * (place + 1) // points)
            at = max(share, key=lambda i: abs(self.bids[i] + self.asks[i] - last))
            if place in (0, points - 1):
                at = share[0 if place == 0 else -1]
            kept.add(self.times_ms[at], self.bids[at], self.asks[at])
            last = self.bids[at] + self.asks[at]
        return kept

    def clear(self) -> None:
        """Forget all points."""
        for values in (self.times_ms, self.bids, self.asks):
            del values[:]

    def add(self, time_ms: int, bid: int, ask: int) -> None:
        """Add a point at the end."""
        self.times_ms.append(time_ms)
        self.bids.append(bid)
        self.asks.append(ask)


@define(eq=False)
class PathWriter:
    """Makes the path of one market while its messages pass.

    Of what comes before the window only the last point stays: it is what the window begins with.

    Attributes:
        path: What there is so far.
        next_ms: A message from this instant on is worth a look; what comes before is not.
        step_ms: Within the window, one message of each such step is worth a look: the first.
    """

    book: PaperBook
    window: Window
    path: PricePath = field(init=False, factory=PricePath)
    next_ms: int = field(init=False, default=0)
    step_ms: int = field(init=False)
    _start_ms: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Work out the steps."""
        self._start_ms = self.window.start * 1000
        self.step_ms = -(-(self.window.end - self.window.start) * 1000 // (POINTS - 1))

    def look(self, now_ms: int) -> None:
        """Take a point after a message that came at `next_ms` or later."""
        bid, ask = self.book.top
        # To look at it may have told of rows that waited.
        if self.book.is_known and now_ms >= self.next_ms:
            self.note(now_ms, bid, ask)

    def note(self, now_ms: int, bid: int, ask: int) -> None:
        """Take a point likewise, with the best prices as they are then."""
        # A book is crossed for a moment while the messages of one change come in.
        if bid >= ask:
            return
        path = self.path
        if now_ms < self._start_ms:
            path.clear()
        if not path.bids or path.bids[-1] != bid or path.asks[-1] != ask:
            path.add(now_ms, bid, ask)
        if now_ms >= self._start_ms:
            into_step_ms = (now_ms - self._start_ms) % self.step_ms
            self.next_ms = now_ms - into_step_ms + self.step_ms

    def stay(self, times: Sequence[int], begin: int, end: int, bid: int, ask: int) -> None:
        """Take the points of the messages from `begin` to before `end`: all had these best prices after them."""
        begin = bisect_left(times, self.next_ms, begin, end)
        if begin < end and times[begin] < self._start_ms:
            behind = bisect_left(times, self._start_ms, begin, end)
            self.note(times[behind - 1], bid, ask)  # those before it would be forgotten
            begin = behind
        if begin < end:
            self.note(times[begin], bid, ask)
            # No other point, but it says from when on a message is worth a look.
            self.note(times[end - 1], bid, ask)

    def interrupt(self, now_ms: int) -> None:
        """Nothing is known until the next snapshot."""
        if self.path.bids and self.path.bids[-1] != UNKNOWN:
            self.path.add(now_ms, UNKNOWN, UNKNOWN)
            self.next_ms = now_ms


def view_of(book: PaperBook, request: OrderRequest) -> OrderView:
    """Return what `book` shows to whoever decides on an order like `request` now."""
    bids, asks = book.best(True), book.best(False)
    mid = None if bids is None or asks is None else units_price(bids[0]) + units_price(asks[0])
    is_up = request.outcome is Outcome.UP
    if mid is not None:
        mid = mid / 2 if is_up else 1 - mid / 2
    # Who buys Down takes the bids for Up, in terms of which the book is kept.
    takes_bids = is_up is (request.side is Side.SELL)
    best = bids if takes_bids else asks
    if best is None:
        return OrderView(mid, None, shares(0), shares(0))
    units = int(request.price * PRICE_UNITS)
    limit, reached = units if is_up else _mirror(units), 0
    if best[0] >= limit if takes_bids else best[0] <= limit:
        reached = sum(size for _, size in book.offers(takes_bids, limit))
    touch = units_price(best[0] if is_up else _mirror(best[0]))
    return OrderView(mid, touch, shares(best[1]), shares(reached))


def _mirror(units: int) -> int:
    return PRICE_UNITS - units
