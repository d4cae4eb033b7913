"""What every recording offers, wherever it comes from."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter, gt
from typing import Any, Protocol, runtime_checkable

import msgspec

from polyframe.errors import ConfigError
from polyframe.model.events import BookDelta, BookSnapshot
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed


@runtime_checkable
class Recording(Protocol):
    """Markets that were recorded, and what was heard of each."""

    def markets(self) -> Sequence[TapeMarket]:
        """Return all markets in order of their windows; cheap."""
        ...

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard of `market`, in order of ``received_ms``.

        Lazy: a market never is in memory as a whole.

        Raises:
            KeyError: `market` is none of this recording.
        """
        ...

    @property
    def skipped(self) -> Mapping[str, int]:
        """What could not be used so far and was left out, by reason."""
        ...

    @property
    def doubtful(self) -> Mapping[str, int]:
        """What looked wrong so far and was passed on all the same, by reason."""
        ...


def checked(events: Iterable[TapeEvent], doubtful: Counter[str]) -> Iterator[TapeEvent]:
    """Yield `events` in order of ``received_ms``, and count what looks wrong.

    Args:
        events: In the order in which they arrived.
        doubtful: Counts ``time_went_back`` (the recorder's clock was set back: the order of arrival
            counts, and the event gets the time of the one before it) and ``crossed`` (a whole book
            whose best bid is not below its best ask).
    """
    last = 0
    for event in events:
        found = _in_order(event, last, doubtful)
        last = found.received_ms
        _look_at(found, doubtful)
        yield found


def checked_blocks(
    blocks: Iterable[Sequence[TapeEvent]], doubtful: Counter[str]
) -> Iterator[Sequence[TapeEvent]]:
    """Do what `checked` does, for events that come many at a time."""
    last = 0
    for block in blocks:
        times = [last, *map(_received_ms, block)]
        found = block
        if any(map(gt, times, islice(times, 1, None))):
            found = []
            for event in block:
                found.append(_in_order(event, last, doubtful))
                last = found[-1].received_ms
        last = max(last, times[-1])
        for event in found:
            if type(event) is not Timed or type(event.message) is not BookDelta:
                _look_at(event, doubtful)
        yield found


def _in_order(event: TapeEvent, last: int, doubtful: Counter[str]) -> TapeEvent:
    if event.received_ms >= last:
        return event
    doubtful["time_went_back"] += 1
    return msgspec.structs.replace(event, received_ms=last)


def _look_at(event: TapeEvent, doubtful: Counter[str]) -> None:
    if isinstance(event, Timed) and isinstance(book := event.message, BookSnapshot):
        bids, asks = book.bids, book.asks
        if bids and asks and max(bids)[0] >= min(asks)[0]:
            doubtful["crossed"] += 1


_received_ms = attrgetter("received_ms")


def load_optional(module: str, what: str) -> Any:
    """Import a module of the extra ``data``.

    Args:
        module: Its name.
        what: Who needs it, for the message.

    Raises:
        ConfigError: It is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        msg = (
            f"{what}: the package {error.name} is not installed; "
            "install what reads and writes recordings with: pip install '.[data]'"
        )
        raise ConfigError(msg) from error
