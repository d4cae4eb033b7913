"""Arbitrage through a trader: what it bids, when it merges, and its bound in any world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from polyframe.errors import ConfigError
from polyframe.model.conversion import ConversionStatus, ReceiptState
from polyframe.model.order import OrderStatus
from polyframe.model.trade import TradeStatus
from polyframe.strategies import Arbitrage
from polyframe.strategies.arbitrageplan import ArbitragePlan
from polyframe.testing import Regime
from polyframe.trading.guards import EntryGuards
from tests.strategies.kit import World, hostile, live, regime_reports, worlds
from tests.strategies.pairstage import DOWN, quote, short, wait
from tests.support.contracts import ConvertingExchange
from tests.support.fake import START, FakeExchange, trade_report
from tests.support.stage import Stage, play, settle

CALM: dict[str, Any] = {"max_age": 10_000.0}
"""The books of these tests stand still."""

Act = Callable[[Stage], Awaitable[Any]]


def perform(
    act: Act,
    exchange: FakeExchange | None = None,
    start: float = START,
    guards: EntryGuards | None = None,
    **settings: Any,
) -> list[str]:
    """Play one cycle, whose book begins at 0.49/0.51, and return what was asked of the venue."""

    async def main(stage: Stage) -> list[str]:
        await stage.open_cycle()
        await wait(stage, 1)
        await act(stage)
        return short(stage)

    strategy = Arbitrage(**(CALM | settings))
    return play(main, strategy, exchange=exchange, start=start, guards=guards)


async def fill(stage: Stage, number: int, *statuses: TradeStatus) -> None:
    """Fill the order that was placed as `number`, and let its trade come so far."""
    prepared, exchange = stage.exchange.placed[number], stage.exchange
    request = prepared.request
    exchange.change(prepared.venue_id, size_matched=request.size)
    for status in statuses or (TradeStatus.MATCHED, TradeStatus.CONFIRMED):
        report = trade_report(
            prepared.market,
            f"trade{number}",
            prepared.venue_id,
            request.outcome,
            size=request.size,
            price=request.price,
            side=request.side,
            status=status,
            is_taker=False,
        )
        exchange.trades = [t for t in exchange.trades if t.trade_id != report.trade_id]
        exchange.trades.append(report)
        stage.env.router.on_user_message(report)
    await settle()


def test_bids_for_both_outcomes_post_only() -> None:
    """Both best bids are joined: 0.49 and 0.49 leave two cents a pair."""

    async def act(_: Stage) -> None:
        return

    assert perform(act) == ["BUY 20 Up 0.49 post", "BUY 20 Down 0.49 post"]


def test_what_was_filled_is_bid_for_again_until_the_base() -> None:
    """Twenty of each are bought; the next twenty of each follow."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await fill(stage, 1)
        await wait(stage, 1)

    assert perform(act)[2:] == ["BUY 20 Up 0.49 post", "BUY 20 Down 0.49 post"]


def test_matches_that_are_not_confirmed_use_up_the_loss() -> None:
    """Forty Up that may be there or not, and forty Down likewise: 9.80 USD at risk each way, no more."""

    async def act(stage: Stage) -> None:
        for number in (0, 1):
            await fill(stage, number, TradeStatus.MATCHED)
        await wait(stage, 1)

    assert perform(act, plan=ArbitragePlan(max_loss=Decimal(10)))[2:] == []


def test_what_a_guard_has_sold_is_not_held() -> None:
    """After twenty Up were sold for it nothing is missing: both outcomes are bid for as at first."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await wait(stage, 4)
        sold = len(short(stage)) - 1
        assert short(stage)[sold] == "SELL 20 Up 0.47"
        before = len(short(stage))
        await fill(stage, sold)
        await wait(stage, 3)
        assert set(short(stage)[before:]) == {"BUY 20 Up 0.49 post", "BUY 20 Down 0.49 post"}

    perform(act, guards=EntryGuards(max_unhedged_seconds=3, flatten_unhedged=True))


def test_a_quote_stays_while_it_is_near_what_is_wanted() -> None:
    """A move of one tick is not worth the place in the queue; of three, it is."""

    async def act(stage: Stage) -> None:
        await quote(stage, 50, 52)
        await wait(stage, 1)
        assert len(short(stage)) == 2
        await quote(stage, 53, 55)
        await wait(stage, 1)

    assert perform(act)[2:] == ["BUY 20 Up 0.53 post", "BUY 20 Down 0.45 post"]


def test_an_unknown_or_old_book_takes_the_bids_back() -> None:
    """Nothing is bid for on a book that nobody knows any more."""

    async def act(stage: Stage) -> None:
        await wait(stage, 20)
        assert all(
            order.status is OrderStatus.CANCELLED
            for order in stage.trading.handle("Arbitrage").orders()
        )

    assert len(perform(act, max_age=10.0)) == 2


def test_in_the_last_third_only_what_is_missing_is_bid_for() -> None:
    """Twenty Up without a partner: twenty Down one tick below the ask, and no Up."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await wait(stage, 605)
        await quote(stage, 38, 41)
        await wait(stage, 1)
        (order,) = stage.trading.handle("Arbitrage").open_orders()
        assert (order.outcome, order.price, order.size) == (DOWN, Decimal("0.61"), Decimal(20))

    assert perform(act)[-1] == "BUY 20 Down 0.61 post"


def test_no_bids_near_the_end_and_none_left_after_it() -> None:
    """Before the cut-off they are taken back; what would rest on, too."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await wait(stage, 890)
        assert not stage.trading.handle("Arbitrage").open_orders()

    assert len(perform(act, exchange)) == 2
    assert len(exchange.cancelled) == 2


def test_settled_pairs_are_merged_into_cash() -> None:
    """Twenty pairs at 0.98 become 20 USD within the cycle, 0.40 of them profit."""
    exchange = ConvertingExchange()

    async def act(stage: Stage) -> None:
        trading = stage.trading.handle("Arbitrage")
        await fill(stage, 0)
        await fill(stage, 1)
        await wait(stage, 1)
        (merge,) = trading.conversions()
        assert merge.shares == 20
        exchange.finish("0xtx1", ReceiptState.CONFIRMED)
        await wait(stage, 5)
        assert trading.conversions()[0].status is ConversionStatus.CONFIRMED
        assert trading.outlook().realised == Decimal("0.40")

    perform(act, exchange)
    assert [what for what, _, _ in exchange.sent] == ["merge"]


def test_merging_can_be_left_out() -> None:
    """With no size to merge from, pairs are held to the end."""
    exchange = ConvertingExchange()

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await fill(stage, 1)
        await wait(stage, 5)

    perform(act, exchange, merge_from=None)
    assert exchange.sent == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("plan", 7), ("merge_from", Decimal(-1)), ("cutoff", -1.0), ("every", 0), ("requote", None)],
)
def test_settings_that_cannot_be_are_refused(name: str, value: Any) -> None:
    """Each is named."""
    with pytest.raises((ConfigError, TypeError), match=name):
        Arbitrage(**{name: value})


# ------------------------------------------------------------------ in any world


def test_survives_everything_and_never_loses_more() -> None:
    """Cycles with every fault at once, beside a strategy that does its worst on the same account."""
    hostile(Arbitrage(), cycles=5, seed=3)


@given(world=worlds())
@settings(max_examples=4, deadline=None)
def test_never_worse_than_the_loss_in_any_world(world: World) -> None:
    """Whatever the market does and the venue breaks."""
    live(Arbitrage(), world)


def test_every_kind_of_market_stays_within_the_loss() -> None:
    """Back-tests on made-up markets of each kind, pairs merged on the way; makers pay no fee."""
    reports = regime_reports(Arbitrage(), cycles=1)
    assert set(reports) == {regime.value for regime in Regime}
    for kind, report in reports.items():
        for cycle in report.cycles:
            assert (cycle.figures.profit or 0) >= -25, kind
        assert report.total.fees == 0
