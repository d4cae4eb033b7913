"""Reads what a ledger's file holds, as values; also while it is being written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import field, frozen

from polyframe.errors import ConfigError
from polyframe.model.events import OrderChanged
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderStatus, OrderType, Side
from polyframe.model.series import Series
from polyframe.model.trade import Fill, TradeStatus
from polyframe.trading.ledger import CycleRecord, CycleStatus
from polyframe.trading.ledger_schema import is_empty, unusable


@frozen
class Entry:
    """Where and when a row was written.

    Attributes:
        run: Number of the run.
        time_ms: Epoch milliseconds on our clock.
    """

    run: int
    time_ms: int


@frozen
class RunEntry:
    """One run of a program.

    Attributes:
        run: Its number in the file.
        started_ms, ended_ms: Epoch milliseconds on our clock; the end is ``None`` if it still runs,
            or was killed.
        mode: ``"live"`` (real money) or ``"paper"``.
        exchange: Name of the venue.
        version: Of polyframe.
        failure: Why recording stopped before the run ended, ``""`` if it did not.
        lost: Rows that are missing because of that.
    """

    run: int
    started_ms: int
    ended_ms: int | None
    mode: str
    exchange: str
    version: str
    failure: str
    lost: int


@frozen
class CycleEntry(Entry):
    """How a cycle stood in a run when it was last written."""

    record: CycleRecord


@frozen
class OrderEntry(Entry):
    """One change of an order; `is_late` says that its cycle was over."""

    change: OrderChanged
    is_late: bool


@frozen
class FillEntry(Entry):
    """A new fill or a step of its settlement.

    Attributes:
        fill: As it was then.
        previous: Settlement status before, ``None`` when the fill was new.
        sequence: Number of the change within the cycle.
        venue_id: The venue's id of its order.
        is_late: Whether its cycle was over.
    """

    fill: Fill
    previous: TradeStatus | None
    sequence: int
    venue_id: str
    is_late: bool


@frozen
class RefusalEntry(Entry):
    """An order or cancel that was refused, several times if `times` says so.

    Attributes:
        slug: The market, ``None`` if none was open.
        rule: The rule of ours, or ``venue:`` and the code of the venue's refusal.
        text: Why, with the numbers.
        times: How often in a row, within one commit.
        strategy: Whose order it was, ``""`` if that is not known.
    """

    slug: str | None
    rule: str
    text: str
    times: int
    strategy: str = ""


@frozen
class CancelEntry(Entry):
    """A cancel that was ``"asked"`` for, or the answer to one (see `Journal.cancel`)."""

    slug: str
    client_id: str
    venue_id: str
    answer: str
    text: str


@frozen
class LateEntry(Entry):
    """An event or answer that came after the end of its cycle, and what became of it."""

    slug: str
    kind: str
    subject: str
    result: str


@frozen
class NoteEntry(Entry):
    """Anything else: `data` is what JSON makes of it, amounts are texts."""

    slug: str | None
    kind: str
    data: Any = field(hash=False)


class LedgerReader:
    """A ledger's file, opened for reading only. Use it with ``with``, in one thread.

    Amounts are exact. All lists are in the order in which things were written. A run that was
    stopped within a cycle and the one that went on have one story: orders and fills are found by
    the venue's ids. Where that is not wanted (back-tests that make the same ids again), name the
    `run`.

    Args:
        path: The file.

    Raises:
        ConfigError: There is no such file, it is no ledger, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            msg = f"ledger: there is no file {path}; is the name right?"
            raise ConfigError(msg)
        self._connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        self._connection.row_factory = sqlite3.Row
        try:
            if is_empty(self._connection, path):
                msg = f"ledger: {path} is empty; has the run begun?"
                raise ConfigError(msg)
        except sqlite3.Error as error:
            self.close()
            raise unusable(path, error) from error
        except ConfigError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ runs and cycles

    def runs(self) -> list[RunEntry]:
        """Return all runs, oldest first."""
        ends = {note.run: note for note in self.notes("run_end")}
        return [_run(row, ends.get(row["run"])) for row in self._select("runs", order="run")]

    def cycles(
        self, *, series: str | Series | None = None, run: int | None = None, mode: str | None = None
    ) -> list[CycleEntry]:
        """Return how each cycle stands, by run; optionally of one series, run or mode."""
        runs = {entry.run for entry in self.runs() if mode in (None, entry.mode)}
        name = None if series is None else str(series)
        return [
            CycleEntry(row["run"], row["time_ms"], _record(row))
            for row in self._select("cycles", series=name, run=run)
            if row["run"] in runs
        ]

    def profit_by_day(
        self, *, series: str | Series | None = None, run: int | None = None, mode: str | None = None
    ) -> dict[date, Decimal]:
        """Return the profit in USD of the resolved cycles that began on each day (UTC)."""
        days: dict[date, Decimal] = {}
        for entry in self.cycles(series=series, run=run, mode=mode):
            if entry.record.profit is not None:
                day = datetime.fromtimestamp(entry.record.generation, UTC).date()
                days[day] = days.get(day, ZERO) + entry.record.profit
        return days

    # ------------------------------------------------------------------ orders and fills

    def orders(self, slug: str, *, run: int | None = None) -> list[Order]:
        """Return the orders of a cycle as they were last seen, foreign ones included."""
        orders: dict[str, Order] = {}
        for entry in self.order_changes(slug, run=run):
            orders[entry.change.order.venue_id] = entry.change.order
        return list(orders.values())

    def order_changes(self, slug: str, *, run: int | None = None) -> list[OrderEntry]:
        """Return every change of every order of a cycle."""
        return [_order(row) for row in self._select("order_changes", slug=slug, run=run)]

    def fills(self, slug: str, *, run: int | None = None) -> list[Fill]:
        """Return the fills of a cycle as they were last seen, failed ones included."""
        fills: dict[tuple[str, str], Fill] = {}
        for entry in self.fill_changes(slug, run=run):
            fills[entry.fill.trade_id, entry.venue_id] = entry.fill
        return list(fills.values())

    def fill_changes(self, slug: str, *, run: int | None = None) -> list[FillEntry]:
        """Return every fill of a cycle with every step of its settlement."""
        return [_fill(row) for row in self._select("fill_changes", slug=slug, run=run)]

    # ------------------------------------------------------------------ everything else

    def refusals(self, slug: str, *, run: int | None = None) -> list[RefusalEntry]:
        """Return what was refused in a cycle: why did it not trade?"""
        names = ("slug", "rule", "text", "times", "strategy")
        # A file to which an earlier program has written last need not have all of them.
        return [
            _entry(RefusalEntry, row, *(name for name in names if name in row.keys()))  # noqa: SIM118
            for row in self._select("refusals", slug=slug, run=run)
        ]

    def cancels(self, slug: str, *, run: int | None = None) -> list[CancelEntry]:
        """Return the cancels of a cycle with their answers."""
        rows = self._select("cancels", slug=slug, run=run)
        names = ("slug", "client_id", "venue_id", "answer", "text")
        return [_entry(CancelEntry, row, *names) for row in rows]

    def late_events(self, slug: str, *, run: int | None = None) -> list[LateEntry]:
        """Return the events and answers that came after the end of a cycle."""
        rows = self._select("late_events", slug=slug, run=run)
        return [_entry(LateEntry, row, "slug", "kind", "subject", "result") for row in rows]

    def notes(
        self, kind: str | None = None, *, slug: str | None = None, run: int | None = None
    ) -> list[NoteEntry]:
        """Return the notes, optionally of one kind, cycle or run."""
        return [
            NoteEntry(row["run"], row["time_ms"], row["slug"], row["kind"], json.loads(row["data"]))
            for row in self._select("notes", kind=kind, slug=slug, run=run)
        ]

    def _select(
        self, table: str, *, order: str = "id", **equal: str | int | None
    ) -> Iterator[sqlite3.Row]:
        """Yield the rows of a table or view whose columns have the values that are not ``None``."""
        wanted = {name: value for name, value in equal.items() if value is not None}
        where = " AND ".join(f"{name} = :{name}" for name in wanted) or "1"
        query = f"SELECT * FROM {table} WHERE {where} ORDER BY {order}"  # noqa: S608 - our own names
        yield from self._connection.execute(query, wanted)


def _entry(kind: type[Any], row: sqlite3.Row, *names: str) -> Any:
    return kind(row["run"], row["time_ms"], *(row[name] for name in names))


def _run(row: sqlite3.Row, end: NoteEntry | None) -> RunEntry:
    facts: Mapping[str, Any] = {"failure": "", "lost": 0} if end is None else end.data
    return RunEntry(
        run=row["run"],
        started_ms=row["started_ms"],
        ended_ms=None if end is None else end.time_ms,
        mode=row["mode"],
        exchange=row["exchange"],
        version=row["version"],
        failure=facts["failure"],
        lost=facts["lost"],
    )


def _record(row: sqlite3.Row) -> CycleRecord:
    return CycleRecord(
        series=row["series"],
        slug=row["slug"],
        generation=row["generation"],
        status=CycleStatus(row["status"]),
        orders=row["orders"],
        fills=row["fills"],
        volume=Decimal(row["volume"]),
        fees=Decimal(row["fees"]),
        cash_flow=Decimal(row["cash_flow"]),
        payout=Decimal(row["payout"]),
        winner=None if row["winner"] is None else Outcome(row["winner"]),
        profit=_decimal(row["profit"]),
        refusals=json.loads(row["refusals"]),
    )


def _order(row: sqlite3.Row) -> OrderEntry:
    order = Order(
        client_id=row["client_id"],
        venue_id=row["venue_id"],
        generation=row["generation"],
        slug=row["slug"],
        token=row["token"],
        strategy=row["strategy"],
        outcome=Outcome(row["outcome"]),
        side=Side(row["side"]),
        price=Decimal(row["price"]),
        size=Decimal(row["size"]),
        order_type=OrderType(row["order_type"]),
        post_only=bool(row["post_only"]),
        status=OrderStatus(row["status"]),
        filled=Decimal(row["filled"]),
        matched=Decimal(row["matched"]),
        average_price=_decimal(row["average_price"]),
        fees=Decimal(row["fees"]),
        reason=row["reason"],
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
        intent=row["intent"],
    )
    previous = None if row["previous"] is None else OrderStatus(row["previous"])
    change = OrderChanged(order, previous, row["sequence"])
    return OrderEntry(row["run"], row["time_ms"], change, bool(row["is_late"]))


def _fill(row: sqlite3.Row) -> FillEntry:
    fill = Fill(
        trade_id=row["trade_id"],
        client_id=row["client_id"],
        strategy=row["strategy"],
        generation=row["generation"],
        slug=row["slug"],
        outcome=Outcome(row["outcome"]),
        side=Side(row["side"]),
        price=Decimal(row["price"]),
        size=Decimal(row["size"]),
        fee=Decimal(row["fee"]),
        is_taker=bool(row["is_taker"]),
        status=TradeStatus(row["status"]),
        time_ms=row["match_ms"],
    )
    return FillEntry(
        run=row["run"],
        time_ms=row["time_ms"],
        fill=fill,
        previous=None if row["previous"] is None else TradeStatus(row["previous"]),
        sequence=row["sequence"],
        venue_id=row["venue_id"],
        is_late=bool(row["is_late"]),
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
