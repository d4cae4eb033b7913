"""The venue's clock: how far it is from ours, known from what it says about the time.

Private calls and orders carry the time, and the venue refuses those that are off (PROTOCOL §3.2).
"""

from __future__ import annotations

import logging
import math
from collections import deque
from email.utils import parsedate_to_datetime

from polyframe.clock import Clock
from polyframe.counters import Count, Counters

_log = logging.getLogger(__name__)

ALARM = 2.0
"""Seconds from which on a difference is told."""

_KEPT = 64
_MAX_AGE = 1800.0


class ServerClock:
    """Our clock, corrected as far as it is proven wrong.

    The venue tells whole seconds. An answer that says ``s`` and that took from ``t0`` to ``t1``
    proves that the venue is between ``s - t1`` and ``s + 1 - t0`` ahead; what several answers prove
    is what all of them allow. A difference of 0 is believed as long as it is allowed.

    Args:
        clock: Ours, in market time.
        counters: Where differences above `ALARM` are counted.

    Attributes:
        own: Our clock.
        offset: Seconds that the venue's is ahead of it, as far as that is proven.
    """

    def __init__(self, clock: Clock, counters: Counters) -> None:
        self._counters = counters
        self._bounds: deque[tuple[float, float, float]] = deque(maxlen=_KEPT)
        self._is_off = False
        self.own = clock
        self.offset = 0.0

    def time(self) -> float:
        """Return the venue's time in epoch seconds, as far as it is known."""
        return self.own.time() + self.offset

    def note(self, told: int, before: float, after: float) -> None:
        """Take a time that the venue told.

        Args:
            told: Whole epoch seconds.
            before: Our time when the question was sent.
            after: Our time when the answer was there.
        """
        if after < before:
            return  # our clock was set meanwhile: this proves nothing
        self._bounds.append((after, told - after, told + 1 - before))
        low, high = self._allowed(after)
        if low > high:
            # One of the clocks was set: only the newest counts.
            self._counters.add(Count.SERVER_CLOCK, "reset")
            newest = self._bounds[-1]
            self._bounds.clear()
            self._bounds.append(newest)
            _, low, high = newest
            self._is_off = False
        self.offset = 0.0 if low <= 0.0 <= high else (low + high) / 2
        self._alarm()

    def _allowed(self, now: float) -> tuple[float, float]:
        low, high = -math.inf, math.inf
        for at, lowest, highest in self._bounds:
            if abs(now - at) <= _MAX_AGE:
                low, high = max(low, lowest), min(high, highest)
        return low, high

    def _alarm(self) -> None:
        is_off = abs(self.offset) > ALARM
        if is_off and not self._is_off:
            self._counters.add(Count.SERVER_CLOCK, "ahead" if self.offset > 0 else "behind")
            _log.warning(
                "the venue's clock is %+.1f s from ours; requests are stamped with the venue's "
                "time, but windows begin and end by ours: set this machine's clock",
                self.offset,
            )
        self._is_off = is_off

    def note_header(self, date: str, before: float, after: float) -> None:
        """Take the header ``Date`` of an answer; one that is missing or no date proves nothing."""
        try:
            told = int(parsedate_to_datetime(date).timestamp())
        except (ValueError, TypeError, OverflowError):
            return
        self.note(told, before, after)
