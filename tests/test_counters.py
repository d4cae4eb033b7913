"""Counts by name and reason."""

from __future__ import annotations

import json

from polyframe.counters import Count, Counters


def test_add_and_get() -> None:
    """Counts grow by reason; the sum over all reasons is one question away."""
    counters = Counters()
    assert counters.add(Count.GATE_DROPPED, "closed") == 1
    assert counters.add(Count.GATE_DROPPED, "closed") == 2
    assert counters.add(Count.GATE_DROPPED, "foreign_token", 5) == 5
    counters.add(Count.GATE_PASSED, "closed")
    assert counters.get(Count.GATE_DROPPED, "closed") == 2
    assert counters.get(Count.GATE_DROPPED) == 7
    assert counters.reasons(Count.GATE_DROPPED) == {"closed": 2, "foreign_token": 5}


def test_nothing_counted() -> None:
    """What never happened counts 0 and appears in no report."""
    counters = Counters()
    counters.cell(Count.SWITCHES, "begun")
    assert counters.get(Count.SWITCHES) == counters.get(Count.SWITCHES, "begun") == 0
    assert counters.reasons(Count.SWITCHES) == {}
    assert counters.snapshot() == {}
    assert list(counters) == []


def test_cell() -> None:
    """A cell that was bound once counts into the same place as everybody else."""
    counters = Counters()
    cell = counters.cell(Count.MARKET_MESSAGES, "book")
    counters.add(Count.MARKET_MESSAGES, "book", 2)
    cell.value += 1
    assert counters.cell(Count.MARKET_MESSAGES, "book") is cell
    assert counters.get(Count.MARKET_MESSAGES, "book") == 3


def test_snapshot() -> None:
    """A snapshot is plain, sorted, ready for JSON, and does not change afterwards."""
    counters = Counters()
    counters.add(Count.WIRE_SKIPPED, "not_json")
    counters.add(Count.WIRE_SKIPPED, "bad_size")
    counters.add(Count.BOOK_UNKNOWN, "tick")
    snapshot = counters.snapshot()
    counters.add(Count.BOOK_UNKNOWN, "tick")
    assert json.dumps(snapshot) == (
        '{"book_unknown": {"tick": 1}, "wire_skipped": {"bad_size": 1, "not_json": 1}}'
    )


def test_iteration() -> None:
    """Iterating gives every count that is not 0."""
    counters = Counters()
    counters.add(Count.SWITCHES, "begun", 3)
    assert list(counters) == [(Count.SWITCHES, "begun", 3)]
