"""Restarts in odd circumstances: clocks that went back, markets that changed, classes that changed."""

from __future__ import annotations

import asyncio
import hashlib
from decimal import Decimal

import msgspec
import pytest
from attrs import define, field, validators

from polyframe import PERSIST
from polyframe.counters import Count
from polyframe.model.events import TradeReport
from polyframe.model.market import Market
from polyframe.model.trade import TradeStatus
from polyframe.persisted import decode_fields
from polyframe.session import SessionState
from polyframe.trading.ledger import CycleStatus
from tests.runtime.test_restart import FIRST, SENT, SNAPSHOT, Keeper, Run, began, buy, fill, placed
from tests.support.fake import START, resealed
from tests.support.stage import Recorder, Stage


def keeper(stage: Stage) -> Keeper:
    """Return the strategy that runs."""
    strategy = stage.trader._desks[stage.trading.series].runs[0].strategy
    assert isinstance(strategy, Keeper)
    return strategy


def changed(snapshot: bytes, old: bytes, new: bytes) -> bytes:
    """Return a snapshot in which something else was written."""
    head, body, _ = snapshot.split(b"\n")
    header = msgspec.json.decode(head)
    body = body.replace(old, new)
    header |= {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    return b"\n".join((msgspec.json.encode(header), body, b""))


async def bought(stage: Stage, run: Run) -> None:
    """Buy 4 shares."""
    await buy(stage)
    fill(run)
    stage.exchange.user.push(run.exchange.trades[0])  # type: ignore[union-attr]


# ---------------------------------------------------------------------------- clocks


def test_a_clock_that_was_set_back_does_not_reopen_a_resolved_market() -> None:
    """The cycle was paid out in the run before: it is not traded on, nor paid out again."""
    run = Run()

    async def live(stage: Stage) -> None:
        await bought(stage, run)
        await stage.open_cycle(START + 900)
        run.exchange.balance += 4  # Up won, and the venue has paid
        await asyncio.sleep(1000)
        assert run.exchange.balance == stage.env.account.cash
        run.kill()

    run.first(live)
    assert SNAPSHOT in run.store.files  # the trade is not settled on chain

    async def again(stage: Stage) -> None:
        assert stage.trading.has_traded(FIRST.window)
        await asyncio.sleep(1000)
        assert FIRST.slug not in stage.env.settlement.pending
        assert run.exchange.balance == stage.env.account.cash
        record = stage.env.ledger.get(FIRST.slug)
        assert record is not None
        assert CycleStatus.RESOLVED is record.status

    run.second(again, start=None)


def test_a_resumed_cycle_is_compared_whichever_comes_first() -> None:
    """Also if our clock was set back and another cycle comes before the one that was traded."""
    run = Run()
    run.first(buy)

    async def again(stage: Stage) -> None:
        await stage.open_cycle(START - 900)
        fill(run)
        await stage.open_cycle(START)
        assert (Decimal(4), Decimal(0)) == began(stage)[2]

    run.second(again, at=START - 100.0, start=None)


# ---------------------------------------------------------------------------- ends that nobody saw


def test_an_order_whose_strategy_did_not_see_the_end_is_cancelled() -> None:
    """The program was dead at the boundary: nobody expects the order, and it may fill for a minute."""
    run = Run()
    run.first(buy)

    async def again(stage: Stage) -> None:
        await asyncio.sleep(3)
        assert ["0xorder1"] == run.exchange.cancelled
        assert {"cancelled": 1} == stage.env.counters.reasons(Count.LATE_ORDERS)

    run.second(again, at=START + 905.0, start=START + 900)


def test_an_order_of_a_cycle_that_nobody_trades_on_is_cancelled_at_its_end() -> None:
    """Until then somebody may still start and go on with it."""
    run = Run()
    run.first(buy)

    async def again(stage: Stage) -> None:
        await asyncio.sleep(690)
        assert run.exchange.cancelled == []
        await asyncio.sleep(15)
        assert ["0xorder1"] == run.exchange.cancelled

    run.second(again, start=None)


def test_an_order_that_was_left_at_the_end_stays_after_a_restart() -> None:
    """Whether to leave it was the strategy's decision, and it took it before the kill."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        await asyncio.sleep(800)
        await stage.open_cycle(START + 900)

    run.first(live)

    async def again(stage: Stage) -> None:
        await asyncio.sleep(30)
        assert run.exchange.cancelled == []

    run.second(again, at=START + 910.0, start=START + 900)
    # Nor after a second one.
    run.second(again, at=START + 920.0, start=START + 900)


def test_what_waits_for_a_session_that_is_given_up_is_not_lost() -> None:
    """A fill of a restored cycle comes while its market is opened, and the trader stops before."""
    run = Run()
    run.first(buy)

    async def again(stage: Stage) -> None:
        session = await stage.prepare(START)
        fill(run)
        stage.exchange.user.push(run.exchange.trades[0])  # type: ignore[union-attr]
        await stage.scheduler.stop()
        assert session.state is SessionState.DEAD
        assert run.exchange.balance == stage.env.account.cash

    run.second(again, start=None)


# ---------------------------------------------------------------------------- markets


def test_a_market_with_other_tokens_leaves_nothing_behind() -> None:
    """Its files are set aside, its fields stay away, and its orders hold no cash."""
    run = Run()

    async def live(stage: Stage) -> None:
        await buy(stage)
        keeper(stage).rounds = 5

    run.first(live)
    old, new = b"btc17905860001", b"btcOTHER1"
    run.store.files = {
        SNAPSHOT: changed(run.store.files[SNAPSHOT], old, new),
        SENT: resealed(run.store.files[SENT], old, new),
    }
    run.exchange.known.clear()

    async def again(stage: Stage) -> None:
        assert {"wrong_market": 1} == stage.env.counters.reasons(Count.SNAPSHOTS_REFUSED)
        assert Decimal(0) == stage.env.account.reserved
        assert [SNAPSHOT] == list(run.store.aside)
        await buy(stage)
        assert 1 == len(placed(stage))
        await asyncio.sleep(1)

    is_resumed, orders, _, fields = began(run.second(again))
    assert is_resumed is False
    assert orders == ()
    assert (0, Decimal(0), (), 0) == fields
    assert 1 == len(began(run.second())[1])  # type: ignore[arg-type]


# ---------------------------------------------------------------------------- defects


@pytest.mark.parametrize("name", [SNAPSHOT, SENT])
def test_a_file_of_which_no_state_can_be_made_keeps_no_program_from_starting(name: str) -> None:
    """It is whole and of one piece, and yet nonsense: set aside like any other."""
    run = Run()
    run.first(buy)
    old, new = b'"size":"10"', b'"size":"NaN"'
    if name == SNAPSHOT:
        data = changed(run.store.files[SNAPSHOT], old, new)
    else:
        data = resealed(run.store.files[SENT], old, new)
    assert new in data
    run.store.files = {name: data}
    stage = run.second()
    assert {"foreign": 1} == stage.env.counters.reasons(Count.SNAPSHOTS_REFUSED)
    assert [name] == list(run.store.aside)
    assert began(stage)[:2] == (False, ())


def test_a_trade_that_comes_and_fails_within_a_count_is_noticed() -> None:
    """What it cost is in the count, and is back by now: the cash is counted again."""
    run = Run()
    run.first(buy)
    counts: list[Decimal] = []

    async def count() -> Decimal:
        before = run.exchange.balance
        if not counts:
            fill(run)
            counts.append(run.exchange.balance)
            failed = msgspec.structs.replace(run.exchange.trades[0], status=TradeStatus.FAILED)
            run.exchange.trades, run.exchange.balance = [failed], before
            return counts[0]
        return before

    run.exchange.fetch_balance = count  # type: ignore[method-assign]

    async def again(stage: Stage) -> None:
        assert run.exchange.balance == stage.env.account.cash

    run.second(again)


def test_a_defect_in_the_first_comparison_keeps_no_strategy_out() -> None:
    """It is logged and tried again, as if the venue had not answered."""
    run = Run()
    run.first(buy)

    async def again(stage: Stage) -> None:
        fetch = stage.exchange.fetch_trades

        async def broken(
            market: Market | None = None, after: int | None = None
        ) -> list[TradeReport]:
            raise KeyError(market)

        stage.exchange.fetch_trades = broken  # type: ignore[method-assign]
        await stage.open_cycle()
        await asyncio.sleep(5)
        assert stage.diary.of(START) == []
        stage.exchange.fetch_trades = fetch  # type: ignore[method-assign]
        await asyncio.sleep(6)
        assert began(stage)[0] is True

    run.second(again, start=None)


# ---------------------------------------------------------------------------- fields


@define
class Careful(Recorder):
    """Has a field that does not take every value of its type."""

    first: int = field(init=False, default=0, metadata=PERSIST)
    second: int = field(init=False, default=0, metadata=PERSIST, validator=validators.lt(3))


def test_fields_are_set_all_or_none() -> None:
    """A value that a validator refuses leaves the fields before it as they were, too."""
    strategy = Careful()
    with pytest.raises(ValueError, match="second"):
        decode_fields(strategy, msgspec.Raw(b'{"first":2,"second":7}'))
    assert (0, 0) == (strategy.first, strategy.second)


def test_a_value_that_could_not_be_read_back_replaces_nothing() -> None:
    """A number that became a text would cost all fields after a restart: the last good ones stay."""
    run = Run()

    async def live(stage: Stage) -> None:
        keeper(stage).rounds = 1
        await asyncio.sleep(1)
        keeper(stage).rounds = "two"  # type: ignore[assignment]
        await asyncio.sleep(1)
        assert stage.env.counters.get(Count.SNAPSHOTS, "fields_failed")

    run.first(live)
    stage = run.second()
    assert (1, Decimal(0), (), 0) == began(stage)[3]
    assert 0 == stage.env.counters.get(Count.SNAPSHOTS_REFUSED)


def test_a_validator_may_raise_what_it_likes() -> None:
    """The strategy starts with its defaults: a refusal of stored values is none of the strategy."""
    run = Run()

    async def live(stage: Stage) -> None:
        keeper(stage).rounds = 5

    run.first(live)

    @define
    class Changed(Recorder):
        rounds: int = field(init=False, default=0, metadata=PERSIST)

        @rounds.validator
        def _check(self, _: object, value: int) -> None:
            assert value < 5

        async def on_cycle_start(self) -> None:
            self._note("began", self.rounds)

    Changed.__name__ = "Keeper"
    run.strategy = Changed()
    stage = run.second()
    assert [("began", 0)] == stage.diary.of(START, "began")
    assert {"fields": 1} == stage.env.counters.reasons(Count.SNAPSHOTS_REFUSED)
