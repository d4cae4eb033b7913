"""Samplers choose the same whatever runs the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from polyframe import Between, ConfigError, OptunaSampler, RandomSampler, SweepResult, sweep
from polyframe.backtest.progress import Progress
from polyframe.backtest.sweeps.variantresult import VariantResult
from tests.backtest.kit import MODELS, Eager
from tests.backtest.sweepkit import Odd, small, threads

SPACE = {"every": range(3, 40)}


def sampled(sampler: Any, count: int = 2, strategy: Any = Eager, **more: Any) -> SweepResult:
    """Sweep what a sampler asks for, on threads."""
    with threads(count) as executor:
        return sweep(strategy, sampler, data=small(1), executor=executor, models=MODELS, **more)


def test_chance_is_seeded() -> None:
    """The same seed tries the same, another seed something else; what comes twice is tried once."""
    first, again, other = (sampled(RandomSampler(SPACE, 6, seed)).csv() for seed in ("a", "a", "b"))
    assert first == again != other
    few = sampled(RandomSampler({"every": [3, 5]}, 20))
    assert sorted(each.settings["every"] for each in few.variants) == [3, 5]


def test_steps_between_two_bounds_are_exact() -> None:
    """Both bounds are there, and no value is off its step."""
    steps = Between(Decimal("0.50"), Decimal("0.60"), Decimal("0.05"))
    assert list(steps) == [Decimal("0.50"), Decimal("0.55"), Decimal("0.60")]
    for wrong in [(1, 0, 1), (0, 1, 0)]:
        with pytest.raises(ConfigError, match="low, high, step: expected"):
            Between(*map(Decimal, wrong))
    with pytest.raises(
        ConfigError, match=r"low: expected a Decimal, or a whole number .*, got 0.1"
    ):
        Between(0.1, 0.3, 0.1)  # type: ignore[arg-type]
    for every in (range(3, 10, 2), Between(3, 9, 2)):
        whole = sampled(RandomSampler({"every": every}, 9, 1))
        assert {each.settings["every"] for each in whole.variants} <= {3, 5, 7, 9}
    found = sampled(RandomSampler({"limit": steps}, 9, 1), strategy=_buyer())
    assert {each.settings["limit"] for each in found.variants} == set(steps)


def _buyer() -> Any:
    from tests.backtest.sweepkit import Buyer

    return Buyer


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: RandomSampler(SPACE, 0), "count: expected a whole number from 1 on"),
        (lambda: RandomSampler({}, 1), "space: expected settings by name"),
        (lambda: RandomSampler({"every": []}, 1), "space: expected settings by name"),
        (lambda: OptunaSampler(None, dict, 0), "trials: expected a whole number from 1 on"),
        (
            lambda: OptunaSampler(None, dict, 1, round_size=0),
            "round_size: expected a whole number from 1 on",
        ),
    ],
)
def test_samplers_that_cannot_be_are_refused(make: Any, match: str) -> None:
    """The error names the argument."""
    with pytest.raises(ConfigError, match=match):
        make()


class Climber:
    """Asks for the neighbours of the best so far, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[list[Decimal | None]] = []
        self.at = 5

    def ask(self) -> Sequence[Mapping[str, Any]]:
        return [{"every": self.at + step} for step in (-1, 0, 1)] if len(self.told) < 3 else []

    def tell(self, results: Sequence[VariantResult]) -> None:
        self.told.append([each.profit for each in results])
        self.at = max(results, key=lambda each: each.profit or Decimal(-1000)).settings["every"]


def test_a_sampler_is_told_each_round_and_nothing_is_run_twice() -> None:
    """It may ask for what was tried before; the answer is there."""
    told: list[Progress] = []
    first = Climber()
    found = sampled(first, progress=told.append)
    assert [len(each) for each in first.told] == [3, 3, 3]
    assert told[-1].total == told[-1].done == len(found.variants)
    assert [each.number for each in found.variants] == list(range(len(found.variants)))
    profits = {each.settings["every"]: each.profit for each in found.variants}
    assert first.told[0] == [profits[4], profits[5], profits[6]]
    second = Climber()
    assert sampled(second, count=1).csv() == found.csv()


def test_a_sampler_that_asks_for_nothing_is_refused() -> None:
    """There would be no result."""
    silent = Climber()
    silent.told = [[], [], []]
    with pytest.raises(ConfigError, match="variants: the sampler asked for nothing"):
        sampled(silent)


def test_optuna_chooses_the_same_with_any_number_of_workers() -> None:
    """A seeded study is told what came of each trial; a failed one is told as failed."""
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def studied(workers: int) -> tuple[Any, SweepResult]:
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=3)
        )
        sampler = OptunaSampler(
            study, lambda trial: {"number": trial.suggest_int("number", 0, 5)}, 8, round_size=3
        )
        return study, sampled(sampler, workers, Odd)

    study, found = studied(1)
    assert len(study.trials) == 8
    failed = {each.settings["number"] for each in found.failures}
    assert failed
    for trial in study.trials:
        assert (trial.state.name == "FAIL") == (trial.params["number"] in failed)
    assert studied(3)[1].csv() == found.csv()
