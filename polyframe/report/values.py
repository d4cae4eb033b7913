"""What a run came to, per cycle and in total. Plain values: the same run gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from attrs import evolve, field, frozen

from polyframe.model.conversion import Conversion
from polyframe.model.exact import exactly
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.paper.models import PaperModels
from polyframe.report import render
from polyframe.report.orders import Decision, ReportedOrder
from polyframe.report.prices import PricePath


@frozen
class Figures:
    """What one cycle, or all of them, came to. Amounts in USD; ``None`` is what nobody recorded.

    Attributes:
        orders: Orders that reached the venue.
        trades: Orders that got something.
        fills: Levels that they took, and fills of orders that rested.
        shares: Bought and sold.
        volume: Price × shares.
        maker_volume: The part of it that rested.
        fees: Paid to the venue.
        realised: Earned by sales and merges, without fees.
        settled: Paid out at resolution, minus what those shares had cost, without fees; 0 before it.
        profit: ``realised + settled − fees``; ``None`` while a market with trades is not resolved.
        exposure: The most that held shares had cost at one time.
        seconds_in_market: Seconds of market time in which shares were held, until the window's end.
        slippage_mid, slippage_touch: By how much fills were worse than the middle of the book, and
            than the best price, at the decision. Orders without such a price are left out.
        refusals: Orders and cancels refused, by reason; ``venue:`` stands before the venue's.
        marked_drawdown: The largest fall of the profit from its peak, with what is held valued at
            the best bids, looked at as often as the price path has points, and at fills.
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
    slippage_mid: Decimal | None
    slippage_touch: Decimal | None
    refusals: Mapping[str, int] = field(factory=dict, hash=False)
    marked_drawdown: Decimal | None = None

    @property
    @exactly()
    def maker_share(self) -> Decimal | None:
        """The part of the volume that rested, 0 to 1; ``None`` without volume."""
        return self.maker_volume / self.volume if self.volume else None

    @property
    @exactly()
    def profit_per_share(self) -> Decimal | None:
        """USD earned for each share traded, ``None`` without trades or profit."""
        return None if self.profit is None or not self.shares else self.profit / self.shares

    @property
    @exactly()
    def profit_per_dollar(self) -> Decimal | None:
        """USD earned for each USD traded, ``None`` without trades or profit."""
        return None if self.profit is None or not self.volume else self.profit / self.volume


@frozen
class Part:
    """The figures of one strategy over all cycles, or of a whole run in a bracket.

    Attributes:
        figures: What it came to.
        traded: Cycles in which it traded and whose result is known.
        won: Those of them that earned something.
        drawdown: As `Report.drawdown`.
    """

    figures: Figures
    traded: int
    won: int
    drawdown: Decimal

    @property
    @exactly()
    def hit_rate(self) -> Decimal | None:
        """The part of its traded cycles that earned something; ``None`` without such cycles."""
        return Decimal(self.won) / self.traded if self.traded else None


@frozen
class CycleReport:
    """One cycle.

    Attributes:
        series: Its series.
        slug: The market.
        start, end: Of its window, in epoch seconds.
        winner: The outcome that paid, ``None`` if it is not known.
        figures: What it came to; in a back-test by the venue's books.
        booked: The profit by the engine's books.
        orders: Its orders, in the order in which they were sent.
        path: How its prices moved, ``None`` if that was not recorded.
        conversions: Its splits and merges that were confirmed.
    """

    series: str
    slug: str
    start: int
    end: int
    winner: Outcome | None
    figures: Figures
    booked: Decimal | None
    orders: tuple[ReportedOrder, ...]
    path: PricePath | None = field(default=None, repr=False)
    conversions: tuple[Conversion, ...] = ()

    @property
    def trades(self) -> tuple[ReportedOrder, ...]:
        """Its orders that got something."""
        return tuple(order for order in self.orders if order.levels)


@frozen
class Report:
    """What a run came to.

    Attributes:
        source: ``"back-test"``, or ``"live"`` or ``"paper"`` if it was read from a ledger.
        cycles: One for each cycle that was lived, in order of windows.
        total: All of them together.
        drawdown: The largest fall of the summed profits from their peak, in USD, looked at when
            cycles end. `Figures.marked_drawdown` looks within them.
        strategies: What each strategy that sent an order, split, merged or was refused came to, by
            name.
        cash: USD of the account at the end, what resolved markets paid included; ``None`` if it was
            not recorded.
        models: What stood between orders and their fills, ``None`` where nothing was modelled or
            nobody recorded it.
        decisions: Everything that was asked of the venue, in order; empty out of a ledger.
        skipped, doubtful: What the recording left out, or passed on although it looks wrong.
        bracket: Of `run_bracket`: what the same came to under each queue model, by its name.
        ran: Each strategy that ran, with its settings; empty where nobody recorded them.
        failures: In how many cycles a strategy failed and sat out the rest, by its name, the kind of its
            error and the hook; empty out of a ledger of an earlier version of polyframe.
    """

    source: str
    cycles: tuple[CycleReport, ...]
    total: Figures
    drawdown: Decimal
    strategies: Mapping[str, Part] = field(hash=False)
    cash: Decimal | None
    models: PaperModels | None
    decisions: tuple[Decision, ...] = field(repr=False)
    skipped: Mapping[str, int] = field(factory=dict, hash=False)
    doubtful: Mapping[str, int] = field(factory=dict, hash=False)
    bracket: Mapping[str, Part] = field(factory=dict, hash=False)
    ran: tuple[str, ...] = ()
    failures: Mapping[str, int] = field(factory=dict, hash=False)

    @property
    def orders(self) -> tuple[ReportedOrder, ...]:
        """All orders, cycle by cycle."""
        return tuple(order for cycle in self.cycles for order in cycle.orders)

    @property
    def trades(self) -> tuple[ReportedOrder, ...]:
        """All orders that got something, cycle by cycle."""
        return tuple(trade for cycle in self.cycles for trade in cycle.trades)

    @property
    def profit(self) -> Decimal | None:
        """USD earned after fees, ``None`` while a market with trades is not resolved."""
        return self.total.profit

    @property
    @exactly()
    def known_profit(self) -> Decimal:
        """USD earned after fees in the cycles of which that is known."""
        known = (cycle.figures.profit for cycle in self.cycles)
        return sum((profit for profit in known if profit is not None), ZERO)

    @property
    def whole(self) -> Part:
        """The run as one part, as it stands in a bracket."""
        ended = [
            cycle.figures.profit
            for cycle in self.cycles
            if cycle.figures.trades and cycle.figures.profit is not None
        ]
        return Part(self.total, len(ended), sum(p > 0 for p in ended), self.drawdown)

    @property
    @exactly()
    def hit_rate(self) -> Decimal | None:
        """The part of the cycles with trades that earned something; ``None`` without such cycles."""
        return self.whole.hit_rate

    def with_bracket(self, reports: Mapping[str, Report]) -> Report:
        """Return this report with what others of the same run came to beside it.

        Args:
            reports: By name of their queue model, this one included.
        """
        return evolve(self, bracket={name: report.whole for name, report in reports.items()})

    @exactly()
    def text(self) -> str:
        """Return every trade, every cycle with trades, and the total, for people to read."""
        return render.text(self)

    @exactly()
    def cycles_csv(self) -> str:
        """Return one row for each cycle and one for the total, as CSV."""
        return render.cycles_csv(self)

    @exactly()
    def trades_csv(self) -> str:
        """Return one row for each fill, as CSV."""
        return render.trades_csv(self)

    @exactly()
    def write(self, folder: str | Path) -> None:
        """Write ``report.txt``, ``cycles.csv`` and ``trades.csv`` into a folder, made if need be.

        Raises:
            ConfigError: The folder is a URL.
        """
        render.write(self, folder)

    @exactly()
    def write_parquet(self, folder: str | Path) -> None:
        """Write cycles, orders, fills and prices as Parquet files into a folder, made if need be.

        Raises:
            ConfigError: The extra ``data`` is not installed, or the folder is a URL.
        """
        from polyframe.report import tables

        tables.write(self, folder)

    @exactly()
    def save_html(self, path: str | Path) -> None:
        """Write one page that needs nothing but a browser: no network, no other file.

        Its folder is made if need be.

        Raises:
            ConfigError: The extra ``report`` is not installed, or the path is a URL.
        """
        from polyframe.report import html

        html.save(self, Path(path))

    @exactly()
    def _repr_html_(self) -> str:
        """Return the most important figures and the curve of the profit, for notebooks."""
        from polyframe.report import snippet

        return snippet.html(self)
