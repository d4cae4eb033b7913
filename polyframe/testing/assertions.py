"""What a test says of a run."""

from __future__ import annotations

from polyframe.testing.invariants import Invariant
from polyframe.testing.run import RunResult

ISOLATION = (
    Invariant.OWN_EVENTS,
    Invariant.OWN_STATE,
    Invariant.FRESH_START,
    Invariant.DEAD_HANDLES,
    Invariant.ORDER_OF_CHANGES,
    Invariant.OWN_INPUTS,
    Invariant.FUNCTION_OF_INPUTS,
)
BOOKS = (
    Invariant.FILLS,
    Invariant.RECOVERED,
    Invariant.ORDERS,
    Invariant.CASH,
    Invariant.RESERVED,
    Invariant.VENUE_CASH,
    Invariant.RECORDS,
    Invariant.COUNTED,
)


def assert_held(result: RunResult) -> None:
    """Check that everything held that must.

    Raises:
        AssertionError: It did not; says what, and the steps before it.
    """
    if result.violations:
        first = result.violations[0]
        steps = "".join(f"\n  {step}" for step in first.steps)
        msg = f"{first}{steps}"
        raise AssertionError(msg)


def assert_no_leaks(result: RunResult) -> None:
    """Check that nothing of a dead cycle lived past its deadline.

    Raises:
        AssertionError: Something did, or the run ended early because something else did not hold.
    """
    _assert_kind(result, (Invariant.NOTHING_LEFT,))


def assert_books_add_up(result: RunResult) -> None:
    """Check cash, orders, fills and records against the venue's.

    Raises:
        AssertionError: They differ, or the run ended early because something else did not hold.
    """
    _assert_kind(result, BOOKS)


def assert_isolated(result: RunResult) -> None:
    """Check that no cycle saw or changed anything of another.

    Raises:
        AssertionError: One did, or the run ended early because something else did not hold.
    """
    _assert_kind(result, ISOLATION)


def _assert_kind(result: RunResult, invariants: tuple[Invariant, ...]) -> None:
    other = [v for v in result.violations if v.invariant not in invariants]
    if other and len(other) == len(result.violations):
        msg = f"the run ended early, this was not checked to the end: {other[0]}"
        raise AssertionError(msg)
    assert_held(result)
