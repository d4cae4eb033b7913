"""Makes reports of what is known of each cycle: its orders with their fills, and who won."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate

from attrs import evolve, field, frozen

from polyframe.model.conversion import Conversion
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Side
from polyframe.paper.models import PaperModels
from polyframe.report.orders import Decision, ReportedOrder
from polyframe.report.prices import PricePath
from polyframe.report.values import CycleReport, Figures, Part, Report
from polyframe.report.walk import MARK_STEP, Curve, Marks, walked


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
        conversions: Splits and merges that were confirmed.
        refused: By strategy and reason, as far as it is known whose they were.
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
    conversions: Sequence[Conversion] = ()
    refused: Mapping[str, Mapping[str, int]] = field(factory=dict, hash=False)


def reckon(
    lives: Iterable[Life],
    *,
    source: str,
    cash: Decimal | None,
    models: PaperModels | None,
    decisions: Iterable[Decision] = (),
    failures: Mapping[str, int] | None = None,
    skipped: Mapping[str, int] | None = None,
    doubtful: Mapping[str, int] | None = None,
) -> Report:
    """Put a report together; see `Report` for what the arguments are."""
    ordered = sorted(lives, key=lambda life: (life.start, life.slug))
    cycles, curves = [], []
    for life in ordered:
        figures, curve = _figures(life, life.orders, life.conversions, life.refusals)
        if life.profit is not None:
            figures = evolve(figures, profit=life.profit)
        cycles.append(
            CycleReport(
                life.series,
                life.slug,
                life.start,
                life.end,
                life.winner,
                figures,
                life.booked,
                tuple(_with_result(order, life.winner) for order in life.orders),
                life.path,
                tuple(life.conversions),
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
        failures=dict(sorted((failures or {}).items())),
        skipped=dict(sorted((skipped or {}).items())),
        doubtful=dict(sorted((doubtful or {}).items())),
    )


def marked_profit(cycle: CycleReport) -> Marks:
    """Return the profit of one cycle over its window, what is held valued at the best bids.

    It begins with the first fill and ends with the window. Without a price path there is nothing but
    the end.
    """
    walk = walked(cycle.orders, cycle.conversions, cycle.end * 1000, cycle.path)
    return walk.finish(cycle.winner).marks


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
    found = {order.strategy for life in lives for order in life.orders}
    found |= {each.strategy for life in lives for each in life.conversions}
    names = sorted(found | {name for life in lives for name in life.refused if name})
    if len(names) == 1:
        return {names[0]: whole}
    parts = {}
    for name in names:
        own = []
        for life in lives:
            orders = [order for order in life.orders if order.strategy == name]
            conversions = [each for each in life.conversions if each.strategy == name]
            own.append(_figures(life, orders, conversions, life.refused.get(name, {})))
        parts[name] = _part(lives, [figures for figures, _ in own], [curve for _, curve in own])
    return parts


def _figures(
    life: Life,
    orders: Sequence[ReportedOrder],
    conversions: Sequence[Conversion],
    refusals: Mapping[str, int],
) -> tuple[Figures, Curve]:
    trades = [order for order in orders if order.levels]
    if not trades and not conversions:
        if not orders and not refusals:
            return _NOTHING, _FLAT
        return evolve(_NOTHING, orders=len(orders), refusals=dict(sorted(refusals.items()))), _FLAT
    walk = walked(trades, conversions, life.end * 1000, life.path)
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
        refusals=dict(sorted(refusals.items())),
        marked_drawdown=_marked_fall(curve.marks) if curve.is_marked else None,
    )
    return figures, curve


_NOTHING = Figures(
    orders=0,
    trades=0,
    fills=0,
    shares=ZERO,
    volume=ZERO,
    maker_volume=ZERO,
    fees=ZERO,
    realised=ZERO,
    settled=ZERO,
    profit=ZERO,
    exposure=ZERO,
    seconds_in_market=ZERO,
    slippage_mid=ZERO,
    slippage_touch=ZERO,
    marked_drawdown=ZERO,
)
_FLAT = Curve([], [], is_marked=True)
"""What a cycle comes to in which no share moved, whoever won and wherever its prices went."""


def _sum(values: Iterable[Decimal | None]) -> Decimal:
    return sum((value for value in values if value is not None), ZERO)


def _with_result(order: ReportedOrder, winner: Outcome | None) -> ReportedOrder:
    result = _result(order, winner)
    # Most orders of many strategies get nothing: they are as they were.
    return order if result is order.result else evolve(order, result=result)


def _result(order: ReportedOrder, winner: Outcome | None) -> Decimal | None:
    if winner is None or not order.levels:
        return None
    earned = (order.size if order.request.outcome is winner else ZERO) - order.value
    return (earned if order.request.side is Side.BUY else -earned) - order.fee


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


def _part(lives: Sequence[Life], parts: Sequence[Figures], curves: Sequence[Curve]) -> Part:
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
