"""The bracket of queue models."""

from __future__ import annotations

from decimal import Decimal

from attrs import define
from typing_extensions import override

from polyframe.backtest.bracket import run_bracket
from polyframe.backtest.run import run_backtest
from polyframe.model.events import MarketMessage, TradePrint
from polyframe.model.market import Outcome
from polyframe.model.order import Side
from polyframe.strategy import Strategy
from tests.backtest.kit import MODELS, Made, both, level, make_entry


@define
class Bidder(Strategy):
    """Joins the best bid once."""

    @override
    async def run(self) -> None:
        """Place the bid."""
        await self.clock.sleep_until(self.market.window.start + 10)
        await self.trading.buy(Outcome.UP, price=Decimal("0.50"), size=Decimal(20))


def test_the_bracket_is_three_runs_that_differ_in_the_queue_only() -> None:
    """Others join, half of all cancel, some trade: who thinks better of the queue fills no less."""
    entry = make_entry()
    sold: list[MarketMessage] = [
        TradePrint(entry.market.condition_id, entry.market.up_token, 5000, Decimal(60), Side.SELL)
    ]
    data = Made().add(
        entry,
        (-10, both(entry, 50, 52, size=100)),
        (15, [level(entry, Outcome.UP, 50, 200, is_bid=True)]),
        (20, [level(entry, Outcome.UP, 50, 100, is_bid=True)]),
        (30, sold),
    )
    reports = run_bracket(Bidder(), data=data, models=MODELS)
    assert list(reports) == ["behind", "power-2", "pro-rata"]
    filled = [report.total.shares for report in reports.values()]
    assert filled == sorted(filled)
    assert filled[0] < filled[-1]
    alone = run_backtest(Bidder(), data=data, models=MODELS)
    assert alone.bracket == {}
    assert reports["power-2"] == alone.with_bracket(reports)
    for report in reports.values():
        assert {name: part.figures for name, part in report.bracket.items()} == {
            name: each.total for name, each in reports.items()
        }
        assert "queue model pro-rata: trades 1" in report.text()
