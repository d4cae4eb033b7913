"""What holds up the event loop is told while it lasts, by name and line, and counted."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
from attrs import define
from typing_extensions import override

import polyframe.loopwatch
from polyframe.clock import ScaledClock, VirtualClock
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.errors import ConfigError
from polyframe.loopwatch import LoopWatch
from polyframe.model.events import CycleEndReason, PriceChanged
from polyframe.strategy import Strategy
from polyframe.testing.faults import Faults
from polyframe.testing.simclock import SimWallClock
from polyframe.trader import Trader
from tests.cli.command import environment
from tests.support.fake import START, FakeExchange, make_market

SERIES = "btc-updown-15m"
SLUG = make_market(SERIES, START).slug
LIMIT = 0.05
PATIENCE = 30.0
"""Real seconds after which a test gives up, also on a busy machine."""

HELD, AGAIN, STILL = "has not come round", "comes round again", "whole process stood still"


class Said:
    """What the watch has said so far."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self._caplog = caplog

    def lines(self, *parts: str) -> list[str]:
        """Return its lines that contain all `parts`."""
        said = [r.getMessage() for r in self._caplog.records if r.name == "polyframe.loopwatch"]
        return [line for line in said if all(part in line for part in parts)]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    """Return what is said in this test."""
    return Said(caplog)


def hold_up(until: Callable[[], object]) -> None:
    """Block this thread until something is the case."""
    deadline = time.monotonic() + PATIENCE
    while not until() and time.monotonic() < deadline:
        time.sleep(0.005)


def let_pass(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let real time jump, as it does for a machine that was asleep."""
    now = polyframe.loopwatch._now
    monkeypatch.setattr(polyframe.loopwatch, "_now", lambda: now() + seconds)


def hold_for(seconds: float) -> None:
    """Block this thread."""
    time.sleep(seconds)


def is_past(moment: float) -> bool:
    """Return whether it is later than that."""
    return time.monotonic() > moment


async def wait_for(is_so: Callable[[], object]) -> None:
    """Let the loop go round until something is the case."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - a line in a log and a count wake nobody
            await asyncio.sleep(0.005)


def watches() -> set[threading.Thread]:
    """Return the threads that watch loops now."""
    return {thread for thread in threading.enumerate() if thread.name == "loop watch"}


def watched(act: Callable[[LoopWatch, Counters], Coroutine[Any, Any, None]]) -> None:
    """Run `act` in a loop that is watched."""

    async def main() -> None:
        counters = Counters()
        watch = LoopWatch(LIMIT, counters)
        watch.start()
        try:
            await act(watch, counters)
        finally:
            watch.stop()

    asyncio.run(main())


# ------------------------------------------------------------------ who, where, how long


@define
class Blocker(Strategy):
    """Blocks the thread in a hook of its choice, until a line of the log says so."""

    hook: str

    def _block(self, hook: str) -> None:
        if hook == self.hook:
            password = "hunter2"  # what a frame has, and a log must not
            said = self.env.get(Said)
            hold_up(lambda: password and said.lines(HELD, f"{hook}()"))

    async def on_cycle_start(self) -> None:
        self._block("on_cycle_start")
        if self.hook == "beside":
            self.spawn(self.beside())

    async def on_price(self, event: PriceChanged) -> None:
        self._block("on_price")

    async def run(self) -> None:
        self._block("run")

    async def beside(self) -> None:
        """Do something in a task of its own."""
        self._block("beside")

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        self._block("on_cycle_end")


@pytest.mark.parametrize("hook", ["on_cycle_start", "on_price", "run", "beside", "on_cycle_end"])
def test_a_hook_that_blocks_is_named_while_it_does(hook: str, said: Said) -> None:
    """The line says strategy, market, hook, file and source line; another its end, and it is counted."""

    async def main() -> Counters:
        env = Environment(FakeExchange(), clock=ScaledClock(1, START), block_limit=LIMIT)
        env.provide(said)
        async with env:
            trader = Trader(env)
            trader.add(Blocker(hook), on=SERIES)
            trading = asyncio.create_task(trader.run())
            if hook == "on_cycle_end":
                await wait_for(lambda: env.counters.get(Count.SWITCHES, "opened"))
                trading.cancel()
            await wait_for(lambda: env.counters.get(Count.LOOP_BLOCKED, hook))
            trading.cancel()
            await asyncio.wait({trading})
        return env.counters

    counters = asyncio.run(main())
    who = f"{hook}() of Blocker on {SLUG}"
    line = said.lines(HELD, who)[0]
    assert re.match(r"\[paper\] the event loop has not come round for \d+\.\d s, so ", line)
    source = f'self._block("{hook}")'
    assert f"test_loopwatch.py:{line_of(source)} in {hook}: {source} → " in line
    assert "in hold_up: " in line
    assert said.lines(AGAIN, who)
    assert counters.get(Count.LOOP_BLOCKED, hook)
    assert "hunter2" not in "".join(said.lines())


def line_of(source: str) -> int:
    """Return the number of the line of this file that says so."""
    with open(__file__, encoding="utf-8") as lines:  # noqa: PTH123
        (number,) = (n for n, line in enumerate(lines, 1) if line.strip() == source)
    return number


def deeper(levels: int, bottom: Callable[[], None]) -> None:
    """Call `bottom` so many levels further down."""
    if levels:
        deeper(levels - 1, bottom)
    else:
        bottom()


def test_of_a_deep_stack_the_first_line_and_the_last_two_are_told(said: Said) -> None:
    """Who it was, and what it is about; neither the loop's own lines nor those in between."""

    async def act(watch: LoopWatch, counters: Counters) -> None:
        deeper(5, lambda: hold_up(lambda: said.lines(HELD)))
        await wait_for(lambda: counters.get(Count.LOOP_BLOCKED, "elsewhere"))

    watched(act)
    line = said.lines(HELD)[0]
    assert re.search(r": task 'Task-\d+', at test_loopwatch\.py:", line)
    functions = re.findall(r"test_loopwatch\.py:\d+ in ([\w<>]+): ", line)
    assert ["main", "<lambda>", "hold_up"] == functions


def test_a_callback_that_blocks_has_its_line_and_no_task(said: Said) -> None:
    """What the loop calls by itself is no hook's doing; it is told all the same."""

    async def act(watch: LoopWatch, counters: Counters) -> None:
        asyncio.get_running_loop().call_soon(hold_up, lambda: said.lines(HELD))
        await wait_for(lambda: counters.get(Count.LOOP_BLOCKED, "elsewhere"))

    watched(act)
    assert said.lines(HELD, ": no task, at test_loopwatch.py:", "in hold_up: ")


def test_code_of_polyframe_has_its_innermost_line(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody else's line is on the stack, ours is told rather than none."""
    ours = ("/polyframe/", __file__)
    monkeypatch.setattr(polyframe.loopwatch, "_LOOP_AND_OURS", ours)

    async def act(watch: LoopWatch, counters: Counters) -> None:
        asyncio.get_running_loop().call_soon(hold_up, lambda: said.lines(HELD))
        await wait_for(lambda: said.lines(AGAIN))

    watched(act)
    assert said.lines(HELD, "in hold_up: ")


def test_what_is_short_is_not_told(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is late by less than the limit is as busy as loops are."""
    counters = Counters()

    async def main() -> None:
        watch = LoopWatch(60.0, counters)
        watch.start()
        let_pass(monkeypatch, 31.0)  # a sign of life was due at 30
        watch.stop()

    asyncio.run(main())
    assert {} == counters.reasons(Count.LOOP_BLOCKED)
    assert [] == said.lines()


class Pacer:
    """Time of a thread that looks: it passes only while that waits, and ends after some looks."""

    def __init__(self, looks: int) -> None:
        self.now = 0.0
        self.looks: list[float] = []
        self._left = looks

    def wait(self, seconds: float) -> bool:
        """Let time pass; say whether to end."""
        self.now += seconds
        self.looks.append(round(self.now, 3))
        self._left -= 1
        return self._left < 0


def test_it_is_looked_right_when_the_limit_is_reached(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not half a limit later, when it may be over; and once more before it is told that it lasts."""
    pacer = Pacer(looks=4)
    monkeypatch.setattr(polyframe.loopwatch, "_now", lambda: pacer.now)
    watch = LoopWatch(1.0, Counters())
    watch._loop, watch._ident = asyncio.new_event_loop(), threading.get_ident()
    watch._wait_anew()  # the sign of life is due at 0.5
    pacer.now, watch._ended = 0.2, pacer  # type: ignore[assignment]
    watch._watch()
    watch._loop.close()
    assert [0.7, 1.2, 1.5, 1.55, 2.05] == pacer.looks
    (line,) = said.lines(HELD)
    assert "for 1.1 s" in line or "for 1.0 s" in line


def test_a_block_that_ends_with_the_watch_is_counted(said: Said) -> None:
    """Closing does not hide what came right before it."""
    counters = Counters()

    async def main() -> None:
        watch = LoopWatch(LIMIT, counters)
        watch.start()
        hold_up(lambda: said.lines(HELD))
        watch.stop()
        watch.stop()  # safe to repeat

    asyncio.run(main())
    assert said.lines(AGAIN)
    assert counters.get(Count.LOOP_BLOCKED, "elsewhere")


class Live(FakeExchange):
    """One with real money."""

    is_live = True


def test_lines_say_whose_money_it_is(said: Said) -> None:
    """With a paper and a live account in one program, each has lines of its own."""

    async def main() -> None:
        async with (
            Environment(FakeExchange(), block_limit=None),
            Environment(Live(), block_limit=LIMIT),
        ):
            hold_up(lambda: said.lines(HELD))
            await wait_for(lambda: said.lines(AGAIN))

    asyncio.run(main())
    assert said.lines()
    assert all(line.startswith("[live] ") for line in said.lines())


def test_a_loop_that_nobody_runs_is_told_without_a_place(said: Said) -> None:
    """Where the loop's thread has ended, nobody else's stack is shown."""

    async def begin() -> None:
        LoopWatch(LIMIT, Counters()).start()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(begin()))
    before = watches()
    thread.start()
    thread.join()
    hold_up(lambda: said.lines(HELD))
    loop.close()
    for watching in watches() - before:
        watching.join(PATIENCE)
    (line,) = said.lines(HELD)
    assert line.endswith(": no task")


# ------------------------------------------------------------------ again and again


def test_the_same_place_is_told_once_a_cycle_and_counted_each_time(said: Said) -> None:
    """A hook that blocks with every price does not flood the log; in the next cycle it is news."""
    long_enough = 0.6

    async def act(watch: LoopWatch, counters: Counters) -> None:
        async def block(slug: str, until: Callable[[], object]) -> float:
            task = asyncio.current_task()
            assert task is not None
            watch.own(task, slug=slug, strategy="Mine", hook=lambda: "on_price")
            before, begin = counters.get(Count.LOOP_BLOCKED), time.monotonic()
            hold_up(until)
            await wait_for(lambda: counters.get(Count.LOOP_BLOCKED) > before)
            return time.monotonic() - begin

        def is_told_at_length(slug: str, begin: float) -> bool:
            return bool(said.lines(HELD, slug)) and is_past(begin + long_enough)

        deadline = time.monotonic() + PATIENCE
        while len(judged) < 2 and time.monotonic() < deadline:
            slug = f"market-{next(numbers)}"
            long = partial(is_told_at_length, slug, time.monotonic())
            took = [await asyncio.create_task(block(slug, long))]
            for _ in range(2):
                over = time.monotonic() + 3 * LIMIT
                took.append(await asyncio.create_task(block(slug, partial(is_past, over))))
            if max(took[1:]) < 1.5 * long_enough:
                judged.append(slug)  # otherwise a busy machine made a long block of a short one

    numbers, judged = count(), list[str]()
    watched(act)
    assert 2 == len(judged)
    for slug in judged:
        assert 1 == len(said.lines(HELD, f"on {slug}", "in block: hold_up(until)"))
        assert 1 == len(said.lines(AGAIN, f"on_price() of Mine on {slug}"))
        assert 2 == len(said.lines(f"on_price() of Mine on {slug}"))


def test_the_same_place_is_told_again_if_it_takes_twice_as_long(said: Said) -> None:
    """The one block of a minute is not lost among those of a second that were told before it."""

    async def act(watch: LoopWatch, counters: Counters) -> None:
        for times in (1, 2):
            hold_up(lambda: len(said.lines(HELD, "in act: hold_up")) >= times)  # noqa: B023
            await wait_for(lambda: len(said.lines(AGAIN)) >= times)  # noqa: B023

    watched(act)
    assert 2 == len(said.lines(HELD, "in act: hold_up"))


def test_places_are_not_remembered_for_ever(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of months does not grow by what blocked in each of its cycles."""
    monkeypatch.setattr(polyframe.loopwatch, "_PLACES_KEPT", 2)

    async def act(watch: LoopWatch, counters: Counters) -> None:
        async def block(slug: str) -> None:
            task = asyncio.current_task()
            assert task is not None
            watch.own(task, slug=slug, strategy="Mine", hook=lambda: "run")
            hold_up(lambda: said.lines(HELD, f"on {slug}"))
            await wait_for(lambda: said.lines(AGAIN, f"on {slug}"))

        for number in range(4):
            await asyncio.create_task(block(f"market-{number}"))
            assert len(watch._longest) <= 2

    watched(act)


def test_whose_a_task_is_is_not_remembered_for_ever() -> None:
    """A strategy that has its own task in a field goes with its cycle all the same."""

    class Owner:
        task: asyncio.Task[None] | None = None

        def hook(self) -> str:
            return "run"

    async def act(watch: LoopWatch, counters: Counters) -> None:
        owner = Owner()
        owner.task = asyncio.create_task(asyncio.sleep(0))
        watch.own(owner.task, slug="one", strategy="Mine", hook=owner.hook)
        await owner.task
        seen = weakref.ref(owner)
        del owner
        gc.collect()
        assert seen() is None

    watched(act)


# ------------------------------------------------------------------ no block at all


SLEEPER = """
import asyncio, logging, sys
from polyframe.counters import Counters
from polyframe.loopwatch import LoopWatch

async def main():
    logging.basicConfig(level="INFO")
    counters = Counters()
    watch = LoopWatch(0.2, counters)
    watch.start()
    await asyncio.sleep(0.3)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.sleep(0.3)
    watch.stop()
    print(counters.snapshot(), flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP on Windows")
def test_a_process_that_was_suspended_is_told_apart() -> None:
    """Nobody's line is blamed for a second in which the watching thread had no turn either."""
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SLEEPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert child.stdout is not None
        assert "ready\n" == child.stdout.readline()
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        time.sleep(1.0)
        child.send_signal(signal.SIGCONT)
        out, err = child.communicate("\n", timeout=PATIENCE)
    finally:
        child.kill()
        child.wait()
    assert 0 == child.returncode, err
    assert "'stood_still': " in out
    assert re.search(rf"{STILL} for [1-9]", err)
    assert not re.search(r"come round (for|again after) [1-9]", err)


def test_the_clock_goes_on_while_the_machine_is_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has such a clock it is used, elsewhere the ordinary one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 5.0}.__getitem__)
        assert 5.0 == polyframe.loopwatch._now()
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    assert 7.0 == polyframe.loopwatch._now()


def test_a_machine_that_was_asleep_is_told_apart(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that was closed for an hour is a process that stood still for an hour."""

    async def act(watch: LoopWatch, counters: Counters) -> None:
        let_pass(monkeypatch, 3600)
        await wait_for(lambda: counters.get(Count.LOOP_BLOCKED, "stood_still"))

    watched(act)
    assert said.lines(STILL, "for 3600.")
    assert [] == said.lines("come round for 3")


def test_a_block_is_told_although_the_machine_slept_meanwhile(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time asleep is not the hook's; what it takes besides is."""

    async def act(watch: LoopWatch, counters: Counters) -> None:
        let_pass(monkeypatch, 3600)
        hold_up(lambda: said.lines(HELD))
        await wait_for(lambda: said.lines(AGAIN))

    watched(act)
    assert said.lines(STILL, "for 3600.")
    assert said.lines(HELD)
    assert [] == said.lines("come round for 3")


def test_code_that_keeps_the_interpreter_is_no_suspension(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread had its turn, but the processor was busy, both possible reasons are named."""

    async def act(watch: LoopWatch, counters: Counters) -> None:
        deadline = time.monotonic() + PATIENCE
        # More than once, in case others use the processor at the moment.
        while not said.lines(*parts) and time.monotonic() < deadline:
            sum(range(20_000_000))  # one call in C
            await asyncio.sleep(LIMIT)

    # A machine may have little time for us, too; who is suspended uses none at all.
    monkeypatch.setattr(polyframe.loopwatch, "_SUSPENDED", 0.01)
    parts = ("come round for ", "in act: sum(range(20_000_000))", "no thread had its turn")
    watched(act)
    assert said.lines(*parts, "garbage collection")


# ------------------------------------------------------------------ the thread's own life


def test_no_thread_is_left_over() -> None:
    """Each environment has one thread while it is open, and none afterwards."""

    async def main() -> None:
        for _ in range(100):
            async with Environment(FakeExchange()):
                (thread,) = watches() - before
                assert thread.daemon  # the end of a program waits for nobody's loop
            assert set() == watches() - before

    before = watches()
    asyncio.run(main())


class Broken(FakeExchange):
    """Its account cannot be opened."""

    @override
    async def fetch_balance(self) -> Any:
        msg = "no answer"
        raise RuntimeError(msg)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C do what it does, also in a process that was started in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_no_thread_is_left_over_however_it_ends() -> None:
    """An opening that fails, an exception, a cancellation, Ctrl-C, a loop that is closed under it."""
    before = watches()

    async def broken() -> None:
        async with Environment(Broken()):
            pass

    async def failing() -> None:
        async with Environment(FakeExchange()):
            raise RuntimeError("a mistake")

    async def cancelled() -> None:
        async with asyncio.timeout(0):
            async with Environment(FakeExchange()):
                await asyncio.Event().wait()

    async def interrupted() -> None:
        async with asyncio.timeout(PATIENCE), Environment(FakeExchange()):
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()

    for main, error in (
        (broken, RuntimeError),
        (failing, RuntimeError),
        (cancelled, TimeoutError),
        (interrupted, KeyboardInterrupt),
    ):
        with pytest.raises(error):
            asyncio.run(main())
        assert set() == watches() - before, main

    async def left() -> None:
        LoopWatch(LIMIT, Counters()).start()

    asyncio.run(left())
    for thread in watches() - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_nobody_looks_in_simulated_time() -> None:
    """A back-test or a simulation may compute for as long as it likes, whatever its clock looks like."""
    true = VirtualClock(START)

    async def main() -> None:
        for clock in (true, SimWallClock(true, Faults())):
            async with Environment(FakeExchange(), clock=clock, block_limit=LIMIT) as env:
                assert env.loop_watch is None
                assert set() == watches() - before

    before = watches()
    true.run(main())


def test_nobody_looks_without_a_limit(said: Said) -> None:
    """``None`` turns it off: there is no thread."""

    async def main() -> None:
        async with Environment(FakeExchange(), block_limit=None):
            assert set() == watches() - before
            hold_for(2 * LIMIT)

    before = watches()
    asyncio.run(main())
    assert [] == said.lines()


@pytest.mark.parametrize("limit", [0, -1, 0.04, float("inf"), float("nan"), "1", True])
def test_a_limit_that_cannot_be_is_refused(limit: Any) -> None:
    """The message names the setting, what is expected and what was given."""
    text = rf"block_limit: expected .* 1\.0 \(seconds, at least 0\.05\) or None, got {limit!r}"
    with pytest.raises(ConfigError, match=text):
        Environment(FakeExchange(), block_limit=limit)
