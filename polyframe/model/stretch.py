"""Level changes of one market as columns: what a recording mostly is, without a value for each row."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from polyframe.model.events import BookDelta, LevelChange
from polyframe.model.market import Market
from polyframe.model.money import PRICE_UNITS

BID_UP, ASK_UP, BID_DOWN, ASK_DOWN = range(4)
"""Which side of which outcome's book a change is of."""

IS_BID_SIDE = (True, False, True, False)
"""Whether a change is of the bids, by its side."""


class Changes(msgspec.Struct, frozen=True, gc=False):
    """Level changes of one market, one after another.

    All columns are of one length and are never changed once they are made. Every row makes sense:
    prices are 1 to 9,999 units, sizes are not negative.

    Attributes:
        numbers: Rows of the same number belong to one message; ``None`` if each is one by itself.
        received: When the message came, epoch milliseconds of the recorder; never falls.
        times: The venue's own time, epoch milliseconds; 0 if it named none.
        sides: `BID_UP`, `ASK_UP`, `BID_DOWN` or `ASK_DOWN`.
        prices: Units of 1e-4 USD.
        sizes: The total size at that price, in shares; 0 removes the level.
        places: The price as one of Up, below 0 if it is that of an ask: see `place`.
        best_bids: Best bid after the message as the venue says it, in units, -1 where it does not;
            ``None`` if it never does.
        best_asks: Likewise; ``None`` together with `best_bids`.
    """

    numbers: list[int] | None
    received: list[int]
    times: list[int]
    sides: list[int]
    prices: list[int]
    sizes: list[Decimal]
    places: list[int]
    best_bids: list[int] | None = None
    best_asks: list[int] | None = None

    def behind(self, row: int) -> int:
        """Return the first row behind the message that begins at `row`."""
        numbers, end = self.numbers, row + 1
        if numbers is not None:
            number, count = numbers[row], len(numbers)
            while end < count and numbers[end] == number:
                end += 1
        return end

    def beginning(self, row: int) -> int:
        """Return the first row of the message that `row` is of."""
        numbers = self.numbers
        if numbers is not None:
            number = numbers[row]
            while row and numbers[row - 1] == number:
                row -= 1
        return row

    def count(self, begin: int, end: int) -> int:
        """Return how many messages the rows from `begin` to before `end` are."""
        return end - begin if self.numbers is None else len(set(self.numbers[begin:end]))

    def message(self, market: Market, begin: int, end: int) -> BookDelta:
        """Return the message that the rows from `begin` to before `end` are."""
        tokens = (market.up_token, market.up_token, market.down_token, market.down_token)
        sides, bids, asks = self.sides, self.best_bids, self.best_asks
        changes = tuple(
            LevelChange(
                tokens[sides[row]],
                IS_BID_SIDE[sides[row]],
                self.prices[row],
                self.sizes[row],
                -1 if bids is None else bids[row],
                -1 if asks is None else asks[row],
            )
            for row in range(begin, end)
        )
        return BookDelta(market.condition_id, changes, self.times[begin])


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """Some of the rows of `Changes`, between which nothing else was heard.

    No message is cut in two by either end.

    Attributes:
        changes: The rows; other stretches share them.
        begin: The first row.
        end: Behind the last row; at least one is there.
        epoch: Number of the connection that brought all of them.
    """

    changes: Changes
    begin: int
    end: int
    epoch: int

    @property
    def received_ms(self) -> int:
        """When the first message came."""
        return self.changes.received[self.begin]


def place(side: int, price: int) -> int:
    """Return a price as one of Up, below 0 if it is that of an ask.

    A bid for Down at p is an ask for Up at 1 − p (PROTOCOL §2.2).
    """
    if side == BID_UP:
        return price
    if side == ASK_UP:
        return -price
    return price - PRICE_UNITS if side == BID_DOWN else PRICE_UNITS - price
