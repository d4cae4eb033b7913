"""Runs variants on chunks of markets, each once, and keeps what came of them."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import frozen

import polyframe
from polyframe.backtest.progress import Meter, Tell, check_progress, listener
from polyframe.backtest.run import check_options, markets_of
from polyframe.backtest.sweeps import keys
from polyframe.backtest.sweeps.packing import files_of, pack
from polyframe.backtest.sweeps.store import RunFolder
from polyframe.backtest.sweeps.task import Failure, SweepOptions, Task, TaskResult
from polyframe.backtest.sweeps.variants import Variant
from polyframe.backtest.sweeps.workers import ExecutorRunner, ProcessRunner, Runner
from polyframe.checks import expect, expect_count, expect_path
from polyframe.errors import ConfigError
from polyframe.recording.reader import Recording
from polyframe.recording.tape import TapeMarket, file_name
from polyframe.strategy import Strategy

_OPTIONS = frozenset(SweepOptions.__annotations__)


@frozen(kw_only=True)
class Means:
    """What a sweep is run with.

    Attributes:
        executor: Runs the tasks; processes of this machine by default.
        workers: How many of those; as many as there are cores by default.
        folder: Keeps results over restarts; nothing is kept by default.
        progress: See `polyframe.backtest.progress.listener`.
        retry_failed: Run tasks again that failed in an earlier run.
    """

    executor: Executor | None = None
    workers: int | None = None
    folder: str | Path | None = None
    progress: bool | Tell | None = None
    retry_failed: bool = False

    def __attrs_post_init__(self) -> None:
        expect_count("workers", self.workers, or_none="for one of each processor")
        if self.workers is not None and self.executor is not None:
            msg = f"workers: expected no executor beside it, got {self.executor!r}"
            raise ConfigError(msg)
        if self.executor is not None and not isinstance(self.executor, Executor):
            msg = (
                f"executor: expected a concurrent.futures.Executor, got {self.executor!r} (of a Dask "
                "client: client.get_executor())"
            )
            raise ConfigError(msg)
        if self.folder is not None:
            expect_path("folder", self.folder, "the name of a folder, or None to keep nothing")
        check_progress(self.progress)
        is_flag = isinstance(self.retry_failed, bool)
        expect("retry_failed", self.retry_failed, "True or False", is_right=is_flag)


Job = tuple[Variant, tuple[TapeMarket, ...]]
"""One variant on some markets."""


class Engine:
    """Runs jobs; a context that ends its workers.

    Args:
        data: The markets.
        means: What with.
        options: Of the back-tests, see `SweepOptions`.

    Raises:
        ConfigError: An unknown option, data without markets or that cannot be sent, or a folder that
            cannot be used.
    """

    def __init__(self, data: Recording, means: Means, options: Mapping[str, Any]) -> None:
        if unknown := sorted(set(options) - _OPTIONS):
            msg = f"{unknown[0]}: no option of a sweep; there are: {', '.join(sorted(_OPTIONS))}"
            raise ConfigError(msg)
        check_options(options)
        self._data = data
        self._means = means
        self._options = dict(options)
        self._stack = ExitStack()
        self._packed: dict[int, tuple[Variant, bytes]] = {}
        self._identities: dict[str, str] = {}
        self._data_version = ""
        self._runner: Runner | None = None
        self._meter = Meter(lambda _: None)
        self.markets = markets_of(data, self._options.get("series"))

    def __enter__(self) -> Self:
        with self._stack as stack:
            self._blob = keys.pickled_data(self._data)
            self._whole = keys.data_identity(self._data)
            try:
                self._option_blob = pickle.dumps(self._options)
            except Exception as error:
                msg = f"options: they cannot be sent to workers: {error}"
                raise ConfigError(msg) from error
            folder = self._means.folder
            self._folder = None if folder is None else stack.enter_context(RunFolder(folder))
            self._meter = Meter(stack.enter_context(listener(self._means.progress)))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if self._runner is not None:
                self._runner.close()

    def run(self, jobs: Sequence[Job]) -> list[TaskResult]:
        """Return what came of each job, in their order; equal jobs are run once.

        Raises:
            ConfigError: Workers cannot begin.
            BrokenExecutor: The caller's executor cannot go on; what was done is in the folder.
            OSError: The folder's disk is full.
        """
        tasks: dict[str, Task] = {}
        wanted: list[str | TaskResult] = []
        # In order of markets, so that a worker reads them once for many variants.
        for variant, markets in jobs:
            if variant.strategy is None:
                failure = Failure.of(variant.error or ValueError("no strategy"))
                wanted.append(TaskResult("", "failed", failure=failure))
                continue
            task = self._task(variant, variant.strategy, markets)
            tasks.setdefault(task.key, task)
            wanted.append(task.key)
        self._meter.expect(len(tasks))
        results = self._kept(tasks)
        left = sorted(
            (task for key, task in tasks.items() if key not in results),
            key=lambda task: (task.chunk_start, task.names),
        )
        if left:
            runner = self._runner or self._make_runner(jobs)
            for result in runner.run(left):
                self._take(result, results)
        return [each if isinstance(each, TaskResult) else results[each] for each in wanted]

    def write(self, name: str, content: bytes) -> None:
        """Write a file into the run folder, if there is one.

        Raises:
            OSError: The disk is full.
        """
        if self._folder is not None:
            self._folder.write(name, content)

    def _kept(self, tasks: Iterable[str]) -> dict[str, TaskResult]:
        results: dict[str, TaskResult] = {}
        if self._folder is None:
            return results
        for key in tasks:
            found = self._folder.get(key)
            if found is None or (found.state != "done" and self._means.retry_failed):
                continue
            results[key] = found
            self._meter.add(is_failed=found.state != "done", is_resumed=True)
        return results

    def _take(self, result: TaskResult, results: dict[str, TaskResult]) -> None:
        if result.state == "unable":
            failure = result.failure
            told = "" if failure is None else f"{failure.kind}: {failure.text}\n{failure.trace}"
            msg = f"a worker cannot load the strategy, the options or the data: {told}"
            raise ConfigError(msg)
        results[result.key] = result
        # A worker that died may have been killed by anybody: the next run tries again.
        if self._folder is not None and result.state != "lost":
            self._folder.put(result)
        self._meter.add(is_failed=result.state != "done")

    def _task(self, variant: Variant, strategy: Strategy, markets: tuple[TapeMarket, ...]) -> Task:
        if id(variant) not in self._packed:
            is_local = isinstance(self._means.executor, ThreadPoolExecutor | None)
            self._packed[id(variant)] = (variant, pack(strategy, is_local=is_local))
        names = tuple(file_name(tape.market) for tape in markets)
        identities = [self._identity(tape) for tape in markets]
        return Task(
            key=keys.task_key(strategy, self._options, identities, polyframe.__version__),
            chunk_start=markets[0].market.window.start,
            names=names,
            version=self._version(),
            strategy=self._packed[id(variant)][1],
            data=self._blob,
            options=self._option_blob,
        )

    def _identity(self, tape: TapeMarket) -> str:
        found = self._identities.get(tape.market.condition_id)
        if found is None:
            found = keys.market_identity(self._data, self._whole, tape)
            self._identities[tape.market.condition_id] = found
        return found

    def _version(self) -> str:
        """Return what changes when any of the markets' recordings does."""
        if not self._data_version:
            told = "\0".join(self._identity(tape) for tape in self.markets)
            self._data_version = hashlib.sha256(told.encode()).hexdigest()
        return self._data_version

    def _make_runner(self, jobs: Iterable[Job]) -> Runner:
        if self._means.executor is not None:
            self._runner = ExecutorRunner(self._means.executor)
        else:
            strategies = (variant.strategy for variant, _ in jobs)
            files = files_of(each for each in strategies if each is not None)
            self._runner = ProcessRunner(self._means.workers or cores(), files)
        return self._runner


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not everywhere
        return os.cpu_count() or 1


def chunks(markets: Sequence[TapeMarket], size: int | None) -> tuple[tuple[TapeMarket, ...], ...]:
    """Cut markets, in order of their windows, into chunks of `size`.

    Raises:
        ConfigError: A size below 1.
    """
    if size is None:
        return (tuple(markets),)
    expect_count("chunk", size, or_none="for all markets")
    return tuple(tuple(markets[at : at + size]) for at in range(0, len(markets), size))
