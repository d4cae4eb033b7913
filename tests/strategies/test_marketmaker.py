"""The decisions of the market maker, seen through a trader on simulated time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings

from polyframe.errors import ConfigError, ExchangeUnavailable
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import StreamState
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import OrderRequest, OrderStatus, PlaceResult, Side
from polyframe.strategies.blocks.exposure import Exposure
from polyframe.strategies.blocks.fairvalue import PriceModel
from polyframe.strategies.blocks.requote import RequotePolicy
from polyframe.strategies.blocks.worstcase import most_shares
from polyframe.strategies.marketmaker import MarketMaker
from polyframe.testing import Fault, PerProcess
from tests.strategies.kit import ONE_LIFE, World, hostile, live, regime_reports, worlds
from tests.strategies.test_momentum import BEAT, Path, feed, walking
from tests.support.fake import FakeExchange, snapshot, trade_report
from tests.support.stage import Stage, play, settle

UP, DOWN = Outcome.UP, Outcome.DOWN
STEADY: dict[str, Any] = {"max_age": 10_000.0}
"""The books of these tests stand still."""


def bid(outcome: Outcome, price: str, size: str = "20") -> OrderRequest:
    """Return a bid as the maker makes it."""
    return OrderRequest(outcome, Side.BUY, Decimal(price), Decimal(size), post_only=True)


def perform(
    act: Callable[[Stage], Awaitable[Any]],
    exchange: FakeExchange | None = None,
    path: Path | None = None,
    **strategy: Any,
) -> list[OrderRequest]:
    """Play one cycle, whose books begin at 0.49/0.51, and return what was asked of the venue."""

    async def main(stage: Stage) -> list[OrderRequest]:
        await stage.open_cycle()
        await act(stage)
        await settle()
        return asked(stage)

    services = [] if path is None else [feed(path)]
    return play(main, MarketMaker(**(STEADY | strategy)), exchange=exchange, services=services)


def asked(stage: Stage) -> list[OrderRequest]:
    """Return what was asked of the venue so far."""
    return [prepared.request for prepared in stage.exchange.placed]


def resting(stage: Stage) -> dict[Outcome, Decimal]:
    """Return the prices that rest, by outcome."""
    orders = [order for order in stage.trading.snapshot().orders if order.is_open]
    found = {order.outcome: order.price for order in orders}
    assert len(found) == len(orders), "two bids for one outcome"
    return found


def prices(up: str, down: str) -> dict[Outcome, Decimal]:
    """Return prices by outcome."""
    return {UP: Decimal(up), DOWN: Decimal(down)}


async def look(stage: Stage, seconds: float = 1.0) -> None:
    """Let the maker look a few times."""
    await stage.env.clock.sleep(seconds)
    await settle()


async def quote(stage: Stage, up_bid: int, up_ask: int) -> None:
    """Show new tops of both books, mirrored, in cents of Up, and let the maker look."""
    stream, market = stage.exchange.streams[stage.session.slug], stage.session.market
    stream.push(snapshot(market, UP, up_bid * 100, up_ask * 100))
    stream.push(snapshot(market, DOWN, 10_000 - up_ask * 100, 10_000 - up_bid * 100))
    await look(stage)


async def fill(stage: Stage, number: int, size: int) -> None:
    """Report a trade of the order that was placed as `number`."""
    prepared = stage.exchange.placed[number]
    assert stage.exchange.user is not None
    stage.exchange.user.push(
        trade_report(
            prepared.market,
            f"trade{number}",
            prepared.venue_id,
            prepared.request.outcome,
            size=Decimal(size),
            price=prepared.request.price,
            is_taker=False,
        )
    )
    stage.exchange.change(prepared.venue_id, size_matched=Decimal(size))
    await look(stage)


def test_bids_for_both_outcomes_around_the_middle() -> None:
    """At 0.49/0.51 and an edge of three cents both are bid for at 0.48, post-only, in one request."""
    exchange = FakeExchange()
    assert perform(look, exchange) == [bid(UP, "0.48"), bid(DOWN, "0.48")]
    assert [len(batch) for batch in exchange.place_batches] == [2]


def test_a_bid_is_kept_while_it_is_near_enough() -> None:
    """Within a tick of what is wanted nothing is sent; beyond, the bids are moved."""

    async def act(stage: Stage) -> None:
        await quote(stage, 50, 52)
        assert resting(stage) == prices("0.48", "0.48")
        await quote(stage, 52, 54)
        assert resting(stage) == prices("0.51", "0.45")

    assert len(perform(act)) == 4


def test_what_is_held_in_excess_moves_both_bids() -> None:
    """With twenty shares of Up, a cent less is bid for Up and a cent more for Down."""

    async def act(stage: Stage) -> None:
        await look(stage)
        await fill(stage, 0, 20)
        assert resting(stage) == prices("0.47", "0.49")

    perform(act, requote=RequotePolicy(ticks=0))


def test_a_bid_never_takes() -> None:
    """Where the wanted bid would meet the ask, it stays a tick below."""

    async def act(stage: Stage) -> None:
        await look(stage)
        await fill(stage, 0, 20)
        await quote(stage, 60, 61)
        assert resting(stage)[DOWN] == Decimal("0.39")

    perform(act, skew=Decimal("0.01"), edge=Decimal("0.01"))


def test_the_model_moves_the_middle() -> None:
    """With reference prices the fair value is halfway between the book and the model."""

    def high(second: int) -> Decimal:
        return BEAT if second <= 0 else BEAT + 300

    async def act(stage: Stage) -> None:
        await look(stage, 20)
        assert resting(stage)[UP] > Decimal("0.48")
        assert resting(stage)[DOWN] < Decimal("0.48")

    perform(act, path=high, model=PriceModel.LAST, volatility=5.0)

    async def still(stage: Stage) -> None:
        await look(stage, 20)
        assert resting(stage) == prices("0.48", "0.48")

    perform(still, path=high, model=PriceModel.LAST, volatility=5.0, trust=ZERO)


def test_a_model_that_is_certain_counts_although_it_says_nothing() -> None:
    """A probability of 0 is a value, not a missing one: halfway between it and 0.5 is 0.25."""

    def low(second: int) -> Decimal:
        return BEAT if second <= 0 else BEAT - 30_000

    async def act(stage: Stage) -> None:
        await look(stage, 20)
        assert resting(stage)[UP] < Decimal("0.35")

    perform(act, path=low, model=PriceModel.LAST, volatility=0.01)


def test_an_old_reference_price_does_not_count() -> None:
    """When the feed falls silent the middle of the book is what is left."""

    def ending(second: int) -> Decimal | None:
        return None if second > 5 else BEAT if second <= 0 else BEAT + 300

    async def act(stage: Stage) -> None:
        await look(stage, 5)
        assert resting(stage) != prices("0.48", "0.48")
        await look(stage, 20)
        assert resting(stage) == prices("0.48", "0.48")

    fast: dict[str, Any] = {"model": PriceModel.LAST, "volatility": 5.0, "max_age": 12.0}

    async def lively(stage: Stage) -> None:
        pushing = asyncio.create_task(keep_fresh(stage))
        await act(stage)
        pushing.cancel()

    perform(lively, path=ending, **fast)


async def keep_fresh(stage: Stage) -> None:
    """Show the same books again and again."""
    stream, market = stage.exchange.streams[stage.session.slug], stage.session.market
    while True:
        for outcome in Outcome:
            stream.push(snapshot(market, outcome))
        await stage.env.clock.sleep(1)


# ---------------------------------------------------------------------- when it does not bid


def unknown(stage: Stage) -> None:
    """Lose the connection of the market."""
    stage.exchange.streams[stage.session.slug].state(StreamState.CONNECTED, "again")


def wide(stage: Stage) -> None:
    """Show a spread of six cents."""
    market = stage.session.market
    stage.exchange.streams[market.slug].push(snapshot(market, UP, 4700, 5300))


def crossed(stage: Stage) -> None:
    """Show a bid above the ask."""
    market = stage.session.market
    stage.exchange.streams[market.slug].push(snapshot(market, DOWN, 5200, 5100))


def decided(stage: Stage) -> None:
    """Show a market that is all but over."""
    market = stage.session.market
    stage.exchange.streams[market.slug].push(snapshot(market, UP, 9400, 9500))
    stage.exchange.streams[market.slug].push(snapshot(market, DOWN, 500, 600))


@pytest.mark.parametrize(
    ("happen", "reason"),
    [
        (unknown, "book_unknown"),
        (wide, "spread"),
        (crossed, "spread"),
        (decided, "nearly_decided"),
    ],
)
def test_bids_are_taken_back_when_the_book_is_not_to_be_trusted(
    happen: Callable[[Stage], None], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Unknown, wide, crossed and decided books end the bids, in one request, and the log says why."""

    async def act(stage: Stage) -> None:
        await look(stage)
        happen(stage)
        await look(stage)
        assert resting(stage) == {}
        assert [len(batch) for batch in stage.exchange.batches] == [2]

    with caplog.at_level(logging.INFO, "polyframe.strategy"):
        perform(act)
    assert caplog.text.count(f"not quoting: {reason}") == 1


def test_bids_are_taken_back_when_the_books_are_old() -> None:
    """Nothing has to happen for it: silence is enough. With news it bids again."""

    async def act(stage: Stage) -> None:
        await look(stage, 9)
        assert len(resting(stage)) == 2
        await look(stage, 3)
        assert resting(stage) == {}
        await quote(stage, 48, 50)
        assert len(resting(stage)) == 2

    perform(act, max_age=10.0)


def test_bids_are_taken_back_before_the_end() -> None:
    """With as little left as the cutoff there are none."""

    async def act(stage: Stage) -> None:
        await look(stage, 798)
        assert len(resting(stage)) == 2
        await look(stage, 4)
        assert resting(stage) == {}

    assert len(perform(act, cutoff=100)) == 2


def test_bids_are_taken_back_at_the_end_of_the_cycle() -> None:
    """Whatever rests is cancelled when the program stops."""

    async def act(stage: Stage) -> None:
        await look(stage)
        await stage.shut_down()
        assert len(stage.exchange.cancelled) == 2

    perform(act)


def test_a_venue_that_does_not_answer_at_the_end_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The strategy does not fail because of it; the log says that something may be left."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await look(stage)
        exchange.cancel_error = ExchangeUnavailable("no answer")
        await stage.shut_down()
        exchange.cancel_error = None

    perform(act, exchange)
    assert "bids may be left until the venue closes the market: no answer" in caplog.text
    assert "failed in" not in caplog.text


# ---------------------------------------------------------------------- what is on its way


def test_a_bid_is_replaced_once_the_old_one_is_gone() -> None:
    """While a cancel is not answered nothing is placed beside the old bid."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await look(stage)
        exchange.hold_cancel = asyncio.get_running_loop().create_future()
        await quote(stage, 55, 57)
        assert len(asked(stage)) == 2
        exchange.hold_cancel.set_result(None)
        exchange.hold_cancel = None
        await look(stage)
        assert resting(stage) == prices("0.54", "0.42")

    perform(act, exchange)


def test_it_does_not_cross_itself_when_a_cancel_fails() -> None:
    """An old bid for Up that cannot be taken back keeps the bid for Down below 1 less the edge."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await look(stage)
        exchange.cancel_refused = {exchange.placed[0].venue_id: "busy"}
        await quote(stage, 40, 42)
        # Wanted are 0.39 and 0.57, but 0.48 for Up is still there.
        assert resting(stage) == {UP: Decimal("0.48")}
        exchange.cancel_refused = {}
        await look(stage)
        assert resting(stage) == prices("0.39", "0.57")

    perform(act, exchange)


def test_a_venue_that_does_not_answer_is_no_error_of_the_strategy() -> None:
    """Failed cancels are tried again."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await look(stage)
        exchange.cancel_error = ExchangeUnavailable("no answer")
        await quote(stage, 40, 42)
        assert resting(stage) == prices("0.48", "0.48")
        exchange.cancel_error = None
        await look(stage)
        assert resting(stage) == prices("0.39", "0.57")

    perform(act, exchange)


def test_no_bid_beside_one_of_unknown_fate() -> None:
    """Until it is known what became of a bid, there is no other one for that outcome."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.UNKNOWN)]
    exchange.query_error = exchange.look_error = ExchangeUnavailable("no answer")

    async def act(stage: Stage) -> None:
        await look(stage)
        await quote(stage, 40, 42)
        orders = [o for o in stage.trading.snapshot().orders if o.outcome is UP]
        assert [order.status for order in orders] == [OrderStatus.UNKNOWN]

    perform(act, exchange)


# ---------------------------------------------------------------------- bounds


def test_the_excess_is_bounded() -> None:
    """With forty held the bid is for what is left of fifty, and with forty-six it is none."""

    async def act(stage: Stage) -> None:
        await look(stage)
        await fill(stage, 0, 40)
        assert asked(stage)[2] == bid(UP, "0.46", "10")
        await fill(stage, 2, 6)
        assert UP not in resting(stage)

    perform(act, size=Decimal(40), max_unpaired=Decimal(50), requote=RequotePolicy(ticks=0))


def test_what_a_cycle_buys_of_an_outcome_is_bounded() -> None:
    """Pairs do not make room for more."""

    async def act(stage: Stage) -> None:
        await look(stage)
        await fill(stage, 0, 20)
        await fill(stage, 1, 20)
        assert [request.size for request in asked(stage)] == [20, 20, 5, 5]

    perform(act, max_shares=Decimal(25))


def test_a_cancelled_bid_counts_until_the_venue_was_asked() -> None:
    """A fill of the last instant may be told later: without an answer from the venue no other bid."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await look(stage, 5)
        exchange.look_error = ExchangeUnavailable("no answer")
        await quote(stage, 55, 57)
        assert resting(stage) == {}
        exchange.look_error = None
        await look(stage, 5)
        assert resting(stage) == prices("0.54", "0.42")

    perform(act, exchange, max_unpaired=Decimal(20))


def test_what_a_cycle_spends_is_bounded() -> None:
    """The second bid of a pair is not made if the first one uses up the budget."""
    assert perform(look, budget=Decimal("19.19")) == [bid(UP, "0.48")]
    assert perform(look, budget=Decimal("19.20")) == [bid(UP, "0.48"), bid(DOWN, "0.48")]


EDGE, MOST_UNPAIRED, MOST_SHARES, BUDGET = Decimal("0.02"), Decimal(25), Decimal(60), Decimal(40)
EAGER = MarketMaker(
    size=Decimal(15),
    edge=EDGE,
    skew=Decimal("0.002"),
    max_unpaired=MOST_UNPAIRED,
    max_shares=MOST_SHARES,
    budget=BUDGET,
    max_spread=Decimal("0.20"),
    lowest=ZERO,
    cutoff=5.0,
    every=3.0,
    requote=RequotePolicy(ticks=0, shares=ZERO),
    model=PriceModel.LAST,
)
"""Bids whenever it can, and moves its bids all the time."""


@settings(max_examples=12)
@given(world=worlds())
def test_the_bounds_hold_whatever_the_market_does(world: World) -> None:
    """No fill, refusal, lost answer or late cancel makes it hold, spend or bid for more."""
    live(EAGER, world, services=[walking(world.seed)])


def test_the_bounds_hold_over_the_lives_of_a_cycle() -> None:
    """A program that is killed and started again within a cycle goes on within its bounds."""
    services = [PerProcess(lambda: walking(2))]
    faults = ONE_LIFE | {Fault.KILL}
    result = hostile(EAGER, cycles=4, faults=faults, services=services)
    assert result.starts > 1
    assert any(record.fills for record in result.records)


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True


def _spends_without_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Exposure, "cost", lambda _: ZERO)


def _trusts_each_cancel(patch: pytest.MonkeyPatch) -> None:
    def shares(self: Exposure, outcome: Outcome) -> Decimal:
        return most_shares(self.strategy.trading.orders(), outcome, _Everything())

    patch.setattr(Exposure, "shares", shares)


TIGHT = evolve(
    EAGER, budget=Decimal(12), max_unpaired=Decimal(15), max_shares=Decimal(45), every=0.5
)
ROOMY = evolve(TIGHT, budget=Decimal(1000))


@pytest.mark.parametrize(
    ("maker", "without", "broken"),
    [
        (TIGHT, _spends_without_end, "USD for shares, at most 12"),
        (ROOMY, _trusts_each_cancel, r"shares of (Up|Down)( in excess)?, at most (15|45)"),
    ],
    ids=["budget", "doubt"],
)
def test_a_world_notices_when_its_budget_or_its_doubt_is_missing(
    maker: MarketMaker,
    without: Callable[[pytest.MonkeyPatch], None],
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bids are cancelled as they are filled, and that is told late: without the guard a bound breaks."""
    faults = frozenset({Fault.CANCEL_RACE, Fault.USER_DELAY})
    many = [World(seed, faults, 12.0, Decimal(10_000)) for seed in range(3)]
    for world in many:
        live(maker, world)
    without(monkeypatch)
    with pytest.raises(AssertionError, match=broken):
        for world in many:
            live(maker, world)


def test_it_survives_everything() -> None:
    """With all faults at once, damaged files among them, its hooks never raise."""
    hostile(EAGER, cycles=3, seed=3, services=[PerProcess(lambda: walking(3))])


def test_it_trades_in_every_kind_of_market() -> None:
    """It is filled in each regime, as a maker only."""
    for report in regime_reports(MarketMaker(every=5.0), cycles=1).values():
        assert report.total.fills
        assert report.total.maker_share == 1


@pytest.mark.parametrize(
    ("settings_", "word"),
    [
        ({"size": Decimal(0)}, "size"),
        ({"edge": Decimal(0)}, "edge"),
        ({"skew": 0.1}, "skew"),
        ({"trust": Decimal(2)}, "trust"),
        ({"max_unpaired": ZERO}, "max_unpaired"),
        ({"max_shares": Decimal("inf")}, "max_shares"),
        ({"budget": None}, "budget"),
        ({"max_spread": ONE}, "max_spread"),
        ({"lowest": Decimal("0.5")}, "lowest"),
        ({"cutoff": -1}, "cutoff"),
        ({"max_age": 0}, "max_age"),
        ({"every": 0}, "every"),
        ({"model": "mean"}, "model"),
        ({"volatility": float("nan")}, "volatility"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings_: dict[str, Any], word: str) -> None:
    """The message names the field."""
    with pytest.raises(ConfigError, match=word):
        MarketMaker(**settings_)


def test_a_policy_that_is_none_is_refused() -> None:
    """The type checker says so first; attrs says it in any case."""
    with pytest.raises(TypeError, match="requote"):
        MarketMaker(requote=1)  # type: ignore[arg-type]
