"""Two brakes on a stream of orders: one for trouble at the venue, one for the pace.

Pure: time comes in as seconds of a clock that never goes back.
"""

from __future__ import annotations

from enum import StrEnum


class BreakerState(StrEnum):
    """What the breaker lets pass."""

    CLOSED = "closed"
    """Everything."""
    OPEN = "open"
    """No entries: the venue is in trouble."""
    HALF_OPEN = "half_open"
    """One order, to find out whether the trouble is over."""


class Breaker:
    """Stops entries for a while after several venue errors in a row.

    Every order that leaves gets a ticket, and its answer is given back with it. Answers to orders
    that were sent before the breaker opened change nothing afterwards: they tell of the past.

    Args:
        errors: Consecutive errors at which it opens, ``None`` for never.
        cooldown: Seconds until it tries again; also how long the one order that it lets through may
            stay without an answer before the next may try.
    """

    def __init__(self, errors: int | None, cooldown: float) -> None:
        self._limit = errors
        self._cooldown = cooldown
        self._errors = 0
        self._is_open = False
        self._retry_at = 0.0
        self._epoch = 0

    @property
    def errors(self) -> int:
        """Venue errors since the last answer that was none."""
        return self._errors

    def state(self, now: float) -> BreakerState:
        """Return what passes at `now`."""
        if not self._is_open:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._retry_at else BreakerState.HALF_OPEN

    def wait(self, now: float) -> float:
        """Return the seconds until it lets an order through, 0 if it does now."""
        return max(self._retry_at - now, 0.0) if self._is_open else 0.0

    def sent(self, now: float) -> int:
        """Note that an order leaves, and return its ticket."""
        if self.state(now) is BreakerState.HALF_OPEN:
            # This is the one: until it is answered, or overdue, no other passes.
            self._retry_at = now + self._cooldown
        return self._epoch

    def withdraw(self, now: float) -> None:
        """Take back that the one order left which was to find out about the trouble."""
        self._retry_at = min(self._retry_at, now)

    def answered(self, ticket: int, *, failed: bool, now: float) -> None:
        """Take the answer to the order that has `ticket`.

        Args:
            ticket: From `sent`.
            failed: Whether it tells of trouble at the venue.
            now: Seconds.
        """
        if ticket != self._epoch:
            return
        if not failed:
            self.close()
            return
        self._errors += 1
        if self._limit is not None and self._errors >= self._limit:
            if not self._is_open:
                self._is_open = True
                self._epoch += 1
            self._retry_at = now + self._cooldown

    def close(self) -> None:
        """Let everything pass, and begin to count anew."""
        self._errors = 0
        self._is_open = False


class TokenBucket:
    """Lets `burst` through at once, and `rate` a second from then on.

    Args:
        rate: Tokens that come back per second.
        burst: Tokens at the start, and at most.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next may pass, 0 if it may now."""
        return max(1.0 - self._level(now), 0.0) / self._rate

    def take(self, now: float) -> float:
        """Let one pass; what passes without a token leaves none behind, but no debt.

        Returns:
            What it took, for `give_back`.
        """
        level = self._level(now)
        self._tokens = max(level - 1.0, 0.0)
        self._at = now
        return level - self._tokens

    def give_back(self, taken: float) -> None:
        """Take back that one passed."""
        self._tokens += taken

    def _level(self, now: float) -> float:
        return min(self._tokens + (now - self._at) * self._rate, float(self._burst))
