"""The account of a paper exchange over restarts: kept before it is told, read back or refused."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from typing_extensions import override

from polyframe.clock import ScaledClock, VirtualClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError
from polyframe.logmode import close_mode, open_mode
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.paper import keeping
from polyframe.paper.exchange import PaperExchange
from polyframe.paper.keeping import KEY
from polyframe.trading.snapshotstore import FolderStore, MemoryStore
from tests.paper.kit import order
from tests.paper.scene import play, scene, until
from tests.support.fake import START, FakeExchange


def test_the_account_survives_a_restart() -> None:
    """Cash, shares, orders with their places, trades under way, ids: all goes on."""
    store = MemoryStore()

    async def first(clock: VirtualClock) -> None:
        async with scene(clock, store) as found:
            await found.place(order("0.51", 10))
            resting, _ = await found.place(order("0.49", 20))
            found.sell(4900, 60)
            gtd = OrderRequest(
                Outcome.UP,
                Side.BUY,
                Decimal("0.30"),
                Decimal(5),
                OrderType.GTD,
                expires=START + 300,
            )
            await found.place(gtd)
            seen.update(
                name=found.exchange.account_name,
                cash=await found.exchange.fetch_balance(),
                order=resting,
            )

    async def second(clock: VirtualClock) -> None:
        inner = FakeExchange()
        async with scene(clock, store, inner) as found:
            exchange = found.exchange
            assert exchange.account_name == seen["name"]
            assert await exchange.fetch_balance() == seen["cash"]
            assert (await exchange.fetch_open_orders())[0].order_id == seen["order"]
            new, _ = await found.place(order("0.40", 10))
            assert new == "paper-2-1"
            found.sell(4900, 45)  # 40 of 100 are still before it
            report = await exchange.fetch_order(str(seen["order"]))
            assert report is not None
            assert report.size_matched == 5
            await clock.sleep(4)
            assert "CONFIRMED" in found.told()
            await clock.sleep(240)
            assert "CANCELED_EXPIRED_ORDER" in found.told()

    seen: dict[str, object] = {}
    play(first)
    play(second, START + 61)


def test_a_market_that_ended_while_we_were_away_is_paid() -> None:
    """Nobody else may ask for the resolution of a market of an earlier run."""
    store = MemoryStore()

    async def first(clock: VirtualClock) -> None:
        async with scene(clock, store) as found:
            await found.place(order("0.51", 10))
            await found.place(order("0.40", 10))

    async def second(clock: VirtualClock) -> None:
        inner = FakeExchange()
        exchange = PaperExchange(inner, store=store)
        await exchange.open(clock, Counters())
        cash = await exchange.fetch_balance()
        assert await exchange.fetch_open_orders() == []
        await clock.sleep(100)
        assert await exchange.fetch_balance() == cash + 10
        await exchange.close()

    play(first)
    play(second, START + 905)


def test_what_is_told_is_kept_before(tmp_path: Path) -> None:
    """At the moment at which an answer is known, the file has it: a kill then loses nothing."""
    folder = tmp_path / "paper"

    async def act() -> None:
        # Real time: a simulated clock does not wait for the thread that writes.
        async with scene(ScaledClock(1, START + 60), folder) as found:
            prepared = found.exchange.prepare_order(found.market, order("0.40", 10))
            placing = asyncio.create_task(found.exchange.place_order(prepared))
            kept = []
            placing.add_done_callback(lambda _: kept.append((folder / KEY).read_bytes()))
            assert (await placing).result is PlaceResult.LIVE
            assert b"paper-1-1" in kept[0]
            with pytest.raises(ConfigError, match=r"store: .* is in use"):
                await PaperExchange(FakeExchange(), store=folder).open(VirtualClock(), Counters())
        async with scene(ScaledClock(1, START + 61), folder) as found:
            (resting,) = await found.exchange.fetch_open_orders()
            assert resting.order_id == "paper-1-1"

    asyncio.run(act())


class SlowStore(MemoryStore):
    """Waits for a disk that does not come before it is told to."""

    blocks = True

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()

    @override
    def write(self, key: str, data: bytes) -> None:
        assert self.go.wait(10)
        super().write(key, data)


def test_what_happens_during_a_write_is_written_after_it() -> None:
    """While a thread writes, other orders arrive: they are answered with the write that follows."""
    store = SlowStore()

    async def act() -> None:
        async with scene(ScaledClock(1, START + 60), store) as found:
            store.go.clear()
            placing = [asyncio.create_task(found.place(order("0.40", 10))) for _ in range(2)]
            await until(lambda: len(found.exchange._venue.open_orders()) == 2)
            placing.append(asyncio.create_task(found.place(order("0.40", 11))))
            await until(lambda: len(found.exchange._venue.open_orders()) == 3)
            assert not any(task.done() for task in placing)
            store.go.set()
            async with asyncio.timeout(10):
                await asyncio.gather(*placing)
            assert len(keeping.decode(store.read(KEY)).orders) == 3

    asyncio.run(act())


def test_a_strategy_that_uses_all_threads_holds_up_no_order(tmp_path: Path) -> None:
    """The account is written by a thread of its own, however long others compute."""
    go = threading.Event()

    async def act() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        async with scene(ScaledClock(1, start=START), tmp_path / "kept") as found:
            computing = asyncio.create_task(asyncio.to_thread(go.wait))
            try:
                async with asyncio.timeout(10):
                    _, answer = await found.place(order("0.40", 10))
                assert answer.result is PlaceResult.LIVE
            finally:
                go.set()
                await computing

    asyncio.run(act())


class FullStore(MemoryStore):
    """Has no room."""

    @override
    def write(self, key: str, data: bytes) -> None:
        msg = "no space left"
        raise OSError(msg)


def test_a_full_disk_stops_no_trading(caplog: pytest.LogCaptureFixture) -> None:
    """It is one error in the log and a count; orders are answered all the same."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock, FullStore()) as found:
            _, answer = await found.place(order("0.40", 10))
            assert answer.result is PlaceResult.LIVE
            assert found.counters.get(Count.PAPER_SKIPPED, "not_kept") > 1
            assert len([one for one in caplog.records if "could not be kept" in one.message]) == 1

    play(act)


def test_a_full_disk_is_told_with_whose_money_it_is(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that writes speaks for its own account, also beside one with real money."""
    monkeypatch.setattr(FolderStore, "write", FullStore.write)

    async def act() -> None:
        modes = [open_mode(is_live=True), open_mode(is_live=False)]  # the last one is ours
        try:
            async with scene(ScaledClock(1, start=START), tmp_path / "kept") as found:
                await found.place(order("0.40", 10))
        finally:
            for mode in modes:
                close_mode(mode)

    asyncio.run(act())
    (line,) = [one.getMessage() for one in caplog.records if "could not be kept" in one.message]
    assert line.startswith("[paper] ")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"{", "no paper account that can be read"),
        (b'{"format":"something"}', "no paper account that can be read"),
        (b'{"format":"polyframe-paper-account","version":9}', "update polyframe"),
        (b'{"format":"polyframe-paper-account","version":1}', "move it away"),
    ],
)
def test_a_file_that_is_something_else_is_refused(data: bytes, match: str) -> None:
    """An account is not begun anew because its file cannot be read; nothing is overwritten."""
    store = MemoryStore()
    store.write(KEY, data)

    async def act(clock: VirtualClock) -> None:
        exchange = PaperExchange(FakeExchange(), store=store)
        with pytest.raises(ConfigError, match=match):
            await exchange.open(clock, Counters())
        await exchange.close()

    play(act)
    assert store.read(KEY) == data
