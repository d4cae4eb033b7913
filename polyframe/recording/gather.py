"""Events as stretches: what recordings that know only `Recording.events` are played by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from polyframe.model.events import BookDelta, MarketMessage
from polyframe.model.market import Market
from polyframe.model.money import PRICE_UNITS
from polyframe.model.stretch import ASK_DOWN, ASK_UP, BID_DOWN, BID_UP, Changes, Stretch, place
from polyframe.recording.reader import Columnar, Piece, Recording
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed

_MOST = 256
"""Messages of a stretch at most: as far is read ahead."""


def pieces_of(recording: Recording, entry: TapeMarket) -> Iterator[Piece]:
    """Yield what was heard of a market of `recording`, level changes as stretches."""
    if isinstance(recording, Columnar) and _tells_both(type(recording)):
        return recording.stretches(entry)
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
    gatherer, run = _Gatherer(market), list[Timed]()
    source = iter(events)
    while True:
        other: TapeEvent | None = None
        failure: Exception | None = None
        try:
            for event in source:
                if (
                    type(event) is not Timed
                    or type(event.message) is not BookDelta
                    or len(run) >= _MOST
                    or (run and not _follows(run[-1], event))
                ):
                    other = event
                    break
                run.append(event)
        except Exception as error:  # noqa: BLE001 - a reader may raise whatever it likes
            failure = error
        yield from gatherer.pieces(run)
        run = []
        if failure is not None:
            raise failure
        if other is None:
            return
        if isinstance(other, Timed) and isinstance(other.message, BookDelta):
            run.append(other)
        else:
            yield other


def _follows(last: Timed, event: Timed) -> bool:
    return event.epoch == last.epoch and event.received_ms >= last.received_ms


class _Gatherer:
    """Makes columns of messages of level changes."""

    def __init__(self, market: Market) -> None:
        up, down = market.up_token, market.down_token
        self._condition = market.condition_id
        self._sides = {
            (up, True): BID_UP,
            (up, False): ASK_UP,
            (down, True): BID_DOWN,
            (down, False): ASK_DOWN,
        }

    def pieces(self, run: list[Timed]) -> Iterator[Piece]:
        """Yield messages of one epoch, in order, as stretches; those that make no sense as they are."""
        begin = 0
        for end, timed in enumerate(run):
            if not self._makes_sense(timed.message):
                if begin < end:
                    yield self._stretch(run[begin:end])
                yield timed
                begin = end + 1
        if begin < len(run):
            yield self._stretch(run[begin:])

    def _makes_sense(self, message: MarketMessage) -> bool:
        if not isinstance(message, BookDelta) or message.market != self._condition:
            return False
        sides = self._sides
        for change in message.changes:
            if (change.token, change.is_bid) not in sides or not 0 < change.price < PRICE_UNITS:
                return False
        return bool(message.changes)

    def _stretch(self, run: list[Timed]) -> Stretch:
        rows = [
            (number, timed.received_ms, message.timestamp_ms, change)
            for number, timed in enumerate(run)
            if isinstance(message := timed.message, BookDelta)
            for change in message.changes
        ]
        numbers, received, times, levels = map(list[Any], zip(*rows, strict=True))
        sides, prices = self._sides, [change.price for change in levels]
        codes = [sides[change.token, change.is_bid] for change in levels]
        bids = [change.best_bid for change in levels]
        has_tops = max(bids) >= 0
        changes = Changes(
            numbers if len(rows) > len(run) else None,
            received,
            times,
            codes,
            prices,
            [change.size for change in levels],
            list(map(place, codes, prices)),
            bids if has_tops else None,
            [change.best_ask for change in levels] if has_tops else None,
        )
        return Stretch(changes, 0, len(rows), run[0].epoch)
