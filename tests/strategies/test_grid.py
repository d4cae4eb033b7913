"""The decisions of the grid strategy, and its bounds in any world."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from polyframe.counters import Count
from polyframe.errors import ConfigError
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import StreamState
from polyframe.model.order import PlaceResult
from polyframe.strategies import Grid
from polyframe.testing import Fault, Standing, bound_of
from polyframe.trading.guards import EntryGuards
from tests.strategies.kit import ONE_LIFE, World, hostile, live, regime_reports, worlds
from tests.strategies.pairstage import (
    DOWN,
    UP,
    asked,
    fill,
    perform,
    quote,
    wait,
)
from tests.support.fake import START, FakeExchange, snapshot
from tests.support.stage import Stage

PATIENT = Grid(stop=None)
ENTRY = "BUY 10 Up 0.63"
HEDGE = "BUY 10 Down 0.33 post"
"""0.63 and its fee of 1.64 cents, two cents of target: 0.333 are left for Down."""


def test_buys_at_a_level_and_bids_for_the_other_outcome() -> None:
    """The ask climbs to a level: Up is bought, and Down bid for so that the pair leaves the target."""

    async def act(stage: Stage) -> None:
        await quote(stage, 60, 61)
        assert asked(stage) == []
        await quote(stage, 61, 62)
        await fill(stage, 0, takes=True)

    assert perform(Grid(), act) == [ENTRY, HEDGE]


def test_buys_down_as_well() -> None:
    """Down climbs as Up falls."""

    async def act(stage: Stage) -> None:
        await quote(stage, 38, 39)

    assert perform(Grid(), act) == ["BUY 10 Down 0.63"]


def test_a_jump_over_levels_is_one_entry_at_the_highest() -> None:
    """From 0.61 to 0.66 two levels are climbed through; the entry is made at the higher one."""

    async def act(stage: Stage) -> None:
        await quote(stage, 60, 61)
        await quote(stage, 65, 66)
        await quote(stage, 65, 66)

    assert perform(Grid(), act) == ["BUY 10 Up 0.66"]


def test_a_jump_far_above_a_level_is_let_go() -> None:
    """An ask more than the slippage above the highest level that it climbed through is too late."""

    async def act(stage: Stage) -> None:
        await quote(stage, 67, 68)
        await quote(stage, 65, 66)

    assert perform(Grid(), act) == []


def test_a_gap_in_the_data_is_no_climb() -> None:
    """What was seen before a reconnect does not count."""

    async def act(stage: Stage) -> None:
        market = stage.session.market
        stream = stage.exchange.streams[market.slug]
        stream.state(StreamState.LOST, "silence")
        await wait(stage, 0.1)
        stream.state(StreamState.CONNECTED)
        stream.push(snapshot(market, UP, 6200, 6300))
        stream.push(snapshot(market, DOWN, 3700, 3800))
        await wait(stage, 0.1)

    assert perform(Grid(), act) == []


def test_one_plan_at_a_time() -> None:
    """While a pair is open, levels that are climbed through are let go."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0)
        await quote(stage, 64, 65)

    assert len(perform(PATIENT, act)) == 2


def test_the_rest_of_an_entry_is_cancelled_and_what_it_found_hedged() -> None:
    """Six of ten shares were there in two seconds: six are hedged, also if only a question tells."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0, 6, tell=False)
        await wait(stage, 4)
        assert stage.exchange.cancelled == [stage.exchange.placed[0].venue_id]

    assert perform(Grid(), act)[1:] == ["BUY 6 Down 0.35 post"]


def test_a_fill_that_is_told_after_the_round_is_over_is_hedged() -> None:
    """The venue knew of nothing when it was asked; the trade that comes a minute later is hedged."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await wait(stage, 60)
        assert len(asked(stage)) == 1
        await fill(stage, 0, 8)

    assert perform(PATIENT, act)[1:] == ["BUY 8 Down 0.35 post"]


def test_no_partner_is_bought_for_shares_that_a_guard_has_sold() -> None:
    """The guard of the strategy closes its excess: that ends the round, and a new one may begin."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0, takes=True)
        await wait(stage, 31)
        await fill(stage, 2, takes=True)
        await wait(stage, 60)
        await quote(stage, 60, 61)
        await quote(stage, 61, 62)

    guards = EntryGuards(max_unhedged_seconds=30, flatten_unhedged=True)
    assert perform(PATIENT, act, guards=guards) == [ENTRY, HEDGE, "SELL 10 Up 0.59", ENTRY]


def test_a_second_round_begins_after_the_first_is_complete() -> None:
    """With both legs filled the next climb is a new round."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0)
        await fill(stage, 1)
        await quote(stage, 64, 65)

    assert perform(Grid(), act)[2:] == ["BUY 10 Up 0.66"]


def test_rounds_are_bounded() -> None:
    """After `max_rounds` entries nothing is bought, whatever they came to."""

    async def act(stage: Stage) -> None:
        for _ in range(4):
            await quote(stage, 61, 62)
            await wait(stage, 4)
            await quote(stage, 59, 60)

    assert perform(Grid(max_rounds=2), act) == [ENTRY, ENTRY]


def test_no_entry_after_the_cut_off() -> None:
    """Too close to the end nothing is begun."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)

    late = START + 900 - 170
    assert perform(Grid(cutoff=180), act, start=late) == []
    assert perform(Grid(cutoff=160), act, start=late) == [ENTRY]


def test_cash_is_kept_for_the_hedge() -> None:
    """With 8 USD there are eight pairs, not ten entries and no hedge; with 4 there is none."""

    def rich(usd: int) -> FakeExchange:
        exchange = FakeExchange()
        exchange.balance = Decimal(usd)
        return exchange

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        assert stage.env.counters.get(Count.ORDERS_DENIED) == 0

    (entry,) = perform(Grid(), act, exchange=rich(8))
    assert entry == "BUY 8.19 Up 0.63"
    assert perform(Grid(), act, exchange=rich(4)) == []


def test_no_entry_beyond_max_unhedged() -> None:
    """Three shares that could not be hedged count: ten more would be too many."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0, 3)
        await wait(stage, 4)
        await quote(stage, 64, 65)

    assert len(perform(Grid(max_unhedged=Decimal(12)), act)) == 1
    assert len(perform(Grid(max_unhedged=Decimal(13)), act)) == 2


def test_a_fall_sells_the_entry() -> None:
    """At the stop the hedge is cancelled, and Up sold below the bid."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0)
        await quote(stage, 56, 57)
        assert stage.exchange.cancelled == []
        await quote(stage, 54, 55)
        await wait(stage, 1)
        assert stage.exchange.cancelled == [stage.exchange.placed[1].venue_id]

    # Shares that are not delivered yet are closed by buying the other outcome.
    assert perform(Grid(), act)[2:] == ["BUY 10 Down 0.47"]


def test_near_the_end_the_excess_is_closed() -> None:
    """Forty-five seconds before the end the hedge is given up, and in the end nothing is unhedged."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0)
        await wait(stage, 900 - 47)
        assert len(asked(stage)) == 2
        await wait(stage, 3)
        await fill(stage, 2)
        await wait(stage, 2)
        held = [stage.trading.snapshot().positions[n][1].size for n in range(2)]
        assert held == [Decimal(10)] * 2

    patient = Grid(stop=None, hedge_timeout=2000.0)
    assert perform(patient, act)[2:] == ["BUY 10 Down 0.40"]


def test_what_stays_unhedged_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The venue refuses everything: after bounded tries the log says what is left, and why."""
    exchange = FakeExchange()
    refused = PlaceAnswer(PlaceResult.REJECTED, "trading_disabled", "no")
    exchange.answers = [PlaceAnswer(PlaceResult.LIVE), *[refused] * 100]

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0)
        await wait(stage, 890)
        await stage.open_cycle(START + 900)
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 0
        assert (
            len(asked(stage)) == 1 + 4 + 4 + 4
        )  # the entry, hedges, closing orders, a last chance

    with caplog.at_level(logging.WARNING):
        perform(Grid(), act, exchange=exchange)
    (line,) = [r.message for r in caplog.records if "unpaired" in r.message]
    assert "10 Up unpaired" in line
    assert "4 tries to complete it failed" in line


def test_a_lost_answer_is_an_order_like_any_other() -> None:
    """The entry whose answer was lost is filled: it is hedged, and no second one is sent."""
    exchange = FakeExchange()
    exchange.accepts_lost = True
    exchange.answers = [PlaceAnswer(PlaceResult.UNKNOWN, "timeout", "no answer")]

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0, takes=True)

    assert perform(Grid(), act, exchange=exchange) == [ENTRY, HEDGE]


def test_a_new_cycle_begins_afresh_and_takes_its_orders_back() -> None:
    """At the boundary the hedge is cancelled; the next market has its own levels and rounds."""

    async def act(stage: Stage) -> None:
        await quote(stage, 61, 62)
        await fill(stage, 0)
        await stage.open_cycle(START + 900)
        assert stage.exchange.cancelled == [stage.exchange.placed[1].venue_id]
        await quote(stage, 61, 62)

    assert perform(PATIENT, act)[2:] == [ENTRY]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"levels": ()}, "levels"),
        ({"levels": (Decimal("0.6"), Decimal("0.6"))}, "levels"),
        ({"levels": (Decimal("0.6"), Decimal(1))}, "levels"),
        ({"levels": (0.6,)}, "levels"),
        ({"size": Decimal(0)}, "size"),
        ({"target": Decimal(0)}, "target"),
        ({"slippage": Decimal(-1)}, "slippage"),
        ({"entry_timeout": 0}, "entry_timeout"),
        ({"hedge_timeout": float("nan")}, "hedge_timeout"),
        ({"stop": Decimal(0)}, "stop"),
        ({"tries": 0}, "tries"),
        ({"max_rounds": 1.5}, "max_rounds"),
        ({"max_unhedged": Decimal(9)}, "max_unhedged"),
        ({"cutoff": 30.0}, "cutoff"),
        ({"close_before_end": -1.0}, "close_before_end"),
    ],
)
def test_bad_settings_name_the_field(values: dict[str, Any], name: str) -> None:
    """A setting that makes no sense is refused with its name and what is expected."""
    with pytest.raises(ConfigError, match=f"^{name}: expected"):
        Grid(**values)


# ---------------------------------------------------------------------- any world

SMALL = Grid(
    levels=tuple(Decimal(cents) / 100 for cents in range(50, 70, 3)),
    max_rounds=5,
    cutoff=60.0,
    hedge_timeout=30.0,
)
"""Settings with which it trades a lot in five minutes."""


@settings(max_examples=12)
@given(world=worlds())
def test_the_bound_holds_whatever_the_market_does(world: World) -> None:
    """Partial fills, refusals, gaps, lost answers: never more unhedged, more rounds, or two orders."""
    live(SMALL, world)


def test_survives_everything() -> None:
    """With all faults at once nothing of it raises, and the bound holds."""
    result = hostile(SMALL, cycles=4, seed=5, faults=ONE_LIFE)
    assert sum(record.fills for record in result.records) > 20


def test_goes_on_after_a_restart_of_the_program() -> None:
    """Killed again and again it completes or closes what earlier lives began, and counts their rounds."""
    ends: dict[str, Decimal] = {}
    promised = bound_of(SMALL)

    def over_lives(standing: Standing) -> None:
        promised(standing)
        ends[standing.slug] = abs(standing.held(UP) - standing.held(DOWN))

    result = hostile(
        SMALL, cycles=6, faults={Fault.KILL}, intensity=6, bound=over_lives, alone=True
    )
    assert result.starts > 3
    # Who is killed in the last minute may leave one leg behind.
    assert sum(left >= 5 for left in ends.values()) <= 1


def test_trades_in_every_kind_of_market() -> None:
    """Whatever the market is like, no round loses more than its size, and most cycles have some."""
    reports = regime_reports(Grid(), cycles=1)
    assert sum(report.total.fills for report in reports.values()) >= 4
    for report in reports.values():
        profit = report.total.profit
        assert profit is not None
        assert profit > -Grid().size * Grid().max_rounds
