"""Events as stretches: what recordings that know only `Recording.events` are played by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import islice, pairwise
from typing import Any

from polyframe.model.events import BookDelta
from polyframe.model.market import Market
from polyframe.model.money import PRICE_UNITS
from polyframe.model.stretch import ASK_DOWN, ASK_UP, BID_DOWN, BID_UP, Changes, Stretch, place
from polyframe.recording.reader import Piece, Recording
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed

_Stretches = Callable[[TapeMarket], Iterator[Piece]]

_MOST = 256
"""Messages of a stretch at most: as far is read ahead."""


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


_Row = tuple[int, int, int, int, int, Decimal, int, int, int]
"""The columns of `Changes`, tops included."""


class _Gatherer:
    """Makes columns of messages of level changes."""

    def __init__(self, market: Market) -> None:
        self._condition = market.condition_id
        self._spots = _Spots(market)
        self._rows: list[_Row] = []
        # Where rows do not follow those before them, and the connection of those that begin there.
        self._cuts: list[tuple[int, int]] = []

    @property
    def count(self) -> int:
        """How many messages were taken and not told."""
        return self._rows[-1][0] + 1 if self._rows else 0

    def take(self, events: Iterable[TapeEvent]) -> TapeEvent | None:
        """Take events up to the first that is no change of this market, and return that one."""
        # All in one place, as each line of it is run for each row of a recording.
        rows, spots, condition = self._rows, self._spots, self._condition
        last, epoch = 0, None
        for number, event in enumerate(events):
            if (
                type(event) is not Timed
                or type(message := event.message) is not BookDelta
                or message.market != condition
                or not message.changes
            ):
                return event
            received, time_ms = event.received_ms, message.timestamp_ms
            if received < last or event.epoch != epoch:
                epoch = event.epoch
                self._cuts.append((len(rows), epoch))
            last = received
            try:
                for change in message.changes:
                    price = change.price
                    side, place = spots[change.token, change.is_bid, price]
                    size, bid, ask = change.size, change.best_bid, change.best_ask
                    rows.append((number, received, time_ms, side, price, size, place, bid, ask))
            except KeyError:
                while rows and rows[-1][0] == number:
                    rows.pop()
                return event
        return None

    def told(self) -> list[Stretch]:
        """Return what was taken as stretches, and begin anew."""
        rows, cuts = self._rows, self._cuts
        if not rows:
            cuts.clear()
            return []
        self._rows, self._cuts = [], []
        if len(cuts) == 1:
            return [_stretch(rows, cuts[0][1])]
        ends = pairwise([*cuts, (len(rows), 0)])
        return [
            _stretch(rows[begin:end], epoch) for (begin, epoch), (end, _) in ends if begin < end
        ]


def _stretch(rows: list[_Row], epoch: int) -> Stretch:
    """Return rows that came one after another as a stretch."""
    columns = map(list[Any], zip(*rows, strict=True))
    numbers, received, times, sides, prices, sizes, places, bids, asks = columns
    is_each_alone = numbers[-1] - numbers[0] + 1 == len(rows)
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
    return Stretch(changes, 0, len(rows), epoch)


class _Spots(dict[tuple[str, bool, int], tuple[int, int]]):
    """The side and the place of each token, side and price of a market; of nothing else.

    Raises:
        KeyError: There is no such price, or the token is of another market.
    """

    def __init__(self, market: Market) -> None:
        up, down = market.up_token, market.down_token
        self._sides = {
            (up, True): BID_UP,
            (up, False): ASK_UP,
            (down, True): BID_DOWN,
            (down, False): ASK_DOWN,
        }

    def __missing__(self, key: tuple[str, bool, int]) -> tuple[int, int]:
        token, is_bid, price = key
        if not 0 < price < PRICE_UNITS:
            raise KeyError(price)
        side = self._sides[token, is_bid]
        found = self[key] = side, place(side, price)
        return found
