"""What a report says is what happened, counted a second time."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from polyframe.backtest.run import CASH, run_backtest
from polyframe.model.events import BookSnapshot
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, Side
from polyframe.report.html import page
from polyframe.strategy import Strategy
from tests.backtest.kit import MODELS, Eager, Made, book, both, make_entry, wandering

UP, DOWN, FAK = Outcome.UP, Outcome.DOWN, OrderType.FAK


@define
class Script(Strategy):
    """Places given orders at given seconds of the cycle."""

    plan: tuple[tuple[float, OrderRequest], ...] = ()
    placed: int = field(init=False, default=0)

    @override
    async def run(self) -> None:
        """Place one after the other."""
        for after, request in self.plan:
            await self.clock.sleep_until(self.market.window.start + after)
            await self.trading.place(request)


def order(side: Side, price: str, size: int, outcome: Outcome = UP) -> OrderRequest:
    """Return a FAK order."""
    return OrderRequest(outcome, side, Decimal(price), Decimal(size), FAK)


def test_every_figure_of_a_cycle_that_is_worked_out_by_hand() -> None:
    """Levels, fees, slippage, realised and settled profit, exposure and time are as on paper."""
    entry = make_entry(winner=UP)
    data = Made().add(
        entry,
        (-10, both(entry, 50, 52, size=30)),
        (100, both(entry, 60, 62, size=30)),
    )
    plan = ((10.0, order(Side.BUY, "0.53", 50)), (150.0, order(Side.SELL, "0.60", 20)))
    report = run_backtest(Script(plan), data=data, models=MODELS)
    (cycle,) = report.cycles
    bought, sold = report.trades
    assert [(v.price, v.size) for v in bought.levels] == [
        (Decimal("0.52"), Decimal(30)),
        (Decimal("0.53"), Decimal(20)),
    ]
    assert [(v.price, v.size) for v in sold.levels] == [(Decimal("0.6"), Decimal(20))]
    assert bought.arrived_ms == bought.sent_ms + 250
    fees = Decimal("0.52416") + Decimal("0.34874") + Decimal("0.33600")
    figures = cycle.figures
    assert figures.fees == fees
    # 26.20 USD for 50 shares, of which 20 were sold for 12: 0.524 each.
    assert figures.realised == Decimal("1.52")
    assert figures.settled == Decimal(30) - Decimal("15.72")
    assert figures.profit == Decimal("15.80") - fees
    assert figures.volume == Decimal("38.20")
    assert figures.exposure == Decimal("26.20")
    assert figures.seconds_in_market == Decimal("289.75")
    # The mid was 0.51 and then 0.61, the touch 0.52 and then 0.60.
    assert figures.slippage_mid == Decimal("0.70") + Decimal("0.20")
    assert figures.slippage_touch == Decimal("0.20")
    assert figures.maker_share == 0
    assert cycle.booked == figures.profit
    assert report.hit_rate == 1
    assert report.drawdown == 0
    assert report.cash == CASH + figures.profit
    assert report.models == MODELS
    assert "ConstantLatency(ms=250)" in report.text()


def test_an_order_that_rests_is_a_maker_and_pays_no_fee() -> None:
    """A bid that the market comes down to is filled at its own price, without a fee."""
    entry = make_entry(winner=DOWN)
    data = Made().add(
        entry, (-10, both(entry, 50, 52)), (100, both(entry, 40, 42)), (101, both(entry, 39, 41))
    )
    resting = OrderRequest(UP, Side.BUY, Decimal("0.45"), Decimal(20))
    report = run_backtest(Script(((10.0, resting),)), data=data, models=MODELS)
    (trade,) = report.trades
    assert [(v.price, v.size, v.fee, v.is_taker) for v in trade.levels] == [
        (Decimal("0.45"), Decimal(20), Decimal(0), False)
    ]
    assert report.total.maker_share == 1
    assert report.profit == Decimal("-9.00")
    assert report.hit_rate == 0
    assert report.drawdown == Decimal(9)


def test_refusals_of_the_venue_and_of_ours_are_told_by_reason() -> None:
    """A sale of what is not held is denied here, what the venue refuses is told with its code."""

    @define
    class Refused(Strategy):
        @override
        async def run(self) -> None:
            await self.clock.sleep_until(self.market.window.start + 10)
            crossing = OrderRequest(UP, Side.BUY, Decimal("0.60"), Decimal(10), post_only=True)
            for request in (order(Side.SELL, "0.50", 10), crossing):
                (placed,) = await self.trading.place_many([request])
                assert not placed.order or not placed.order.filled

    entry = make_entry()
    data = Made().add(entry, (-10, both(entry, 50, 52)))
    report = run_backtest(Refused(), data=data, models=MODELS)
    refusals = {"shares": 1, "venue:post_only_would_cross": 1}
    assert report.cycles[0].figures.refusals == report.total.refusals == refusals
    assert "refused: shares 1, venue:post_only_would_cross 1" in report.text()
    assert report.trades == ()
    assert report.total.profit == 0
    assert report.hit_rate is None


def test_placeholder_and_stale_books_are_not_traded_in() -> None:
    """Nothing is filled by a book of 0.01 and 0.99, nor by one that has not changed for a minute."""
    entry = make_entry()
    plan = ((10.0, order(Side.BUY, "0.99", 10)),)
    empty = Made().add(entry, (-10, both(entry, 1, 99)))
    stale = Made().add(entry, (-60, both(entry, 50, 52)))
    fresh = Made().add(entry, (-45, both(entry, 50, 52)))
    from polyframe.trading.limits import RiskLimits

    for data, filled in ((empty, 0), (stale, 0), (fresh, 1)):
        report = run_backtest(Script(plan), data=data, models=MODELS, risk=RiskLimits.unlimited())
        assert len(report.trades) == filled


def test_what_was_taken_is_gone_until_the_level_grows() -> None:
    """Two orders do not get the same shares; what a later row shows beyond them is there."""
    entry = make_entry()
    data = Made().add(
        entry,
        (-10, both(entry, 50, 52, size=30)),
        (60, [book(entry, UP, 50, 52, size=45)]),
    )
    plan = tuple((after, order(Side.BUY, "0.52", 30)) for after in (10.0, 20.0, 70.0))
    report = run_backtest(Script(plan), data=data, models=MODELS)
    assert [trade.size for trade in report.trades] == [30, 15]
    assert [t.sent_ms // 1000 - entry.market.window.start for t in report.trades] == [10, 70]


def test_a_market_without_a_known_winner_leaves_the_profit_open() -> None:
    """Where the recording does not know who won, trades are told and the profit is not."""
    entry = make_entry(winner=None)
    data = Made().add(entry, (-10, both(entry, 50, 52)))
    report = run_backtest(Script(((10.0, order(Side.BUY, "0.52", 10)),)), data=data, models=MODELS)
    assert report.profit is None
    assert report.trades[0].result is None
    assert "not resolved: 1" in report.text()
    assert "not known yet" in report.text()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), every=st.integers(2, 8))
def test_the_books_of_venue_engine_and_report_agree(seed: int, every: int) -> None:
    """For any run: the profit by fills, by the engine and by the cash is the same, and adds up."""
    report = run_backtest(Eager(every), data=wandering(seed, cycles=2, rows=60))
    total = report.total
    assert [c.figures.profit for c in report.cycles] == [c.booked for c in report.cycles]
    assert total.profit is not None
    assert report.cash == CASH + total.profit
    parts = total.realised + total.settled - total.fees
    assert abs(parts - total.profit) < Decimal("1e-15")
    assert total.volume >= total.maker_volume >= 0
    assert 0 <= total.exposure <= total.volume
    assert total.seconds_in_market <= 2 * 300


def test_csv_files_hold_every_cycle_and_every_fill(tmp_path: Path) -> None:
    """The rows of both files add up to the report; writing twice gives the same bytes."""
    report = run_backtest(Eager(), data=wandering(1))
    cycles = list(csv.DictReader(io.StringIO(report.cycles_csv())))
    assert [row["slug"] for row in cycles] == [*(c.slug for c in report.cycles), "total"]
    assert sum(Decimal(row["profit"]) for row in cycles[:-1]) == report.profit
    assert Decimal(cycles[-1]["profit"]) == report.profit
    fills = list(csv.DictReader(io.StringIO(report.trades_csv())))
    assert len(fills) == report.total.fills
    volume = sum(Decimal(row["price"]) * Decimal(row["size"]) for row in fills)
    assert volume == report.total.volume
    report.write(tmp_path / "one")
    run_backtest(Eager(), data=wandering(1)).write(tmp_path / "two")
    names = ["cycles.csv", "report.txt", "trades.csv"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == names
    for name in names:
        one, two = ((tmp_path / run / name).read_bytes() for run in ("one", "two"))
        assert one == two
    assert f"net profit {report.profit.normalize():f} USD" in report.text() if report.profit else 0


@define
class Secretive(Strategy):
    """Trades nothing, and has a setting that is nobody's business."""

    limit: Decimal = Decimal("0.40")
    token: str = field(default="hush", repr=False)
    count: int = field(init=False, default=0)


def test_a_report_says_what_ran(tmp_path: Path) -> None:
    """Class and settings are told, in the text and on the page; state and hidden settings are not."""
    entry = make_entry(winner=UP)
    data = Made().add(entry, (100, both(entry, 60, 62)))
    report = run_backtest(Secretive(Decimal("0.45")), data=data)
    assert report.ran == ("Secretive(limit=0.45)",)
    assert "\nran Secretive(limit=0.45)\n" in report.text()
    assert "Secretive(limit=0.45)" in report._repr_html_()
    assert "hush" not in report._repr_html_()
    report.save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Secretive(limit=0.45)" in page
    assert "hush" not in page


def test_a_recording_of_one_outcome_trades_nothing_and_says_why() -> None:
    """No price is known without Down's book: a strategy hears of nothing, and the report says so."""
    entry = make_entry()
    data = Made().add(entry, (-10, [book(entry, UP, 50, 51)]), (50, [book(entry, UP, 50, 52)]))
    report = run_backtest(Eager(every=1), data=data, models=MODELS)
    assert report.decisions == ()
    told = "no price is known before both outcomes have had a book"
    assert told in report.text()
    assert told in page(report)


def test_who_adds_up_the_table_of_trades_gets_the_profit_of_the_report() -> None:
    """Sizes have all their six digits in the table of trades, in that of cycles and in the text."""
    entry = make_entry(winner=UP)
    one, other = Decimal("3.123456"), Decimal("1.000001")
    asks = ((5100, one), (5200, other))
    market = entry.market
    snapshot = BookSnapshot(market.condition_id, market.up_token, ((4900, one),), asks)
    down = tuple((10_000 - price, size) for price, size in asks)
    mirrored = BookSnapshot(market.condition_id, market.down_token, down, ((5100, one),))
    data = Made().add(entry, (-10, [snapshot, mirrored]))
    plan = ((10.0, order(Side.BUY, "0.52", 10)),)
    report = run_backtest(Script(plan), data=data, models=MODELS)
    rows = list(csv.DictReader(io.StringIO(report.trades_csv())))
    sizes = [Decimal(row["size"]) for row in rows]
    assert sizes == [one, other]
    paid = sum(Decimal(row["price"]) * Decimal(row["size"]) + Decimal(row["fee"]) for row in rows)
    assert report.profit == sum(sizes) - paid
    (cycle, total) = csv.DictReader(io.StringIO(report.cycles_csv()))
    assert cycle["shares"] == total["shares"] == str(one + other)
    assert "3.123456 @ 0.51 + 1.000001 @ 0.52" in report.text()
    assert report.text().startswith("1 cycle, 1 traded; times are UTC\n")
