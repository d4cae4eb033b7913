"""Where a run is shown: standard output as a live screen or as lines, and the log on standard error."""

from __future__ import annotations

import logging
import os
import signal
import sys

from rich.console import Console
from rich.logging import RichHandler
from typing_extensions import override

from polyframe.cli.screen import LiveView, PlainView, View
from polyframe.cli.stopping import Stopper

PLAIN_WIDTH = 100


class OutputConsole(Console):
    """Standard output. If its reader goes away (``polyframe demo | head``), the run ends in order.

    Args:
        stopper: Asked to stop then.
        plain: No control codes, whatever standard output is.
    """

    def __init__(self, stopper: Stopper, *, plain: bool = False) -> None:
        super().__init__(
            highlight=False,
            emoji=False,
            markup=False,
            force_terminal=False if plain else None,
            color_system=None if plain else "auto",
            width=PLAIN_WIDTH if plain else None,
        )
        self._stopper = stopper

    @override
    def on_broken_pipe(self) -> None:
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        # Windows has no such signal.
        self._stopper.stop(getattr(signal, "SIGPIPE", signal.SIGTERM))


def open_console(
    stopper: Stopper, *, plain: bool, verbose: bool, dated: bool = False
) -> tuple[OutputConsole, View]:
    """Return standard output and what shows a run on it; set up the log.

    Args:
        stopper: As for `OutputConsole`.
        plain: Lines, even on a terminal.
        verbose: Log what goes well, too.
        dated: Lines and log say the day as well.
    """
    console = OutputConsole(stopper)
    live = console.is_terminal and not console.is_dumb_terminal and not plain
    if not live:
        console = OutputConsole(stopper, plain=True)
    set_up_logging(verbose=verbose, console=console if live else None, dated=dated)
    return console, LiveView(console) if live else PlainView(console, dated=dated)


def set_up_logging(*, verbose: bool, console: Console | None, dated: bool = False) -> None:
    """Log to standard error, through the live screen's `console` if both share a terminal."""
    handler: logging.Handler
    if console is not None and sys.stderr.isatty():
        handler = RichHandler(console=console, show_path=False, rich_tracebacks=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        time = "%(asctime)s " if dated else ""
        handler.setFormatter(logging.Formatter(f"{time}%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    # The transports log every request at INFO: that is theirs, not what -v is for.
    logging.getLogger("polyframe").setLevel(logging.INFO if verbose else logging.WARNING)
