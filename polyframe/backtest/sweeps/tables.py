"""Sweeps as tables: which columns there are, and the kinds of tables that they can be."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal

from polyframe.backtest.sweeps.variants import text
from polyframe.errors import ConfigError
from polyframe.recording.reader import load_optional

Kind = Literal["arrow", "pandas", "polars"]

_STEP = Decimal("0.00001")
_DIGITS = 30
COUNTS = ("cycles", "traded", "orders", "trades", "fills", "refused", "failed_cycles")
AMOUNTS = (
    *("shares", "volume", "maker_share", "fees", "realised", "settled", "profit"),
    *("profit_per_share", "profit_per_dollar", "exposure", "drawdown", "hit_rate"),
    *("seconds_in_market", "slippage_mid", "slippage_touch"),
)
FIGURES = COUNTS + AMOUNTS
"""Columns of the table behind the settings, and what `SweepResult.best` takes."""

_RESERVED = frozenset({"variant", "status", "error", *FIGURES})


def column_name(setting: str) -> str:
    """Return the name of a setting's column."""
    return f"{setting}_setting" if setting in _RESERVED else setting


def rounded(value: Decimal | None) -> Decimal | None:
    """Return an amount as tables have it: what is less than the venue's smallest fee means nothing."""
    return None if value is None else value.quantize(_STEP, ROUND_HALF_EVEN)


def as_table(columns: Mapping[str, Sequence[Any]], kind: Kind) -> Any:
    """Return columns as a table of `kind`.

    Raises:
        ConfigError: Another kind, or the package is not installed.
    """
    if kind not in ("arrow", "pandas", "polars"):
        msg = f"kind: expected arrow, pandas or polars, got {kind!r}"
        raise ConfigError(msg)
    pa = load_optional("pyarrow", "table")
    amounts = pa.decimal128(_DIGITS, 5)
    arrays = {}
    for name, values in columns.items():
        if name in _INTEGERS:
            arrays[name] = pa.array(values, pa.int64())
        elif name in AMOUNTS or name in {"train_profit", "test_profit"}:
            arrays[name] = pa.array(values, amounts)
        elif name in _TEXTS:
            arrays[name] = pa.array(values, pa.string())
        else:
            arrays[name] = _setting_array(pa, values)
    table = pa.table(arrays)
    if kind == "arrow":
        return table
    if kind == "pandas":
        _needed("pandas")
        return table.to_pandas()
    return _needed("polars").from_arrow(table)


_INTEGERS = frozenset(
    {
        *("variant", "fold", "start", "train_start", "train_markets", "test_start", "test_markets"),
        *COUNTS,
    }
)
_TEXTS = frozenset({"status", "error", "slug", "winner"})


def _setting_array(pa: Any, values: Sequence[Any]) -> Any:
    """Return values as what they all are; as text where they are of several types or of uncommon ones."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) == 1 and kinds <= {int, float, bool, str, Decimal}:
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, OverflowError):
            pass  # larger than 64 bits, or not finite: text says it
    return pa.array([None if value is None else text(value) for value in values], pa.string())


def _needed(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        msg = f"table: the package {error.name} is not installed: pip install {package}"
        raise ConfigError(msg) from error


def html_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a plain table; everything in it is escaped."""
    lines = ["<table><tr>", *(f"<th>{html.escape(name)}</th>" for name in head), "</tr>"]
    for row in rows:
        lines += ["<tr>", *(f"<td>{html.escape(cell)}</td>" for cell in row), "</tr>"]
    return "".join([*lines, "</table>"])


def csv_table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Return columns as CSV; what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow("" if value is None else text(value) for value in row)
    return out.getvalue()
