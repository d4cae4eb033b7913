"""Sweeps on processes and clusters, whose workers and masters are killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

import pytest

from polyframe import ConfigError, KeptRecording, grid, sweep
from polyframe.backtest.progress import Progress
from tests.backtest.kit import MODELS, Eager, Made
from tests.backtest.sweepkit import (
    SETTINGS,
    Buyer,
    InRounds,
    Killer,
    Logged,
    eager_sweep,
    forget_this,
    small,
    threads,
)
from tests.cli.command import ROOT, environment
from tests.support.sweep_child import Own

CHILD = ROOT / "tests" / "support" / "sweep_child.py"
LIMIT = 90.0
"""Real seconds after which what does not end is a failure of the test."""


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program that sweeps, in a process group of its own; all of it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def finished(*arguments: object) -> list[str]:
    """Run a program that sweeps to its end and return its lines."""
    with child(*arguments) as process:
        out, errors = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, errors
        return out.splitlines()


def wait_line(process: subprocess.Popen[str], start: str) -> None:
    """Read until a line begins with `start`."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    _, errors = process.communicate()
    raise AssertionError(f"no line {start!r}: {errors}")


def group_is_empty(group: int) -> bool:
    """Return whether no process of a group lives any more; those that nobody has buried do not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == group and fields[0] != "Z":
            return False
    return True


def test_own_processes_and_threads_make_the_same_bytes(tmp_path: Path) -> None:
    """Table, cycles and file do not tell what ran the tasks; a process stays with what it has read."""
    rows, log = small().rows, tmp_path / "log"
    on_threads = eager_sweep(Made(rows), chunk=1)
    data = Logged(rows, str(log))
    on_processes = sweep(Eager, SETTINGS, data=data, workers=2, models=MODELS, chunk=1)
    assert on_processes.encoded() == on_threads.encoded()
    assert on_processes.csv() == on_threads.csv()
    assert on_processes.cycles().equals(on_threads.cycles())
    # Three markets for two processes: the one that has nothing left helps with one of them.
    assert 3 <= len(log.read_text().splitlines()) <= 4


def test_a_kept_recording_travels_as_what_it_was_made_of(tmp_path: Path) -> None:
    """Each process reads for itself, and keeps over chunks and rounds what it has read."""
    rows, log = small().rows, tmp_path / "log"
    on_threads = eager_sweep(Made(rows), chunk=1)
    data = KeptRecording(Logged(rows, str(log)))
    for entry in data.markets():
        assert list(data.stretches(entry))
    assert len(log.read_text().splitlines()) == 3
    rounds = InRounds([SETTINGS[:2], SETTINGS[2:]])
    on_processes = sweep(Eager, rounds, data=data, workers=1, models=MODELS, chunk=1)
    assert on_processes.encoded() == on_threads.encoded()
    assert len(log.read_text().splitlines()) == 6


def test_a_worker_that_is_killed_costs_no_result(tmp_path: Path) -> None:
    """Tasks that were lost with it are run again, and the table is what it would have been."""
    mark = tmp_path / "mark"
    variants, data = grid(number=range(6)), small(1)
    done = sweep(Killer(mark=str(mark)), variants, data=data, workers=2)
    assert mark.exists()
    assert not done.failures
    with threads() as executor:
        calm = sweep(Killer(mark=str(mark)), variants, data=data, executor=executor)
    assert calm.encoded() == done.encoded()


def test_a_task_that_kills_each_worker_fails_alone(tmp_path: Path) -> None:
    """It is found out, nobody else pays for it, and nothing of it is kept: the next run tries it again."""
    variants, data = grid(number=range(4)), small(1)
    told: list[Progress] = []
    found = sweep(Killer, variants, data=data, workers=2, folder=tmp_path, progress=told.append)
    assert [each.number for each in found.failures] == [2]
    failure = found.variants[2].failure
    assert failure is not None
    assert failure.kind == "WorkerDied"
    assert told[-1] == Progress(4, 4, failed=1)
    assert len(list((tmp_path / "tasks").iterdir())) == 3


def test_workers_that_cannot_begin_end_the_sweep(tmp_path: Path) -> None:
    """A script that sweeps when it is imported is told what it lacks."""
    script = tmp_path / "script.py"
    script.write_text(
        "from polyframe import sweep\n"
        "from tests.backtest.sweepkit import Eager, small\n"
        "sweep(Eager, [{}], data=small(1), workers=1)\n"
    )
    with child(script) as process:
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert "ConfigError: executor: workers die before they can begin" in errors


def test_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """No worker stays behind, finished tasks are not run again, and the table is the same."""
    with child(CHILD, tmp_path / "run", "own", "", 3) as process:
        wait_line(process, "3/8")
        process.kill()
        assert process.wait(LIMIT) == -signal.SIGKILL
        deadline = time.monotonic() + 25
        while not group_is_empty(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert len(list((tmp_path / "run" / "tasks").glob("*.json"))) == 3
    lines = finished(CHILD, tmp_path / "run", "own", "")
    assert "8/8 resumed 3" in lines
    assert lines[-1] == _whole()


def test_dask_makes_the_same_table_although_a_worker_is_killed(tmp_path: Path) -> None:
    """Two processes of a local cluster, one of which is killed in the middle."""
    mark = tmp_path / "mark"
    lines = finished(CHILD, tmp_path / "run", "dask", mark)
    assert mark.exists()
    assert "8/8 resumed 0" in lines
    assert lines[-1] == _whole()


def _whole() -> str:
    """Return what the program prints of the whole table."""
    with threads() as executor:
        variants, data = grid(number=range(8)), small(1)
        found = sweep(Own, variants, data=data, executor=executor)
    return "table " + hashlib.sha256(found.csv().encode()).hexdigest()


@pytest.mark.parametrize("has_cloudpickle", [True, False])
def test_a_class_without_a_file_travels_as_a_whole_or_not_at_all(*, has_cloudpickle: bool) -> None:
    """As in a notebook: with cloudpickle it runs, without it an error says what to do."""
    program = (
        "import sys\n"
        f"if not {has_cloudpickle}: sys.modules['cloudpickle'] = None\n"
        "from attrs import define\n"
        "from polyframe import Strategy, grid, sweep\n"
        "from tests.backtest.sweepkit import small\n"
        "@define\n"
        "class Mine(Strategy):\n"
        "    number: int = 0\n"
        "data = small(1)\n"
        "print(sweep(Mine, grid(number=[1, 2]), data=data, workers=1).csv())\n"
    )
    with child("-c", program) as process:
        out, errors = process.communicate(timeout=LIMIT)
    if has_cloudpickle:
        assert process.returncode == 0, errors
        assert "1,2,done" in out
    else:
        assert "Mine, because it is defined in a notebook or an interpreter" in errors


def test_a_worker_that_cannot_load_the_strategy_ends_the_sweep(tmp_path: Path) -> None:
    """It would be the same for each task, so it is no failure of one, and nothing of it is kept."""
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=context, initializer=forget_this) as executor,
        pytest.raises(ConfigError, match=r"a worker cannot load the strategy.*ModuleNotFoundError"),
    ):
        sweep(
            Buyer,
            grid(limit=[Decimal("0.5")]),
            data=small(1),
            executor=executor,
            folder=tmp_path,
        )
    assert not list((tmp_path / "tasks").iterdir())


def test_somebody_elses_broken_executor_ends_the_sweep(tmp_path: Path) -> None:
    """It is not ours to make anew; what was done is in the folder."""
    variants, data = grid(number=range(4)), small(1)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor,
        pytest.raises(BrokenProcessPool),
    ):
        sweep(Killer, variants, data=data, executor=executor, folder=tmp_path)
    assert len(list((tmp_path / "tasks").iterdir())) == 2
