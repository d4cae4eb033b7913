"""Walk-forward: choose settings on some markets, then see what they do on later ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import field, frozen
from typing_extensions import Unpack

from polyframe.backtest.progress import Tell
from polyframe.backtest.sweeps.engine import Engine, Job, Means
from polyframe.backtest.sweeps.result import SweepResult, counted
from polyframe.backtest.sweeps.tables import (
    FIGURES,
    Kind,
    as_table,
    column_name,
    html_table,
    rounded,
)
from polyframe.backtest.sweeps.task import SweepOptions
from polyframe.backtest.sweeps.variantresult import VariantResult, together, variant_result
from polyframe.backtest.sweeps.variants import make_variants, template_of
from polyframe.errors import ConfigError
from polyframe.model.exact import exactly
from polyframe.recording.reader import Recording
from polyframe.recording.tape import TapeMarket
from polyframe.report.render import number
from polyframe.report.values import Figures
from polyframe.strategy import Strategy

Length = int | timedelta
"""A number of windows, or a time."""

_DAY = 86_400


@frozen
class Split:
    """The markets of one fold. No market of the training ends after the test begins.

    Attributes:
        train: What settings are chosen on, in order of windows.
        test: What they are tried on.
    """

    train: tuple[TapeMarket, ...]
    test: tuple[TapeMarket, ...]


def split_markets(
    markets: Iterable[TapeMarket],
    *,
    train: Length,
    test: Length,
    gap: Length | None = None,
    step: Length | None = None,
) -> tuple[Split, ...]:
    """Cut markets into folds, the first one at the beginning.

    With numbers, windows are counted: all markets whose windows start at the same time are one. With
    times, boundaries are instants; whole days begin at midnight UTC. A market of the training that
    ends after the test begins (a longer series beside a shorter one) is left out of that fold. So are
    folds without any market to train on or to test; the last test may be shorter than the others.

    Args:
        markets: In any order.
        train: How much each fold chooses on.
        test: How much it tries the choice on.
        gap: Left out between the two; nothing by default.
        step: From one fold to the next; as long as a test by default, so that tests follow one
            another without a hole.

    Raises:
        ConfigError: Lengths that are not positive, numbers and times mixed, or no fold at all.
    """
    ordered = sorted(markets, key=lambda tape: (tape.market.window, tape.market.slug))
    kind = type(train)
    nothing: Length = timedelta(0) if isinstance(train, timedelta) else 0
    lengths = {"train": train, "test": test, "gap": gap, "step": step}
    for name, length in lengths.items():
        if length is None and name in {"gap", "step"}:
            continue
        if type(length) is not kind or kind not in (int, timedelta):
            msg = (
                f"{name}: expected all lengths as windows (int) or all as timedelta, got {length!r}"
            )
            raise ConfigError(msg)
        if length < nothing or (length == nothing and name != "gap"):  # type: ignore[operator]
            msg = f"{name}: expected a length above 0, got {length!r}"
            raise ConfigError(msg)
    if not ordered:
        msg = "data: the recording has no markets"
        raise ConfigError(msg)
    starts = sorted({tape.market.window.start for tape in ordered})
    last = starts[-1]
    if isinstance(train, timedelta):
        seconds = {k: _seconds(v, k) for k, v in lengths.items() if isinstance(v, timedelta)}
        edges = _edges_of_time(starts[0], last, seconds)
    else:
        counts = {k: v for k, v in lengths.items() if isinstance(v, int)}
        edges = _edges_of_windows(starts, counts)
    splits = []
    for begin, train_end, test_start, test_end in edges:
        # A market is over when its window is; what starts before it ends may know more.
        trained = tuple(
            tape
            for tape in ordered
            if begin <= tape.market.window.start < train_end
            and tape.market.window.end <= test_start
        )
        tested = tuple(t for t in ordered if test_start <= t.market.window.start < test_end)
        if trained and tested:
            splits.append(Split(trained, tested))
    if not splits:
        msg = (
            f"train, test: {len(starts)} windows are not enough for one fold of "
            f"train={train}, gap={gap or 0}, test={test}"
        )
        raise ConfigError(msg)
    return tuple(splits)


Edges = tuple[int, int, int, int]
"""In epoch seconds: where the training begins and ends, and where the test does."""


def _edges_of_time(first: int, last: int, seconds: Mapping[str, int]) -> list[Edges]:
    train, test, gap = seconds["train"], seconds["test"], seconds.get("gap", 0)
    step = seconds.get("step", test)
    if all(length % _DAY == 0 for length in (train, test, gap, step)):
        first -= first % _DAY
    edges = []
    while first + train + gap <= last:
        test_start = first + train + gap
        edges.append((first, first + train, test_start, test_start + test))
        first += step
    return edges


def _edges_of_windows(starts: Sequence[int], counts: Mapping[str, int]) -> list[Edges]:
    train, test, gap = counts["train"], counts["test"], counts.get("gap", 0)
    step = counts.get("step", test)
    after = starts[-1] + 1
    edges = []
    at = 0
    while at + train + gap < len(starts):
        first_test = at + train + gap
        end = first_test + test
        test_end = starts[end] if end < len(starts) else after
        edges.append((starts[at], starts[at + train], starts[first_test], test_end))
        at += step
    return edges


def _seconds(length: timedelta, name: str) -> int:
    seconds = int(length.total_seconds())
    if timedelta(seconds=seconds) != length:
        msg = f"{name}: expected whole seconds, got {length!r}"
        raise ConfigError(msg)
    return seconds


@frozen
class Fold:
    """One training and its test.

    Attributes:
        split: The markets.
        trained: What the variants came to in the training.
        chosen: The best of them, ``None`` if none has a figure to be chosen by.
        tested: What that one came to in the test.
    """

    split: Split = field(repr=False)
    trained: SweepResult
    chosen: VariantResult | None
    tested: VariantResult | None


@frozen
class WalkForward:
    """What choosing by the past was worth.

    Attributes:
        strategy: Name of the strategy's class.
        by: The figure that settings were chosen by.
        folds: In order of time.
    """

    strategy: str
    by: str
    folds: tuple[Fold, ...]

    @property
    @exactly()
    def total(self) -> Figures | None:
        """All tests together, ``None`` if there is none that did not fail."""
        totals = [f.tested.total for f in self.folds if f.tested is not None and f.tested.total]
        return together(totals) if totals else None

    @property
    def profit(self) -> Decimal | None:
        """USD that the tests earned after fees; ``None`` if one of them failed or is not resolved."""
        if any(fold.tested is None or fold.tested.profit is None for fold in self.folds):
            return None
        return None if self.total is None else self.total.profit

    @exactly()
    def table(self, kind: Kind = "arrow") -> Any:
        """Return one row for each fold: what was chosen, and the profits of training and test.

        Raises:
            ConfigError: Another kind, or the package is not installed.
        """
        names = list(
            dict.fromkeys(n for f in self.folds for n in (f.chosen.settings if f.chosen else ()))
        )
        columns: dict[str, list[Any]] = {"fold": list(range(len(self.folds)))}
        for name in names:
            values = [
                fold.chosen.settings.get(name) if fold.chosen else None for fold in self.folds
            ]
            columns[column_name(name)] = values
        for label, splits in (
            ("train", [fold.split.train for fold in self.folds]),
            ("test", [fold.split.test for fold in self.folds]),
        ):
            columns[f"{label}_start"] = [part[0].market.window.start for part in splits]
            columns[f"{label}_markets"] = [len(part) for part in splits]
        for label, results in (
            ("train", [fold.chosen for fold in self.folds]),
            ("test", [fold.tested for fold in self.folds]),
        ):
            columns[f"{label}_profit"] = [
                None if result is None else rounded(result.profit) for result in results
            ]
        columns["error"] = [_trouble(fold) for fold in self.folds]
        return as_table(columns, kind)

    @exactly()
    def text(self) -> str:
        """Return a line for each fold and a plain statement, for people."""
        lines = [
            (
                f"{self.strategy}: {counted(len(self.folds), 'fold')}, the best by {self.by} of "
                f"{counted(len(self.folds[0].trained.variants), 'variant')} each"
            )
        ]
        for count, fold in enumerate(self.folds, 1):
            others = len(fold.split.test) - 1
            lines.append(
                f"fold {count}: {fold.split.test[0].market.slug}{f' and {others} more' * bool(others)} "
                f"after {len(fold.split.train)} of training: {_told(fold)}"
            )
        total = self.total
        runs = sum(len(fold.trained.variants) for fold in self.folds)
        failed = sum(len(fold.trained.failures) for fold in self.folds)
        lines.append(
            f"{counted(runs, 'variant')} {'was' if runs == 1 else 'were'} tried in training, "
            f"{failed} failed."
        )
        chosen = [fold for fold in self.folds if fold.chosen is not None]
        profits = [fold.chosen.profit for fold in chosen if fold.chosen is not None]
        known = [profit for profit in profits if profit is not None]
        # Beside each other they would mislead without this: trainings are longer, and may overlap.
        lines.append(
            f"Chosen ones in training: {number(sum(known, Decimal(0)))} USD on "
            f"{counted(sum(len(fold.split.train) for fold in chosen), 'market')}."
        )
        if total is None:
            lines.append("No test came to an end.")
        else:
            lines.append(
                f"The same in their tests: {number(self.profit) or 'not known'} USD on "
                f"{counted(sum(len(fold.split.test) for fold in chosen), 'market')}, "
                f"{counted(total.trades, 'trade')}."
            )
        return "\n".join(lines) + "\n"

    @exactly()
    def _repr_html_(self) -> str:
        """Return a small table, for notebooks."""
        head = ["fold", "chosen", "train profit", "test profit"]
        rows = [
            [
                str(count),
                fold.chosen.label if fold.chosen else _trouble(fold),
                number(fold.chosen.profit if fold.chosen else None),
                number(fold.tested.profit if fold.tested else None),
            ]
            for count, fold in enumerate(self.folds, 1)
        ]
        return html_table(head, rows)


def _trouble(fold: Fold) -> str:
    if fold.chosen is None:
        first = next((each.failure_text for each in fold.trained.failures), "")
        return f"no variant could be chosen{f': {first}' if first else ''}"
    failure = None if fold.tested is None else fold.tested.failure
    return "" if failure is None else f"{failure.kind}: {failure.text}"


def _told(fold: Fold) -> str:
    if fold.chosen is None or fold.tested is None:
        return _trouble(fold)
    if fold.tested.failure is not None:
        return f"{fold.chosen.label} FAILED: {_trouble(fold)}"
    return (
        f"{fold.chosen.label}, training {number(fold.chosen.profit) or 'not known'}, "
        f"test {number(fold.tested.profit) or 'not known'}"
    )


def walk_forward(
    strategy: type[Strategy] | Strategy,
    variants: Iterable[Mapping[str, Any] | Strategy],
    *,
    data: Recording,
    train: Length,
    test: Length,
    gap: Length | None = None,
    step: Length | None = None,
    by: str = "profit",
    executor: Executor | None = None,
    workers: int | None = None,
    folder: str | Path | None = None,
    progress: bool | Tell | None = None,
    retry_failed: bool = False,
    **options: Unpack[SweepOptions],
) -> WalkForward:
    """Choose the best variant on some markets and try it on later ones, fold after fold.

    Each training and each test is a run of its own, with the whole cash at its beginning.

    Args:
        strategy: As for `sweep`.
        variants: As for `sweep`, but no sampler.
        data: The markets.
        train: How much a fold chooses on: a number of windows, or a time; see `split_markets`.
        test: How much it tries the choice on.
        gap: Left out between the two.
        step: From one fold to the next; as long as a test by default.
        by: The figure that the best is chosen by, see `SweepResult.best`.
        executor: As for `sweep`, like all that follow.
        workers: Processes of this machine.
        folder: Keeps the results of finished tasks.
        progress: Takes how far it is.
        retry_failed: Try again what failed in an earlier run.
        options: Of the back-tests.

    Raises:
        ConfigError, StrategyDefinitionError, BrokenExecutor, OSError: As `sweep`.
    """
    if by not in FIGURES:
        msg = f"by: expected one of {', '.join(FIGURES)}; got {by!r}"
        raise ConfigError(msg)
    template = template_of(strategy)
    chosen = make_variants(template, variants)
    name = type(template).__name__
    means = Means(
        executor=executor,
        workers=workers,
        folder=folder,
        progress=progress,
        retry_failed=retry_failed,
    )
    with Engine(data, means, options) as engine:
        splits = split_markets(engine.markets, train=train, test=test, gap=gap, step=step)
        trainings: list[Job] = [(variant, split.train) for split in splits for variant in chosen]
        found = iter(engine.run(trainings))
        sweeps = []
        for split in splits:
            results = [
                variant_result(count, variant.settings, [next(found)])
                for count, variant in enumerate(chosen)
            ]
            slugs = tuple(tape.market.slug for tape in split.train)
            sweeps.append(SweepResult(name, tuple(results), slugs))
        bests = [_best(each, by) for each in sweeps]
        tests: list[Job] = [
            (chosen[best.number], split.test)
            for best, split in zip(bests, splits, strict=True)
            if best is not None
        ]
        tried = iter(engine.run(tests))
        folds = []
        for split, trained, best in zip(splits, sweeps, bests, strict=True):
            tested = None
            if best is not None:
                tested = variant_result(best.number, best.settings, [next(tried)])
            folds.append(Fold(split, trained, best, tested))
    return WalkForward(name, by, tuple(folds))


def _best(result: SweepResult, by: str) -> VariantResult | None:
    if all(each.figure(by) is None for each in result.variants):
        return None
    return result.best(by).variant
