"""A program that sweeps a strategy of its own, to be killed in the middle.

It stops for ever when HOLD tasks are done, or its worker is killed once, which leaves the file MARK.

::

    python sweep_child.py FOLDER own|dask MARK [HOLD]
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
import time
from pathlib import Path

from attrs import define

from polyframe import SweepResult, grid, sweep
from polyframe.backtest.progress import Progress
from polyframe.strategy import Strategy
from tests.backtest.kit import wandering


@define
class Own(Strategy):
    """Is defined in the script itself, and kills its worker once.

    Attributes:
        number: The victim is number 2.
        mark: A file that says that it is done; ``""`` for no murder.
    """

    number: int = 0
    mark: str = ""

    async def on_cycle_start(self) -> None:
        self.kill()

    def kill(self) -> None:
        if self.number == 2 and self.mark and not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@define
class Tell:
    """Prints how far it is.

    Attributes:
        hold: How many are done when it goes no further; 0 for never.
    """

    hold: int = 0

    def __call__(self, progress: Progress) -> None:
        """Print it."""
        say(f"{progress.done}/{progress.total} resumed {progress.resumed}")
        if self.hold and progress.done == self.hold:
            time.sleep(1_000)


def run(folder: str, on: str, mark: str, hold: int) -> SweepResult:
    """Sweep on processes of this machine, or on a cluster of Dask's with two workers."""
    variants, data = grid(number=range(8)), wandering(1, cycles=1, rows=50)
    strategy = Own(mark=mark)
    if on == "own":
        return sweep(strategy, variants, data=data, workers=2, folder=folder, progress=Tell(hold))
    from distributed import Client, LocalCluster

    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            local_directory=folder,
        ) as cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        return sweep(
            strategy,
            variants,
            data=data,
            executor=client.get_executor(pure=False),
            folder=folder,
            progress=Tell(hold),
        )


if __name__ == "__main__":
    found = run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if sys.argv[4:] else 0)
    say("table " + hashlib.sha256(found.csv().encode()).hexdigest())
