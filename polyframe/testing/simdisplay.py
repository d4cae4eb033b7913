"""What one simulated market shows: both books, and each change of them to whoever listens."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from polyframe.model.events import BookDelta, BookSnapshot, LevelChange, MarketMessage
from polyframe.model.money import PRICE_UNITS
from polyframe.testing.simbook import SimBook
from polyframe.testing.simstreams import SimMarketStream
from polyframe.testing.simvalues import SimWorld, shares


class SimDisplay:
    """The public side of one market.

    Args:
        world: Names, rules and time.
        book: What is shown.
        tick: Price step in price units.

    Attributes:
        market: Names and rules.
        tick: Price step in price units.
        streams: The market's streams that are not closed.
    """

    def __init__(self, world: SimWorld, book: SimBook, tick: int) -> None:
        self.market = world.market
        self.tick = tick
        self.streams: list[SimMarketStream] = []
        self._world = world
        self._book = book
        self._shown: dict[tuple[bool, int], int] = {}
        self.show()

    def snapshots(self) -> list[BookSnapshot]:
        """Return both books as they are."""
        bids, asks = self._book.display(is_bid=True), self._book.display(is_bid=False)
        mirrored = ({PRICE_UNITS - p: s for p, s in side.items()} for side in (asks, bids))
        down_bids, down_asks = mirrored
        return [
            BookSnapshot(
                self.market.condition_id,
                token,
                _levels(bid_side),
                _levels(ask_side),
                self._world.now_ms(),
                self.tick,
            )
            for token, bid_side, ask_side in (
                (self.market.up_token, bids, asks),
                (self.market.down_token, down_bids, down_asks),
            )
        ]

    def show(self) -> None:
        """Send what changed of the books since the last time."""
        bids, asks = self._book.display(is_bid=True), self._book.display(is_bid=False)
        shown = {(True, price): size for price, size in bids.items()}
        shown |= {(False, price): size for price, size in asks.items()}
        before, self._shown = self._shown, shown
        if not self.streams:
            return
        best_bid, best_ask = max(bids, default=0), min(asks, default=PRICE_UNITS)
        up, down = self.market.up_token, self.market.down_token
        changes = []
        for (is_bid, price), size in sorted(_difference(before, shown).items()):
            amount = shares(size)
            changes.append(LevelChange(up, is_bid, price, amount, best_bid, best_ask))
            changes.append(
                LevelChange(
                    down,
                    not is_bid,
                    PRICE_UNITS - price,
                    amount,
                    PRICE_UNITS - best_ask,
                    PRICE_UNITS - best_bid,
                )
            )
        if changes:
            self.tell(BookDelta(self.market.condition_id, tuple(changes), self._world.now_ms()))

    def tell(self, message: MarketMessage) -> None:
        """Send a message to all streams of the market."""
        self.streams = [stream for stream in self.streams if not stream.closed]
        for stream in self.streams:
            stream.send(message)


def _levels(side: Mapping[int, int]) -> tuple[tuple[int, Decimal], ...]:
    return tuple((price, shares(size)) for price, size in sorted(side.items()))


def _difference(
    before: Mapping[tuple[bool, int], int], after: Mapping[tuple[bool, int], int]
) -> dict[tuple[bool, int], int]:
    """Return the new sizes of the levels that differ; 0 where one is gone."""
    gone = {key: 0 for key in before if key not in after}
    return gone | {key: size for key, size in after.items() if before.get(key) != size}
