"""The decisions of the momentum strategy, seen through a trader on simulated time."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings

from polyframe.errors import ConfigError, ExchangeError
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.reference import PriceSource
from polyframe.model.trade import TradeStatus
from polyframe.reference import ReferencePrices
from polyframe.strategies.blocks.fairvalue import PriceModel
from polyframe.strategies.momentum import Momentum, Skip
from polyframe.testing import Fault, FeedVenue, PerProcess
from polyframe.trading.limits import RiskLimits
from tests.strategies.kit import (
    ONE_LIFE,
    SERIES,
    World,
    hostile,
    live,
    regime_reports,
    worlds,
)
from tests.support.fake import START, FakeExchange, snapshot, trade_report
from tests.support.stage import Stage, play, settle

UP, DOWN = Outcome.UP, Outcome.DOWN
BEAT = Decimal(100_000)
FILLED = PlaceAnswer(PlaceResult.MATCHED)
SIMPLE: dict[str, Any] = {"model": PriceModel.LAST, "window": 10.0}

Path = Callable[[int], Decimal | None]
"""The price at so many seconds from the start."""


def rising(second: int) -> Decimal:
    """Stand still for a minute, then rise by a basis point a second for twenty seconds."""
    return BEAT + 10 * min(max(second - 60, 0), 20)


def falling(second: int) -> Decimal:
    """Do the opposite."""
    return 2 * BEAT - rising(second)


def feed(path: Path, series: str = "btc-updown-15m") -> ReferencePrices:
    """Return a service that tells a path."""

    def price(_: PriceSource, second: int) -> Decimal | None:
        return path(second - START)

    return ReferencePrices(FeedVenue(price), series)


def perform(
    path: Path | None,
    act: Callable[[Stage], Awaitable[Any]],
    exchange: FakeExchange | None = None,
    **strategy: Any,
) -> list[OrderRequest]:
    """Play one cycle, whose books are 0.49/0.51, and return what was asked of the venue."""

    async def main(stage: Stage) -> list[OrderRequest]:
        await stage.open_cycle()
        await act(stage)
        await settle()
        return [prepared.request for prepared in stage.exchange.placed]

    services = [] if path is None else [feed(path)]
    template = Momentum(**(SIMPLE | strategy))
    # The books of these tests stand still.
    return play(main, template, exchange=exchange, services=services, risk=RiskLimits.unlimited())


def until(second: float) -> Callable[[Stage], Awaitable[None]]:
    """Return an act that lets the time pass."""

    async def act(stage: Stage) -> None:
        await stage.env.clock.sleep_until(START + second)

    return act


async def quote(stage: Stage, outcome: Outcome, bid: int, ask: int) -> None:
    """Show a new top of one book, in cents, and let the strategy act."""
    stage.exchange.streams[stage.session.slug].push(
        snapshot(stage.session.market, outcome, bid * 100, ask * 100)
    )
    await settle()


async def fill(stage: Stage, number: int) -> None:
    """Report that the venue filled the order that was placed as `number`, and delivered."""
    prepared = stage.exchange.placed[number]
    request = prepared.request
    assert stage.exchange.user is not None
    for status in (TradeStatus.MATCHED, TradeStatus.MINED, TradeStatus.CONFIRMED):
        report = trade_report(
            prepared.market,
            f"trade{number}",
            prepared.venue_id,
            request.outcome,
            size=request.size,
            price=request.price,
            side=request.side,
            status=status,
        )
        stage.exchange.user.push(report)
        await settle()


async def kill_rest(stage: Stage, number: int) -> None:
    """Report that the venue cancelled what was left of the order `number`, of which nothing filled."""
    prepared = stage.exchange.placed[number]
    report = stage.exchange.end(prepared.venue_id)
    assert stage.exchange.user is not None
    stage.exchange.user.push(report)
    await settle()


def test_buys_what_the_price_moved_towards() -> None:
    """A rise of three basis points while Up is still offered at 0.51 is bought, for the sum of USD."""
    (request,) = perform(rising, until(70))
    assert request == OrderRequest.market_buy(UP, Decimal(10), Decimal("0.51"))


def test_a_fall_is_bought_as_down() -> None:
    """The rule holds for either direction."""
    (request,) = perform(falling, until(70))
    assert (request.outcome, request.price) == (DOWN, Decimal("0.51"))


def test_a_small_move_is_let_go() -> None:
    """Below the threshold nothing happens, at the threshold it does."""
    assert perform(rising, until(62.9)) == []
    assert perform(rising, until(90), threshold=Decimal(11)) == []
    assert len(perform(rising, until(90), threshold=Decimal(10))) == 1


def test_an_ask_that_has_moved_as_well_is_let_go() -> None:
    """Worth 0.79 at most by the model, Up is not bought at 0.76 with a fee of 1.3 cents and the edge."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 75, 76)
        await until(90)(stage)

    assert perform(rising, act) == []
    assert len(perform(rising, act, edge=ZERO)) == 1


@pytest.mark.parametrize(("bid", "ask"), [(93, 94), (4, 5)])
def test_prices_near_the_edges_are_let_go(bid: int, ask: int) -> None:
    """Where the model is surest it is trusted least."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, bid, ask)
        await until(90)(stage)

    def steep(second: int) -> Decimal:
        return BEAT + 100 * max(second - 60, 0)

    assert perform(steep, act) == []
    assert perform(steep, act, min_price=Decimal("0.01"), max_price=Decimal("0.99")) != []


def test_nothing_is_done_without_prices_and_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """An environment without reference prices, or with those of another series, is named once."""
    with caplog.at_level(logging.INFO, "polyframe.strategy"):
        assert perform(None, until(90)) == []
    assert "no ReferencePrices was provided" in caplog.text

    async def main(stage: Stage) -> None:
        await stage.open_cycle()
        await until(90)(stage)
        assert stage.exchange.placed == []

    caplog.clear()
    with caplog.at_level(logging.INFO, "polyframe.strategy"):
        play(main, Momentum(), services=[feed(rising, "eth-updown-15m")])
    assert caplog.text.count("btc-updown-15m was not given to ReferencePrices") == 1


def skips(caplog: pytest.LogCaptureFixture, path: Path, second: float, **strategy: Any) -> str:
    """Return what the log says of a cycle that did not trade."""

    async def act(stage: Stage) -> None:
        await until(second)(stage)
        await stage.shut_down()

    caplog.clear()
    with caplog.at_level(logging.INFO, "polyframe.strategy"):
        assert perform(path, act, **strategy) == []
    return caplog.text


def test_without_a_price_to_beat_nothing_is_bought(caplog: pytest.LogCaptureFixture) -> None:
    """Who does not know what has to be beaten says so, and how often."""

    def late(second: int) -> Decimal | None:
        return None if second < 5 else rising(second)

    text = skips(caplog, late, 90)
    assert text.count("no entry: no_price_to_beat") == 1
    assert "no_price_to_beat 24" in text
    assert "small_move" in text


def test_a_price_that_comes_late_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """Prices half a second old are too old for who wants them within 0.4 seconds."""
    text = skips(caplog, rising, 90, max_age=0.4)
    assert "seconds without an entry: no_fresh_price 90" in text


def test_after_a_gap_the_window_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    """A move that nobody saw is none: prices that were away for six seconds warm up again."""

    def holey(second: int) -> Decimal | None:
        return None if 61 <= second < 70 else rising(second)

    text = skips(caplog, holey, 78)
    assert "warming_up 18" in text


def test_every_reason_not_to_enter_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the reasons as they come up, and at the end their counts."""
    text = skips(caplog, rising, 62)
    assert text.count("no entry: warming_up") == 1
    assert text.count("no entry: small_move") == 1
    assert "seconds without an entry: small_move" in text
    assert {"warming_up", "small_move"} < set(Skip)


def test_nothing_is_bought_at_the_end() -> None:
    """With less than the cutoff left the move is let go."""
    assert perform(rising, until(90), cutoff=840) == []
    assert len(perform(rising, until(90), cutoff=800)) == 1


def test_between_two_entries_it_cools_down() -> None:
    """The pause counts from the order, and applies to one that found nothing, too."""

    async def act(stage: Stage) -> None:
        await until(66.9)(stage)
        await kill_rest(stage, 0)
        await until(68)(stage)
        assert len(stage.exchange.placed) == 1
        await until(80)(stage)

    assert len(perform(rising, act, cool_down=5)) == 2
    assert len(perform(rising, act, cool_down=100)) == 1


def test_nothing_is_added_to_an_order_of_unknown_fate() -> None:
    """While it is not known what became of an order, no other one follows."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.UNKNOWN)]
    exchange.query_error = exchange.look_error = ExchangeError("no answer")
    assert len(perform(rising, until(90), exchange, cool_down=0)) == 1


def test_what_an_order_got_is_certain_before_the_next(caplog: pytest.LogCaptureFixture) -> None:
    """A fill of the last instant may be told later: without an answer from the venue no other entry."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await until(66)(stage)
        await kill_rest(stage, 0)
        exchange.look_error = ExchangeError("no answer")
        await until(75)(stage)
        assert len(stage.exchange.placed) == 1
        exchange.look_error = None
        await until(78)(stage)

    with caplog.at_level(logging.INFO, "polyframe.strategy"):
        assert len(perform(rising, act, exchange, cool_down=5)) == 2
    assert caplog.text.count("no entry: uncertain") == 1


def test_the_budget_ends_the_entries(caplog: pytest.LogCaptureFixture) -> None:
    """Three entries of ten fit into 29.50, the last one smaller; what is left of it buys no more."""

    async def act(stage: Stage) -> None:
        for number in range(4):
            await until(70 + number)(stage)
            if number < len(stage.exchange.placed):
                await fill(stage, number)
        await until(85)(stage)

    exchange = FakeExchange()
    exchange.answers = [FILLED] * 9
    with caplog.at_level(logging.INFO, "polyframe.strategy"):
        found = perform(rising, act, exchange, cool_down=0, budget=Decimal("29.50"), leave=None)
    assert [request.usd for request in found] == [10, 10, Decimal("9.50")]
    assert "no entry: budget_spent" in caplog.text
    assert "denied" not in caplog.text


def test_the_opposite_of_what_is_held_is_not_bought() -> None:
    """A turn does not make a pair that costs more than it pays."""

    def turning(second: int) -> Decimal:
        return rising(second) if second < 80 else 2 * BEAT - rising(second)

    def acting(end: Callable[[Stage, int], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
        async def act(stage: Stage) -> None:
            await until(70)(stage)
            await end(stage, 0)
            await until(85)(stage)

        return act

    def bought(end: Callable[[Stage, int], Awaitable[None]]) -> list[Outcome]:
        settings_: dict[str, Any] = {"leave": None, "cool_down": 11, "threshold": Decimal(9)}
        return [r.outcome for r in perform(turning, acting(end), **settings_)]

    assert bought(kill_rest) == [UP, DOWN]
    assert bought(fill) == [UP]


async def hold_up(stage: Stage) -> None:
    """Hold 19.6 shares of Up, bought at 0.51, and see the move end."""
    await until(70)(stage)
    await fill(stage, 0)
    await until(92)(stage)


def sold(act: Callable[[Stage], Awaitable[Any]], **strategy: Any) -> list[OrderRequest]:
    """Return what was sold after `hold_up` and `act`."""

    async def both(stage: Stage) -> None:
        await hold_up(stage)
        await act(stage)

    exchange = FakeExchange()
    exchange.answers = [FILLED]
    first, *rest = perform(rising, both, exchange, cool_down=100, **strategy)
    assert first.side is Side.BUY
    return rest


def test_takes_profit() -> None:
    """Once the bid is as far above the cost as wanted, all that was delivered is sold."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 62)
        await quote(stage, UP, 61, 62)

    (request,) = sold(act, take=Decimal("0.10"), leave=None)
    assert request == OrderRequest(UP, Side.SELL, Decimal("0.60"), Decimal("19.60"), OrderType.FAK)


def test_stops_a_loss() -> None:
    """Once the bid is as far below the cost as allowed, it sells."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 42, 44)
        await quote(stage, UP, 41, 43)

    (request,) = sold(act, stop=Decimal("0.10"), leave=None)
    assert (request.side, request.price) == (Side.SELL, Decimal("0.40"))


def test_sells_to_who_pays_more_than_the_model() -> None:
    """A bid above fair value, less the fee, by what was asked for is taken."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 99, 100)

    assert sold(act, leave=None) == []
    (request,) = sold(act)
    assert (request.side, request.price) == (Side.SELL, Decimal("0.98"))


def test_an_old_price_is_no_reason_to_sell() -> None:
    """What the model said a while ago is not what a share is worth now; a stop needs no model."""

    def ending(second: int) -> Decimal | None:
        return rising(second) if second < 80 else None

    def bids(price: int) -> Callable[[Stage], Awaitable[None]]:
        async def act(stage: Stage) -> None:
            await hold_up(stage)
            await quote(stage, UP, price, 100)

        return act

    def sides(price: int, **strategy: Any) -> list[Side]:
        exchange = FakeExchange()
        exchange.answers = [FILLED]
        requests = perform(ending, bids(price), exchange, cool_down=100, **strategy)
        return [request.side for request in requests]

    assert sides(99) == [Side.BUY]
    assert sides(30, stop=Decimal("0.10")) == [Side.BUY, Side.SELL]


def test_between_two_tries_to_sell_it_waits() -> None:
    """A book that takes nothing is not asked with every change of it."""

    async def act(stage: Stage) -> None:
        for bid in (40, 39, 38, 37):
            await quote(stage, UP, bid, 50)
            if len(stage.exchange.placed) == 2:
                await kill_rest(stage, 1)

    assert len(sold(act, stop=Decimal("0.10"), leave=None)) == 1


def test_what_is_not_delivered_is_not_sold() -> None:
    """Shares of a trade that is only matched cannot be sold at the venue yet."""

    async def act(stage: Stage) -> None:
        await until(70)(stage)
        prepared = stage.exchange.placed[0]
        assert stage.exchange.user is not None
        stage.exchange.user.push(
            trade_report(
                prepared.market,
                "t",
                prepared.venue_id,
                UP,
                size=Decimal("19.6"),
                price=Decimal("0.51"),
            )
        )
        await settle()
        await quote(stage, UP, 70, 72)

    assert len(perform(rising, act, take=Decimal("0.10"), cool_down=100)) == 1


def test_the_model_follows_from_the_series_unless_it_is_given() -> None:
    """A fifteen-minute series is settled by averages: their slope counts for a minute more."""
    (early,) = perform(rising, until(64.9), model=None, threshold=Decimal(3))
    assert early.outcome is UP
    assert Momentum(model="spot").model is PriceModel.SPOT


@pytest.mark.parametrize(
    ("settings_", "word"),
    [
        ({"window": 0}, "window"),
        ({"threshold": Decimal(0)}, "threshold"),
        ({"threshold": 3.0}, "threshold"),
        ({"edge": Decimal("-0.01")}, "edge"),
        ({"usd": Decimal("0.99")}, "usd"),
        ({"usd": Decimal("1.001")}, "usd"),
        ({"budget": Decimal(0)}, "budget"),
        ({"min_price": Decimal(0)}, "min_price"),
        ({"max_price": Decimal(1)}, "max_price"),
        ({"cool_down": -1}, "cool_down"),
        ({"cutoff": None}, "cutoff"),
        ({"max_age": 0}, "max_age"),
        ({"take": Decimal(0)}, "take"),
        ({"stop": 0.1}, "stop"),
        ({"leave": Decimal(-1)}, "leave"),
        ({"slippage": Decimal("NaN")}, "slippage"),
        ({"model": "mean"}, "model"),
        ({"volatility": 0}, "volatility"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings_: dict[str, Any], word: str) -> None:
    """The message names the field."""
    with pytest.raises(ConfigError, match=word):
        Momentum(**settings_)


# ---------------------------------------------------------------------- what always holds

BUDGET = Decimal(30)
EAGER = Momentum(
    window=5.0,
    threshold=Decimal("0.5"),
    edge=ZERO,
    budget=BUDGET,
    cool_down=1.0,
    min_price=Decimal("0.01"),
    max_price=Decimal("0.99"),
    take=Decimal("0.02"),
    stop=Decimal("0.02"),
    model=PriceModel.LAST,
)
"""Trades whenever it can."""


def walking(seed: int) -> ReferencePrices:
    """Return a service that tells a random walk, with a hole now and then."""
    draw = random.Random(seed)
    moved = list(accumulate(draw.gauss(0.0, 12.0) for _ in range(400)))

    def price(_: PriceSource, second: int) -> Decimal | None:
        hole = draw.random() < 0.01
        return None if hole else Decimal(round(BEAT) + round(moved[second % 400]))

    return ReferencePrices(FeedVenue(price), SERIES)


@settings(max_examples=12)
@given(world=worlds())
def test_the_budget_holds_whatever_the_market_does(world: World) -> None:
    """No partial fill, refusal, lost answer or failed trade makes a cycle cost more."""
    live(EAGER, world, services=[walking(world.seed)])


def test_the_budget_holds_over_the_lives_of_a_cycle() -> None:
    """A program that is killed and started again within a cycle has what is left of its budget."""
    services = [PerProcess(lambda: walking(1))]
    faults = ONE_LIFE | {Fault.KILL}
    result = hostile(EAGER, cycles=4, faults=faults, services=services)
    assert result.starts > 1
    assert any(record.fills for record in result.records)


def test_it_survives_everything() -> None:
    """With all faults at once, damaged files among them, its hooks never raise."""
    hostile(EAGER, cycles=3, seed=4, services=[PerProcess(lambda: walking(4))])


def test_it_trades_in_every_kind_of_market() -> None:
    """In markets with a reference price it does what it is for."""
    reports = regime_reports(Momentum(edge=ZERO), cycles=1)
    assert all(report.total.fills for report in reports.values())
