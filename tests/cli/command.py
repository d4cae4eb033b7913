"""The command line in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).resolve().parents[2]

FAST = ("--plain", "--source", "synthetic", "--speed", "200")
"""A cycle in four and a half seconds."""

LIMIT = 60.0
"""Real seconds after which a command that does not end is a failure of the test."""


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a command: what the tests' own terminal says does not matter."""
    kept = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES", "NO_COLOR"}}
    return kept | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)} | changes


def polyframe(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run ``polyframe`` to its end, with changes of its environment."""
    return subprocess.run(
        [sys.executable, "-m", "polyframe", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=environment(**changes),
        check=False,
    )


_ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "polyframe", *sys.argv[1:]])
"""


def on_terminal(
    inside: int, *arguments: str, errors: int | IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start ``polyframe`` as the only program of a terminal, which becomes its own.

    Or Ctrl-C would be a character only, and the loss of the terminal nothing at all.

    Args:
        inside: The program's side of the terminal; is closed here.
        arguments: Of the command.
        errors: Where standard error goes, if not to the terminal.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _ON_A_TERMINAL, *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside if errors is None else errors,
        env=environment(),
        start_new_session=True,
    )
    os.close(inside)
    return process


_LATE = re.compile(r"^WARNING [^\n]*\n", re.MULTILINE)


def complaints(errors: str) -> str:
    """Return what a run printed to standard error, without warnings.

    A market that opens late, or a stream that was silent: the machine had too much else to do.
    """
    return _LATE.sub("", errors)


class Command:
    """A ``polyframe`` that is still running; killed if the test leaves it alive."""

    def __init__(self, *arguments: str, **changes: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "polyframe", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(PYTHONUNBUFFERED="1", **changes),
        )
        self.lines: list[str] = []
        self._errors: list[str] = []
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.extend(self.process.stderr)

    def wait_line(self, pattern: str) -> str:
        """Return the first line that matches; it may have been printed already."""
        deadline = time.monotonic() + LIMIT
        with self._news:
            while time.monotonic() < deadline:
                for line in self.lines:
                    if re.search(pattern, line):
                        return line
                self._news.wait(1.0)
        raise AssertionError(f"no line {pattern!r} in {self.lines}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Return the exit code; a process that is alive after `seconds` is a failure."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        return code

    @property
    def output(self) -> str:
        """What was printed so far."""
        return "\n".join(self.lines)

    @property
    def errors(self) -> str:
        """What was printed to standard error so far."""
        return "".join(self._errors)


def rows(output: str) -> list[list[str]]:
    """Return the rows of the final table: one per market."""
    found: list[list[str]] = []
    for line in output.splitlines():
        words: Sequence[str] = line.split()
        if words and words[0].startswith("btc-updown-15m-"):
            found.append(list(words))
    return found
