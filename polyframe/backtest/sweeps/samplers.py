"""Samplers: they choose what to try next by what came of what was tried."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import field, frozen

from polyframe.checks import expect, expect_count, must
from polyframe.errors import ConfigError
from polyframe.model.money import is_sane

if TYPE_CHECKING:
    from polyframe.backtest.sweeps.variantresult import VariantResult


@runtime_checkable
class Sampler(Protocol):
    """Chooses settings, a round at a time.

    A round is chosen before anything of it has run. So the same sampler chooses the same, whatever
    runs the tasks and in whatever order they end.
    """

    def ask(self) -> Sequence[Mapping[str, Any]]:
        """Return the settings of the next round; nothing when enough was tried."""
        ...

    def tell(self, results: Sequence[VariantResult]) -> None:
        """Take what came of the round, one for each that was asked for, in that order."""
        ...


def _is_exact(value: Any) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole or (isinstance(value, Decimal) and is_sane(value))


# Steps of floats would miss `high` by what they are off.
_bound = must("a Decimal, or a whole number where the setting is one", _is_exact)


def _is_list(values: object) -> bool:
    is_mistake = isinstance(values, str | bytes | Mapping | type)
    return hasattr(values, "__getitem__") and hasattr(values, "__len__") and not is_mistake


@frozen
class Between:
    """Steps from `low` to `high`, both included, for samplers.

    Of whole numbers it makes whole numbers; a ``range`` does so, too.

    Attributes:
        low, high: In the setting's own unit.
        step: Between two neighbours.

    Raises:
        ConfigError: They are no range.
    """

    low: Decimal | int = field(validator=_bound)
    high: Decimal | int = field(validator=_bound)
    step: Decimal | int = field(validator=_bound)

    def __attrs_post_init__(self) -> None:
        if not self.low <= self.high or self.step <= 0:
            msg = f"low, high, step: expected low <= high and a step above 0, got {self}"
            raise ConfigError(msg)

    def __len__(self) -> int:
        return int((self.high - self.low) // self.step) + 1

    def __iter__(self) -> Iterator[Decimal | int]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Decimal | int:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.low + index * self.step


class RandomSampler:
    """Tries settings by chance, all in one round.

    Args:
        space: By name of a setting the values to choose from: a list, or a `Between`.
        count: How many sets of settings; fewer are tried if the same comes twice.
        seed: Any text or number; the same seed chooses the same.

    Raises:
        ConfigError: No settings, no values of one, or no count.
    """

    def __init__(
        self, space: Mapping[str, Sequence[Any] | Between], count: int, seed: int | str = 0
    ) -> None:
        expect_count("count", count)
        given: Any = space
        values = list(given.values()) if isinstance(given, Mapping) else []
        if not values or not all(_is_list(one) and len(one) for one in values):
            msg = f"space: expected settings by name, each with at least one value, got {space!r}"
            raise ConfigError(msg)
        self._space = dict(space)
        self._left = count
        self._chance = random.Random(f"{seed}/sampler")  # noqa: S311 - not a secret

    def ask(self) -> Sequence[Mapping[str, Any]]:
        """Return all that is to be tried, then nothing."""
        count, self._left = self._left, 0
        return [
            {
                name: values[self._chance.randrange(len(values))]
                for name, values in self._space.items()
            }
            for _ in range(count)
        ]

    def tell(self, results: Sequence[VariantResult]) -> None:
        """Nothing: chance does not learn."""


class OptunaSampler:
    """Lets a study of `Optuna <https://optuna.org>`_ choose; needs the extra ``optuna``.

    Args:
        study: From ``optuna.create_study(direction="maximize", sampler=…)``; give its sampler a seed,
            or nobody can repeat the sweep.
        suggest: Makes settings out of a trial; ``Decimal(str(trial.suggest_float(…)))`` where the
            setting is a Decimal.
        trials: How many in all.
        round_size: How many are chosen at once, before the first of them has run.
        by: The figure that the study is told, see `SweepResult.best`. A variant without it, such as one
            that failed, is told as a failed trial.

    Raises:
        ConfigError: No trials or no round, or Optuna is not installed.
    """

    def __init__(
        self,
        study: Any,
        suggest: Callable[[Any], Mapping[str, Any]],
        trials: int,
        *,
        round_size: int = 8,
        by: str = "profit",
    ) -> None:
        for name, value in (("trials", trials), ("round_size", round_size)):
            expect_count(name, value)
        for asked in ("ask", "tell"):
            is_study = hasattr(study, asked)
            expect("study", study, "optuna.create_study(…)", is_right=is_study)
        if not callable(suggest):
            msg = f"suggest: expected a callable that takes a trial, got {suggest!r}"
            raise ConfigError(msg)
        try:
            from optuna.trial import TrialState
        except ModuleNotFoundError as error:
            msg = (
                f"OptunaSampler: the package {error.name} is missing: "
                "pip install '.[optuna]' in the checkout of polyframe"
            )
            raise ConfigError(msg) from error
        self._failed = TrialState.FAIL
        self._study = study
        self._suggest = suggest
        self._left = trials
        self._round = round_size
        self._by = by
        self._asked: list[Any] = []

    def ask(self) -> Sequence[Mapping[str, Any]]:
        """Return the settings of the next trials."""
        count = min(self._round, self._left)
        self._left -= count
        self._asked = [self._study.ask() for _ in range(count)]
        return [self._suggest(trial) for trial in self._asked]

    def tell(self, results: Sequence[VariantResult]) -> None:
        """Tell the study what came of them."""
        for trial, result in zip(self._asked, results, strict=True):
            value = result.figure(self._by)
            if value is None:
                self._study.tell(trial, state=self._failed)
            else:
                self._study.tell(trial, float(value))
