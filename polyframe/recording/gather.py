"""Events as stretches: what recordings that know only `Recording.events` are played by."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from typing import Any

from polyframe.model.events import BookDelta
from polyframe.model.market import Market
from polyframe.model.money import PRICE_UNITS
from polyframe.model.stretch import (
    ASK_DOWN,
    ASK_UP,
    BID_DOWN,
    BID_UP,
    IS_BID_SIDE,
    Changes,
    Stretch,
    place,
)
from polyframe.recording.reader import Piece, Recording
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed

_Stretches = Callable[[TapeMarket], Iterator[Piece]]

_MOST = 256
"""Messages of a stretch at most: as far is read ahead."""

_WIDTH = len(Changes.__struct_fields__)


def pieces_of(recording: Recording, entry: TapeMarket) -> Iterator[Piece]:
    """Yield what was heard of a market of `recording`, level changes as stretches."""
    # As `Columnar`, without what it costs to compare with a protocol.
    stretches: _Stretches | None = getattr(recording, "stretches", None)
    if stretches is not None and _tells_both(type(recording)):
        return stretches(entry)
    return gather(recording.events(entry), entry.market)


def _tells_both(kind: type) -> bool:
    """Return whether its stretches are its own: not those of a base class whose events it replaces."""
    for base in kind.__mro__:
        if "stretches" in vars(base):
            return True
        if "events" in vars(base):
            return False
    return True


def gather(events: Iterable[TapeEvent], market: Market) -> Iterator[Piece]:
    """Yield `events`, but level changes that follow each other as stretches.

    What is not plainly a level change of `market` stays as it is. Where `events` raises, what came
    before is yielded first.
    """
    gatherer, source = _Gatherer(market), iter(events)
    is_over = False
    while not is_over:
        other: TapeEvent | None = None
        failure: Exception | None = None
        try:
            other = gatherer.take(islice(source, _MOST))
            is_over = other is None and gatherer.count < _MOST
        except Exception as error:  # noqa: BLE001 - a reader may raise whatever it likes
            failure = error
        yield from gatherer.told()
        if failure is not None:
            raise failure
        if other is not None:
            yield other


_Columns = tuple[list[Any], ...]
"""Those of `Changes`, in its order; numbers and tops are there in any case."""


class _Gatherer:
    """Makes columns of messages of level changes."""

    def __init__(self, market: Market) -> None:
        up, down = market.up_token, market.down_token
        self._condition = market.condition_id
        # Of each token the side of its bids or asks, and the places of their prices.
        self._bids = {up: (BID_UP, _PLACES[BID_UP]), down: (BID_DOWN, _PLACES[BID_DOWN])}
        self._asks = {up: (ASK_UP, _PLACES[ASK_UP]), down: (ASK_DOWN, _PLACES[ASK_DOWN])}
        self._begin()

    def _begin(self) -> None:
        self._columns: _Columns = tuple([] for _ in range(_WIDTH))
        # Where rows do not follow those before them, and the connection of those that begin there.
        self._cuts: list[tuple[int, int]] = []

    @property
    def count(self) -> int:
        """How many messages were taken and not told."""
        numbers = self._columns[0]
        return numbers[-1] + 1 if numbers else 0

    def take(self, events: Iterable[TapeEvent]) -> TapeEvent | None:
        """Take events up to the first that is no change of this market, and return that one."""
        # All in one place, as each line of it is run for each row of a recording.
        condition, of_bids, of_asks = self._condition, self._bids, self._asks
        numbers, received, times, sides, prices, sizes, places, bids, asks = self._columns
        last, epoch = 0, None
        for number, event in enumerate(events):
            if (
                type(event) is not Timed
                or type(message := event.message) is not BookDelta
                or message.market != condition
                or not message.changes
            ):
                return event
            received_ms, time_ms = event.received_ms, message.timestamp_ms
            if received_ms < last or event.epoch != epoch:
                epoch = event.epoch
                self._cuts.append((len(numbers), epoch))
            last = received_ms
            try:
                for change in message.changes:
                    price = change.price
                    side, known = of_bids[change.token] if change.is_bid else of_asks[change.token]
                    places.append(known[price])  # the first, as it may fail
                    numbers.append(number)
                    received.append(received_ms)
                    times.append(time_ms)
                    sides.append(side)
                    prices.append(price)
                    sizes.append(change.size)
                    bids.append(change.best_bid)
                    asks.append(change.best_ask)
            except KeyError:
                begin = bisect_left(numbers, number)
                for column in self._columns:
                    del column[begin:]
                return event
        return None

    def told(self) -> list[Stretch]:
        """Return what was taken as stretches, and begin anew."""
        columns, cuts = self._columns, self._cuts
        count = len(columns[0])
        self._begin()
        if not count:
            return []
        if len(cuts) == 1:
            return [_stretch(columns, cuts[0][1])]
        return [
            _stretch(tuple(column[begin:end] for column in columns), epoch)
            for (begin, epoch), (end, _) in pairwise([*cuts, (count, 0)])
            if begin < end
        ]


def _stretch(columns: _Columns, epoch: int) -> Stretch:
    """Return rows that came one after another as a stretch."""
    numbers, received, times, sides, prices, sizes, places, bids, asks = columns
    is_each_alone = numbers[-1] - numbers[0] + 1 == len(numbers)
    has_tops = max(bids) >= 0
    changes = Changes(
        None if is_each_alone else numbers,
        received,
        times,
        sides,
        prices,
        sizes,
        places,
        bids if has_tops else None,
        asks if has_tops else None,
    )
    return Stretch(changes, 0, len(numbers), epoch)


class _Places(dict[int, int]):
    """The place of each price of a side; of nothing else.

    Raises:
        KeyError: There is no such price.
    """

    def __init__(self, side: int) -> None:
        self._side = side

    def __missing__(self, price: int) -> int:
        if not 0 < price < PRICE_UNITS:
            raise KeyError(price)
        found = self[price] = place(self._side, price)
        return found


_PLACES = [_Places(side) for side in range(len(IS_BID_SIDE))]
"""By side, for all markets."""
