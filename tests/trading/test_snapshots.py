"""The writing of snapshots: whatever happens to it, it goes on, and trading too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from typing_extensions import override

from polyframe.clock import Clock, VirtualClock, WallClock
from polyframe.counters import Count, Counters
from polyframe.model.order import OrderRequest
from polyframe.trading.account import Account
from polyframe.trading.commands import CancelOrder, PlaceOrder
from polyframe.trading.image import CycleImage
from polyframe.trading.ledger import Ledger
from polyframe.trading.snapshotfile import Bucket, Owner, decode
from polyframe.trading.snapshots import INTERVAL, LONGEST, Snapshots
from polyframe.trading.snapshotstore import FolderStore, MemoryStore, Store
from polyframe.trading.state import CycleState
from tests.trading.builders import BUY, G1, UP, dec, make_market

MARKET = make_market(G1)
BUCKET = Bucket.of(MARKET)
OWNER = Owner("venue", "account", is_live=False)

Act = Callable[[Snapshots, CycleState], Awaitable[None]]


async def keeping(store: Store, clock: Clock, act: Act) -> Counters:
    """Run `act` while the snapshots of one cycle are kept in `store`."""
    account, counters = Account(dec("1000")), Counters()
    snapshots = Snapshots(store, clock=clock, counters=counters, ledger=Ledger(), account=account)
    snapshots.open(OWNER)
    state = CycleState(MARKET, account)
    snapshots.start()
    snapshots.watch(state)
    try:
        await act(snapshots, state)
    finally:
        await snapshots.close()
    return counters


def place(snapshots: Snapshots, state: CycleState, intent: str = "") -> None:
    """Place an order as the trading service does."""
    request = OrderRequest(UP, BUY, dec("0.5"), dec("10"), intent=intent)
    state.apply(PlaceOrder(G1, "c0", "v0", "alpha", MARKET.up_token, request, 1))
    snapshots.sent(MARKET, state.orders["c0"])
    snapshots.changed(MARKET.slug)


class OddStore(MemoryStore):
    """A store that raises what none should, once."""

    error: Exception | None = None

    @override
    def write(self, key: str, data: bytes) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
        super().write(key, data)


def test_a_defect_does_not_end_the_writing(caplog: pytest.LogCaptureFixture) -> None:
    """A write that raises something unheard of is told, and the next one writes all of it."""
    store, clock = OddStore(), VirtualClock(G1)

    async def act(snapshots: Snapshots, state: CycleState) -> None:
        store.error = KeyError("a defect")
        place(snapshots, state)
        await asyncio.sleep(1)
        assert state.image() == decode(OWNER, BUCKET, store.read(BUCKET.snapshot_key)).image

    counters = clock.run(keeping(store, clock, act))
    assert 1 == counters.get(Count.SNAPSHOTS, "failed")
    assert "a defect" in caplog.text


def test_a_source_that_raises_does_not_end_the_writing(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does a round that fails before anything is written."""
    store, clock = MemoryStore(), VirtualClock(G1)

    async def act(snapshots: Snapshots, state: CycleState) -> None:
        image, state.image = state.image, broken  # type: ignore[method-assign]
        place(snapshots, state)
        await asyncio.sleep(1)
        state.image = image  # type: ignore[method-assign]
        await asyncio.sleep(LONGEST + 1)
        assert BUCKET.snapshot_key in store.files

    def broken() -> CycleImage:
        raise ZeroDivisionError

    clock.run(keeping(store, clock, act))
    assert "a round of snapshots failed" in caplog.text


def test_an_order_that_cannot_be_written_leaves_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is registered, so it has to be sent: what is wrong with it is counted and told."""
    clock = VirtualClock(G1)

    async def act(snapshots: Snapshots, state: CycleState) -> None:
        place(snapshots, state, intent="half of a pair \ud83d")
        await asyncio.sleep(1)

    counters = clock.run(keeping(MemoryStore(), clock, act))
    assert 1 == counters.get(Count.SNAPSHOTS, "sent_failed")
    assert "snapshots cannot be written" in caplog.text


def test_an_end_before_the_thread_began_loses_nothing(tmp_path: Path) -> None:
    """What was handed to the thread and never written is written by the last round."""
    folder = tmp_path / "kept"
    busy = threading.Event()

    async def act(snapshots: Snapshots, state: CycleState) -> None:
        threads = snapshots._threads
        assert threads is not None
        threads.submit(busy.wait, 10)
        snapshots.add_fields(MARKET.slug, "alpha", lambda: msgspec.Raw(b'{"rounds":1}'))
        await asyncio.sleep(INTERVAL + 0.2)
        # The writer waits behind it, and is cancelled while it does.
        assert 1 == threads._work_queue.qsize()
        asyncio.get_running_loop().call_later(0.05, busy.set)

    asyncio.run(keeping(FolderStore(folder), WallClock(), act))
    content = decode(OWNER, BUCKET, (folder / BUCKET.snapshot_key).read_bytes())
    assert {"alpha": msgspec.Raw(b'{"rounds":1}')} == content.fields


def test_one_slow_write_does_not_put_off_the_next_for_long() -> None:
    """A disk that hung for an hour, or a computer that slept, costs no hours without snapshots."""
    clock = VirtualClock(G1)

    class SlowStore(MemoryStore):
        @override
        def write(self, key: str, data: bytes) -> None:
            if not self.files.get(key):
                clock._advance(3600)
            super().write(key, data)

    store = SlowStore()

    async def act(snapshots: Snapshots, state: CycleState) -> None:
        place(snapshots, state)
        await asyncio.sleep(1)
        before = state.image()
        state.apply(CancelOrder(G1, "c0", 2))
        snapshots.changed(MARKET.slug)
        await asyncio.sleep(LONGEST + 1)
        kept = decode(OWNER, BUCKET, store.read(BUCKET.snapshot_key)).image
        assert before != state.image() == kept

    clock.run(keeping(store, clock, act))
