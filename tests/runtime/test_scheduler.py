"""From market to market on the calendar: early, late, missing, failing."""

from __future__ import annotations

import asyncio
import itertools
import logging
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from typing_extensions import override

from polyframe.clock import VirtualClock
from polyframe.counters import Count
from polyframe.environment import Environment
from polyframe.errors import ConfigError, OrderDenied
from polyframe.exchange.base import MarketSink
from polyframe.model.market import Market, Outcome
from polyframe.scheduler import ScheduleSettings
from polyframe.trader import Trader, TraderSettings
from tests.support.fake import (
    START,
    FakeExchange,
    FakeStream,
    make_market,
    order_report,
    trade_report,
)
from tests.support.stage import Diary, Recorder, Stage, play, settle

FIRST, SECOND, THIRD = (make_market(start=START + i * 900) for i in range(3))


def starts(stage: Stage) -> list[str]:
    """Return the markets in which strategies started, in order."""
    return [value for _, kind, value in stage.diary.seen if kind == "start"]


def test_cycles_follow_each_other_at_the_boundaries() -> None:
    """Each market starts at its boundary, prepared ahead of it, and the run ends by itself."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=3)
        assert [FIRST.slug, SECOND.slug, THIRD.slug] == starts(stage)
        assert START + 2700 == stage.env.clock.time()
        looked = dict(exchange.lookups)
        assert START + 900 - 60 == looked[SECOND.slug]
        assert [True] * 3 == [stream.closed for stream in exchange.all_streams]
        assert 3 == stage.env.counters.get(Count.SWITCHES, "opened")

    play(act, exchange=exchange)


def test_the_next_session_is_ready_before_the_boundary() -> None:
    """At the very instant of the boundary the new strategy has both prices."""

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=2))
        await stage.env.clock.sleep_until(START + 899.9)
        assert SECOND.slug in stage.exchange.streams
        assert [] == stage.diary.of(SECOND.generation)
        await stage.env.clock.sleep_until(START + 900)
        await settle()
        prices = stage.diary.of(SECOND.generation, "price")
        assert START + 900 == stage.env.clock.time()
        assert [Outcome.UP, Outcome.DOWN] == [event.outcome for _, event in prices]
        assert all(event.known for _, event in prices)
        await run

    play(act)


@pytest.mark.parametrize("escaped", [RuntimeError("a defect"), asyncio.CancelledError()], ids=repr)
def test_a_defect_in_preparing_a_market_ends_the_run_at_once(escaped: BaseException) -> None:
    """Not at the boundary: until then nobody would know, nor if the run is interrupted meanwhile."""

    class Broken(FakeExchange):
        @override
        def market_stream(self, market: Market, sink: MarketSink) -> FakeStream:
            if market.slug == SECOND.slug:
                raise escaped
            return super().market_stream(market, sink)

    async def act(stage: Stage) -> None:
        with pytest.raises(type(escaped)):
            await stage.trader.run(cycles=2)
        assert START + 900 - 60 == stage.env.clock.time()
        assert [FIRST.slug] == starts(stage)

    play(act, exchange=Broken())


def test_starting_in_the_middle_of_a_window_joins_it() -> None:
    """A program that starts late trades the current market at once."""

    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=1)
        assert [FIRST.slug] == starts(stage)
        assert START + 900 == stage.env.clock.time()

    play(act, start=START + 400)


def test_a_missing_market_pauses_trading_until_it_appears() -> None:
    """At the boundary the old cycle ends all the same; the late market starts when it is there."""
    exchange = FakeExchange()
    exchange.missing = {SECOND.slug}

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=2))
        await stage.env.clock.sleep_until(START + 950)
        assert ("end", "boundary") == stage.diary.of(FIRST.generation)[-1]
        assert stage.trader.session(stage.series) is None
        assert stage.trading.market is None
        with pytest.raises(OrderDenied, match="'paused'"):
            stage.trading.handle("anyone")
        exchange.missing.clear()
        await stage.env.clock.sleep_until(START + 970)
        assert SECOND.slug == stage.session.slug
        await run
        assert [FIRST.slug, SECOND.slug] == starts(stage)
        assert 1 == stage.env.counters.get(Count.SWITCHES, "paused") - 1  # and the end of the run

    play(act, exchange=exchange)


def test_a_market_that_never_appears_is_skipped() -> None:
    """When a window passes without its market the next one starts on time all the same."""
    exchange = FakeExchange()
    exchange.missing = {SECOND.slug}

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=2))
        # A hair later: epoch seconds as floats are exact to a quarter of a microsecond only.
        await stage.env.clock.sleep_until(START + 1800.001)
        await settle()
        assert [FIRST.slug, THIRD.slug] == starts(stage)
        assert stage.diary.of(THIRD.generation, "price")
        await run

    play(act, exchange=exchange)


@pytest.mark.parametrize("name", ["condition_id", "up_token", "down_token"])
def test_a_market_with_ids_of_another_cycle_is_not_begun(name: str) -> None:
    """An answer with ids of the market that ends is none: asked again, and nothing of the one reaches both."""
    exchange = FakeExchange()
    exchange.instead[SECOND.slug] = evolve(SECOND, **{name: getattr(FIRST, name)})

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=2))
        await stage.env.clock.sleep_until(START + 890)
        assert exchange.user is not None
        exchange.user.push(order_report(FIRST, "0xforeign"))
        await settle()
        assert stage.diary.of(FIRST.generation, "order")
        await stage.env.clock.sleep_until(START + 950)
        assert stage.trading.market is None
        exchange.user.push(trade_report(FIRST, "t1", "0xforeign"))
        exchange.instead.clear()
        await stage.env.clock.sleep_until(START + 970)
        assert SECOND.slug == stage.session.slug
        assert not stage.diary.of(SECOND.generation, "order", "trade")
        assert stage.env.counters.get(Count.MARKET_WAITS, "taken_ids") > 1
        await run

    play(act, exchange=exchange)


def test_the_search_for_a_market_is_patient_and_bounded() -> None:
    """Delays grow up to the cap; at the boundary it is asked at once, and often again."""
    exchange = FakeExchange()
    exchange.missing = {SECOND.slug}

    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=2)
        asked = [when for slug, when in exchange.lookups if slug == SECOND.slug]
        gaps = [b - a for a, b in itertools.pairwise(asked)]
        assert START + 840 == asked[0]
        assert gaps[0] <= 1.0
        assert max(gaps) <= 15.0
        at_boundary = asked.index(START + 900)
        assert gaps[at_boundary] <= 1.0
        assert START + 1740 == asked[-1]
        assert len(asked) <= 900 / 7.5 + 20

    play(act, exchange=exchange)


def test_joining_a_window_that_is_almost_over_asks_once() -> None:
    """In the last minute a market that is there is joined; one that is not makes way for the next."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=1)

    play(act, start=START + 870, exchange=exchange)
    assert [FIRST.slug] == [slug for slug, _ in exchange.lookups]
    exchange = FakeExchange()
    exchange.missing = {FIRST.slug}
    play(act, start=START + 870, exchange=exchange)
    assert [FIRST.slug, SECOND.slug] == [slug for slug, _ in exchange.lookups]


def test_a_venue_that_fails_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """Errors of the lookup are counted and retried like a missing market; one of them is a warning."""
    exchange = FakeExchange()
    exchange.failing = {FIRST.slug}

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=1))
        await stage.env.clock.sleep(30)
        assert stage.env.counters.get(Count.MARKET_WAITS, "error") >= 3
        exchange.failing.clear()
        await run
        assert [FIRST.slug] == starts(stage)

    with caplog.at_level(logging.WARNING):
        play(act, exchange=exchange)
    (warning,) = [line for line in caplog.messages if "asking for the next market" in line]
    assert "gamma does not answer" in warning


def test_unknown_books_do_not_delay_the_boundary() -> None:
    """A session whose books are late starts on time, without a pause, and says that it knows nothing."""
    exchange = FakeExchange()
    exchange.auto_books = False

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=2))
        await stage.env.clock.sleep_until(START + 900)
        await settle()
        assert SECOND.slug in starts(stage)
        assert not stage.session.price(Outcome.UP).known
        assert stage.session.price(Outcome.UP).ask is None
        assert [] == stage.diary.of(SECOND.generation, "price")
        assert 0 == stage.env.counters.get(Count.SWITCHES, "paused")
        await run

    play(act, exchange=exchange)


def test_a_long_pause_of_the_machine_skips_to_the_present(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After time jumped over several windows the current one is next; the missed are not tried."""

    class Jumpy(VirtualClock):
        def time(self) -> float:
            return super().time() + (1800 if super().time() > START + 30 else 0)

    clock = Jumpy(START)
    exchange = FakeExchange()

    async def main() -> list[str]:
        async with Environment(exchange=exchange, clock=clock) as env:
            diary = Diary()
            env.provide(diary)
            trader = Trader(env)
            trader.add(Recorder(), on="btc-updown-15m")
            await trader.run(cycles=2)
            return [value for _, kind, value in diary.seen if kind == "start"]

    fourth = make_market(start=START + 2700)
    with caplog.at_level(logging.WARNING):
        assert clock.run(main())[1] in (THIRD.slug, fourth.slug)
    assert "no market came" not in caplog.text


def test_several_series_run_side_by_side() -> None:
    """Each series has its own engine and sessions; the cash is one."""
    seen: dict[str, set[str]] = {}

    async def act(stage: Stage) -> None:
        stage.trader.add(Recorder(), on=["eth-updown-5m", "sol-updown-15m"])
        await stage.trader.run(cycles=2)
        for slug in starts(stage):
            seen.setdefault(slug.rpartition("-")[0], set()).add(slug)
        assert {"btc-updown-15m": 2, "eth-updown-5m": 2, "sol-updown-15m": 2} == {
            key: len(slugs) for key, slugs in seen.items()
        }
        assert ["btc-updown-15m", "eth-updown-5m", "sol-updown-15m"] == [
            str(series) for series in stage.trader.series
        ]

    play(act)


def test_run_says_what_is_missing() -> None:
    """run() without an open environment, a strategy or a sensible count raises ConfigError."""
    clock = VirtualClock(START)

    async def main() -> None:
        env = Environment(exchange=FakeExchange(), clock=clock)
        with pytest.raises(ConfigError, match="environment is not open"):
            await Trader(env).run()
        async with env:
            trader = Trader(env)
            with pytest.raises(ConfigError, match="no strategy is mounted"):
                await trader.run()
            trader.add(Recorder(), on="btc-updown-15m")
            with pytest.raises(ConfigError, match="cycles: expected a whole number from 1 on"):
                await trader.run(cycles=0)
            with pytest.raises(ConfigError, match="series: nothing is mounted on eth-updown-15m"):
                trader.trading("eth-updown-15m")

    clock.run(main())


def test_adding_to_a_running_trader_is_refused() -> None:
    """Strategies are mounted before run(); a second run() at the same time is refused."""

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=1))
        await stage.env.clock.sleep(5)
        with pytest.raises(ConfigError, match="the trader is running"):
            stage.trader.add(Recorder(), on="eth-updown-15m")
        with pytest.raises(ConfigError, match="running already"):
            await stage.trader.run()
        await run

    play(act)


NO_SECONDS: list[Any] = [-1.0, float("nan"), "5", None, True]


@pytest.mark.parametrize("value", NO_SECONDS)
@pytest.mark.parametrize("field", ["prepare_ahead", "retry_first", "retry_cap", "books_timeout"])
def test_schedule_settings_are_checked(field: str, value: Any) -> None:
    """What is no time, or a negative one, is refused by name."""
    with pytest.raises(ConfigError, match=f"^{field}: expected seconds"):
        ScheduleSettings(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("cycle_end_timeout", value) for value in NO_SECONDS),
        *(("shutdown_timeout", value) for value in [*NO_SECONDS, 0]),
        ("cancel_on_exit", "no"),
        ("schedule", 60),
        ("schedule", None),
    ],
)
def test_trader_settings_are_checked(field: str, value: Any) -> None:
    """What cannot be meant is refused by name."""
    with pytest.raises(ConfigError, match=f"^{field}: expected "):
        TraderSettings(**{field: value})


def test_a_time_may_have_no_end() -> None:
    """Infinite seconds are for ever."""
    assert TraderSettings(shutdown_timeout=float("inf")).shutdown_timeout == float("inf")
    assert ScheduleSettings(prepare_ahead=float("inf")).prepare_ahead == float("inf")


def test_an_old_order_does_not_reach_the_next_cycle() -> None:
    """After the switch the trading state is empty and the old order lives on in settlement only."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await stage.trading.handle("x").buy(
            Outcome.UP, price=Decimal("0.4"), size=Decimal(10)
        )
        reserved = stage.env.account.reserved
        await stage.open_cycle(START + 900)

        assert () == stage.trading.snapshot().orders
        assert reserved == stage.env.account.reserved
        old = stage.env.settlement.state(FIRST.slug)
        assert old is not None
        assert [order.client_id] == list(old.orders)

    play(act)
