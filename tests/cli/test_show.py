"""What commands that trade have in common: how a run ends, and what is told then."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from rich.console import Console

from polyframe.cli.guarding import guarded
from polyframe.cli.screen import PlainView
from polyframe.cli.show import Show
from polyframe.cli.stopping import Stopper
from polyframe.counters import Count
from polyframe.errors import (
    ConfigError,
    ExchangeError,
    StrategyDefinitionError,
    StrategyFailed,
)
from polyframe.model.market import Outcome
from polyframe.model.trade import TradeStatus
from tests.support.fake import FakeExchange, make_market, trade_report
from tests.support.stage import Recorder, Stage, play


@pytest.mark.parametrize("keeps", [True, False])
def test_an_order_that_is_left_is_named(keeps: bool) -> None:
    """Where the account outlives the run: in a cycle that goes on, and in one that was left."""

    async def act(stage: Stage) -> None:
        console = Console(width=100, color_system=None, file=io.StringIO())
        show = Show(Stopper(), console, PlainView(console), keeps_account=keeps)
        show.env = stage.env
        async with show.follow(stage.env, stage.trader, "a title", None):
            await stage.open_cycle()
            trading = stage.trading.handle("Recorder")
            order = await trading.buy(Outcome.UP, price=Decimal("0.50"), size=Decimal(10))
        for _ in range(2):
            with console.capture() as captured:
                show.report()
            text = captured.get()
            assert (f"STILL OPEN: order {order.client_id}" in text) is keeps
            assert ("Cash: 1,000.00 USD." in text) is keeps
            stage.scheduler.switch(None)

    play(act, Recorder())


def test_what_winning_shares_are_worth_is_told_beside_the_cash() -> None:
    """Where the venue does not pay by itself, the cash alone would look like a loss."""
    exchange = FakeExchange()
    exchange.redeems = False
    market = make_market()

    async def act(stage: Stage) -> None:
        console = Console(width=100, color_system=None, file=io.StringIO())
        show = Show(Stopper(), console, PlainView(console), keeps_account=True)
        show.env = stage.env
        await stage.open_cycle()
        trading = stage.trading.handle("Recorder")
        order = await trading.buy(Outcome.UP, price=Decimal("0.50"), size=Decimal(10))
        trade = trade_report(market, "t1", order.venue_id, status=TradeStatus.CONFIRMED)
        exchange.trades.append(trade)
        stage.scheduler.switch(None)
        await stage.env.settlement.wait_settled()
        with console.capture() as captured:
            show.report()
        assert "Resolved markets owe 10.00 USD more, to be redeemed." in captured.get()

    play(act, Recorder(), exchange=exchange)


def test_a_series_without_any_market_is_named() -> None:
    """A typing mistake in a series is a market that never comes: the report asks whether it is one."""
    told = "No market of {} was found: is the series right?"

    async def act(stage: Stage) -> None:
        console = Console(width=100, color_system=None, file=io.StringIO())
        show = Show(Stopper(), console, PlainView(console))
        show.env = stage.env
        stage.trader.add(Recorder(), on="doge-updown-15m")
        async with show.follow(stage.env, stage.trader, "a title", None):
            await stage.open_cycle()
        texts = []
        for _ in range(2):
            with console.capture() as captured:
                show.report()
            texts.append(captured.get())
            stage.env.counters.add(Count.MARKET_WAITS, "not_found")
        assert "No market of" not in texts[0]  # nothing was asked for yet
        assert told.format("doge-updown-15m") in texts[1]
        assert told.format(stage.series) not in texts[1]

    play(act, Recorder())


MISSING = (
    "polyframe: the package typer is not installed; the command line needs the extras: "
    "pip install '.[venue,data]' in the checkout of polyframe"
)


class Disk(OSError):
    """An error of the disk."""


def raised(error: BaseException) -> int:
    """Return what a command ends with in which this is raised."""

    def call() -> int:
        raise error

    return guarded("name", call, kept="; half of it is there")


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ConfigError("cash: no"), 2, "polyframe name: cash: no\n"),
        (StrategyDefinitionError("Mine: no"), 2, "polyframe name: Mine: no\n"),
        (ExchangeError("no answer"), 1, "polyframe name: no answer\n"),
        (Disk("disk full"), 1, "polyframe name: disk full\n"),
        (KeyboardInterrupt(), 130, "polyframe name: stopped; half of it is there\n"),
        (
            ModuleNotFoundError("", name="typer.main"),
            2,
            f"{MISSING}\n",
        ),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says whether an option has to change."""
    assert raised(error) == code
    assert capsys.readouterr() == ("", told)


def test_the_cause_of_a_failure_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a strategy that raised: its own error."""
    failure = StrategyFailed("Mine", "on_price")
    failure.__cause__ = KeyError("ask")
    assert raised(failure) == 1
    assert capsys.readouterr().err.endswith("failed in on_price(): KeyError('ask')\n")


@pytest.mark.parametrize("error", [ValueError("x"), ModuleNotFoundError("", name="mine")])
def test_a_mistake_of_the_program_keeps_its_traceback(error: Exception) -> None:
    """It is nothing that another option would change."""
    with pytest.raises(type(error)):
        raised(error)
