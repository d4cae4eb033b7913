"""``polyframe report`` as users run it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from polyframe import write_csv
from polyframe.backtest.run import run_backtest
from polyframe.cli.app import run
from polyframe.report.ledgers import ledger_report
from tests.backtest.kit import Eager, wandering

pytest.importorskip("plotly")
pytest.importorskip("pyarrow")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Return the ledger of a run."""
    path = tmp_path / "trades.sqlite"
    run_backtest(Eager(), data=wandering(1, cycles=1), ledger=path)
    return path


def test_it_prints_the_figures_and_writes_what_is_asked_for(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text, a page, and both kinds of tables; the folder of a ledger is as good as its name."""
    page, csv, parquet = tmp_path / "page.html", tmp_path / "csv", tmp_path / "parquet"
    arguments = ["--html", str(page), "--csv", str(csv), "--parquet", str(parquet)]
    assert run(["report", str(ledger.parent), *arguments]) == 0
    report = ledger_report(ledger)
    assert capsys.readouterr().out.startswith(report.text())
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")
    assert (csv / "trades.csv").read_text() == report.trades_csv()
    assert len(list(parquet.iterdir())) == 4


def test_what_is_wrong_is_said_in_one_line(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, run or recording, two files in a folder, a place that cannot be written."""
    (tmp_path / "two").mkdir()
    for name in ("a.sqlite", "b.sqlite"):
        (tmp_path / "two" / name).touch()
    (tmp_path / "file").touch()
    other = wandering(1, cycles=2)
    later = other.markets()[-1]
    write_csv(tmp_path / "later", later, other.events(later))
    for code, told, arguments in (
        (2, "there is no file", [str(tmp_path / "missing.sqlite")]),
        (2, "runs there: 1 (paper)", [str(ledger), "--run", "9"]),
        (2, "found a.sqlite, b.sqlite", [str(tmp_path / "two")]),
        (2, "folder", [str(ledger), "--data", str(tmp_path / "nowhere")]),
        (
            2,
            "data: the recording has none of the",
            [str(ledger), "--data", str(tmp_path / "later")],
        ),
        (2, "html: ", [str(ledger), "--html", str(tmp_path / "file" / "page.html")]),
        (2, "it is a folder", [str(ledger), "--html", str(tmp_path)]),
        (2, "csv: ", [str(ledger), "--csv", str(tmp_path / "file")]),
        (2, "parquet: ", [str(ledger), "--parquet", str(tmp_path / "file")]),
    ):
        assert run(["report", *arguments]) == code
        out, error = capsys.readouterr()
        assert out == ""
        assert error.startswith("polyframe report: ")
        assert told in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "option", "extra"),
    [("plotly.offline", "--html", "report"), ("pyarrow", "--parquet", "data")],
)
def test_a_missing_extra_is_said_before_the_figures(
    ledger: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    option: str,
    extra: str,
) -> None:
    """Exit code 2 and one line with what to install, not half of what was asked for."""
    monkeypatch.setitem(sys.modules, module, None)
    assert run(["report", str(ledger), option, str(ledger.parent / "new")]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert f"pip install '.[{extra}]'" in error
    assert error.count("\n") == 1
