"""Options of ``polyframe backtest`` and ``polyframe sweep``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyframe.cli.guarding import guarded

if TYPE_CHECKING:
    from polyframe.cli.replay import ReplayOptions

_Strategy = Annotated[
    str,
    typer.Argument(
        metavar="STRATEGY",
        help="A name that ships, path/to/file.py:ClassName or package.module:ClassName.",
    ),
]
_Data = Annotated[
    str,
    typer.Option(
        help="A folder or URL with recordings, or real: 18 recorded markets (package resolvedkit)."
    ),
]
_Series = Annotated[
    list[str] | None, typer.Option(help="Series of the data; may be repeated. \\[default: all]")
]
_Cash = Annotated[str, typer.Option(help="USD of the account at the start. \\[default: 10000]")]
_Seed = Annotated[str, typer.Option(help="Of what the fill models leave to chance.")]

_BACKTEST_HELP = (
    "Run a strategy on recorded markets and print every trade and what came of it.\n\n"
    "docs/backtest.md says what the figures mean and how far to believe them. "
    "Exit code 130 after Ctrl-C."
)
_SWEEP_HELP = (
    "Run a strategy with many settings on the same recorded markets.\n\n"
    "Every combination of the values is tried, on all cores. With --folder, finished tasks are kept: "
    "the same command goes on after Ctrl-C (exit code 130) or a kill. Exit code 1: each variant "
    "failed. docs/sweep.md has the details."
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(help=_BACKTEST_HELP)(backtest)
    app.command(help=_SWEEP_HELP)(sweep)


def backtest(
    strategy: _Strategy,
    *,
    data: _Data,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting; may be repeated."),
    ] = None,
    series: _Series = None,
    cash: _Cash = "",
    seed: _Seed = "0",
    folder: Annotated[
        Path | None, typer.Option(help="Write the report and its tables into this folder.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one page.")] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show what the strategy logs (on standard error)."),
    ] = False,
) -> None:
    """Run a strategy on recorded markets."""

    def call() -> int:
        from polyframe.cli.replay import run_backtest_command

        options = _replay(strategy, data, setting, series, cash, seed)
        return run_backtest_command(options, folder=folder, html=html, verbose=verbose)

    raise typer.Exit(guarded("backtest", call))


def sweep(
    strategy: _Strategy,
    *,
    data: _Data,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE,VALUE…", help="Values of a setting; may be repeated."
        ),
    ] = None,
    series: _Series = None,
    cash: _Cash = "",
    seed: _Seed = "0",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. \\[default: one for each core]")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Keep results in this folder, and go on from there.")
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Markets a task. \\[default: all]")
    ] = None,
    by: Annotated[str, typer.Option(help="The figure to sort by.")] = "profit",
    csv: Annotated[Path | None, typer.Option(help="Write all rows as CSV.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed in an earlier run.")
    ] = False,
) -> None:
    """Run a strategy with many settings on the same recorded markets."""

    def call() -> int:
        from polyframe.cli.replay import SweepCommand, run_sweep_command

        options = _replay(strategy, data, setting, series, cash, seed)
        command = SweepCommand(
            workers=workers,
            folder=folder,
            chunk=chunk,
            by=by,
            csv=csv,
            retry_failed=retry_failed,
        )
        return run_sweep_command(options, command)

    kept = f"; what was finished is in {folder}" if folder else ""
    raise typer.Exit(guarded("sweep", call, kept=kept))


def _replay(
    strategy: str,
    data: str,
    settings: Sequence[str] | None,
    series: Sequence[str] | None,
    cash: str,
    seed: str,
) -> ReplayOptions:
    """Return what both commands are told."""
    from polyframe.cli.replay import ReplayOptions

    return ReplayOptions(
        strategy=strategy,
        data=data,
        settings=tuple(settings or ()),
        series=tuple(series or ()),
        cash=cash,
        seed=seed,
    )
