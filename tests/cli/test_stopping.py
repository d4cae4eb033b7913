"""Signals and processes: who is meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.command import LIMIT, environment


def run(program: str, limit: float = LIMIT) -> subprocess.CompletedProcess[str]:
    """Run a program, for so many seconds at most."""
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=limit,
        env=environment(),
        check=False,
    )


FORKED = """
import os, signal, time
from polyframe.cli.stopping import Stopper
stopper = Stopper(grace=30.0)
stopper.last_words = lambda: print("the report")
stopper.install()
there, here = os.pipe()
worker = os.fork()
if not worker:
    os.write(here, b".")
    for _ in range(600):  # a signal just before one long sleep would be seen after it
        time.sleep(0.1)
os.read(there, 1)
os.kill(worker, signal.SIGTERM)
_, status = os.waitpid(worker, 0)
print(os.waitstatus_to_exitcode(status), stopper.signal)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_worker_that_was_forked_ends_at_once_and_reports_nothing() -> None:
    """It has the handlers of the program, and a pool that ends its workers does not wait for them."""
    done = run(FORKED, LIMIT / 3)  # less than the grace period and the worker's sleep
    assert done.stdout.split() == [str(128 + signal.SIGTERM), "None"], done.stderr


SESSION_ENDS = """
import os, signal
from polyframe.cli.stopping import Stopper
stopper = Stopper(grace=30.0)
stopper.install()
for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
    os.kill(os.getpid(), number)
print("goes on", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("no more", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal on this system")
def test_a_session_that_ends_asks_for_an_orderly_end() -> None:
    """Its terminal goes, then its processes are told to: orders have to be cancelled in between."""
    done = run(SESSION_ENDS)
    assert "goes on\n" == done.stdout, done.stderr
    assert 128 + signal.SIGTERM == done.returncode
