"""A program that ends within a cycle, however violently, and is started again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import pytest
from attrs import define, field

from polyframe import PERSIST
from polyframe.counters import Count
from polyframe.definition import check_definition
from polyframe.errors import (
    ExchangeError,
    ExchangeUnavailable,
    OrderOutcomeUnknown,
    StrategyDefinitionError,
)
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import OrderReport
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderRequest, OrderStatus, PlaceResult, Side
from polyframe.model.trade import TradeStatus
from polyframe.strategy import Strategy
from polyframe.trading.ledger import CycleStatus, Ledger
from polyframe.trading.reconcile import ReconcileSettings
from polyframe.trading.snapshotstore import MemoryStore
from tests.support.fake import START, FakeExchange, make_market, resealed, trade_report
from tests.support.stage import Recorder, Stage, play, settle

UP = Outcome.UP
FIRST = make_market(start=START)
BUY = OrderRequest(UP, Side.BUY, "0.40", 10)
QUIET = ReconcileSettings(open_interval=1e6, idle_interval=1e6)
SNAPSHOT, SENT = (f"btc-updown-15m/{FIRST.slug}@{START}.{kind}" for kind in ("snapshot", "sent"))


T = TypeVar("T")


class Mood(StrEnum):
    """A value that is no plain text."""

    CALM = "calm"
    KEEN = "keen"


@define
class Keeper(Recorder):
    """Keeps some of its state over a restart."""

    rounds: int = field(init=False, default=0, metadata=PERSIST)
    spent: Decimal = field(init=False, default=Decimal(0), metadata=PERSIST)
    moods: list[Mood] = field(init=False, factory=list, metadata=PERSIST)
    forgets: int = field(init=False, default=0)

    async def on_cycle_start(self) -> None:
        await super().on_cycle_start()
        orders = tuple(self.trading.orders())
        sizes = tuple(self.trading.position(outcome).size for outcome in Outcome)
        fields = (self.rounds, self.spent, tuple(self.moods), self.forgets)
        self._note("began", (self.is_resumed, orders, sizes, fields))


Act = Callable[[Stage], Awaitable[None]]


class Run:
    """Runs of a program, one after the other, with one venue and one store.

    The first ends in a kill: what it does afterwards does not reach the store.
    """

    def __init__(self, strategy: Strategy | None = None) -> None:
        self.exchange = FakeExchange()
        self.store = MemoryStore()
        self.strategy = strategy or Keeper()
        self.ledger: Ledger | None = None

    def first(self, act: Act, *, at: float = START + 100.0) -> None:
        """Run `act` on a stage with an open cycle; kill it once its snapshot is written.

        Unless `act` has killed it before.
        """
        store = self.store

        async def all_of_it(stage: Stage) -> None:
            await stage.open_cycle()
            await act(stage)
            await asyncio.sleep(1)
            if self.store is store:
                self.kill()

        self._play(all_of_it, at)

    def kill(self) -> None:
        """Keep of the store what is in it now."""
        left = MemoryStore()
        left.files = dict(self.store.files)
        self.store = left

    def second(
        self, act: Act | None = None, *, at: float = START + 200.0, start: int | None = START
    ) -> Stage:
        """Run `act` on a stage of the program that is started again, in the cycle of `start`."""

        async def all_of_it(stage: Stage) -> Stage:
            if start is not None:
                await stage.open_cycle(start)
            await settle()
            if act is not None:
                await act(stage)
            return stage

        return self._play(all_of_it, at)

    def _play(self, act: Callable[[Stage], Awaitable[T]], at: float) -> T:
        return play(
            act,
            self.strategy,
            exchange=self.exchange,
            start=at,
            reconcile=QUIET,
            snapshots=self.store,
            ledger=self.ledger,
        )


def placed(stage: Stage) -> list[Order]:
    """Return the orders of the current cycle that are ours."""
    return [order for order in stage.trading.snapshot().orders if not order.is_external]


async def buy(stage: Stage) -> None:
    """Place an order that rests."""
    await stage.trading.place(START, "Keeper", BUY)


def fill(run: Run, venue_id: str = "0xorder1", size: str = "4", trade: str = "t1") -> None:
    """Let an order fill at the venue, which nobody is told of."""
    run.exchange.change(venue_id, size_matched=Decimal(size), status="LIVE")
    report = trade_report(FIRST, trade, venue_id, size=Decimal(size), price=Decimal("0.40"))
    run.exchange.trades.append(report)
    fee = FIRST.fees.taker_fee(Decimal(size), Decimal("0.40"))
    run.exchange.balance -= Decimal(size) * Decimal("0.40") + fee


def began(stage: Stage, generation: int = START) -> tuple[object, ...]:
    """Return what the strategy found when its cycle began."""
    ((_, value),) = stage.diary.of(generation, "began")
    found: tuple[object, ...] = value
    return found


# ---------------------------------------------------------------------------- what comes back


def test_a_restart_within_the_cycle_goes_on() -> None:
    """Orders, position and marked fields are those of before; what is not marked starts afresh."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        fill(run)
        stage.exchange.user.push(run.exchange.trades[0])  # type: ignore[union-attr]
        strategy = stage.trader._desks[stage.trading.series].runs[0].strategy
        assert isinstance(strategy, Keeper)
        strategy.rounds, strategy.spent, strategy.forgets = 2, Decimal("1.60"), 7
        strategy.moods.append(Mood.KEEN)

    run.first(live)

    async def again(stage: Stage) -> None:
        (order,) = placed(stage)
        assert OrderStatus.PARTIALLY_FILLED is order.status
        assert run.exchange.balance == stage.env.account.cash
        assert Decimal("2.5008") == stage.env.account.reserved  # 6 shares at 0.40 and their fee

    is_resumed, orders, sizes, fields = began(run.second(again))
    assert is_resumed is True
    assert ["Keeper"] == [order.strategy for order in orders]  # type: ignore[attr-defined]
    assert (Decimal(4), Decimal(0)) == sizes
    assert (2, Decimal("1.60"), (Mood.KEEN,), 0) == fields


def test_orders_after_a_restart_have_ids_of_their_own() -> None:
    """Ids are counted on from the earlier run's, so that no new order is taken for an old one."""
    run = Run()
    run.first(buy)

    async def again(stage: Stage) -> None:
        await buy(stage)
        assert [f"{FIRST.slug}-{n}" for n in (1, 2)] == [o.client_id for o in placed(stage)]

    run.second(again)


def test_a_fresh_start_is_not_resumed() -> None:
    """With an empty store a cycle begins as ever, and says so."""
    is_resumed, orders, _, fields = began(Run().second())
    assert is_resumed is False
    assert orders == ()
    assert (0, Decimal(0), (), 0) == fields


def test_the_next_cycle_is_a_brand_new_world() -> None:
    """Of what was restored, nothing reaches the cycle after it."""
    run = Run()
    run.first(buy)

    async def go_on(stage: Stage) -> None:
        await stage.open_cycle(START + 900)

    is_resumed, orders, sizes, fields = began(run.second(go_on), START + 900)
    assert is_resumed is False
    assert orders == ()
    assert (Decimal(0), Decimal(0)) == sizes
    assert (0, Decimal(0), (), 0) == fields


def test_an_orderly_stop_within_the_cycle_is_no_end_of_it() -> None:
    """Stopped by its user and started again, the program goes on like after a kill."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        strategy = stage.trader._desks[stage.trading.series].runs[0].strategy
        assert isinstance(strategy, Keeper)
        strategy.rounds = 5

    run.second(live)  # which ends in order
    is_resumed, orders, _, fields = began(run.second())
    assert is_resumed is True
    assert 1 == len(orders)  # type: ignore[arg-type]
    assert (5, Decimal(0), (), 0) == fields


def test_what_happened_in_between_is_found_before_strategies_start() -> None:
    """A fill that nobody was told of is in the first thing a strategy sees, and paid once."""
    run = Run()
    run.first(buy)
    fill(run)

    async def check(stage: Stage) -> None:
        assert run.exchange.balance == stage.env.account.cash
        (order,) = placed(stage)
        assert Decimal(4) == order.filled

    _, orders, sizes, _ = began(run.second(check))
    assert (Decimal(4), Decimal(0)) == sizes
    assert [Decimal(4)] == [order.filled for order in orders]  # type: ignore[attr-defined]


def test_a_trade_that_failed_in_between_is_taken_back_once() -> None:
    """The venue's cash has the money back already; the books must not add it again."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        fill(run)
        stage.exchange.user.push(run.exchange.trades[0])  # type: ignore[union-attr]

    before = run.exchange.balance
    run.first(live)
    run.exchange.trades = [
        trade_report(
            FIRST,
            "t1",
            "0xorder1",
            size=Decimal(4),
            price=Decimal("0.40"),
            status=TradeStatus.FAILED,
        )
    ]
    run.exchange.balance = before

    async def check(stage: Stage) -> None:
        assert before == stage.env.account.cash
        assert Decimal(0) == stage.trading.snapshot().fees

    assert (Decimal(0), Decimal(0)) == began(run.second(check))[2]


def test_an_order_that_had_just_left_is_still_ours() -> None:
    """The program is killed before anything of the order is in a snapshot: its list has it."""
    run = Run()

    async def live(stage: Stage) -> None:
        stage.exchange.hold_place = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(buy(stage))
        await settle()
        assert [SENT] == run.store.keys()
        run.kill()
        stage.exchange.accept(stage.exchange.placed[0])
        stage.exchange.hold_place.set_result(None)
        await task

    run.first(live)
    run.exchange.hold_place = None

    async def check(stage: Stage) -> None:
        (order,) = placed(stage)
        assert (OrderStatus.LIVE, "Keeper") == (order.status, order.strategy)
        assert f"{FIRST.slug}-1" == order.client_id
        # And the next one gets an id of its own.
        await buy(stage)
        assert f"{FIRST.slug}-2" == placed(stage)[1].client_id

    run.second(check)
    assert 2 == len(run.exchange.placed)


def test_an_order_that_never_arrived_is_given_up_and_not_sent_again() -> None:
    """Of an order whose request died with the program the venue knows nothing: its cash is free."""
    run = Run()

    async def live(stage: Stage) -> None:
        stage.exchange.answers = [PlaceAnswer(PlaceResult.UNKNOWN)]
        with pytest.raises(OrderOutcomeUnknown):
            await buy(stage)

    run.first(live)

    async def check(stage: Stage) -> None:
        assert OrderStatus.UNKNOWN is placed(stage)[0].status
        await asyncio.sleep(10)
        await stage.trading.reconcile()
        assert OrderStatus.REJECTED is placed(stage)[0].status
        assert Decimal(0) == stage.env.account.reserved

    run.second(check)
    assert 1 == len(run.exchange.placed)


def test_a_cancel_that_was_under_way_can_be_asked_for_again() -> None:
    """Nobody knows the answer to a cancel of then; the order is as open as the venue says."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        stage.exchange.hold_cancel = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(stage.trading.cancel(FIRST, placed(stage)[0].client_id))
        await settle()
        assert OrderStatus.CANCELLING is placed(stage)[0].status
        await asyncio.sleep(1)
        run.kill()
        stage.exchange.cancel_refused = {"0xorder1": "not now"}
        stage.exchange.hold_cancel.set_result(None)
        await task

    run.first(live)
    run.exchange.hold_cancel = None
    run.exchange.cancel_refused = {}

    async def check(stage: Stage) -> None:
        (order,) = placed(stage)
        assert OrderStatus.LIVE is order.status
        order = await stage.trading.cancel(FIRST, order.client_id)
        assert OrderStatus.CANCELLED is order.status

    run.second(check)


def test_strategies_wait_for_the_venue() -> None:
    """As long as the venue does not show its orders, no strategy starts; then it does."""
    run = Run()
    run.first(buy)

    async def check(stage: Stage) -> None:
        stage.exchange.look_error = ExchangeUnavailable("away")
        await stage.open_cycle()
        await asyncio.sleep(20)
        assert stage.diary.of(START) == []
        stage.exchange.look_error = None
        await asyncio.sleep(6)
        assert began(stage)[0] is True

    run.second(check, start=None)


def test_a_switch_ends_the_wait_for_the_venue() -> None:
    """If the cycle ends before the venue answered, its strategies never start, the next ones do."""
    run = Run()
    run.first(buy)

    async def check(stage: Stage) -> None:
        stage.exchange.look_error = ExchangeUnavailable("away")
        await stage.open_cycle()
        await stage.open_cycle(START + 900)
        stage.exchange.look_error = None
        await asyncio.sleep(20)
        assert stage.diary.of(START) == []
        assert began(stage, START + 900)[0] is False

    run.second(check, start=None)


def test_opening_fails_if_the_venue_does_not_answer() -> None:
    """What was restored is not trusted unasked: the environment does not open."""
    run = Run()
    run.first(buy)
    run.exchange.look_error = ExchangeUnavailable("away")
    with pytest.raises(ExchangeError, match="away"):
        run.second()
    run.exchange.look_error = None
    assert began(run.second())[0] is True


def test_a_start_asks_again_when_an_answer_is_missing() -> None:
    """A start needs many answers: one that is missing does not prevent it."""
    run = Run()
    run.first(buy)
    exchange = run.exchange
    looks, balance = exchange.fetch_open_orders, exchange.fetch_balance
    missing = {"looks": 2, "balance": 2}

    def fail(what: str) -> None:
        missing[what] -= 1
        if missing[what] >= 0:
            raise ExchangeUnavailable(what)

    async def look(market: Market | None = None) -> list[OrderReport]:
        fail("looks")
        return await looks(market)

    async def count() -> Decimal:
        fail("balance")
        return await balance()

    exchange.fetch_open_orders = look  # type: ignore[method-assign]
    exchange.fetch_balance = count  # type: ignore[method-assign]
    assert began(run.second())[0] is True
    assert max(missing.values()) < 0


def test_the_cash_is_counted_between_two_looks_that_agree() -> None:
    """A fill that comes while the cash is being counted is paid once, whichever came first."""
    for is_counted in (False, True):
        run = Run()
        run.first(buy)
        exchange = run.exchange
        counts: list[Decimal] = []

        async def count(
            run: Run = run, counts: list[Decimal] = counts, is_counted: bool = is_counted
        ) -> Decimal:
            before = run.exchange.balance
            if not counts:
                fill(run)
            counts.append(run.exchange.balance if is_counted else before)
            return counts[-1]

        exchange.fetch_balance = count  # type: ignore[method-assign]

        async def check(stage: Stage, exchange: FakeExchange = exchange) -> None:
            assert exchange.balance == stage.env.account.cash

        run.second(check)
        assert 2 <= len(counts)


def test_a_payout_is_counted_once_also_by_a_clock_that_is_behind() -> None:
    """The market is resolved and has paid, though its window seems to be open."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        fill(run)
        stage.exchange.user.push(run.exchange.trades[0])  # type: ignore[union-attr]

    run.first(live)
    exchange = run.exchange
    exchange.resolve_after = -1000.0
    exchange.balance += 4

    async def check(stage: Stage) -> None:
        await asyncio.sleep(1800)
        assert exchange.balance == stage.env.account.cash

    run.second(check, start=None)


def test_the_account_may_move_all_the_time() -> None:
    """After some counts the last one is taken, so that a busy account cannot prevent a start."""
    run = Run()
    run.first(buy)
    fills = iter(range(100))

    async def count() -> Decimal:
        fill(run, size="0.1", trade=f"t{next(fills)}")
        return run.exchange.balance

    run.exchange.fetch_balance = count  # type: ignore[method-assign]
    assert began(run.second())[0] is True


# ---------------------------------------------------------------------------- cycles that are over


def test_a_cycle_that_ended_in_between_is_settled() -> None:
    """Nobody trades it on, but its profit gets into the ledger, and its files go."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        fill(run)

    run.first(live)
    ledger = Ledger()
    run.ledger = ledger
    run.exchange.balance += 4  # Up won, and the venue has paid

    async def check(stage: Stage) -> None:
        assert began(stage, START + 900)[0] is False
        assert run.exchange.balance == stage.env.account.cash
        run.exchange.trades = [
            trade_report(
                FIRST,
                "t1",
                "0xorder1",
                size=Decimal(4),
                price=Decimal("0.40"),
                status=TradeStatus.CONFIRMED,
            )
        ]
        await asyncio.sleep(100)
        assert run.exchange.balance == stage.env.account.cash

    run.second(check, at=START + 1000.0, start=START + 900)
    record = ledger.get(FIRST.slug)
    assert record is not None
    assert CycleStatus.RESOLVED is record.status
    assert Decimal("2.3328") == record.profit  # 4 − 1.60 − the fee
    assert not any(key.startswith(f"btc-updown-15m/{FIRST.slug}@") for key in run.store.files)


def test_a_cycle_of_a_series_that_is_not_traded_any_more_is_settled() -> None:
    """It is followed until its window is over, and then to its end."""
    run = Run()
    run.first(buy)
    ledger = Ledger()
    run.ledger = ledger

    async def check(stage: Stage) -> None:
        await asyncio.sleep(1200)

    run.second(check, start=None)
    record = ledger.get(FIRST.slug)
    assert record is not None
    assert CycleStatus.RESOLVED is record.status
    assert run.store.keys() == []


def test_events_between_opening_and_trading_are_applied() -> None:
    """What comes for a restored cycle before its strategies run is in its state when they start."""
    run = Run()
    run.first(buy)

    async def check(stage: Stage) -> None:
        fill(run)
        stage.exchange.user.push(run.exchange.trades[0])  # type: ignore[union-attr]
        await stage.open_cycle()
        assert (Decimal(4), Decimal(0)) == began(stage)[2]
        assert run.exchange.balance == stage.env.account.cash

    run.second(check, start=None)


# ---------------------------------------------------------------------------- files of no use


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[: len(data) // 2], "torn"),
        (lambda data: data.replace(b"0.40", b"0.41", 1), "torn"),
        (lambda data: b"", "torn"),
        (lambda data: b"{}\n{}\n", "foreign"),
        (lambda data: data.replace(b'"version":1', b'"version":2', 1), "newer"),
        (lambda data: data.replace(b"fake account", b"her account", 1), "foreign"),
        (lambda data: data.replace(b'"is_live":false', b'"is_live":true', 1), "foreign"),
        (lambda data: data.replace(b"1790586000", b"1790586900"), "wrong_generation"),
    ],
)
def test_a_file_that_cannot_be_believed_is_kept_aside(
    damage: Callable[[bytes], bytes], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The venue decides then: the order is there, and it is nobody's."""
    run = Run()
    run.first(buy)
    run.store.remove(SENT)
    run.store.files[SNAPSHOT] = damage(run.store.files[SNAPSHOT])
    stage = run.second()
    assert {reason: 1} == stage.env.counters.reasons(Count.SNAPSHOTS_REFUSED)
    assert [SNAPSHOT] == list(run.store.aside)
    assert SNAPSHOT in caplog.text
    assert reason in caplog.text
    assert began(stage)[:2] == (False, ())


def test_without_the_snapshot_the_list_of_sent_orders_is_enough() -> None:
    """Both files tell of the orders; either of them keeps their owner."""
    run = Run()
    run.first(buy)
    run.store.files[SNAPSHOT] = b"?"
    _, orders, _, _ = began(run.second())
    assert ["Keeper"] == [order.strategy for order in orders]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("damage", "refused", "owned"),
    [
        (lambda data: data + b'{"client_id":"half', 0, 1),
        (lambda data: data + b"half\n", 1, 0),
        (lambda data: data.replace(b'"size":"10"', b'"size":"70"'), 1, 0),
        (lambda data: data.replace(b'"min_size":"5"', b'"min_size":"7"'), 1, 0),
        (lambda data: data.replace(b'"generation":1790586000', b'"generation":5', 1), 1, 0),
        (lambda data: data.replace(b'"generation":1790586000', b'"generation":5', 9), 1, 0),
    ],
)
def test_a_damaged_list_of_sent_orders(
    damage: Callable[[bytes], bytes], refused: int, owned: int
) -> None:
    """A line cut off at the end is an order that never left; any other damage refuses the list."""
    run = Run()
    run.first(buy)
    run.store.remove(SNAPSHOT)
    run.store.files[SENT] = damage(run.store.files[SENT])
    stage = run.second()
    assert refused == stage.env.counters.get(Count.SNAPSHOTS_REFUSED)
    assert owned == len(began(stage)[1])  # type: ignore[arg-type]


def test_a_market_with_other_tokens_is_not_resumed() -> None:
    """A snapshot whose market is not the venue's of today stays out of the new cycle."""
    run = Run()
    run.first(buy)
    image = resealed(run.store.files[SENT], b"btc17905860001", b"btcOTHER1")
    run.store.files = {SENT: image}
    stage = run.second()
    assert {"wrong_market": 1} == stage.env.counters.reasons(Count.SNAPSHOTS_REFUSED)
    assert began(stage)[:2] == (False, ())


def test_fields_that_do_not_fit_any_more_are_refused_as_a_whole() -> None:
    """The class changed: the strategy starts with its defaults, and the log says why."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        strategy = stage.trader._desks[stage.trading.series].runs[0].strategy
        assert isinstance(strategy, Keeper)
        strategy.rounds = 3

    run.first(live)

    @define
    class Changed(Recorder):
        rounds: int = field(init=False, default=0, metadata=PERSIST)
        spent: list[int] = field(init=False, factory=list, metadata=PERSIST)

        async def on_cycle_start(self) -> None:
            self._note("began", (self.rounds, self.spent))

    Changed.__name__ = "Keeper"
    run.strategy = Changed()
    stage = run.second()
    assert [("began", (0, []))] == stage.diary.of(START, "began")
    assert {"fields": 1} == stage.env.counters.reasons(Count.SNAPSHOTS_REFUSED)


# ---------------------------------------------------------------------------- what may be marked


def test_what_cannot_be_kept_is_refused_when_it_is_mounted() -> None:
    """The error names the class, the field, and what to do."""

    @define
    class Setting(Strategy):
        size: int = field(default=1, metadata=PERSIST)

    with pytest.raises(StrategyDefinitionError, match=r"Setting\.size: PERSIST is for state"):
        check_definition(Setting())

    @define
    class Odd(Strategy):
        event: asyncio.Event = field(init=False, factory=asyncio.Event, metadata=PERSIST)

    with pytest.raises(StrategyDefinitionError, match="Odd: its PERSIST fields cannot be"):
        check_definition(Odd())


def test_a_value_that_cannot_be_written_costs_only_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Trading goes on, the last good values stay, and it is said once."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        strategy = stage.trader._desks[stage.trading.series].runs[0].strategy
        assert isinstance(strategy, Keeper)
        strategy.rounds = 1
        await asyncio.sleep(1)
        strategy.moods.append(object())  # type: ignore[arg-type]
        strategy.rounds = 2
        await asyncio.sleep(5)
        assert stage.env.counters.get(Count.SNAPSHOTS, "fields_failed") > 1

    run.first(live)
    assert 1 == caplog.text.count("marked fields of Keeper cannot be written")
    assert (1, Decimal(0), (), 0) == began(run.second())[3]


# ---------------------------------------------------------------------------- a store that fails


class FailingStore(MemoryStore):
    """A disk that is full as long as it is told so."""

    is_full = False

    def write(self, key: str, data: bytes) -> None:
        if self.is_full:
            raise OSError(28, "disk full")
        super().write(key, data)

    def append(self, key: str, data: bytes) -> None:
        if self.is_full:
            super().append(key, data[: len(data) // 2])
            raise OSError(28, "disk full")
        super().append(key, data)


def test_a_full_disk_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Orders go on, the alarm is raised once, and afterwards everything is on disk again."""
    run = Run()
    store = run.store = FailingStore()

    async def live(stage: Stage) -> None:
        store.is_full = True
        await buy(stage)
        await buy(stage)
        await asyncio.sleep(5)
        counters = stage.env.counters
        assert 2 == counters.get(Count.SNAPSHOTS, "sent_failed")
        assert counters.get(Count.SNAPSHOTS, "failed") > 1
        store.is_full = False
        await asyncio.sleep(2)
        await buy(stage)
        run.kill()

    run.first(live)
    assert 1 == caplog.text.count("snapshots cannot be written")
    assert 3 == len(began(run.second())[1])  # type: ignore[arg-type]
    assert run.store.aside == {}


def test_only_what_there_is_to_keep_is_written() -> None:
    """A cycle without orders and marked fields leaves no file, and a settled one none either."""
    run = Run(Recorder())

    async def nothing(stage: Stage) -> None:
        await asyncio.sleep(5)

    run.first(nothing)
    assert run.store.keys() == []
