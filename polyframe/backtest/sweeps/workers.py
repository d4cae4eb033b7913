"""Runs tasks: on processes of our own, or on any executor."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Protocol

from polyframe.backtest.sweeps.packing import import_files
from polyframe.backtest.sweeps.task import Failure, Task, TaskResult, run_task
from polyframe.errors import ConfigError

log = logging.getLogger(__name__)

_AHEAD = 64
"""Tasks that are handed to somebody else's executor at a time."""

_DEADLY = 2
"""Workers that died of a task; then it is the task."""

_STILLBORN = 2
"""Workers in a row that could not begin; then it is none of the tasks."""


class Runner(Protocol):
    """Runs tasks."""

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:
        """Yield results as they come, in any order; each task has one."""
        ...

    def close(self) -> None:
        """End all that is still running. Safe to repeat."""
        ...


class ExecutorRunner:
    """Runs tasks on an executor of the caller's, which stays open.

    Args:
        executor: Any; a Dask client's ``client.get_executor()`` as well.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._flying: dict[Future[TaskResult], Task] = {}

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:
        """Yield results as they come, in any order.

        Raises:
            BrokenExecutor: The executor cannot go on; results that were yielded are good.
        """
        waiting = deque(tasks)
        while waiting or self._flying:
            while waiting and len(self._flying) < _AHEAD:
                task = waiting.popleft()
                self._flying[self._executor.submit(run_task, task)] = task
            done, _ = wait(self._flying, return_when=FIRST_COMPLETED)
            for future in done:
                task = self._flying.pop(future)
                try:
                    yield future.result()
                except (BrokenExecutor, CancelledError):
                    raise
                except Exception as error:  # noqa: BLE001 - such as Dask's KilledWorker
                    yield TaskResult(task.key, "lost", failure=Failure.of(error))

    def close(self) -> None:
        """Take back what has not begun; the executor is not ours to end."""
        for future in self._flying:
            future.cancel()
        self._flying.clear()


class ProcessRunner:
    """Runs tasks on processes of its own, and makes a new one where one dies.

    Each process has one task at a time, so it is known which one it died of, and stays with the
    markets that it has read as long as there are tasks on them.

    Args:
        workers: How many.
        files: Modules that they import from files, see `polyframe.backtest.sweeps.packing.files_of`.
    """

    def __init__(self, workers: int, files: dict[str, str]) -> None:
        self._workers = [_Worker(files) for _ in range(workers)]

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:
        """Yield results as they come, in any order.

        Raises:
            ConfigError: Workers cannot begin.
        """
        groups: dict[tuple[str, ...], deque[Task]] = {}
        for task in tasks:
            groups.setdefault(task.names, deque()).append(task)
        deaths: Counter[str] = Counter()
        stillborn = 0
        flying: dict[Future[TaskResult], tuple[_Worker, Task]] = {}
        idle = list(self._workers)
        while flying or groups:
            while idle and groups:
                worker = idle.pop()
                names = _choose(groups, worker, [busy for busy, _ in flying.values()])
                task = groups[names].popleft()
                if not groups[names]:
                    del groups[names]
                flying[worker.submit(task)] = worker, task
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                worker, task = flying.pop(future)
                idle.append(worker)
                if not isinstance(future.exception(), BrokenExecutor):
                    stillborn = 0
                    yield future.result()
                    continue
                has_begun = worker.end()
                stillborn = 0 if has_begun else stillborn + 1
                if stillborn >= _STILLBORN:
                    raise ConfigError(_STILLBORN_TEXT)
                deaths[task.key] += has_begun
                if deaths[task.key] >= _DEADLY:
                    yield _death(task)
                    continue
                log.warning("sweep: a worker died; its task is run again")
                groups.setdefault(task.names, deque()).appendleft(task)

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        for worker in self._workers:
            worker.cut()
        for worker in self._workers:
            worker.end()


class _Worker:
    """One process that begins with its first task.

    Attributes:
        names: The markets that it has read last.
    """

    def __init__(self, files: dict[str, str]) -> None:
        self.names: tuple[str, ...] = ()
        self._files = files
        # Python's way to begin a process that is the same everywhere, and safe beside threads.
        self._context = multiprocessing.get_context("spawn")
        self._lifeline: tuple[Connection, Connection] | None = None
        self._has_begun: Event | None = None
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, task: Task) -> Future[TaskResult]:
        """Hand it a task; it has no other one."""
        self.names = task.names
        try:
            return self._opened().submit(run_task, task)
        except BrokenExecutor:  # it died while it had nothing to do
            self.end()
            return self._opened().submit(run_task, task)

    def cut(self) -> None:
        """Have it end at once, whatever it is doing."""
        if self._lifeline is not None:
            self._lifeline[1].close()

    def end(self) -> bool:
        """End it, and return whether it ever began; the next task makes a new one."""
        self.cut()
        pool, lifeline, has_begun = self._pool, self._lifeline, self._has_begun
        self._pool = self._lifeline = self._has_begun = None
        self.names = ()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        if lifeline is not None:
            lifeline[0].close()
        return has_begun is not None and has_begun.is_set()

    def _opened(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._lifeline = self._context.Pipe(duplex=False)
            self._has_begun = self._context.Event()
            self._pool = ProcessPoolExecutor(
                1,
                mp_context=self._context,
                initializer=_begin,
                initargs=(self._lifeline[0], self._has_begun, self._files),
            )
        return self._pool


def _choose(
    groups: Mapping[tuple[str, ...], deque[Task]], worker: _Worker, busy: Sequence[_Worker]
) -> tuple[str, ...]:
    """Return the markets that a worker goes on with: its own, those of nobody, those with most left."""
    if worker.names in groups:
        return worker.names
    taken = {other.names for other in busy}
    return next(
        (names for names in groups if names not in taken),
        max(groups, key=lambda names: len(groups[names])),
    )


_STILLBORN_TEXT = (
    "executor: workers die before they can begin. In a script, the call must be below "
    "'if __name__ == \"__main__\":', because workers import the script; else look at what they "
    "wrote to standard error, or at the memory of this machine"
)


def _death(task: Task) -> TaskResult:
    text = f"the worker died {_DEADLY} times while it had this task"
    return TaskResult(task.key, "lost", failure=Failure("WorkerDied", text))


def _begin(lifeline: Connection, has_begun: Event, files: dict[str, str]) -> None:
    """Prepare a worker."""
    # A Ctrl-C reaches all processes of a terminal: the sweeping one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What one of many back-tests warns of would tear the progress bar and say nothing of which.
    logging.getLogger("polyframe").setLevel(logging.ERROR)
    threading.Thread(target=_live, args=(lifeline,), daemon=True).start()
    import_files(files)
    has_begun.set()


def _live(lifeline: Connection) -> None:
    """End this process when the sweeping one has closed its end of the pipe, or died."""
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
