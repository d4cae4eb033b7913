"""The decisions of the threshold strategy, seen through a trader on simulated time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.counters import Count
from polyframe.errors import ConfigError
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import OrderEventKind, StreamState, TradeChanged
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.strategies import Threshold
from polyframe.testing import Fault, assert_held, run_strategy
from polyframe.trader import TraderSettings
from polyframe.trading.guards import EntryGuards
from tests.strategies.kit import (
    World,
    hostile,
    live,
    regime_reports,
    worlds,
)
from tests.support.fake import (
    START,
    FakeExchange,
    make_market,
    order_report,
    snapshot,
    trade_report,
)
from tests.support.stage import Stage, play, settle

UP, DOWN = Outcome.UP, Outcome.DOWN
FILLED = PlaceAnswer(PlaceResult.MATCHED)
NEVER_LATE = Threshold(trigger=Decimal("0.60"), cutoff=0)


async def quote(stage: Stage, outcome: Outcome, bid: int, ask: int) -> None:
    """Show a new top of one book, in cents, and let the strategy act."""
    stage.exchange.streams[stage.session.slug].push(
        snapshot(stage.session.market, outcome, bid * 100, ask * 100)
    )
    await settle()


async def fill(stage: Stage, number: int, *, size: int = 10, side: Side = Side.BUY) -> None:
    """Report that the venue filled `size` shares of the order that was placed as `number`."""
    prepared = stage.exchange.placed[number]
    report = trade_report(
        prepared.market,
        f"trade{number}",
        prepared.venue_id,
        prepared.request.outcome,
        size=Decimal(size),
        price=prepared.request.price,
        side=side,
    )
    assert stage.exchange.user is not None
    stage.exchange.user.push(report)
    await settle()


async def kill_rest(stage: Stage, number: int, *, matched: int) -> None:
    """Report that the venue cancelled what was left of the FAK order `number`."""
    prepared = stage.exchange.placed[number]
    report = order_report(
        prepared.market,
        prepared.venue_id,
        prepared.request.outcome,
        OrderEventKind.CANCELLATION,
        status="CANCELED",
        side=prepared.request.side,
        size_matched=Decimal(matched),
        original_size=prepared.request.size,
    )
    assert stage.exchange.user is not None
    stage.exchange.user.push(report)
    await settle()


def asked(stage: Stage) -> list[OrderRequest]:
    """Return what was asked of the venue so far."""
    return [prepared.request for prepared in stage.exchange.placed]


def perform(
    act: Callable[[Stage], Awaitable[Any]],
    strategy: Threshold = NEVER_LATE,
    exchange: FakeExchange | None = None,
    start: float = START,
    **mount: Any,
) -> list[OrderRequest]:
    """Play one cycle, whose books begin at 0.49/0.51, and return what was asked of the venue."""

    async def main(stage: Stage) -> list[OrderRequest]:
        await stage.open_cycle()
        await act(stage)
        return asked(stage)

    return play(main, strategy, exchange=exchange, start=start, **mount)


def test_buys_the_outcome_whose_ask_climbs_through_the_trigger() -> None:
    """An ask that was below the trigger and reaches it is bought, one slippage above it."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 57, 59)
        await quote(stage, UP, 59, 60)

    (request,) = perform(act)
    assert request == OrderRequest(UP, Side.BUY, Decimal("0.61"), Decimal(10), OrderType.FAK)


def test_buys_down_as_well() -> None:
    """The rule holds for either outcome."""

    async def act(stage: Stage) -> None:
        await quote(stage, DOWN, 61, 63)

    (request,) = perform(act)
    assert (request.outcome, request.price) == (DOWN, Decimal("0.64"))


def test_an_ask_above_the_trigger_from_the_start_is_no_crossing() -> None:
    """A cycle that opens above the trigger is left alone until the ask has been below it."""
    exchange = FakeExchange()
    exchange.auto_books = False

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 64, 65)
        await quote(stage, DOWN, 35, 36)
        await quote(stage, UP, 66, 67)
        assert asked(stage) == []
        await quote(stage, UP, 57, 58)
        await quote(stage, UP, 60, 61)

    async def main(stage: Stage) -> list[OrderRequest]:
        # Without books the session is late: it is opened by hand, before they come.
        session = stage.scheduler
        session.switch(await _late_session(stage))
        await settle()
        await act(stage)
        return asked(stage)

    (request,) = play(main, NEVER_LATE, exchange=exchange)
    assert request.price == Decimal("0.62")


async def _late_session(stage: Stage) -> Any:
    from polyframe.session import ExchangeSession

    session = ExchangeSession(
        make_market(),
        clock=stage.env.clock,
        counters=stage.env.counters,
        user_gate=stage.trading,
    )
    session.open(stage.exchange)
    return session


def test_a_gap_in_the_data_disarms() -> None:
    """What was seen before a reconnect is no first half of a crossing."""

    async def act(stage: Stage) -> None:
        market = stage.session.market
        stream = stage.exchange.streams[market.slug]
        stream.state(StreamState.LOST, "silence")
        await settle()
        stream.state(StreamState.CONNECTED)
        stream.push(snapshot(market, UP, 6300, 6400))
        stream.push(snapshot(market, DOWN, 3600, 3700))
        await settle()
        assert asked(stage) == []
        await quote(stage, UP, 56, 57)
        await quote(stage, UP, 60, 61)

    assert len(perform(act)) == 1


def test_enters_once_per_cycle_and_again_in_the_next() -> None:
    """A second crossing changes nothing; a new cycle starts afresh."""

    async def act(stage: Stage) -> None:
        for bid, ask in ((60, 61), (54, 55), (60, 61)):
            await quote(stage, UP, bid, ask)
        assert len(asked(stage)) == 1
        await stage.open_cycle(START + 900)
        await quote(stage, UP, 60, 61)

    assert [request.outcome for request in perform(act)] == [UP, UP]


@pytest.mark.parametrize(
    ("bid", "ask", "reason"),
    [(55, 61, "spread"), (84, 86, "max_price"), (0, 61, "no bid")],
)
def test_lets_a_bad_crossing_go(bid: int, ask: int, reason: str) -> None:
    """A crossing at a wide spread, a high ask or without a bid is consumed, not postponed."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, bid, ask)
        await quote(stage, UP, 61, 62)
        assert asked(stage) == [], reason
        await quote(stage, UP, 58, 59)
        await quote(stage, UP, 61, 62)

    assert len(perform(act)) == 1


def test_the_limit_never_passes_max_price() -> None:
    """The slippage is cut at max_price, and a limit below the ask is not sent."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)

    strategy = Threshold(trigger=Decimal("0.60"), max_price=Decimal("0.61"), cutoff=0)
    (request,) = perform(act, strategy)
    assert request.price == Decimal("0.61")


def test_the_limit_lies_on_the_tick() -> None:
    """Slippage and max_price off the grid are rounded down to the tick."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)

    strategy = Threshold(
        trigger=Decimal("0.60"), slippage=Decimal("0.0275"), max_price=Decimal("0.635"), cutoff=0
    )
    (request,) = perform(act, strategy)
    assert request.price == Decimal("0.63")


def test_no_entry_after_the_cut_off() -> None:
    """Within the last `cutoff` seconds of the window nothing is bought."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)

    late = START + 900 - 30
    assert perform(act, Threshold(cutoff=31), start=late) == []
    assert len(perform(act, Threshold(cutoff=29), start=late)) == 1


def test_a_denied_entry_is_not_repeated_and_harms_nothing() -> None:
    """Too little cash: the strategy says so, lives on, and does not try again."""
    exchange = FakeExchange()
    exchange.balance = Decimal(1)

    async def act(stage: Stage) -> None:
        for bid, ask in ((60, 61), (54, 55), (60, 61)):
            await quote(stage, UP, bid, ask)
        assert stage.env.counters.get(Count.ORDERS_DENIED, "cash") == 1
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 0

    assert perform(act, exchange=exchange) == []


def test_a_rejected_entry_is_not_repeated() -> None:
    """The venue's refusal ends the entry of this cycle without an error."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no")]

    async def act(stage: Stage) -> None:
        for bid, ask in ((60, 61), (54, 55), (60, 61)):
            await quote(stage, UP, bid, ask)
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 0

    assert len(perform(act, exchange=exchange)) == 1


@pytest.mark.parametrize(
    ("take", "stop", "bid", "ask"),
    [
        ("0.75", None, 76, 77),
        ("0.75", None, 75, 76),
        (None, "0.50", 49, 50),
        (None, "0.50", 50, 51),
    ],
)
def test_sells_at_take_and_at_stop(take: str | None, stop: str | None, bid: int, ask: int) -> None:
    """A bid at or beyond either price sells all that is held, one slippage below it."""
    exchange = FakeExchange()
    exchange.answers = [FILLED, FILLED]
    strategy = Threshold(
        take=None if take is None else Decimal(take), stop=None if stop is None else Decimal(stop)
    )

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)
        await fill(stage, 0)
        await quote(stage, UP, 62, 63)
        assert len(asked(stage)) == 1
        await quote(stage, UP, bid, ask)
        await fill(stage, 1, side=Side.SELL)
        await quote(stage, UP, bid - 1, ask)

    _, sale = perform(act, strategy, exchange)
    price = Decimal(bid - 1) / 100
    assert sale == OrderRequest(UP, Side.SELL, price, Decimal(10), OrderType.FAK)


def test_goes_on_selling_until_less_than_an_order_is_left() -> None:
    """A sale that found too few buyers is continued; a rest below the minimum is held."""
    exchange = FakeExchange()
    exchange.answers = [FILLED, FILLED, FILLED]

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)
        await fill(stage, 0, size=20)
        await quote(stage, UP, 76, 77)
        await fill(stage, 1, size=12, side=Side.SELL)
        await kill_rest(stage, 1, matched=12)
        await quote(stage, UP, 74, 75)
        await fill(stage, 2, size=4, side=Side.SELL)
        await kill_rest(stage, 2, matched=4)
        await quote(stage, UP, 73, 74)
        assert stage.env.counters.get(Count.ORDERS_DENIED) == 0

    strategy = Threshold(size=Decimal(20), take=Decimal("0.75"))
    requests = perform(act, strategy, exchange)
    assert [(r.side, r.size) for r in requests] == [
        (Side.BUY, Decimal(20)),
        (Side.SELL, Decimal(20)),
        (Side.SELL, Decimal(8)),
    ]


@pytest.mark.parametrize(("bid", "price"), [(49, "0.46"), (2, "0.01")])
def test_the_limit_of_a_sale_lies_on_the_tick(bid: int, price: str) -> None:
    """Slippage off the grid is rounded down to the tick, and at least one tick is asked."""
    exchange = FakeExchange()
    exchange.answers = [FILLED, FILLED]

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)
        await fill(stage, 0)
        await quote(stage, UP, bid, bid + 2)

    strategy = Threshold(stop=Decimal("0.50"), slippage=Decimal("0.0275"))
    _, sale = perform(act, strategy, exchange)
    assert sale.price == Decimal(price)


def test_only_the_held_outcome_decides_about_leaving() -> None:
    """Neither the other outcome's price nor a book without bids sells what is held."""
    exchange = FakeExchange()
    exchange.answers = [FILLED]

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)
        await fill(stage, 0)
        await quote(stage, DOWN, 38, 40)
        await quote(stage, DOWN, 80, 82)
        await quote(stage, UP, 62, 63)
        await quote(stage, UP, 0, 61)
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 0

    strategy = Threshold(stop=Decimal("0.50"), take=Decimal("0.75"))
    assert len(perform(act, strategy, exchange)) == 1


def test_a_refused_sale_is_tried_again_at_the_next_price() -> None:
    """The venue's refusal is no error of the strategy, which goes on leaving."""
    exchange = FakeExchange()
    refused = PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "not settled yet")
    exchange.answers = [FILLED, refused, FILLED]

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)
        await fill(stage, 0)
        await quote(stage, UP, 49, 50)
        await quote(stage, UP, 52, 53)
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 0

    assert len(perform(act, Threshold(stop=Decimal("0.50")), exchange)) == 3


def test_leaving_cancels_the_rest_of_the_entry_first() -> None:
    """A GTC entry that still rests is cancelled before its shares are sold."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)
        await fill(stage, 0, size=6)
        await quote(stage, UP, 50, 52)
        assert exchange.cancelled == [exchange.placed[0].venue_id]

    strategy = Threshold(order_type=OrderType.GTC, stop=Decimal("0.50"))
    entry, sale = perform(act, strategy, exchange)
    assert entry.order_type is OrderType.GTC
    assert (sale.side, sale.size) == (Side.SELL, Decimal(6))


def test_the_rest_of_an_entry_is_cancelled_at_the_end_of_the_cycle() -> None:
    """Nothing of a GTC entry is left resting when its cycle ends."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)
        assert exchange.cancelled == []
        await stage.open_cycle(START + 900)
        assert exchange.cancelled == [exchange.placed[0].venue_id]

    assert len(perform(act, Threshold(order_type=OrderType.GTC), exchange)) == 1


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"trigger": Decimal(1)}, "trigger"),
        ({"trigger": 0.6}, "trigger"),
        ({"trigger": Decimal("NaN")}, "trigger"),
        ({"size": Decimal(0)}, "size"),
        ({"max_price": Decimal("0.5")}, "max_price"),
        ({"max_price": Decimal(1)}, "max_price"),
        ({"max_spread": Decimal(0)}, "max_spread"),
        ({"slippage": Decimal(-1)}, "slippage"),
        ({"cutoff": -1}, "cutoff"),
        ({"cutoff": "60"}, "cutoff"),
        ({"order_type": OrderType.FOK}, "order_type"),
        ({"take": Decimal("0.5")}, "take"),
        ({"stop": Decimal("0.7")}, "stop"),
        ({"stop": "0.5"}, "stop"),
        ({"outcome": "Up"}, "outcome"),
    ],
)
def test_bad_settings_name_the_field(settings: dict[str, Any], field: str) -> None:
    """A setting that makes no sense is refused with its name and what is expected."""
    with pytest.raises(ConfigError, match=f"^{field}: expected"):
        Threshold(**settings)


def test_runs_under_a_trader_without_help() -> None:
    """Mounted on a trader that runs by itself it lives through cycles."""

    async def main(stage: Stage) -> int:
        await stage.trader.run(cycles=2)
        return stage.env.counters.get(Count.SWITCHES, "opened")

    settings = TraderSettings()
    assert play(main, NEVER_LATE, settings=settings) == 2


def test_buys_one_outcome_only_if_told_so() -> None:
    """With `outcome` the other one may climb as it likes."""

    async def act(stage: Stage) -> None:
        await quote(stage, UP, 60, 61)
        assert asked(stage) == []
        await quote(stage, DOWN, 60, 61)

    (request,) = perform(act, Threshold(outcome=DOWN))
    assert request.outcome is DOWN


# ---------------------------------------------------------------------- its bound

SETTINGS: list[dict[str, Any]] = [
    {},
    {"trigger": Decimal("0.52"), "stop": Decimal("0.45"), "take": Decimal("0.60"), "cutoff": 5},
    {"trigger": Decimal("0.52"), "order_type": OrderType.GTC, "stop": Decimal("0.48"), "cutoff": 0},
    {"trigger": Decimal("0.51"), "outcome": UP, "size": Decimal(20), "max_price": Decimal("0.60")},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_survives_everything(settings: dict[str, Any]) -> None:
    """Killed, cut off, refused and lied to, next to one that does its worst: its bound holds."""
    strategy = Threshold(**settings)
    result = hostile(strategy, cycles=10, seed=3)
    assert result.starts > 1
    assert result.checked["Threshold"].fills > 0


def test_a_program_that_is_started_again_does_not_enter_again() -> None:
    """The entry of an earlier life of the cycle counts."""
    strategy = Threshold(trigger=Decimal("0.51"), cutoff=0)
    result = hostile(strategy, cycles=8, faults={Fault.KILL}, intensity=6, alone=True)
    assert result.starts > 3


@hypothesis.settings(max_examples=20)
@given(world=worlds(), number=st.integers(0, len(SETTINGS) - 1))
def test_never_more_than_one_entry_of_its_size(world: World, number: int) -> None:
    """Whatever the market does: one buy a cycle, no dearer and no larger than it may be."""
    strategy = Threshold(**SETTINGS[number])
    live(strategy, world, cycles=2)


def test_in_every_kind_of_market() -> None:
    """It enters where something climbs, as a taker, and its books are the venue's."""
    for kind, report in regime_reports(Threshold()).items():
        assert 0 < report.total.trades <= len(report.cycles), kind
        assert report.total.maker_share == 0
        assert all(cycle.booked == cycle.figures.profit for cycle in report.cycles)


def test_guards_hold_for_it_as_well() -> None:
    """Mounted with guards it is refused what they forbid, and flat before the end."""
    guards = EntryGuards(max_price=Decimal("0.62"), flatten_before_end=60.0)
    strategy = Threshold(trigger=Decimal("0.52"), cutoff=0)
    result = run_strategy(strategy, cycles=8, seed=5, guards=guards, strict=["Threshold"])
    assert_held(result)
    sold = [fill.fill for fill in result.of(TradeChanged) if fill.fill.side is Side.SELL]
    assert sold
    bought = [fill.fill for fill in result.of(TradeChanged) if fill.fill.side is Side.BUY]
    assert all(fill.price <= Decimal("0.62") for fill in bought)
