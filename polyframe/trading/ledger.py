"""What every cycle did and earned; it outlives cycles and no strategy writes to it.

The latest records of cycles are kept in memory. With a path, everything that happens to orders is
also written to a SQLite file, by a thread of its own (`polyframe.trading.ledger_store`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
from attrs import field, frozen

from polyframe.checks import expect_count, expect_path
from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError
from polyframe.model.events import OrderChanged
from polyframe.model.exact import exactly
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order
from polyframe.trading.commands import Change
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
from polyframe.trading.state import CycleState

if TYPE_CHECKING:
    # They bring sqlite3 with them: only a ledger with a file pays for it.
    from polyframe.trading.ledger_reader import LedgerReader
    from polyframe.trading.ledger_store import LedgerWriter

log = logging.getLogger(__name__)


class CycleStatus(StrEnum):
    """How far the books of a cycle are closed."""

    OPEN = "open"
    """It is trading."""
    RESOLVING = "resolving"
    """Its window is over; orders, settlement or resolution are pending."""
    RESOLVED = "resolved"
    """The market is resolved and the profit final, unless a trade fails after the fact."""
    UNRESOLVED = "unresolved"
    """Nothing was heard of its resolution for too long, or the program stopped before."""


@frozen
class CycleRecord:
    """One cycle's account. Amounts in USD.

    Attributes:
        series, slug, generation: Which cycle.
        status: How far its books are closed.
        orders, fills: How many.
        volume: Sum of price × size over fills.
        fees: Fees paid.
        cash_flow: Cash received minus cash spent, fees included.
        payout: What the shares held at resolution paid.
        winner: The outcome that won, ``None`` if unknown.
        profit: ``cash_flow + payout``, ``None`` until resolved.
        refusals: How often an order or cancel was refused, by reason: the rule of ours that denied
            it, or ``venue:`` and the code of the venue's refusal.
    """

    series: str
    slug: str
    generation: int
    status: CycleStatus
    orders: int
    fills: int
    volume: Decimal
    fees: Decimal
    cash_flow: Decimal
    payout: Decimal
    winner: Outcome | None
    profit: Decimal | None
    refusals: Mapping[str, int] = field(factory=dict, hash=False)


def record_of(state: CycleState, status: CycleStatus) -> CycleRecord:
    """Return the record of a cycle as its state is now."""
    return CycleRecord(
        series=str(state.market.series),
        slug=state.market.slug,
        generation=state.market.generation,
        status=status,
        orders=sum(1 for order in state.orders.values() if not order.is_external),
        fills=len(state.fills),
        volume=state.volume,
        fees=state.fees,
        cash_flow=state.cash_flow,
        payout=state.payout,
        winner=state.winner,
        profit=state.profit(),
        refusals=dict(state.refusals),
    )


class Journal(Protocol):
    """Where the trading side writes what happens. No call blocks, waits or raises."""

    def put(self, record: CycleRecord) -> None:
        """Enter how a cycle stands, when it begins, ends or is resolved."""
        ...

    def changed(self, market: Market, changes: Iterable[Change], *, is_late: bool = False) -> None:
        """Enter changes of orders and fills; `is_late` says that their cycle is over."""
        ...

    def refused(self, market: Market | None, rule: str, text: str, strategy: str = "") -> None:
        """Enter that an order or cancel was refused; `market` is ``None`` while none is open."""
        ...

    def cancel(self, market: Market, order: Order, answer: str, text: str = "") -> None:
        """Enter that a cancel was ``"asked"`` for, or what came back.

        That is ``"cancelled"``, ``"refused"`` or ``"error"``, with the venue's own words.
        """
        ...

    def late(self, market: Market, kind: str, subject: str, result: str) -> None:
        """Enter an event or answer of a dead cycle: about what, and what became of it."""
        ...

    def note(self, kind: str, data: object, market: Market | None = None) -> None:
        """Enter anything else; `data` is kept as JSON, as it is now."""
        ...


RecordListener = Callable[[CycleRecord], None]

CLOSE_TIMEOUT = 2.0
"""Real seconds that closing may take before the rows that are left are given up."""


class Ledger:
    """Records of cycles in memory, and with a path the whole story in a SQLite file.

    An `Environment` begins and closes it. What the file holds, and what a crash can cost, is told
    in `docs/ledger.md`.

    Args:
        path: The file, made if it does not exist; many runs share it. ``None`` writes nothing.
        limit: Records kept in memory; older ones are dropped from there, oldest first.

    Attributes:
        path: The file, ``None`` if there is none.
        run: Number of this run in the file, ``None`` while nothing is written.

    Raises:
        ConfigError: `path` is a folder, or its folder does not exist.
    """

    def __init__(self, path: str | Path | None = None, *, limit: int = 10_000) -> None:
        if path is not None:
            expect_path("path", path, "the name of a file, or None for memory only")
        expect_count("limit", limit)
        self.path = None if path is None else Path(path)
        if self.path is not None:
            _check_place(self.path)
        self.run: int | None = None
        self._limit = limit
        self._records: dict[str, CycleRecord] = {}
        self._listeners: list[RecordListener] = []
        self._clock: Clock | None = None
        self._counters: Counters | None = None
        self._writer: LedgerWriter | None = None
        self._lost: dict[str, int] = {}

    # ------------------------------------------------------------------ life

    def begin(self, *, clock: Clock, counters: Counters, exchange: str, is_live: bool) -> None:
        """Open the file, if there is one, and begin a run in it. Blocks for some milliseconds.

        Args:
            clock: Whose time the rows carry.
            counters: Where lost rows are counted.
            exchange: Name of the venue.
            is_live: Whether its orders move real money.

        Raises:
            ConfigError: The file cannot be opened or written, is no ledger, or belongs to a newer
                version; or this ledger is in use by another environment.
        """
        if self.path is None:
            return
        if self._writer is not None:
            msg = f"ledger: {self.path} is open in another environment; give each its own Ledger"
            raise ConfigError(msg)
        from polyframe.trading.ledger_store import LedgerWriter

        _check_place(self.path)
        writer = LedgerWriter(self.path)
        self.run = writer.begin(_ms(clock), "live" if is_live else "paper", exchange)
        self._writer, self._clock, self._counters = writer, clock, counters
        self._lost = {}

    def flush(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait until all rows so far are in the file; say whether they are. Blocks the caller.

        It is for tests and for reading a file that is still being written.

        Args:
            timeout: Real seconds to wait at most.
        """
        if self._writer is None:
            return self.path is None
        done = self._writer.flush(timeout)
        self._count_lost(self._writer)
        return done

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Write what is left, end the run and close the file. Safe to repeat.

        Blocks the caller for some milliseconds: it is the last thing that an environment does, and
        simulated time must not go on meanwhile.

        Args:
            timeout: Real seconds to wait at most; rows that are not written by then are counted as
                lost, though they may be written yet.
        """
        writer, clock, self._writer, self.run = self._writer, self._clock, None, None
        if writer is None or clock is None:
            return
        left = writer.close(_ms(clock), timeout)
        self._count_lost(writer)
        if left and self._counters is not None:
            self._counters.add(Count.LEDGER_LOST, "deadline", left)

    @staticmethod
    def open(path: str | Path) -> LedgerReader:
        """Open a ledger's file for reading, also while it is written; use it with ``with``.

        Raises:
            ConfigError: There is no such file, it is no ledger, or of a newer version.
        """
        from polyframe.trading.ledger_reader import LedgerReader

        return LedgerReader(Path(path))

    # ------------------------------------------------------------------ records of cycles

    def put(self, record: CycleRecord) -> None:
        """Add or replace the record of a cycle and tell the listeners if it changed."""
        if self._records.get(record.slug) == record:
            return
        self._records[record.slug] = record
        while len(self._records) > self._limit:
            del self._records[next(iter(self._records))]
        if self.path is not None:
            self._write(CycleRow(self._now_ms(), record))
        for listener in tuple(self._listeners):
            try:
                listener(record)
            except Exception:
                log.exception("a ledger listener raised")

    def subscribe(self, listener: RecordListener) -> None:
        """Call `listener` with every new or changed record (synchronously)."""
        self._listeners.append(listener)

    def get(self, slug: str) -> CycleRecord | None:
        """Return the record of one cycle of this run."""
        return self._records.get(slug)

    def __iter__(self) -> Iterator[CycleRecord]:
        """Iterate over the records of this run, oldest first."""
        return iter(tuple(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    @property
    @exactly()
    def profit(self) -> Decimal:
        """Sum of the final profits of this run in USD."""
        return sum((r.profit for r in self if r.profit is not None), ZERO)

    # ------------------------------------------------------------------ the story

    def changed(self, market: Market, changes: Iterable[Change], *, is_late: bool = False) -> None:
        """Enter changes of orders and fills; `is_late` says that their cycle is over."""
        if self.path is None:
            return
        now_ms = self._now_ms()
        for change in changes:
            if isinstance(change, OrderChanged):
                self._write(OrderRow(now_ms, market, change, is_late))
            else:
                self._write(FillRow(now_ms, market, change, is_late))

    def refused(self, market: Market | None, rule: str, text: str, strategy: str = "") -> None:
        """Enter that an order or cancel was refused; `market` is ``None`` while none is open."""
        if self.path is not None:
            self._write(RefusalRow(self._now_ms(), market, rule, text, strategy))

    def cancel(self, market: Market, order: Order, answer: str, text: str = "") -> None:
        """Enter that a cancel was ``"asked"`` for, or what came back (see `Journal.cancel`)."""
        if self.path is not None:
            self._write(CancelRow(self._now_ms(), market, order, answer, text))

    def late(self, market: Market, kind: str, subject: str, result: str) -> None:
        """Enter an event or answer of a dead cycle: about what, and what became of it."""
        if self.path is not None:
            self._write(LateRow(self._now_ms(), market, kind, subject, result))

    def note(self, kind: str, data: object, market: Market | None = None) -> None:
        """Enter anything else; `data` is kept as JSON, as it is now."""
        if self.path is not None:
            self._write(NoteRow(self._now_ms(), market, kind, _json(data)))

    # ------------------------------------------------------------------ helpers

    def _write(self, row: Row) -> None:
        writer, counters = self._writer, self._counters
        if writer is not None and writer.put(row):
            return
        # If it never began, there are no counters, and no run that could miss the row.
        if counters is not None:
            counters.add(Count.LEDGER_LOST, "closed" if writer is None else writer.failure)
        if writer is not None:
            self._count_lost(writer)

    def _count_lost(self, writer: LedgerWriter) -> None:
        """Count what the writer's thread has lost; counters belong to the event loop's thread."""
        for reason, lost in writer.lost.copy().items():
            if self._counters is not None:
                self._counters.add(Count.LEDGER_LOST, reason, lost - self._lost.get(reason, 0))
            self._lost[reason] = lost

    def _now_ms(self) -> int:
        return 0 if self._clock is None else _ms(self._clock)


def _ms(clock: Clock) -> int:
    return int(clock.time() * 1000)


def _json(data: object) -> bytes:
    """Encode at once, because the caller may change it, and whatever it is: a note stops nobody."""
    try:
        return msgspec.json.encode(data, enc_hook=str)
    except (ValueError, RecursionError):
        return msgspec.json.encode(repr(data))


def _check_place(path: Path) -> None:
    if path.is_dir():
        msg = f"ledger: {path} is a folder; name a file in it, for example {path / 'trades.sqlite'}"
        raise ConfigError(msg)
    if not path.parent.is_dir():
        msg = f"ledger: the folder {path.parent} does not exist; make it, or name another file"
        raise ConfigError(msg)
