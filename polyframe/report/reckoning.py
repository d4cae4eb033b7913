"""Makes reports of what is known of each cycle: its orders with their fills, and who won."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate

from attrs import evolve, field, frozen

from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS, ZERO
from polyframe.model.order import OrderRequest, Side
from polyframe.paper.models import PaperModels
from polyframe.report.orders import Decision, Level, ReportedOrder
from polyframe.report.prices import UNKNOWN, PricePath
from polyframe.report.values import CycleReport, Figures, Part, Report

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
class Life:
    """What is known of one cycle.

    Attributes:
        series, slug: Which market.
        start, end: Of its window, in epoch seconds.
        winner: The outcome that paid, ``None`` if it is not known.
        booked: The profit by the engine's books, ``None`` while it is not known.
        orders: In order, without results.
        refusals: By reason.
        path: How its prices moved, ``None`` if that was not recorded.
        profit: Taken as it is, where orders need not be the whole story; ``None`` has it summed up.
    """

    series: str
    slug: str
    start: int
    end: int
    winner: Outcome | None
    booked: Decimal | None
    orders: Sequence[ReportedOrder]
    refusals: Mapping[str, int] = field(hash=False)
    path: PricePath | None
    profit: Decimal | None = None


def reckon(
    lives: Iterable[Life],
    *,
    source: str,
    cash: Decimal | None,
    models: PaperModels | None,
    decisions: Iterable[Decision] = (),
    skipped: Mapping[str, int] | None = None,
    doubtful: Mapping[str, int] | None = None,
) -> Report:
    """Put a report together; see `Report` for what the arguments are."""
    ordered = sorted(lives, key=lambda life: (life.start, life.slug))
    cycles, curves = [], []
    for life in ordered:
        figures, curve = _figures(life, life.orders)
        figures = evolve(
            figures,
            refusals=dict(sorted(life.refusals.items())),
            profit=figures.profit if life.profit is None else life.profit,
        )
        cycles.append(
            CycleReport(
                life.series,
                life.slug,
                life.start,
                life.end,
                life.winner,
                figures,
                life.booked,
                tuple(evolve(o, result=_result(o, life.winner)) for o in life.orders),
                life.path,
            )
        )
        curves.append(curve)
    whole = _part(ordered, [c.figures for c in cycles], curves)
    return Report(
        source=source,
        cycles=tuple(cycles),
        total=whole.figures,
        drawdown=whole.drawdown,
        strategies=_by_strategy(ordered, whole),
        cash=cash,
        models=models,
        decisions=tuple(decisions),
        skipped=dict(sorted((skipped or {}).items())),
        doubtful=dict(sorted((doubtful or {}).items())),
    )


def marked_profit(cycle: CycleReport) -> Marks:
    """Return the profit of one cycle over its window, what is held valued at the best bids.

    It begins with the first fill and ends with the window. Without a price path there is nothing but
    the end.
    """
    return _walked(cycle.orders, cycle.end * 1000, cycle.path).finish(cycle.winner).marks


def summed(marks: Iterable[Marks]) -> Marks:
    """Return the sum of what each of several cycles had come to, at each instant at which it changed."""
    steps: dict[int, int] = {}
    for own in marks:
        last = 0
        for time_ms, value in own:
            steps[time_ms] = steps.get(time_ms, 0) + value - last
            last = value
    value, found = 0, []
    for time_ms in sorted(steps):
        value += steps[time_ms]
        found.append((time_ms, value))
    return found


def _by_strategy(lives: Sequence[Life], whole: Part) -> dict[str, Part]:
    names = sorted({order.strategy for life in lives for order in life.orders})
    if len(names) == 1:
        return {names[0]: whole}
    parts = {}
    for name in names:
        own = []
        for life in lives:
            orders = [order for order in life.orders if order.strategy == name]
            own.append(_figures(life, orders))
        parts[name] = _part(lives, [figures for figures, _ in own], [curve for _, curve in own])
    return parts


@frozen
class _Curve:
    """What one cycle adds to the sums of all.

    Attributes:
        costs: Steps of what held shares had cost.
        marks: The profit, with what is held valued at the best bids, up to the end of the window.
        is_marked: Whether prices were recorded, or nothing had to be valued.
    """

    costs: Steps
    marks: Marks
    is_marked: bool


def _figures(life: Life, orders: Sequence[ReportedOrder]) -> tuple[Figures, _Curve]:
    trades = [order for order in orders if order.levels]
    walk = _walked(trades, life.end * 1000, life.path)
    curve = walk.finish(life.winner)
    fees = sum((trade.fee for trade in trades), ZERO)
    settled, profit = ZERO, None if trades else ZERO
    if life.winner is not None:
        settled = walk.held[life.winner] - sum(walk.cost.values(), ZERO)
        # Of what was paid and received, not by way of mean costs: exact.
        profit = walk.flow
    levels = [level for trade in trades for level in trade.levels]
    is_seen = all(trade.view is not None for trade in trades)
    figures = Figures(
        orders=len(orders),
        trades=len(trades),
        fills=len(levels),
        shares=sum((level.size for level in levels), ZERO),
        volume=sum((level.size * level.price for level in levels), ZERO),
        maker_volume=sum((v.size * v.price for v in levels if not v.is_taker), ZERO),
        fees=fees,
        realised=walk.realised,
        settled=settled,
        profit=profit,
        exposure=_peak(curve.costs),
        seconds_in_market=Decimal(walk.held_ms) / 1000,
        slippage_mid=_sum(t.slippage(t.mid) for t in trades) if is_seen else None,
        slippage_touch=_sum(t.slippage(t.touch) for t in trades) if is_seen else None,
        marked_drawdown=_marked_fall(curve.marks) if curve.is_marked else None,
    )
    return figures, curve


def _sum(values: Iterable[Decimal | None]) -> Decimal:
    return sum((value for value in values if value is not None), ZERO)


def _result(order: ReportedOrder, winner: Outcome | None) -> Decimal | None:
    if winner is None or not order.levels:
        return None
    earned = (order.size if order.request.outcome is winner else ZERO) - order.value
    return (earned if order.request.side is Side.BUY else -earned) - order.fee


def _walked(orders: Iterable[ReportedOrder], end_ms: int, path: PricePath | None) -> _Walk:
    walk = _Walk(end_ms, path)
    fills = [(level, order.request) for order in orders for level in order.levels]
    for level, request in sorted(fills, key=lambda fill: fill[0].time_ms):
        walk.fill(level, request)
    return walk


class _Walk:
    """Walks through the fills of one cycle, and through its prices, in order of time."""

    def __init__(self, end_ms: int, path: PricePath | None) -> None:
        self.held = dict.fromkeys(Outcome, ZERO)
        self.cost = dict.fromkeys(Outcome, ZERO)
        self.realised = ZERO
        self.flow = ZERO
        """USD received minus USD paid, fees included; at the end the payout as well."""
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
        outcome, value = request.outcome, level.size * level.price
        before = self.cost[outcome]
        self.flow += (-value if request.side is Side.BUY else value) - level.fee
        if request.side is Side.BUY:
            self.cost[outcome] += value
            self.held[outcome] += level.size
        else:
            held = self.held[outcome]
            # Shares that a split made may be sold as well: they cost nothing here.
            part = before if level.size >= held else before * level.size / held
            self.cost[outcome] -= part
            self.held[outcome] -= level.size
            self.realised += value - part
        self._costs.append((level.time_ms, self.cost[outcome] - before))
        self._note_time(level.time_ms)
        if self._bids is not None:
            base, up, down = self._holdings()
            worth = base + self._bids[0] * up + self._bids[1] * down
            self._marks.append((level.time_ms, worth))

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

        Who sold more than was bought had split cash into pairs: for each share missing here a pair
        was paid with 1 USD, and its other half is still held.
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
        base, up, down = self._holdings()
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

    def finish(self, winner: Outcome | None) -> _Curve:
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
        return _Curve(costs, self._marks, self._bids is not None or not self._costs)


def _peak(steps: Iterable[tuple[int, Decimal]]) -> Decimal:
    """Return the highest sum on the way; at the same instant what falls comes first."""
    level = peak = ZERO
    for _, step in sorted(steps):
        level += step
        peak = max(peak, level)
    return peak


def _fall(values: Iterable[Decimal]) -> Decimal:
    """Return the largest fall from a peak, the first peak being 0."""
    peak = worst = ZERO
    for value in values:
        peak = max(peak, value)
        worst = max(worst, peak - value)
    return worst


def _marked_fall(marks: Marks) -> Decimal:
    """Return the same of marks in USD; what comes at one instant counts together."""
    peak = worst = 0
    for value in dict(marks).values():
        if value > peak:
            peak = value
        elif peak - value > worst:
            worst = peak - value
    return (worst * MARK_STEP).normalize()


def _part(lives: Sequence[Life], parts: Sequence[Figures], curves: Sequence[_Curve]) -> Part:
    """Return the sum of cycles."""
    refusals: Counter[str] = Counter()
    for part in parts:
        refusals.update(part.refusals)
    profits = [part.profit for part in parts]
    known = [part.profit for part in parts if part.trades and part.profit is not None]
    is_marked = all(curve.is_marked for curve in curves)
    figures = Figures(
        orders=sum(part.orders for part in parts),
        trades=sum(part.trades for part in parts),
        fills=sum(part.fills for part in parts),
        shares=sum((part.shares for part in parts), ZERO),
        volume=sum((part.volume for part in parts), ZERO),
        maker_volume=sum((part.maker_volume for part in parts), ZERO),
        fees=sum((part.fees for part in parts), ZERO),
        realised=sum((part.realised for part in parts), ZERO),
        settled=sum((part.settled for part in parts), ZERO),
        profit=None if None in profits else _sum(profits),
        exposure=_peak(step for curve in curves for step in curve.costs),
        seconds_in_market=sum((part.seconds_in_market for part in parts), ZERO),
        slippage_mid=_all([part.slippage_mid for part in parts]),
        slippage_touch=_all([part.slippage_touch for part in parts]),
        refusals=dict(sorted(refusals.items())),
        marked_drawdown=_marked_fall(summed(c.marks for c in curves)) if is_marked else None,
    )
    by_end = sorted(zip(lives, parts, strict=True), key=lambda of: (of[0].end, of[0].slug))
    drawdown = _fall(accumulate((part.profit or ZERO for _, part in by_end), initial=ZERO))
    return Part(figures, len(known), sum(p > 0 for p in known), drawdown)


def _all(values: Sequence[Decimal | None]) -> Decimal | None:
    return None if None in values else _sum(values)
