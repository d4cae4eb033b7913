"""Commands and options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import polyframe
from polyframe.cli import replay_commands, trading_commands
from polyframe.cli.guarding import guarded
from polyframe.cli.options import Source
from polyframe.cli.trading_commands import check_speed

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(arguments: Sequence[str]) -> int:
    """Run the command line with `arguments` and return its exit code."""
    try:
        app(args=list(arguments), prog_name="polyframe")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"polyframe {polyframe.__version__}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Strategies on Polymarket's rolling markets: every cycle is a brand-new world."""


trading_commands.register(app)

_VENUE_HELP = (
    "Serve a venue on this machine that any client of the real one can trade at.\n\n"
    "It prints where it serves what, and the API keys of its accounts. With made-up order books "
    "at normal speed it follows this machine's clock; docs/venue.md says what differs from the "
    "real venue.\n\n"
    "Ctrl-C ends it (exit code 130; after SIGTERM 143)."
)


@app.command(help=_VENUE_HELP)
def venue(
    *,
    data: Annotated[
        Source,
        typer.Option(
            help="Order books: made up from --seed, without end, or recorded ones of 18 real "
            "markets (package resolvedkit)."
        ),
    ] = Source.SYNTHETIC,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="The same as --data synthetic.")
    ] = False,
    series: Annotated[
        list[str] | None,
        typer.Option(
            help="Series of the synthetic markets; may be repeated. \\[default: btc-updown-15m]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic order books.")] = 1,
    speed: Annotated[
        float, typer.Option(callback=check_speed, help="Market seconds per real second.")
    ] = 1.0,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to bind; 0 takes any free one.")
    ] = 0,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow an address that other machines can reach.")
    ] = False,
    accounts: Annotated[
        int, typer.Option(min=1, max=100, help="Accounts that are there from the start.")
    ] = 1,
    cash: Annotated[
        str, typer.Option(help="USD of each account, also of wallets that ask for an API key.")
    ] = "1000",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON, for programs.")
    ] = False,
) -> None:
    """Serve a venue on this machine that any client of the real one can trade at."""

    def call() -> int:
        from polyframe.cli.venue import VenueOptions, run_venue

        options = VenueOptions(
            source=Source.SYNTHETIC if synthetic else data,
            series=tuple(dict.fromkeys(series or ("btc-updown-15m",))),
            seed=seed,
            speed=speed,
            host=host,
            port=port,
            allow_remote=allow_remote,
            accounts=accounts,
            cash=cash,
            as_json=as_json,
        )
        return run_venue(options)

    raise typer.Exit(guarded("venue", call))


_RECORD_HELP = (
    "Record every market of one or more series, without an account.\n\n"
    "Frames are kept as they come in FOLDER/raw; when a market is over, FOLDER/<series>/<slug>.parquet "
    "appears, and its winner goes in once that is known. Killed or stopped, the next start goes on. "
    "docs/recording.md has the details.\n\n"
    "Ctrl-C ends it (exit code 130; after SIGTERM 143). Exit code 1: something was not recorded, "
    "for example because the disk is full."
)


@app.command(help=_RECORD_HELP)
def record(
    series: Annotated[
        list[str], typer.Argument(metavar="SERIES...", help="For example btc-updown-15m.")
    ],
    folder: Annotated[Path, typer.Option(help="Where recordings go.")] = Path("recordings"),
    files: Annotated[
        str,
        typer.Option(
            help="Where the files of markets go, if not to FOLDER: a folder, or a URL of fsspec."
        ),
    ] = "",
    cycles: Annotated[
        int | None, typer.Option(min=1, help="Windows to record of each series. \\[default: all]")
    ] = None,
    url: Annotated[
        str, typer.Option(help="A venue on this machine in place of the real one.")
    ] = "",
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what goes well, too (to standard error).")
    ] = False,
) -> None:
    """Record every market of one or more series, without an account."""

    def call() -> int:
        from polyframe.cli.record import RecordOptions, run_record

        options = RecordOptions(
            series=tuple(series),
            folder=folder,
            files=files,
            cycles=cycles,
            url=url,
            verbose=verbose,
        )
        return run_record(options)

    raise typer.Exit(guarded("record", call))


_REPORT_HELP = (
    "Tell what the runs in a ledger came to: live ones, and those on paper.\n\n"
    "LEDGER is the file that a run was given (docs/ledger.md), or a folder with one such file; it may "
    "still be written to. A ledger does not know what books looked like: with --data, a recording of "
    "the same markets, there are price paths, slippage and the drawdown within cycles."
)


@app.command(help=_REPORT_HELP)
def report(
    ledger: Annotated[Path, typer.Argument(metavar="LEDGER", help="For example trades.sqlite.")],
    run: Annotated[int | None, typer.Option(help="Only this run. \\[default: all]")] = None,
    mode: Annotated[
        str | None, typer.Option(help="Only runs of this mode: live or paper. \\[default: all]")
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="Only this series, for example btc-updown-15m.")
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="A recording of the same markets: a folder or URL, or real (package resolvedkit)."
        ),
    ] = "",
    html: Annotated[
        Path | None, typer.Option(help="Write a page with charts; it needs only a browser.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write report.txt, cycles.csv and trades.csv to this folder."),
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Write cycles, orders, fills and prices to this folder.")
    ] = None,
) -> None:
    """Tell what the runs in a ledger came to."""

    def call() -> int:
        from polyframe.cli.ledgers import ReportOptions, run_report

        return run_report(ReportOptions(ledger, run, mode, series, data, html, csv, parquet))

    raise typer.Exit(guarded("report", call))


_NEW_HELP = (
    "Make a project: strategy, program, settings, test, README.\n\n"
    "It runs on a venue on this machine or on paper at once; docs/project.md tells what is in it. A "
    "folder that is there and not empty is refused (exit code 2)."
)


@app.command(help=_NEW_HELP)
def new(
    name: Annotated[str, typer.Argument(help="For example fading, or my-bot.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where it goes. \\[default: a new folder NAME]")
    ] = None,
) -> None:
    """Make a project: strategy, program, settings, test, README."""

    def call() -> int:
        from polyframe.cli.new import NewProject

        project = NewProject(name, Path(name) if folder is None else folder)
        project.write()
        typer.echo(project.next_steps(), nl=False)
        return 0

    raise typer.Exit(guarded("new", call))


replay_commands.register(app)
