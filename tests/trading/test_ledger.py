"""The ledger's file: how it is made, refused, filled in time, and what happens when it cannot be."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from attrs import evolve, fields

from polyframe.clock import VirtualClock, WallClock
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.errors import ConfigError, ExchangeUnavailable
from polyframe.model.events import OrderChanged
from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.trade import Fill
from polyframe.trading import ledger_schema, ledger_store
from polyframe.trading.ledger import CLOSE_TIMEOUT, CycleRecord, CycleStatus, Ledger
from polyframe.trading.ledger_rows import CycleRow, FillRow, OrderRow
from polyframe.trading.ledger_schema import TABLES
from polyframe.trading.ledger_store import COMMIT_WITHIN
from tests.cli.command import environment
from tests.support.fake import START, FakeExchange, make_market
from tests.support.produce_ledger import begun, held_by_another_program, small_disk

MARKET = make_market()
ORDER = Order(
    client_id="c1",
    venue_id="v1",
    generation=START,
    slug=MARKET.slug,
    token=MARKET.up_token,
    strategy="me",
    outcome=Outcome.UP,
    side=Side.BUY,
    price=Decimal("0.4"),
    size=Decimal(10),
    status=OrderStatus.SUBMITTING,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the ledger is to be."""
    return tmp_path / "trades.sqlite"


def change(number: int = 1, **changes: Any) -> OrderChanged:
    """Return a change of an order."""
    return OrderChanged(evolve(ORDER, client_id=f"c{number}", **changes), None, number)


def record(number: int, profit: str | None = None, **changes: Any) -> CycleRecord:
    """Return a record of the cycle that begins `number` quarters of an hour after `START`."""
    market = make_market(start=START + 900 * number)
    values: dict[str, Any] = {
        "series": str(market.series),
        "slug": market.slug,
        "generation": market.generation,
        "status": CycleStatus.RESOLVED if profit else CycleStatus.OPEN,
        "orders": 2,
        "fills": 1,
        "volume": Decimal("4.1"),
        "fees": Decimal("0.01"),
        "cash_flow": Decimal("-4.11"),
        "payout": Decimal(10),
        "winner": Outcome.UP if profit else None,
        "profit": None if profit is None else Decimal(profit),
        "refusals": {"tick": 3, "venue:not_enough_balance": 1},
    }
    return CycleRecord(**values | changes)


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall()
            for (name,) in names
        }


# ------------------------------------------------------------------ memory


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    """The ledger of a bare environment touches no disk and brings no sqlite3 with it."""
    program = """
import asyncio, sys
from polyframe import Environment, VirtualClock
from tests.support.fake import FakeExchange, make_market
async def main():
    async with Environment(FakeExchange()) as env:
        env.ledger.note("test", {})
        env.ledger.refused(make_market(), "tick", "text")
        assert env.ledger.flush()
        assert (env.ledger.path, env.ledger.run) == (None, None)
VirtualClock().run(main())
assert "sqlite3" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_is_empty_is_the_one_that_is_used(path: Path) -> None:
    """An environment takes the ledger that it is given, though a ledger without records is false."""
    ledger = Ledger(path)
    assert not ledger
    assert Environment(FakeExchange(), ledger=ledger).ledger is ledger


# ------------------------------------------------------------------ the file


def test_a_wrong_place_is_refused_at_once(tmp_path: Path) -> None:
    """A folder, or a file in a folder that is not there, is refused with the fix, before any run."""
    with pytest.raises(ConfigError, match="name a file in it"):
        Ledger(tmp_path)
    with pytest.raises(ConfigError, match="does not exist; make it"):
        Ledger(tmp_path / "not" / "here.sqlite")


def test_the_place_is_looked_at_again_when_the_run_begins(tmp_path: Path) -> None:
    """A folder that has gone meanwhile is named by the same error."""
    folder = tmp_path / "folder"
    folder.mkdir()
    ledger = Ledger(folder / "trades.sqlite")
    folder.rmdir()
    with pytest.raises(ConfigError, match="does not exist; make it"):
        ledger.begin(clock=VirtualClock(START), counters=Counters(), exchange="fake", is_live=False)


def test_the_run_is_entered(path: Path) -> None:
    """A run has a number, a start, an end, a mode, a venue and the version of polyframe."""
    clock = VirtualClock(START)
    ledger = begun(path, clock=clock)
    assert ledger.run == 1
    with Ledger.open(path) as reader:
        assert [entry.ended_ms for entry in reader.runs()] == [None]
    clock._advance(2.5)
    ledger.close()
    ledger.close()
    assert ledger.run is None
    with Ledger.open(path) as reader:
        (run,) = reader.runs()
    assert (run.started_ms, run.ended_ms) == (START * 1000, START * 1000 + 2500)
    assert (run.mode, run.exchange, run.version) == ("paper", "fake", metadata.version("polyframe"))
    assert (run.failure, run.lost) == ("", 0)


def test_a_copy_without_metadata_has_an_unknown_version() -> None:
    """A polyframe that was not installed still keeps a ledger."""
    with patch.object(metadata, "version", side_effect=metadata.PackageNotFoundError):
        assert ledger_store.version() == "unknown"


def test_a_live_run_says_so(path: Path) -> None:
    """Runs with real money are told from the others."""

    class Live(FakeExchange):
        is_live = True

    async def main() -> None:
        async with Environment(Live(), clock=clock, ledger=Ledger(path)):
            pass

    clock = VirtualClock(START)
    clock.run(main())
    with Ledger.open(path) as reader:
        assert [run.mode for run in reader.runs()] == ["live"]


def test_the_environment_closes_the_ledger_however_it_ends(path: Path) -> None:
    """The run has an end also when the venue fails at the opening or at the close."""

    class Fails(FakeExchange):
        def __init__(self, *, at_open: bool) -> None:
            super().__init__()
            self.at_open = at_open

        async def fetch_balance(self) -> Decimal:
            if self.at_open:
                msg = "no connection"
                raise ExchangeUnavailable(msg)
            return Decimal(1)

        async def close(self) -> None:
            msg = "cannot close"
            raise ExchangeUnavailable(msg)

    async def main(clock: VirtualClock, at_open: bool) -> None:
        async with Environment(Fails(at_open=at_open), clock=clock, ledger=Ledger(path)):
            pass

    for at_open in (True, False):
        clock = VirtualClock(START)
        with pytest.raises(ExchangeUnavailable):
            clock.run(main(clock, at_open))
    with Ledger.open(path) as reader:
        assert [run.ended_ms for run in reader.runs()] == [START * 1000] * 2


def test_one_ledger_serves_one_environment_at_a_time(path: Path) -> None:
    """A ledger that is open is refused to a second environment; after the close it begins anew."""
    ledger = begun(path)
    with pytest.raises(ConfigError, match="give each its own Ledger"):
        ledger.begin(clock=VirtualClock(START), counters=Counters(), exchange="fake", is_live=False)
    ledger.close()
    ledger.begin(clock=VirtualClock(START), counters=Counters(), exchange="fake", is_live=False)
    assert ledger.run == 2
    ledger.close()


def test_runs_follow_each_other_in_one_file(path: Path) -> None:
    """A second run adds rows of its own and changes none of the first."""
    ledger = begun(path)
    ledger.changed(MARKET, [change()])
    ledger.put(record(0))
    ledger.put(record(0, "5.89"))
    ledger.close()
    before = tables(path)
    second = begun(path)
    assert second.run == 2
    second.changed(MARKET, [change(status=OrderStatus.LIVE)])
    second.put(record(0, "1"))
    second.close()
    after = tables(path)
    for name, rows in before.items():
        assert after[name][: len(rows)] == rows
    with Ledger.open(path) as reader:
        assert [(e.run, e.record.profit) for e in reader.cycles()] == [
            (1, Decimal("5.89")),
            (2, Decimal(1)),
        ]
        assert [o.status for o in reader.orders(MARKET.slug)] == [OrderStatus.LIVE]
        assert [o.status for o in reader.orders(MARKET.slug, run=1)] == [OrderStatus.SUBMITTING]


def test_two_programs_write_to_one_file_at_once(path: Path) -> None:
    """Runs that overlap get numbers of their own and lose nothing, even if both make the file."""
    ledgers = [Ledger(path) for _ in range(4)]

    def trade(ledger: Ledger) -> None:
        ledger.begin(clock=WallClock(), counters=Counters(), exchange="fake", is_live=False)
        for number in range(500):
            ledger.changed(MARKET, [change(number)])
        ledger.close(timeout=20)

    threads = [threading.Thread(target=trade, args=(ledger,)) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Ledger.open(path) as reader:
        assert [run.run for run in reader.runs()] == [1, 2, 3, 4]
        for run in (1, 2, 3, 4):
            numbers = [e.change.sequence for e in reader.order_changes(MARKET.slug, run=run)]
            assert numbers == list(range(500))


def test_many_programs_make_the_file_at_once(tmp_path: Path) -> None:
    """None is turned away because another one is just setting the file up."""
    for attempt in range(20):
        path = tmp_path / f"{attempt}.sqlite"
        begun_by: list[int] = []

        def begin(path: Path = path, begun_by: list[int] = begun_by) -> None:
            ledger = Ledger(path)
            ledger.begin(clock=WallClock(), counters=Counters(), exchange="fake", is_live=False)
            ledger.close(timeout=20)
            begun_by.append(threading.get_ident())

        threads = [threading.Thread(target=begin) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(begun_by) == 6


def _not_a_database(path: Path) -> None:
    path.write_text("These are my notes, not a database." * 50)


def _of_somebody_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def _with_version(path: Path, version: int | None) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        ledger_schema.create(connection, "9.9")
        connection.execute("DELETE FROM polyframe_ledger")
        if version is not None:
            connection.execute("INSERT INTO polyframe_ledger VALUES (?, '9.9')", (version,))


@pytest.mark.parametrize("version", [None, 0])
def test_a_file_without_a_version_that_we_know_is_refused(path: Path, version: int | None) -> None:
    """What looks like a ledger but says no version, or one that never was, is somebody else's."""
    _with_version(path, version)
    with pytest.raises(ConfigError, match="is no ledger of polyframe"):
        begun(path)


@pytest.mark.parametrize("make", [_not_a_database, _of_somebody_else])
def test_a_foreign_file_is_refused_and_left_alone(path: Path, make: Any) -> None:
    """A file of somebody else's is named in the error and not changed by a byte."""
    make(path)
    before = path.read_bytes()
    with pytest.raises(
        ConfigError, match=r"trades\.sqlite is no ledger of polyframe; name another"
    ):
        begun(path)
    with pytest.raises(ConfigError, match="is no ledger of polyframe"):
        Ledger.open(path)
    assert path.read_bytes() == before


def test_a_newer_file_is_refused(path: Path) -> None:
    """A file of a later version is named, with who made it and what to do, and let go of at once."""
    _with_version(path, 2)
    text = (
        r"was made by polyframe 9\.9 with tables of version 2.*knows version 1; upgrade polyframe"
    )
    with pytest.raises(ConfigError, match=text) as refused:
        begun(path)
    with pytest.raises(ConfigError, match=text) as unread:
        Ledger.open(path)
    # The errors are kept, and with them all that they hold: it must not be an open file.
    assert refused.value is not unread.value
    with held_by_another_program(path) as connection:
        connection.execute("UPDATE polyframe_ledger SET version = 1")


def test_a_file_that_cannot_be_written_is_refused(path: Path) -> None:
    """What SQLite says is passed on, with the name of the file."""
    with (
        patch.object(ledger_store, "BUSY_TIMEOUT", 0.01),
        held_by_another_program(path),
        pytest.raises(ConfigError, match=r"trades\.sqlite cannot be opened: database is locked"),
    ):
        begun(path)


def test_a_file_that_takes_no_readers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's name for memory is no file; the error says what to do instead."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="or none to keep the records in memory"):
        begun(Path(":memory:"))


def test_a_defect_at_the_beginning_reaches_the_caller(path: Path) -> None:
    """Whatever goes wrong in the thread before the run is entered is raised, and nothing hangs."""
    with (
        patch.object(ledger_store, "create", side_effect=RuntimeError("a mistake")),
        pytest.raises(RuntimeError, match="a mistake"),
    ):
        begun(path)


def test_what_is_not_there_cannot_be_read(path: Path) -> None:
    """A missing, an empty and a locked file are told apart."""
    with pytest.raises(ConfigError, match=r"there is no file .*trades\.sqlite"):
        Ledger.open(path)
    path.touch()
    with pytest.raises(ConfigError, match="is empty"):
        Ledger.open(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("CREATE TABLE polyframe_ledger (version, created_by)")
        with (
            patch.object(sqlite3, "connect", _impatient),
            pytest.raises(ConfigError, match="cannot be opened: database is locked"),
        ):
            Ledger.open(path)


_connect = sqlite3.connect


def _impatient(*args: Any, **more: Any) -> Any:
    return _connect(*args, **more | {"timeout": 0.01})


# ------------------------------------------------------------------ values


def test_every_field_has_its_column() -> None:
    """Nothing of an order, a fill or a record of a cycle is left out of the file."""
    assert {field.name for field in fields(Order)} <= set(OrderRow.columns)
    assert {field.name for field in fields(Fill)} - {"time_ms"} <= set(FillRow.columns)
    assert "match_ms" in FillRow.columns
    assert {field.name for field in fields(CycleRecord)} <= set(CycleRow.columns)


def test_amounts_come_back_exactly(path: Path) -> None:
    """No amount goes through a float: many digits, exponents and zeros return as they were."""
    amounts = ["0.1", "1E+3", "0E-12", "123456789012345678.000000000001", "-0.07"]
    ledger = begun(path)
    for number, text in enumerate(amounts):
        ledger.changed(MARKET, [change(number, filled=Decimal(text), venue_id=f"v{number}")])
    ledger.close()
    with Ledger.open(path) as reader:
        assert [o.filled for o in reader.orders(MARKET.slug)] == [Decimal(a) for a in amounts]
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT filled, typeof(filled) FROM orders").fetchall()
    assert rows[1] == ("1000", "text")


def test_records_of_cycles_come_back(path: Path) -> None:
    """A cycle's last record is read whole, with when it was written."""
    ledger = begun(path)
    for entry in (record(0), record(0, "5.89"), record(1, "-2"), record(96, "1.5")):
        ledger.put(entry)
    ledger.put(record(1, "-2"))
    ledger.put(record(0, "3", series="eth-updown-15m", slug="eth"))
    ledger.close()
    with Ledger.open(path) as reader:
        wanted = [record(0, "5.89"), record(1, "-2"), record(96, "1.5")]
        assert [e.record for e in reader.cycles(series=MARKET.series)] == wanted
        assert {e.time_ms for e in reader.cycles()} == {START * 1000}
        assert [e.record.slug for e in reader.cycles(series="eth-updown-15m")] == ["eth"]
        assert reader.cycles(mode="live") == []
        assert reader.cycles(run=2) == []
        assert len(reader.cycles(mode="paper", run=1)) == 4
        days = reader.profit_by_day()
        assert [(str(day), str(usd)) for day, usd in days.items()] == [
            ("2026-09-28", "6.89"),
            ("2026-09-29", "1.5"),
        ]
    assert len(tables(path)["cycle_changes"]) == 5


def test_notes_are_kept_as_they_were(path: Path) -> None:
    """A note is written as it is when it is given, amounts as texts; anything can be noted."""
    ledger = begun(path)
    data: dict[str, Any] = {"foreign": ["v1"], "cash": Decimal("1.10"), "status": OrderStatus.LIVE}
    ledger.note("reconciled", data, MARKET)
    data["foreign"].append("v2")
    data["self"] = data
    ledger.note("reconciled", data)
    ledger.note("words", "\ud800")
    ledger.note("thing", Path("x"))
    ledger.close()
    with Ledger.open(path) as reader:
        first, second = reader.notes("reconciled")
        assert first.data == {"foreign": ["v1"], "cash": "1.10", "status": "live"}
        assert (first.slug, second.slug) == (MARKET.slug, None)
        assert second.data.startswith("{'foreign': ['v1', 'v2']")
        assert [note.data for note in reader.notes("words")] == ["'\\ud800'"]
        assert [note.data for note in reader.notes("thing")] == ["x"]
        assert reader.notes(slug=MARKET.slug) == [first]


def test_refusals_of_one_text_share_a_row(path: Path) -> None:
    """A strategy that is refused at every price does not fill the disk, and is counted right."""
    ledger = begun(path)
    for _ in range(100):
        ledger.refused(MARKET, "tick", "0.405 is no multiple")
        ledger.refused(MARKET, "cash", "needs 4 USD")
    ledger.refused(None, "paused", "no market")
    ledger.close()
    with Ledger.open(path) as reader:
        times = {"tick": 0, "cash": 0}
        entries = reader.refusals(MARKET.slug)
        for entry in entries:
            times[entry.rule] += entry.times
        assert times == {"tick": 100, "cash": 100}
        # One pair a commit; a machine under load may commit a few times meanwhile.
        assert len(entries) < 50
    assert [row[-4:] for row in tables(path)["refusals"]][-1] == ("paused", "no market", 1, "")


def test_refusals_tell_whose_they_were(path: Path) -> None:
    """Two strategies that are refused with the same words have a row each."""
    ledger = begun(path)
    for strategy in ("one", "other", "one"):
        ledger.refused(MARKET, "tick", "0.405 is no multiple", strategy)
    ledger.close()
    with Ledger.open(path) as reader:
        times = Counter[str]()
        for entry in reader.refusals(MARKET.slug):
            times[entry.strategy] += entry.times
    assert times == {"one": 2, "other": 1}


def test_a_file_in_which_refusals_did_not_tell_whose_they_were_goes_on(path: Path) -> None:
    """What an earlier program wrote can be read, and the next run adds what is missing."""
    ledger = begun(path)
    ledger.refused(MARKET, "tick", "first")
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        # Not "DROP COLUMN", which only later versions of SQLite know; the ledger needs none of those.
        (table,) = (each for each in TABLES if each.startswith("CREATE TABLE refusals"))
        columns = "id, run, time_ms, series, slug, generation, rule, text, times"
        with connection:
            connection.execute("ALTER TABLE refusals RENAME TO later")
            connection.execute(table.replace(",\n    strategy TEXT NOT NULL DEFAULT ''", ""))
            connection.execute(f"INSERT INTO refusals SELECT {columns} FROM later")
            connection.execute("DROP TABLE later")
            assert len(connection.execute("SELECT * FROM refusals").fetchone()) == 9
    with Ledger.open(path) as reader:
        assert [entry.strategy for entry in reader.refusals(MARKET.slug)] == [""]
    ledger = begun(path)
    ledger.refused(MARKET, "tick", "second", "one")
    ledger.close()
    with Ledger.open(path) as reader:
        assert [entry.strategy for entry in reader.refusals(MARKET.slug)] == ["", "one"]


# ------------------------------------------------------------------ in time


def test_a_row_is_in_the_file_soon(path: Path) -> None:
    """Without any flush, each row can be read by another program within the promised time."""
    ledger = begun(path, clock=None)
    try:
        with Ledger.open(path) as reader:
            for number in range(5):
                since = time.monotonic()
                ledger.changed(MARKET, [change(number)])
                while len(reader.order_changes(MARKET.slug)) <= number:
                    assert time.monotonic() - since < COMMIT_WITHIN + 2.0
                    time.sleep(0.002)
                waited = time.monotonic() - since
                assert ledger_store.GATHER / 2 < waited
    finally:
        ledger.close()
    assert ledger_store.GATHER < COMMIT_WITHIN


def test_flush_does_not_wait_for_more(path: Path) -> None:
    """A flush, and a close, commit what is there at once, however long rows are gathered."""
    with patch.object(ledger_store, "GATHER", 60.0):
        ledger = begun(path)
        ledger.changed(MARKET, [change()])
        assert ledger.flush(timeout=5)
        with Ledger.open(path) as reader:
            assert len(reader.order_changes(MARKET.slug)) == 1
        ledger.note("last", {})
        since = time.monotonic()
        ledger.close(timeout=5)
        assert time.monotonic() - since < 5
    with Ledger.open(path) as reader:
        assert len(reader.notes("last")) == 1


def test_rows_are_gathered_again_after_a_flush(path: Path) -> None:
    """A flush hurries the writer once: what comes after it is committed together as before."""
    with patch.object(ledger_store, "GATHER", 60.0):
        ledger = begun(path)
        ledger.refused(MARKET, "tick", "first")
        assert ledger.flush(timeout=5)
        for _ in range(20):
            ledger.refused(MARKET, "tick", "second")
            time.sleep(0.001)
        ledger.close(timeout=5)
    with Ledger.open(path) as reader:
        assert [e.times for e in reader.refusals(MARKET.slug)] == [1, 20]


def test_a_reader_cannot_write(path: Path) -> None:
    """What is opened for reading is safe from the one who reads."""
    begun(path).close()
    with (
        Ledger.open(path) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader._connection.execute("DELETE FROM runs")


def test_a_reader_holds_nobody_up(path: Path) -> None:
    """While rows are written a reader sees whole commits, and the writer waits for no reader."""
    ledger = begun(path)
    seen: list[int] = []

    def read() -> None:
        with Ledger.open(path) as reader:
            while not seen or seen[-1] < 2000:
                orders = len(reader.order_changes(MARKET.slug))
                fills = len(reader.notes("pair"))
                assert fills >= orders
                seen.append(orders)

    thread = threading.Thread(target=read)
    thread.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as idle:
        # A reader that forgot its transaction.
        idle.execute("BEGIN")
        idle.execute("SELECT * FROM runs").fetchall()
        for number in range(2000):
            ledger.changed(MARKET, [change(number)])
            ledger.note("pair", number)
            if number % 500 == 0:
                assert ledger.flush(timeout=20)
        assert ledger.flush(timeout=20)
        thread.join(timeout=20)
    ledger.close()
    assert seen[-1] == 2000
    assert seen == sorted(seen)


# ------------------------------------------------------------------ when it cannot be written


def test_a_full_disk_stops_the_recording_and_nothing_else(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One loud line, every row counted, trading as if nothing were; the file stays sound."""
    counters = Counters()

    async def main() -> None:
        async with Environment(
            FakeExchange(), clock=clock, counters=counters, ledger=Ledger(path)
        ) as env:
            env.ledger.changed(MARKET, [change()])
            assert env.ledger.flush()
            env.ledger.note("big", "x" * 1_000_000)
            assert not env.ledger.flush()
            for _ in range(10):
                env.ledger.changed(MARKET, [change()])
            env.ledger.put(record(0, "1"))
            assert env.ledger.profit == 1
            await asyncio.sleep(0)

    clock = VirtualClock(START)
    with small_disk(60), caplog.at_level(logging.ERROR):
        clock.run(main())
    assert counters.reasons(Count.LEDGER_LOST) == {"disk": 12}
    (line,) = caplog.records
    assert line.levelno == logging.CRITICAL
    assert "LEDGER STOPPED, trading goes on: database or disk is full" in line.message
    with Ledger.open(path) as reader:
        assert len(reader.order_changes(MARKET.slug)) == 1
        assert [run.ended_ms for run in reader.runs()] == [None]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_waits_is_bounded(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the disk does not keep up, what was accepted is written and the rest is counted."""
    counters = Counters()
    with (
        patch.object(ledger_store, "QUEUE_LIMIT", 100),
        patch.object(ledger_store, "GATHER", 60.0),
        caplog.at_level(logging.ERROR),
    ):
        ledger = begun(path, counters)
        for number in range(150):
            ledger.changed(MARKET, [change(number)])
        assert not ledger.flush()
        ledger.changed(MARKET, [change()])
        ledger.close()
    with Ledger.open(path) as reader:
        written = len(reader.order_changes(MARKET.slug))
        (run,) = reader.runs()
    # The writer may have taken the first row out of the queue before the others came.
    assert written in (100, 101)
    assert counters.reasons(Count.LEDGER_LOST) == {"queue_full": 151 - written}
    assert (run.failure, run.lost) == ("queue_full", 151 - written)
    assert len(caplog.records) == 1


def test_the_first_reason_to_stop_is_the_one_that_is_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that turns out to be full after the queue was: one line, and each row under its reason."""
    counters = Counters()
    with (
        small_disk(60),
        patch.object(ledger_store, "QUEUE_LIMIT", 3),
        patch.object(ledger_store, "GATHER", 60.0),
        caplog.at_level(logging.CRITICAL),
    ):
        ledger = begun(path, counters)
        for _ in range(10):
            ledger.note("big", "x" * 1_000_000)
        assert not ledger.flush()
        ledger.note("small", "x")
        ledger.close()
    (line,) = caplog.records
    assert "queue_full" in line.message
    lost = counters.reasons(Count.LEDGER_LOST)
    assert lost["disk"] in (3, 4)
    assert lost["queue_full"] == 11 - lost["disk"]


@pytest.mark.parametrize("bad", ["a mistake", change(created_ms=2**70), change(reason="\ud800")])
def test_a_row_that_cannot_be_written_is_lost_alone(
    path: Path, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A value that no column takes costs its own row: those around it, and all later ones, stay."""
    counters = Counters()
    ledger = begun(path, counters)
    with caplog.at_level(logging.ERROR):
        ledger.changed(MARKET, [change(1), bad, change(2)])
        for _ in range(3):
            ledger.refused(MARKET, "tick", "text")
        assert not ledger.flush()
        ledger.changed(MARKET, [change(3)])
        ledger.close()
    assert counters.reasons(Count.LEDGER_LOST) == {"error": 1}
    assert "a row is lost" in caplog.text
    with Ledger.open(path) as reader:
        assert [e.change.sequence for e in reader.order_changes(MARKET.slug)] == [1, 2, 3]
        assert sum(e.times for e in reader.refusals(MARKET.slug)) == 3
        (run,) = reader.runs()
        assert (run.failure, run.lost) == ("", 1)


def test_a_damaged_file_stops_the_recording(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A table that has gone, like any fault of the file, stops it once and not row by row."""
    counters = Counters()
    ledger = begun(path, counters)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE order_changes")
    with caplog.at_level(logging.ERROR):
        ledger.changed(MARKET, [change(1), change(2), change(3)])
        ledger.close()
    assert counters.reasons(Count.LEDGER_LOST) == {"disk": 3}
    assert len(caplog.records) == 1


def test_another_programs_lock_is_waited_for(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rows wait while somebody else holds the file, and are all there in the end."""
    counters = Counters()
    with patch.object(ledger_store, "BUSY_TIMEOUT", 0.02), caplog.at_level(logging.WARNING):
        ledger = begun(path, counters)
        with held_by_another_program(path):
            ledger.changed(MARKET, [change()])
            assert not ledger.flush(timeout=0.5)
        assert ledger.flush(timeout=5)
        ledger.close()
    assert "another program holds it, waiting" in caplog.text
    assert counters.reasons(Count.LEDGER_LOST) == {}
    with Ledger.open(path) as reader:
        assert len(reader.order_changes(MARKET.slug)) == 1


def test_closing_takes_no_longer_than_its_deadline(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not written by then is counted and named in the log; the program can end."""
    counters = Counters()
    with patch.object(ledger_store, "BUSY_TIMEOUT", 0.05), caplog.at_level(logging.ERROR):
        ledger = begun(path, counters)
        assert ledger._writer is not None
        thread = ledger._writer._thread
        assert thread is not None
        assert thread.daemon
        with held_by_another_program(path):
            for number in range(5):
                ledger.changed(MARKET, [change(number)])
            since = time.monotonic()
            ledger.close(timeout=0.1)
            assert time.monotonic() - since < 2
            thread.join(timeout=5)
            assert not thread.is_alive()
    assert counters.reasons(Count.LEDGER_LOST) == {"deadline": 5}
    assert "5 rows were not written within 0.1 s" in caplog.text


def test_the_event_loop_never_waits_for_the_disk(path: Path) -> None:
    """While the file is held by somebody else, thousands of rows are taken in no time."""
    with patch.object(ledger_store, "BUSY_TIMEOUT", 0.05):
        ledger = begun(path)
        with held_by_another_program(path):
            since = time.monotonic()
            for number in range(5000):
                ledger.changed(MARKET, [change(number)])
            assert time.monotonic() - since < 2
        assert ledger.flush(timeout=20)
        ledger.close()


# ------------------------------------------------------------------ SQL


def test_the_views_show_how_things_stand(path: Path) -> None:
    """`cycles`, `orders` and `fills` have the last row of each; refusals are JSON."""
    ledger = begun(path)
    ledger.changed(MARKET, [change(), change(status=OrderStatus.LIVE), change(2, venue_id="v2")])
    ledger.put(record(0))
    ledger.put(record(0, "1"))
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        orders = connection.execute("SELECT venue_id, status FROM orders").fetchall()
        assert orders == [("v1", "live"), ("v2", "submitting")]
        ((status, refusals),) = connection.execute("SELECT status, refusals FROM cycles").fetchall()
    assert (status, json.loads(refusals)["tick"]) == ("resolved", 3)


DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")


def test_the_document_names_every_column(path: Path) -> None:
    """The tables of `docs/ledger.md` are those of the file, column by column."""
    begun(path).close()
    common = {"id", "run", "time_ms", "series", "slug", "generation"}
    with closing(sqlite3.connect(path)) as connection:
        for name in tables(path):
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
            (line,) = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` |")]
            # Without what is said of a column's values.
            named = set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", line.split("|")[3])))
            expected = columns if "no others" in line else columns - common
            assert named == expected, name


def test_the_document_names_the_limits() -> None:
    """The numbers that are promised are those of the code."""
    assert f"**{COMMIT_WITHIN} s**" in DOCUMENT
    assert f"gathered for {ledger_store.GATHER} s" in DOCUMENT
    assert f"{ledger_store.QUEUE_LIMIT:,} rows" in DOCUMENT
    assert CLOSE_TIMEOUT == 2.0
    assert "two seconds at most" in DOCUMENT
