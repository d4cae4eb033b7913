"""Options of ``polyframe demo`` and ``polyframe run``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from polyframe.cli.guarding import guarded
from polyframe.cli.options import DemoOptions, Mode, RunOptions, Source

_DEMO_HELP = (
    "Trade a few cycles against a venue on this machine, without an account or a network.\n\n"
    "The venue speaks the real protocol over HTTP and WebSocket, and the strategy trades it through "
    "the client that the real one would have. At the end there is a table of what every cycle did."
    "\n\n"
    "Ctrl-C ends it in order and still prints the table, within 5 seconds (exit code 130; after "
    "SIGTERM 143). A second Ctrl-C ends it at once."
)
_RUN_HELP = (
    "Trade a strategy on the real venue's markets: on paper, unless real money is asked for twice.\n\n"
    "STRATEGY is a name that ships, path/to/file.py:ClassName, package.module:ClassName, or a "
    "settings.toml as polyframe new makes it; options come before what the file says. "
    "docs/run.md has the details.\n\n"
    "Ctrl-C ends it in order: open orders are cancelled, and a table tells what every cycle did "
    "(exit code 130; after SIGTERM 143). A second Ctrl-C ends it at once."
)

_FASTEST = 900.0
"""Market seconds per real second: faster, markets are over before they were found."""

_Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting; may be repeated."),
]
_Plain = Annotated[bool, typer.Option("--plain", help="Print lines instead of a live screen.")]
_Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Log what goes well, too (to standard error).")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(help=_DEMO_HELP)(demo)
    app.command(help=_RUN_HELP)(run)


def check_speed(speed: float) -> float:
    """Refuse what is no speed.

    Raises:
        typer.BadParameter: It is not above 0, or has no end.
    """
    if not (math.isfinite(speed) and speed > 0):
        msg = f"expected a number above 0, got {speed:g}"
        raise typer.BadParameter(msg)
    return speed


def _check_demo_speed(speed: float) -> float:
    if check_speed(speed) > _FASTEST:
        msg = f"expected at most {_FASTEST:g}, a cycle of 15 minutes in a second; got {speed:g}"
        raise typer.BadParameter(msg)
    return speed


def demo(
    *,
    cycles: Annotated[int, typer.Option(min=1, help="Markets to live through.")] = 4,
    speed: Annotated[
        float,
        typer.Option(
            callback=_check_demo_speed,
            help="Market seconds per real second; at 60 a cycle of 15 minutes takes 15 seconds.",
        ),
    ] = 60.0,
    strategy: Annotated[
        str,
        typer.Option(
            help="One that ships (arbitrage, datarecorder, grid, marketmaker, momentum, pairlock, "
            "template, threshold), or your own: path/to/file.py:ClassName or "
            "package.module:ClassName."
        ),
    ] = "threshold",
    setting: _Settings = None,
    source: Annotated[
        Source,
        typer.Option(
            help="Order books: recorded ones of 18 real markets (package resolvedkit), "
            "or made up from --seed, without end."
        ),
    ] = Source.REAL,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic order books.")] = 1,
    plain: _Plain = False,
    verbose: _Verbose = False,
) -> None:
    """Trade a few cycles against a venue on this machine, without an account or a network."""

    def call() -> int:
        from polyframe.cli.demo import run_demo

        settings = tuple(setting or ())
        return run_demo(
            DemoOptions(cycles, speed, strategy, settings, source, seed, plain, verbose)
        )

    raise typer.Exit(guarded("demo", call))


def run(
    strategy: Annotated[
        str,
        typer.Argument(
            metavar="STRATEGY", help="For example threshold, mine.py:Mine or settings.toml."
        ),
    ],
    *,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", help="Series; may be repeated. \\[default: btc-updown-15m]"),
    ] = None,
    setting: _Settings = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A limit, for example max_run_loss=50 (docs/risk.md); may be repeated.",
        ),
    ] = None,
    cycles: Annotated[
        int | None,
        typer.Option(min=1, help="Markets of each series to live through. \\[default: all]"),
    ] = None,
    cash: Annotated[str, typer.Option(help="USD of a new paper account. \\[default: 1000]")] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps ledger, paper account and snapshots: the next start goes on. "
            "\\[default: nothing is kept]"
        ),
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="File of the ledger, if not in the folder of --data.")
    ] = None,
    venue: Annotated[
        str, typer.Option(help="URL of a venue on this machine in place of the real one.")
    ] = "",
    mode: Annotated[
        Mode | None,
        typer.Option(help="live is real money, and needs --confirm. \\[default: paper]"),
    ] = None,
    confirm: Annotated[
        str, typer.Option(metavar="SENTENCE", help="Whose real money it is (docs/live.md).")
    ] = "",
    plain: _Plain = False,
    verbose: _Verbose = False,
) -> None:
    """Trade a strategy on the real venue's markets: on paper, unless real money is asked for."""

    def call() -> int:
        from polyframe.cli.run import run_run

        options = RunOptions(
            strategy=strategy,
            series=tuple(on or ()),
            settings=tuple(setting or ()),
            limits=tuple(limit or ()),
            cycles=cycles,
            cash=cash,
            data=data,
            ledger=ledger,
            venue=venue,
            mode=mode,
            confirm=confirm,
            plain=plain,
            verbose=verbose,
        )
        return run_run(options)

    raise typer.Exit(guarded("run", call))
