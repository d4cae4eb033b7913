"""What every recording offers, wherever it comes from."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import msgspec

from polyframe.errors import ConfigError
from polyframe.model.events import BookSnapshot
from polyframe.model.stretch import Stretch
from polyframe.recording.tape import Gap, TapeEvent, TapeMarket, Timed

Piece = Timed | Gap | Stretch
"""What a recording says: an event, or level changes as columns in place of one event for each."""


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


@runtime_checkable
class Columnar(Protocol):
    """A recording that can tell level changes as columns, without a value for each of them.

    No recording needs it: one without is read by its `Recording.events`. One that has it says the
    same with both: stretches taken apart into their messages are the events. A class that inherits
    this and replaces `events` alone is read by its events.
    """

    def stretches(self, market: TapeMarket) -> Iterator[Piece]:
        """Yield what was heard of `market`, in order, level changes as `Stretch`.

        Lazy, and with the same counts of what is skipped or doubtful as `Recording.events`.

        Raises:
            KeyError: `market` is none of this recording.
        """
        ...


def with_own_names(markets: Iterable[TapeMarket]) -> list[TapeMarket]:
    """Return markets in their order, without the second of two windows that have one slug.

    That is the hour that New York repeats in autumn. Cycles are told apart by their slugs: those of the
    two would be one story, with one result.
    """
    starts: dict[str, int] = {}
    return [
        entry
        for entry in markets
        if starts.setdefault(entry.market.slug, entry.market.window.start)
        == entry.market.window.start
    ]


FILES = frozenset({"unreadable", "schema_version", "duplicate"})
"""Reasons for which a whole file is skipped, when markets are listed: once in the life of a recording."""


def skipped_since(data: Recording, before: Mapping[str, int]) -> Counter[str]:
    """Return what a recording has left out since `before`.

    Files that it skipped when it listed its markets concern each run on it, whichever was the first.
    """
    now = Counter(data.skipped)
    found = now - Counter(before)
    found.update({reason: now[reason] - found[reason] for reason in FILES & now.keys()})
    return found


def checked(events: Iterable[TapeEvent], doubtful: Counter[str]) -> Iterator[TapeEvent]:
    """Yield `events` in order of ``received_ms``, and count what looks wrong.

    Args:
        events: In the order in which they arrived.
        doubtful: Counts ``time_went_back`` (the recorder's clock was set back: the order of arrival
            counts, and the event gets the time of the one before it) and ``crossed`` (a whole book
            whose best bid is not below its best ask).
    """
    return map(Checker(doubtful).take, events)


class Checker:
    """Does what `checked` does, for an event at a time.

    Attributes:
        last: When the last event came; none may have come before.
    """

    def __init__(self, doubtful: Counter[str]) -> None:
        self.last = 0
        self._doubtful = doubtful

    def take(self, event: TapeEvent) -> TapeEvent:
        """Return `event` in its order of time, and count what looks wrong."""
        if event.received_ms < self.last:
            self._doubtful["time_went_back"] += 1
            event = msgspec.structs.replace(event, received_ms=self.last)
        self.last = event.received_ms
        self.look_at(event)
        return event

    def look_at(self, event: TapeEvent) -> None:
        """Count what looks wrong in an event, whenever it came."""
        if isinstance(event, Timed) and isinstance(book := event.message, BookSnapshot):
            bids, asks = book.bids, book.asks
            if bids and asks and max(bids)[0] >= min(asks)[0]:
                self._doubtful["crossed"] += 1


@contextmanager
def naming(location: str) -> Iterator[None]:
    """Have what goes wrong while a file is read name the file.

    Args:
        location: Its path or URL.

    Raises:
        OSError: It cannot be read to its end.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # Arrow has errors of both kinds
        msg = f"{location} cannot be read to its end: {error}"
        raise OSError(msg) from error


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
            "install what reads and writes recordings with: "
            "pip install '.[data]' in the checkout of polyframe"
        )
        raise ConfigError(msg) from error
