"""``polyframe backtest`` and ``polyframe sweep``: strategies on recorded markets."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen
from typing_extensions import override

from polyframe.backtest.run import CASH, run_backtest
from polyframe.backtest.sweeps.sweeping import sweep
from polyframe.backtest.sweeps.tables import FIGURES
from polyframe.backtest.sweeps.task import SweepOptions
from polyframe.backtest.sweeps.variants import grid
from polyframe.cli.loading import check_prices, load_strategy, load_variants, read_texts
from polyframe.cli.options import Source, read_cash
from polyframe.cli.outputs import check_file, check_folder, check_page
from polyframe.errors import ConfigError
from polyframe.paper.models import PaperModels
from polyframe.recording.csvfiles import CsvRecording
from polyframe.recording.files import open_shelf
from polyframe.recording.parquet import ParquetRecording
from polyframe.recording.reader import Recording
from polyframe.recording.resolvedkit import ResolvedMarkets

WITH_PRICES = "bring some from Python: run_backtest(…, services=[…]), see docs/strategies.md"


@frozen(kw_only=True)
class ReplayOptions:
    """What both commands are told.

    Attributes:
        strategy: As `load_strategy` takes it.
        data: ``real`` for the recorded sample, a folder, or a URL of fsspec.
        settings: Texts ``name=value``, of a sweep with commas between the values to try.
        series: Names of series; none for all.
        cash: USD of the account at the start, as text.
        seed: Of what the models leave to chance.
    """

    strategy: str
    data: str
    settings: tuple[str, ...]
    series: tuple[str, ...]
    cash: str
    seed: str


@frozen(kw_only=True)
class SweepCommand:
    """What a sweep is told besides.

    Attributes:
        workers: Processes; ``None`` for as many as there are cores.
        folder: Keeps results; ``None`` keeps nothing.
        chunk: Markets a task, ``None`` for all.
        by: The figure that the rows are sorted by.
        csv: Where the table goes as CSV, ``None`` for nowhere.
        retry_failed: Try again what failed in an earlier run.
    """

    workers: int | None
    folder: Path | None
    chunk: int | None
    by: str
    csv: Path | None
    retry_failed: bool


class _Log(logging.Formatter):
    """What a strategy logs stands under the time of its market, not under that of the wall."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(message)s")

    @override
    def format(self, record: logging.LogRecord) -> str:
        line, time = super().format(record), getattr(record, "market_time", None)
        if time is None:
            return line
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {line}"


def run_backtest_command(
    options: ReplayOptions, *, folder: Path | None, html: Path | None, verbose: bool = False
) -> int:
    """Run a back-test, print its report, and return the exit code.

    Args:
        options: What to run on what.
        folder: Where ``report.txt`` and the CSV files go, ``None`` for nowhere.
        html: Where the report goes as a page, ``None`` for nowhere.
        verbose: Show what the strategy logs, from INFO on.

    Raises:
        ConfigError, StrategyDefinitionError, StrategyFailed: As `run_backtest`; also a place that cannot
            be written to, and a strategy that follows prices which no recording has.
        OSError: A file cannot be written in the end.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Log())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if verbose:
        logging.getLogger("polyframe.strategy").setLevel(logging.INFO)
    strategy = load_strategy(options.strategy, read_texts(options.settings))
    check_prices(strategy, WITH_PRICES)
    data, more = open_recording(options.data), _more(options)
    check_folder("folder", folder)
    check_page("html", html)
    report = run_backtest(strategy, data=data, progress=None, **more)
    _print(report.text())
    if folder is not None:
        report.write(folder)
    if html is not None:
        report.save_html(html)
    return 0


def run_sweep_command(options: ReplayOptions, command: SweepCommand) -> int:
    """Run a sweep, print the best rows, and return the exit code: 1 if nothing came to an end.

    Raises:
        ConfigError, StrategyDefinitionError: As `sweep`; also a place that cannot be written to, and a
            strategy that follows prices which no recording has.
        OSError: A file cannot be written in the end.
    """
    if command.by not in FIGURES:
        msg = f"by: expected one of {', '.join(FIGURES)}; got {command.by!r}"
        raise ConfigError(msg)
    template, values = load_variants(options.strategy, read_texts(options.settings))
    check_prices(template, WITH_PRICES)
    check_file("csv", command.csv)
    result = sweep(
        template,
        grid(**values),
        data=open_recording(options.data),
        workers=command.workers,
        folder=command.folder,
        chunk=command.chunk,
        retry_failed=command.retry_failed,
        **_more(options),
    )
    _print(result.text(command.by))
    if command.csv is not None:
        command.csv.write_text(result.csv(), encoding="utf-8", newline="")
    return 1 if len(result.failures) == len(result.variants) else 0


def open_recording(name: str) -> Recording:
    """Return the recording that the command line names.

    Raises:
        ConfigError: There is none, or the packages that it needs are not installed.
    """
    if name == Source.REAL:
        return ResolvedMarkets()
    if "://" not in name and not Path(name).is_dir():
        msg = f"data: {name} is no folder; name one with recordings, a URL, or {Source.REAL}"
        raise ConfigError(msg)
    shelf = open_shelf(name)
    has_csv = bool(shelf.names(".csv"))
    if has_csv and not shelf.names(".parquet"):
        return CsvRecording(name)
    recording = ParquetRecording(name)
    # Tables of somebody else's may lie beside recordings.
    return CsvRecording(name) if has_csv and not recording.markets() else recording


def _more(options: ReplayOptions) -> SweepOptions:
    return {
        "series": options.series or None,
        "cash": read_cash(options.cash, CASH),
        "models": PaperModels(seed=int(options.seed) if options.seed.isdigit() else options.seed),
    }


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
