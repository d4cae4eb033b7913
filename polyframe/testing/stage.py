"""The stage of a simulated run: a venue, a computer, and the processes of a program on it."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen

from polyframe.clock import Clock, VirtualClock
from polyframe.counters import Counters
from polyframe.environment import Environment
from polyframe.errors import ExchangeError, PolyframeError
from polyframe.session import ExchangeSession
from polyframe.testing.faults import Fault
from polyframe.testing.invariants import Invariant
from polyframe.testing.monitor import Monitor
from polyframe.testing.simclock import SimWallClock
from polyframe.testing.simledger import Journals
from polyframe.testing.simprocess import Killer, SimProcess, keep_tasks_apart
from polyframe.testing.simstore import SimDisk
from polyframe.testing.simtrader import Seen, SimTrader, Tap
from polyframe.testing.simvenue import SimVenue
from polyframe.trader import TraderSettings
from polyframe.trading.limits import RiskLimits
from polyframe.trading.service import TradingService

GRACE = 1.0
"""Seconds after the deadline of a cycle's end at which nothing of it may be left."""

SETTLED_WITHIN = 12 * 3600.0
"""Simulated seconds within which all is settled after the last cycle."""

PAUSES = (0.001, 0.5, 5.0, 40.0, 200.0, 700.0)
"""Seconds from the death of a process to the start of the next one."""

KEEPS_SNAPSHOTS = frozenset(
    {Fault.KILL, Fault.STORE_FULL, Fault.STORE_TORN, Fault.STORE_ROT, Fault.STORE_LOST}
)
"""Faults that need a program which keeps snapshots."""


@frozen
class PerProcess:
    """A service that every process of a run makes for itself, as a `SharedService` opens only once.

    Attributes:
        make: Returns a fresh one.
    """

    make: Callable[[], object]


class Stage:
    """A simulated venue, and a program that trades there in one process after the other.

    Args:
        venue: The venue.
        clock: Its time.
        settings: Settings of the trader.
        risk: Limits for what the strategies may do.
        services: Objects for ``env.provide``, or a `PerProcess` of one that opens only once.
        mount: Adds the strategies to a new trader.
        keep_events: Whether to keep what is published.

    Attributes:
        venue, clock, monitor: The parts that outlive processes.
        process: The present process.
        trader: Its trader.
        began: Market time at the start.
        seen: What was published to strategies, by generation, if it is kept.
        disk: Where snapshots are.
        journals: What the ledgers of all processes say.
        starts: How many processes were started.
    """

    process: SimProcess
    trader: SimTrader

    def __init__(
        self,
        venue: SimVenue,
        clock: VirtualClock,
        *,
        settings: TraderSettings | None = None,
        risk: RiskLimits | None = None,
        services: Iterable[object] = (),
        mount: Callable[[SimTrader], None],
        keep_events: bool = True,
    ) -> None:
        self.venue = venue
        self.clock = clock
        self.began = clock.time()
        self.disk = SimDisk(venue.faults)
        self.journals = Journals()
        self.monitor = Monitor(venue, clock, self.journals, self.disk.doubtful)
        self.seen: list[Seen] = []
        self.starts = 0
        self._keep_events = keep_events
        self._settings = settings or TraderSettings()
        self._risk = risk
        self._services = tuple(services)
        self._mount = mount
        self._killer = Killer(venue.faults)
        self._wall: Clock = clock
        self._counters: list[Counters] = []

    @property
    def env(self) -> Environment:
        """The environment of the present process."""
        return self.process.env

    @property
    def counters(self) -> Counters:
        """The counts of all processes together."""
        total = Counters()
        for counters in self._counters:
            for name, reason, count in counters:
                total.add(name, reason, count)
        return total

    def services(self) -> list[TradingService]:
        """Return the trading services of all series."""
        return [self.trader.trading(series) for series in self.trader.series]

    # ------------------------------------------------------------------ processes

    async def open(self) -> None:
        """Start the first process.

        Raises:
            ExchangeError: The venue did not answer.
        """
        keep_tasks_apart(asyncio.get_running_loop())
        self.monitor.on_message = lambda: self._killer.on_event("message")
        if Fault.CLOCK_JUMP in self.venue.faults.kinds:
            self._wall = wall = SimWallClock(self.clock, self.venue.faults)
            wall.start()
        await self._start()
        self.venue.may_fail = True

    async def close(self) -> None:
        """End the present process in order, and the venue."""
        try:
            await self.process.close()
        finally:
            await self.venue.close()

    async def _start(self) -> None:
        self.starts += 1
        faults = self.venue.faults
        process = self.process = SimProcess(
            self.venue,
            self.disk,
            self.journals,
            self.clock,
            self._wall,
            self._risk,
            self._killer.on_event,
            keeps_snapshots=bool(KEEPS_SNAPSHOTS & faults.kinds),
        )
        env = process.env
        rng = random.Random(f"{self.venue.seed}/schedule/{self.starts}")
        self.trader = SimTrader(env, self._settings, rng)
        self.trader.on_barrier = self._on_barrier
        self._mount(self.trader)
        env.provide(self.monitor)
        env.provide(faults)
        for service in self._services:
            env.provide(service.make() if isinstance(service, PerProcess) else service)
        process.on_death = self.monitor.detach
        self._counters.append(env.counters)
        self.monitor.attach(env, self.services, process.line)
        self._killer.process = process
        await process.open()
        if not process.is_dead:
            self.monitor.opened()

    async def run(self, cycles: int) -> None:
        """Trade for `cycles` cycles and until all is settled; start anew whenever it is killed."""
        series = self.trader.series
        period = max(one.window_at(self.began) for one in series)
        seconds = period.end - period.start
        end = period.start + cycles * seconds
        self._killer.until = asyncio.get_running_loop().time() + end - self.clock.time() + 600.0
        self._killer.start()
        while not await self._life(cycles):
            await self._bury()
            while not await self._restarted():
                await self.clock.sleep(1.0)
            cycles = max(1, math.ceil((end - self._wall.time()) / seconds))

    async def _life(self, cycles: int) -> bool:
        """Let the process trade; say whether it came to its end alive."""
        process = self.process
        life = process.spawn(self._live(cycles), "trader")
        died = asyncio.create_task(process.died.wait())
        try:
            await asyncio.wait({life, died}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            died.cancel()
            if not process.is_dead:
                life.cancel()
                await asyncio.wait({life})
        if process.is_dead:
            return False
        try:
            await life
        except PolyframeError:
            raise
        except Exception as error:  # noqa: BLE001 - told as what it is, which ends the run
            self.monitor.violate(Invariant.NO_DEFECT, f"the trader raised {error!r}")
            await asyncio.Event().wait()
        return True

    async def _live(self, cycles: int) -> None:
        await self.trader.run(cycles)
        async with asyncio.timeout(SETTLED_WITHIN):
            for service in self.services():
                await service.wait_idle()
            await self.env.settlement.wait_settled()
            while not self.venue.is_quiet:
                await self.clock.sleep(10.0)
            await self.env.recount.wait()

    async def _bury(self) -> None:
        """Collect what is left of a dead process, and let time pass."""
        self._killer.process = None
        left = await self.process.bury()
        text = f"tasks that no death ends: {left}"
        self.monitor.check(not left, Invariant.NOTHING_LEFT, text)
        self.disk.rest()
        await self.clock.sleep(self.venue.faults.source(Fault.KILL).choice(PAUSES))

    async def _restarted(self) -> bool:
        """Start a new process; say whether it lives."""
        try:
            await self._start()
        except ExchangeError:
            # Whoever watches over the program starts it again.
            self._killer.process = None
            self.monitor.detach()
            return False
        except Exception as error:  # noqa: BLE001 - told as what it is, which ends the run
            self.monitor.violate(Invariant.NO_DEFECT, f"a start raised {error!r}")
            await asyncio.Event().wait()
        if self.process.is_dead:
            await self._bury()
        return not self.process.is_dead

    # ------------------------------------------------------------------ switches

    def _on_barrier(
        self,
        service: TradingService,
        step: str,
        old: ExchangeSession | None,
        new: ExchangeSession | None,
    ) -> None:
        """Check a step of a switch, and let events come in between if a fault says so."""
        if self.process.is_dead:
            return
        if step == "start" and new is not None:
            state = service.state(new.market)
            sequence = 0 if state is None else state.sequence
            new.subscribe(Tap(self.monitor, new, sequence, self.saw))
        self.monitor.on_barrier(service, step, old, new)
        if step == "detach" and old is not None:
            deadline = self._settings.cycle_end_timeout + GRACE
            expect = self.monitor.expect_dead
            asyncio.get_running_loop().call_later(deadline, expect, self.env, old)
        if step != "open" and self.venue.faults.hit(Fault.BARRIER):
            self._disturb(old, new)
        self._killer.on_event("step")

    def _disturb(self, old: ExchangeSession | None, new: ExchangeSession | None) -> None:
        """Let messages arrive and markets move, within a switch."""
        source = self.venue.faults.source(Fault.BARRIER)
        wall = self._wall
        if isinstance(wall, SimWallClock) and self.venue.faults.hit(Fault.CLOCK_JUMP):
            wall.jump()
        if self.venue.user is not None:
            self.venue.user.rush(source.randint(0, 4))
        for session in (old, new):
            market = None if session is None else self.venue.markets.get(session.slug)
            if market is not None and market.is_open:
                market.step()
        if self.venue.user is not None:
            self.venue.user.rush(source.randint(0, 2))

    def saw(self, session: ExchangeSession, event: Any) -> None:
        """Keep what was published in a cycle."""
        if self._keep_events:
            self.seen.append(Seen(self.clock.time(), session.generation, session.slug, event))
