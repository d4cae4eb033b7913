"""Splits and merges through a strategy's handle: sent once, followed to their end, never doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.counters import Count
from polyframe.errors import ConfigError, ExchangeUnavailable, OrderDenied, StaleCycleError
from polyframe.model.conversion import (
    Conversion,
    ConversionKind,
    ConversionStatus,
    Receipt,
    ReceiptState,
)
from polyframe.model.market import Outcome
from polyframe.model.trade import TradeStatus
from polyframe.trading import deadcycles
from polyframe.trading.account import Account
from polyframe.trading.commands import AdjustPosition, ApplyTradeReport, BeginConversion
from polyframe.trading.conversions import GONE_AFTER, judge
from polyframe.trading.handle import StrategyTrading
from polyframe.trading.ledger import Ledger
from polyframe.trading.limits import RiskLimits
from polyframe.trading.reconcile import ReconcileSettings
from polyframe.trading.snapshotstore import MemoryStore
from polyframe.trading.state import CycleState
from tests.support.contracts import ConvertingExchange
from tests.support.fake import START, FakeExchange, make_market, trade_report
from tests.support.stage import Stage, play, settle
from tests.trading.builders import dec

UP, DOWN = Outcome.UP, Outcome.DOWN
FIRST = make_market(start=START)
SETTLED = TradeStatus.CONFIRMED
CONFIRMED, FAILED, UNKNOWN = ReceiptState.CONFIRMED, ReceiptState.FAILED, ReceiptState.UNKNOWN

Act = Callable[[Stage, StrategyTrading, ConvertingExchange], Awaitable[None]]


async def give_pairs(stage: Stage, shares: int = 10) -> None:
    """Buy so many Up at 0.50 and Down at 0.45 for ``me``, and let the trades settle."""
    trading = stage.trading.handle("me")
    for number, (outcome, price) in enumerate(((UP, "0.50"), (DOWN, "0.45")), 1):
        order = await trading.buy(outcome, price=dec(price), size=Decimal(shares))
        for status in (TradeStatus.MATCHED, TradeStatus.CONFIRMED):
            stage.env.router.on_user_message(
                trade_report(
                    FIRST,
                    f"t{number}",
                    order.venue_id,
                    outcome,
                    size=Decimal(shares),
                    price=dec(price),
                    status=status,
                    is_taker=False,
                )
            )
    stage_exchange = stage.exchange
    assert isinstance(stage_exchange, ConvertingExchange)
    stage_exchange.on_chain[FIRST.slug] = dict.fromkeys(Outcome, Decimal(shares))


def with_pairs(
    act: Act,
    *,
    ledger: Ledger | None = None,
    snapshots: MemoryStore | None = None,
    reconcile: ReconcileSettings | None = None,
) -> ConvertingExchange:
    """Run `act` in a cycle in which ``me`` has ten pairs that cost 9.50 USD."""
    exchange = ConvertingExchange()

    async def main(stage: Stage) -> None:
        await stage.open_cycle()
        await give_pairs(stage)
        await act(stage, stage.trading.handle("me"), exchange)

    play(main, exchange=exchange, ledger=ledger, snapshots=snapshots, reconcile=reconcile)
    return exchange


def rule(caught: pytest.ExceptionInfo[OrderDenied]) -> str:
    """Return the rule of a denial."""
    return caught.value.rule


@pytest.mark.parametrize(
    ("limits", "denied"),
    [
        ({"max_cycle_notional": dec("14.50")}, "risk_cycle_notional"),
        ({"max_run_notional": dec("14.50")}, "risk_run_notional"),
        ({"max_position": Decimal(15)}, "risk_position"),
    ],
)
def test_what_is_split_off_is_spent(limits: dict[str, Any], denied: str) -> None:
    """Ten pairs for 9.50 are held: five more can be split off, and then nothing more be spent."""
    exchange = ConvertingExchange()

    async def main(stage: Stage) -> None:
        await stage.open_cycle()
        await give_pairs(stage)
        trading = stage.trading.handle("me")
        with pytest.raises(OrderDenied) as caught:
            await trading.split(dec("5.01"))
        assert rule(caught) == denied
        split = await trading.split(Decimal(5))
        await settle()
        exchange.finish("0xtx1", CONFIRMED)
        await trading.wait_conversion(split)
        with pytest.raises(OrderDenied) as caught:
            await trading.buy(UP, price=dec("0.50"), size=Decimal(5))
        assert rule(caught) == denied

    play(main, exchange=exchange, risk=RiskLimits(**limits))


def test_a_merge_frees_its_cash_within_the_cycle() -> None:
    """Ten pairs that cost 9.50 become 10 USD, half a dollar of it profit, once it is confirmed."""

    async def act(stage: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        before = trading.cash
        merge = await trading.merge()
        assert (merge.kind, merge.shares) == (ConversionKind.MERGE, Decimal(10))
        await settle()
        assert trading.conversions()[0].status is ConversionStatus.SUBMITTED
        assert trading.cash == before
        exchange.finish("0xtx1", CONFIRMED)
        done = await trading.wait_conversion(merge)
        assert done.status is ConversionStatus.CONFIRMED
        assert trading.cash == before + 10
        assert trading.outlook().realised == dec("0.50")
        assert [trading.position(outcome).size for outcome in Outcome] == [0, 0]
        assert exchange.sent == [("merge", FIRST.slug, Decimal(10))]
        assert stage.env.counters.reasons(Count.CONVERSIONS) == {"submitted": 1, "confirmed": 1}

    with_pairs(act)


def test_a_split_makes_pairs_of_cash() -> None:
    """Five USD become five Up and five Down, and are held until then."""

    async def act(_: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        before = trading.cash
        await trading.split(Decimal(5))
        assert trading.cash == before - 5
        await settle()
        exchange.finish("0xtx1", CONFIRMED)
        await trading.wait_conversion(trading.conversions()[0])
        assert trading.cash == before - 5
        assert [trading.position(outcome).size for outcome in Outcome] == [15, 15]

    with_pairs(act)


def test_a_failed_merge_leaves_the_pairs_as_they_were() -> None:
    """The venue refuses, or its transaction fails: the pairs can be merged again."""

    async def act(_: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        exchange.answers_to_convert = [Receipt(FAILED, "", "no approval")]
        refused = await trading.wait_conversion(await trading.merge())
        assert (refused.status, refused.text) == (ConversionStatus.FAILED, "no approval")
        later = await trading.merge(Decimal(4))
        await settle()
        exchange.finish("0xtx2", FAILED)
        assert (await trading.wait_conversion(later)).status is ConversionStatus.FAILED
        assert trading.mergeable() == 10

    with_pairs(act)


def test_a_lost_answer_is_resolved_by_the_shares_on_chain_and_never_sent_again() -> None:
    """Nobody knows of a transaction; when the chain has ten pairs fewer, it has happened."""

    async def act(_: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        exchange.answers_to_convert = [ExchangeUnavailable("no answer")]
        merge = await trading.merge()
        await settle()
        assert trading.conversions()[0].status is ConversionStatus.UNKNOWN
        assert trading.mergeable() == 0
        with pytest.raises(OrderDenied) as caught:
            await trading.merge(Decimal(1))
        assert rule(caught) == "busy"
        exchange.on_chain[FIRST.slug] = {}
        assert (await trading.wait_conversion(merge)).status is ConversionStatus.CONFIRMED
        assert len(exchange.sent) == 1

    with_pairs(act)


def test_the_trades_are_read_before_the_shares_on_chain_are_believed() -> None:
    """Six pairs were merged, six others bought that nobody told of: ten are there, and it did happen."""

    async def act(stage: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        exchange.answers_to_convert = [ExchangeUnavailable("no answer")]
        exchange.trades = [
            trade_report(
                FIRST, f"x{outcome}", f"v{outcome}", outcome, size=Decimal(6), status=SETTLED
            )
            for outcome in Outcome
        ]
        merge = await trading.merge(Decimal(6))
        state = stage.trading.state(FIRST)
        assert state is not None
        done = await stage.env.conversions.wait(state, merge.conversion_id)
        assert done.status is ConversionStatus.CONFIRMED
        assert trading.position(UP).size == 4

    # Nobody else asks.
    with_pairs(act, reconcile=ReconcileSettings(open_interval=1e6, idle_interval=1e6))


def test_a_lost_merge_has_failed_only_when_it_cannot_come_any_more() -> None:
    """What was signed is good for minutes: pairs that are still there prove nothing before."""

    async def act(stage: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        exchange.answers_to_convert = [ExchangeUnavailable("no answer")]
        merge = await trading.merge()
        began = stage.env.clock.time()
        state = stage.trading.state(FIRST)
        assert state is not None
        done = await stage.env.conversions.wait(state, merge.conversion_id)
        assert done.status is ConversionStatus.FAILED
        assert stage.env.clock.time() - began > GONE_AFTER
        assert trading.mergeable() == 10
        assert exchange.questions > 10

    with_pairs(act)


def test_a_client_that_raises_something_else_is_an_unknown_end_too() -> None:
    """Whatever a client of others raises, it may have left: it is not tried again."""

    async def act(_: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        exchange.answers_to_convert = [RuntimeError("boom")]
        await trading.merge()
        await settle()
        assert trading.conversions()[0].status is ConversionStatus.UNKNOWN

    with_pairs(act)


def test_questions_that_fail_are_asked_again() -> None:
    """A venue that does not answer for a while does not end the following."""

    async def act(_: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        merge = await trading.merge()
        await settle()
        exchange.chain_error = ExchangeUnavailable("no answer")
        await asyncio.sleep(60)
        assert trading.conversions()[0].is_open
        exchange.chain_error = None
        exchange.finish("0xtx1", CONFIRMED)
        assert (await trading.wait_conversion(merge)).status is ConversionStatus.CONFIRMED

    with_pairs(act)


def test_a_merge_that_is_confirmed_after_the_cycle_is_booked_in_its_own_cycle() -> None:
    """The next cycle sees nothing of it but the cash; the record of the old one has it."""

    async def act(stage: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        await trading.merge(Decimal(4))
        await settle()
        await stage.open_cycle(START + 900)
        cash = stage.env.account.cash
        exchange.finish("0xtx1", CONFIRMED)
        old = stage.trading.state(FIRST)
        assert old is not None
        await stage.env.conversions.wait(old, f"{FIRST.slug}-merge-1")
        assert stage.env.account.cash == cash + 4
        assert old.position(UP).size == 6
        current = stage.trading.cycle
        assert current is not None
        assert not current.state.conversions
        with pytest.raises(StaleCycleError):
            await trading.merge(Decimal(1))

    with_pairs(act)


def test_what_is_confirmed_after_the_resolution_changes_no_profit() -> None:
    """The winning pairs are cash of the merge instead of payout; the profit is the same."""

    async def act(stage: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        await trading.merge(Decimal(10))
        await settle()
        await stage.open_cycle(START + 900)
        await asyncio.sleep(900 + 120)
        record = stage.env.ledger.get(FIRST.slug)
        assert record is not None
        assert (record.profit, record.payout) == (dec("0.50"), Decimal(10))
        exchange.finish("0xtx1", CONFIRMED)
        old = stage.trading.state(FIRST)
        assert old is not None
        await stage.env.conversions.wait(old, f"{FIRST.slug}-merge-1")
        record = stage.env.ledger.get(FIRST.slug)
        assert record is not None
        assert (record.profit, record.payout) == (dec("0.50"), Decimal(0))

    with_pairs(act)


def test_impossible_merges_are_denied_and_counted() -> None:
    """Too many, none, a halted risk guard, and nobody who could do it: each with its rule."""

    async def act(stage: Stage, trading: StrategyTrading, _: ConvertingExchange) -> None:
        rules = []
        for shares in (Decimal(11), Decimal(0)):
            with pytest.raises(OrderDenied) as caught:
                await trading.merge(shares)
            rules.append(rule(caught))
        stage.env.risk.pause("test")
        with pytest.raises(OrderDenied) as caught:
            await trading.split(Decimal(1))
        rules.append(rule(caught))
        stage.env.risk.halt("test")
        with pytest.raises(OrderDenied) as caught:
            await trading.merge(Decimal(1))
        rules.append(rule(caught))
        assert rules == ["pairs", "amount", "risk_reducing", "risk_halted"]
        stage.env.risk.resume()
        stage.env.risk.pause("test")
        assert (await trading.merge(Decimal(1))).is_open
        with pytest.raises(OrderDenied, match="has no conversion nobody"):
            await trading.wait_conversion("nobody")
        (own,) = trading.conversions()
        with pytest.raises(OrderDenied, match=f"other has no conversion {own.conversion_id}"):
            async with asyncio.timeout(5):
                await stage.trading.handle("other").wait_conversion(own)
        record = stage.trading.record()
        assert record is not None
        assert record.refusals["pairs"] == 1

    with_pairs(act)


def test_without_contracts_every_merge_is_denied() -> None:
    """An exchange that does not convert, and no contracts in the environment: the rule says so."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        with pytest.raises(OrderDenied, match="contracts") as caught:
            await stage.trading.handle("me").merge(Decimal(1))
        assert rule(caught) == "contracts"
        assert not stage.env.conversions.are_offered

    play(act)


def test_the_ledger_has_the_story_of_a_merge(tmp_path: Path) -> None:
    """Begin, submission and end are notes of the cycle."""
    path = tmp_path / "trades.sqlite"

    async def act(_: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        merge = await trading.merge()
        await settle()
        exchange.finish("0xtx1", CONFIRMED)
        await trading.wait_conversion(merge)

    with_pairs(act, ledger=Ledger(path))
    with Ledger.open(path) as reader:
        notes = reader.notes("conversion")
    assert [note.data["status"] for note in notes] == ["sending", "submitted", "confirmed"]
    assert notes[-1].data["transaction"] == "0xtx1"


def test_a_merge_is_written_down_before_it_leaves_and_goes_on_after_a_restart() -> None:
    """A program that is killed while it waits comes back, asks, and books the merge once."""
    store, exchange, copies = MemoryStore(), ConvertingExchange(), list[MemoryStore]()

    async def before(stage: Stage) -> None:
        await stage.open_cycle()
        await give_pairs(stage)
        exchange.hold_convert = asyncio.get_running_loop().create_future()
        await stage.trading.handle("me").merge(Decimal(6))
        await settle()
        assert len(exchange.sent) == 1
        # What another process finds if this one is killed now.
        copies.append(MemoryStore())
        copies[0].files.update(store.files)

    async def after(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        (merge,) = trading.conversions()
        assert merge.status is ConversionStatus.CONFIRMED
        assert stage.env.account.cash == again.balance
        assert trading.position(UP).size == 4
        assert trading.outlook().realised == dec("0.30")

    play(before, exchange=exchange, snapshots=store)
    again = ConvertingExchange()
    again.balance = dec("996.50")  # 1000 - 9.50 for the pairs + 6 for those that were merged
    again.on_chain[FIRST.slug] = dict.fromkeys(Outcome, Decimal(4))
    again.known = exchange.known
    play(after, exchange=again, snapshots=copies[0])
    assert not again.sent


@pytest.mark.parametrize("confirmed_at", [1, 3, 1000])
def test_the_cash_is_counted_with_what_an_earlier_run_has_on_chain(confirmed_at: int) -> None:
    """A merge that is mined, or confirmed, is in the venue's cash: it is booked, and once."""
    store, exchange, copies = MemoryStore(), ConvertingExchange(), list[MemoryStore]()

    async def before(stage: Stage) -> None:
        await stage.open_cycle()
        await give_pairs(stage)
        merge = await stage.trading.handle("me").merge(Decimal(6))
        await settle()
        assert stage.trading.handle("me").conversions()[0].transaction_id == "0xtx1"
        assert merge.is_open
        assert stage.env.snapshots is not None
        await stage.env.snapshots.write_now(FIRST.slug)
        copies.append(MemoryStore())
        copies[0].files.update(store.files)

    play(before, exchange=exchange, snapshots=store)

    class Slow(ConvertingExchange):
        """Its node does not know our shares; of what is confirmed nobody adds that it is mined."""

        async def fetch_receipt(self, transaction_id: str) -> Receipt:
            self.questions += 1
            is_over = self.questions >= confirmed_at
            state = CONFIRMED if is_over else ReceiptState.SUBMITTED
            return Receipt(state, transaction_id, is_mined=not is_over)

    async def after(stage: Stage) -> None:
        await stage.open_cycle()
        await asyncio.sleep(60)
        assert stage.trading.handle("me").conversions()[0].status is ConversionStatus.CONFIRMED
        assert stage.env.account.cash == again.balance

    again = Slow()
    again.balance, again.known = dec("996.50"), exchange.known
    play(after, exchange=again, snapshots=copies[0])


def test_what_cannot_be_written_down_is_not_sent() -> None:
    """A full disk fails the merge here: nobody would know of it after a kill."""

    class Full(MemoryStore):
        def write(self, key: str, data: bytes) -> None:
            msg = "no space left"
            raise OSError(msg)

    async def act(_: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        done = await trading.wait_conversion(await trading.merge())
        assert done.status is ConversionStatus.FAILED
        assert "written down" in done.text
        assert exchange.sent == []
        assert trading.mergeable() == 10

    with_pairs(act, snapshots=Full())


def test_redeeming_turns_a_claim_into_cash_once() -> None:
    """Where the venue does not pay by itself, the payout stays a claim until it is redeemed."""
    exchange = ConvertingExchange()
    exchange.redeems = False

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await give_pairs(stage)
        with pytest.raises(ConfigError, match="owes nothing"):
            await stage.env.redeem(FIRST.slug)
        await stage.open_cycle(START + 900)
        await asyncio.sleep(900 + 120)
        account = stage.env.account
        cash = account.cash
        assert account.claimable == 10
        task = asyncio.create_task(stage.env.redeem())
        await settle()
        exchange.finish("0xtx1", CONFIRMED)
        receipts = await task
        assert receipts[FIRST.slug].state is CONFIRMED
        assert (account.cash, account.claimable) == (cash + 10, Decimal(0))
        assert await stage.env.redeem() == {}
        assert stage.env.counters.reasons(Count.REDEMPTIONS) == {"confirmed": 1}
        assert exchange.sent == [("redeem", FIRST.slug, Decimal(0))]

    play(act, exchange=exchange)


def test_only_what_is_on_chain_is_redeemed() -> None:
    """Six of ten winning shares are there: their claim becomes cash, and the rest when it arrives."""
    exchange = ConvertingExchange()
    exchange.redeems = False

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await give_pairs(stage)
        await stage.open_cycle(START + 900)
        await asyncio.sleep(900 + 120)
        account, cash = stage.env.account, stage.env.account.cash
        for number, there in enumerate((6, 4), 1):
            exchange.on_chain[FIRST.slug] = {UP: Decimal(there), DOWN: Decimal(10)}
            task = asyncio.create_task(stage.env.redeem(FIRST.slug))
            await settle()
            exchange.finish(f"0xtx{number}", CONFIRMED)
            await task
            if there == 6:
                assert (account.cash, account.claimable) == (cash + 6, Decimal(4))
        assert (account.cash, account.claimable) == (cash + 10, Decimal(0))

    play(act, exchange=exchange)


def test_shares_that_are_not_on_chain_yet_stay_a_claim() -> None:
    """A trade that is not mined gives nothing to redeem: it is told, and nothing is sent."""
    exchange = ConvertingExchange()
    exchange.redeems = False

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await stage.trading.handle("me").buy(UP, price=dec("0.50"), size=Decimal(5))
        stage.env.router.on_user_message(
            trade_report(FIRST, "t1", order.venue_id, size=Decimal(5), is_taker=False)
        )
        await stage.open_cycle(START + 900)
        await asyncio.sleep(900 + 120)
        receipt = (await stage.env.redeem())[FIRST.slug]
        assert (receipt.state, receipt.text) == (FAILED, "its winning shares are not on chain yet")
        assert stage.env.account.claimable == 5
        assert exchange.sent == []

    play(act, exchange=exchange)


@pytest.mark.parametrize("was_counted", [True, False])
def test_what_somebody_else_has_redeemed_is_no_cash_twice(was_counted: bool) -> None:
    """Before the count or after it: the claim is gone, and the venue says what the cash is."""
    exchange = ConvertingExchange()
    exchange.redeems = False

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await give_pairs(stage)
        await stage.open_cycle(START + 900)
        await asyncio.sleep(900 + 120)
        account, cash = stage.env.account, stage.env.account.cash
        exchange.on_chain[FIRST.slug] = {}
        exchange.balance = cash if was_counted else cash + 10
        receipt = (await stage.env.redeem())[FIRST.slug]
        assert receipt.state is CONFIRMED
        assert (account.cash, account.claimable) == (cash, Decimal(0))
        async with asyncio.timeout(3600):
            await stage.env.recount.wait()
        assert (account.cash, account.claimable) == (exchange.balance, Decimal(0))
        assert exchange.sent == []

    play(act, exchange=exchange)


def test_nobody_redeems_without_contracts() -> None:
    """The error names what is missing."""

    async def act(stage: Stage) -> None:
        with pytest.raises(ConfigError, match="contracts"):
            await stage.env.redeem("anything")

    play(act)


# ------------------------------------------------------------------ what the shares on chain tell


def a_case(kind: ConversionKind, shares: str, settled: str = "10") -> tuple[CycleState, Conversion]:
    """Return books with so many settled pairs and a conversion that is under way."""
    state = CycleState(FIRST, Account(Decimal(100)))
    for outcome in Outcome:
        state.apply(AdjustPosition(START, "me", outcome, dec(settled), Decimal(0), "test", 1))
    state.apply(BeginConversion(START, "k1", "me", kind, dec(shares), 1))
    return state, state.conversions["k1"]


@given(
    kind=st.sampled_from(ConversionKind),
    shares=st.decimals("0.5", "10", places=2),
    happened=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_the_chain_tells_what_happened_when_nothing_else_moves(
    kind: ConversionKind, shares: Decimal, happened: bool
) -> None:
    """With no trade under way, the shares say it for sure."""
    state, conversion = a_case(kind, str(shares))
    moved = shares if kind is ConversionKind.SPLIT else -shares
    have = dict.fromkeys(Outcome, Decimal(10) + (moved if happened else 0))
    assert judge(state, conversion, have) is (CONFIRMED if happened else FAILED)


def test_the_chain_tells_nothing_when_it_could_be_either_or_neither() -> None:
    """Shares that fit no story leave it open, and so do all while a trade is under way."""
    state, conversion = a_case(ConversionKind.MERGE, "4")
    assert judge(state, conversion, {UP: Decimal(6), DOWN: Decimal(10)}) is UNKNOWN
    assert judge(state, conversion, dict.fromkeys(Outcome, Decimal(3))) is UNKNOWN
    merged = dict.fromkeys(Outcome, Decimal(6))
    assert judge(state, conversion, merged) is CONFIRMED
    state.apply(
        ApplyTradeReport(START, trade_report(FIRST, "t9", "v9", status=TradeStatus.MINED), 2)
    )
    assert judge(state, conversion, merged) is UNKNOWN


def test_where_nobody_redeems_what_is_owed_is_kept_no_longer_than_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A program whose winnings are redeemed on the website runs for weeks: its memory has a bound."""
    monkeypatch.setattr(deadcycles, "KEPT", 1)
    exchange = FakeExchange()
    exchange.redeems = False

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await stage.trading.handle("me").buy(UP, price=dec("0.50"), size=Decimal(10))
        for status in (TradeStatus.MATCHED, TradeStatus.CONFIRMED):
            stage.env.router.on_user_message(
                trade_report(
                    FIRST,
                    "t1",
                    order.venue_id,
                    UP,
                    size=Decimal(10),
                    price=dec("0.50"),
                    status=status,
                )
            )
        for number in range(1, 4):
            await stage.open_cycle(START + 900 * number)
            await asyncio.sleep(900 + 120)
        assert stage.env.account.claimable
        assert stage.env.settlement.state(FIRST.slug) is None
        assert stage.env.settlement.claims() == []

    play(act, exchange=exchange)
