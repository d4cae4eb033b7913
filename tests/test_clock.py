"""Market time: wall, scaled and simulated."""

from __future__ import annotations

import asyncio
import decimal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.clock import Clock, Doorbell, ScaledClock, VirtualClock, WallClock, doorbell
from polyframe.errors import ConfigError

START = 1_790_586_000.0


@pytest.mark.parametrize("clock", [WallClock(), ScaledClock(10), VirtualClock(START)])
def test_all_are_clocks(clock: object) -> None:
    """Every clock has the whole interface and a short text."""
    assert isinstance(clock, Clock)
    assert repr(clock).startswith(type(clock).__name__ + "(")


class TestVirtualClock:
    def test_hours_in_no_time(self) -> None:
        """A day of sleeping passes at once, and the clock says it has passed."""
        clock = VirtualClock(START)

        async def main() -> float:
            await clock.sleep(86_400 * 3)
            return clock.time()

        began = time.monotonic()
        assert clock.run(main()) == START + 86_400 * 3
        assert time.monotonic() - began < 5
        assert clock.time() == START + 86_400 * 3

    def test_order_of_timers(self) -> None:
        """Sleepers wake in order of their times; those of equal time in order of their start."""
        clock = VirtualClock(START)
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((name, clock.time() - START))

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for name, seconds in (("c", 3), ("a", 1), ("b1", 2), ("b2", 2)):
                    group.create_task(sleeper(name, seconds))

        clock.run(main())
        assert woken == [("a", 1), ("b1", 2), ("b2", 2), ("c", 3)]

    def test_no_jump_while_somebody_can_go_on(self) -> None:
        """Time stands still as long as any task has something to do."""
        clock = VirtualClock(START)
        seen: set[float] = set()

        async def busy() -> None:
            for _ in range(100):
                seen.add(clock.time())
                await asyncio.sleep(0)

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(clock.sleep(10))
                group.create_task(busy())

        clock.run(main())
        assert seen == {START}

    @given(st.lists(st.floats(0, 1e5), max_size=20), st.integers(0, 5))
    def test_deterministic(self, delays: list[float], rounds: int) -> None:
        """The same program takes the same course at the same times, every time."""

        def course() -> list[tuple[int, float]]:
            clock = VirtualClock(START)
            trace: list[tuple[int, float]] = []

            async def worker(number: int, delay: float) -> None:
                for _ in range(rounds):
                    await clock.sleep(delay)
                    trace.append((number, clock.time()))

            async def main() -> None:
                async with asyncio.TaskGroup() as group:
                    for number, delay in enumerate(delays):
                        group.create_task(worker(number, delay))

            clock.run(main())
            return trace

        first = course()
        assert course() == first
        assert [when for _, when in first] == sorted(when for _, when in first)

    @given(
        st.floats(0, 2e9),
        st.lists(st.floats(-10, 2e6) | st.floats(0, 1e-6), min_size=1, max_size=10),
    )
    def test_sleep_until_is_never_early(self, start: float, offsets: list[float]) -> None:
        """Sleeping until a time returns at it or a rounding step later, whatever the numbers."""
        clock = VirtualClock(start)

        async def main() -> None:
            for offset in offsets:
                when = start + offset
                before = clock.time()
                await clock.sleep_until(when)
                assert clock.time() >= when
                assert clock.time() <= max(when, before) + 1e-6

        clock.run(main())

    def test_past_time_lets_others_run(self) -> None:
        """Sleeping until a time that is over still gives way, so a loop around it cannot spin."""
        clock = VirtualClock(START)

        async def main() -> None:
            ran = asyncio.Event()
            asyncio.get_running_loop().call_soon(ran.set)
            while not ran.is_set():
                await clock.sleep_until(START - 1)

        clock.run(main())
        assert clock.time() == START

    def test_timeouts_agree(self) -> None:
        """Time-outs and sleeps of asyncio run on the same simulated time."""
        clock = VirtualClock(START)

        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await clock.sleep(10)
            assert clock.time() == START + 5
            async with asyncio.timeout(5):
                await asyncio.sleep(4)
            assert clock.time() == START + 9
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 900)
            assert clock.time() == START + 909

        clock.run(main())

    def test_deadlock(self) -> None:
        """When everybody waits and no timer is set, an error says so, and nothing is left behind."""
        clock = VirtualClock(START)
        cleaned: list[str] = []

        async def waiter() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append("waiter")

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(waiter())
                await clock.sleep(3)

        with pytest.raises(RuntimeError, match="deadlock"):
            clock.run(main())
        assert cleaned == ["waiter"]
        assert clock.time() == START + 3

    def test_threads_are_waited_for(self) -> None:
        """A result that comes from another thread is no deadlock."""
        clock = VirtualClock(START)

        async def main() -> None:
            await asyncio.to_thread(time.sleep, 0.05)

        clock.run(main())
        assert clock.time() == START

    def test_a_thread_that_does_not_end_is_told_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is no deadlock, but who waits hears what for."""
        monkeypatch.setattr("polyframe.clock._MOMENT", 0.01)
        monkeypatch.setattr("polyframe.clock._MOST_MOMENTS", 3)

        def work() -> None:
            deadline = time.monotonic() + 30
            while not caplog.records and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.1)  # some moments more

        VirtualClock(START).run(asyncio.to_thread(work))
        (line,) = caplog.messages
        assert line.endswith("all wait for a thread to end")

    def test_a_process_hides_no_deadlock_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who waits for something else is told of it, although a process is kept for later."""
        monkeypatch.setattr("polyframe.clock._MOMENT", 0.01)
        monkeypatch.setattr("polyframe.clock._MOST_MOMENTS", 3)
        clock = VirtualClock(START)
        alive: list[bool] = []

        async def main() -> None:
            idle = ("-c", "import time; time.sleep(10)")
            process = await asyncio.create_subprocess_exec(sys.executable, *idle)
            try:
                await asyncio.Event().wait()
            finally:
                monkeypatch.setattr("polyframe.clock._MOST_MOMENTS", 3000)
                alive.append(process.returncode is None)
                if alive == [True]:
                    process.kill()
                await process.wait()

        with pytest.raises(RuntimeError, match="deadlock"):
            clock.run(main())
        assert alive == [True]

    def test_goes_on_where_it_was(self) -> None:
        """A second run of the same clock begins at the time at which the first one ended."""
        clock = VirtualClock(START)
        clock.run(clock.sleep(10))
        clock.run(clock.sleep(5))
        assert clock.time() == START + 15

    @pytest.mark.parametrize(
        "use", [lambda clock: clock.sleep(1), lambda clock: clock.sleep_until(START - 1)]
    )
    def test_wrong_loop(self, use: Callable[[VirtualClock], Awaitable[None]]) -> None:
        """Under another loop its sleeps would never agree with its time, so they are refused."""
        clock = VirtualClock(START)

        async def main() -> None:
            with pytest.raises(RuntimeError, match=r"clock\.run"):
                await use(clock)

        asyncio.run(main())
        VirtualClock(START).run(main())


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan"), "fast", None])
def test_a_speed_that_is_none_is_refused(speed: Any) -> None:
    """The message names what is expected."""
    with pytest.raises(ConfigError, match="speed: expected a finite number above 0"):
        ScaledClock(speed)


class TestScaledClock:
    def test_runs_faster(self) -> None:
        """Market time runs `speed` times as fast as the wall, from `start` on."""
        clock = ScaledClock(1000, START)
        before = time.monotonic()
        asyncio.run(clock.sleep_until(START + 50))
        assert time.monotonic() - before < 5
        assert clock.time() >= START + 50

    def test_sleep_is_scaled(self) -> None:
        """A sleep takes market seconds, at least as many as asked."""
        clock = ScaledClock(10_000, START)
        before = clock.time()
        asyncio.run(clock.sleep(100))
        assert clock.time() - before >= 100

    def test_starts_now(self) -> None:
        """Without a start it begins at the present time."""
        assert abs(ScaledClock(1).time() - time.time()) < 5

    def test_stands_still_while_it_is_held(self) -> None:
        """No time passes before `release`, and whoever sleeps goes on sleeping; after it all goes."""
        clock = ScaledClock(1000, START, held=True)

        async def main() -> None:
            sleeper = asyncio.create_task(clock.sleep_until(START + 50))
            await asyncio.sleep(0.1)  # two times as long as it would take
            assert clock.time() == START
            assert not sleeper.done()
            clock.release()
            await sleeper
            assert clock.time() >= START + 50
            clock.release()
            assert clock.time() >= START + 50

        asyncio.run(main())

    @pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
    def test_impossible_speed(self, speed: float) -> None:
        """A speed at which nothing would ever happen, or everything at once, is refused."""
        with pytest.raises(ConfigError, match="speed"):
            ScaledClock(speed)


class TestWallClock:
    def test_is_the_system_time(self) -> None:
        """It says what the system says, and sleeps at least as long as asked."""
        clock = WallClock()
        assert abs(clock.time() - time.time()) < 5
        when = clock.time() + 0.02
        asyncio.run(clock.sleep_until(when))
        assert clock.time() >= when
        asyncio.run(clock.sleep(-1))

    @pytest.mark.parametrize("jump", [3600.0, -600.0])
    def test_system_time_is_set(self, jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """A sleeper notices soon that system time was set, and is not early when it was put back."""
        real = VirtualClock(START)

        def system_time() -> float:
            return real.time() + (jump if real.time() >= START + 5 else 0)

        async def main() -> float:
            await WallClock().sleep_until(START + 1800)
            return real.time() - START

        monkeypatch.setattr(time, "time", system_time)
        slept = real.run(main())
        if jump > 0:
            assert 5 <= slept <= 30
        else:
            assert 2400 <= slept <= 2401


def passes(clock: VirtualClock, when: float) -> bool:
    """Go on to loop time `when`, unless a timer is due before; say whether it is `when` now."""
    timer = clock.next_timer
    if timer is not None and when > timer.when():
        return False
    assert clock.pass_on(when) == clock.time()
    return True


def test_the_next_timer_is_known_also_after_many_were_cancelled() -> None:
    """The loop makes a new list of its timers then; what is due next is asked of that one."""
    clock = VirtualClock()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock.when_idle(lambda: False)
        gone = [loop.call_later(1 + i / 1000, list) for i in range(500)]
        stays = loop.call_later(50, list)
        for handle in gone:
            handle.cancel()
        await asyncio.sleep(0)
        assert clock.next_timer is stays

    clock.run(main())


def test_idle_work_runs_before_time_jumps_and_lets_others_have_their_turn() -> None:
    """Work is called when nobody can go on, runs whom it wakes, and a timer waits until it is done."""
    clock = VirtualClock(100.0)
    story: list[tuple[str, float]] = []

    async def main() -> None:
        rows = [101.0, 102.0, 104.0]
        woken = asyncio.Event()

        async def hook() -> None:
            while True:
                await woken.wait()
                woken.clear()
                story.append(("hook", clock.time()))

        def work() -> bool:
            if not rows or not passes(clock, rows[0] - 100.0):
                return False
            rows.pop(0)
            story.append(("row", clock.time()))
            woken.set()
            return True

        clock.when_idle(work)
        waiting = asyncio.create_task(hook())
        await clock.sleep(3.0)
        story.append(("timer", clock.time()))
        await clock.sleep(2.0)
        clock.when_idle(None)
        waiting.cancel()

    clock.run(main())
    assert story == [
        ("row", 101.0),
        ("hook", 101.0),
        ("row", 102.0),
        ("hook", 102.0),
        ("timer", 103.0),
        ("row", 104.0),
        ("hook", 104.0),
    ]


@pytest.mark.parametrize("is_in_place", [True, False])
def test_idle_work_and_whom_it_wakes_do_not_keep_the_loop_for_ever(is_in_place: bool) -> None:
    """Sockets are served although there is always more to do, in place or by tasks that never wait."""
    clock = VirtualClock()
    heard: list[bytes] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        loop.add_reader(ours, lambda: heard.append(ours.recv(1)))
        bell, turns = doorbell(), 0

        async def stay_busy() -> None:
            nonlocal turns
            while not heard:
                turns += 1
                assert turns < 100_000
                if is_in_place:
                    await bell
                else:
                    await asyncio.sleep(0)

        def work() -> bool:
            if not turns:
                theirs.send(b"x")
            bell.ring()
            return True

        clock.when_idle(work)
        await bell
        await stay_busy()
        clock.when_idle(None)
        loop.remove_reader(ours)
        ours.close()
        theirs.close()

    clock.run(main())
    assert heard


def test_idle_work_has_a_context_of_its_own() -> None:
    """What a task does to its decimal context is not done to those whose work it does in place."""
    clock = VirtualClock()
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        bell = doorbell()

        def work() -> bool:
            seen.append(("work", decimal.getcontext().prec))
            bell.ring()
            return True

        clock.when_idle(work)
        with decimal.localcontext() as context:
            context.prec = 3
            for _ in range(3):
                await bell
                seen.append(("task", decimal.getcontext().prec))
        clock.when_idle(None)

    clock.run(main())
    assert set(seen) == {("work", 28), ("task", 3)}
    assert len(seen) == 6


def test_work_in_place_costs_no_turn_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that waits for nothing but idle work is not put to sleep at all."""
    clock = VirtualClock()
    handles = 0

    class Counting(asyncio.Handle):
        def __init__(self, *args: Any) -> None:
            nonlocal handles
            handles += 1
            super().__init__(*args)

    async def main() -> None:
        bell = doorbell()

        def work() -> bool:
            bell.ring()
            return True

        clock.when_idle(work)
        monkeypatch.setattr(asyncio.events, "Handle", Counting)
        for _ in range(100):
            await bell
        clock.when_idle(None)

    clock.run(main())
    assert handles < 20


def course(
    instants: list[tuple[int, list[int]]],
    habits: list[tuple[int, list[int], int]],
    *,
    way: str,
) -> list[tuple[float, str, int]]:
    """Run workers that are woken at instants, and return what they did in which order.

    Args:
        instants: How long after the one before it each is, and whom it wakes.
        habits: What each worker does when it was woken.
        way: For what they wait: an ``"idle bell"``, at which work is done where a worker waits, a
            ``"plain bell"``, or a ``"future"``: with both the loop alone does it.
    """
    clock = VirtualClock()
    story: list[tuple[float, str, int]] = []
    left = list(instants)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        waiting: dict[int, asyncio.Future[None] | Doorbell] = {}
        bells = [doorbell() if way == "idle bell" else Doorbell() for _ in habits]
        when = 0

        def wake(one: int) -> None:
            if one in waiting:
                what = waiting.pop(one)
                if isinstance(what, Doorbell):
                    what.ring()
                else:
                    what.set_result(None)

        async def worker(me: int) -> None:
            ways, others, nap = habits[me]
            # Two who wake each other would never let time pass.
            while len(story) < 200:
                waiting[me] = loop.create_future() if way == "future" else bells[me]
                await waiting[me]
                story.append((loop.time(), "woken", me))
                for _ in range(ways):
                    await asyncio.sleep(0)
                    story.append((loop.time(), "way", me))
                for other in others:
                    wake(other)
                if nap:
                    await asyncio.sleep(nap)
                    story.append((loop.time(), "slept", me))

        def work() -> bool:
            nonlocal when
            if not left or not passes(clock, when + left[0][0]):
                return False
            after, woken = left.pop(0)
            when += after
            story.append((loop.time(), "work", len(woken)))
            for one in woken:
                wake(one)
            return True

        tasks = [asyncio.create_task(worker(me)) for me in range(len(habits))]
        clock.when_idle(work)
        try:
            async with asyncio.timeout(40):
                while left:  # noqa: ASYNC110 - time has to pass
                    await asyncio.sleep(3)
        except TimeoutError:
            story.append((loop.time(), "timeout", 0))
        clock.when_idle(None)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    clock.run(main())
    return story


@given(st.data())
def test_work_in_place_changes_the_order_of_nothing(data: st.DataObject) -> None:
    """Whoever is woken, by whom and when: all happens as if each had waited for a turn of the loop."""
    count = data.draw(st.integers(1, 4), label="workers")
    number = st.integers(0, count - 1)
    wakes = st.lists(number, max_size=4)
    instants = data.draw(
        st.lists(st.tuples(st.integers(1, 3), wakes), max_size=12), label="instants"
    )
    # After being woken, a worker gives way so many times, wakes others, and perhaps sleeps.
    habits = data.draw(
        st.lists(
            st.tuples(st.integers(0, 2), wakes, st.sampled_from([0, 0, 0, 2])),
            min_size=count,
            max_size=count,
        ),
        label="habits",
    )

    told = course(instants, habits, way="future")
    assert course(instants, habits, way="idle bell") == told
    assert course(instants, habits, way="plain bell") == told


def test_those_who_are_woken_together_go_in_that_order() -> None:
    """Also if the one that does the work stands in the middle, and the first has more to do."""
    instants = [(1, [0, 1, 2]), (1, [1]), (1, [2, 1, 0]), (1, [0, 1, 2]), (1, [2, 0, 1])]
    habits: list[tuple[int, list[int], int]] = [(2, [], 0), (1, [], 0), (2, [], 0)]
    told = course(instants, habits, way="idle bell")
    assert told == course(instants, habits, way="future")
    assert len(told) > 20


@pytest.mark.parametrize("run", [asyncio.run, VirtualClock().run])
def test_a_doorbell_wakes_who_waits(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    """Each ring ends one wait; one that nobody waits for is not heard, and a cancelled wait is over."""

    async def main() -> None:
        bell, woken = doorbell(), list[int]()

        async def sleeper() -> None:
            for number in range(3):
                await bell
                woken.append(number)

        bell.ring()
        task = asyncio.create_task(sleeper())
        for number in range(2):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(woken) == number
            bell.ring()
            bell.ring()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        bell.ring()
        assert woken == [0, 1]

    run(main())


def test_a_doorbell_that_the_last_idle_work_rings_is_heard() -> None:
    """Work that says that there is nothing more may have rung it all the same."""
    clock = VirtualClock(1_000)

    async def main() -> None:
        bell = doorbell()

        def work() -> bool:
            bell.ring()
            return False

        clock.when_idle(work)
        async with asyncio.timeout(1):
            await bell

    clock.run(main())


def test_timers_of_one_instant_come_in_the_order_in_which_they_were_set() -> None:
    """Whatever other timers there are, and however many of them were cancelled."""
    clock, came = VirtualClock(), list[int]()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        others = [loop.call_at(at, list) for at in (9.0, 1.0, 7.0, 2.0, 8.0)]
        for number in range(300):
            loop.call_at(5.0, came.append, number)
            others.append(loop.call_later(4.0 + number % 7, list))
        for handle in others:
            handle.cancel()
        await asyncio.sleep(6.0)

    clock.run(main())
    assert came == list(range(300))
