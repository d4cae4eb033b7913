"""Cancelling what the venue lists as open, whoever placed it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from polyframe.clock import ScaledClock
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.errors import (
    ConfigError,
    ExchangeError,
    ExchangeUnavailable,
    RateLimited,
    StaleCycleError,
)
from polyframe.exchange.base import CancelAnswer
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderRequest, OrderStatus, Side
from polyframe.model.series import Series
from polyframe.strategy import Strategy
from polyframe.trader import Trader
from polyframe.trading.opencancel import BATCH, CancelReport, OpenOrderFilter
from polyframe.trading.reconcile import ReconcileSettings
from tests.support.fake import START, FakeExchange, make_market, order_report
from tests.support.stage import Stage, play, settle

FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
OTHER = make_market("eth-updown-15m")
UP, DOWN, TEN, PRICE = Outcome.UP, Outcome.DOWN, Decimal(10), Decimal("0.50")
ON_DEMAND = ReconcileSettings(open_interval=1e6, idle_interval=1e6)


def foreign(
    exchange: FakeExchange, *ids: str, market: Market = FIRST, outcome: Outcome = UP
) -> None:
    """Let somebody else have orders at the venue."""
    for order_id in ids:
        exchange.known[order_id] = order_report(market, order_id, outcome)


async def buy(stage: Stage) -> Order:
    """Place an order of ours."""
    return await stage.trading.handle("Recorder").buy(UP, price=PRICE, size=TEN)


# ------------------------------------------------------------------ which ones


def test_everything_goes_by_default() -> None:
    """Without a filter all that is listed is cancelled, in all markets, ours included."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        mine = await buy(stage)
        foreign(exchange, "0xa")
        foreign(exchange, "0xb", market=OTHER)
        report = await stage.trading.cancel_exchange_open_orders()
        assert report == CancelReport(total=3, eligible=3, cancelled=3, skipped={}, errors={})
        assert {mine.venue_id, "0xa", "0xb"} == set(exchange.cancelled)

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_cancelled_order_of_ours_is_cancelled_here_at_once() -> None:
    """The engine does not wait for the account's stream, and the strategy hears of it once."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        mine = await buy(stage)
        await stage.trading.cancel_exchange_open_orders()
        (order,) = stage.trading.snapshot().orders
        assert OrderStatus.CANCELLED is order.status
        assert 0 == stage.env.account.reserved
        stage.env.router.on_user_message(exchange.known[mine.venue_id])
        await settle()
        heard = [event.order.status for _, event in stage.diary.of(START, "order")]
        assert 1 == heard.count(OrderStatus.CANCELLED)

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_orders_that_are_cancelled_together_are_told_in_the_order_of_their_ids() -> None:
    """It is the same in each run of a simulation."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        ids = [(await buy(stage)).venue_id for _ in range(9)]
        await stage.trading.cancel_exchange_open_orders()
        await settle()
        heard = [event.order for _, event in stage.diary.of(START, "order")]
        assert sorted(ids) == [o.venue_id for o in heard if o.status is OrderStatus.CANCELLED]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


@pytest.mark.parametrize("name", ["market", "slug", "condition_id"])
def test_a_market_can_be_named_in_three_ways(name: str) -> None:
    """As value, by slug, or by condition id (which is what the venue's orders carry)."""
    exchange = FakeExchange()
    market: Any = {"market": FIRST, "slug": FIRST.slug, "condition_id": FIRST.condition_id}[name]

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, "0xa")
        foreign(exchange, "0xb", market=OTHER)
        report = await stage.trading.cancel_exchange_open_orders(market)
        assert (2, 1, {"market": 1}) == (report.total, report.eligible, report.skipped)
        assert ["0xa"] == exchange.cancelled
        assert [FIRST.slug] == [slug for slug, _ in exchange.lookups]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_slug_that_is_not_known_is_looked_up() -> None:
    """Any market of any series, also one that is not traded here."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, "0xa")
        foreign(exchange, "0xb", market=OTHER)
        await stage.trading.cancel_exchange_open_orders(OTHER.slug)
        assert ["0xb"] == exchange.cancelled

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_dead_market_is_known_by_its_slug() -> None:
    """The cycle before this one need not be looked up: the venue does not trade it any more."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.open_cycle(START + 900)
        exchange.missing = {FIRST.slug}
        foreign(exchange, "0xa")
        await stage.trading.cancel_exchange_open_orders(FIRST.slug)
        assert ["0xa"] == exchange.cancelled

    play(act, exchange=exchange, reconcile=ON_DEMAND)


@pytest.mark.parametrize("market", ["nonsense", OTHER.slug])
def test_a_market_that_cannot_be_named_is_an_error(market: str) -> None:
    """No slug at all, or one that the venue does not trade: the error says what to give instead."""
    exchange = FakeExchange()
    exchange.missing = {OTHER.slug}

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, "0xa")
        with pytest.raises(ConfigError, match=r"^market: .*condition id \(0x…\)"):
            await stage.trading.cancel_exchange_open_orders(market)
        assert [] == exchange.cancelled

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_assets_narrow_it_down() -> None:
    """Only orders of the given tokens."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, "0xa")
        foreign(exchange, "0xb", outcome=DOWN)
        report = await stage.trading.cancel_exchange_open_orders(assets=[FIRST.down_token])
        assert ({"asset": 1}, ["0xb"]) == (report.skipped, exchange.cancelled)
        with pytest.raises(ConfigError, match=r"^assets: expected a collection"):
            await stage.trading.cancel_exchange_open_orders(assets=FIRST.down_token)

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_no_more_than_asked_for() -> None:
    """``max_to_cancel`` takes the first of the list; the rest is counted."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, "0xa", "0xb", "0xc")
        report = await stage.trading.cancel_exchange_open_orders(max_to_cancel=2)
        assert (3, 2, {"limit": 1}) == (report.eligible, report.cancelled, report.skipped)
        assert ["0xa", "0xb"] == exchange.cancelled
        none = await stage.trading.cancel_exchange_open_orders(max_to_cancel=0)
        assert (1, 0, {"limit": 1}) == (none.eligible, none.cancelled, none.skipped)
        assert 1 == len(exchange.batches)
        with pytest.raises(ConfigError, match=r"^max_to_cancel: expected at least 0"):
            await stage.trading.cancel_exchange_open_orders(max_to_cancel=-1)

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_dry_run_cancels_nothing() -> None:
    """It reports what would be cancelled."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, "0xa", "0xb", "0xc")
        report = await stage.trading.cancel_exchange_open_orders(dry_run=True, max_to_cancel=2)
        assert report == CancelReport(
            total=3, eligible=3, cancelled=0, skipped={"limit": 1, "dry_run": 2}, errors={}
        )
        assert [] == exchange.batches

    play(act, exchange=exchange, reconcile=ON_DEMAND)


# ------------------------------------------------------------------ what is ours


def test_what_we_placed_is_tracked() -> None:
    """``only_untracked`` spares orders of this cycle, of dead ones, and those that are being sent."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await buy(stage)
        await stage.open_cycle(START + 900)
        await buy(stage)
        foreign(exchange, "0xa")
        foreign(exchange, "0xb", market=SECOND)
        await stage.trading.reconcile()  # a foreign order that is known is foreign all the same
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(buy(stage))
        await settle()
        exchange.accept(exchange.placed[-1])  # listed before it is answered
        report = await stage.trading.cancel_exchange_open_orders(only_untracked=True)
        assert (5, 2, {"tracked": 3}) == (report.total, report.eligible, report.skipped)
        assert ["0xa", "0xb"] == exchange.cancelled
        exchange.hold_place.set_result(None)
        await placing

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_what_is_placed_while_the_venue_lists_is_tracked() -> None:
    """An order that came to be after the question and before the answer is spared as well."""

    class Slow(FakeExchange):
        stage: Stage | None = None

        async def fetch_open_orders(self, market: Market | None = None) -> Any:
            if self.stage is not None and market is None:
                await buy(self.stage)
            return await super().fetch_open_orders(market)

    exchange = Slow()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.stage = stage
        report = await stage.trading.cancel_exchange_open_orders(only_untracked=True)
        assert (1, 0, {"tracked": 1}) == (report.total, report.eligible, report.skipped)

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_other_series_of_the_environment_are_tracked() -> None:
    """What another series of the same environment has placed is ours."""
    exchange = FakeExchange()

    @define
    class Buys(Strategy):
        async def on_cycle_start(self) -> None:
            await self.trading.buy(UP, price=PRICE, size=TEN)

    async def act(stage: Stage) -> None:
        trader = Trader(stage.env)
        trader.add(Buys(), on="eth-updown-15m")
        running = asyncio.create_task(trader.run())
        await stage.open_cycle()
        await settle(50)
        assert [OTHER.slug] == [prepared.market.slug for prepared in exchange.placed]
        report = await stage.trading.cancel_exchange_open_orders(only_untracked=True)
        assert {"tracked": 1} == report.skipped
        running.cancel()
        await asyncio.wait({running})

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_ids_are_compared_without_case() -> None:
    """A venue that writes ids in capitals does not make our orders foreign."""
    tracked = OpenOrderFilter(tracked=frozenset({"0xab"}))
    assert ([], {"tracked": 1}) == tracked.split([order_report(FIRST, "0xAB")])


@examples(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([FIRST, SECOND, OTHER]), st.sampled_from(Outcome), st.booleans()),
        max_size=12,
    ),
    market=st.sampled_from([None, FIRST, SECOND]),
    assets=st.sets(st.sampled_from([FIRST.up_token, SECOND.down_token, OTHER.up_token])),
    untracked=st.booleans(),
)
def test_exactly_the_chosen_ones(
    rows: list[tuple[Market, Outcome, bool]],
    market: Market | None,
    assets: set[str],
    untracked: bool,
) -> None:
    """Whatever the filters: each order is chosen or skipped for one reason, by what it is."""
    reports = [order_report(m, f"0x{n}", o) for n, (m, o, _) in enumerate(rows)]
    ours = frozenset(f"0x{n}" for n, row in enumerate(rows) if row[2])
    chosen, skipped = OpenOrderFilter(
        condition_id="" if market is None else market.condition_id,
        assets=frozenset(assets),
        tracked=ours if untracked else frozenset(),
    ).split(reports)
    wanted = [
        f"0x{n}"
        for n, (of, outcome, is_ours) in enumerate(rows)
        if market in (None, of)
        and (not assets or of.token(outcome) in assets)
        and not (untracked and is_ours)
    ]
    assert wanted == [report.order_id for report in chosen]
    assert len(rows) == len(chosen) + sum(skipped.values())


# ------------------------------------------------------------------ how


class Troubled(FakeExchange):
    """Fails for some batches of cancels."""

    def __init__(self, *troubles: ExchangeError | None) -> None:
        super().__init__()
        self.troubles = list(troubles)
        self.tries = 0

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        self.tries += 1
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble is not None:
            raise trouble
        return await super().cancel_orders(venue_ids)


def test_many_are_cancelled_in_batches() -> None:
    """No call carries more ids than the limiter of the lowest tier admits at once."""
    exchange = FakeExchange()
    ids = [f"0x{number:03}" for number in range(2 * BATCH + 1)]

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, *ids)
        report = await stage.trading.cancel_exchange_open_orders()
        assert len(ids) == report.cancelled
        assert [BATCH, BATCH, 1] == [len(batch) for batch in exchange.batches]
        assert len(ids) == stage.env.counters.get(Count.CANCELS_SENT, "cancelled")

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_batch_that_fails_does_not_stop_the_next() -> None:
    """Its ids are reported with the error; the others go."""
    exchange = Troubled(ExchangeUnavailable("away"))
    ids = [f"0x{number:03}" for number in range(BATCH + 5)]

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, *ids)
        report = await stage.trading.cancel_exchange_open_orders()
        assert (5, BATCH) == (report.cancelled, len(report.errors))
        assert {"away"} == set(report.errors.values())
        assert BATCH == stage.env.counters.get(Count.CANCELS_SENT, "error")

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_refusal_for_the_rate_is_repeated_after_the_pause() -> None:
    """The venue's own pause is kept, a second without one; it is given up after five tries."""
    exchange = Troubled(RateLimited("slow", 3.0), RateLimited("slow"), None)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, "0xa", "0xb")
        before = stage.env.clock.time()
        report = await stage.trading.cancel_exchange_open_orders(max_to_cancel=1)
        assert (1, {}) == (report.cancelled, report.errors)
        assert 4 == stage.env.clock.time() - before
        exchange.troubles = [RateLimited("slow", 1000.0)] * 5
        exchange.tries = 0
        report = await stage.trading.cancel_exchange_open_orders()
        assert (0, {"0xb": "slow"}) == (report.cancelled, report.errors)
        assert 5 == exchange.tries
        assert 4 + 4 * 10 == stage.env.clock.time() - before

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_what_the_venue_refuses_is_told_in_its_words() -> None:
    """An order that ended meanwhile is an error of its own; nothing else suffers."""
    exchange = FakeExchange()
    exchange.cancel_refused = {"0xa": "already canceled or matched"}

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, "0xa", "0xb")
        report = await stage.trading.cancel_exchange_open_orders()
        assert (1, {"0xa": "already canceled or matched"}) == (report.cancelled, report.errors)
        assert 1 == stage.env.counters.get(Count.CANCELS_SENT, "refused")

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_without_a_list_nothing_is_cancelled() -> None:
    """A list that cannot be had is an error of the call."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        foreign(exchange, "0xa")
        exchange.look_error = ExchangeUnavailable("away")
        with pytest.raises(ExchangeUnavailable, match="away"):
            await stage.trading.cancel_exchange_open_orders()
        assert [] == exchange.batches

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_it_works_while_trading_is_paused() -> None:
    """Between two markets, too, and by the handle of a cycle that ends; not by that of a dead one."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        handle = stage.trading.handle("Recorder")
        stage.scheduler.switch(None)
        foreign(exchange, "0xa")
        assert 1 == (await stage.trading.cancel_exchange_open_orders()).cancelled
        foreign(exchange, "0xa")
        handle.begin_closing()
        assert 1 == (await handle.cancel_exchange_open_orders()).cancelled
        handle.kill()
        with pytest.raises(StaleCycleError, match="cancel_exchange_open_orders"):
            await handle.cancel_exchange_open_orders()

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_switch_meanwhile_leaves_the_new_cycle_alone() -> None:
    """Cancels that come back after the switch say nothing to the new cycle."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        mine = await buy(stage)
        exchange.hold_cancel = asyncio.get_running_loop().create_future()
        cancelling = asyncio.create_task(stage.trading.cancel_exchange_open_orders())
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_cancel.set_result(None)
        assert 1 == (await cancelling).cancelled
        assert () == stage.trading.snapshot().orders
        dead = stage.env.settlement.state(FIRST.slug)
        assert dead is not None
        assert OrderStatus.CANCELLED is dead.orders[mine.client_id].status

    play(act, exchange=exchange, reconcile=ON_DEMAND)


# ------------------------------------------------------------------ the local venue

SERIES = Series.parse("btc-updown-15m")


@define
class CleansUp(Strategy):
    """Cancels in one line what others have left, after it has placed an order of its own."""

    async def on_cycle_start(self) -> None:
        mine = await self.trading.buy(UP, price=Decimal("0.02"), size=TEN)
        report = await self.trading.cancel_exchange_open_orders(only_untracked=True)
        self.env.get(asyncio.Queue).put_nowait((mine, report))


def test_exactly_the_foreign_orders_of_the_venue_are_cancelled() -> None:
    """Three hundred of somebody else in five markets go, market by market and then all; ours stays."""
    pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
    pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")
    from polyframe.venue import LocalVenue, SyntheticSource

    async def main() -> None:
        clock = ScaledClock(1, start=START + 60)
        source = SyntheticSource(SERIES, seed=7)
        async with LocalVenue(source, clock=clock) as venue, asyncio.timeout(60):
            other = PolymarketExchange.local(venue.url, venue.account)
            await other.open(clock, Counters())
            windows = SERIES.windows(START, 5)
            markets = []
            for window in windows:
                market = await other.fetch_market(SERIES, window)
                assert market is not None
                markets.append(market)

            async def place(number: int) -> str:
                outcome = UP if number % 2 else DOWN
                price = Decimal(1 + number // 5 % 5).scaleb(-2)
                request = OrderRequest(outcome, Side.BUY, price, Decimal(5))
                prepared = other.prepare_order(markets[number % 5], request)
                answer = await other.place_order(prepared)
                assert "live" == answer.result.value, answer
                return prepared.venue_id

            theirs: list[str] = []
            for first in range(0, 300, 50):
                batch = (place(number) for number in range(first, first + 50))
                theirs += await asyncio.gather(*batch)

            async def left() -> set[str]:
                return {report.order_id for report in await other.fetch_open_orders()}

            assert set(theirs) == await left()
            exchange = PolymarketExchange.local(venue.url, venue.account)
            async with Environment(exchange=exchange, clock=clock) as env:
                env.provide(asyncio.Queue[tuple[Order, CancelReport]](), as_type=asyncio.Queue)
                trader = Trader(env)
                trader.add(CleansUp(), on=SERIES)
                trading = trader.trading(SERIES)

                by_slug = await trading.cancel_exchange_open_orders(markets[3].slug)
                gone = set(theirs[3::5])
                assert set(theirs) - gone == await left()
                assert (300, 60, 60, {"market": 240}) == _numbers(by_slug)

                down = [markets[2].down_token]
                by_asset = await trading.cancel_exchange_open_orders(
                    markets[2].condition_id, down, max_to_cancel=10
                )
                gone |= set(theirs[2::10][:10])
                assert set(theirs) - gone == await left()
                assert (240, 30, 10) == _numbers(by_asset)[:3]
                assert {"market": 180, "asset": 30, "limit": 20} == by_asset.skipped

                running = asyncio.create_task(trader.run())
                mine, report = await env.get(asyncio.Queue).get()
                assert {mine.venue_id} == await left()
                assert (231, 230, 230, {"tracked": 1}) == _numbers(report)
                assert {} == dict(report.errors)
                (order,) = [o for o in trading.snapshot().orders if not o.is_external]
                assert OrderStatus.LIVE is order.status
                running.cancel()
                await asyncio.wait({running})
            await other.close()

    asyncio.run(main())


def _numbers(report: CancelReport) -> tuple[int, int, int, dict[str, int]]:
    return report.total, report.eligible, report.cancelled, dict(report.skipped)
