"""For every way in which a ledger can lose rows: something that makes it happen."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.trading import ledger_store
from polyframe.trading.ledger import Ledger
from tests.support.fake import START, make_market


def begun(
    path: Path, counters: Counters | None = None, clock: VirtualClock | None = None
) -> Ledger:
    """Return a ledger that has begun a run in `path`."""
    ledger = Ledger(path)
    ledger.begin(
        clock=clock or VirtualClock(START),
        counters=counters or Counters(),
        exchange="fake",
        is_live=False,
    )
    return ledger


@contextmanager
def small_disk(pages: int) -> Iterator[None]:
    """Let SQLite find the disk full once a file has this many pages of 4 KiB."""
    connect = sqlite3.connect

    def connect_limited(*args: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **more)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with patch.object(sqlite3, "connect", connect_limited):
        yield


@contextmanager
def held_by_another_program(path: Path) -> Iterator[sqlite3.Connection]:
    """Keep others from writing to the file; yield the connection that does so."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def _in_a_folder(act: Callable[[Path, Counters], None]) -> Counters:
    counters = Counters()
    with TemporaryDirectory() as folder:
        act(Path(folder) / "trades.sqlite", counters)
    return counters


def _queue_full(path: Path, counters: Counters) -> None:
    ledger = begun(path, counters)
    with patch.object(ledger_store, "QUEUE_LIMIT", 0):
        ledger.note("test", {})
    ledger.close()


def _disk(path: Path, counters: Counters) -> None:
    with small_disk(60):
        ledger = begun(path, counters)
        ledger.note("test", "x" * 1_000_000)
        ledger.close()


def _error(path: Path, counters: Counters) -> None:
    ledger = begun(path, counters)
    ledger.changed(make_market(), ["a mistake"])  # type: ignore[list-item]
    ledger.close()


def _closed(path: Path, counters: Counters) -> None:
    ledger = begun(path, counters)
    ledger.close()
    ledger.note("test", {})


def _deadline(path: Path, counters: Counters) -> None:
    with patch.object(ledger_store, "BUSY_TIMEOUT", 0.05):
        ledger = begun(path, counters)
        writer = ledger._writer
        assert writer is not None
        assert writer._thread is not None
        with held_by_another_program(path):
            ledger.note("test", {})
            ledger.close(timeout=0.01)
            writer._thread.join()


LEDGER: dict[tuple[Count, str], Callable[[], Counters]] = {
    (Count.LEDGER_LOST, "queue_full"): partial(_in_a_folder, _queue_full),
    (Count.LEDGER_LOST, "disk"): partial(_in_a_folder, _disk),
    (Count.LEDGER_LOST, "error"): partial(_in_a_folder, _error),
    (Count.LEDGER_LOST, "closed"): partial(_in_a_folder, _closed),
    (Count.LEDGER_LOST, "deadline"): partial(_in_a_folder, _deadline),
}
