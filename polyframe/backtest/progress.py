"""How far a sweep or a back-test is, for people and programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Self

from attrs import evolve, frozen

from polyframe.checks import expect
from polyframe.errors import ConfigError


@frozen
class Progress:
    """How far a sweep or a back-test is.

    Attributes:
        done: Tasks that need not be run any more; of a back-test the markets that are over.
        total: Tasks that are known so far; a sampler adds to them.
        failed: How many of those done have failed.
        resumed: How many of those done an earlier run had finished.
    """

    done: int = 0
    total: int = 0
    failed: int = 0
    resumed: int = 0


Tell = Callable[[Progress], None]


def check_progress(progress: object) -> None:
    """Refuse what says nothing of how progress is to be told, see `listener`.

    Raises:
        ConfigError: It is neither a callable, nor ``True``, ``False`` or ``None``.
    """
    if not callable(progress):  # a class may be one
        is_right = isinstance(progress, bool | None)
        expect("progress", progress, "a callable, True, False or None", is_right=is_right)


class Meter:
    """Counts, and tells each change to one listener."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._now = Progress()

    def expect(self, tasks: int) -> None:
        """Add tasks to those that are known."""
        self._now = evolve(self._now, total=self._now.total + tasks)
        self._tell(self._now)

    def add(self, *, is_failed: bool, is_resumed: bool = False) -> None:
        """Count a task as done."""
        now = self._now
        self._now = Progress(
            now.done + 1, now.total, now.failed + is_failed, now.resumed + is_resumed
        )
        self._tell(self._now)


class Bar:
    """A progress bar of rich on standard error.

    Args:
        what: The word before it.
    """

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True),
            redirect_stdout=sys.stdout.isatty(),  # what is printed to a file stays there
        )
        self._task = self._bar.add_task(what, total=None, told="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        told = [f"{progress.failed} failed"] if progress.failed else []
        told += [f"{progress.resumed} done before"] if progress.resumed else []
        self._bar.update(
            self._task, completed=progress.done, total=progress.total, told=", ".join(told)
        )


def listener(progress: bool | Tell | None, what: str = "sweep") -> AbstractContextManager[Any]:
    """Return a context whose value takes progress.

    Args:
        progress: A callable, ``False`` for nothing, ``True`` for a bar, ``None`` for a bar on a
            terminal where rich is installed.
        what: The word before the bar.

    Raises:
        ConfigError: A bar was asked for, and rich is not installed.
    """
    if callable(progress):
        return nullcontext(progress)
    if progress or (progress is None and sys.stderr.isatty()):
        try:
            return Bar(what)
        except ModuleNotFoundError as error:
            if progress:
                msg = (
                    f"progress: the package {error.name} is not installed: "
                    "pip install '.[venue]' in the checkout of polyframe, "
                    "or pass a callable"
                )
                raise ConfigError(msg) from error
    return nullcontext(_nothing)


def _nothing(_: Progress) -> None:
    return
