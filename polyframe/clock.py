"""Where market time comes from: the wall, a faster wall, or a simulation.

Two kinds of time are kept apart. *Market time* (boundaries of cycles, ages and stamps that
strategies see) is asked from a `Clock`. *Network time* (pings, silence, back-off, time-outs) is the
event loop's own, because a socket is as slow as it is, however fast market time runs.

Under `VirtualClock` both are simulated: its event loop never waits, it jumps to the next timer as
soon as nothing else is left to do.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sized
from contextvars import Context, copy_context
from decimal import Decimal
from heapq import heappush
from math import inf, isfinite
from numbers import Real
from typing import Any, Protocol, TypeVar, TypeVarTuple, runtime_checkable

from typing_extensions import override

from polyframe.errors import ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_WALL_NAP = 10.0
"""Seconds after which a sleeper looks at system time again: it jumps when it is set, and a computer
that was suspended wakes with timers that know nothing of the time in between."""

_POLL_EVERY = 16
"""Under simulated time a loop that is busy asks sockets after so many turns of its own, between two of
which the clock may take as many for it: after 256 at the latest."""

_MOST_AT_ONCE = 10_000
"""Callbacks, and pieces of idle work, after which the loop is given back: a task that never waits for
anything would keep signals out."""

_MOMENT = 1.0
"""Real seconds that a socket is given when nothing else can go on, before that is a deadlock."""

_MOST_MOMENTS = 60
"""How many of them a process is given: one that is kept for later must not hide a deadlock for ever."""

IdleWork = Callable[[], bool]
"""Does what is due next, if that is before the next timer; says whether it did anything."""


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
        held: It stands still until `release`. What has to be opened first takes real seconds, which
            are minutes of a fast market.

    Raises:
        ConfigError: `speed` is not a finite number above 0.
    """

    def __init__(self, speed: float, start: float | None = None, *, held: bool = False) -> None:
        given: Any = speed
        if not (isinstance(given, int | float) and 0 < given < inf):
            msg = f"speed: expected a finite number above 0, got {speed!r}"
            raise ConfigError(msg)
        self.speed = float(speed)
        self._start = time.time() if start is None else _start(start)
        self._released = asyncio.Event()
        self._origin = time.monotonic()
        if not held:
            self._released.set()

    def release(self) -> None:
        """Let a clock that was held go, from its start on; nothing happens to one that goes."""
        if not self._released.is_set():
            self._origin = time.monotonic()
            self._released.set()

    def time(self) -> float:
        """Return the scaled epoch seconds."""
        if not self._released.is_set():
            return self._start
        return self._start + (time.monotonic() - self._origin) * self.speed

    async def sleep(self, seconds: float) -> None:
        """Sleep for market seconds: ``seconds / speed`` real ones while it goes."""
        if seconds > 0:
            await self._released.wait()
        await asyncio.sleep(max(seconds, 0.0) / self.speed)

    async def sleep_until(self, when: float) -> None:
        """Return at market time `when` or later."""
        await _sleep_until(self, when)

    @override
    def __repr__(self) -> str:
        return f"ScaledClock(speed={self.speed:g})"


def _start(start: Any) -> float:
    is_number = isinstance(start, Real | Decimal) and not isinstance(start, bool)
    if not is_number or not isfinite(start):
        msg = f"start: expected epoch seconds, got {start!r}"
        raise ConfigError(msg)
    return float(start)


async def _sleep_until(clock: Clock, when: float, nap: float = inf) -> None:
    while (left := when - clock.time()) > 0:
        await clock.sleep(min(left, nap))
    # A time that is already past must still let others run, or a loop around it would spin.
    await asyncio.sleep(0)


_Alarm = tuple[float, int, Callable[[], None]]
"""When it is due in loop time, its number among the timers, and what is to be called."""


class Watch:
    """Becomes over as soon as a timer is set that may be due before others.

    Attributes:
        is_over: Whether it did.
    """

    def __init__(self) -> None:
        # Of each one's own: an attribute of the class is slow to read, and it is read with every row.
        self.is_over = False


class VirtualClock:
    """Simulated time: hours pass in milliseconds, deterministically.

    Run code under it with `run`, in place of ``asyncio.run``. Within, `asyncio.sleep`, time-outs and
    this clock all agree, and whenever no task can go on, time jumps to the next timer. Sockets are
    served too, but time does not wait for them: use it with in-memory exchanges. Nor does it wait for
    threads and processes, unless nothing else can go on and no timer is set.

    Args:
        start: Epoch seconds at the beginning.

    Attributes:
        start: The same.
        elapsed: Seconds since then, which is the event loop's time; only `pass_on` and who does its work
            write it.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.start = _start(start)
        self.elapsed = 0.0
        self._idle_work: IdleWork | None = None
        self._idle_context = copy_context()
        self._left = _MOST_AT_ONCE
        self._is_amid = False
        self._ready: deque[asyncio.Handle] = deque()
        self._loop_parts: dict[str, Any] = {}
        self._watch: Watch | None = None
        self._alarm: _Alarm | None = None
        self._alarm_timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Future[Any]] = set()
        self._processes: set[asyncio.SubprocessTransport] = set()

    def time(self) -> float:
        """Return the simulated epoch seconds."""
        return self.start + self.elapsed

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

    def when_idle(self, work: IdleWork | None) -> None:
        """Let `work` be called whenever nobody can go on, before time jumps to the next timer.

        It is called again and again, each time until nobody can go on with what it did. For those who
        play a recording: a timer for each row would cost several times as much as all that happens
        because of it. ``None`` takes it back.

        A task that is about to wait for a `doorbell`, when nobody else can go on, does the work where it
        stands, and goes on if that rings it: nothing is different from a turn of the loop but its
        cost. The work has a context (of context variables) of its own in any case.

        Raises:
            RuntimeError: Not within `run`.
        """
        self._check_loop()
        self._idle_work = work
        self._idle_context = copy_context()
        # asyncio has no public way to ask what is ready and which timers are set.
        parts = vars(asyncio.get_running_loop())
        self._loop_parts, self._ready = parts, parts["_ready"]

    @property
    def next_timer(self) -> asyncio.TimerHandle | None:
        """The timer to which time would jump next, if there is one; only for what `when_idle` calls."""
        # Asked anew each time: the loop makes a new list when many of them are cancelled.
        timers: list[asyncio.TimerHandle] = self._loop_parts["_scheduled"]
        return timers[0] if timers else None

    def set_alarm(self, when: float | None, ring: Callable[[], None]) -> None:
        """Let `ring` be called at loop time `when`, as by a timer that is set now; ``None`` lets nothing.

        It takes the place of the alarm before, of which there is one, and costs a fraction of a timer:
        for who has something to do now and then, and sets it anew all the time. Only for who does the
        idle work, in whose context it is called; he minds himself that he does not pass it.
        """
        if self._alarm_timer is not None:
            self._alarm_timer.cancel()
            self._alarm_timer = None
        if when is None:
            self._alarm = None
            return
        number = self._loop_parts["_timers_set"] = self._loop_parts["_timers_set"] + 1
        self._alarm = (when, number, ring)

    @property
    def has_work(self) -> bool:
        """Whether there is anything that does not wait for a timer, once nobody can go on."""
        return self._idle_work is not None or self._alarm is not None

    def pass_on(self, when: float) -> float:
        """Go on to loop time `when` and return the time; no timer may be due before.

        Only for what `when_idle` calls.
        """
        if when > self.elapsed:
            self.elapsed = when
        return self.start + self.elapsed

    @property
    def idle_steps(self) -> int:
        """How many steps the task that runs may do of idle work, by itself and instead of waiting.

        That is what a `doorbell` does for it, but for each step. None if others are ready, or have to be
        let go on. Only for the work that `when_idle` calls.
        """
        is_free = not (self._ready or self._loop_parts["_stopping"])
        return max(self._left, 0) if is_free else 0

    def begin_solo(self, watch: Watch) -> None:
        """Begin with such steps; `watch` is over as soon as a timer is set."""
        self._watch, self._is_amid = watch, True

    def end_solo(self, steps: int) -> None:
        """Say how many steps were done."""
        self._watch = None
        self._left -= steps

    def time_at(self, when: float) -> float:
        """Return the market time at loop time `when`, or now if that is later."""
        return self.start + max(when, self.elapsed)

    @property
    def ready(self) -> Sized:
        """Those who can go on; only for what `when_idle` calls."""
        return self._ready

    def _work(self) -> bool:
        """Do idle work, and let those run whom it wakes; then jump to the alarm, if that is next.

        Say whether there was any of that.
        """
        worked, self._is_amid = self._is_amid, False
        self._left = _MOST_AT_ONCE
        if worked and not self._let_others_run():
            return True
        while self._idle_work is not None and self._idle_context.run(self._idle_work):
            worked = True
            if not self._let_others_run():
                return True
        return self._ring() or worked

    def _ring(self) -> bool:
        """Jump to the alarm if nothing else is to happen before; say whether it was due next."""
        if self._alarm is None:
            return False
        when, _, ring = self._alarm
        timers: list[asyncio.TimerHandle] = self._loop_parts["_scheduled"]
        if timers:
            ahead = timers[0].when() - when
            if abs(ahead) <= self._loop_parts["_clock_resolution"]:
                self._make_timer()
                return True
            if ahead < 0:
                return False
        self._alarm = None
        self._advance(max(when - self.elapsed, 0.0))
        self._idle_context.run(ring)
        return True

    def _make_timer(self) -> None:
        """Make a timer of the alarm, because it is due together with others: the loop has their order."""
        if self._alarm is not None:
            when, number, ring = self._alarm
            self._alarm = None
            loop = asyncio.get_running_loop()
            timer = self._alarm_timer = _Timer(when, ring, (), loop, self._idle_context)
            timer.number = number
            heappush(self._loop_parts["_scheduled"], timer)
            timer._scheduled = True  # type: ignore[attr-defined]  # noqa: SLF001

    def _let_others_run(self) -> bool:
        """Run what is ready, and what becomes so, until nothing is; say whether that came about."""
        parts, ready = self._loop_parts, self._ready
        while ready and self._left > 0 and not parts["_stopping"]:
            self._left -= 1
            handle = ready.popleft()
            if not handle._cancelled:  # noqa: SLF001
                handle._run()  # noqa: SLF001
        return not ready and self._left > 0 and not parts["_stopping"]

    def _take_turns(self) -> None:
        """Do what the loop would do in its next turns, and idle work, for as long as no timer is due.

        A turn of the loop itself costs more than most of the steps that are done in it.
        """
        parts, ready = self._loop_parts, self._ready
        for _ in range(_POLL_EVERY if parts else 0):
            if parts["_stopping"] or parts["_debug"]:
                return
            if not self._is_amid and self._is_timer_due():
                return
            if self._is_amid or not ready:
                if not self._work() or self._left <= 0:
                    return
                continue
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:  # noqa: SLF001
                    handle._run()  # noqa: SLF001

    def _is_timer_due(self) -> bool:
        now = self.elapsed + self._loop_parts["_clock_resolution"]
        if self._alarm is not None and self._alarm[0] < now:
            self._make_timer()
        timers: list[asyncio.TimerHandle] = self._loop_parts["_scheduled"]
        return bool(timers) and timers[0].when() < now

    def _end_turn(self) -> None:
        """Do what goes before the timers that are due: the loop takes those next.

        Whatever ended its turn here, but for callbacks that have had it for too long.
        """
        if self._is_amid and self._left > 0:
            self._work()
        if self._alarm is not None:
            self._is_timer_due()  # then it becomes one of them

    def _in_turn(self, place: int) -> Generator[None, None, None]:
        """Let the first `place` go who are ready, but not those who were woken after them."""
        ready = self._ready
        later = [ready.pop() for _ in range(len(ready) - place)]

        def put_back() -> None:
            # The task's next step stands right behind: it goes before `later`, and those before what
            # the first ones may have added.
            step = ready.popleft()
            ready.extendleft(later)
            ready.appendleft(step)

        asyncio.get_running_loop().call_soon(put_back)
        yield

    def _is_awaited_outside(self, moments: int) -> bool:
        """Return whether there is a thread to wait for, or a process that was not waited for too long."""
        return bool(self._calls) or (moments < _MOST_MOMENTS and bool(self._running()))

    def _running(self) -> set[asyncio.SubprocessTransport]:
        alive = {one for one in self._processes if one.get_returncode() is None}
        self._processes = alive
        return alive

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, _VirtualLoop) or loop.clock is not self:
            msg = "VirtualClock: use it inside clock.run(main()), not under asyncio.run()"
            raise RuntimeError(msg)

    def _advance(self, seconds: float) -> None:
        self.elapsed += seconds

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
        self._skipped = 0
        self._moments = 0
        self._real = selectors.DefaultSelector()

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._select(timeout)
        self._clock._end_turn()  # noqa: SLF001
        return ready

    def _select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        clock = self._clock
        if timeout == 0:
            self._skipped += 1
            ready = [] if self._skipped % _POLL_EVERY else self._real.select(0)
            if not ready:
                clock._take_turns()  # noqa: SLF001
            return ready
        ready = self._real.select(0)
        if ready:
            return ready
        if clock.has_work and clock._work():  # noqa: SLF001
            if clock._left > 0:  # noqa: SLF001
                clock._take_turns()  # noqa: SLF001
            return []
        if timeout is None:
            # Only a thread, a process or a socket can go on from here.
            ready = self._real.select(_MOMENT)
            self._moments = 0 if ready else self._moments + 1
            if self._moments and not clock._is_awaited_outside(self._moments):  # noqa: SLF001
                self._moments = 0
                msg = "VirtualClock: deadlock, every task waits and no timer is set"
                raise RuntimeError(msg)
            if self._moments == _MOST_MOMENTS:
                # A thread may load something for long. If it never ends, this is all that is ever said.
                waited = _MOST_MOMENTS * _MOMENT
                log.warning("nothing has gone on for %.0f s: all wait for a thread to end", waited)
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
        self._timers_set = 0
        super().__init__(_VirtualSelector(clock))
        # Hours of simulated time may pass within a step: in debug mode each would be told as slow.
        self.slow_callback_duration = inf

    @override
    def time(self) -> float:
        return self.clock.elapsed

    @override
    def run_in_executor(
        self, executor: Any, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        calls = self.clock._calls  # noqa: SLF001
        calls.add(future)
        future.add_done_callback(calls.discard)
        return future

    @override
    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        return self._started(await super().subprocess_exec(*args, **kwargs))

    @override
    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        return self._started(await super().subprocess_shell(*args, **kwargs))

    def _started(self, made: tuple[asyncio.SubprocessTransport, T]) -> Any:
        self.clock._running().add(made[0])  # noqa: SLF001
        return made

    @override
    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        # From Python 3.12 on there is a time-out; here it would be over as soon as nobody can go on.
        await super().shutdown_default_executor()

    @override
    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        if self._closed or self._debug:  # type: ignore[attr-defined]
            return super().call_soon(callback, *args, context=context)
        # As the loop does it, but for the calls that this takes there: each step of a task comes by here.
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    @override
    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        self._timers_set += 1
        watch = self.clock._watch  # noqa: SLF001
        if watch is not None:
            watch.is_over = True
        # As the loop does it, which cannot be told of another kind of timer.
        timer = _Timer(when, callback, args, self, context)
        timer.number = self._timers_set
        heappush(vars(self)["_scheduled"], timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # noqa: SLF001
        return timer


class _Timer(asyncio.TimerHandle):
    """Of two that are due at the same instant the one that was set first is less.

    The loop's own order of those depends on which other timers there are, so a simulation would, too.
    """

    __slots__ = ("number",)
    number: int

    @override
    def __lt__(self, other: _Timer) -> bool:  # type: ignore[override]
        mine, its = self._when, other._when  # type: ignore[attr-defined]
        return mine < its or (mine == its and self.number < other.number)


class Doorbell:
    """Wakes the one task that waits for it; rung while nobody waits, it is not heard.

    ::

        bell = doorbell()
        while ...:
            await bell

    For a task that looks at what there is to do before it waits: nothing has to be remembered. It
    can be awaited again and again, which makes it cheaper than a future for each time.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake who waits."""
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            if not waiting.done():
                waiting.set_result(None)

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it rings."""
        self._waiting = asyncio.Future(loop=asyncio.get_running_loop())
        return self._waiting.__await__()


class _IdleDoorbell(Doorbell):
    """One whose task does idle work while it waits, as long as nobody else can go on.

    If it is rung thereby, the task goes on at once, without a turn of the loop. Where others were woken
    before it, they go first, as they would have.
    """

    __slots__ = ("_clock", "_place", "_rang")

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._rang = True
        self._place = 0

    @override
    def ring(self) -> None:
        if self._rang:
            super().ring()
        else:
            self._rang = True
            self._place = len(self._clock._ready)  # noqa: SLF001

    @override
    def __await__(self) -> Generator[Any, None, None]:
        clock = self._clock
        work = clock._idle_work  # noqa: SLF001
        if work is None:
            return super().__await__()
        ready, parts, run = clock._ready, clock._loop_parts, clock._idle_context.run  # noqa: SLF001
        self._rang = False
        while not ready and clock._left > 0 and not parts["_stopping"]:  # noqa: SLF001
            clock._left -= 1  # noqa: SLF001
            if not run(work) and not self._rang:
                break
            # Timers that are due at this very instant wait until everybody has had his turn.
            clock._is_amid = True  # noqa: SLF001
            if self._rang:
                return clock._in_turn(self._place) if self._place else _AT_ONCE  # noqa: SLF001
        self._rang = True
        return super().__await__()


def _nothing() -> Generator[Any, None, None]:
    yield from ()


_AT_ONCE = _nothing()
"""What goes on without a wait; it is at its end, and stays there."""
next(_AT_ONCE, None)


def doorbell() -> Doorbell:
    """Return a doorbell for a task of the running loop."""
    loop = asyncio.get_running_loop()
    return _IdleDoorbell(loop.clock) if isinstance(loop, _VirtualLoop) else Doorbell()


def in_simulated_time() -> bool:
    """Return whether the running loop is that of a `VirtualClock`."""
    return isinstance(asyncio.get_running_loop(), _VirtualLoop)
