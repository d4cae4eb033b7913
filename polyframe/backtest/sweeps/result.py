"""What a sweep came to: a row for each variant, and what is to be said of the best one."""

from __future__ import annotations

import html
import statistics
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import msgspec
from attrs import field, frozen

from polyframe.backtest.sweeps.tables import (
    AMOUNTS,
    COUNTS,
    Kind,
    as_table,
    column_name,
    csv_table,
    html_table,
    rounded,
)
from polyframe.backtest.sweeps.variantresult import VariantResult
from polyframe.backtest.sweeps.variants import text
from polyframe.errors import ConfigError
from polyframe.model.exact import exactly
from polyframe.model.money import ZERO
from polyframe.recording.files import replacing
from polyframe.report.render import number


@frozen
class Best:
    """The best variant, and how much that means.

    Attributes:
        variant: The best one.
        by: The figure that it is the best by.
        value: That figure.
        tried: How many variants were tried.
        failed: How many of them failed.
        unknown: How many have no such figure although they did not fail.
        markets: On how many markets.
        median: Of the variants that have the figure.
        above: How many of them are above 0.
    """

    variant: VariantResult
    by: str
    value: Decimal
    tried: int
    failed: int
    unknown: int
    markets: int
    median: Decimal
    above: int

    @exactly()
    def text(self) -> str:
        """Return a plain statement."""
        tried = f"{counted(self.tried, 'variant')} {'was' if self.tried == 1 else 'were'}"
        known = self.tried - self.failed - self.unknown
        lines = [
            f"{tried} tried on {counted(self.markets, 'market')}, {self.failed} failed.",
            f"Best by {self.by}: {number(self.value)} with {self.variant.label}.",
            f"Median of {known}: {number(self.median)}; {self.above} above 0.",
        ]
        if self.unknown:
            lines.insert(1, f"Of {self.unknown} the {self.by} is not known.")
        if self.tried > 1:
            lines.append(
                "The best of many was chosen with hindsight: what it earns on other markets is "
                "likely to be less. walk_forward measures that."
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


@frozen
class SweepResult:
    """What a sweep came to.

    Attributes:
        strategy: Name of the strategy's class.
        variants: What each came to, in the order in which they were named.
        markets: Slugs of the markets that they were tried on.
    """

    strategy: str
    variants: tuple[VariantResult, ...] = field(repr=False)
    markets: tuple[str, ...] = field(repr=False)

    @property
    def failures(self) -> tuple[VariantResult, ...]:
        """The variants that failed."""
        return tuple(each for each in self.variants if each.failure is not None)

    @exactly()
    def best(self, by: str = "profit") -> Best:
        """Return the variant with the largest figure; of several the first.

        Args:
            by: A column of the table, such as ``"profit"`` or ``"hit_rate"``.

        Raises:
            ConfigError: There is no such column, or no variant for which it is known.
        """
        found = [(value, each) for each in self.variants if (value := each.figure(by)) is not None]
        if not found:
            first = next((f": {each.failure.text}" for each in self.failures if each.failure), "")
            msg = (
                f"best: no variant has a {by}; {len(self.failures)} of {len(self.variants)} "
                f"failed{first}"
            )
            raise ConfigError(msg)
        value, variant = max(found, key=lambda pair: (pair[0], -pair[1].number))
        values = [each for each, _ in found]
        failed = len(self.failures)
        return Best(
            variant,
            by,
            value,
            tried=len(self.variants),
            failed=failed,
            unknown=len(self.variants) - failed - len(found),
            markets=len(self.markets),
            median=statistics.median(values),
            above=sum(each > 0 for each in values),
        )

    # ------------------------------------------------------------------ as a table

    @exactly()
    def table(self, kind: Kind = "arrow") -> Any:
        """Return one row for each variant.

        Settings come first, in columns of their names (``…_setting`` where a figure has that name).
        Amounts are exact decimals of five digits after the point. The same sweep gives the same
        table, whatever ran it.

        Args:
            kind: ``"arrow"``, ``"pandas"`` or ``"polars"``.

        Raises:
            ConfigError: Another kind, or the package is not installed.
        """
        return as_table(self._columns(), kind)

    @exactly()
    def cycles(self, kind: Kind = "arrow") -> Any:
        """Return one row for each cycle of each variant that did not fail.

        Raises:
            ConfigError: As `table`.
        """
        rows = [(variant.number, cycle) for variant in self.variants for cycle in variant.cycles]
        columns: dict[str, list[Any]] = {
            "variant": [variant for variant, _ in rows],
            "slug": [cycle.slug for _, cycle in rows],
            "start": [cycle.start for _, cycle in rows],
            "winner": [None if c.winner is None else c.winner.value for _, c in rows],
        }
        for name in ("orders", "trades", "fills"):
            columns[name] = [getattr(cycle.figures, name) for _, cycle in rows]
        for name in ("shares", "volume", "fees", "realised", "settled", "profit", "exposure"):
            columns[name] = [rounded(getattr(cycle.figures, name)) for _, cycle in rows]
        return as_table(columns, kind)

    @exactly()
    def csv(self) -> str:
        """Return the table as CSV."""
        return csv_table(self._columns())

    @exactly()
    def text(self, by: str = "profit", rows: int = 10) -> str:
        """Return the best rows, what failed, and the statement about the best, for people.

        Args:
            by: As for `best`.
            rows: How many.
        """
        variants = counted(len(self.variants), "variant")
        lines = [f"{self.strategy}: {variants} on {counted(len(self.markets), 'market')}"]
        for variant in self._ranked(by)[:rows]:
            total = variant.total
            value = number(variant.figure(by))
            trades = 0 if total is None else total.trades
            told = "" if by == "profit" else f", profit {number(variant.profit) or 'not known'}"
            hits = number(variant.hit_rate) or "-"
            lines.append(
                f"{by} {value or 'not known'}{told}, trades {trades}, hit rate {hits}, "
                f"drawdown {number(variant.drawdown)}{_sat_out(variant)}: {variant.label}"
            )
        if len(self.variants) - len(self.failures) > rows:
            lines.append(f"… {len(self.variants) - len(self.failures) - rows} more")
        lines += [f"FAILED {each.label}: {each.failure_text}" for each in self.failures[:rows]]
        if len(self.failures) > rows:
            lines.append(f"… {len(self.failures) - rows} more failed")
        try:
            lines.append(self.best(by).text())
        except ConfigError as error:
            lines.append(str(error))
        return "\n".join(lines) + "\n"

    @exactly()
    def _repr_html_(self) -> str:
        """Return the best rows as a small table, for notebooks."""
        shown = self._ranked("profit")[:20]
        names = self._setting_names()
        head = [*names, "profit", "trades", "hit_rate", "drawdown"]
        rows = [
            [
                *(text(variant.settings.get(name, "")) for name in names),
                *(number(variant.figure(name)) for name in head[len(names) :]),
            ]
            for variant in (*shown, *self.failures[:5])
        ]
        for row, variant in zip(rows[len(shown) :], self.failures, strict=False):
            row[len(names)] = variant.failure_text
        try:
            told = self.best().text()
        except ConfigError as error:
            told = str(error)
        return html_table(head, rows) + "".join(
            f"<p>{html.escape(line)}</p>" for line in told.splitlines()
        )

    # ------------------------------------------------------------------ as a file

    def save(self, path: str | Path) -> None:
        """Write all of it to a file.

        Raises:
            OSError: The disk is full, or the place cannot be written; an earlier file is as it was.
        """
        with replacing(Path(path)) as file:
            file.write(self.encoded())

    def encoded(self) -> bytes:
        """Return what `save` writes: the same sweep, the same bytes."""
        variants = [
            attrs.evolve(each, settings={n: _tagged(v) for n, v in each.settings.items()})
            for each in self.variants
        ]
        told = attrs.evolve(self, variants=tuple(variants))
        return msgspec.json.encode({"format": _FORMAT, "sweep": told}, order="sorted")

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """Read what `save` wrote. Settings of uncommon types come back as text.

        Args:
            path: The file, or a run folder whose sweep has come to its end.

        Raises:
            ConfigError: There is no such file, or it is no sweep of this version.
        """
        file = Path(path) / RESULT_FILE if Path(path).is_dir() else Path(path)
        try:
            found = _decode(file.read_bytes())
        except (OSError, msgspec.MsgspecError) as error:
            msg = f"path: {file} cannot be read as a sweep: {error}"
            raise ConfigError(msg) from error
        if found.format != _FORMAT:
            msg = f"path: {file} has format {found.format}, expected {_FORMAT}: run the sweep again"
            raise ConfigError(msg)
        variants = [
            attrs.evolve(each, settings={n: _untagged(v) for n, v in each.settings.items()})
            for each in found.sweep.variants
        ]
        return attrs.evolve(found.sweep, variants=tuple(variants))

    # ------------------------------------------------------------------ inside

    def _ranked(self, by: str) -> list[VariantResult]:
        found = [each for each in self.variants if each.failure is None]
        values = {each.number: each.figure(by) for each in found}
        return sorted(
            found,
            key=lambda each: (
                values[each.number] is None,
                -(values[each.number] or ZERO),
                each.number,
            ),
        )

    def _setting_names(self) -> list[str]:
        return list(dict.fromkeys(name for each in self.variants for name in each.settings))

    def _columns(self) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {"variant": [each.number for each in self.variants]}
        for name in self._setting_names():
            values = [each.settings.get(name) for each in self.variants]
            columns[column_name(name)] = values
        columns["status"] = ["failed" if each.failure else "done" for each in self.variants]
        columns["error"] = [each.failure_text for each in self.variants]
        for name in COUNTS:
            values = [each.figure(name) for each in self.variants]
            columns[name] = [None if value is None else int(value) for value in values]
        for name in AMOUNTS:
            columns[name] = [rounded(each.figure(name)) for each in self.variants]
        return columns


RESULT_FILE = "sweep.json"
"""What a run folder has when its sweep has come to its end."""

_FORMAT = 1


@frozen
class _File:
    format: int
    sweep: SweepResult


_decode = msgspec.json.Decoder(_File).decode


_TAGS: dict[str, Callable[[str], Any]] = {
    "Decimal": Decimal,
    "int": int,
    "float": float,
    "bool": lambda told: told == "True",
    "str": str,
    "NoneType": lambda _: None,
}


def _tagged(value: object) -> list[str]:
    tag = type(value).__name__
    return [tag, str(value)] if tag in _TAGS else ["str", text(value)]


def _untagged(pair: Any) -> Any:
    tag, told = pair
    return _TAGS[tag](told)


def _sat_out(variant: VariantResult) -> str:
    told = ", ".join(f"{name} {count}" for name, count in variant.failures.items())
    return f", FAILED in cycles ({told})" if told else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
