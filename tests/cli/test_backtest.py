"""``polyframe backtest`` and ``polyframe sweep``."""

from __future__ import annotations

import csv
import re
import signal
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from polyframe import (
    CsvRecording,
    PaperModels,
    ParquetRecording,
    run_backtest,
    write_csv,
    write_market,
)
from polyframe.cli.app import run
from polyframe.cli.loading import load_strategy
from polyframe.cli.replay import open_recording
from tests.backtest.kit import wandering
from tests.cli.command import Command, polyframe
from tests.cli.test_screen import CONTROL, terminal

STRATEGY = """
import time
from decimal import Decimal
from pathlib import Path

from attrs import define, field

from beside_mine import SIZE
from polyframe import OrderType, Outcome, Strategy


@define
class Cheap(Strategy):
    limit: Decimal = Decimal("0.5")
    hold: str = ""
    done: bool = field(init=False, default=False)

    async def on_cycle_start(self):
        while self.hold and self.limit == Decimal("0.50") and Path(self.hold).exists():
            time.sleep(0.05)

    async def on_book(self, outcome):
        ask = self.session.price(Outcome.UP).ask
        if not self.done and ask is not None and ask <= self.limit:
            self.done = True
            self.log.info("buying at %s", ask)
            await self.trading.buy(Outcome.UP, price=ask, size=SIZE, order_type=OrderType.FAK)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a folder with a strategy, its neighbour and recordings."""
    (tmp_path / "cheap.py").write_text(STRATEGY)
    (tmp_path / "beside_mine.py").write_text("from decimal import Decimal\nSIZE = Decimal(10)\n")
    made = wandering(1)
    for tape in made.markets():
        write_market(tmp_path / "data", tape, made.events(tape))
        write_csv(tmp_path / "csv", tape, made.events(tape))
    return tmp_path


def replay(place: Path, command: str, *more: str, data: str = "data") -> Sequence[str]:
    """Return the arguments of a command on the strategy and the recordings."""
    strategy = f"{place / 'cheap.py'}:Cheap"
    return (command, strategy, "--data", str(place / data), *more)


def test_a_url_is_opened_as_what_it_has(place: Path) -> None:
    """Recordings are found as CSV or Parquet, at a URL as in a folder, whatever lies beside them."""
    for name, kind in (("csv", CsvRecording), ("data", ParquetRecording)):
        recording = open_recording((place / name).as_uri())
        assert isinstance(recording, kind)
        assert len(recording.markets()) == 3
    (place / "csv" / "mine.parquet").touch()
    assert isinstance(open_recording(str(place / "csv")), CsvRecording)
    (place / "data" / "mine.csv").touch()
    assert isinstance(open_recording(str(place / "data")), ParquetRecording)


def test_a_back_test_prints_its_report_and_writes_its_files(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The report is that of the program, from Parquet and from CSV; the page is there, too."""
    page, folder = place / "page.html", place / "report"
    more = ("--set", "limit=0.45", "--seed", "7", "--folder", str(folder), "--html", str(page))
    done = polyframe(*replay(place, "backtest", *more))
    assert done.returncode == 0, done.stderr
    strategy = load_strategy(f"{place / 'cheap.py'}:Cheap")
    strategy.limit = Decimal("0.45")  # type: ignore[attr-defined]
    report = run_backtest(strategy, data=wandering(1), models=PaperModels(seed=7))
    assert report.total.trades
    assert done.stdout == report.text()
    assert (folder / "report.txt").read_text() == report.text()
    assert "<html" in page.read_text()
    again = replay(place, "backtest", "--set", "limit=0.45", "--seed", "7", data="csv")
    assert run(again) == 0
    assert capfd.readouterr().out == report.text()


def test_a_sweep_prints_the_best_and_goes_on_where_it_was(place: Path) -> None:
    """Ctrl-C ends it in order, also a worker that hangs; the same command again runs what is left."""
    hold = place / "hold"
    hold.touch()
    arguments = replay(
        place,
        "sweep",
        *("--set", "limit=0.40,0.45,0.50,0.55", "--set", f"hold={hold}"),
        *("--workers", "1", "--folder", str(place / "run"), "--csv", str(place / "rows.csv")),
        *("--chunk", "1"),
    )
    with Command(*arguments) as command:
        tasks = place / "run" / "tasks"
        while command.process.poll() is None and len(list(tasks.glob("*.json"))) < 2:
            time.sleep(0.02)
        command.signal(signal.SIGINT)
        assert command.wait(60) == 130, command.errors
        assert (
            f"polyframe sweep: stopped; what was finished is in {place / 'run'}" in command.errors
        )
    kept = {path: path.stat().st_mtime_ns for path in tasks.glob("*.json")}
    assert len(kept) == 2
    hold.unlink()
    done = polyframe(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Cheap: 4 variants on 3 markets\nprofit ")
    assert "4 variants were tried on 3 markets, 0 failed." in done.stdout
    assert all(path.stat().st_mtime_ns == kept[path] for path in kept)
    assert len(list(tasks.glob("*.json"))) == 12
    rows = list(csv.DictReader((place / "rows.csv").read_text().splitlines()))
    assert [row["limit"] for row in rows] == ["0.40", "0.45", "0.50", "0.55"]


def test_what_the_strategy_says_stands_under_the_time_of_its_market(place: Path) -> None:
    """With -v, and neither without it nor beside what polyframe itself logs."""
    told = polyframe(*replay(place, "backtest", "-v")).stderr.splitlines()
    assert told
    for line in told:
        assert re.fullmatch(
            r"[\d-]{10} [\d:.]{12} INFO \[paper\] \[btc-\S+\] buying at 0\.\d+", line
        )
    assert polyframe(*replay(place, "backtest")).stderr == ""


@pytest.mark.parametrize(
    ("command", "more", "text"),
    [
        ("backtest", ("--set", "limits=1"), "limits: Cheap has no such setting"),
        ("backtest", ("--set", "limit=x"), "limit: expected Decimal, got 'x'"),
        ("backtest", ("--set", "limit=inf"), "limit: expected Decimal, got 'inf'; a finite number"),
        ("sweep", ("--set", "limit=0.4,1e999999"), "limit: expected Decimal, got '1e999999'; a f"),
        ("backtest", ("--cash", "1e30"), "cash: expected USD above 0, got '1e30'; and below 10"),
        ("backtest", ("--set", "limit=0.4,0.5"), "limit has 2 values; polyframe sweep tries"),
        ("backtest", ("--set", "limit"), "set: expected name=value, each name once"),
        ("backtest", ("--cash", "-1"), "cash: expected USD above 0, got '-1'"),
        ("backtest", ("--series", "eth-updown-5m"), "nothing was recorded of eth-updown-5m"),
        ("sweep", ("--by", "luck"), "by: expected one of"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    place: Path,
    command: str,
    more: Sequence[str],
    text: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It names the option, and the exit code is 2."""
    assert run([*replay(place, command, *more)]) == 2
    assert f"polyframe {command}: " in (error := capfd.readouterr().err)
    assert text in error


@pytest.mark.parametrize(
    ("command", "option"), [("backtest", "folder"), ("backtest", "html"), ("sweep", "csv")]
)
def test_a_place_that_cannot_be_written_is_told_before_the_run(
    place: Path, command: str, option: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is computed that would be lost: exit code 2, and no figures."""
    (place / "file").touch()
    target = place / "file" / "x" / "y"
    assert run([*replay(place, command, f"--{option}", str(target))]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"polyframe {command}: {option}: {place}")
    assert "cannot be written (" in told.err
    assert told.err.count("\n") == 1


def test_a_missing_extra_for_the_page_is_told_before_the_run(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without plotly nothing is computed first: exit code 2, and what to install."""
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert run([*replay(place, "backtest", "--html", str(place / "page.html"))]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert "pip install '.[report]'" in told.err


@pytest.mark.parametrize("command", ["backtest", "sweep"])
def test_a_strategy_that_follows_prices_is_refused(
    place: Path, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Recordings have no reference prices: no table of zeros, but what to do."""
    assert run([command, "momentum", "--data", str(place / "data")]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert "Momentum follows reference prices, and none were recorded; bring some" in told.err


def test_a_strategy_that_raises_is_told_with_its_cause(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, of a sweep when each variant fails."""
    (place / "bad.py").write_text(
        "from attrs import define\nfrom polyframe import Strategy\n@define\nclass Bad(Strategy):\n"
        "    number: int = 0\n    async def on_cycle_start(self):\n        raise LookupError('luck')\n"
    )
    strategy, data = f"{place / 'bad.py'}:Bad", str(place / "data")
    assert run(["backtest", strategy, "--data", data]) == 1
    assert "failed in on_cycle_start(): LookupError('luck')" in capfd.readouterr().err
    assert run(["sweep", strategy, "--data", data, "--set", "number=1,2", "--workers", "1"]) == 1
    assert "FAILED number=2: LookupError: luck" in capfd.readouterr().out
    assert run(["backtest", strategy, "--data", str(place / "none")]) == 2
    assert "none is no folder; name one with recordings, a URL, or real" in capfd.readouterr().err


def test_a_terminal_shows_how_far_it_is(place: Path) -> None:
    """The bar counts markets, on standard error; the report is what it is elsewhere, too."""
    with terminal(*replay(place, "backtest")) as screen:
        screen.read()
        assert screen.process.wait(20) == 0
    plain = CONTROL.sub("", screen.text)
    assert re.search(r"back-test .* 3/3", plain)
    report = polyframe(*replay(place, "backtest")).stdout
    assert report.strip() in plain.replace("\r\n", "\n")


def test_a_setting_without_a_default_is_given_on_the_command_line(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A sweep takes the values that it tries; without any, the message says what to say."""
    text = STRATEGY.replace('limit: Decimal = Decimal("0.5")', "limit: Decimal")
    (place / "cheap.py").write_text(text)
    assert run(replay(place, "backtest", "--set", "limit=0.45")) == 0
    assert "limit=0.45" in capfd.readouterr().out
    assert run(replay(place, "sweep", "--set", "limit=0.40,0.45", "--workers", "1")) == 0
    assert "Cheap: 2 variants on 3 markets" in capfd.readouterr().out
    for command in ("backtest", "sweep"):
        assert run(replay(place, command)) == 2
        assert "give its fields defaults, or say --set limit=…" in capfd.readouterr().err


def test_a_file_called_like_a_package_hides_nothing(place: Path) -> None:
    """A strategy in plotly.py runs, and the page is made with the package of that name."""
    (place / "plotly.py").write_text((place / "cheap.py").read_text())
    page = place / "page.html"
    strategy, data = f"{place / 'plotly.py'}:Cheap", str(place / "data")
    done = polyframe("backtest", strategy, "--data", data, "--html", str(page))
    assert (done.returncode, done.stderr) == (0, "")
    assert "<html" in page.read_text()
