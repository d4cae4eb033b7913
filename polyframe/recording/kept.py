"""Recordings that are read once, and told from memory from then on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from attrs import define, field
from typing_extensions import override

from polyframe.checks import expect_recording
from polyframe.errors import ConfigError
from polyframe.model.events import BookDelta, BookSnapshot
from polyframe.model.stretch import Changes, Stretch
from polyframe.recording.changes import as_events
from polyframe.recording.gather import pieces_of
from polyframe.recording.reader import Piece, Recording
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed

_MEGABYTE = 1_000_000
_PIECE, _LEVEL, _CHANGE = 200, 72, 72
"""Bytes of a piece, of a level of a book, and of a level change in an event."""
_COLUMN, _NUMBER, _SIZE = 8, 32, 112
"""Bytes of a place in a list, of a number that has an object of its own, of a size."""

_Counts = Counter[tuple[str, str]]
"""How many were "skipped" or "doubtful", and why."""


@define(eq=False)
class _Heard:
    """What was read of a market.

    Attributes:
        pieces: As the recording told them.
        counts: What the recording counted before it told a piece, by the number of that piece.
        rest: What comes behind them, if that is not all.
    """

    pieces: list[Piece] = field(factory=list)
    counts: dict[int, _Counts] = field(factory=dict)
    rest: Iterable[Piece] = ()


class KeptRecording:
    """Another recording, of which each market is read once and then kept in memory.

    For whoever runs the same markets again and again. A market is read as a whole when it is asked for
    the first time. What was read stays as it was, whatever becomes of the files. To another process
    goes the other recording, not what was read of it.

    It tells and counts exactly what the other recording does, a second time as well: what was left out
    on the way is counted again where it would have been. Where the other recording cannot be read on,
    nothing of that market is kept: what came before is told, the error is raised, and the next one who
    asks has it read anew.

    Several may be told of one market at the same time, in threads, too.

    Args:
        recording: The other recording.
        megabytes: How much may be kept, as `kept_megabytes` estimates it; ``None`` for all there is. A
            market that does not fit any more is read anew each time.

    Attributes:
        recording: The same.
        megabytes: The same.

    Raises:
        ConfigError: `recording` is none, such as a path; `megabytes` is negative, or no number.
    """

    def __init__(self, recording: Recording, megabytes: float | None = None) -> None:
        expect_recording("recording", recording)
        is_bound = isinstance(megabytes, int | float) and megabytes >= 0
        if megabytes is not None and not is_bound:
            msg = f"megabytes: expected at least 0, or None for no bound, got {megabytes!r}"
            raise ConfigError(msg)
        self.recording = recording
        self.megabytes = megabytes
        self._left = float("inf") if megabytes is None else megabytes * _MEGABYTE
        self._bytes = 0
        self._kept: dict[TapeMarket, _Heard] = {}
        self._lock = threading.Lock()
        # What the other recording counted ahead of those who are told, and what they were told since.
        # Never changed in place: who asks for the counts does so without the lock.
        self._ahead: _Counts = Counter()
        self._told: _Counts = Counter()

    def markets(self) -> Sequence[TapeMarket]:
        """Return the markets of the other recording."""
        # One thread at a time: a recording looks for its files when it is asked for the first time.
        with self._lock:
            return self.recording.markets()

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard of `market`.

        Raises:
            KeyError: `market` is none of this recording.
        """
        return as_events(market.market, self.stretches(market))

    def stretches(self, market: TapeMarket) -> Iterator[Piece]:
        """Yield what was heard of `market`, level changes as columns.

        Raises:
            KeyError: `market` is none of this recording.
        """
        heard = self._kept.get(market)
        if heard is None:
            return self._first(market, pieces_of(self.recording, market))
        return self._tell(heard) if heard.counts else iter(heard.pieces)

    @property
    def kept_megabytes(self) -> float:
        """About how much memory what was read takes, in 1e6 bytes."""
        return self._bytes / _MEGABYTE

    @property
    def skipped(self) -> Mapping[str, int]:
        """What the other recording left out of what was told so far, by reason."""
        return self._counted("skipped")

    @property
    def doubtful(self) -> Mapping[str, int]:
        """What looked wrong in what was told so far, by reason."""
        return self._counted("doubtful")

    def _counted(self, what: str) -> Mapping[str, int]:
        of = self.recording
        found = _joined(of.skipped, of.doubtful) - self._ahead + self._told
        return {reason: count for (which, reason), count in found.items() if which == what}

    def _first(self, market: TapeMarket, source: Iterator[Piece]) -> Iterator[Piece]:
        """Read a market, unless somebody has done it meanwhile, and tell it."""
        with self._lock:
            heard = self._kept.get(market) or self._read(market, source)
        yield from self._tell(heard)

    def _tell(self, heard: _Heard) -> Iterator[Piece]:
        counts, last = heard.counts, len(heard.pieces)
        for number, piece in enumerate(heard.pieces):
            if number in counts:
                self._count(counts[number])
            yield piece
        if last in counts:
            self._count(counts[last])
        yield from heard.rest

    def _alone(self, source: Iterator[Piece]) -> Iterator[Piece]:
        """Yield pieces, none of them while another market is read: it would get their counts."""
        while True:
            with self._lock:
                piece = next(source, None)
            if piece is None:
                return
            yield piece

    def _count(self, counts: _Counts) -> None:
        with self._lock:
            self._told = self._told + counts

    def _read(self, market: TapeMarket, source: Iterator[Piece]) -> _Heard:
        """Read a market, and keep it if that is all of it and fits."""
        heard, scale = _Heard(), _Scale()
        pieces, seen = heard.pieces, _Seen(self.recording)
        try:
            for piece in source:
                if counts := seen.news():
                    heard.counts[len(pieces)] = counts
                pieces.append(piece)
                scale.add(piece)
                if scale.bytes > self._left:
                    heard.rest = self._alone(source)
                    break
        except Exception as error:  # noqa: BLE001 - a reader may raise whatever it likes
            heard.rest = _raising(error)
        finally:
            if counts := seen.news():
                heard.counts[len(pieces)] = counts
            self._ahead = self._ahead + seen.all
        if heard.rest == ():
            self._kept[market] = heard
            self._left -= scale.bytes
            self._bytes += scale.bytes
        return heard

    @override
    def __reduce__(self) -> tuple[type[KeptRecording], tuple[Recording, float | None]]:
        return type(self), (self.recording, self.megabytes)

    @override
    def __repr__(self) -> str:
        return f"KeptRecording({self.recording!r}, megabytes={self.megabytes})"


class _Seen:
    """Sees what a recording counts while it is read."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._before = self._now()
        self.all: _Counts = Counter()

    def news(self) -> _Counts | None:
        """Return what it has counted since this was asked last; ``None`` if that is nothing."""
        # Asked for each piece: most often nothing but two small comparisons.
        before, now = self._before, self._now()
        if now == before:
            return None
        self._before = now
        found = _joined(*now) - _joined(*before)
        self.all += found
        return found

    def _now(self) -> tuple[dict[str, int], dict[str, int]]:
        return dict(self._recording.skipped), dict(self._recording.doubtful)


def _joined(skipped: Mapping[str, int], doubtful: Mapping[str, int]) -> _Counts:
    found = Counter({("skipped", reason): count for reason, count in skipped.items()})
    found.update({("doubtful", reason): count for reason, count in doubtful.items()})
    return found


def _raising(error: Exception) -> Iterator[Piece]:
    raise error
    yield


class _Scale:
    """Estimates what pieces of one market take in memory.

    Attributes:
        bytes: All so far.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._changes: Changes | None = None
        self._sizes: set[int] = set()  # by identity: most sizes come more than once, as one object

    def add(self, piece: Piece) -> None:
        """Add what a piece takes."""
        self.bytes += _PIECE
        if isinstance(piece, Stretch):
            if piece.changes is not self._changes:  # else its rows were added with another piece
                self._changes = piece.changes
                self._add_changes(piece.changes)
        elif isinstance(piece, Timed):
            message = piece.message
            if isinstance(message, BookSnapshot):
                for side in (message.bids, message.asks):
                    self._add(_LEVEL * len(side), [size for _, size in side])
            elif isinstance(message, BookDelta):
                self._add(_CHANGE * len(message.changes), [each.size for each in message.changes])

    def _add_changes(self, changes: Changes) -> None:
        columns = 6 + 2 * (changes.best_bids is not None)
        row = (
            _COLUMN * columns + 2 * _NUMBER
        )  # of the columns, prices and sides share their objects
        if changes.numbers is not None:
            row += _COLUMN + _NUMBER
        self._add(row * len(changes.received), changes.sizes)

    def _add(self, size: int, sizes: Iterable[Decimal]) -> None:
        known = len(self._sizes)
        self._sizes.update(map(id, sizes))
        self.bytes += size + _SIZE * (len(self._sizes) - known)
