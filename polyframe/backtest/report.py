"""What a back-test came to, per cycle and in total. Plain values: the same run gives the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from attrs import field, frozen

from polyframe.backtest import render
from polyframe.backtest.blotter import Blotter, Decision, Entry, Level
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, Side
from polyframe.recording.tape import TapeMarket
from polyframe.trading.ledger import CycleRecord


@frozen
class TradedOrder:
    """One order that was filled, at least in part.

    Attributes:
        slug: Its market.
        request: What was asked for.
        sent_ms, arrived_ms: When it was decided, and when it reached the venue (epoch milliseconds).
        mid, touch: The middle of its book, and the best price that it could take, when it was
            decided; ``None`` where that side was empty.
        levels: What it got, level by level.
        result: USD that it earns after fees if its shares are held until the market pays: for a buy
            the payout minus cost, for a sell the proceeds minus the payout given up. ``None`` while
            the market is not resolved.
    """

    slug: str
    request: OrderRequest
    sent_ms: int
    arrived_ms: int
    mid: Decimal | None
    touch: Decimal | None
    levels: tuple[Level, ...]
    result: Decimal | None

    @property
    def size(self) -> Decimal:
        """Shares that it got."""
        return sum((level.size for level in self.levels), ZERO)

    @property
    def value(self) -> Decimal:
        """USD that they cost or brought, without fees."""
        return sum((level.size * level.price for level in self.levels), ZERO)

    @property
    def fee(self) -> Decimal:
        """USD paid to the venue."""
        return sum((level.fee for level in self.levels), ZERO)

    def slippage(self, reference: Decimal | None) -> Decimal | None:
        """Return the USD by which it did worse than at `reference`, ``None`` if that is unknown."""
        if reference is None:
            return None
        worse = self.value - reference * self.size
        return worse if self.request.side is Side.BUY else -worse


@frozen
class Figures:
    """What one cycle, or all of them, came to. Amounts in USD.

    Attributes:
        orders: Orders that reached the venue.
        trades: Orders that got something.
        fills: Levels that they took, and fills of orders that rested.
        shares: Bought and sold.
        volume: Price × shares.
        maker_volume: The part of it that rested.
        fees: Paid to the venue.
        realised: Earned by sales, without fees.
        settled: Paid out at resolution, minus what those shares had cost, without fees; 0 before it.
        profit: ``realised + settled − fees``; ``None`` while a market with trades is not resolved.
        exposure: The most that held shares had cost at one time.
        seconds_in_market: Seconds of market time in which shares were held, until the window's end.
        slippage_mid, slippage_touch: By how much fills were worse than the middle of the book, and
            than the best price, at the decision. Orders without such a price are left out.
        refusals: Orders and cancels refused, by reason; ``venue:`` stands before the venue's.
    """

    orders: int
    trades: int
    fills: int
    shares: Decimal
    volume: Decimal
    maker_volume: Decimal
    fees: Decimal
    realised: Decimal
    settled: Decimal
    profit: Decimal | None
    exposure: Decimal
    seconds_in_market: Decimal
    slippage_mid: Decimal
    slippage_touch: Decimal
    refusals: Mapping[str, int] = field(factory=dict, hash=False)

    @property
    def maker_share(self) -> Decimal | None:
        """The part of the volume that rested, 0 to 1; ``None`` without volume."""
        return self.maker_volume / self.volume if self.volume else None

    @property
    def profit_per_share(self) -> Decimal | None:
        """USD earned for each share traded, ``None`` without trades or profit."""
        return None if self.profit is None or not self.shares else self.profit / self.shares

    @property
    def profit_per_dollar(self) -> Decimal | None:
        """USD earned for each USD traded, ``None`` without trades or profit."""
        return None if self.profit is None or not self.volume else self.profit / self.volume


@frozen
class CycleReport:
    """One cycle.

    Attributes:
        slug: The market.
        start: Of its window, in epoch seconds.
        winner: The outcome that paid, ``None`` if it is not known.
        figures: What it came to, by the venue's books.
        booked: The profit by the engine's books.
        trades: Its orders that got something, in order.
    """

    slug: str
    start: int
    winner: Outcome | None
    figures: Figures
    booked: Decimal | None
    trades: tuple[TradedOrder, ...]


@frozen
class Report:
    """What a back-test came to.

    Attributes:
        cycles: One for each cycle that was lived, in order of windows.
        total: All of them together.
        drawdown: The largest fall of the summed profits from their peak, in USD, looked at when
            cycles end.
        cash: USD of the account at the end, what resolved markets paid included.
        decisions: Everything that was asked of the venue, in order.
        skipped, doubtful: What the recording left out, or passed on although it looks wrong.
    """

    cycles: tuple[CycleReport, ...]
    total: Figures
    drawdown: Decimal
    cash: Decimal
    decisions: tuple[Decision, ...] = field(repr=False)
    skipped: Mapping[str, int] = field(factory=dict, hash=False)
    doubtful: Mapping[str, int] = field(factory=dict, hash=False)

    @property
    def trades(self) -> tuple[TradedOrder, ...]:
        """All orders that got something, cycle by cycle."""
        return tuple(trade for cycle in self.cycles for trade in cycle.trades)

    @property
    def profit(self) -> Decimal | None:
        """USD earned after fees, ``None`` while a market with trades is not resolved."""
        return self.total.profit

    @property
    def hit_rate(self) -> Decimal | None:
        """The part of the cycles with trades that earned something; ``None`` without such cycles."""
        ended = [
            cycle.figures.profit
            for cycle in self.cycles
            if cycle.trades and cycle.figures.profit is not None
        ]
        if not ended:
            return None
        return Decimal(sum(profit > 0 for profit in ended)) / len(ended)

    def text(self) -> str:
        """Return every trade, every cycle with trades, and the total, for people to read."""
        return render.text(self)

    def cycles_csv(self) -> str:
        """Return one row for each cycle and one for the total, as CSV."""
        return render.cycles_csv(self)

    def trades_csv(self) -> str:
        """Return one row for each fill, as CSV."""
        return render.trades_csv(self)

    def write(self, folder: str | Path) -> None:
        """Write ``report.txt``, ``cycles.csv`` and ``trades.csv`` into a folder, made if need be."""
        render.write(self, folder)


# ------------------------------------------------------------------ making one


def make_report(
    entries: Mapping[str, TapeMarket],
    records: Iterable[CycleRecord],
    blotter: Blotter,
    *,
    cash: Decimal,
    skipped: Mapping[str, int],
    doubtful: Mapping[str, int],
) -> Report:
    """Put a report together.

    Args:
        entries: The recorded markets by slug.
        records: What the ledger says of the cycles that were lived.
        blotter: What the replayed venue was asked.
        cash: USD of the account at the end.
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
