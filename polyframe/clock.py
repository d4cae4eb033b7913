"""Where market time comes from: the wall, a faster wall, or a simulation.

Two kinds of time are kept apart. *Market time* (boundaries of cycles, ages and stamps that
strategies see) is asked from a `Clock`. *Network time* (pings, silence, back-off, time-outs) is the
event loop's own, because a socket is as slow as it is, however fast market time runs.

Under `VirtualClock` both are simulated: its event loop never waits, it jumps to the next timer as
soon as nothing else is left to do.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from math import inf
from typing import Any, Protocol, TypeVar, runtime_checkable

from typing_extensions import override

from polyframe.errors import ConfigError

T = TypeVar("T")

_WALL_NAP = 10.0
"""Seconds after which a sleeper looks at system time again: it jumps when it is set, and a computer
that was suspended wakes with timers that know nothing of the time in between."""


@runtime_checkable
class Clock(Protocol):
    """Market time."""

    def time(self) -> float:
        """Return the market time as epoch seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds` of market time (not at all if negative)."""
        ...

    async def sleep_until(self, when: float) -> None:
        """Return at market time `when` (epoch seconds) or later, never before."""
        ...


class WallClock:
    """Real time."""

    def time(self) -> float:
        """Return the epoch seconds of the system."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep for real seconds."""
        await asyncio.sleep(max(seconds, 0.0))

    async def sleep_until(self, when: float) -> None:
        """Return at `when` or later, and soon after it even if system time is set meanwhile."""
        await _sleep_until(self, when, nap=_WALL_NAP)

    @override
    def __repr__(self) -> str:
        return "WallClock()"


class ScaledClock:
    """Market time that runs `speed` times as fast as the wall, from `start` on.

    Args:
        speed: Market seconds per real second, above 0.
        start: Epoch seconds of market time at the moment of creation; now by default.

    Raises:
        ConfigError: `speed` is not a finite number above 0.
    """

    def __init__(self, speed: float, start: float | None = None) -> None:
        if not 0 < speed < inf:
            msg = f"speed: expected a finite number above 0, got {speed!r}"
            raise ConfigError(msg)
        self.speed = float(speed)
        self._start = time.time() if start is None else float(start)
        self._origin = time.monotonic()

    def time(self) -> float:
        """Return the scaled epoch seconds."""
        return self._start + (time.monotonic() - self._origin) * self.speed

    async def sleep(self, seconds: float) -> None:
        """Sleep for market seconds: ``seconds / speed`` real ones."""
        await asyncio.sleep(max(seconds, 0.0) / self.speed)

    async def sleep_until(self, when: float) -> None:
        """Return at market time `when` or later."""
        await _sleep_until(self, when)

    @override
    def __repr__(self) -> str:
        return f"ScaledClock(speed={self.speed:g})"


async def _sleep_until(clock: Clock, when: float, nap: float = inf) -> None:
    while (left := when - clock.time()) > 0:
        await clock.sleep(min(left, nap))
    # A time that is already past must still let others run, or a loop around it would spin.
    await asyncio.sleep(0)


class VirtualClock:
    """Simulated time: hours pass in milliseconds, deterministically.

    Run code under it with `run`, in place of ``asyncio.run``. Within, `asyncio.sleep`, time-outs and
    this clock all agree, and whenever no task can go on, time jumps to the next timer. Sockets are
    served too, but time does not wait for them: use it with in-memory exchanges.

    Args:
        start: Epoch seconds at the beginning.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._start = float(start)
        self._elapsed = 0.0

    def time(self) -> float:
        """Return the simulated epoch seconds."""
        return self._start + self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Sleep for simulated seconds; only within `run`."""
        self._check_loop()
        await asyncio.sleep(max(seconds, 0.0))

    async def sleep_until(self, when: float) -> None:
        """Return at simulated time `when` or later; only within `run`."""
        self._check_loop()
        await _sleep_until(self, when)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end in a fresh event loop on simulated time and return its result.

        Raises:
            RuntimeError: Every task waits and no timer is set: it would hang for ever.
        """
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            return runner.run(main)

    def jump(self, when: float) -> bool:
        """Go to loop time `when` at once, if nothing at all is due until then; say whether it did.

        For those who play a recording from a callback: the way over a timer is ten times as long.
        A callback that jumps again and again must return as soon as this says no.

        Raises:
            RuntimeError: Not within `run`.
        """
        self._check_loop()
        loop = asyncio.get_running_loop()
        if not isinstance(loop, _VirtualLoop) or not loop.is_idle_until(when):
            return False
        if when > self._elapsed:
            self._elapsed = when
        return True

    @property
    def is_busy(self) -> bool:
        """Whether somebody can go on without any time passing; only within `run`."""
        self._check_loop()
        loop = asyncio.get_running_loop()
        return isinstance(loop, _VirtualLoop) and not loop.is_idle_until(-1.0)

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, _VirtualLoop) or loop.clock is not self:
            msg = "VirtualClock: use it inside clock.run(main()), not under asyncio.run()"
            raise RuntimeError(msg)

    def _advance(self, seconds: float) -> None:
        self._elapsed += seconds

    @override
    def __repr__(self) -> str:
        return f"VirtualClock(time={self.time():.3f})"


class _VirtualSelector(selectors.BaseSelector):
    """Selects without waiting; when nothing is ready it moves the clock instead.

    The event loop calls `select` with the time to its next timer once no callback is ready: exactly
    the moment at which a simulation may jump.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._real = selectors.DefaultSelector()

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # Only another thread or a socket can go on from here; give those a moment.
            ready = self._real.select(1.0)
            if not ready:
                msg = "VirtualClock: deadlock, every task waits and no timer is set"
                raise RuntimeError(msg)
            return ready
        self._clock._advance(timeout)  # noqa: SLF001
        return []

    @override
    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    @override
    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    @override
    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    @override
    def get_map(self) -> Any:
        return self._real.get_map()

    @override
    def close(self) -> None:
        self._real.close()


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        super().__init__(_VirtualSelector(clock))

    @override
    def time(self) -> float:
        return self.clock._elapsed  # noqa: SLF001

    def is_idle_until(self, when: float) -> bool:
        """Return whether no callback is ready and no timer is set up to and including `when`."""
        # asyncio has no public way to ask. Where it keeps them elsewhere, the answer is no.
        parts = vars(self)
        ready, timers = parts.get("_ready"), parts.get("_scheduled")
        if ready is None or timers is None or ready:
            return False
        return not timers or timers[0].when() > when
