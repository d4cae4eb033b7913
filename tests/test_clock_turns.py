"""The turns that the simulated clock takes for its loop are those that the loop would take."""

from __future__ import annotations

import asyncio
import socket
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.clock import Doorbell, VirtualClock, doorbell

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["way", "ring", "wait", "timer", "sleep", "spawn", "alarm"]),
        st.integers(0, 3),
    ),
    max_size=6,
)


def story(
    habits: list[list[tuple[str, int]]],
    rings: list[list[int]],
    *,
    turns: bool,
    is_debug: bool = False,
) -> list[Any]:
    """Return what workers do in which order; `turns` says whether the clock takes turns.

    The loop alone has a timer for what is an alarm of the clock.

    Args:
        habits: What each of them does in turn.
        rings: Whom idle work wakes, at one instant after the other.
        turns: False for the loop alone.
        is_debug: As with ``python -X dev``, where the loop takes each turn itself.
    """
    clock, told, left = VirtualClock(), list[Any](), list(rings)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(is_debug)
        loop.slow_callback_duration = inf
        bells: list[Doorbell] = [doorbell() for _ in range(4)]

        alarm_at, timers = inf, list[asyncio.TimerHandle]()

        def note(*what: object) -> None:
            told.append((loop.time(), *what))

        def set_alarm(me: int, when: float) -> None:
            nonlocal alarm_at
            alarm_at = when

            def ring() -> None:
                nonlocal alarm_at
                alarm_at = inf
                note(me, "alarm")
                bells[me].ring()

            if turns:
                clock.set_alarm(when, ring)
            else:
                for timer in timers:
                    timer.cancel()
                timers.append(loop.call_at(when, ring))

        async def worker(me: int, habit: list[tuple[str, int]]) -> None:
            for what, number in habit:
                note(me, what, number)
                if what == "way":
                    await asyncio.sleep(0)
                elif what == "ring":
                    bells[number].ring()
                elif what == "wait":
                    await bells[me]
                elif what == "timer":
                    loop.call_later(number // 2, note, me, "due")
                elif what == "alarm":
                    set_alarm(me, loop.time() + number / 2)
                elif what == "sleep":
                    await asyncio.sleep(number / 2)
                else:
                    loop.call_soon(loop.call_soon, note, me, "soon")
            note(me, "end")

        def work() -> bool:
            when, timer = loop.time() + 0.5, clock.next_timer
            # As those who play a recording: up to the next timer, and at the same instant before it.
            if not left or (timer is not None and timer.when() < when) or alarm_at < when:
                return False
            clock.pass_on(when)
            note("work")
            for number in left.pop(0):
                bells[number].ring()
            return True

        tasks = [asyncio.create_task(worker(me, habit)) for me, habit in enumerate(habits)]
        clock.when_idle(work)
        await asyncio.wait(tasks, timeout=20)
        clock.when_idle(None)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    with pytest.MonkeyPatch.context() as patch:
        if not turns:

            def wait_for_the_loop(clock: VirtualClock) -> None:
                if clock._is_amid:
                    clock._work()

            patch.setattr(VirtualClock, "_take_turns", wait_for_the_loop)
        clock.run(main())
    return told


@given(
    st.lists(STEPS, min_size=4, max_size=4),
    st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=8),
)
def test_turns_of_the_clock_change_the_order_of_nothing(
    habits: list[list[tuple[str, int]]], rings: list[list[int]]
) -> None:
    """Steps, timers that are due at once, and who wakes whom: all comes as with the loop alone."""
    assert story(habits, rings, turns=True) == story(habits, rings, turns=False)


def test_a_timer_that_is_due_at_once_comes_before_what_was_woken_later() -> None:
    """Nobody goes on and on while a timer is due."""
    habits = [[("timer", 0), ("way", 0), ("way", 0), ("way", 0)], [("way", 0)] * 3, [], []]
    told = [what[1:] for what in story(habits, [], turns=True)]
    assert told.index((0, "due")) < told.index((0, "end"))
    assert told == [what[1:] for what in story(habits, [], turns=False)]


def test_a_timer_of_an_instant_of_the_recording_comes_after_all_that_it_led_to() -> None:
    """Who does the idle work himself is amid an instant: its timers wait."""
    alone: list[tuple[str, int]] = [("way", 0)] * 3
    habits = [[*alone, ("wait", 0), *alone], [("wait", 0), *alone], [("sleep", 1)], []]
    told = story(habits, [[1, 0]], turns=True)
    assert told == story(habits, [[1, 0]], turns=False)
    assert told.index((0.5, 0, "end")) < told.index((0.5, 2, "end"))


@pytest.mark.parametrize("is_debug", [False, True])
def test_what_is_due_does_not_hang_on_how_many_turns_there_were_before(is_debug: bool) -> None:
    """The clock takes so many turns for the loop; the last of them ends as the others do."""
    way = ("way", 0)
    for count in range(36):
        instant = [[*[way] * count, ("wait", 0), *[way] * 3], [("wait", 0), *[way] * 3]]
        for habits in (
            [*instant, [("sleep", 1)], []],
            [*instant, [("alarm", 1), *[way] * count], [("timer", 1), ("sleep", 1)]],
        ):
            told = story(habits, [[1, 0], [0]], turns=True, is_debug=is_debug)
            assert told == story(habits, [[1, 0], [0]], turns=False)


def test_an_alarm_that_is_set_anew_rings_once_and_at_its_new_place_among_timers() -> None:
    """As a timer that is set now: what it was set to before does not count."""
    habits = [
        [("alarm", 2), ("sleep", 1), ("wait", 0)],
        [("timer", 2)],
        [("sleep", 1), ("alarm", 1)],
        [],
    ]
    told = story(habits, [], turns=True)
    assert told == story(habits, [], turns=False)
    assert [what for what in told if what[2] == "alarm"][-1:] == [(1.0, 2, "alarm")]
    assert told.index((1.0, 1, "due")) < told.index((1.0, 2, "alarm"))


@pytest.mark.parametrize("is_debug", [False, True])
def test_an_alarm_is_among_the_timers_that_the_loop_takes_while_others_go_on(
    is_debug: bool,
) -> None:
    """Also where the clock has left the turn to the loop before it looked at what is due."""
    clock, told = VirtualClock(), list[str]()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(is_debug)
        loop.slow_callback_duration = inf
        clock.when_idle(lambda: False)
        clock.set_alarm(1.0, lambda: told.append("alarm"))
        loop.call_at(1.0, told.append, "timer")
        clock.pass_on(1.0)
        for _ in range(3):
            await asyncio.sleep(0)
        told.append("others")
        clock.when_idle(None)

    clock.run(main())
    assert told == ["alarm", "timer", "others"]


def test_an_alarm_is_taken_back() -> None:
    """With no time it does not ring, also where it is a timer by then."""
    clock, rung = VirtualClock(), list[float]()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock.when_idle(lambda: False)
        for number in range(3):
            clock.set_alarm(loop.time() + 1, lambda: rung.append(loop.time()))
            if number == 1:
                # At the same instant as a timer, and others are ready: the loop has both.
                loop.call_soon(clock.set_alarm, None, rung.clear)
                clock.pass_on(loop.time() + 1)
                await asyncio.sleep(0)
            elif number == 2:
                clock.set_alarm(None, rung.clear)
            await asyncio.sleep(5)
        clock.when_idle(None)

    clock.run(main())
    assert rung == [1.0]


def test_who_gives_way_for_ever_does_not_keep_a_socket_from_being_heard() -> None:
    """Between turns the loop looks at its sockets, as ever."""
    clock = VirtualClock()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        heard = asyncio.Event()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            loop.add_reader(ours, heard.set)
            clock.when_idle(lambda: False)
            theirs.send(b"!")
            for _ in range(1_000):
                await asyncio.sleep(0)
            clock.when_idle(None)
            loop.remove_reader(ours)
        assert heard.is_set()

    clock.run(main())


def test_a_loop_that_is_over_takes_no_timer() -> None:
    """Who sets one then is told so, as by any other loop, and does not wait for ever."""
    clock, loops = VirtualClock(), list[asyncio.AbstractEventLoop]()

    async def main() -> None:
        loops.append(asyncio.get_running_loop())

    clock.run(main())
    with pytest.raises(RuntimeError, match="closed"):
        loops[0].call_later(1, loops.clear)
