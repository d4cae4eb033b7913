"""Programs that people get from us, run as they would run them.

`POLYFRAME_CLEAN_PYTHON` names the interpreter of an environment in which the built wheel is installed
(``make wheel``); by default they run here, from the source.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.cli.command import environment

CLEAN = os.environ.get("POLYFRAME_CLEAN_PYTHON", "")
PYTHON = CLEAN or sys.executable

LIMIT = 240.0
"""Real seconds after which a program that does not end is a failure, also on a busy machine."""

AT_ONCE = 3
"""Programs that run side by side: most of their time they wait."""

LATE = re.compile(
    r"\[paper\] (?:\S+: (?:the next market is not there yet|no market came for)"
    r"|the event loop |the whole process stood still).*\n"
)
"""What is logged where the machine was too busy to open the next market in time, or to go on at all."""

Done = subprocess.CompletedProcess[str]


def surroundings(**changes: str) -> dict[str, str]:
    """Return the variables of a program: no keys of a wallet, and our source only if it runs from it."""
    found = {k: v for k, v in environment().items() if not k.startswith("POLYMARKET_")}
    if CLEAN:
        found.pop("PYTHONPATH", None)
    return found | changes


def run(arguments: Sequence[str], folder: Path, **changes: str) -> Done:
    """Run Python with `arguments` in `folder`, every warning being an error."""
    return subprocess.run(
        [PYTHON, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        cwd=folder,
        env=surroundings(**changes),
        stdin=subprocess.DEVNULL,
        check=False,
    )


@contextmanager
def side_by_side(
    jobs: Iterable[tuple[str, Sequence[str]]], folder: Path
) -> Iterator[dict[str, Future[Done]]]:
    """Run named jobs, some at a time, each in a folder of its own; yield their results to come."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = {}
        for name, arguments in jobs:
            own = folder / name
            own.mkdir()
            found[name] = pool.submit(run, arguments, own)
        begun = list(found.values())
        try:
            yield found
        finally:
            for future in begun:
                future.cancel()
