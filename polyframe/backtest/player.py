"""Plays recordings in simulated time: each market's rows at the instants at which they were heard.

Everything is played from one place, in order of time over all markets, while the event loop has
nothing else to do. After the rows of an instant everybody else has their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import copy_context
from heapq import heappop, heappush

from polyframe.backtest.tape import Solo, Tape
from polyframe.clock import VirtualClock
from polyframe.paper.schedule import NEVER


class Player:
    """Plays tapes together.

    Args:
        clock: Simulated time.
        come_due: Called when what was appointed is due; has to appoint anew.
        on_error: Told if a recording cannot be read on; nothing is played from there on.

    Attributes:
        clock: The same.
        origin: What market time has more than loop time, in seconds.
        context: Context variables of what is played, which are nobody's who is told of it.
        appointed_ms: When something is to be done beside it, see `appoint`.
    """

    def __init__(
        self,
        clock: VirtualClock,
        come_due: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self.clock = clock
        self._come_due = come_due
        self._on_error = on_error
        # Simulated time of the loop and of the market differ by a constant, which is exact as
        # long as time began at a whole second.
        self.origin = clock.time() - asyncio.get_running_loop().time()
        self._due: list[tuple[int, int, Tape]] = []
        self._added = 0
        # The next timer, and what `_next_timer_ms` made of it.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = NEVER
        self.appointed_ms = NEVER
        self._is_interrupted = False
        self._solo: Solo | None = None
        self.context = copy_context()
        clock.when_idle(self._play().__next__)

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds."""
        # A little more than the error of a float of this size, and far less than a millisecond.
        return int(self.clock.time() * 1000 + 0.01)

    def loop_time(self, time_ms: int) -> float:
        """Return the event loop's time of an instant in epoch milliseconds."""
        return time_ms / 1000 - self.origin

    def appoint(self, due_ms: int) -> None:
        """Call `come_due` at an instant, as by a timer that is set now, in place of when it was to be.

        Comes after `interrupt`.

        Args:
            due_ms: In epoch milliseconds; `NEVER` for not at all.
        """
        self.appointed_ms = due_ms
        self.clock.set_alarm(None if due_ms == NEVER else self.loop_time(due_ms), self._ring)

    def _ring(self) -> None:
        self.appointed_ms = NEVER
        self._come_due()

    def interrupt(self) -> None:
        """Something else has happened: what was said of the rows to come may not hold any more."""
        self._is_interrupted = True
        self._end_solo()

    def solo_room(self) -> tuple[int, int]:
        """Return until when nothing else has anything to do, in epoch milliseconds, and how many rows may go."""
        self.interrupt()
        due, limit_ms = self._due, self._next_timer_ms()
        if len(due) > 1:
            # Who asks is the first, or there is nothing to do for him: he is among the others then.
            limit_ms = min(limit_ms, min(due[1:3])[0] - 1)
        return limit_ms, self.clock.idle_steps

    def begin_solo(self, solo: Solo) -> None:
        """Let somebody take rows by himself; nobody else plays until he is interrupted."""
        self._solo = solo
        self.clock.begin_solo(solo)

    def _end_solo(self) -> None:
        solo, self._solo = self._solo, None
        if solo is not None:
            solo.is_over = True
            self.clock.end_solo(solo.tape.end_solo())

    def add(self, tape: Tape) -> None:
        """Begin to play a tape; what is past already is played at once."""
        self.interrupt()
        tape.play(self.now_ms())
        self._added += 1
        self._push(tape, self._added)

    def catch_up(self) -> None:
        """Play what is due at this very instant, for those who act within it."""
        self.interrupt()
        now_ms = self.now_ms()
        if self._due and self._due[0][0] <= now_ms:
            # None of what happens thereby is theirs, nor are their context variables.
            self.context.copy().run(self._catch_up, now_ms)

    def _catch_up(self, now_ms: int) -> None:
        while self._due and self._due[0][0] <= now_ms:
            self.interrupt()
            _, number, tape = heappop(self._due)
            tape.play(now_ms)
            self._push(tape, number)

    def stop(self) -> None:
        """Play nothing more."""
        self.interrupt()
        self.clock.when_idle(None)
        self._due.clear()

    def _push(self, tape: Tape, number: int) -> None:
        if tape.next_ms is not None:
            heappush(self._due, (tape.next_ms, number, tape))

    def _play(self) -> Iterator[bool]:
        """Play on; yield True after each instant of which somebody may have heard, False if nothing is due.

        Timers that are due before come first. At the same instant rows do: an order meets the book with
        them in it.
        """
        due, clock = self._due, self.clock
        while True:
            self._end_solo()
            if not due or due[0][0] > (limit_ms := self._next_timer_ms()):
                yield False
                continue
            now_ms, number, tape = due[0]
            if len(due) > 1:
                limit_ms = min(limit_ms, min(due[1:3])[0] - 1)
            try:
                if limit_ms < now_ms:
                    # Several have something at this instant.
                    clock.pass_on(now_ms / 1000 - self.origin)
                    self._catch_up(now_ms)
                    yield True
                    continue
                self._is_interrupted, timer = False, clock.next_timer
                for _ in tape.instants(limit_ms):
                    yield True
                    if self._is_interrupted or clock.next_timer is not timer:
                        break
                self._end_solo()
                if due and due[0][2] is tape:
                    heappop(due)
                    self._push(tape, number)
            except Exception as error:  # noqa: BLE001 - a reader may raise whatever it likes
                self.stop()
                self._on_error(error)

    def _next_timer_ms(self) -> int:
        """Return the last instant at which no timer is overdue."""
        timer = self.clock.next_timer
        if timer is None:
            return self.appointed_ms
        if timer is not self._timer:
            self._timer, when = timer, timer.when()
            limit_ms = int((when + self.origin) * 1000) + 1
            while limit_ms / 1000 - self.origin > when:
                limit_ms -= 1
            self._timer_ms = limit_ms
        return min(self._timer_ms, self.appointed_ms)
