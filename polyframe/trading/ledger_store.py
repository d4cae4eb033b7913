"""Writes the ledger's rows to SQLite, in a thread of its own.

The event loop puts rows into a bounded queue and never waits. The thread takes what has come within
a tenth of a second and commits it as one transaction, so that a process that is killed loses the
rows of the last moment and no others.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import msgspec
from attrs import frozen

from polyframe.errors import ConfigError
from polyframe.trading.ledger_rows import (
    CancelRow,
    CycleRow,
    FillRow,
    LateRow,
    NoteRow,
    OrderRow,
    RefusalRow,
    Row,
)
from polyframe.trading.ledger_schema import complete, create, is_empty, unusable

log = logging.getLogger(__name__)

COMMIT_WITHIN = 0.25
"""Real seconds after which a row is in the file, on a disk that keeps up: what a kill can cost."""

GATHER = 0.1
"""Real seconds for which rows are gathered before they are committed together."""

QUEUE_LIMIT = 50_000
"""Rows that may wait for the disk; at about half a kilobyte each."""

BUSY_TIMEOUT = 5.0
"""Real seconds to wait for another program that writes to the same file, before trying again."""

_LOOK_AGAIN = 0.01

_INSERTS = {
    row.table: (
        f"INSERT INTO {row.table} (run, {', '.join(row.columns)}) "  # noqa: S608 - our own names
        f"VALUES (?{', ?' * len(row.columns)})"
    )
    for row in (OrderRow, FillRow, CycleRow, CancelRow, RefusalRow, LateRow, NoteRow)
}


@frozen
class _Close:
    """Asks the thread to write what is left, to end the run at `time_ms`, and to stop."""

    time_ms: int


class LedgerWriter:
    """The writing side of one run.

    All methods are for one thread, that of the event loop.

    Args:
        path: The file.

    Attributes:
        failure: Why recording stopped: ``"queue_full"`` or ``"disk"``; ``""`` while it goes on.
        lost: Rows that were accepted and are not in the file, by reason: ``"disk"``, or ``"error"``
            for a row that could not be turned into columns.
        refused: Rows that were not accepted, because recording had stopped.
    """

    def __init__(self, path: Path) -> None:
        self.failure = ""
        self.lost: dict[str, int] = {}
        self.refused = 0
        self._accepted = self._done = 0
        self._path = path
        self._queue: queue.SimpleQueue[Row | threading.Event | _Close] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._is_abandoned = False
        self._thread: threading.Thread | None = None

    def begin(self, started_ms: int, mode: str, exchange: str) -> int:
        """Open the file, enter the run, start the thread; return the run's number.

        Raises:
            ConfigError: The file cannot be opened or written, is no ledger, or is a newer one.
        """
        opened: Future[int] = Future()
        self._thread = threading.Thread(
            target=self._main,
            args=(opened, (started_ms, mode, exchange, version())),
            name=f"ledger {self._path.name}",
            # A disk that hangs must not keep the program from ending.
            daemon=True,
        )
        self._thread.start()
        return opened.result()

    def put(self, row: Row) -> bool:
        """Hand a row to the thread; return whether it was taken."""
        if not self.failure and self._queue.qsize() >= QUEUE_LIMIT:
            self._stop("queue_full", f"{QUEUE_LIMIT} rows wait for the disk")
        if self.failure:
            self.refused += 1
            return False
        self._accepted += 1
        self._queue.put(row)
        return True

    def flush(self, timeout: float) -> bool:
        """Wait until all rows so far are committed; return whether they are."""
        done = threading.Event()
        self._queue.put(done)
        self._hurry.set()
        return done.wait(timeout) and not (self.failure or self.lost)

    def close(self, time_ms: int, timeout: float) -> int:
        """Write what is left, end the run and the thread; return how many rows were given up."""
        self._queue.put(_Close(time_ms))
        self._hurry.set()
        if self._thread is not None:
            self._thread.join(timeout)
        left = self._accepted - self._done
        if left:
            self._is_abandoned = True
            log.error("ledger %s: %d rows were not written within %g s", self._path, left, timeout)
        return left

    # ------------------------------------------------------------------ the thread

    def _main(self, opened: Future[int], run_facts: tuple[int, str, str, str]) -> None:
        try:
            connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)
            try:
                run = self._enter_run(connection, run_facts)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            opened.set_exception(unusable(self._path, error))
        except Exception as error:  # noqa: BLE001 - `begin` raises it
            opened.set_exception(error)
        else:
            opened.set_result(run)
            try:
                self._serve(connection, run)
            finally:
                connection.close()

    def _enter_run(
        self, connection: sqlite3.Connection, run_facts: tuple[int, str, str, str]
    ) -> int:
        # Two programs may make the file at once: look and make in one transaction. And look before
        # anything is changed, lest it is somebody else's database.
        connection.execute("BEGIN IMMEDIATE")
        if is_empty(connection, self._path):
            create(connection, version())
        else:
            complete(connection)
        run = connection.execute(
            "INSERT INTO runs (started_ms, mode, exchange, version) VALUES (?, ?, ?, ?)", run_facts
        ).lastrowid
        connection.execute("COMMIT")
        mode = _set_wal(connection)
        if mode != "wal":
            msg = (
                f"ledger: {self._path} cannot be read and written at once (journal mode {mode}); "
                "name a file on a local disk, or none to keep the records in memory"
            )
            raise ConfigError(msg)
        # Synced at each commit: a power cut costs no more than a kill. It is not on anybody's way.
        connection.execute("PRAGMA synchronous = FULL")
        return run or 0

    def _serve(self, connection: sqlite3.Connection, run: int) -> None:
        is_broken = False
        while True:
            rows, waiting, close = self._take()
            is_broken = is_broken or not self._write(connection, run, _merged(rows))
            if is_broken:
                self._lose("disk", len(rows))
            self._done += len(rows)
            for event in waiting:
                event.set()
            if close is not None:
                if not is_broken:
                    facts = {
                        "failure": self.failure,
                        "lost": self.refused + sum(self.lost.values()),
                    }
                    end = NoteRow(close.time_ms, None, "run_end", msgspec.json.encode(facts))
                    self._write(connection, run, [end])
                return

    def _take(self) -> tuple[list[Row], list[threading.Event], _Close | None]:
        """Wait for something, gather what follows, and return it."""
        items = [self._queue.get()]
        self._hurry.wait(GATHER)
        self._hurry.clear()
        with suppress(queue.Empty):
            while True:
                items.append(self._queue.get_nowait())
        rows: list[Row] = []
        waiting: list[threading.Event] = []
        close = None
        for item in items:
            if isinstance(item, threading.Event):
                waiting.append(item)
            elif isinstance(item, _Close):
                close = item
            else:
                rows.append(item)
        return rows, waiting, close

    def _write(self, connection: sqlite3.Connection, run: int, rows: list[Row]) -> bool:
        """Commit rows as one transaction; return whether the disk took them."""
        while rows:
            try:
                _commit(connection, run, rows)
            except Exception as error:
                if _is_busy(error) and not self._is_abandoned:
                    log.warning("ledger %s: another program holds it, waiting", self._path)
                    time.sleep(GATHER)
                    continue
                if _is_of_the_file(error):
                    self._stop("disk", str(error))
                    return False
                if len(rows) > 1:
                    # A row that makes no columns must not take the others with it.
                    return all(self._write(connection, run, [row]) for row in rows)
                log.error("ledger %s: a row is lost: %r", self._path, rows[0], exc_info=error)
                self._lose("error", 1)
            break
        return True

    def _lose(self, reason: str, rows: int) -> None:
        self.lost[reason] = self.lost.get(reason, 0) + rows

    def _stop(self, reason: str, text: str) -> None:
        if not self.failure:
            self.failure = reason
            log.critical(
                "LEDGER STOPPED, trading goes on: %s (%s). What happens from now on is not in %s",
                text,
                reason,
                self._path,
            )


def version() -> str:
    """Return the version of polyframe that is installed, ``"unknown"`` for a bare copy of it."""
    try:
        return metadata.version("polyframe")
    except metadata.PackageNotFoundError:
        return "unknown"


def _commit(connection: sqlite3.Connection, run: int, rows: Iterable[Row]) -> None:
    tables: dict[str, list[Row]] = {}
    for row in rows:
        tables.setdefault(row.table, []).append(row)
    try:
        connection.execute("BEGIN IMMEDIATE")
        for table, some in tables.items():
            # SQLite lets go of the interpreter at each row, so the event loop never waits for
            # longer than one row takes.
            connection.executemany(_INSERTS[table], ((run, *row.values()) for row in some))
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # Some errors have rolled back already.
            connection.execute("ROLLBACK")
        raise


def _merged(rows: Iterable[Row]) -> list[Row]:
    """Return the rows in order, with refusals of one text merged into the first of them."""
    merged: list[Row] = []
    refusals: dict[tuple[str, ...], RefusalRow] = {}
    for row in rows:
        if isinstance(row, RefusalRow):
            slug = "" if row.market is None else row.market.slug
            key = (slug, row.rule, row.text, row.strategy)
            first = refusals.setdefault(key, row)
            if first is not row:
                first.times += 1
                continue
        merged.append(row)
    return merged


def _is_of_the_file(error: Exception) -> bool:
    """Return whether the file is to blame, and not a value that is to be written."""
    of_a_value = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, of_a_value)


def _set_wal(connection: sqlite3.Connection) -> str:
    """Ask for a write-ahead log and return the mode that the file has then.

    SQLite does not wait for other programs here, unlike everywhere else.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_AGAIN)


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
