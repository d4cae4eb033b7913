"""What happened last, in words."""

from __future__ import annotations

from collections import deque
from typing import Any

from polyframe.trading.commands import (
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyTradeReport,
    CancelOrder,
    PlaceOrder,
)

LENGTH = 60
"""Steps that a violation tells of."""


class Trace:
    """The last steps of a run."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, Any]] = deque(maxlen=LENGTH)

    def note(self, time: float, what: Any) -> None:
        """Keep a step: words, or a command."""
        self._steps.append((time, what))

    def lines(self, now: float) -> tuple[str, ...]:
        """Return the steps as text, the newest at the end; times are relative to `now`."""
        return tuple(f"{time - now:+9.3f} s  {words(what)}" for time, what in self._steps)


def words(what: Any) -> str:
    """Return a step in words."""
    if isinstance(what, ApplyOrderReport):
        report = what.report
        return (
            f"told of order {report.order_id}: {report.kind.value} {report.status}, "
            f"{report.size_matched} of {report.original_size} matched"
        )
    if isinstance(what, ApplyTradeReport):
        legs = ", ".join(
            f"{leg.order_id} {leg.side.value} {leg.size} at {leg.price}" for leg in what.report.legs
        )
        return f"told of trade {what.report.trade_id}: {what.report.status.value} ({legs})"
    if isinstance(what, PlaceOrder):
        request = what.request
        return (
            f"{what.strategy} places {what.client_id} ({what.venue_id}): {request.side.value} "
            f"{request.size} {request.outcome.value} at {request.price} {request.order_type.value}"
        )
    if isinstance(what, CancelOrder):
        return f"cancel of {what.client_id}"
    if isinstance(what, ApplyPlaceAnswer):
        return f"answer to {what.client_id}: {what.answer.value} {what.code}".rstrip()
    if isinstance(what, ApplyCancelAnswer):
        done = "done" if what.cancelled else f"not done, {what.text}"
        return f"answer to the cancel of {what.client_id}: {done}"
    return what if isinstance(what, str) else repr(what)
