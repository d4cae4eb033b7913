"""A program that sweeps a strategy of its own, to be killed in the middle.

::

    python sweep_child.py FOLDER own|dask MARK SECONDS
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
from polyframe.backtest.sweeps.progress import Progress
from polyframe.strategy import Strategy
from tests.backtest.kit import wandering


@define
class Slow(Strategy):
    """Is defined in the script itself; blocks for a while in each cycle, and kills its worker.

    Attributes:
        number: The victim is number 2.
        mark: A file that says that it is done; ``""`` for no murder.
        seconds: How long each cycle blocks.
    """

    number: int = 0
    mark: str = ""
    seconds: float = 0.0

    async def on_cycle_start(self) -> None:
        self.block()

    def block(self) -> None:
        time.sleep(self.seconds)
        if self.number == 2 and self.mark and not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell(progress: Progress) -> None:
    """Print how far it is."""
    say(f"{progress.done}/{progress.total} resumed {progress.resumed}")


def run(folder: str, on: str, mark: str, seconds: float) -> SweepResult:
    """Sweep on processes of this machine, or on a cluster of Dask's with two workers."""
    variants, data = grid(number=range(8)), wandering(1, cycles=1, rows=50)
    strategy = Slow(mark=mark, seconds=seconds)
    if on == "own":
        return sweep(strategy, variants, data=data, workers=2, folder=folder, progress=tell)
    from distributed import Client, LocalCluster

    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
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
            progress=tell,
        )


if __name__ == "__main__":
    found = run(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
    say("table " + hashlib.sha256(found.csv().encode()).hexdigest())
