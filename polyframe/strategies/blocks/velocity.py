"""How far a price moved over a window of time, in basis points."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from attrs import define, field

from polyframe.checks import number

BASIS_POINTS = Decimal(10_000)

_seconds = number("seconds, at least 0.001", lambda seconds: seconds >= 0.001)


@define(eq=False)
class Velocity:
    """The move of a price over the last `window` seconds, exact or not known.

    The price of an instant is the last one told at or before it. The move is known once prices reach
    back a whole window without a hole: two neighbours further apart than `max_gap` begin it anew, and
    so does `interrupt`. Instants are those that the prices speak of, so a late or merged delivery
    changes nothing.

    At most one price per millisecond is kept, and none that is older than a window and a gap: memory
    is bounded whatever the feed does.

    Attributes:
        window: Seconds over which the move is taken.
        max_gap: Seconds between two prices from which on what lies between is not known.

    Raises:
        ConfigError: A time that is none.
    """

    window: float = field(default=30.0, validator=_seconds)
    max_gap: float = field(default=5.0, validator=_seconds)
    _prices: deque[tuple[int, Decimal]] = field(init=False, factory=deque)

    def add(self, value: Decimal, instant_ms: int) -> Decimal | None:
        """Take the price of an instant and return the move up to it, as `move` does.

        A price that is older than the latest is left out: the path before it is told already.

        Args:
            value: USD, above 0.
            instant_ms: The instant that it speaks of, in epoch milliseconds.

        Raises:
            ValueError: A price that is not above 0, of which no move can be reckoned.
        """
        if not value > 0:
            msg = f"value: expected a price above 0, got {value}"
            raise ValueError(msg)
        prices = self._prices
        if prices:
            elapsed = instant_ms - prices[-1][0]
            if elapsed < 0:
                return self.move
            if elapsed == 0:
                prices.pop()
            elif elapsed > round(self.max_gap * 1000):
                prices.clear()
        prices.append((instant_ms, value))
        begin = instant_ms - round(self.window * 1000)
        while len(prices) > 1 and prices[1][0] <= begin:
            prices.popleft()
        return self.move

    def interrupt(self) -> None:
        """Forget the path: what comes next does not continue it."""
        self._prices.clear()

    @property
    def move(self) -> Decimal | None:
        """The move in basis points up to the latest price, ``None`` while it is not known."""
        prices = self._prices
        if not prices:
            return None
        (begin, first), (end, last) = prices[0], prices[-1]
        if begin > end - round(self.window * 1000):
            return None
        return (last - first) / first * BASIS_POINTS

    @property
    def latest_ms(self) -> int | None:
        """The instant of the latest price in epoch milliseconds, ``None`` before the first."""
        return self._prices[-1][0] if self._prices else None
