"""Every drop, skip, refusal and stale result has a counter here: nothing fails silently.

A counter has a name and a reason. Reasons are short words; they say which way it went.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum


class Count(StrEnum):
    """Names of the counters. `docs/counters.md` tells what each reason means."""

    # Market channel
    MARKET_MESSAGES = "market_messages"
    """Messages decoded, by kind."""
    WIRE_SKIPPED = "wire_skipped"
    """Frames or messages not understood, by kind."""
    STREAM_CONNECTS = "stream_connects"
    """Connections made, by stream."""
    STREAM_LOSSES = "stream_losses"
    """Connections lost or given up, by reason."""
    BOOK_UNKNOWN = "book_unknown"
    """Times a book became unknown, by reason."""
    BOOK_SKIPPED = "book_skipped"
    """Book messages not applied, by reason."""
    BOOK_MISMATCH = "book_mismatch"
    """Tops of book that differ from the venue's own, by outcome."""

    # Requests
    REQUESTS_PACED = "requests_paced"
    """Requests that waited for the venue's limits or were refused for them, by limit."""
    HEARTBEATS = "heartbeats"
    """Signs of life for the venue's dead man's switch, by result."""
    SERVER_CLOCK = "server_clock"
    """Differences found between the venue's clock and ours, by kind."""

    # Reference prices
    REFERENCE_PRICES = "reference_prices"
    """Reference prices taken, by source."""
    REFERENCE_SKIPPED = "reference_skipped"
    """Reference prices not taken, by reason."""
    REFERENCE_CHECKS = "reference_checks"
    """Prices to beat compared with the venue's own record, by result."""

    # Gate and router
    GATE_PASSED = "gate_passed"
    """Events that passed a session's gate, by kind."""
    GATE_DROPPED = "gate_dropped"
    """Events that a session's gate refused, by reason."""
    ROUTER_PARKED = "router_parked"
    """User events kept until a switch is done or their session opens, by reason."""
    ROUTER_DROPPED = "router_dropped"
    """User events that no session owns, by reason."""
    ROUTER_SETTLEMENT = "router_settlement"
    """User events of dead cycles, handed to the settlement side, by kind."""
    USER_DROPPED = "user_dropped"
    """User messages lost because the bounded queue was full, by kind."""
    USER_MESSAGES = "user_messages"
    """User messages decoded, by kind."""

    # Engine and trading
    ENGINE_STALE = "engine_stale"
    """Commands of a generation that is not the engine's, by command."""
    STALE_CALLS = "stale_calls"
    """Calls of strategies whose cycle is over, by call."""
    ENGINE_IGNORED = "engine_ignored"
    """Updates that changed nothing or were impossible, by reason."""
    ORDERS_DENIED = "orders_denied"
    """Orders refused locally, by rule."""
    ORDERS_SENT = "orders_sent"
    """Orders sent to the venue, by answer."""
    LEGS = "legs"
    """Sets of orders that were meant as one, by what became of them."""
    CANCELS_SENT = "cancels_sent"
    """Cancels sent to the venue, by answer."""
    LATE_ANSWERS = "late_answers"
    """Answers that came after their cycle was over, by what they said."""
    LATE_ORDERS = "late_orders"
    """Orders found accepted after their cycle was over, by what was done."""
    CONVERSIONS = "conversions"
    """Splits and merges, by what became known of them."""
    REDEMPTIONS = "redemptions"
    """Attempts to redeem a resolved market, by result."""
    RECONCILES = "reconciles"
    """Comparisons with the venue, by result."""
    RECONCILE_REPAIRS = "reconcile_repairs"
    """What comparisons with the venue set right, by kind."""
    SNAPSHOTS = "snapshots"
    """Snapshots and what was done with them, by kind."""
    SNAPSHOTS_REFUSED = "snapshots_refused"
    """Snapshots that could not be believed, by reason."""
    LEDGER_LOST = "ledger_lost"
    """Rows that are missing in the ledger's file, by reason."""

    # Recording
    RECORDINGS = "recordings"
    """Markets that a recorder dealt with, by what became of them."""

    PAPER_SKIPPED = "paper_skipped"
    """What fills on paper could not use, and what of a paper account was not kept, by reason."""

    # Strategies and cycles
    SWITCHES = "switches"
    """Cycles begun and ended, by kind."""
    MARKET_RULES = "market_rules"
    """Rules of markets that were not the same everywhere, by what was found."""
    RESOLUTIONS = "resolutions"
    """Resolutions learned of, by where from."""
    MARKET_WAITS = "market_waits"
    """Attempts to find the next market that found none, by reason."""
    STRATEGY_ERRORS = "strategy_errors"
    """Hooks that raised, by hook."""
    TASKS_OVERDUE = "tasks_overdue"
    """Tasks that outlived their cycle's deadline, by strategy."""
    EVENTS_DISCARDED = "events_discarded"
    """Events left in a strategy's queue when its cycle ended, by kind."""
    LOOP_BLOCKED = "loop_blocked"
    """Times that the event loop was held up, by hook."""


class Cell:
    """One count. Bind it once where every message is counted: an attribute is cheaper than a key."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counters:
    """Counts by name and reason. Cheap enough for every message.

    One set belongs to an environment and lives as long as it.
    """

    def __init__(self) -> None:
        self._cells: dict[tuple[Count, str], Cell] = {}

    def cell(self, name: Count, reason: str) -> Cell:
        """Return the cell that holds a count; it stays the same object."""
        key = (name, reason)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Cell()
        return cell

    def add(self, name: Count, reason: str, amount: int = 1) -> int:
        """Add `amount` and return the new count."""
        cell = self._cells.get((name, reason)) or self.cell(name, reason)
        cell.value += amount
        return cell.value

    def get(self, name: Count, reason: str | None = None) -> int:
        """Return one count, or the sum over all reasons."""
        return sum(
            count for key, why, count in self if key is name and (reason is None or why == reason)
        )

    def reasons(self, name: Count) -> dict[str, int]:
        """Return the counts of `name` by reason, without those that are 0."""
        return {reason: count for key, reason, count in self if key is name}

    def snapshot(self) -> dict[str, dict[str, int]]:
        """Return all counts as ``{name: {reason: count}}``, plain values for a report."""
        table: dict[str, dict[str, int]] = {}
        for name, reason, count in sorted(self):
            table.setdefault(name.value, {})[reason] = count
        return table

    def __iter__(self) -> Iterator[tuple[Count, str, int]]:
        for (name, reason), cell in self._cells.items():
            if cell.value:
                yield name, reason, cell.value
