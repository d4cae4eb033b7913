"""Reports as Parquet files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from polyframe.backtest.run import run_backtest
from polyframe.report.values import Report
from tests.backtest.kit import MODELS, Eager, wandering
from tests.report.kit import life, report_of

parquet = pytest.importorskip("pyarrow.parquet")

NAMES = ("cycles", "fills", "orders", "prices")


def write(report: Report, folder: Path) -> dict[str, Any]:
    """Write the files and read them as columns."""
    report.write_parquet(folder)
    assert sorted(path.stem for path in folder.iterdir()) == list(NAMES)
    return {name: parquet.read_table(folder / f"{name}.parquet").to_pydict() for name in NAMES}


def test_the_files_add_up_to_the_report(tmp_path: Path) -> None:
    """Every cycle, order, fill and point has its row; amounts are exact."""
    report = run_backtest(Eager(), data=wandering(1), models=MODELS)
    tables = write(report, tmp_path / "new" / "folder")
    assert tables["cycles"]["slug"] == [cycle.slug for cycle in report.cycles]
    assert sum(tables["cycles"]["profit"]) == report.profit
    assert tables["cycles"]["marked_drawdown"] == [
        cycle.figures.marked_drawdown for cycle in report.cycles
    ]
    assert len(tables["orders"]["slug"]) == report.total.orders
    assert [t.timestamp() * 1000 for t in tables["orders"]["sent"]] == [
        order.sent_ms for order in report.orders
    ]
    assert tables["orders"]["limit_size"] == [
        order.view.limit_size for order in report.orders if order.view is not None
    ]
    assert sum(tables["fills"]["size"]) == report.total.shares
    assert sum(tables["fills"]["fee"]) == report.total.fees
    assert set(tables["fills"]["strategy"]) == {"Eager"}
    points = [(bid, ask) for c in report.cycles for _, bid, ask in c.path or ()]
    assert tables["prices"]["bid"] == [Decimal(bid) / 10_000 for bid, _ in points]
    assert tables["prices"]["ask"] == [Decimal(ask) / 10_000 for _, ask in points]


def test_what_is_not_known_is_null_and_nothing_has_tables_too(tmp_path: Path) -> None:
    """An open cycle has no winner; a report of nothing has files with columns and no rows."""
    tables = write(report_of(life(winner=None)), tmp_path / "open")
    assert tables["cycles"]["winner"] == [None]
    assert tables["cycles"]["booked"] == [None]
    assert tables["prices"]["slug"] == []
    empty = write(report_of(), tmp_path / "empty")
    assert all(column == [] for table in empty.values() for column in table.values())


def test_the_same_report_is_the_same_files(tmp_path: Path) -> None:
    """Byte for byte."""
    for name in ("one", "two"):
        run_backtest(Eager(), data=wandering(2), models=MODELS).write_parquet(tmp_path / name)
    for name in NAMES:
        one, two = (tmp_path / run / f"{name}.parquet" for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
