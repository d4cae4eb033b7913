"""Levels that a price climbs through: crossings, not touches."""

from __future__ import annotations

from decimal import Decimal

from attrs import define, field


@define
class Levels:
    """Says which levels a price has climbed through.

    A level is *armed* by a price below it, and climbed through by the next price at or above it,
    however far above; it counts once, and is armed again by a price below it. So a price that jumps
    over three levels climbs through three, one that sits on a level does nothing more, and one that is
    above from the start has climbed through none.

    Attributes:
        levels: Prices in USD.
    """

    levels: tuple[Decimal, ...]
    _armed: set[Decimal] = field(init=False, factory=set)

    def climbed(self, price: Decimal | None) -> tuple[Decimal, ...]:
        """Look at the present price and return the levels that it has climbed through, lowest first.

        ``None`` (an empty side) is no price: nothing is climbed, nothing is armed or forgotten.
        """
        if price is None:
            return ()
        climbed = tuple(sorted(level for level in self._armed if price >= level))
        self._armed = {level for level in self.levels if price < level}
        return climbed

    def forget(self) -> None:
        """Disarm all: what was seen before a gap in the data is no first half of a climb."""
        self._armed.clear()
