"""What a back-test came to, per cycle and in total. Plain values: the same run gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from attrs import field, frozen

from polyframe.backtest import render
from polyframe.backtest.blotter import Decision, Level
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, Side
from polyframe.paper.models import PaperModels


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
        models: What stood between orders and their fills.
        decisions: Everything that was asked of the venue, in order.
        skipped, doubtful: What the recording left out, or passed on although it looks wrong.
    """

    cycles: tuple[CycleReport, ...]
    total: Figures
    drawdown: Decimal
    cash: Decimal
    models: PaperModels
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
