"""After death: late events, resolution, payout, the ledger's record."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

import msgspec
import pytest

from polyframe.counters import Count
from polyframe.errors import ExchangeUnavailable, StaleCycleError
from polyframe.model.events import OrderEventKind
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.order import OrderStatus, Side
from polyframe.model.trade import TradeStatus
from polyframe.trading import settlement
from polyframe.trading.commands import ApplyResolution
from polyframe.trading.deadcycles import KEPT
from polyframe.trading.ledger import CycleRecord, CycleStatus, Ledger
from polyframe.trading.reconcile import ReconcileSettings
from polyframe.trading.state import CycleState
from tests.support.fake import START, FakeExchange, make_market, order_report, trade_report
from tests.support.stage import Stage, play, settle

FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
TEN = Decimal(10)
UP = Outcome.UP
FEE = Decimal("0.175")
"""10 shares taken at 0.50: 10 × 0.07 × 0.25."""


async def bought(stage: Stage) -> None:
    """Open a cycle, buy ten Up at 0.50 as a taker, and switch to the next cycle."""
    await stage.open_cycle()
    await stage.trading.handle("me").buy(UP, price=Decimal("0.50"), size=TEN)
    stage.env.router.on_user_message(trade_report(FIRST, "t1", "0xorder1"))
    await stage.env.clock.sleep_until(START + 900)
    await stage.open_cycle(START + 900)


def record(stage: Stage, slug: str = FIRST.slug) -> CycleRecord:
    """Return the ledger's record of a cycle."""
    found = stage.env.ledger.get(slug)
    assert found is not None
    return found


def test_a_win_is_paid_out() -> None:
    """After the resolution the record has winner, payout and profit, and the cash is there."""

    async def act(stage: Stage) -> None:
        await bought(stage)
        assert CycleStatus.RESOLVING is record(stage).status
        await stage.env.clock.sleep(300)
        final = record(stage)
        assert (final.status, final.winner, final.payout) == (CycleStatus.RESOLVED, UP, TEN)
        assert final.profit == TEN - 5 - FEE
        assert (1, 1, Decimal(5), FEE) == (final.orders, final.fills, final.volume, final.fees)
        assert Decimal(1000) + TEN - 5 - FEE == stage.env.account.cash
        assert final.profit == stage.env.ledger.profit
        assert stage.env.account.claimable == 0

    play(act)


def test_a_loss_pays_nothing() -> None:
    """The losing side's record shows the loss of cost and fee."""
    exchange = FakeExchange()
    exchange.winner = Outcome.DOWN

    async def act(stage: Stage) -> None:
        await bought(stage)
        await stage.env.clock.sleep(300)
        assert record(stage).profit == -5 - FEE
        assert Decimal(1000) - 5 - FEE == stage.env.account.cash

    play(act, exchange=exchange)


def test_without_automatic_redemption_the_payout_is_a_claim() -> None:
    """Where shares must be redeemed by hand, the payout is claimable and not cash."""
    exchange = FakeExchange()
    exchange.redeems = False

    async def act(stage: Stage) -> None:
        await bought(stage)
        await stage.env.clock.sleep(300)
        assert stage.env.account.claimable == TEN
        assert Decimal(1000) - 5 - FEE == stage.env.account.cash
        assert record(stage).profit == TEN - 5 - FEE

    play(act, exchange=exchange)


def test_late_fills_are_booked_on_the_dead_cycle() -> None:
    """A fill that arrives after the switch counts for its own cycle and for no other."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.handle("me").buy(UP, price=Decimal("0.50"), size=TEN)
        await stage.open_cycle(START + 900)
        stage.env.router.on_user_message(trade_report(FIRST, "t1", "0xorder1"))
        old = stage.env.settlement.state(FIRST.slug)
        assert old is not None
        assert old.position(UP).size == TEN
        assert stage.trading.handle("me").position(UP).size == 0
        assert stage.env.counters.get(Count.ROUTER_SETTLEMENT, "trade") == 1
        await settle()
        assert stage.diary.of(SECOND.generation, "trade", "order") == []

    play(act)


def test_a_failed_trade_after_the_switch_is_reversed() -> None:
    """FAILED takes the fill back exactly, also when the cycle is over."""

    async def act(stage: Stage) -> None:
        await bought(stage)
        stage.env.router.on_user_message(
            trade_report(FIRST, "t1", "0xorder1", status=TradeStatus.FAILED)
        )
        assert Decimal(1000) == stage.env.account.cash
        await stage.env.clock.sleep(300)
        assert record(stage).profit == 0

    play(act)


def test_trades_that_were_missed_are_fetched_before_the_books_close() -> None:
    """At the resolution the venue's own records fill what the stream lost; repeats change nothing."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.handle("me").buy(UP, price=Decimal("0.50"), size=TEN)
        await stage.env.clock.sleep_until(START + 900)
        await stage.open_cycle(START + 900)
        missed = trade_report(FIRST, "t1", "0xorder1", status=TradeStatus.CONFIRMED)
        exchange.trades = [missed, missed]
        known: list[CycleRecord] = []
        stage.env.ledger.subscribe(known.append)
        await stage.env.clock.sleep(300)
        # The very first word on its profit is the right one.
        assert [TEN - 5 - FEE] == [r.profit for r in known if r.profit is not None]

    play(act, exchange=exchange)


def test_the_books_stay_open_until_the_trades_were_read() -> None:
    """A venue that names the winner but not the trades is asked again before the profit is final."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.handle("me").buy(UP, price=Decimal("0.50"), size=TEN)
        await stage.env.clock.sleep_until(START + 900)
        await stage.open_cycle(START + 900)
        exchange.trades = [trade_report(FIRST, "t1", "0xorder1", status=TradeStatus.CONFIRMED)]
        exchange.trades_error = ExchangeUnavailable("page 2 is missing")
        await stage.env.clock.sleep(70)
        assert CycleStatus.RESOLVING is record(stage).status
        exchange.trades_error = None
        await stage.env.clock.sleep(300)
        assert TEN - 5 - FEE == record(stage).profit

    play(act, exchange=exchange)


def test_resting_orders_end_with_the_resolution() -> None:
    """What rested at the end holds its cash until the venue says so or the market is resolved."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        for price in ("0.40", "0.30"):
            await stage.trading.handle("me").buy(UP, price=Decimal(price), size=TEN)
        await stage.env.clock.sleep_until(START + 900)
        await stage.open_cycle(START + 900)
        held = stage.env.account.reserved
        stage.env.router.on_user_message(
            order_report(
                FIRST,
                "0xorder1",
                kind=OrderEventKind.CANCELLATION,
                status="CANCELED_MARKET_RESOLVED",
            )
        )
        assert 0 < stage.env.account.reserved < held
        await stage.env.clock.sleep(300)
        assert stage.env.account.reserved == 0
        old = stage.env.settlement.state(FIRST.slug)
        assert old is not None
        assert {OrderStatus.EXPIRED} == {o.status for o in old.orders.values()}

    play(act)


def test_resolution_is_asked_for_until_it_is_there(caplog: pytest.LogCaptureFixture) -> None:
    """Errors and "not yet" are retried with growing delays; pending names what is open."""

    class Slow(FakeExchange):
        asked: list[float]

        async def fetch_resolution(self, market: Market) -> Resolution | None:
            assert self._clock is not None
            self.asked.append(self._clock.time())
            if len(self.asked) == 1:
                msg = "no connection"
                raise ExchangeUnavailable(msg)
            return await super().fetch_resolution(market)

    exchange = Slow()
    exchange.asked = []
    exchange.resolve_after = 1000

    async def act(stage: Stage) -> None:
        await bought(stage)
        assert [FIRST.slug] == stage.env.settlement.pending
        await stage.env.settlement.wait_settled()
        assert stage.env.settlement.pending == []
        gaps = [b - a for a, b in zip(exchange.asked, exchange.asked[1:], strict=False)]
        assert gaps[0] == settlement.POLL_FIRST
        assert max(gaps) == settlement.POLL_CAP
        assert CycleStatus.RESOLVED is record(stage).status

    with caplog.at_level(logging.WARNING):
        play(act, exchange=exchange)
    assert "asking for its end failed: no connection" in caplog.text


def test_the_pace_of_the_questions_can_be_set() -> None:
    """The first two questions are `resolution_interval` apart; more than a minute stays as it is."""

    class Asked(FakeExchange):
        asked: list[float]

        async def fetch_resolution(self, market: Market) -> Resolution | None:
            assert self._clock is not None
            self.asked.append(self._clock.time() - market.window.end)
            return await super().fetch_resolution(market)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.env.clock.sleep_until(START + 900)
        await stage.open_cycle(START + 900)
        await stage.env.settlement.wait_settled()

    for interval, expected in ((100.0, [0.0, 100.0, 200.0]), (40.0, [0.0, 40.0, 100.0, 160.0])):
        exchange = Asked()
        exchange.asked, exchange.resolve_after = [], 150
        play(act, exchange=exchange, reconcile=ReconcileSettings(resolution_interval=interval))
        assert expected == exchange.asked


def test_a_market_that_never_resolves_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """After hours without a resolution the record says unresolved and the log says so."""
    exchange = FakeExchange()
    exchange.unresolved = {FIRST.slug}

    async def act(stage: Stage) -> None:
        await bought(stage)
        await stage.env.settlement.wait_settled()
        assert CycleStatus.UNRESOLVED is record(stage).status
        assert record(stage).profit is None
        assert stage.env.clock.time() >= START + 900 + settlement.GIVE_UP_AFTER

    with caplog.at_level(logging.ERROR):
        play(act, exchange=exchange)
    assert f"{FIRST.slug}: no resolution within 6 h" in caplog.text


def test_stopping_records_what_is_open() -> None:
    """When the program ends before the resolution, the record says unresolved."""
    ledger = None

    async def act(stage: Stage) -> Ledger:
        await bought(stage)
        return stage.env.ledger

    ledger = play(act)
    kept = ledger.get(FIRST.slug)
    assert kept is not None
    assert CycleStatus.UNRESOLVED is kept.status


def test_events_after_the_resolution_correct_the_record() -> None:
    """A trade that fails after the books were closed changes the record once more."""

    async def act(stage: Stage) -> None:
        await bought(stage)
        await stage.env.clock.sleep(300)
        stage.env.router.on_user_message(
            trade_report(FIRST, "t1", "0xorder1", status=TradeStatus.FAILED)
        )
        assert record(stage).profit == 0

    play(act)


def test_a_cycle_with_unsettled_trades_is_kept() -> None:
    """However many cycles follow, a match that may still fail is not forgotten."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.handle("me").buy(UP, price=Decimal("0.50"), size=TEN)
        matched = trade_report(FIRST, "t1", "0xorder1")
        stage.env.router.on_user_message(matched)
        stage.exchange.trades = [matched]
        stage.scheduler.switch(None)
        await stage.trader.run(cycles=KEPT + 2)
        assert stage.env.settlement.state(FIRST.slug) is not None
        stage.env.router.on_user_message(
            trade_report(FIRST, "t1", "0xorder1", status=TradeStatus.FAILED)
        )
        assert Decimal(1000) == stage.env.account.cash

    play(act)


def test_giving_up_frees_the_cash() -> None:
    """A market that never resolves does not hold the cash of its orders for ever."""
    exchange = FakeExchange()
    exchange.unresolved = {FIRST.slug}

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.handle("me").buy(UP, price=Decimal("0.40"), size=TEN)
        stage.scheduler.switch(None)
        assert stage.env.account.reserved > 0
        await stage.env.settlement.wait_settled()
        assert 0 == stage.env.account.reserved
        dead = stage.env.settlement.state(FIRST.slug)
        assert dead is not None
        (order,) = dead.orders.values()
        assert OrderStatus.EXPIRED is order.status
        assert order.reason == "market over, never resolved"

    play(act, exchange=exchange)


def test_trades_that_nobody_told_of_are_read_in_the_end() -> None:
    """Also in a cycle without any order that is known: messages and snapshots may be lost."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        stage.scheduler.switch(None)
        report = trade_report(FIRST, "t1", "0xother", status=TradeStatus.CONFIRMED)
        exchange.trades.append(report)
        await stage.env.settlement.wait_settled()
        dead = stage.env.settlement.state(FIRST.slug)
        assert dead is not None
        assert [fill.trade_id for fill in dead.fills.values()] == ["t1"]

    play(act, exchange=exchange)


def test_giving_up_ends_what_only_a_trade_has_told_of() -> None:
    """An order that is learned of after the market was given up is not open for ever."""
    exchange = FakeExchange()
    exchange.unresolved = {FIRST.slug}
    report = trade_report(FIRST, "t1", "0xother", status=TradeStatus.FAILED)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        stage.scheduler.switch(None)
        exchange.trades.append(report)
        await stage.env.settlement.wait_settled()
        dead = stage.env.settlement.state(FIRST.slug)
        assert dead is not None
        assert OrderStatus.EXPIRED is dead.orders["0xother"].status
        assert dead.is_settled
        assert stage.env.clock.time() < FIRST.window.end + 2 * settlement.GIVE_UP_AFTER

    play(act, exchange=exchange)


def test_a_cancel_of_a_late_order_is_tried_again() -> None:
    """An order accepted after the switch does not rest because one cancel got no answer."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_place = asyncio.get_running_loop().create_future()
        exchange.cancel_error = ExchangeUnavailable("500")
        placing = asyncio.create_task(
            stage.trading.handle("me").buy(UP, price=Decimal("0.40"), size=TEN)
        )
        await settle()
        stage.scheduler.switch(None)
        exchange.hold_place.set_result(None)
        with pytest.raises(StaleCycleError):
            await placing
        assert [] == exchange.cancelled
        exchange.cancel_error = None
        await stage.env.clock.sleep(10)
        assert ["0xorder1"] == exchange.cancelled
        assert 0 == stage.env.account.reserved

    play(act, exchange=exchange)


@pytest.mark.parametrize(
    ("is_listed", "seconds"),
    [(True, -60), (True, 200), (False, -4000)],
    ids=["listed", "by a clock that is behind", "too old for the list"],
)
def test_trades_from_before_the_start_are_not_paid_twice(is_listed: bool, seconds: int) -> None:
    """The cash read at the start contains them; they count for the position and the profit."""
    exchange = FakeExchange()
    before = trade_report(FIRST, "t0", "0xearlier")
    before = msgspec.structs.replace(before, match_time_ms=(START + seconds) * 1000)
    if is_listed:
        exchange.trades.append(before)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        stage.env.router.on_user_message(before)
        state = stage.trading.state(FIRST)
        assert state is not None
        assert TEN == state.position(UP).size
        assert Decimal(1000) == stage.env.account.cash
        after = trade_report(FIRST, "t1", "0xlater")
        stage.env.router.on_user_message(
            msgspec.structs.replace(after, match_time_ms=(START + 60) * 1000)
        )
        assert Decimal(1000) - 5 - FEE == stage.env.account.cash
        stage.env.router.on_user_message(msgspec.structs.replace(before, status=TradeStatus.FAILED))
        assert Decimal(1000) == stage.env.account.cash

    play(act, exchange=exchange)


def test_a_counted_trade_that_is_heard_of_when_it_has_failed() -> None:
    """Its money was missing when the cash was counted, and is back now."""
    exchange = FakeExchange()
    trade = msgspec.structs.replace(
        trade_report(FIRST, "t0", "0xearlier"), match_time_ms=(START - 60) * 1000
    )
    exchange.trades.append(trade)

    async def act(stage: Stage) -> None:
        exchange.trades.clear()
        await stage.open_cycle()
        stage.env.router.on_user_message(msgspec.structs.replace(trade, status=TradeStatus.FAILED))
        assert Decimal(1000) + 5 + FEE == stage.env.account.cash

    play(act, exchange=exchange)


def test_a_trade_that_comes_while_the_cash_is_counted() -> None:
    """It is counted anew: whether the first answer contained the trade cannot be known."""

    class Busy(FakeExchange):
        counts = 0

        async def fetch_balance(self) -> Decimal:
            self.counts += 1
            if self.counts == 1:
                cash = self.balance
                report = trade_report(FIRST, "t0", "0xother")
                self.trades.append(msgspec.structs.replace(report, match_time_ms=START * 1000))
                self.balance -= 5 + FEE
                return cash
            return self.balance

    exchange = Busy()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert exchange.balance == stage.env.account.cash
        assert TEN == stage.trading.snapshot().fills[0].size

    play(act, exchange=exchange)


def test_a_payout_that_grows_before_the_books_are_closed_is_cash_at_once() -> None:
    """Claims are the account's: left alone, a failed trade of another cycle would take them."""

    async def act(stage: Stage) -> None:
        account, late = stage.env.account, stage.env.settlement
        state = CycleState(make_market(start=START - 900), account)
        market, now_ms = state.market, START * 1000
        state.apply(ApplyResolution(state.generation, UP, now_ms))
        late.restore(state)
        late.take(trade_report(market, "t1", "0xsold"))
        assert account.claimable == 0
        late.take(
            msgspec.structs.replace(trade_report(market, "t1", "0xsold"), status=TradeStatus.FAILED)
        )
        assert Decimal(1000) == account.cash

    play(act)


def test_old_cycles_are_let_go() -> None:
    """Only the latest resolved cycles take events; those of older ones are counted as foreign."""

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=KEPT + 4))
        await run
        await stage.env.settlement.wait_settled()
        assert stage.env.settlement.state(FIRST.slug) is None
        stage.env.router.on_user_message(order_report(FIRST, "0x1"))
        assert stage.env.counters.get(Count.ROUTER_DROPPED, "foreign") == 1
        assert len(stage.env.ledger) == KEPT + 4

    play(act)


def _record(number: int, profit: Decimal | None = None) -> CycleRecord:
    return CycleRecord(
        series="btc-updown-15m",
        slug=f"btc-updown-15m-{number}",
        generation=number,
        status=CycleStatus.RESOLVED,
        orders=0,
        fills=0,
        volume=Decimal(0),
        fees=Decimal(0),
        cash_flow=Decimal(0),
        payout=Decimal(0),
        winner=None,
        profit=profit,
    )


def test_the_ledger_keeps_the_latest_records() -> None:
    """Beyond its limit the oldest record goes; listeners hear of each change once."""
    ledger = Ledger(limit=2)
    heard: list[CycleRecord] = []
    ledger.subscribe(heard.append)
    for number in (1, 2, 2, 3):
        ledger.put(_record(number, Decimal(number)))
    assert [r.generation for r in ledger] == [2, 3]
    assert [r.generation for r in heard] == [1, 2, 3]
    assert Decimal(5) == ledger.profit


def test_a_ledger_listener_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A listener's defect stops neither the ledger nor the other listeners."""
    ledger = Ledger()

    def broken(_: CycleRecord) -> None:
        msg = "full"
        raise OSError(msg)

    heard: list[CycleRecord] = []
    ledger.subscribe(broken)
    ledger.subscribe(heard.append)
    with caplog.at_level(logging.ERROR):
        ledger.put(_record(1))
    assert len(heard) == 1
    assert "a ledger listener raised" in caplog.text


def test_a_trade_with_two_sides_of_ours_that_fails_leaves_what_was_paid() -> None:
    """A buy and a sell of one trade are taken back together: as much is paid as before, and in cash."""

    async def act(stage: Stage) -> None:
        await bought(stage)
        market, trading = SECOND, stage.trading.handle("me")
        legs = []
        for number, side in enumerate((Side.BUY, Side.BUY, Side.SELL), 2):
            act = trading.buy if side is Side.BUY else trading.sell
            order = await act(UP, price=Decimal("0.50"), size=TEN)
            one = trade_report(market, f"t{number}", order.venue_id, side=side, is_taker=False)
            legs.append(one.legs[0])
            if number == 2:
                settled = msgspec.structs.replace(one, status=TradeStatus.CONFIRMED)
                stage.env.router.on_user_message(settled)
        ours = trade_report(market, "t9", legs[1].order_id)
        both = msgspec.structs.replace(ours, legs=(legs[1], legs[2]))
        stage.env.router.on_user_message(both)
        await stage.env.clock.sleep_until(START + 1800)
        await stage.open_cycle(START + 1800)
        await stage.env.clock.sleep(300)
        account, cash = stage.env.account, stage.env.account.cash
        stage.env.router.on_user_message(msgspec.structs.replace(both, status=TradeStatus.FAILED))
        assert (account.cash, account.claimable) == (cash, Decimal(0))
        assert record(stage, SECOND.slug).payout == TEN

    play(act)
