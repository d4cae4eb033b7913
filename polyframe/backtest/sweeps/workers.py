"""Runs tasks: on processes of our own, or on any executor."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
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

_ENOUGH_DEATHS = 2
"""Of workers that had one task and nothing else to do: then it is the task."""

_STILLBORN = 2
"""Pools in a row of which no worker could begin: then it is not the tasks."""


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
    """Runs tasks on processes of its own, and makes new ones where they die.

    Args:
        workers: How many.
        files: Modules that they import from files, see `polyframe.backtest.sweeps.packing.files_of`.
    """

    def __init__(self, workers: int, files: dict[str, str]) -> None:
        self._workers = workers
        self._files = files
        # Python's way to begin a process that is the same everywhere, and safe beside threads.
        self._context = multiprocessing.get_context("spawn")
        self._lifeline: tuple[Connection, Connection] | None = None
        self._has_begun = self._context.Event()
        self._pool: ProcessPoolExecutor | None = None

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:
        """Yield results as they come, in any order.

        Raises:
            ConfigError: Workers die before they have done anything.
        """
        waiting, suspects = deque(tasks), deque[Task]()
        deaths: Counter[str] = Counter()
        stillborn = 0
        flying: dict[Future[TaskResult], Task] = {}
        while waiting or suspects or flying:
            # One of the suspects is the killer: alone it cannot take others with it.
            source, limit = (suspects, 1) if suspects else (waiting, 2 * self._workers)
            is_alone = source is suspects and len(flying) == 0
            lost = []
            while source and len(flying) < limit:
                task = source.popleft()
                try:
                    flying[self._opened().submit(run_task, task)] = task
                except BrokenExecutor:
                    lost.append(task)
                    break
            done, _ = wait(flying, return_when=FIRST_COMPLETED) if flying else (set(flying), None)
            for future in done:
                task = flying.pop(future)
                if isinstance(future.exception(), BrokenExecutor):
                    lost.append(task)
                else:
                    yield future.result()
            if not lost:
                continue
            has_begun = self._has_begun.is_set()
            self._end()
            stillborn = 0 if has_begun else stillborn + 1
            if stillborn >= _STILLBORN:
                raise ConfigError(_STILLBORN_TEXT)
            # Who was with them may have come to an end, or died with them.
            for future, task in flying.items():
                if isinstance(future.exception(), BrokenExecutor | CancelledError):
                    lost.append(task)
                else:
                    yield future.result()
            flying.clear()
            log.warning("sweep: a worker died; %d tasks are run again", len(lost))
            if has_begun and is_alone and len(lost) == 1:
                deaths[lost[0].key] += 1
                if deaths[lost[0].key] >= _ENOUGH_DEATHS:
                    yield _death(lost.pop())
            suspects.extend(lost)

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        self._end()

    def _opened(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._lifeline = self._context.Pipe(duplex=False)
            self._has_begun = self._context.Event()
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=self._context,
                initializer=_begin,
                initargs=(self._lifeline[0], self._has_begun, self._files),
            )
        return self._pool

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            lifeline[1].close()  # whoever is still at work ends at once
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        if lifeline is not None:
            lifeline[0].close()


_STILLBORN_TEXT = (
    "executor: workers die before they can begin. In a script, the call must be below "
    "'if __name__ == \"__main__\":', because workers import the script; else look at what they "
    "wrote to standard error, or at the memory of this machine"
)


def _death(task: Task) -> TaskResult:
    text = f"the worker died {_ENOUGH_DEATHS} times while it had this task and no other"
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
