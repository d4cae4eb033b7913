"""Ctrl-C, SIGTERM and the loss of the terminal: the first asks for an orderly end, a second ends at once.

Unless it is, or follows, the loss of the terminal: then nobody insists yet.

The process never outlives a deadline, whatever a strategy does: one that swallows its cancellation,
blocks the thread or left a thread behind is left to its fate, after the report was printed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

GRACE = 4.0
"""Real seconds from the first signal to the end of the process, at most (half a second more if
even the report cannot be written)."""

LINGER = 1.0
"""Real seconds that a finished command waits for tasks and threads that do not end."""

HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""The terminal is gone, for example with its connection. Windows has no such signal."""


class Stopper:
    """Turns signals into the cancellation of one task, and keeps the deadline.

    Args:
        grace: Real seconds from the first signal to the end of the process, as `GRACE`.

    Attributes:
        last_words: Called before the process is ended by force; prints the report.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self.signal: signal.Signals | None = None
        self.last_words: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._terminals: list[int] = []
        self._process = 0

    @property
    def exit_code(self) -> int:
        """128 plus the number of the signal that came, 0 if none did."""
        return 0 if self.signal is None else 128 + self.signal

    def install(self) -> None:
        """Take over SIGINT, SIGTERM and SIGHUP. Such handlers also run while the loop is blocked."""
        self._process = os.getpid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        # Under nohup it is ignored, and has to be.
        if HANG_UP is not None and signal.getsignal(HANG_UP) is not signal.SIG_IGN:
            self._terminals = [number for number in (0, 1, 2) if os.isatty(number)]
            signal.signal(HANG_UP, self._on_signal)

    def bind(self, task: asyncio.Task[Any]) -> None:
        """Cancel `task` at the first signal; at once if it came already."""
        self._loop, self._task = asyncio.get_running_loop(), task
        if self.signal is not None:
            task.cancel()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A worker that was forked off: the run and its report are not its own.
            os._exit(128 + number)
        if number == HANG_UP:
            self._let_go_of_terminal()
            if self.signal is not None:
                return  # nobody insists: the system and the shell may both tell it
        if self.signal is None:
            self.stop(signal.Signals(number))
        elif self.signal == HANG_UP:
            # Nor does who ends a session: it lets terminals go first, and then its processes.
            self.signal = signal.Signals(number)
        else:
            leave(128 + number)

    def _let_go_of_terminal(self) -> None:
        """Write to nowhere instead: each write to a terminal that is gone is an error."""
        terminals, self._terminals = self._terminals, []
        if terminals:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in terminals:
                os.dup2(nowhere, number)
            os.close(nowhere)

    def stop(self, why: signal.Signals) -> None:
        """Ask for an orderly end, as the first signal does; later calls change nothing."""
        if self.signal is not None:
            return
        self.signal = why
        self._after(self._grace, self._give_up)
        if self._loop is not None and self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    def linger(self, exit_code: int) -> None:
        """End the process by force if it is still there a moment from now."""
        self._after(LINGER, lambda: leave(exit_code))

    def _give_up(self) -> None:
        # Should the terminal not take the report, the process ends all the same.
        self._after(0.5, lambda: leave(self.exit_code))
        words, self.last_words = self.last_words, None
        if words is not None:
            words()
        leave(self.exit_code)

    @staticmethod
    def _after(seconds: float, call: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, call)
        timer.daemon = True
        timer.start()


def leave(exit_code: int) -> None:
    """End the process now: no clean-up, but what was printed is out."""
    for stream in (sys.stdout, sys.stderr):
        # A stream whose reader is gone, or that the interrupted code is writing to just now, must
        # not keep the process alive.
        with suppress(OSError, ValueError, RuntimeError):
            stream.flush()
    with suppress(OSError, ValueError):
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), b"\x1b[?25h")  # a Live screen hides the cursor
    os._exit(exit_code)
