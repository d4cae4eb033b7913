"""Level changes of a batch as columns of plain values, and as events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise, repeat
from typing import Any

from polyframe.model.events import BookDelta, LevelChange
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.stretch import ASK_UP, BID_DOWN, BID_UP, IS_BID_SIDE, Changes, Stretch
from polyframe.recording.batches import PRICES, Columns, looked_up, plain, values
from polyframe.recording.reader import Piece
from polyframe.recording.rows import IS_BID
from polyframe.recording.tape import TapeEvent, Timed, shares

_TOPS = ("best_bid_e4", "best_ask_e4")
_OUTCOMES = {Outcome.UP.value: BID_UP, Outcome.DOWN.value: BID_DOWN}
_SIDES = {word: BID_UP if is_bid else ASK_UP for word, is_bid in IS_BID.items()}
"""What an outcome and a side add to the side of a change."""

_AS_BIDS, _AS_ASKS = PRICES[: PRICE_UNITS + 1], [0, *PRICES[:PRICE_UNITS:-1]]
_PRICES = _AS_BIDS * 4
_PLACES = [*_AS_BIDS, *_AS_ASKS, *reversed(_AS_ASKS), *reversed(_AS_BIDS)]
"""The prices of one side after the other, and the `place` of each."""


def goes_on(whole: Columns) -> Any:
    """Return of each row of a batch but the first whether it goes on with a message.

    That is a change, as the row before, and both are of one message. ``None`` if there is no such row.
    """
    compute, count, numbers = whole.compute, whole.count - 1, whole.column("message")
    are_same = compute.equal(numbers.slice(1), numbers.slice(0, count))
    if not compute.any(are_same).as_py():
        return None
    is_change = whole.are("kind", "change")
    both = compute.and_(is_change.slice(1), is_change.slice(0, count))
    found = compute.and_(both, are_same)
    return found if compute.any(found).as_py() else None


def is_torn(whole: Columns, going_on: Any) -> bool:
    """Return whether changes of one message came at several times, or on several connections."""
    compute = whole.compute
    for name in ("received", "epoch", "time"):
        column = whole.column(name).fill_null(0)
        differs = compute.not_equal(column.slice(1), column.slice(0, whole.count - 1))
        if compute.any(compute.and_(going_on, differs)).as_py():
            return True
    return False


def make_changes(columns: Columns, going_on: Any) -> Changes:
    """Return level changes that make sense; `columns` has their rows of the batch."""
    pa, compute = columns.pa, columns.compute
    sides = compute.add(columns.coded("outcome", _OUTCOMES), columns.coded("side", _SIDES))
    offsets = pa.array(range(0, len(_PRICES), PRICE_UNITS + 1), pa.int32()).take(sides)
    # Both are looked up: a price in one step, and objects that all recordings share.
    levels = plain(compute.add(columns.column("price_e4"), offsets))
    numbers = None
    if going_on is not None:
        # Not what the file calls them: there, a number may come again behind something else.
        begun = compute.cumulative_sum(compute.invert(going_on).cast(pa.int32()))
        begun = pa.concat_arrays([pa.array([0], pa.int32()), begun])
        numbers = plain(begun if columns.rows is None else begun.take(columns.rows))
    has_tops = any(columns.column(name).null_count < columns.count for name in _TOPS)
    bids, asks = (columns.prices(name, -1) if has_tops else None for name in _TOPS)
    return Changes(
        numbers,
        columns.numbers("received"),
        columns.numbers("time"),
        plain(sides),
        looked_up(_PRICES, levels),
        values(columns.column("size_e6"), shares),
        looked_up(_PLACES, levels),
        bids,
        asks,
    )


def as_events(market: Market, pieces: Iterable[Piece]) -> Iterator[TapeEvent]:
    """Yield pieces of a recording as events, each stretch as its messages."""
    shared, every = None, list[LevelChange]()
    for piece in pieces:
        if not isinstance(piece, Stretch):
            yield piece
            continue
        if piece.changes is not shared:
            shared = piece.changes
            every = _level_changes(market, shared)
        yield from _messages(market, piece, every)


def _level_changes(market: Market, changes: Changes) -> list[LevelChange]:
    tokens = (market.up_token, market.up_token, market.down_token, market.down_token)
    sides, bids, asks = changes.sides, changes.best_bids, changes.best_asks
    return list(
        map(
            LevelChange,
            map(tokens.__getitem__, sides),
            map(IS_BID_SIDE.__getitem__, sides),
            changes.prices,
            changes.sizes,
            repeat(-1) if bids is None else bids,
            repeat(-1) if asks is None else asks,
        )
    )


def _messages(market: Market, stretch: Stretch, every: list[LevelChange]) -> Iterable[Timed]:
    """Return the messages of a stretch; `every` has all level changes that its rows are of."""
    columns, begin, end, epoch = stretch.changes, stretch.begin, stretch.end, stretch.epoch
    numbers, condition = columns.numbers, market.condition_id
    groups: Iterable[tuple[LevelChange, ...]]
    if numbers is None:
        received, times = columns.received[begin:end], columns.times[begin:end]
        groups = zip(every[begin:end])
    else:
        edges = [begin]
        while edges[-1] < end:
            edges.append(columns.behind(edges[-1]))
        received = [columns.received[row] for row in edges[:-1]]
        times = [columns.times[row] for row in edges[:-1]]
        groups = [tuple(every[a:b]) for a, b in pairwise(edges)]
    return map(Timed, received, repeat(epoch), map(BookDelta, repeat(condition), groups, times))
