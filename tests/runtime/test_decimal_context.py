"""A program that changes the decimal context reckons with it, and the framework does not."""

from __future__ import annotations

import asyncio
import decimal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Context, Decimal, getcontext, localcontext
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field

from polyframe.backtest.run import backtest, run_backtest
from polyframe.backtest.sweeps.result import SweepResult
from polyframe.clock import Clock, WallClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.model.events import CycleEndReason, PriceChanged, TradeReport
from polyframe.model.exact import EXACT
from polyframe.model.market import Market, Outcome
from polyframe.model.money import price_units
from polyframe.model.order import OrderRequest, OrderStatus, OrderType, Side
from polyframe.recording.tape import base_units, shares
from polyframe.report.ledgers import ledger_report
from polyframe.report.values import Report
from polyframe.shared import SharedService
from polyframe.strategy import Strategy
from polyframe.testing.run import run_strategy
from polyframe.trading.ledger import Ledger
from polyframe.venue.local import LocalVenue
from tests.backtest.kit import MODELS, Eager
from tests.backtest.sweepkit import eager_sweep, small
from tests.support.fake import START, FakeExchange, make_market
from tests.support.stage import Diary, Stage, play, settle
from tests.venue.support import ScriptedSource

TEN = Decimal(10)
BID = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.40"), TEN)

FIRST, SECOND = make_market(), make_market(start=START + 900)

ROUGH = [
    Context(prec=3),
    Context(rounding=decimal.ROUND_UP, prec=5),
    Context(traps=[decimal.Inexact, decimal.FloatOperation]),
]


@define
class Taker(Strategy):
    """Buys odd sizes of whatever is offered, at prices that leave odd fees."""

    left: int = field(init=False, default=6)

    async def on_price(self, event: PriceChanged) -> None:
        assert getcontext() is EXACT
        if self.left and event.ask is not None and event.ask < 1:
            self.left -= 1
            await self.trading.buy(
                event.outcome, price=event.ask, size=Decimal("17.13"), order_type=OrderType.GTC
            )


@contextmanager
def everywhere(context: Context) -> Iterator[None]:
    """Make `context` that of this thread, and the one with which other threads begin."""
    before = decimal.DefaultContext.copy()
    decimal.DefaultContext.prec, decimal.DefaultContext.rounding = context.prec, context.rounding
    decimal.DefaultContext.traps = context.traps
    try:
        with localcontext(context):
            yield
    finally:
        decimal.DefaultContext.prec, decimal.DefaultContext.rounding = before.prec, before.rounding
        decimal.DefaultContext.traps = before.traps


@pytest.mark.parametrize("context", ROUGH, ids=str)
def test_a_run_is_the_same_whatever_the_program_has_set(context: Context) -> None:
    """Cash, fills and records of a simulated run, to the last digit; the program's own context stays."""
    plain = run_strategy(Taker(), cycles=2, seed=5)
    assert plain.cash % Decimal("0.01"), "a run whose sums are round shows nothing"
    with everywhere(context):
        rough = run_strategy(Taker(), cycles=2, seed=5)
        assert repr(getcontext().prec) == repr(context.prec)
    assert not rough.violations
    assert (rough.cash, rough.records) == (plain.cash, plain.records)


@pytest.mark.parametrize("context", ROUGH, ids=str)
def test_a_back_test_is_the_same_whatever_the_program_has_set(
    context: Context, tmp_path: Path
) -> None:
    """In this thread, in one of its own, in those of a sweep; so is the report of a ledger."""
    data, file = small(), tmp_path / "ledger.sqlite"
    plain = run_backtest(Eager(3), data=data, models=MODELS, ledger=file)
    swept, told = eager_sweep(chunk=1), ledger_report(file)
    with everywhere(context):
        assert repr(run_backtest(Eager(3), data=data, models=MODELS)) == repr(plain)
        other = asyncio.run(backtest(Eager(3), data=data, models=MODELS))
        again = eager_sweep(chunk=1)
        assert [each.total for each in again.variants] == [each.total for each in swept.variants]
        assert repr(ledger_report(file)) == repr(told)
    assert repr(other) == repr(plain)


def told_of(report: Report, swept: SweepResult, folder: Path) -> list[object]:
    """Return what a report and a sweep say when they are asked, which they reckon only then."""
    total = report.total
    report.save_html(folder / "page.html")
    figures = (total.maker_share, total.profit_per_share, total.profit_per_dollar)
    texts = [report.text(), report.cycles_csv(), report.trades_csv(), report._repr_html_()]
    more = [swept.csv(), swept.text(), swept.best("fees"), swept.best().text(), swept._repr_html_()]
    shares = [(each.drawdown, each.hit_rate, each.figure("volume")) for each in swept.variants]
    known = (report.known_profit, report.hit_rate, report.whole.hit_rate)
    page = (folder / "page.html").read_text()
    return [*figures, *texts, *more, *shares, *known, swept.table().to_pylist(), page]


@pytest.mark.parametrize("context", ROUGH, ids=str)
def test_a_report_says_the_same_whatever_the_program_has_set(
    context: Context, tmp_path: Path
) -> None:
    """Sums, parts, texts, tables and pages are made in the program, and reckoned with as the run was."""
    pytest.importorskip("plotly")
    report, swept = run_backtest(Eager(3), data=small(), models=MODELS), eager_sweep()
    plain = told_of(report, swept, tmp_path)
    with localcontext(context):
        assert told_of(report, swept, tmp_path) == plain


def test_what_is_remembered_of_sizes_is_exact() -> None:
    """A size that a rough program was the first to read is right for all that come after."""
    with localcontext(Context(prec=3)):
        assert str(shares(987_654_321_012)) == "987654.321012"
        assert base_units(Decimal("987654.321012")) == 987_654_321_012
        assert price_units("0.773700") == 7737


@define
class Meddler(Strategy):
    """Does something with decimal contexts before it buys, in its first cycle."""

    way: str = "in place"

    def _note(self, kind: str, value: Any = None) -> None:
        self.env.get(Diary).seen.append((self.session.generation, kind, value))

    async def on_cycle_start(self) -> None:
        self._note("start", getcontext() is EXACT)
        if self.session.generation != FIRST.generation:
            return
        if self.way == "in place":
            getcontext().prec = 6
        with localcontext() as context:
            context.prec = 6
            self._note("third", Decimal(1) / 3)
            try:
                await self._act()
            except ConfigError as error:
                self._note("refused", str(error))
        self._note("order", await self.trading.buy(Outcome.UP, price=Decimal("0.41"), size=TEN))

    async def _act(self) -> None:
        if self.way == "place":
            await self.trading.buy(Outcome.UP, price=Decimal("0.40"), size=TEN)
        elif self.way == "place_many":
            await self.trading.place_many([BID])
        elif self.way == "place_legs":
            await self.trading.place_legs([BID, BID])
        elif self.way == "split":
            await self.trading.split(TEN)

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        with localcontext(Context(prec=2)):
            for order in await self.trading.cancel_all():
                self._note("cancelled", order.status)


@pytest.mark.parametrize("way", ["place", "place_many", "place_legs", "split"])
def test_money_does_not_move_in_a_context_that_rounds(way: str) -> None:
    """A hook has a context of its own for its own figures; an order from within is refused, and said."""

    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=2)
        seen = dict(stage.diary.of(FIRST.generation))
        assert seen["third"] == Decimal("0.333333")
        assert seen["refused"].startswith(f"{way}: it was called in a decimal context of your own")
        assert seen["order"].status is OrderStatus.LIVE
        # What a cycle leaves behind may still be taken back, whatever the context.
        assert seen["cancelled"] is OrderStatus.CANCELLED

    play(act, Meddler(way))


def test_a_hook_that_changes_the_context_of_all_fails_by_itself() -> None:
    """It would change the sums of everybody: it is told what to do, and the next cycle is as ever."""

    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=2)
        assert stage.env.counters.reasons(Count.STRATEGY_ERRORS) == {"on_cycle_start": 1}
        assert stage.diary.of(FIRST.generation) == [("start", True)]
        assert stage.diary.of(SECOND.generation) == [("start", True)]

    play(act, Meddler("in place"))


@define
class Watcher(FakeExchange, SharedService):
    """Notes in which context it is called."""

    seen: dict[str, bool] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        super().__init__()

    async def open(self, clock: Clock, counters: Counters) -> None:
        self.seen["open"] = getcontext() is EXACT
        await super().open(clock, counters)

    async def close(self) -> None:
        self.seen["close"] = getcontext() is EXACT
        await super().close()

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        self.seen["fetch_trades"] = getcontext() is EXACT
        return await super().fetch_trades(market, after)


def test_what_a_program_asks_for_by_itself_is_exact() -> None:
    """An environment opens, compares and closes in the framework's context, and gives back the other."""
    venue = Watcher()

    async def redeem(_: str) -> Receipt:
        venue.seen["redeem"] = getcontext() is EXACT
        return Receipt(ReceiptState.CONFIRMED)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.reconcile()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage.env.redemptions, "redeem", redeem)
            await stage.env.redeem(FIRST.slug)
        assert getcontext().prec == 3

    with localcontext(Context(prec=3)):
        play(act, exchange=venue)
        assert getcontext().prec == 3
    assert venue.seen == dict.fromkeys(("open", "fetch_trades", "redeem", "close"), True)


def test_the_profit_of_a_ledger_is_summed_exactly() -> None:
    """Whoever asks for it."""
    ledger = Ledger()
    record = run_strategy(Taker(), cycles=1, seed=5).records[0]
    for slug in ("one", "other"):
        ledger.put(evolve(record, slug=slug, profit=Decimal("123.456789")))
    with localcontext(Context(prec=3)):
        assert str(ledger.profit) == "246.913578"


def test_the_local_venue_serves_in_the_context_of_the_framework() -> None:
    """What it does by itself begins in it; amounts that it tells are exact."""
    seen: list[bool] = []

    async def note(_: LocalVenue) -> None:
        seen.append(getcontext() is EXACT)

    async def main() -> None:
        async with LocalVenue(ScriptedSource(), clock=WallClock()):
            await settle()

    with localcontext(Context(prec=3)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalVenue, "_pay_rebates", note)
        asyncio.run(main())
    assert seen == [True]
