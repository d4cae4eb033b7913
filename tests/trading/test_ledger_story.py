"""What is written into the ledger: everything that happens, once, in order, exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.clock import VirtualClock
from polyframe.counters import Counters
from polyframe.errors import ExchangeUnavailable, OrderDenied, OrderRejected, StaleCycleError
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import OrderEventKind
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, OrderStatus, OrderType, PlaceResult, Side
from polyframe.model.trade import TradeStatus
from polyframe.trading import deadcycles
from polyframe.trading.account import Account
from polyframe.trading.commands import (
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyTradeReport,
    CycleCommand,
)
from polyframe.trading.ledger import CycleStatus, Ledger
from polyframe.trading.ledger_reader import LedgerReader
from polyframe.trading.risk import RiskGuard
from polyframe.trading.service import TradingService
from polyframe.trading.settlement import Settlement
from polyframe.trading.state import CycleState
from tests.support.fake import START, FakeExchange, make_market, order_report, trade_report
from tests.support.produce_ledger import begun
from tests.support.stage import Stage, play, settle
from tests.trading import builders
from tests.trading.scripts import commands, opening, scripts

FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
TEN, FORTY, HALF = Decimal(10), Decimal("0.40"), Decimal("0.50")
UP = Outcome.UP
FEE = Decimal("0.175")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the ledger is to be."""
    return tmp_path / "trades.sqlite"


@contextmanager
def read(stage: Stage) -> Iterator[LedgerReader]:
    """Read the ledger of a stage as it is now."""
    assert stage.env.ledger.flush(timeout=20)
    assert stage.env.ledger.path is not None
    with Ledger.open(stage.env.ledger.path) as reader:
        yield reader


def test_the_life_of_an_order(path: Path) -> None:
    """Every transition has a row with the whole order, its time and its cycle."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        order = await trading.buy(UP, price=HALF, size=TEN)
        await stage.env.clock.sleep(1)
        tell = stage.env.router.on_user_message
        tell(trade_report(FIRST, "t1", order.venue_id, size=Decimal(4)))
        await stage.env.clock.sleep(1)
        await trading.cancel(order)
        tell(trade_report(FIRST, "t1", order.venue_id, size=Decimal(4), status=TradeStatus.MINED))
        with read(stage) as reader:
            entries = reader.order_changes(FIRST.slug)
            assert [(e.change.previous, e.change.order.status) for e in entries] == [
                (None, OrderStatus.SUBMITTING),
                (OrderStatus.SUBMITTING, OrderStatus.LIVE),
                (OrderStatus.LIVE, OrderStatus.PARTIALLY_FILLED),
                (OrderStatus.PARTIALLY_FILLED, OrderStatus.CANCELLING),
                (OrderStatus.CANCELLING, OrderStatus.CANCELLED),
            ]
            assert [e.time_ms - START * 1000 for e in entries] == [0, 0, 1000, 2000, 2000]
            assert {(e.run, e.is_late) for e in entries} == {(1, False)}
            assert reader.orders(FIRST.slug) == trading.orders()
            assert reader.fills(FIRST.slug) == trading.fills()
            steps = reader.fill_changes(FIRST.slug)
            assert [(e.previous, e.fill.status) for e in steps] == [
                (None, TradeStatus.MATCHED),
                (TradeStatus.MATCHED, TradeStatus.MINED),
            ]
            assert [e.venue_id for e in steps] == [order.venue_id] * 2
            sequences = [e.change.sequence for e in entries] + [e.sequence for e in steps]
            assert sorted(sequences) == [1, 2, 3, 4, 5, 6, 7]
            cancels = reader.cancels(FIRST.slug)
            assert [(c.client_id, c.answer) for c in cancels] == [
                (order.client_id, "asked"),
                (order.client_id, "cancelled"),
            ]

    play(act, ledger=Ledger(path))


def test_cancels_that_fail(path: Path) -> None:
    """A refused cancel has the venue's words, one without an answer the error's."""
    exchange = FakeExchange()
    exchange.cancel_refused = {"0xorder1": "already gone"}

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        order = await trading.buy(UP, price=FORTY, size=TEN)
        await trading.cancel(order)
        exchange.cancel_error = ExchangeUnavailable("no connection")
        with pytest.raises(ExchangeUnavailable):
            await trading.cancel(order)
        await stage.open_cycle(START + 900)
        await stage.env.settlement.cancel_open_orders()
        exchange.cancel_error = None
        await stage.env.settlement.cancel_open_orders()
        exchange.cancel_refused = {}
        await stage.env.settlement.cancel_open_orders()
        with read(stage) as reader:
            answers = [(c.answer, c.text) for c in reader.cancels(FIRST.slug)]
        assert answers == [
            ("asked", ""),
            ("refused", "already gone"),
            ("asked", ""),
            ("error", "no connection"),
            ("asked", ""),
            ("error", "no connection"),
            ("asked", ""),
            ("refused", "already gone"),
            ("asked", ""),
            ("cancelled", ""),
        ]

    play(act, exchange=exchange, ledger=Ledger(path))


def test_why_it_did_not_trade(path: Path) -> None:
    """What we refused and what the venue refused is there with rule and text, by cycle."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no money")]

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        for price in ("0.405", "0.405", "0.995"):
            with pytest.raises(OrderDenied):
                await trading.buy(UP, price=Decimal(price), size=TEN)
        with pytest.raises(OrderRejected):
            await trading.buy(UP, price=FORTY, size=TEN)
        await stage.open_cycle(START + 900)
        with pytest.raises(OrderDenied):
            await stage.trading.cancel(FIRST, "nothing")
        with read(stage) as reader:
            entries = reader.refusals(FIRST.slug)
            assert reader.refusals(SECOND.slug) == []
        counted: dict[str, int] = {}
        for entry in entries:
            counted[entry.rule] = counted.get(entry.rule, 0) + entry.times
        assert counted == {"tick": 2, "price": 1, "venue:not_enough_balance": 1, "unknown_order": 1}
        texts = {entry.rule: entry.text for entry in entries}
        assert "0.405 is not a multiple of the tick" in texts["tick"]
        assert texts["venue:not_enough_balance"] == "no money"

    play(act, exchange=exchange, ledger=Ledger(path))


def test_whose_cancel_of_nothing_it_was(path: Path) -> None:
    """A cancel of an order that a strategy does not have is refused in its name, and noted so."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        with pytest.raises(OrderDenied, match="me has no order nothing in this cycle"):
            await stage.trading.handle("me").cancel("nothing")
        with read(stage) as reader:
            (entry,) = reader.refusals(FIRST.slug)
        assert (entry.rule, entry.strategy) == ("unknown_order", "me")

    play(act, ledger=Ledger(path))


def test_a_killed_order_is_no_cancel(path: Path) -> None:
    """A FOK that found nothing ends in its own transitions; nobody asked for a cancel."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "fok_not_filled", "nothing there")]

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.handle("me").buy(UP, price=FORTY, size=TEN, order_type=OrderType.FOK)
        with read(stage) as reader:
            (order,) = reader.orders(FIRST.slug)
            assert (order.status, order.reason) == (OrderStatus.CANCELLED, "nothing there")
            assert reader.cancels(FIRST.slug) == []
            assert reader.refusals(FIRST.slug) == []

    play(act, exchange=exchange, ledger=Ledger(path))


def test_after_death_everything_is_marked_as_late(path: Path) -> None:
    """Fills, reversals, answers and the resolution of a dead cycle are there, and said to be late."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        filled = await trading.buy(UP, price=HALF, size=TEN)
        resting = await trading.buy(UP, price=FORTY, size=TEN)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.buy(UP, price=FORTY, size=TEN))
        exchange.hold_cancel = asyncio.get_running_loop().create_future()
        cancelling = asyncio.create_task(trading.cancel(resting))
        await settle()
        await stage.env.clock.sleep_until(START + 900)
        await stage.open_cycle(START + 900)
        tell = stage.env.router.on_user_message
        for status in (TradeStatus.MATCHED, TradeStatus.MATCHED, TradeStatus.CONFIRMED):
            tell(trade_report(FIRST, "t1", filled.venue_id, status=status))
        tell(
            order_report(
                FIRST,
                resting.venue_id,
                kind=OrderEventKind.CANCELLATION,
                status="CANCELED",
                price=FORTY,
            )
        )
        exchange.hold_cancel.set_result(None)
        exchange.hold_place.set_result(None)
        with pytest.raises(StaleCycleError):
            await placing
        await cancelling
        await stage.env.clock.sleep(300)
        with read(stage) as reader:
            late = [(e.kind, e.result) for e in reader.late_events(FIRST.slug)]
            assert sorted(late) == [
                ("answer:cancel", "final"),
                ("answer:live", "applied"),
                ("order", "applied"),
                ("trade:CONFIRMED", "applied"),
                ("trade:MATCHED", "applied"),
                ("trade:MATCHED", "duplicate"),
            ]
            subjects = {e.kind: e.subject for e in reader.late_events(FIRST.slug)}
            assert subjects["order"] == resting.venue_id
            assert subjects["trade:MATCHED"] == "t1"
            assert subjects["answer:cancel"] == resting.client_id
            assert all(e.is_late for e in reader.fill_changes(FIRST.slug))
            changes = reader.order_changes(FIRST.slug)
            assert {e.is_late for e in changes if e.time_ms < (START + 900) * 1000} == {False}
            assert {e.is_late for e in changes if e.time_ms >= (START + 900) * 1000} == {True}
            state = stage.env.settlement.state(FIRST.slug)
            assert state is not None
            assert reader.orders(FIRST.slug) == list(state.orders.values())
            assert reader.late_events(SECOND.slug) == []

    play(act, exchange=exchange, ledger=Ledger(path))


def test_an_answer_whose_cycle_is_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An acceptance that comes when even the dead cycle is let go is noted with its order."""
    exchange = FakeExchange()
    monkeypatch.setattr(deadcycles, "KEPT", 1)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(stage.trading.handle("me").buy(UP, price=FORTY, size=TEN))
        await settle()
        await stage.open_cycle(START + 900)
        await stage.open_cycle(START + 1800)
        await stage.env.clock.sleep(4000)
        exchange.hold_place.set_result(None)
        with pytest.raises(StaleCycleError):
            await placing
        with read(stage) as reader:
            (note,) = reader.notes("forgotten_answer")
        assert note.data["slug"] == FIRST.slug
        assert note.data["answer"] == "live"

    play(act, exchange=exchange, ledger=Ledger(path))


def test_the_life_of_a_cycle(path: Path) -> None:
    """Begin, end and resolution each have a row, and the last one has the profit."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.handle("me").buy(UP, price=HALF, size=TEN)
        stage.env.router.on_user_message(trade_report(FIRST, "t1", "0xorder1"))
        await stage.env.clock.sleep_until(START + 900)
        await stage.open_cycle(START + 900)
        await stage.env.clock.sleep(300)
        stage.scheduler.switch(None)

    ledger = Ledger(path)
    play(act, ledger=ledger)
    with Ledger.open(path) as reader:
        done, stopped = reader.cycles()
        assert done.record == ledger.get(FIRST.slug)
        assert done.record.profit == TEN - 5 - FEE
        assert stopped.record.status is CycleStatus.UNRESOLVED
        switches = [note.data for note in reader.notes("switch")]
        assert switches == [
            {"series": "btc-updown-15m", "from": None, "to": FIRST.slug},
            {"series": "btc-updown-15m", "from": FIRST.slug, "to": SECOND.slug},
            {"series": "btc-updown-15m", "from": SECOND.slug, "to": None},
        ]
        rows = reader._connection.execute(
            "SELECT status FROM cycle_changes WHERE slug = ? ORDER BY id", (FIRST.slug,)
        )
        assert [row["status"] for row in rows] == ["open", "resolving", "resolved"]


def test_cancelling_what_others_left_is_noted(path: Path) -> None:
    """The bulk cancel leaves its report and the ids; a dry run, which did nothing, leaves nothing."""
    exchange = FakeExchange()
    exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.cancel_exchange_open_orders(dry_run=True)
        await stage.trading.cancel_exchange_open_orders()
        with read(stage) as reader:
            (note,) = reader.notes("cancel_open_orders")
        assert note.data["cancelled"] == ["0xforeign"]
        assert note.data["report"]["total"] == 1
        assert note.slug == FIRST.slug

    play(act, exchange=exchange, ledger=Ledger(path))


def test_a_comparison_that_found_something_is_noted(path: Path) -> None:
    """A reconciliation with a difference leaves its report with the cycle."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        await stage.trading.reconcile()
        with read(stage) as reader:
            notes = reader.notes("reconcile", slug=FIRST.slug)
        assert notes
        assert isinstance(notes[0].data, dict)

    play(act, exchange=exchange, ledger=Ledger(path))


# ------------------------------------------------------------------ no double, none missing


def _service(ledger: Ledger, account: Account) -> tuple[TradingService, Settlement]:
    clock, counters, exchange = VirtualClock(1000), Counters(), FakeExchange()
    after = Settlement(exchange=exchange, clock=clock, counters=counters, ledger=ledger)
    market = builders.make_market()
    service = TradingService(
        market.series,
        exchange=exchange,
        clock=clock,
        counters=counters,
        account=account,
        settlement=after,
        ledger=ledger,
        risk=RiskGuard(),
    )
    service.set_current_market(market, None)
    return service, after


def _give(service: TradingService, after: Settlement, command: CycleCommand, alive: bool) -> None:
    """Hand a command to the cycle, or to the settlement side once it is dead."""
    if alive:
        service.submit(command)
    elif isinstance(command, ApplyOrderReport | ApplyTradeReport):
        after.take(command.report)
    elif isinstance(command, ApplyCancelAnswer):
        after.take_cancel_answer(builders.make_market().slug, command)
    else:
        after._apply(after._cycles[builders.make_market().slug], command)


def check_story(state: CycleState, reader: LedgerReader, slug: str) -> None:
    """Check that the rows of a cycle lead to its state, with no row missing and none twice."""
    entries = reader.order_changes(slug)
    steps = reader.fill_changes(slug)
    sequences = sorted([e.change.sequence for e in entries] + [e.sequence for e in steps])
    assert sequences == list(range(1, state.sequence + 1))
    status: dict[str, OrderStatus] = {}
    for entry in entries:
        order, previous = entry.change.order, entry.change.previous
        assert status.get(order.client_id) == previous
        status[order.client_id] = order.status
    settled: dict[tuple[str, str], TradeStatus] = {}
    for step in steps:
        key = (step.fill.trade_id, step.fill.client_id)
        assert settled.get(key) == step.previous
        settled[key] = step.fill.status
    by_venue_id = {order.venue_id: order for order in reader.orders(slug)}
    assert by_venue_id == {order.venue_id: order for order in state.orders.values()}
    fills = {(fill.trade_id, fill.client_id): fill for fill in reader.fills(slug)}
    assert fills == dict(state.fills)
    for order in state.orders.values():
        counted = [
            fill.size
            for fill in fills.values()
            if fill.client_id == order.client_id and fill.status is not TradeStatus.FAILED
        ]
        assert sum(counted, ZERO) == order.filled


@settings(max_examples=60, deadline=None)
@given(
    script=scripts(commands(builders.G1), 30),
    opened=st.booleans(),
    dies_at=st.integers(0, 30),
)
def test_the_rows_replay_to_the_state(
    script: list[CycleCommand], opened: bool, dies_at: int
) -> None:
    """Whatever happens to a cycle, alive or dead, its rows tell it from the beginning to the end."""
    if opened:
        script = opening(builders.G1) + script
    slug = builders.make_market().slug
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trades.sqlite"
        ledger = begun(path)
        service, after = _service(ledger, Account(Decimal(1000)))
        state = service.state(builders.make_market())
        assert state is not None
        for number, command in enumerate(script):
            if number == dies_at:
                service.set_current_market(None, None)
            _give(service, after, command, number < dies_at)
        ledger.close(timeout=20)
        with Ledger.open(path) as reader:
            check_story(state, reader, slug)
            late = [e.is_late for e in reader.order_changes(slug)]
            assert late == sorted(late)


def test_an_order_that_was_parked_as_foreign_has_one_story(path: Path) -> None:
    """What came before its order was registered is found under the venue's id: one order, one fill."""
    desk_market = builders.make_market()
    ledger = begun(path)
    service, _ = _service(ledger, Account(Decimal(1000)))
    desk = builders.Desk(state=service.state(desk_market), submit=service.submit)
    desk.trade("t1", desk.leg("v1", "4"))
    desk.report("v1", builders.PLACEMENT)
    builders.applied(desk.place("c1"))
    ledger.close()
    with Ledger.open(path) as reader:
        (order,) = reader.orders(desk_market.slug)
        (fill,) = reader.fills(desk_market.slug)
    assert (order.client_id, order.strategy, order.filled) == ("c1", "alpha", Decimal(4))
    assert (fill.client_id, fill.strategy, fill.size) == ("c1", "alpha", Decimal(4))


def test_an_order_request_is_recorded_with_its_intent(path: Path) -> None:
    """What a strategy asked for is there word for word."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        request = OrderRequest(UP, Side.BUY, FORTY, TEN, OrderType.GTC, True, "entry")
        await stage.trading.handle("me").place(request)
        with read(stage) as reader:
            (order,) = reader.orders(FIRST.slug)
        assert (order.intent, order.post_only, order.strategy) == ("entry", True, "me")

    play(act, ledger=Ledger(path))
