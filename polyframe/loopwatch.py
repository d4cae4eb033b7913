"""Notices when the event loop is held up, because all that runs in it is held up with it.

Code that blocks its thread, such as ``time.sleep``, lets nothing else go on: books grow stale, the venue
hears no sign of life and cancels, stops do not come. asyncio cannot prevent that, but it can be seen.
"""

from __future__ import annotations

import asyncio
import linecache
import logging
import os
import selectors
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextvars import copy_context
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple

from polyframe.counters import Count, Counters

log = logging.getLogger(__name__)

SHORTEST = 0.05
"""Real seconds of the shortest limit: so long threads wait for each other now and then."""

_JOIN = 1.0
"""Real seconds that closing waits for the thread; who writes its line into the log may hold it up."""

_SUSPENDED = 0.25
"""Least share of the processor with which somebody was at work: a machine may be busy with others, too."""

_PLACES_KEPT = 1_000
"""Places that are remembered, so that none is told of again and again."""

_ROUND = 900.0
"""Real seconds that stand for a cycle where a block belongs to none."""

_ASYNCIO = f"{Path(asyncio.__file__).parent}{os.sep}"
_LOOP_AND_OURS = (_ASYNCIO, f"{Path(__file__).parent}{os.sep}", selectors.__file__)


def _now() -> float:
    """Return real seconds; where the system can tell, also those in which it was suspended."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class _Line(NamedTuple):
    """One line of a stack."""

    file: str
    number: int
    function: str

    def text(self) -> str:
        """Return it with what the source says there, as a traceback does: no values of variables."""
        linecache.checkcache(self.file)
        source = linecache.getline(self.file, self.number).strip()
        place = f"{Path(self.file).name}:{self.number} in {self.function}"
        return f"{place}: {source}" if source else place


class _Owner(NamedTuple):
    """Whose a task is: of which cycle and strategy, and what tells its hook."""

    slug: str
    strategy: str
    hook: Callable[[], str]


class _Block(NamedTuple):
    """What was seen of a block while it lasted."""

    hook: str
    who: str
    slug: str = ""
    lines: Sequence[_Line] = ()

    def place(self) -> str:
        """Return in words who it is, and where."""
        lines = " → ".join(line.text() for line in self.lines)
        return f"{self.who}, at {lines}" if lines else self.who


_STANDSTILL = _Block("stood_still", "the process")
_UNSEEN = _Block("elsewhere", "over before it could be seen where")


class LoopWatch:
    """Tells that the loop does not come round, while that lasts: for how long, and where it is.

    A timer of the loop gives a sign of life twice within the limit, and a thread looks for it as often. If
    neither of them had its turn, the whole process stood still, or somebody kept the interpreter to
    himself; the time of the processor tells which.

    Args:
        limit: Real seconds by which a sign of life may be late; `SHORTEST` at least.
        counters: Where blocks are counted; only the loop's thread does so.
    """

    def __init__(self, limit: float, counters: Counters) -> None:
        self._limit = limit
        self._pause = limit / 2
        self._counters = counters
        self._owners: dict[asyncio.Task[Any], _Owner] = {}
        self._longest: dict[tuple[str, object], float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def own(
        self, task: asyncio.Task[Any], *, slug: str, strategy: str, hook: Callable[[], str]
    ) -> None:
        """Say whose `task` is, and what will tell which hook it is in."""
        self._owners[task] = _Owner(slug, strategy, hook)
        task.add_done_callback(self._owners.pop)

    def start(self) -> None:
        """Watch the loop that runs in this thread."""
        self._loop, self._ident = asyncio.get_running_loop(), threading.get_ident()
        self._wait_anew()
        self._timer = self._loop.call_later(self._pause, self._beat)
        # In our context, so that its lines in the log say the mode.
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._watch,), name="loop watch", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End it, and tell of a block that is just over. Safe to repeat, and before the start."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._come_round()
            self._timer.cancel()
            self._ended.set()
            thread.join(_JOIN)

    # ------------------------------------------------------------------ in the loop's thread

    def _beat(self) -> None:
        self._timer = self._loop.call_later(self._pause, self._beat)
        self._come_round()

    def _come_round(self) -> None:
        """Count and tell what has held up the sign of life; wait for the next one."""
        with self._lock:
            late = self._look() - self._due - self._stood
            stood, kept, block, is_told = self._stood, self._kept, self._block, self._is_told
            self._wait_anew()
        if stood >= self._limit:
            self._counters.add(Count.LOOP_BLOCKED, "stood_still")
            if self._is_news(_STANDSTILL, stood):
                self._note(_STANDSTILL, stood)
                log.warning(
                    "the whole process stood still for %.1f s: it was suspended, or the machine had"
                    " hardly any time for it",
                    stood,
                )
        if late >= self._limit:
            block = block or _UNSEEN
            self._counters.add(Count.LOOP_BLOCKED, block.hook)
            if is_told:
                log.warning("the event loop comes round again after %.1f s: %s", late, block.who)
            elif self._is_news(block, late):
                text = "the event loop did not come round for %.1f s: %s%s"
                log.warning(text, late, block.place(), _why(min(kept, late)))
            if is_told or self._is_news(block, late):
                self._note(block, late)

    def _wait_anew(self) -> None:
        self._seen, self._cpu = _now(), time.process_time()
        self._due = self._seen + self._pause
        self._stood = self._kept = 0.0
        self._block: _Block | None = None
        self._is_told = False

    # ------------------------------------------------------------------ in both threads

    def _look(self) -> float:
        """Note that a thread has its turn, and why none had for long; return the time. Under the lock."""
        now, cpu = _now(), time.process_time()
        gap, worked = now - self._seen, cpu - self._cpu
        self._seen, self._cpu = now, cpu
        if gap > self._pause + self._limit / 4:
            # Who keeps the interpreter to himself uses the processor; who is suspended does not.
            if worked < _SUSPENDED * gap:
                self._stood += gap
            else:
                self._kept += gap
        return now

    def _is_news(self, block: _Block, seconds: float) -> bool:
        """Whether it is to be told: once for each place and cycle, and again if it is twice as long."""
        return seconds >= 2 * self._longest.get(self._key(block), 0.0)

    def _note(self, block: _Block, seconds: float) -> None:
        if len(self._longest) >= _PLACES_KEPT:
            self._longest.clear()
        self._longest[self._key(block)] = seconds

    def _key(self, block: _Block) -> tuple[str, object]:
        cycle = block.slug or f"{self._seen // _ROUND:.0f}"
        return cycle, block.lines[0][:2] if block.lines else block.who

    # ------------------------------------------------------------------ in a thread of its own

    def _watch(self) -> None:
        wait = self._pause
        while not self._ended.wait(wait) and not self._loop.is_closed():
            with self._lock:
                late = self._look() - self._due - self._stood
                is_late = late >= self._limit
                wait = self._pause if is_late else min(self._pause, self._limit - late)
                if not is_late or self._is_told:
                    continue
                if self._block is None:
                    # What kept all threads from their turns may be over now: a moment will tell.
                    self._block, wait = self._find(), self._limit / 20
                    continue
                block, why = self._block, _why(min(self._kept, late))
                self._is_told = self._is_news(block, late)
                if not self._is_told:
                    continue
            # Not under the lock: who writes the line may take his time, and the loop goes on.
            text = (
                "the event loop has not come round for %.1f s, so nothing is received, sent or stopped:"
                " %s%s"
            )
            log.warning(text, late, block.place(), why)

    def _find(self) -> _Block:
        """Return where the loop's thread is, and for whom."""
        task = asyncio.current_task(self._loop)
        owner = None if task is None else self._owners.get(task)
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001
        found = [] if frame is None else list(traceback.walk_stack(frame))
        lines = _telling(
            [_Line(f.f_code.co_filename, n, f.f_code.co_name) for f, n in reversed(found)]
        )
        if owner is None:
            who = "no task" if task is None else f"task {task.get_name()!r}"
            return _Block("elsewhere", who, lines=lines)
        hook = owner.hook()
        return _Block(hook, f"{hook}() of {owner.strategy} on {owner.slug}", owner.slug, lines)


def _telling(stack: Sequence[_Line]) -> Sequence[_Line]:
    """Return those lines of a stack, outermost first, that say where it is.

    They are the first one outside of polyframe that the loop has called, and the two innermost.
    """
    below = list(dropwhile(lambda line: not line.file.startswith(_ASYNCIO), stack))
    inner = list(dropwhile(lambda line: line.file.startswith(_ASYNCIO), below)) or stack
    theirs = [line for line in inner if not line.file.startswith(_LOOP_AND_OURS)]
    return [theirs[0], *theirs[1:][-2:]] if theirs else inner[-1:]


def _why(kept: float) -> str:
    """Return what to say of seconds in which one thread kept the interpreter to itself."""
    if not kept:
        return ""
    return (
        f" (for {kept:.1f} s no thread had its turn: a garbage collection, or code that keeps the"
        " interpreter to itself)"
    )
