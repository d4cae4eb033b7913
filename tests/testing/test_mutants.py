"""The simulation notices: each guard that is taken away breaks the invariant that it guards."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec
import pytest

from polyframe.counters import Count, Counters
from polyframe.model.events import PriceChanged, UserMessage
from polyframe.model.market import Market
from polyframe.model.money import ZERO
from polyframe.model.order import OrderStatus
from polyframe.router import SessionEventRouter
from polyframe.session import ExchangeSession
from polyframe.strategies import Threshold, arbitrageplan
from polyframe.strategies.blocks.exposure import Exposure
from polyframe.strategies.blocks.pairdesk import PairDesk
from polyframe.strategyrun import StrategyRun
from polyframe.testing.faults import Fault
from polyframe.testing.invariants import Invariant, Violation
from polyframe.testing.simulate import Plan, simulate
from polyframe.testing.stage import KEEPS_SNAPSHOTS
from polyframe.trading import lifecycle, orders, snapshots
from polyframe.trading.account import Account
from polyframe.trading.commands import ApplyTradeReport, Ignored, Stale
from polyframe.trading.comparison import Comparison
from polyframe.trading.engine import OrderEngine
from polyframe.trading.handle import StrategyTrading
from polyframe.trading.lateorders import LateOrders
from polyframe.trading.ledger import CycleStatus, Ledger
from polyframe.trading.placing import Placing
from polyframe.trading.restart import Restart
from polyframe.trading.settlement import Settlement
from polyframe.trading.snapshotfile import Bucket, Content, RefusedError
from polyframe.trading.snapshots import Snapshots
from polyframe.trading.state import CycleState
from polyframe.trading.stocktaking import count_cash

Patch = pytest.MonkeyPatch
ALL = frozenset(Fault)
CALM = ALL - KEEPS_SNAPSHOTS - {Fault.CLOCK_JUMP}
"""All that goes wrong at the venue and on the way there: one process lives through all of it."""
ROTTEN = frozenset({Fault.KILL, Fault.STORE_ROT})
"""Processes end, and files are damaged until the next one."""


def everything_to_the_live_session(patch: Patch) -> None:
    """The router does not look at the token, the gate lets everything pass."""

    def route(router: SessionEventRouter, message: UserMessage) -> None:
        live = next((r for r in router._routes.values() if r.is_live), None)
        if live is not None:
            SessionEventRouter._emit(live.session, message)

    patch.setattr(SessionEventRouter, "_route", route)
    patch.setattr(
        ExchangeSession,
        "_gate_user",
        lambda session, *_: session._outcomes[session.market.up_token],
    )


def no_reset(patch: Patch) -> None:
    """A new cycle goes on with the books of the old one."""
    original = OrderEngine.reset

    def reset(
        engine: OrderEngine, market: Market | None, resumed: CycleState | None = None
    ) -> CycleState | None:
        old = original(engine, market, resumed)
        if old is not None and engine.state is not None:
            engine.state._table, engine.state._holdings = old._table, old._holdings
            engine.state.orders, engine.state.fills = old.orders, old.fills
        return old

    patch.setattr(OrderEngine, "reset", reset)


def no_generation_check(patch: Patch) -> None:
    """Commands of any generation are applied to the state that there is."""

    def submit(engine: OrderEngine, command: Any) -> Any:
        state = engine.state
        return Stale("", 0, None) if state is None else state.apply(command)

    def apply(state: CycleState, command: Any) -> Any:
        return state._HANDLERS[type(command)](state, command)

    patch.setattr(OrderEngine, "submit", submit)
    patch.setattr(CycleState, "apply", apply)


def every_status_is_a_fill(patch: Patch) -> None:
    """The key of a fill is not the trade: each status of it counts anew."""
    original = CycleState._trade_report

    def told(state: CycleState, command: ApplyTradeReport) -> Any:
        report = command.report
        name = f"{report.trade_id}{report.status}"
        again = msgspec.structs.replace(report, trade_id=name)
        return original(state, ApplyTradeReport(command.generation, again, command.now_ms))

    patch.setitem(CycleState._HANDLERS, ApplyTradeReport, told)


def booked_twice(patch: Patch) -> None:
    """A fill moves cash and shares twice."""
    original = orders.OrderTable._book

    def book(table: orders.OrderTable, fill: Any) -> int:
        original(table, fill)
        return original(table, fill)

    patch.setattr(orders.OrderTable, "_book", book)


def nothing_released(patch: Patch) -> None:
    """What an order held stays held."""
    patch.setattr(Account, "release", lambda *_: None)


def failures_not_reversed(patch: Patch) -> None:
    """A trade that failed stays in the books."""
    patch.setattr(orders, "_counts", lambda _: True)


def no_query_in_the_end(patch: Patch) -> None:
    """Trades are not asked for once more when a market is resolved."""

    async def nothing(*_: object, **__: object) -> None:
        return

    patch.setattr(Settlement, "fetch_missed_trades", nothing)
    patch.setattr(Settlement, "_follow_trades", nothing)


def comparisons_change_nothing(patch: Patch) -> None:
    """What a comparison finds is not applied."""
    patch.setattr(Comparison, "_feed_trade", lambda *_: False)


def routes_are_kept(patch: Patch) -> None:
    """The tokens of a dead cycle go on leading to its session."""
    patch.setattr(SessionEventRouter, "_release", lambda *_: None)


def sessions_stay_open(patch: Patch) -> None:
    """The session of a dead cycle is shut, but its connection is not closed."""

    async def close(session: ExchangeSession) -> None:
        session.shut()

    patch.setattr(ExchangeSession, "close", close)


def tasks_are_kept(patch: Patch) -> None:
    """The tasks of a strategy are not cancelled when its cycle ends."""

    async def nothing(*_: object) -> None:
        return

    patch.setattr(StrategyRun, "_stop_tasks", nothing)


def handles_live_on(patch: Patch) -> None:
    """The handle of a dead cycle is not made dead."""
    patch.setattr(StrategyTrading, "kill", lambda _: None)


def told_of_others(patch: Patch) -> None:
    """A strategy is told of the orders of all strategies."""

    def order_changed(run: StrategyRun, event: Any) -> None:
        run._own.append(event)
        run._bell.ring()

    patch.setattr(StrategyRun, "order_changed", order_changed)


def reads_of_others(patch: Patch) -> None:
    """A strategy reads the orders of all strategies."""
    patch.setattr(StrategyTrading, "orders", lambda handle: list(handle._find().orders.values()))


def told_twice(patch: Patch) -> None:
    """Changes are published twice."""
    original = ExchangeSession.publish

    def publish(session: ExchangeSession, change: Any) -> None:
        original(session, change)
        original(session, change)

    patch.setattr(ExchangeSession, "publish", publish)


def final_is_not_final(patch: Patch) -> None:
    """An order that has ended is opened again by the next report of it."""
    original = lifecycle.next_status

    def next_status(order: Any, track: Any, wanted: Any, *, market_open: bool) -> Any:
        if order.status.is_final and market_open and wanted is None:
            return OrderStatus.LIVE
        return original(order, track, wanted, market_open=market_open)

    patch.setattr(orders, "next_status", next_status)


def record_written_once(patch: Patch) -> None:
    """What comes after the resolution does not reach the record."""
    original = Ledger.put

    def put(ledger: Ledger, record: Any) -> None:
        known = ledger.get(record.slug)
        if known is None or known.status is not CycleStatus.RESOLVED:
            original(ledger, record)

    patch.setattr(Ledger, "put", put)


def late_messages_uncounted(patch: Patch) -> None:
    """Messages of dead cycles are not counted."""
    original = Counters.add

    def add(counters: Counters, name: Count, reason: str, amount: int = 1) -> int:
        if name is Count.ROUTER_SETTLEMENT:
            return 0
        return original(counters, name, reason, amount)

    patch.setattr(Counters, "add", add)


def books_with_a_memory(patch: Patch) -> None:
    """What books say depends on something that outlives the cycle."""
    original, numbers = orders.OrderTable._book, count(1)

    def book(table: orders.OrderTable, fill: Any) -> int:
        table.volume += next(numbers)
        return original(table, fill)

    patch.setattr(orders.OrderTable, "_book", book)


def orders_outlive_the_market(patch: Patch) -> None:
    """The resolution of a market does not end its orders."""

    def resolve(state: CycleState, command: Any) -> Any:
        state._holdings.resolve(command.winner)
        state._table.let_go()
        return Ignored("duplicate")

    handlers = {kind.__name__: kind for kind in CycleState._HANDLERS}
    patch.setitem(CycleState._HANDLERS, handlers["ApplyResolution"], resolve)


def claims_not_redeemed(patch: Patch) -> None:
    """Payouts are claimed and never turn into cash."""
    patch.setattr(Settlement, "_redeem", lambda *_: None)


def something_raises(patch: Patch) -> None:
    """A call of a strategy raises what nobody expects."""

    def sellable(*_: object) -> None:
        raise KeyError

    patch.setattr(StrategyTrading, "sellable", sellable)


def gaps_are_not_heard(patch: Patch) -> None:
    """Nobody is told that messages of the account may have been missed."""
    patch.setattr(SessionEventRouter, "on_gap", lambda *_: None)


def late_orders_stay(patch: Patch) -> None:
    """Orders that turn out to be accepted after their cycle are left to themselves."""

    async def nothing(*_: object) -> None:
        return

    patch.setattr(LateOrders, "found_alive", nothing)


def foreign_trades_are_free(patch: Patch) -> None:
    """Trades of another program do not move our cash."""
    patch.setattr(Account, "is_counted", lambda *_: True)


def orders_leave_unwritten(patch: Patch) -> None:
    """An order is not written down before it leaves; only snapshots know it, some time later."""
    patch.setattr(Snapshots, "sent", lambda *_: None)


def any_file_is_believed(patch: Patch) -> None:
    """What a snapshot says is not compared with what was written."""

    def decode(_: object, bucket: Bucket, data: bytes) -> Content:
        _, _, body = data.partition(b"\n")
        try:
            content = msgspec.json.decode(body.rstrip(b"\n"), type=Content)
        except (msgspec.DecodeError, ValueError) as error:
            reason = "torn"
            raise RefusedError(reason, f"{bucket.slug}: {error}") from error
        if content.image.flaw():
            reason = "wrong_generation"
            raise RefusedError(reason, content.image.flaw())
        return content

    patch.setattr(snapshots, "decode", decode)


def cash_is_counted_first(patch: Patch) -> None:
    """The cash is counted before it is known what has moved it while no process ran."""

    async def count(restart: Restart) -> None:
        restart._account.take_stock(await count_cash(restart._exchange, restart._clock))
        await restart._look()

    patch.setattr(Restart, "count_cash", count)


def numbers_begin_again(patch: Patch) -> None:
    """A process that goes on with a cycle gives its orders names that are taken."""
    patch.setattr(Placing, "go_on_after", lambda *_: None)


MUTANTS: list[tuple[Callable[[Patch], None], Invariant, frozenset[Fault]]] = [
    (everything_to_the_live_session, Invariant.OWN_INPUTS, CALM),
    (no_reset, Invariant.FRESH_START, CALM),
    (no_generation_check, Invariant.OWN_INPUTS, CALM),
    (every_status_is_a_fill, Invariant.RECOVERED, frozenset()),
    (booked_twice, Invariant.CASH, frozenset()),
    (nothing_released, Invariant.RESERVED, frozenset()),
    (failures_not_reversed, Invariant.CASH, frozenset({Fault.TRADE_FAILED})),
    (no_query_in_the_end, Invariant.FILLS, CALM),
    (comparisons_change_nothing, Invariant.RECOVERED, CALM),
    (routes_are_kept, Invariant.COUNTED, frozenset()),
    (sessions_stay_open, Invariant.NOTHING_LEFT, frozenset()),
    (tasks_are_kept, Invariant.NOTHING_LEFT, frozenset()),
    (handles_live_on, Invariant.DEAD_HANDLES, frozenset()),
    (told_of_others, Invariant.OWN_EVENTS, frozenset()),
    (reads_of_others, Invariant.OWN_STATE, frozenset()),
    (told_twice, Invariant.ORDER_OF_CHANGES, frozenset()),
    (final_is_not_final, Invariant.ORDER_OF_CHANGES, CALM),
    (record_written_once, Invariant.RECORDS, frozenset({Fault.TRADE_FAILED})),
    (late_messages_uncounted, Invariant.COUNTED, CALM),
    (books_with_a_memory, Invariant.FUNCTION_OF_INPUTS, frozenset()),
    (orders_outlive_the_market, Invariant.ORDERS, frozenset({Fault.USER_DROP})),
    (claims_not_redeemed, Invariant.VENUE_CASH, frozenset()),
    (something_raises, Invariant.NO_DEFECT, frozenset()),
    (gaps_are_not_heard, Invariant.COMPENSATED, frozenset({Fault.USER_DISCONNECT})),
    (late_orders_stay, Invariant.LATE_ORDERS, frozenset({Fault.CLOSE_LATE})),
    (orders_leave_unwritten, Invariant.OWNERSHIP, frozenset({Fault.KILL})),
    (any_file_is_believed, Invariant.RESERVED, ROTTEN),
    (cash_is_counted_first, Invariant.VENUE_CASH, frozenset({Fault.KILL})),
    (numbers_begin_again, Invariant.ORDERS, frozenset({Fault.KILL})),
    (foreign_trades_are_free, Invariant.CASH, frozenset({Fault.FOREIGN})),
]


def enters_again(patch: Patch) -> None:
    """Threshold forgets that it has entered."""
    original = Threshold._enter

    async def enter(strategy: Threshold, event: PriceChanged) -> None:
        await original(strategy, event)
        strategy._entered = None

    patch.setattr(Threshold, "_enter", enter)


def spends_without_end(patch: Patch) -> None:
    """Momentum does not count what it has spent."""
    patch.setattr(Exposure, "cost", lambda _: ZERO)


def counts_what_is_told(patch: Patch) -> None:
    """MarketMaker counts bids that are over with what is known of them, not with what may be told yet."""
    patch.setattr(Exposure, "shares", lambda _, __: ZERO)


def ignores_the_worst_case(patch: Patch) -> None:
    """Arbitrage bids without regard to what it can lose."""
    patch.setattr(arbitrageplan, "room_for", lambda *_: Decimal(10_000))


def begins_beside_others(patch: Patch) -> None:
    """Grid and PairLock begin a round while another one is under way, and count nothing unpaired."""
    patch.setattr(PairDesk, "is_free", property(lambda _: True))
    patch.setattr(PairDesk, "most_unpaired", lambda _: ZERO)


PROMISES: list[tuple[Callable[[Patch], None], str]] = [
    (enters_again, "threshold"),
    (spends_without_end, "momentum"),
    (counts_what_is_told, "marketmaker"),
    (ignores_the_worst_case, "arbitrage"),
    (begins_beside_others, "grid"),
    (begins_beside_others, "pairlock"),
]
"""Guards of the bounds of strategies that ship."""


@pytest.mark.parametrize(("mutate", "name"), PROMISES, ids=[promise[1] for promise in PROMISES])
def test_a_strategy_without_its_guard_breaks_its_bound(
    mutate: Callable[[Patch], None], name: str, monkeypatch: Patch
) -> None:
    """Without the guard the simulation soon says that the bound does not hold."""
    mutate(monkeypatch)
    plan = Plan(cycles=20, seed=5, faults=frozenset(), strategies=(name,))
    (violation, *_) = simulate(plan).violations
    assert violation.invariant is Invariant.BOUND, str(violation)


@pytest.mark.parametrize(
    ("mutate", "invariant", "faults"), MUTANTS, ids=[mutant[0].__name__ for mutant in MUTANTS]
)
def test_a_missing_guard_is_noticed(
    mutate: Callable[[Patch], None],
    invariant: Invariant,
    faults: frozenset[Fault],
    monkeypatch: Patch,
) -> None:
    """Without the guard the simulation reports a violation, and names what is broken."""
    mutate(monkeypatch)
    # One kind of fault alone is made likely, so that it does not miss the few chances that matter.
    intensity = 8.0 if len(faults) <= 2 else 1.0
    violations: tuple[Violation, ...] = ()
    for seed in (5, 6, 7):
        plan = Plan(cycles=16, seed=seed, faults=faults, intensity=intensity)
        violations = violations or simulate(plan).violations
    assert violations
    assert violations[0].invariant is invariant, str(violations[0])


def test_every_invariant_can_fail() -> None:
    """No invariant is there that no missing guard can break."""
    assert {mutant[1] for mutant in MUTANTS} == set(Invariant) - {Invariant.BOUND}
    assert PROMISES


def test_with_all_guards_nothing_is_noticed() -> None:
    """The plans of the mutants hold with the guards in place."""
    for faults in {mutant[2] for mutant in MUTANTS}:
        intensity = 8.0 if len(faults) <= 2 else 1.0
        plan = Plan(cycles=16, seed=5, faults=faults, intensity=intensity)
        assert simulate(plan).violations == ()
