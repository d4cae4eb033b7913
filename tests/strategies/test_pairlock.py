"""The decisions of the pair lock, and its bounds in any world."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from polyframe.counters import Count
from polyframe.errors import ConfigError
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.order import PlaceResult
from polyframe.strategies import PairLock
from polyframe.testing import Fault, Standing, bound_of
from tests.strategies.kit import ONE_LIFE, World, hostile, live, regime_reports, worlds
from tests.strategies.pairstage import (
    DOWN,
    UP,
    QuotedExchange,
    asked,
    fill,
    perform,
    quote,
    short,
    wait,
)
from tests.support.fake import START, FakeExchange, snapshot
from tests.support.stage import Stage, settle

PAIR = ["BUY 10 Up 0.49 post", "BUY 10 Down 0.49 post"]


async def nothing(stage: Stage) -> None:
    """Let the strategy see the first book."""
    await settle()


def test_bids_for_both_outcomes_at_once() -> None:
    """At 0.49/0.51 both best bids leave two cents: both are joined, post-only, in one request."""

    async def act(stage: Stage) -> None:
        assert len(stage.exchange.place_batches) == 1

    assert perform(PairLock(), act) == PAIR


def test_bids_give_way_to_the_target() -> None:
    """With four cents of target both bids go down by one."""
    four = PairLock(target=Decimal("0.04"))
    assert perform(four, nothing) == ["BUY 10 Up 0.48 post", "BUY 10 Down 0.48 post"]


def test_of_two_displays_the_worse_is_joined() -> None:
    """While Down's display is behind, Up is not bid for above what Down's ask allows."""

    async def act(stage: Stage) -> None:
        stage.exchange.streams[stage.session.slug].push(
            snapshot(stage.session.market, UP, 5500, 5700)
        )
        await wait(stage, 30)
        stage.exchange.streams[stage.session.slug].push(
            snapshot(stage.session.market, UP, 5500, 5800)
        )
        await settle()

    assert perform(PairLock(), act)[2:] == ["BUY 10 Up 0.49 post", "BUY 10 Down 0.42 post"]


def test_a_pair_is_complete_when_both_are_filled() -> None:
    """Both legs cost 0.98, whoever wins; after the cool-down there is another round."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await fill(stage, 1)
        outlook = stage.trading.handle("PairLock").outlook()
        assert outlook.if_up == outlook.if_down == Decimal("0.20")
        await wait(stage, 9)
        await quote(stage, 48, 51)
        assert len(asked(stage)) == 2
        await wait(stage, 2)
        await quote(stage, 49, 51)

    assert perform(PairLock(), act) == [*PAIR, *PAIR]


def test_bids_of_which_nothing_was_filled_move_with_the_market() -> None:
    """After `rest_timeout` both are taken back and placed where the market is."""

    async def act(stage: Stage) -> None:
        await quote(stage, 53, 55)
        await wait(stage, 21)
        assert len(stage.exchange.cancelled) == 2
        await quote(stage, 54, 56)

    assert perform(PairLock(), act)[2:] == ["BUY 10 Up 0.54 post", "BUY 10 Down 0.44 post"]


def test_a_missing_leg_is_bid_up_to_what_the_pair_may_cost() -> None:
    """Up was filled for 0.45: Down, bid for at 0.45 with a target of ten cents, stays; at 0.48 it moves."""

    async def act(stage: Stage) -> None:
        await quote(stage, 45, 53)
        await wait(stage, 21)
        await quote(stage, 45, 54)
        await fill(stage, 2)
        await wait(stage, 4)

    requests = perform(PairLock(), act)
    assert requests[2:4] == ["BUY 10 Up 0.45 post", "BUY 10 Down 0.46 post"]
    assert requests[4:] == ["BUY 10 Down 0.53 post"]


def test_a_leg_that_was_refused_is_repaired() -> None:
    """Down's bid was refused, and Up's was filled before it could be cancelled: Down is bid for again."""
    exchange = FakeExchange()
    refused = PlaceAnswer(PlaceResult.REJECTED, "post_only_would_cross", "crosses")
    exchange.answers = [PlaceAnswer(PlaceResult.LIVE), refused]
    exchange.accepts_lost = True

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await wait(stage, 5)

    assert perform(PairLock(), act, exchange=exchange)[2:] == ["BUY 10 Down 0.49 post"]


def test_a_leg_that_would_take_warns_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Post-only bids are refused all day: it is counted, and no person has to look."""
    caplog.set_level(logging.INFO, "polyframe")
    exchange = FakeExchange()
    refused = PlaceAnswer(PlaceResult.REJECTED, "post_only_would_cross", "crosses")
    exchange.answers = [PlaceAnswer(PlaceResult.LIVE), refused]

    async def act(stage: Stage) -> None:
        await settle()
        assert stage.env.counters.get(Count.LEGS, "missing") == 1

    perform(PairLock(), act, exchange=exchange)
    assert "a leg is missing" in caplog.text
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []


def test_a_refused_round_is_not_tried_with_every_price() -> None:
    """A venue that refuses both legs is asked again after two seconds, not at once."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "trading_disabled", "no")] * 4

    async def act(stage: Stage) -> None:
        for bid in (48, 47, 46, 45):
            await quote(stage, bid, 51)
        assert len(asked(stage)) == 2
        await wait(stage, 2)
        await quote(stage, 49, 51)
        assert len(asked(stage)) == 4

    perform(PairLock(), act, exchange=exchange)


def test_a_missing_leg_is_given_up_and_the_filled_one_closed() -> None:
    """After `leg_timeout` the excess is closed at the market, and the strategy goes on."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await wait(stage, 91)
        await fill(stage, 2)
        await wait(stage, 12)
        await quote(stage, 48, 51)

    requests = perform(PairLock(stop=None), act)
    # What is not delivered yet is closed by buying the other outcome.
    assert requests[2:] == ["BUY 10 Down 0.52", "BUY 10 Up 0.48 post", "BUY 10 Down 0.49 post"]


def test_a_fall_gives_up_at_once() -> None:
    """The market runs away from the filled leg: six cents below its cost it is closed."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await quote(stage, 44, 45)
        assert stage.exchange.cancelled == []
        await quote(stage, 43, 44)
        await wait(stage, 1)

    assert perform(PairLock(), act)[2:] == ["BUY 10 Down 0.58"]


def test_on_fail_pause_keeps_the_leg_and_trades_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """With ``"pause"`` the bid is cancelled, the leg kept and reported, and no round begun."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await wait(stage, 91)
        assert stage.exchange.cancelled == [stage.exchange.placed[1].venue_id]
        await wait(stage, 60)
        await quote(stage, 48, 51)
        await stage.open_cycle(START + 900)
        assert short(stage)[2:] == PAIR  # a new cycle is a new world

    with caplog.at_level(logging.INFO):
        perform(PairLock(on_fail="pause", stop=None), act)
    text = caplog.text
    assert "10 Up unpaired (the missing leg was not filled in 90 s)" in text
    assert "'paused'" in text


def test_rounds_with_fills_are_bounded() -> None:
    """After `max_rounds` rounds in which something was filled no other begins."""

    async def act(stage: Stage) -> None:
        for number in (0, 2, 4):
            for leg in range(number, min(number + 2, len(asked(stage)))):
                await fill(stage, leg)
            await wait(stage, 11)
            await quote(stage, 48, 51)
            await quote(stage, 49, 51)

    strategy = PairLock(max_rounds=2)
    assert len(perform(strategy, act)) == 4


def test_no_round_beyond_max_unhedged() -> None:
    """Four shares that were left as dust count: ten more would be too many."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0, 4)
        await wait(stage, 105)
        await quote(stage, 48, 51)
        await quote(stage, 49, 51)

    assert len(perform(PairLock(max_unhedged=Decimal(13)), act)) == 2
    assert len(perform(PairLock(max_unhedged=Decimal(14)), act)) == 4


@pytest.mark.parametrize(
    ("bid", "ask", "mode", "is_bought"),
    [(78, 79, "maker", False), (74, 76, "maker", True), (49, 51, "taker", False)],
)
def test_prices_at_which_no_round_begins(bid: int, ask: int, mode: Any, is_bought: bool) -> None:
    """Nothing is bid for when one outcome is almost sure, nothing is taken in a consistent book."""
    requests = perform(PairLock(mode=mode), nothing, exchange=QuotedExchange(bid, ask))
    assert bool(requests) is is_bought


def test_no_round_after_the_cut_off() -> None:
    """Too close to the end nothing is begun."""
    late = START + 900 - 170
    assert perform(PairLock(cutoff=180.0), nothing, start=late) == []
    assert len(perform(PairLock(cutoff=160.0), nothing, start=late)) == 2


def test_a_taker_takes_a_stale_side_and_is_left_with_one_leg() -> None:
    """Down's display is behind: both asks are taken for 0.95, Down is not there, and is bid for."""

    async def act(stage: Stage) -> None:
        stage.exchange.streams[stage.session.slug].push(
            snapshot(stage.session.market, DOWN, 4200, 4300)
        )
        await settle()
        await fill(stage, 0, takes=True)
        await wait(stage, 3)

    requests = perform(PairLock(mode="taker", target=Decimal("0.01")), act)
    assert requests[:2] == ["BUY 10 Up 0.51", "BUY 10 Down 0.43"]
    assert len(requests) == 2 or requests[2].startswith("BUY 10 Down 0.4")


def test_too_little_cash_buys_fewer_pairs() -> None:
    """With 8 USD there are eight pairs of 0.98."""
    exchange = FakeExchange()
    exchange.balance = Decimal(8)

    async def act(stage: Stage) -> None:
        assert stage.env.counters.get(Count.ORDERS_DENIED) == 0

    assert perform(PairLock(), act, exchange=exchange)[0] == "BUY 8.16 Up 0.49 post"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"mode": "both"}, "mode"),
        ({"size": 10}, "size"),
        ({"target": Decimal(1)}, "target"),
        ({"max_price": Decimal("1.1")}, "max_price"),
        ({"rest_timeout": 0}, "rest_timeout"),
        ({"leg_timeout": -1}, "leg_timeout"),
        ({"stop": Decimal(-1)}, "stop"),
        ({"tries": True}, "tries"),
        ({"on_fail": "hope"}, "on_fail"),
        ({"max_rounds": 0}, "max_rounds"),
        ({"cool_down": 0}, "cool_down"),
        ({"max_unhedged": Decimal(5)}, "max_unhedged"),
        ({"slippage": 0.01}, "slippage"),
        ({"cutoff": 44.0}, "cutoff"),
        ({"close_before_end": 0}, "close_before_end"),
    ],
)
def test_bad_settings_name_the_field(values: dict[str, Any], name: str) -> None:
    """A setting that makes no sense is refused with its name and what is expected."""
    with pytest.raises(ConfigError, match=f"^{name}: expected"):
        PairLock(**values)


# ---------------------------------------------------------------------- any world

SMALL = PairLock(rest_timeout=10.0, leg_timeout=20.0, cool_down=2.0, cutoff=60.0, max_rounds=6)
"""Settings with which it trades a lot in five minutes."""


@settings(max_examples=12)
@given(world=worlds())
def test_the_bound_holds_whatever_the_market_does(world: World) -> None:
    """Partial fills, refusals, gaps, lost answers: never more unhedged, more rounds, or three orders."""
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
    """Whatever the market is like, no round loses more than its size."""
    for report in regime_reports(PairLock(), cycles=1).values():
        profit = report.total.profit
        assert profit is not None
        assert profit > -PairLock().size * PairLock().max_rounds
