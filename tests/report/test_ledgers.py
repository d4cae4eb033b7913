"""Reports out of ledgers are those of the runs that wrote them, as far as a ledger knows."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import define, evolve, fields
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from polyframe.backtest.run import run_backtest
from polyframe.clock import VirtualClock
from polyframe.counters import Counters
from polyframe.errors import ConfigError, OrderError
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType
from polyframe.model.series import Series
from polyframe.model.trade import TradeStatus
from polyframe.recording.tape import Gap, TapeEvent
from polyframe.report.html import page
from polyframe.report.ledgers import ledger_report
from polyframe.report.values import Figures, Report
from polyframe.strategies import Arbitrage
from polyframe.strategy import Strategy
from polyframe.testing import Regime, RegimeMarkets
from polyframe.trading.ledger import CycleRecord, CycleStatus, Ledger
from tests.backtest.kit import LENGTH, SERIES, START, Eager, Made, both, make_entry, wandering

UNKNOWN_TO_A_LEDGER = {"slippage_mid", "slippage_touch", "marked_drawdown"}


@define
class Other(Eager):
    """A second strategy beside the first."""


@define
class Once(Strategy):
    """Buys once in a cycle: what it takes is not missing when it decides again."""

    after: float = 30.0

    @override
    async def run(self) -> None:
        """Buy what is there after some seconds."""
        await self.clock.sleep_until(self.market.window.start + self.after)
        ask = self.session.price(Outcome.UP).ask
        if ask is not None:
            await self.trading.buy(Outcome.UP, price=ask, size=Decimal(7), order_type=OrderType.FAK)


@define
class Wrong(Strategy):
    """Bids off the tick, three times in a cycle."""

    @override
    async def run(self) -> None:
        """Be refused."""
        for _ in range(3):
            with suppress(OrderError):
                await self.trading.buy(Outcome.UP, price=Decimal("0.4005"), size=Decimal(10))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a ledger may be made."""
    return tmp_path / "trades.sqlite"


def assert_same_figures(one: Figures, other: Figures, but: set[str]) -> None:
    """Compare all figures; those of `but` are unknown in the second."""
    for each in fields(Figures):
        expected = None if each.name in but else getattr(one, each.name)
        assert getattr(other, each.name) == expected, each.name


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), every=st.integers(2, 8))
def test_a_ledger_says_what_its_back_test_said(
    tmp_path_factory: pytest.TempPathFactory, seed: int, every: int
) -> None:
    """For any run both reports agree in all that a ledger knows, the rest is not recorded."""
    path = tmp_path_factory.mktemp("ledger") / "trades.sqlite"
    data = wandering(seed, cycles=2, rows=50)
    run = run_backtest(Eager(every), Other(every + 1), data=data, ledger=path)
    told = ledger_report(path)
    assert told.source == "paper"
    assert_same_figures(run.total, told.total, UNKNOWN_TO_A_LEDGER)
    assert (told.drawdown, told.hit_rate) == (run.drawdown, run.hit_rate)
    assert list(told.strategies) == list(run.strategies)
    for one, other in zip(run.cycles, told.cycles, strict=True):
        # Where nothing was traded there was no slippage, whoever looks.
        but = UNKNOWN_TO_A_LEDGER if one.trades else set()
        assert_same_figures(one.figures, other.figures, but)
        assert (one.slug, one.start, one.end) == (other.slug, other.start, other.end)
        assert (one.winner, one.booked) == (other.winner, other.booked)
        assert other.path is None
    assert [order.levels for order in told.orders] == [order.levels for order in run.orders]
    assert [order.result for order in told.orders] == [order.result for order in run.orders]
    assert (told.cash, told.models, told.decisions) == (None, None, ())


@define
class Clumsy(Strategy):
    """Raises in each cycle but the first, at its begin or half way."""

    @override
    async def run(self) -> None:
        """Raise."""
        number = (self.market.window.start - START) // LENGTH
        if number == 1:
            raise LookupError("no <luck>")
        if number > 1:
            await self.clock.sleep(LENGTH / 2)
            raise ZeroDivisionError


POISONED: list[str] = []
"""Not empty once `Unmade` cannot be made any more."""


@define
class Unmade(Strategy):
    """Can be made for the first cycle and for no other."""

    def __attrs_post_init__(self) -> None:
        """Raise, or not."""
        if POISONED:
            raise LookupError(*POISONED)

    @override
    async def run(self) -> None:
        """Have the next one raise."""
        POISONED.append("no more")


def test_reports_tell_of_strategies_that_cannot_be_made(path: Path) -> None:
    """Its construction is named where there is no hook yet."""
    data = wandering(1, cycles=3, rows=10)
    try:
        run = run_backtest(Unmade(), data=data, ledger=path, on_error="skip_cycle")
    finally:
        POISONED.clear()
    assert run.failures == {"Unmade: LookupError in its construction": 2}
    assert ledger_report(path).failures == run.failures


def test_reports_tell_of_strategies_that_failed(path: Path) -> None:
    """Who sits out cycles earns nothing there: text, page, notebook and ledger say so, and who it was."""
    data = wandering(1, cycles=4, rows=30)
    run = run_backtest(Eager(3), Clumsy(), data=data, ledger=path, on_error="skip_cycle")
    told = ledger_report(path)
    for report in (run, told):
        assert report.failures == {
            "Clumsy: LookupError in run()": 1,
            "Clumsy: ZeroDivisionError in run()": 2,
        }
        text = (
            "strategies failed and sat out the rest of their cycles: "
            "Clumsy: LookupError in run() 1, Clumsy: ZeroDivisionError in run() 2"
        )
        assert text in report.text()
        assert f'<p class="note">{text}</p>' in page(report)
        assert text in report._repr_html_()
    assert ledger_report(path, series=SERIES, mode="paper").failures == run.failures
    halted = run_backtest(Clumsy(), data=data, on_error="halt")
    assert halted.failures == {"Clumsy: LookupError in run()": 1}
    assert "sat out" not in run_backtest(Eager(3), data=data).text()


def test_both_reports_know_which_strategy_was_refused(path: Path) -> None:
    """One of two strategies sends nothing that the rules allow: it is told of, and why."""
    run = run_backtest(Eager(3), Wrong(), data=wandering(1, cycles=2, rows=50), ledger=path)
    told = ledger_report(path)
    for report in (run, told):
        assert report.strategies["Wrong"].figures.refusals == {"tick": 6}
        assert "tick" not in report.strategies["Eager"].figures.refusals
        assert report.total.refusals["tick"] == 6


def test_merges_are_in_a_back_test_s_report_and_in_that_of_its_ledger(path: Path) -> None:
    """Pairs that were merged on the way are not at stake any longer; both reports know it."""
    data = RegimeMarkets(Regime.RANGE, cycles=1, seed=7)
    run = run_backtest(Arbitrage(), data=data, ledger=path)
    told = ledger_report(path)
    (cycle,) = run.cycles
    assert cycle.conversions
    assert told.cycles[0].conversions == cycle.conversions
    assert_same_figures(run.total, told.total, UNKNOWN_TO_A_LEDGER)
    held = run_backtest(Arbitrage(merge_from=None), data=data)
    assert run.total.exposure < held.total.exposure


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), after=st.integers(1, 90))
def test_with_the_recording_it_says_the_rest_as_well(
    tmp_path_factory: pytest.TempPathFactory, seed: int, after: int
) -> None:
    """Price paths, what books showed and all that follows from it are those of the run."""
    path = tmp_path_factory.mktemp("ledger") / "trades.sqlite"
    data = wandering(seed, cycles=2, rows=50)
    # An interruption in the second market, and a connection that begins anew.
    entry, rows = data.rows[1]
    half = len(rows) // 2
    gap: list[TapeEvent] = [Gap(rows[half - 1].received_ms, "closed")]
    data.rows[1] = (entry, [*rows[:half], *gap, *rows[half:]])
    run = run_backtest(Once(float(after)), data=data, ledger=path)
    told = ledger_report(path, data=data)
    assert [cycle.path for cycle in told.cycles] == [cycle.path for cycle in run.cycles]
    assert [order.view for order in told.orders] == [order.view for order in run.orders]
    assert all(order.view is not None for order in told.orders)
    assert_same_figures(run.total, told.total, set())
    # Another recording has nothing to say about these markets.
    assert ledger_report(path, data=Made()) == ledger_report(path)


def test_of_the_hour_that_comes_twice_the_right_one_is_seen(path: Path) -> None:
    """Two recorded windows have one slug: what the ledger has is shown beside the prices of its own."""
    series = Series.parse("btc-updown-1h")
    first = int(datetime(2026, 11, 1, 5, tzinfo=UTC).timestamp())  # the hour from 1 in New York
    data = Made()
    for number in range(2):
        window, plain = series.window_at(first + 3600 * number), make_entry(number)
        market = evolve(plain.market, series=series, window=window, slug=series.slug(window))
        entry = evolve(plain, market=market)
        data.add(entry, (0, both(entry, 50, 51)), (9, both(entry, 60 + number, 62 + number)))
    assert len({entry.market.slug for entry in data.markets()}) == 1
    run = run_backtest(Once(5.0), data=data, ledger=path)
    told = ledger_report(path, data=data)
    assert [cycle.path for cycle in told.cycles] == [cycle.path for cycle in run.cycles]


def test_runs_of_the_same_markets_are_told_apart(path: Path) -> None:
    """Two back-tests that make the same ids again do not mix; both together are their sum."""
    reports = [
        run_backtest(Eager(every), data=wandering(1, cycles=2), ledger=path) for every in (5, 7)
    ]
    for number, report in enumerate(reports, 1):
        told = ledger_report(path, run=number)
        assert_same_figures(report.total, told.total, UNKNOWN_TO_A_LEDGER)
    both = ledger_report(path)
    assert len(both.cycles) == 4
    assert both.total.fills == sum(report.total.fills for report in reports)
    assert both.total.fees == sum(report.total.fees for report in reports)


def test_a_trade_that_failed_is_no_trade(path: Path) -> None:
    """A fill that settlement reversed is in no figure."""
    from polyframe.paper.models import PaperModels

    models = PaperModels(failed=1.0)
    run = run_backtest(Eager(), data=wandering(3, cycles=1), models=models, ledger=path)
    told = ledger_report(path)
    with Ledger.open(path) as ledger:
        fills = ledger.fills(run.cycles[0].slug)
    assert fills
    assert {fill.status for fill in fills} == {TradeStatus.FAILED}
    assert [told.total.trades, told.total.volume, told.profit] == [0, 0, 0]
    assert told.total.orders == run.total.orders


def write_record(path: Path, *, is_live: bool, profit: Decimal | None = None) -> None:
    """Write a run with one cycle that did nothing, or whose profit has other reasons."""
    clock = VirtualClock(1_790_586_000)
    ledger = Ledger(path)
    ledger.begin(clock=clock, counters=Counters(), exchange="made up", is_live=is_live)
    market = make_entry().market
    ledger.put(
        CycleRecord(
            series=str(SERIES),
            slug=market.slug,
            generation=market.generation,
            status=CycleStatus.RESOLVED,
            orders=0,
            fills=0,
            volume=Decimal(0),
            fees=Decimal(0),
            cash_flow=Decimal(0),
            payout=Decimal(0),
            winner=Outcome.UP,
            profit=profit,
        )
    )
    ledger.close()


def test_an_end_that_two_runs_wrote_down_was_at_the_time_of_the_first(path: Path) -> None:
    """A program that is killed before its snapshot is written asks again, and hears it a minute later."""
    market, started = make_entry().market, 1_790_586_000
    data = {"id": "split-1", "strategy": "One", "kind": "split", "shares": "10"}
    for after in (10, 70):
        ledger, clock = Ledger(path), VirtualClock(started + after)
        ledger.begin(clock=clock, counters=Counters(), exchange="made up", is_live=True)
        ledger.note("conversion", {**data, "status": "confirmed", "transaction": "0x1"}, market)
        ledger.close()
    write_record(path, is_live=True)
    (cycle,) = ledger_report(path).cycles
    assert [each.updated_ms for each in cycle.conversions] == [(started + 10) * 1000]
    assert cycle.figures.exposure == 10


def test_real_money_and_paper_are_never_added_up(path: Path) -> None:
    """Where a file has both, one of them has to be named."""
    write_record(path, is_live=True)
    write_record(path, is_live=False)
    with pytest.raises(ConfigError, match="modes live and paper"):
        ledger_report(path)
    assert ledger_report(path, mode="live").source == "live"
    assert ledger_report(path, run=2).source == "paper"
    assert len(ledger_report(path, mode="paper").cycles) == 1


def test_the_books_of_the_run_have_the_last_word(path: Path) -> None:
    """What a cycle earned is its record's figure: not everything that moves money is an order."""
    write_record(path, is_live=True, profit=Decimal("12.34"))
    report = ledger_report(path)
    assert report.profit == report.cycles[0].booked == Decimal("12.34")


def test_what_is_not_there_is_refused_by_name(path: Path) -> None:
    """No file, no such run, no such mode, no such series."""
    with pytest.raises(ConfigError, match="no file"):
        ledger_report(path)
    write_record(path, is_live=True)
    with pytest.raises(ConfigError, match=r"run: .* has no run 7; runs there: 1 \(live\)"):
        ledger_report(path, run=7)
    wanted = r"mode: .* has no run of the mode 'paper'; runs there: 1 \(live\)"
    with pytest.raises(ConfigError, match=wanted):
        ledger_report(path, mode="paper")
    with pytest.raises(ConfigError, match="has no run 1 of the mode 'paper'; runs there"):
        ledger_report(path, run=1, mode="paper")
    with pytest.raises(ConfigError, match=r"series: .* there is: btc-updown-5m"):
        ledger_report(path, series="eth-updown-1h")


def test_a_page_of_a_ledger_says_what_was_not_recorded(path: Path, tmp_path: Path) -> None:
    """No figure that nobody wrote down is told as 0."""
    pytest.importorskip("plotly")
    run_backtest(Eager(), data=wandering(1, cycles=1), ledger=path)
    report: Report = ledger_report(path)
    report.save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    head = page[: page.index("Profit over the run")]
    assert head.count("not recorded") == 3
    assert "Paper trading" in head
