"""Cash that was counted while the end of a conversion was open: it is counted again, and exact then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.clock import VirtualClock
from polyframe.errors import ExchangeUnavailable
from polyframe.model.conversion import (
    Conversion,
    ConversionKind,
    ConversionStatus,
    ReceiptState,
)
from polyframe.model.events import TradeReport
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.order import Side
from polyframe.model.trade import TradeStatus
from polyframe.trading.account import Account, Stock
from polyframe.trading.ledger import Ledger
from polyframe.trading.reconcile import ReconcileSettings
from polyframe.trading.recount import AGREEING_UNEXPLAINED
from polyframe.trading.snapshotstore import MemoryStore
from polyframe.trading.stocktaking import count_once
from tests.support.contracts import ConvertingExchange
from tests.support.fake import START, make_market, trade_report
from tests.support.stage import Stage, play, settle
from tests.trading.builders import dec

FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
MERGE, SPLIT = ConversionKind.MERGE, ConversionKind.SPLIT
UP, DOWN = Outcome.UP, Outcome.DOWN
PATIENCE = 3_600.0

COUNTED = dec("985.50")
"""What is there when the program comes back: 1000 less 9.50 for ten pairs and 5 for ten more Up."""


def timed(report: TradeReport) -> TradeReport:
    """Return a trade with the time of its match, by which the venue lists it."""
    return msgspec.structs.replace(report, match_time_ms=START * 1000 + 1)


def trade(number: int, venue_id: str, outcome: Outcome, price: str) -> TradeReport:
    """Return one of ten shares that is not on chain yet."""
    ours = trade_report(
        FIRST, f"t{number}", venue_id, outcome, size=Decimal(10), price=dec(price), is_taker=False
    )
    return timed(ours)


def foreign(
    number: int, size: int, side: Side = Side.BUY, status: TradeStatus = TradeStatus.CONFIRMED
) -> TradeReport:
    """Return a trade of another program of the account, at 0.50."""
    name = f"t{number}"
    return timed(
        trade_report(
            FIRST, name, "vx", size=Decimal(size), side=side, status=status, is_taker=False
        )
    )


def now(report: TradeReport, status: TradeStatus) -> TradeReport:
    """Return the same trade, a step on."""
    return msgspec.structs.replace(report, status=status)


class Reborn:
    """A program that was killed when the answer to its conversion of six pairs was lost.

    A trade of its own was under way then. Nobody knows whether the conversion happens.
    """

    def __init__(self, kind: ConversionKind) -> None:
        self.kind = kind
        self.moved = Decimal(6) if kind is MERGE else Decimal(-6)
        self.exchange = ConvertingExchange()
        self.exchange.balance = COUNTED
        self.files = MemoryStore()
        self._first()

    def _first(self) -> None:
        store, exchange = MemoryStore(), ConvertingExchange()

        async def live(stage: Stage) -> None:
            await stage.open_cycle()
            trading = stage.trading.handle("me")
            trades = []
            for number, (outcome, price) in enumerate(
                ((UP, "0.50"), (DOWN, "0.45"), (UP, "0.50")), 1
            ):
                order = await trading.buy(outcome, price=dec(price), size=Decimal(10))
                trades.append(trade(number, order.venue_id, outcome, price))
                stage.env.router.on_user_message(trades[-1])
            trades[:2] = [now(one, TradeStatus.CONFIRMED) for one in trades[:2]]
            for one in trades[:2]:
                stage.env.router.on_user_message(one)
            exchange.hold_convert = asyncio.get_running_loop().create_future()
            act = trading.merge if self.kind is MERGE else trading.split
            await act(Decimal(6))
            await settle()
            assert len(exchange.sent) == 1
            self.files.files.update(store.files)  # what the next process finds
            self.exchange.trades, self.exchange.known = trades, exchange.known
            for order_id in exchange.known:
                exchange.change(order_id, size_matched=Decimal(10))

        play(live, exchange=exchange, snapshots=store)

    def play(
        self,
        act: Callable[[Stage], Awaitable[None]],
        *,
        ledger: Ledger | None = None,
        reconcile: ReconcileSettings | None = None,
    ) -> None:
        """Start the program again, and run `act` in the cycle that it goes on with."""

        async def live(stage: Stage) -> None:
            await stage.open_cycle()
            (conversion,) = stage.trading.handle("me").conversions()
            assert conversion.status is ConversionStatus.UNKNOWN
            assert stage.env.account.cash == COUNTED
            async with asyncio.timeout(PATIENCE):
                await act(stage)

        play(
            live,
            exchange=self.exchange,
            snapshots=self.files,
            ledger=ledger,
            reconcile=reconcile,
        )

    def settles(self, stage: Stage) -> None:
        """Let the last trade be confirmed."""
        self.exchange.trades[2] = now(self.exchange.trades[2], TradeStatus.CONFIRMED)
        stage.env.router.on_user_message(self.exchange.trades[2])

    def happens(self, shares: int = 10) -> None:
        """Let the chain have the shares as they are with the conversion."""
        self.exchange.on_chain[FIRST.slug] = {UP: shares + 10 - self.moved, DOWN: 10 - self.moved}

    async def ended(self, stage: Stage) -> Conversion:
        """Return the conversion when its end is known."""
        return await stage.trading.handle("me").wait_conversion(f"{FIRST.slug}-{self.kind}-1")


@pytest.mark.parametrize("kind", ConversionKind)
@pytest.mark.parametrize("was_counted", [True, False])
def test_the_venue_says_whether_the_count_had_it(kind: ConversionKind, was_counted: bool) -> None:
    """Contained in the count or not: after its end the cash is the venue's, and the profit the same."""
    program = Reborn(kind)
    truth = COUNTED if was_counted else COUNTED + program.moved

    async def act(stage: Stage) -> None:
        account, trading = stage.env.account, stage.trading.handle("me")
        program.exchange.balance = truth
        program.happens()
        program.settles(stage)
        assert (await program.ended(stage)).status is ConversionStatus.CONFIRMED
        # Until the venue has said it, nothing can be spent that may not be there.
        assert account.available <= truth
        assert account.cash >= 0
        state = stage.trading.state(FIRST)
        assert state is not None
        moved = state.cash_flow
        assert moved == dec("-14.50") + program.moved
        realised = trading.outlook().realised
        await stage.env.recount.wait()
        assert (account.cash, account.available) == (truth, truth)
        assert (state.cash_flow, trading.outlook().realised) == (moved, realised)

    program.play(act)


def test_cash_in_doubt_is_not_compared() -> None:
    """What the venue has beyond the books is no alarm while it is being found out."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        program.exchange.balance = COUNTED + 6
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        for _ in range(2):
            assert (await stage.trading.reconcile("demand")).cash is None
        await stage.env.recount.wait()
        assert (await stage.trading.reconcile("demand")).cash == 0

    program.play(act)


def test_a_conversion_that_never_happened_moves_nothing() -> None:
    """It has failed, which is certain: nothing is counted again."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        program.exchange.on_chain[FIRST.slug] = {UP: Decimal(20), DOWN: Decimal(10)}
        program.settles(stage)
        assert (await program.ended(stage)).status is ConversionStatus.FAILED
        await stage.env.recount.wait()
        assert stage.env.account.cash == COUNTED

    program.play(act)


def test_another_conversion_under_way_is_waited_for() -> None:
    """It is mined long before it is told: the venue's cash has it, our books not yet."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        account, exchange = stage.env.account, program.exchange
        state = stage.trading.state(FIRST)
        assert state is not None
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        again = await stage.trading.handle("me").merge(Decimal(1))
        exchange.balance = COUNTED + 1
        await asyncio.sleep(300)
        assert (account.cash, account.presumed) == (COUNTED, Decimal(6))
        exchange.finish("0xtx1", ReceiptState.CONFIRMED)
        await stage.env.conversions.wait(state, again.conversion_id)
        await stage.env.recount.wait()
        assert account.cash == COUNTED + 1

    program.play(act)


def test_a_trade_that_nobody_told_of_is_read_before_the_cash_is_believed() -> None:
    """Its money has moved, and it is in no books: it looks as if the merge was not in the count."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        exchange = program.exchange
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        sold = foreign(9, 12, Side.SELL)
        exchange.trades.append(sold)
        exchange.balance += 6
        await stage.env.recount.wait()
        state = stage.trading.state(FIRST)
        assert state is not None
        assert stage.env.account.cash == COUNTED + 6
        assert ("t9", "vx") in state.fills

    # Nobody else asks.
    program.play(act, reconcile=ReconcileSettings(open_interval=1e6, idle_interval=1e6))


def test_a_trade_that_the_venue_does_not_list_yet_is_waited_for() -> None:
    """Our books have it, the venue's cash may not: the difference is none of the merge's."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        exchange, account = program.exchange, stage.env.account
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        bought = foreign(9, 12)
        stage.env.router.on_user_message(bought)
        await asyncio.sleep(300)
        assert (account.cash, account.presumed) == (COUNTED - 6, Decimal(6))
        exchange.trades.append(bought)
        exchange.balance -= 6
        await stage.env.recount.wait()
        assert account.cash == COUNTED - 6

    program.play(act)


def test_a_look_in_which_our_books_move_is_none() -> None:
    """Trades that are told while the venue is asked are not in its answer."""
    program, number = Reborn(MERGE), count(10)

    async def act(stage: Stage) -> None:
        exchange = program.exchange

        async def fetch_resolution(market: Market) -> Resolution | None:
            if (latest := next(number)) < 18:
                bought = foreign(latest, 12)
                exchange.trades.append(bought)
                exchange.balance -= 6
                stage.env.router.on_user_message(bought)
            return None

        program.happens()
        program.settles(stage)
        await program.ended(stage)
        exchange.fetch_resolution = fetch_resolution  # type: ignore[method-assign]
        await stage.env.recount.wait()
        assert stage.env.account.cash == exchange.balance == COUNTED - 8 * 6

    program.play(act)


def test_what_nothing_explains_may_be_a_trade_that_is_not_on_chain() -> None:
    """While one is under way nothing is taken over that no conversion explains."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        exchange, account = program.exchange, stage.env.account
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        bought = foreign(9, 8, status=TradeStatus.MATCHED)
        exchange.trades.append(bought)
        stage.env.router.on_user_message(bought)
        await asyncio.sleep(300)
        assert (account.cash, account.presumed) == (COUNTED - 4, Decimal(6))
        exchange.balance -= 4
        await stage.env.recount.wait()
        assert account.cash == COUNTED - 4

    program.play(act)


def test_a_trade_that_is_not_on_chain_is_not_taken_for_the_conversion() -> None:
    """It costs what the merge gave: as long as the venue may lack it, the difference says nothing."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        exchange, account = program.exchange, stage.env.account
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        bought = foreign(9, 12, status=TradeStatus.MATCHED)
        exchange.trades.append(bought)
        stage.env.router.on_user_message(bought)
        await asyncio.sleep(300)
        assert (account.cash, account.presumed) == (COUNTED - 6, Decimal(6))
        exchange.balance -= 6
        exchange.trades[-1] = now(bought, TradeStatus.CONFIRMED)
        stage.env.router.on_user_message(exchange.trades[-1])
        await stage.env.recount.wait()
        assert account.cash == exchange.balance == COUNTED - 6

    program.play(act)


def test_what_so_many_things_may_explain_is_explained_by_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sums of many claims that others redeemed fit anything, and are too many to be worked out."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        for power in range(13):
            stage.env.recount.was_paid(FIRST, Decimal(2) ** power)
        program.exchange.balance = stage.env.account.cash
        await stage.env.recount.wait()

    program.play(act)
    (told,) = [r for r in caplog.records if "was counted again after" in r.message]
    assert told.levelname == "WARNING"


def test_a_redemption_under_way_is_waited_for() -> None:
    """The venue has paid, and it is not confirmed: what was claimed becomes cash once."""
    program = Reborn(MERGE)
    program.exchange.redeems = False

    async def act(stage: Stage) -> None:
        exchange, account = program.exchange, stage.env.account
        program.happens()
        state = stage.trading.state(FIRST)
        assert state is not None
        await stage.open_cycle(START + 900)
        await asyncio.sleep(900 + 120)
        redeeming = asyncio.create_task(stage.env.redeem())
        program.settles(stage)
        await stage.env.conversions.wait(state, f"{FIRST.slug}-merge-1")
        exchange.balance = COUNTED + 14
        await asyncio.sleep(300)
        assert (account.cash, account.claimable) == (COUNTED, Decimal(14))
        exchange.finish("0xtx1", ReceiptState.CONFIRMED)
        await redeeming
        await stage.env.recount.wait()
        assert (account.cash, account.claimable) == (COUNTED + 14, Decimal(0))

    program.play(act)


def test_a_count_between_two_lists_that_differ_is_none() -> None:
    """A trade came in meanwhile: nobody knows whether its money is in the cash."""

    async def main() -> None:
        exchange = ConvertingExchange()
        clock = VirtualClock(START)
        counted = await count_once(exchange, clock)
        assert counted is not None
        assert counted[0].cash == 1000

        async def fetch_balance() -> Decimal:
            exchange.trades.append(foreign(1, 1))
            return Decimal(1000)

        exchange.fetch_balance = fetch_balance  # type: ignore[method-assign]
        assert await count_once(exchange, clock) is None

    asyncio.run(main())


@pytest.mark.parametrize("lag", [1.0, 5.0, 15.0])
def test_an_answer_that_is_older_than_it_seems_is_not_believed(lag: float) -> None:
    """The venue's figure may be some blocks behind: looks agree for longer than that."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        until = loop.time() + lag

        async def fetch_balance() -> Decimal:
            return COUNTED if loop.time() < until else COUNTED + 6

        program.exchange.fetch_balance = fetch_balance  # type: ignore[method-assign]
        await stage.env.recount.wait()
        assert stage.env.account.cash == COUNTED + 6

    program.play(act)


def test_a_venue_that_does_not_answer_is_asked_again() -> None:
    """Questions that fail leave it open."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        program.exchange.trades_error = ExchangeUnavailable("no answer")
        await asyncio.sleep(60)
        assert stage.env.account.presumed == 6
        program.exchange.trades_error = None
        await stage.env.recount.wait()
        assert stage.env.account.presumed == 0

    program.play(act)


def test_nothing_is_counted_after_the_end() -> None:
    """A redemption that somebody waits for may outlive the environment: it begins no count there."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        tasks = asyncio.all_tasks()
        await stage.env.recount.stop()
        stage.env.recount.was_paid(FIRST, Decimal(3))
        assert asyncio.all_tasks() <= tasks
        assert stage.env.account.presumed == 3

    program.play(act)


def test_what_nothing_explains_is_taken_over_after_many_looks_that_agree() -> None:
    """A deposit meanwhile: the venue's cash counts, as at every start, when it stays as it is."""
    program = Reborn(SPLIT)
    looks = 0

    async def act(stage: Stage) -> None:
        async def fetch_balance() -> Decimal:
            nonlocal looks
            looks += 1
            return COUNTED + 94  # 100 more, and the split was not in the count

        program.happens()
        program.settles(stage)
        await program.ended(stage)
        program.exchange.fetch_balance = fetch_balance  # type: ignore[method-assign]
        await stage.env.recount.wait()
        assert stage.env.account.cash == COUNTED + 94
        assert looks >= AGREEING_UNEXPLAINED

    program.play(act)


def test_a_market_that_has_paid_meanwhile_is_waited_for() -> None:
    """By a clock that is behind the payout comes before the end of the window: it is no merge."""
    program = Reborn(MERGE)

    async def act(stage: Stage) -> None:
        exchange, account = program.exchange, stage.env.account
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        # Up has won: 14 shares are paid, four of them against what was paid for Down.
        exchange.balance = COUNTED + 14
        exchange.resolve_after = -10_000.0
        exchange.unresolved.add(SECOND.slug)
        await asyncio.sleep(300)
        assert account.cash == COUNTED
        assert account.presumed == 6
        await stage.open_cycle(START + 900)
        await stage.env.recount.wait()
        assert account.cash == COUNTED + 14

    program.play(act)


def test_what_nobody_can_tell_any_more_is_counted_too() -> None:
    """All is paid out before the end was known: the books say it failed, the venue says the cash."""
    program = Reborn(MERGE)
    program.exchange.on_chain[FIRST.slug] = {UP: Decimal(14), DOWN: Decimal(4)}

    async def act(stage: Stage) -> None:
        exchange, account = program.exchange, stage.env.account
        await asyncio.sleep(60)  # its trade is still under way, so the shares tell nothing
        state = stage.trading.state(FIRST)
        assert state is not None
        await stage.open_cycle(START + 900)
        exchange.on_chain[FIRST.slug] = {}
        # It was in the count: only 14 Up were left to be paid for, and the books know of 20.
        exchange.balance = COUNTED + 14
        await asyncio.sleep(900 + 300)
        assert state.winner is UP
        program.settles(stage)
        failed = await stage.env.conversions.wait(state, f"{FIRST.slug}-merge-1")
        assert "paid out" in failed.text
        assert account.available <= exchange.balance
        profit = state.profit()
        await stage.env.recount.wait()
        assert (account.cash, account.available) == (exchange.balance, exchange.balance)
        assert state.profit() == profit == dec("5.50")

    program.play(act)


def test_the_ledger_says_what_was_put_right(tmp_path: Path) -> None:
    """A note has the cash before and after, and because of which conversion."""
    program, path = Reborn(MERGE), tmp_path / "trades.sqlite"

    async def act(stage: Stage) -> None:
        program.exchange.balance = COUNTED + 6
        program.happens()
        program.settles(stage)
        await program.ended(stage)
        await stage.env.recount.wait()

    program.play(act, ledger=Ledger(path))
    with Ledger.open(path) as reader:
        (note,) = reader.notes("recount")
    assert note.data == {
        "was": "985.50",
        "is": "991.50",
        "after": [f"{FIRST.slug}-merge-1"],
        "explained": True,
    }


@given(
    cash=st.decimals("0", "100", places=2),
    split=st.decimals("0.01", "100", places=2),
    was_counted=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_nothing_is_negative_and_nothing_too_much_is_free(
    cash: Decimal, split: Decimal, was_counted: bool
) -> None:
    """A split is booked, presumed and held: the cash stays what was counted, and less is free."""
    account = Account(cash)
    account.spend(split)
    account.presume(-split)
    account.doubt(split)
    assert (account.cash, account.available, account.presumed) == (cash, cash - split, -split)
    truth = cash if was_counted else max(cash - split, Decimal(0))
    account.take_stock(Stock(truth))
    assert (account.cash, account.available, account.presumed) == (truth, truth, Decimal(0))
    with pytest.raises(ValueError, match="at least 0"):
        account.doubt(Decimal(-1))
