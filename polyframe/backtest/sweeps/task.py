"""One task of a sweep, as it travels to a worker and back."""

from __future__ import annotations

import pickle
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, TypedDict

from attrs import field, frozen
from typing_extensions import override

from polyframe.backtest.run import run_backtest, telling_once
from polyframe.errors import StrategyFailed
from polyframe.model.market import Outcome
from polyframe.model.series import Series
from polyframe.paper.models import PaperModels
from polyframe.recording.excerpt import Excerpt
from polyframe.recording.gather import pieces_of
from polyframe.recording.kept import KeptRecording
from polyframe.recording.reader import Piece, Recording
from polyframe.recording.tape import TapeEvent, TapeMarket, file_name
from polyframe.report.values import Figures, Report
from polyframe.strategy import Strategy
from polyframe.strategyrun import ErrorPolicy
from polyframe.trader import TraderSettings
from polyframe.trading.limits import RiskLimits

_TOLD: list[str] = []
"""What back-tests of this process have told: a sweep has many."""

REMEMBERED = 150
"""Megabytes that a worker keeps of the markets at hand."""


class SweepOptions(TypedDict, total=False):
    """What a sweep may be told of its back-tests, as `polyframe.backtest.run.Options`.

    Attributes:
        series: Which series of the data; all by default.
        models: What stands between an order and its fills.
        resolved_after: Market seconds from the end of a window until it is told who won.
        cash: USD of each task's account at the start, 10,000 by default.
        risk: Limits for what the strategies may do.
        settings: Settings of the trader.
        on_error: As for `Trader.add`; by default a strategy that raises ends its task as failed.
        services: Objects for ``env.provide``; each task gets copies of its own.
    """

    series: str | Series | Sequence[str | Series] | None
    models: PaperModels
    resolved_after: float
    cash: Decimal
    risk: RiskLimits
    settings: TraderSettings
    on_error: ErrorPolicy
    services: Sequence[object]


@frozen
class Task:
    """One variant on one chunk of markets.

    Attributes:
        key: See `polyframe.backtest.sweeps.keys.task_key`.
        chunk_start: Of the first market's window, in epoch seconds: the order in which tasks are run.
        names: Of the markets, see `polyframe.recording.tape.file_name`.
        version: Of the data: a worker that outlives the sweep must not take what it remembers of files
            that were replaced since.
        strategy, data, options: Pickles.
    """

    key: str
    chunk_start: int
    names: tuple[str, ...]
    version: str
    strategy: bytes = field(repr=False)
    data: bytes = field(repr=False)
    options: bytes = field(repr=False)


@frozen
class Failure:
    """An error, as text.

    Attributes:
        kind: Name of its class.
        text: What it says; of a strategy that failed, what its own error says.
        trace: The traceback.
    """

    kind: str
    text: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return an error as text; of a `StrategyFailed`, its cause."""
        cause = error.__cause__ if isinstance(error, StrategyFailed) else None
        told = error if cause is None else cause
        trace = "".join(traceback.format_exception(told))
        return cls(type(told).__name__, str(told), trace)


@frozen
class CycleFigures:
    """One cycle of a task.

    Attributes:
        slug: The market.
        start, end: Of its window, in epoch seconds.
        winner: The outcome that paid, ``None`` if it is not known.
        figures: What it came to.
    """

    slug: str
    start: int
    end: int
    winner: Outcome | None
    figures: Figures


State = Literal["done", "failed", "lost", "unable"]


@frozen
class TaskResult:
    """What came of a task.

    Attributes:
        key: The task's.
        state: ``"done"``; ``"failed"`` while it ran; ``"unable"`` if a worker could not even begin,
            which is a fault of the set-up and not of the variant; ``"lost"`` with a worker, or for
            want of memory or of a disk: the next time it may be done.
        cycles: The cycles that were lived, in order.
        total: All of them together.
        failure: Why it is not done.
        seconds: How long it took.
        failures: In how many cycles the strategy failed and sat out the rest, see `Report.failures`.
    """

    key: str
    state: State
    cycles: tuple[CycleFigures, ...] = ()
    total: Figures | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    failures: Mapping[str, int] = field(factory=dict, hash=False)


def run_task(task: Task) -> TaskResult:
    """Run a task; what goes wrong is in the result. Called in workers."""
    began = time.perf_counter()
    try:
        data = _part(task.data, task.names, task.version)
        strategy: Strategy = pickle.loads(task.strategy)  # noqa: S301 - our own, see `Task`
        options: dict[str, Any] = pickle.loads(task.options)  # noqa: S301
        # Before the run: a file that cannot be opened is no fault of the variant.
        if missing := set(task.names) - {file_name(tape.market) for tape in data.markets()}:
            some, others = ", ".join(sorted(missing)[:3]), len(missing) - 3
            msg = f"data: {some}{f' and {others} more' if others > 0 else ''} not found by a worker"
            raise LookupError(msg)
    except Exception as error:  # noqa: BLE001 - the sweeping process tells it
        return TaskResult(task.key, "unable", failure=Failure.of(error))
    try:
        with telling_once(_TOLD):
            report = run_backtest(strategy, data=data, **options)
    except Exception as error:  # noqa: BLE001 - the others go on
        seconds = time.perf_counter() - began
        # What a strategy raises comes as StrategyFailed: this was the disk's fault, or the memory's.
        state: State = "lost" if isinstance(error, OSError | MemoryError) else "failed"
        return TaskResult(task.key, state, failure=Failure.of(error), seconds=seconds)
    seconds = time.perf_counter() - began
    return TaskResult(
        task.key,
        "done",
        _cycles(report, data),
        report.total,
        seconds=seconds,
        failures=report.failures,
    )


def _cycles(report: Report, data: Recording) -> tuple[CycleFigures, ...]:
    ends = {
        (tape.market.slug, tape.market.window.start): tape.market.window.end
        for tape in data.markets()
    }
    return tuple(
        CycleFigures(
            cycle.slug, cycle.start, ends[cycle.slug, cycle.start], cycle.winner, cycle.figures
        )
        for cycle in report.cycles
    )


class Part(Excerpt):
    """Some markets of a recording.

    Args:
        recording: Where they are.
        names: Which, see `polyframe.recording.tape.file_name`.
    """

    def __init__(self, recording: Recording, names: Sequence[str]) -> None:
        wanted = frozenset(names)
        super().__init__(
            recording, [each for each in recording.markets() if file_name(each.market) in wanted]
        )

    def stretches(self, market: TapeMarket) -> Iterator[Piece]:
        """Yield what was heard of one, level changes as columns.

        Raises:
            KeyError: It is none of these.
        """
        if market not in self._markets:
            raise KeyError(market.market.slug)
        return pieces_of(self._recording, market)

    @override
    def _heard(self, market: TapeMarket) -> Iterator[TapeEvent]:
        return self._recording.events(market)


_remembered = threading.local()
"""Of each thread: what it opened, and the part of it that it works on."""


def _part(blob: bytes, names: tuple[str, ...], version: str) -> Recording:
    """Return the part of a recording that this thread works on; another one is forgotten."""
    source = (blob, version)
    if getattr(_remembered, "of", None) != (source, names):
        _remembered.of = _remembered.part = None  # the old one is gone before the new one grows
        if getattr(_remembered, "source", None) != source:
            _remembered.recording, _remembered.source = pickle.loads(blob), source  # noqa: S301
        whole: Recording = _remembered.recording
        part: Recording = Part(whole, names)
        # What is kept already has a bound of its own, for all its parts.
        if not isinstance(whole, KeptRecording):
            part = KeptRecording(part, REMEMBERED)
        _remembered.part, _remembered.of = part, (source, names)
    found: Recording = _remembered.part
    return found
