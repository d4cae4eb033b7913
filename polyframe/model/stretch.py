"""Level changes of one market as columns: what a recording mostly is, without a value for each row."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from polyframe.model.events import BookDelta, LevelChange
from polyframe.model.market import Market
from polyframe.model.money import PRICE_UNITS

BID_UP, ASK_UP, BID_DOWN, ASK_DOWN = range(4)
"""Which side of which outcome's book a change is of."""


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """Level changes of one market that came one after another on one connection.

    All columns are of one length, at least 1, and are never changed once they are made. Every row
    makes sense: prices are 1 to 9,999 units, sizes are not negative. A message of several changes
    is never cut in two by the end of a stretch.

    Attributes:
        epoch: Number of the connection, as that of `polyframe.recording.tape.Timed`.
        numbers: Rows of the same number belong to one message; ``None`` if each is one by itself.
        received: When the message came, epoch milliseconds of the recorder; never falls.
        times: The venue's own time, epoch milliseconds; 0 if it named none.
        sides: `BID_UP`, `ASK_UP`, `BID_DOWN` or `ASK_DOWN`.
        prices: Units of 1e-4 USD.
        sizes: The total size at that price, in shares; 0 removes the level.
        places: The price as one of Up (a bid for Down at p is an ask for Up at 1 − p, PROTOCOL
            §2.2); that of an ask for Up is below 0.
        best_bids: Best bid after the message as the venue says it, in units, -1 where it does not;
            ``None`` if it never does.
        best_asks: Likewise.
    """

    epoch: int
    numbers: list[int] | None
    received: list[int]
    times: list[int]
    sides: list[int]
    prices: list[int]
    sizes: list[Decimal]
    places: list[int]
    best_bids: list[int] | None = None
    best_asks: list[int] | None = None

    def __len__(self) -> int:
        return len(self.received)

    def behind(self, begin: int) -> int:
        """Return the first row behind the message that begins at `begin`."""
        numbers, end = self.numbers, begin + 1
        if numbers is not None:
            number, count = numbers[begin], len(numbers)
            while end < count and numbers[end] == number:
                end += 1
        return end

    def messages(self, market: Market, begin: int, end: int) -> Iterator[tuple[int, BookDelta]]:
        """Yield the messages of the rows from `begin` to before `end`, each with its last row."""
        tokens = (market.up_token, market.up_token, market.down_token, market.down_token)
        sides, bids, asks = self.sides, self.best_bids, self.best_asks
        while begin < end:
            behind = self.behind(begin)
            changes = tuple(
                LevelChange(
                    tokens[sides[row]],
                    sides[row] in _BIDS,
                    self.prices[row],
                    self.sizes[row],
                    -1 if bids is None else bids[row],
                    -1 if asks is None else asks[row],
                )
                for row in range(begin, behind)
            )
            yield behind - 1, BookDelta(market.condition_id, changes, self.times[begin])
            begin = behind


_BIDS = (BID_UP, BID_DOWN)


def place(side: int, price: int) -> int:
    """Return a price as one of Up, below 0 if it is that of an ask: see `Stretch.places`."""
    if side == BID_UP:
        return price
    if side == ASK_UP:
        return -price
    return price - PRICE_UNITS if side == BID_DOWN else PRICE_UNITS - price
