"""What one variant of a sweep came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs
from attrs import field, frozen

from polyframe.backtest.sweeps.tables import FIGURES
from polyframe.backtest.sweeps.task import CycleFigures, Failure, TaskResult
from polyframe.backtest.sweeps.variants import Settings, label
from polyframe.errors import ConfigError
from polyframe.model.exact import exactly
from polyframe.model.money import ZERO
from polyframe.report.values import Figures

_LARGEST = frozenset({"exposure", "marked_drawdown"})
"""Figures of which several make the largest and not the sum."""


@frozen
class VariantResult:
    """What one variant came to.

    Attributes:
        number: Its place among the variants, from 0 on.
        settings: The settings that were varied.
        cycles: The cycles that were lived, in order; none of a variant that failed.
        total: All of them together, ``None`` of a variant that failed.
        failure: Why it failed.
        failures: In how many cycles it failed and sat out the rest (``on_error``), by the strategy's name,
            the kind of its error and the hook.
    """

    number: int
    settings: Settings = field(hash=False)
    cycles: tuple[CycleFigures, ...] = field(default=(), repr=False)
    total: Figures | None = None
    failure: Failure | None = None
    failures: Mapping[str, int] = field(factory=dict, hash=False)

    @property
    def label(self) -> str:
        """Its settings as people write them."""
        return label(self.settings)

    @property
    def profit(self) -> Decimal | None:
        """USD after fees; ``None`` if it failed, or a market with trades is not resolved."""
        return None if self.total is None else self.total.profit

    @property
    @exactly()
    def drawdown(self) -> Decimal | None:
        """The largest fall of the summed profits from their peak in USD, looked at when cycles end."""
        if self.total is None:
            return None
        level = peak = worst = ZERO
        for cycle in sorted(self.cycles, key=lambda each: (each.end, each.slug)):
            level += cycle.figures.profit or ZERO
            peak = max(peak, level)
            worst = max(worst, peak - level)
        return worst

    @property
    @exactly()
    def hit_rate(self) -> Decimal | None:
        """The part of the cycles with trades that earned something; ``None`` without such cycles."""
        ended = [
            cycle.figures.profit
            for cycle in self.cycles
            if cycle.figures.trades and cycle.figures.profit is not None
        ]
        return Decimal(sum(profit > 0 for profit in ended)) / len(ended) if ended else None

    @property
    def failure_text(self) -> str:
        """Why it failed, ``""`` if it did not."""
        return "" if self.failure is None else f"{self.failure.kind}: {self.failure.text}"

    @exactly()
    def figure(self, name: str) -> Decimal | None:
        """Return a figure by the name of its column, ``None`` if it is not known.

        Raises:
            ConfigError: There is no such column.
        """
        if name not in FIGURES:
            msg = f"by: expected one of {', '.join(FIGURES)}; got {name!r}"
            raise ConfigError(msg)
        if self.total is None:
            return None
        own: dict[str, Callable[[], Decimal | int | None]] = {
            "cycles": lambda: len(self.cycles),
            "traded": lambda: sum(bool(cycle.figures.trades) for cycle in self.cycles),
            "refused": lambda: sum(self.total.refusals.values()) if self.total else 0,
            "failed_cycles": lambda: sum(self.failures.values()),
            "drawdown": lambda: self.drawdown,
            "hit_rate": lambda: self.hit_rate,
        }
        value = own[name]() if name in own else getattr(self.total, name)
        return None if value is None else Decimal(value)


def variant_result(
    number: int, settings: Settings, results: Sequence[TaskResult], failure: Failure | None = None
) -> VariantResult:
    """Put the results of a variant's chunks together; one that failed fails all of it."""
    for result in results:
        failure = failure or result.failure
    totals = [result.total for result in results if result.total is not None]
    if failure is not None or not totals:
        return VariantResult(number, dict(settings), failure=failure)
    cycles = tuple(cycle for result in results for cycle in result.cycles)
    failures: Counter[str] = Counter()
    for result in results:
        failures.update(result.failures)
    found = dict(sorted(failures.items()))
    return VariantResult(number, dict(settings), cycles, together(totals), failures=found)


def together(totals: Sequence[Figures]) -> Figures:
    """Return the figures of several runs as one: sums, and of exposures the largest."""
    if len(totals) == 1:
        return totals[0]
    found: dict[str, Any] = {}
    for attribute in attrs.fields(Figures):
        values = [getattr(total, attribute.name) for total in totals]
        if isinstance(values[0], Mapping):
            counts: Counter[str] = Counter()
            for value in values:
                counts.update(value)
            found[attribute.name] = dict(sorted(counts.items()))
        elif any(value is None for value in values):
            found[attribute.name] = None
        else:
            found[attribute.name] = (max if attribute.name in _LARGEST else sum)(values)
    return Figures(**found)
