"""``polyframe report``: what the runs in a ledger's file came to."""

from __future__ import annotations

import sys
from pathlib import Path

from attrs import frozen

from polyframe.cli.outputs import check_folder, check_page
from polyframe.errors import ConfigError
from polyframe.recording.reader import Recording, load_optional
from polyframe.report.ledgers import ledger_report
from polyframe.report.values import Report


@frozen
class ReportOptions:
    """What the command line asks for.

    Attributes:
        ledger: The file, or a folder with one such file.
        run, mode, series: Which runs and cycles of it; all by default.
        data: A recording of the same markets, as for ``polyframe backtest``; ``""`` for none.
        html: A file for the page.
        csv, parquet: Folders for tables.
    """

    ledger: Path
    run: int | None = None
    mode: str | None = None
    series: str | None = None
    data: str = ""
    html: Path | None = None
    csv: Path | None = None
    parquet: Path | None = None


def run_report(options: ReportOptions) -> int:
    """Print the report and write what is asked for; return the exit code.

    Raises:
        ConfigError: No such ledger, run or recording, a place that cannot be written to, or an extra
            is missing.
    """
    data = _recording(options.data)
    report = ledger_report(
        _file(options.ledger),
        run=options.run,
        mode=options.mode,
        series=options.series,
        data=data,
    )
    if data is not None:
        _check_common(report, data)
    check_page("html", options.html)
    check_folder("csv", options.csv)
    check_folder("parquet", options.parquet)
    if options.parquet is not None:
        load_optional("pyarrow", "parquet")
    sys.stdout.write(report.text())
    if options.html is not None:
        report.save_html(options.html)
    if options.csv is not None:
        report.write(options.csv)
    if options.parquet is not None:
        report.write_parquet(options.parquet)
    for written in (options.html, options.csv, options.parquet):
        if written is not None:
            sys.stdout.write(f"written: {written}\n")
    return 0


def _recording(name: str) -> Recording | None:
    if not name:
        return None
    from polyframe.cli.replay import open_recording  # it brings all of back-testing with it

    return open_recording(name)


def _check_common(report: Report, data: Recording) -> None:
    """Refuse a recording that has nothing to say: another one was meant.

    Raises:
        ConfigError: It has none of the markets in the report.
    """
    slugs = [cycle.slug for cycle in report.cycles]
    recorded = [tape.market.slug for tape in data.markets()]
    if slugs and set(slugs).isdisjoint(recorded):
        have = f"{min(recorded)} to {max(recorded)}" if recorded else "no markets"
        msg = (
            f"data: the recording has none of the markets; the ledger has {min(slugs)} to "
            f"{max(slugs)}, the recording {have}; leave it out, or name another one"
        )
        raise ConfigError(msg)


def _file(path: Path) -> Path:
    """Return the ledger's file; of a folder the one that is in it.

    Raises:
        ConfigError: There is none in the folder, or several.
    """
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.sqlite"))
    if len(found) != 1:
        have = ", ".join(each.name for each in found) or "none"
        msg = f"ledger: expected one .sqlite file in the folder {path}, found {have}; name the file"
        raise ConfigError(msg)
    return found[0]
