"""One simulated process: what a kill ends, what it cannot end, and what is left on the disk."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import cast

import pytest
from attrs import define

from polyframe.clock import VirtualClock
from polyframe.counters import Count
from polyframe.model.events import PriceChanged
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderStatus, Side
from polyframe.strategy import Strategy
from polyframe.testing import START, Fault, Faults, SimVenue, Stage, make_market, play
from polyframe.testing.simclock import FARTHEST, SimWallClock
from polyframe.testing.simprocess import Killer, SimProcess, keep_tasks_apart
from polyframe.testing.simstore import SimDisk, SimStore
from polyframe.trading.ledger import CycleStatus

SERIES = "btc-updown-15m"
SLUG = make_market(SERIES).slug
KEY = f"{SERIES}/{SLUG}@{START}.sent"
OTHER = f"{SERIES}/{SLUG}@{START}.snapshot"


@define
class Quoter(Strategy):
    """Rests one bid far below the market."""

    async def on_price(self, event: PriceChanged) -> None:
        if event.known and not self.trading.orders():
            await self.trading.buy(Outcome.UP, price=Decimal("0.10"), size=Decimal(10))


@define
class Deaf(Strategy):
    """Ignores that it is cancelled, until its line to the venue is cut."""

    async def run(self) -> None:
        while not getattr(self.env.exchange, "is_cut", False):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue


def mortal(*kinds: Fault) -> SimVenue:
    """Return a venue whose client keeps snapshots."""
    return SimVenue(faults=Faults({Fault.KILL, *kinds}, rates=dict.fromkeys(Fault, 0.0)))


async def killed(stage: Stage) -> None:
    """Trade for a while and kill the process."""
    stage.process.spawn(stage.trader.run(), "trader")
    await stage.clock.sleep(20)
    stage.process.kill()


def test_a_kill_ends_everything_at_once() -> None:
    """No file, no record, no request and no message after that instant, and no task is left."""

    async def act(stage: Stage) -> None:
        await killed(stage)
        files, records = dict(stage.disk.store.files), dict(stage.journals.records)
        delivered = 0 if stage.venue.user is None else stage.venue.user.delivered
        sent = stage.venue.sent
        assert sent == 1
        with pytest.raises(asyncio.CancelledError):
            await stage.env.exchange.fetch_balance()
        with pytest.raises(asyncio.CancelledError):
            market = make_market(SERIES)
            request = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.10"), Decimal(10))
            stage.env.exchange.prepare_order(market, request)
        assert await stage.process.bury() == []
        (order,) = stage.venue.markets[SLUG].orders.values()
        assert stage.venue.markets[SLUG].fill(order.order_id)
        await stage.clock.sleep(60)
        assert (stage.disk.store.files, stage.journals.records) == (files, records)
        assert stage.venue.sent == sent
        assert stage.venue.user is not None
        assert stage.venue.user.delivered == delivered
        assert stage.venue.streams[0].closed
        assert stage.monitor.violations == []

    play(act, Quoter(), Deaf(), venue=mortal())


def test_what_had_left_arrives_all_the_same() -> None:
    """An order that was on its way when the process died rests at the venue."""

    async def act(stage: Stage) -> None:
        stage.process.spawn(stage.trader.run(), "trader")
        while stage.venue.sent == 0:
            await stage.clock.sleep(0.001)
        assert stage.venue.markets[SLUG].orders == {}
        stage.process.kill()
        await stage.process.bury()
        await stage.clock.sleep(1)
        (order,) = stage.venue.markets[SLUG].orders.values()
        assert order.is_open
        assert order.told is None

    play(act, Quoter(), venue=mortal())


def test_the_next_process_goes_on() -> None:
    """It knows the order by the name that it had, and its record follows that of the first."""

    async def act(stage: Stage) -> None:
        await killed(stage)
        (order,) = stage.venue.markets[SLUG].orders.values()
        first = stage.env
        await stage._bury()
        assert await stage._restarted()
        assert stage.env is not first
        stage.process.spawn(stage.trader.run(), "trader")
        await stage.clock.sleep(5)
        (ours,) = stage.trader.trading(SERIES).snapshot().orders
        assert (ours.venue_id, ours.strategy) == (order.order_id, "Quoter")
        assert ours.status is OrderStatus.LIVE
        assert stage.journals.records[SLUG].status is CycleStatus.OPEN
        assert stage.counters.get(Count.SNAPSHOTS, "restored") == 1
        assert stage.monitor.violations == []

    play(act, Quoter(), venue=mortal())


def test_a_process_dies_while_it_starts() -> None:
    """It is over with the first answer of the venue, and the one after it knows the order all the same."""

    async def act(stage: Stage) -> None:
        await killed(stage)
        await stage._bury()
        killer = stage._killer
        killer._awaits, killer._left = "opening", 0
        assert not await stage._restarted()
        assert not killer._awaits
        assert await stage._restarted()
        assert stage.starts == 3
        stage.process.spawn(stage.trader.run(), "trader")
        await stage.clock.sleep(5)
        (ours,) = stage.trader.trading(SERIES).snapshot().orders
        assert ours.strategy == "Quoter"
        assert stage.monitor.violations == []

    play(act, Quoter(), venue=mortal())


@define
class Victim:
    """Counts how often it is killed."""

    deaths: int = 0

    def kill(self) -> None:
        """Die."""
        self.deaths += 1


def test_who_finds_nobody_to_kill_looks_again() -> None:
    """A moment that comes between two processes is let go, and another one is waited for."""
    clock, victim = VirtualClock(START), Victim()

    async def main() -> None:
        killer = Killer(Faults({Fault.KILL}, rates={Fault.KILL: 1.0}))
        killer.start()
        await clock.sleep(2000)
        killer.process = cast("SimProcess", victim)
        await clock.sleep(2000)
        killer.until = 0.0

    clock.run(main())
    assert victim.deaths > 10


def test_tasks_belong_to_the_process_that_began_them() -> None:
    """What the test starts survives the process, what the process starts does not."""

    async def act(stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        keep_tasks_apart(loop)
        mine = asyncio.create_task(asyncio.sleep(5))
        theirs: list[asyncio.Task[None]] = []

        async def begin() -> None:
            theirs.append(asyncio.create_task(asyncio.sleep(5)))

        await stage.process.spawn(begin(), "begin")
        stage.process.kill()
        assert await stage.process.bury() == []
        assert theirs[0].cancelled()
        assert not mine.done()
        mine.cancel()

    play(act, Quoter(), venue=mortal())


# ---------------------------------------------------------------------------- the disk


def store(disk: SimDisk, faults: Faults) -> tuple[SimStore, list[str]]:
    """Return a process's store, and where its kill and its writes are noted."""
    seen: list[str] = []
    return SimStore(disk, faults, lambda: seen.append("kill"), seen.append), seen


def test_a_full_disk_writes_a_part_of_a_line() -> None:
    """The error is the operating system's, the old file stays, and the cycle is doubtful."""
    faults = Faults({Fault.STORE_FULL}, rates={Fault.STORE_FULL: 1.0})
    disk = SimDisk(faults)
    disk.store.write(KEY, b"old")
    full, _ = store(disk, faults)
    with pytest.raises(OSError, match="no space"):
        full.write(KEY, b"new")
    assert disk.store.read(KEY) == b"old"
    assert not disk.doubtful
    with pytest.raises(OSError, match="no space"):
        full.append(KEY, b"a line")
    assert (b"old" + b"a line").startswith(disk.store.read(KEY))
    assert disk.doubtful == {SLUG}


def test_a_torn_line_is_the_end_of_its_process() -> None:
    """A part of the line is on the disk, and the order never leaves."""
    faults = Faults({Fault.STORE_TORN}, rates={Fault.STORE_TORN: 1.0})
    disk = SimDisk(faults)
    torn, seen = store(disk, faults)
    torn.append(KEY, b"a line")
    assert seen == ["kill"]
    assert len(disk.store.read(KEY)) < len(b"a line")


def test_a_dead_process_changes_nothing_on_the_disk() -> None:
    """Whatever its tasks still do while they end."""
    disk = SimDisk(Faults())
    dead, seen = store(disk, Faults())
    dead.append(KEY, b"a line")
    assert seen == ["append"]
    dead.is_cut = True
    dead.write(OTHER, b"x")
    dead.append(KEY, b"another")
    dead.remove(KEY)
    assert dead.set_aside(KEY) == KEY
    assert disk.store.files == {KEY: b"a line"}


def test_files_rot_and_get_lost() -> None:
    """Files are damaged or replaced, or all gone; their cycles are doubtful."""
    faults = Faults({Fault.STORE_ROT}, rates={Fault.STORE_ROT: 1.0})
    disk = SimDisk(faults)
    data = b'{"size":"10","price":"0.55"}'
    changed = 0
    for _ in range(20):
        disk.store.files = {KEY: data, OTHER: b"123"}
        disk.rest()
        changed += disk.store.files != {KEY: data, OTHER: b"123"}
    assert changed > 10
    assert disk.doubtful == {SLUG}
    disk.store.files = {KEY: b""}
    disk.rest()
    lost = SimDisk(Faults({Fault.STORE_LOST}, rates={Fault.STORE_LOST: 1.0}))
    lost.store.write(KEY, data)
    lost.rest()
    assert lost.store.files == {}
    assert lost.doubtful == {SLUG}


# ---------------------------------------------------------------------------- the clock


def test_a_clock_is_set_and_its_sleepers_notice() -> None:
    """Timers go on; a sleeper until an instant wakes soon after a step beyond it."""
    true = VirtualClock(START)
    wall = SimWallClock(true, Faults())

    async def main() -> tuple[float, float]:
        sleeper = asyncio.create_task(wall.sleep_until(START + 1000))
        await asyncio.sleep(1)
        wall.offset = 2000.0
        await sleeper
        woken = true.time() - START
        wall.offset = -100.0
        await wall.sleep(3)
        return woken, wall.time() - true.time()

    woken, offset = true.run(main())
    assert woken <= 11
    assert offset == -100.0
    assert repr(wall) == "SimWallClock(offset=-100)"


def test_a_clock_is_never_wrong_by_more_than_some_minutes() -> None:
    """However often it is set; at times it is right again."""
    wall = SimWallClock(VirtualClock(START), Faults())
    offsets = []
    for _ in range(500):
        wall.jump()
        offsets.append(wall.offset)
    assert max(map(abs, offsets)) <= FARTHEST
    assert 0.0 in offsets
    assert len(set(offsets)) > 20
