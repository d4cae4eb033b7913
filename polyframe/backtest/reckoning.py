"""Makes a report of what the replayed venue was asked and what the ledger says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from polyframe.backtest.blotter import Blotter, Entry, Level
from polyframe.backtest.report import CycleReport, Figures, Report, TradedOrder
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, Side
from polyframe.paper.models import PaperModels
from polyframe.recording.tape import TapeMarket
from polyframe.trading.ledger import CycleRecord


def make_report(
    entries: Mapping[str, TapeMarket],
    records: Iterable[CycleRecord],
    blotter: Blotter,
    *,
    cash: Decimal,
    models: PaperModels,
    skipped: Mapping[str, int],
    doubtful: Mapping[str, int],
) -> Report:
    """Put a report together.

    Args:
        entries: The recorded markets by slug.
        records: What the ledger says of the cycles that were lived.
        blotter: What the replayed venue was asked.
        cash: USD of the account at the end.
        models: What stood between orders and their fills.
        skipped: What the recording left out.
        doubtful: What looks wrong in it.
    """
    by_slug: dict[str, list[Entry]] = {}
    for entry in blotter.entries.values():
        by_slug.setdefault(entry.slug, []).append(entry)
    timeline: list[tuple[int, Decimal]] = []
    cycles = []
    for record in sorted(records, key=lambda r: (r.generation, r.slug)):
        market = entries[record.slug]
        cycle, steps = _cycle(market, record, by_slug.get(record.slug, []))
        cycles.append(cycle)
        timeline += steps
    return Report(
        cycles=tuple(cycles),
        total=_total([cycle.figures for cycle in cycles], timeline),
        drawdown=_drawdown(cycles, entries),
        cash=cash,
        models=models,
        decisions=tuple(blotter.decisions),
        skipped=dict(sorted(skipped.items())),
        doubtful=dict(sorted(doubtful.items())),
    )


def _cycle(
    tape: TapeMarket, record: CycleRecord, entries: Sequence[Entry]
) -> tuple[CycleReport, list[tuple[int, Decimal]]]:
    """Return one cycle, and when the cost of what it held changed by how much."""
    market = tape.market
    trades = tuple(_trade(entry, record.winner) for entry in entries if entry.levels)
    walk = _Walk(end_ms=market.window.end * 1000)
    fills = [(level, trade.request) for trade in trades for level in trade.levels]
    for level, request in sorted(fills, key=lambda fill: fill[0].time_ms):
        walk.fill(level, request)
    steps = walk.end()
    fees = sum((trade.fee for trade in trades), ZERO)
    settled, profit = ZERO, None if trades else ZERO
    if record.winner is not None:
        settled = walk.held[record.winner] - sum(walk.cost.values(), ZERO)
        # Of what was paid and received, not by way of mean costs: exact.
        profit = walk.flow + walk.held[record.winner] - fees
    levels = [level for trade in trades for level in trade.levels]
    figures = Figures(
        orders=len(entries),
        trades=len(trades),
        fills=len(levels),
        shares=sum((level.size for level in levels), ZERO),
        volume=sum((level.size * level.price for level in levels), ZERO),
        maker_volume=sum((v.size * v.price for v in levels if not v.is_taker), ZERO),
        fees=fees,
        realised=walk.realised,
        settled=settled,
        profit=profit,
        exposure=_peak(steps),
        seconds_in_market=Decimal(walk.held_ms) / 1000,
        slippage_mid=sum((trade.slippage(trade.mid) or ZERO for trade in trades), ZERO),
        slippage_touch=sum((trade.slippage(trade.touch) or ZERO for trade in trades), ZERO),
        refusals=dict(sorted(record.refusals.items())),
    )
    start = market.window.start
    return CycleReport(market.slug, start, record.winner, figures, record.profit, trades), steps


def _trade(entry: Entry, winner: Outcome | None) -> TradedOrder:
    levels = tuple(entry.levels)
    request = entry.request
    result = None
    if winner is not None:
        size = sum((level.size for level in levels), ZERO)
        value = sum((level.size * level.price for level in levels), ZERO)
        earned = (size if request.outcome is winner else ZERO) - value
        fee = sum((level.fee for level in levels), ZERO)
        result = (earned if request.side is Side.BUY else -earned) - fee
    return TradedOrder(
        entry.slug,
        request,
        entry.sent_ms,
        entry.arrived_ms,
        entry.mid,
        entry.touch,
        levels,
        result,
    )


class _Walk:
    """Walks through the fills of one cycle in order of time."""

    def __init__(self, end_ms: int) -> None:
        self.held = dict.fromkeys(Outcome, ZERO)
        self.cost = dict.fromkeys(Outcome, ZERO)
        self.realised = ZERO
        self.flow = ZERO
        self.held_ms = 0
        self._end_ms = end_ms
        self._since: int | None = None
        self._steps: list[tuple[int, Decimal]] = []

    def fill(self, level: Level, request: OrderRequest) -> None:
        """Book one fill at mean cost, as the engine does."""
        outcome, value = request.outcome, level.size * level.price
        before = self.cost[outcome]
        self.flow += -value if request.side is Side.BUY else value
        if request.side is Side.BUY:
            self.cost[outcome] += value
            self.held[outcome] += level.size
        else:
            held = self.held[outcome]
            part = before if level.size == held else before * level.size / held
            self.cost[outcome] -= part
            self.held[outcome] -= level.size
            self.realised += value - part
        self._steps.append((level.time_ms, self.cost[outcome] - before))
        self._mark(level.time_ms)

    def _mark(self, now_ms: int) -> None:
        is_held = any(self.held.values())
        if is_held and self._since is None:
            self._since = now_ms
        elif not is_held and self._since is not None:
            self.held_ms += now_ms - self._since
            self._since = None

    def end(self) -> list[tuple[int, Decimal]]:
        """Return all steps of the cost, the last one being the end of the window."""
        if self._since is not None:
            self.held_ms += max(self._end_ms - self._since, 0)
        left = sum(self.cost.values(), ZERO)
        return [*self._steps, (self._end_ms, -left)] if left else self._steps


def _peak(steps: Iterable[tuple[int, Decimal]]) -> Decimal:
    """Return the highest sum on the way; at the same instant what falls comes first."""
    level = peak = ZERO
    for _, step in sorted(steps):
        level += step
        peak = max(peak, level)
    return peak


def _total(parts: Sequence[Figures], timeline: Iterable[tuple[int, Decimal]]) -> Figures:
    refusals: Counter[str] = Counter()
    for part in parts:
        refusals.update(part.refusals)
    profits = [part.profit for part in parts]
    return Figures(
        orders=sum(part.orders for part in parts),
        trades=sum(part.trades for part in parts),
        fills=sum(part.fills for part in parts),
        shares=sum((part.shares for part in parts), ZERO),
        volume=sum((part.volume for part in parts), ZERO),
        maker_volume=sum((part.maker_volume for part in parts), ZERO),
        fees=sum((part.fees for part in parts), ZERO),
        realised=sum((part.realised for part in parts), ZERO),
        settled=sum((part.settled for part in parts), ZERO),
        profit=None if None in profits else sum((p for p in profits if p is not None), ZERO),
        exposure=_peak(timeline),
        seconds_in_market=sum((part.seconds_in_market for part in parts), ZERO),
        slippage_mid=sum((part.slippage_mid for part in parts), ZERO),
        slippage_touch=sum((part.slippage_touch for part in parts), ZERO),
        refusals=dict(sorted(refusals.items())),
    )


def _drawdown(cycles: Iterable[CycleReport], entries: Mapping[str, TapeMarket]) -> Decimal:
    total = peak = worst = ZERO
    by_end = sorted(cycles, key=lambda c: (entries[c.slug].market.window.end, c.slug))
    for cycle in by_end:
        total += cycle.figures.profit or ZERO
        peak = max(peak, total)
        worst = max(worst, peak - total)
    return worst
