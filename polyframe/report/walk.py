"""Walks through one cycle: what was held at each instant, what it had cost, and what it was worth."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from operator import itemgetter

from attrs import frozen

from polyframe.model.conversion import HALF, Conversion, ConversionKind
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS, ZERO
from polyframe.model.order import OrderRequest, Side
from polyframe.report.orders import Level, ReportedOrder
from polyframe.report.prices import UNKNOWN, PricePath

Steps = list[tuple[int, Decimal]]
"""By how much something changed, and when (epoch milliseconds)."""

Marks = list[tuple[int, int]]
"""The marked profit, and from when on (epoch milliseconds): integers of `MARK_STEP`.

There are hundreds of them in a cycle, and integers are twenty times as fast to sum up as ``Decimal``.
"""

MARK_STEP = Decimal("1e-10")
"""USD: a unit of price times a millionth of a share."""

_MICRO = 1_000_000


@frozen
class Curve:
    """What one cycle adds to the sums of all.

    Attributes:
        costs: Steps of what held shares had cost.
        marks: The profit, with what is held valued at the best bids, up to the end of the window.
        is_marked: Whether prices were recorded, or nothing had to be valued.
    """

    costs: Steps
    marks: Marks
    is_marked: bool


def walked(
    orders: Iterable[ReportedOrder],
    conversions: Iterable[Conversion],
    end_ms: int,
    path: PricePath | None,
) -> Walk:
    """Return a walk through everything that moved shares in one cycle.

    Args:
        orders: With their fills.
        conversions: Splits and merges that were confirmed.
        end_ms: Of the window, in epoch milliseconds.
        path: How its prices moved, ``None`` if that was not recorded.
    """
    walk = Walk(end_ms, path)
    fills = [(level, order.request) for order in orders for level in order.levels]
    happened: list[tuple[int, Callable[[], None]]] = [
        (level.time_ms, partial(walk.fill, level, request)) for level, request in fills
    ]
    told = {level.time_ms for level, _ in fills}
    for conversion in conversions:
        # What is confirmed later was under way, and the window is what is looked at.
        at_ms = min(conversion.updated_ms, end_ms)
        if conversion.kind is ConversionKind.SPLIT:
            # The venue tells times of trades in whole seconds: one of them may sell what was split.
            alike = told.intersection((at_ms, at_ms - at_ms % 1000))
            at_ms = min(alike, default=at_ms + 1) - 1
        happened.append((at_ms, partial(walk.convert, conversion, at_ms)))
    for _, happen in sorted(happened, key=itemgetter(0)):
        happen()
    return walk


class Walk:
    """Walks through the fills and conversions of one cycle, and through its prices, in order of time.

    Attributes:
        held, cost: Shares of each outcome, and what they had cost in USD.
        realised: USD earned by sales and merges, without fees.
        flow: USD received minus USD paid, fees included; at the end the payout as well.
        held_ms: For how long something was held.
    """

    def __init__(self, end_ms: int, path: PricePath | None) -> None:
        self.held = dict.fromkeys(Outcome, ZERO)
        self.cost = dict.fromkeys(Outcome, ZERO)
        self.realised = ZERO
        self.flow = ZERO
        self.held_ms = 0
        self._end_ms = end_ms
        self._since: int | None = None
        self._costs: Steps = []
        self._marks: Marks = []
        self._path = path
        self._place = 0
        self._bids: tuple[int, int] | None = None

    def fill(self, level: Level, request: OrderRequest) -> None:
        """Book one fill at mean cost, as the engine does."""
        self._pass_to(level.time_ms)
        shares = level.size if request.side is Side.BUY else -level.size
        self.flow -= level.fee
        self._book(level.time_ms, request.outcome, shares, level.price)
        self._mark(level.time_ms)

    def convert(self, conversion: Conversion, now_ms: int) -> None:
        """Book one split or merge: each share counts half of the USD that a pair is, as in the engine."""
        self._pass_to(now_ms)
        splits = conversion.kind is ConversionKind.SPLIT
        shares = conversion.shares if splits else -conversion.shares
        for outcome in Outcome:
            self._book(now_ms, outcome, shares, HALF)
        self._mark(now_ms)

    def _book(self, now_ms: int, outcome: Outcome, shares: Decimal, price: Decimal) -> None:
        before, held = self.cost[outcome], self.held[outcome]
        self.flow -= shares * price
        self.held[outcome] += shares
        if shares >= 0:
            # What was sold before it came in is covered first.
            covering = min(max(-held, ZERO), shares)
            self.cost[outcome] += (shares - covering) * price
            self.realised -= covering * price
        else:
            # Shares of a split that nobody wrote down may be sold as well: they cost nothing here.
            part = before if -shares >= held else before * -shares / held
            self.cost[outcome] -= part
            self.realised += -shares * price - part
        self._costs.append((now_ms, self.cost[outcome] - before))

    def _mark(self, now_ms: int) -> None:
        self._note_time(now_ms)
        if self._bids is not None:
            base, up, down = self._holdings()
            worth = base + self._bids[0] * up + self._bids[1] * down
            self._marks.append((now_ms, worth))

    def _note_time(self, now_ms: int) -> None:
        is_held = any(self.held.values())
        if is_held and self._since is None:
            self._since = now_ms
        elif not is_held and self._since is not None:
            self.held_ms += now_ms - self._since
            self._since = None

    def _flow(self) -> int:
        return int((self.flow / MARK_STEP).to_integral_value())

    def _holdings(self) -> tuple[int, int, int]:
        """Return what is certain in marks, and the shares of Up and Down in millionths.

        Who sold more than there was had split cash into pairs, and nobody wrote it down: for each share
        missing here a pair was paid with 1 USD, and its other half is still held.
        """
        up, down = (int(self.held[each] * _MICRO) for each in Outcome)
        pairs = -min(up, down, 0)
        return self._flow() - pairs * PRICE_UNITS, up + pairs, down + pairs

    def _pass_to(self, now_ms: int) -> None:
        """Take the prices until `now_ms`; what is held is worth less or more with each."""
        path = self._path
        if path is None:
            return
        first = self._place
        self._place = last = bisect_right(path.times_ms, now_ms, first)
        if self._costs:
            base, up, down = self._holdings()
        else:
            # Nothing was held so far, of all these prices the last one that is known matters.
            base = up = down = 0
            places = range(last - 1, first - 1, -1)
            first = next((place for place in places if path.bids[place] != UNKNOWN), last)
        marks, is_held = self._marks, bool(up or down)
        points = zip(
            path.times_ms[first:last], path.bids[first:last], path.asks[first:last], strict=True
        )
        for time_ms, bid, ask in points:
            # While the book is not known, the last price that was known stands.
            if bid != UNKNOWN:
                self._bids = bid, PRICE_UNITS - ask
                if is_held:
                    marks.append((time_ms, base + bid * up + (PRICE_UNITS - ask) * down))

    def finish(self, winner: Outcome | None) -> Curve:
        """Come to the end of the window, and to the payout if it is known; return all steps."""
        self._pass_to(self._end_ms)
        if self._since is not None:
            self.held_ms += max(self._end_ms - self._since, 0)
        if winner is not None:
            self.flow += self.held[winner]
            if self._costs:
                self._marks.append((self._end_ms, self._flow()))
        left = sum(self.cost.values(), ZERO)
        costs = [*self._costs, (self._end_ms, -left)] if left else self._costs
        return Curve(costs, self._marks, self._bids is not None or not self._costs)
