"""Log lines say whether real money moves."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from decimal import Decimal

import pytest
from attrs import define

from polyframe import logmode
from polyframe.environment import Environment
from polyframe.logmode import close_mode, marked, open_mode
from polyframe.model.market import Outcome
from polyframe.strategy import Strategy
from tests.support.fake import START, FakeExchange, make_market
from tests.support.stage import Stage, play


@define
class Talker(Strategy):
    """Says something in its cycle, in a task of its own too."""

    async def on_cycle_start(self) -> None:
        """Say it."""
        self.log.info("hello %s", "there")


def test_every_line_of_a_run_says_paper(caplog: pytest.LogCaptureFixture) -> None:
    """From the opening on each line of every module begins with the mode, those of strategies, too."""
    caplog.set_level(logging.DEBUG, "polyframe")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        order = await trading.buy(Outcome.UP, price=Decimal("0.40"), size=Decimal(10))
        await trading.cancel(order)

    play(act)
    lines = [r for r in caplog.records if r.name.startswith("polyframe.")]
    assert {r.name for r in lines} >= {"polyframe.environment"}
    assert [r.getMessage() for r in lines if not r.getMessage().startswith("[paper] ")] == []
    assert {getattr(r, "mode", "") for r in lines} == {"paper"}


def test_a_live_exchange_says_live(caplog: pytest.LogCaptureFixture) -> None:
    """The mode follows from the exchange object, and its own first lines have it."""
    caplog.set_level(logging.DEBUG, "polyframe")

    class Live(FakeExchange):
        is_live = True

    async def main() -> None:
        async with Environment(exchange=Live()):
            pass

    asyncio.run(main())
    said = [r.getMessage() for r in caplog.records if r.name == "polyframe.environment"]
    assert said
    assert all(line.startswith("[live] ") for line in said)
    assert any("LIVE, real money" in line for line in said)


def test_two_environments_do_not_mix(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks say the mode of their own environment; a thread says none while it is not clear."""
    # An environment that another test has killed was never closed.
    monkeypatch.setattr(logmode, "_open", Counter())
    caplog.set_level(logging.INFO, "polyframe")
    log = marked(marked(logging.getLogger("polyframe.test_logmode")))

    def in_a_thread() -> None:
        thread = threading.Thread(target=log.info, args=("thread",))
        thread.start()
        thread.join()

    async def run(is_live: bool) -> None:
        mode = open_mode(is_live=is_live)
        try:
            await asyncio.sleep(0)
            await asyncio.gather(asyncio.create_task(say(is_live)), asyncio.sleep(0))
            in_a_thread()
        finally:
            close_mode(mode)

    async def say(is_live: bool) -> None:
        log.info("%s", "live" if is_live else "paper")

    async def main() -> None:
        await asyncio.gather(run(True), run(False))
        await asyncio.create_task(run(True))

    log.info("before")
    asyncio.run(main())
    log.info("after")
    assert caplog.messages == [
        "before",
        "[live] live",
        "[paper] paper",
        "thread",
        "[paper] thread",
        "[live] live",
        "[live] thread",
        "after",
    ]


def test_a_strategy_s_own_lines_have_it(caplog: pytest.LogCaptureFixture) -> None:
    """The logger that a strategy gets names the mode before strategy and market."""
    caplog.set_level(logging.INFO, "polyframe")

    async def act(stage: Stage) -> None:
        stage.trader.add(Talker(), on="btc-updown-15m")
        await stage.open_cycle()

    play(act)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "polyframe.strategy.Talker"]
    assert line.startswith("[paper] ")
    assert line.endswith("hello there")
    assert make_market(start=START).slug in line
