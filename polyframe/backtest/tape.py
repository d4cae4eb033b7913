"""One market of a recording that is played: to whom its rows are told, and how many of them at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from polyframe.clock import Watch
from polyframe.counters import Cell
from polyframe.exchange.base import MarketSink
from polyframe.marketbooks import Pace
from polyframe.model.book import Book
from polyframe.model.events import BookSnapshot, MarketMessage, StreamState
from polyframe.model.market import Market, Outcome
from polyframe.model.stretch import Changes, Stretch
from polyframe.paper.book import Backlog
from polyframe.recording.reader import Piece
from polyframe.recording.tape import Gap, Timed

if TYPE_CHECKING:
    from polyframe.backtest.player import Player

_SLICE = 128
"""Rows that are unpacked together."""

_SOLO_LEAST = 4
"""Rows below which it costs more to let somebody take them by himself than to tell him of each."""


class Floor(Protocol):
    """What a market's orders stand in: it is told of each message before anybody else.

    Level changes that are of no consequence to it may wait in a backlog: they are there for whoever
    looks at its book.
    """

    def on_message(self, message: MarketMessage, now_ms: int) -> None:
        """Take one message."""
        ...

    def on_gap(self, now_ms: int) -> None:
        """Nothing is known any more, from `now_ms` on."""
        ...

    def snapshots(self) -> list[BookSnapshot]:
        """Return both books as they are, nothing while one is not known."""
        ...

    def begin_backlog(self, changes: Changes, begin: int) -> Backlog:
        """Return where rows wait; what waited before is taken."""
        ...

    def end_backlog(self) -> None:
        """Let go of the rows that waited; no more are to come."""
        ...

    def may_wait(self, changes: Changes, begin: int, end: int) -> int:
        """Return where the first message begins that may not wait; or `end`."""
        ...


Taker = Callable[[Changes, int, int, Pace], Iterator[Outcome | None]]
"""Takes rows for a sink, up to the first that somebody hears of: `ExchangeSession.rows` is one."""


class Tape:
    """One market that is played.

    Args:
        pieces: What was heard of it.
        market: The market.
        floor: What its orders stand in.
        player: Plays it.

    Attributes:
        next_ms: When its next message is due, in epoch milliseconds; ``None`` at its end.
        last_ms: When the last one came that was played, likewise; 0 before the first.
        is_solo: Whether who hears of the rows takes them himself, see `solo`.
        context: The context variables of what is played.
    """

    def __init__(
        self, pieces: Iterator[Piece], market: Market, floor: Floor, player: Player
    ) -> None:
        self._pieces = pieces
        self._market = market
        self._floor = floor
        self._player = player
        self._pass_on, self._origin = player.clock.pass_on, player.origin
        self._clock, self.context = player.clock, player.context
        self._epoch: int | None = None
        self._sinks: list[MarketSink] = []
        self._takers: list[Taker] = []
        self._solo_taker: Taker | None = None
        self._passed: Cell | None = None
        self._row = 0
        self._backlog = Backlog()
        self._received: list[int] = []
        self.last_ms = 0
        self.is_solo = False
        self._turn_over()

    def _turn_over(self) -> None:
        """Go on to the next piece."""
        piece = next(self._pieces, None)
        self._piece: Piece | None = piece
        self.next_ms = None if piece is None else piece.received_ms
        if type(piece) is Stretch:
            self._row = piece.begin

    def _is_due(self, until_ms: int) -> bool:
        return self.next_ms is not None and self.next_ms <= until_ms

    def play(self, until_ms: int) -> None:
        """Play everything that is due by then."""
        for _ in self.instants(until_ms):
            pass

    def instants(self, until_ms: int) -> Iterator[None]:
        """Play what is due by then; yield after each instant of which somebody may have heard.

        Begin anew where something else has happened meanwhile, see `Player.interrupt`.
        """
        while (piece := self._piece) is not None and self._is_due(until_ms):
            if isinstance(piece, Stretch):
                yield from self._rows(piece, until_ms)
                continue
            self.last_ms = piece.received_ms
            self._pass_on(piece.received_ms / 1000 - self._origin)
            if isinstance(piece, Timed):
                if piece.epoch != self._epoch:
                    self._begin(piece)
                self._floor.on_message(piece.message, piece.received_ms)
                for sink in self._sinks:
                    sink.on_market_message(piece.message)
            else:
                self._interrupt(piece)
            if self._piece is piece:  # else one of those who were told has ended it
                self._turn_over()
            if self.next_ms != self.last_ms:
                yield

    def _rows(self, piece: Stretch, until_ms: int) -> Iterator[None]:
        """Play rows of a stretch that are due by then, likewise."""
        changes, floor = piece.changes, self._floor
        received, end = changes.received, piece.end
        if self._row == piece.begin:
            self._enter(piece)
        if received[end - 1] > until_ms:
            end = bisect_right(received, until_ms, self._row, end)
        while (row := self._row) < end:
            free = floor.may_wait(changes, row, end)
            if free == row:
                taken = self._message(changes, row, changes.behind(row))
            else:
                taken = self._taken(changes, row, free)
            for _ in taken:
                if self._piece is not piece:
                    return  # one of those who were told has ended it
                self._note(piece)
                # Nobody goes on amid an instant.
                if self.next_ms != self.last_ms:
                    yield
            if self._piece is not piece:
                return

    def _note(self, piece: Stretch) -> None:
        """Note how far a stretch was played."""
        row, received = self._backlog.end, self._received
        self.last_ms = received[row - 1]
        if row == piece.end:
            self._turn_over()
        else:
            self._row, self.next_ms = row, received[row]

    def _enter(self, piece: Stretch) -> None:
        """Begin with a stretch; that before it may be of the same rows, which may be left out in between."""
        changes = piece.changes
        self._pass_on(piece.received_ms / 1000 - self._origin)
        if piece.epoch != self._epoch:
            self._begin(piece)
        if self._received is not changes.received or self._backlog.end != piece.begin:
            self._received = changes.received
            self._backlog = self._floor.begin_backlog(changes, piece.begin)

    def _message(self, changes: Changes, begin: int, end: int) -> Iterator[Outcome | None]:
        """Let everybody take a message that may not wait."""
        now_ms = changes.received[begin]
        self._pass_on(now_ms / 1000 - self._origin)
        self._floor.on_message(changes.message(self._market, begin, end), now_ms)
        self._backlog.begin = self._backlog.end = end
        return self._each(changes, begin, end)

    def _taken(self, changes: Changes, begin: int, end: int) -> Iterator[Outcome | None]:
        """Let the sinks take rows that may wait."""
        takers = self._takers
        if len(takers) == 1:
            return takers[0](changes, begin, end, self)
        # With several, one message at a time: they hear of each in turn.
        return self._each(changes, begin, changes.behind(begin))

    def _each(self, changes: Changes, begin: int, end: int) -> Iterator[None]:
        """Let each sink take rows; yield behind them."""
        self.arrive(end - 1)
        for take in self._takers:
            for _ in take(changes, begin, end, self):
                pass
        yield None

    def arrive(self, row: int) -> float:
        """Make it as late as `row`, which is over for the floor, too; return the market time."""
        backlog, now_ms = self._backlog, self._received[row]
        if row >= backlog.end:
            backlog.end = row + 1
        # `pass_on`, spelled out: it comes with every row that is heard of.
        when, clock = now_ms / 1000 - self._origin, self._clock
        if when > clock.elapsed:
            clock.elapsed = when
        return clock.start + clock.elapsed

    def time_of(self, row: int) -> float:
        """Return the market time at which a row came, or now if that is later."""
        return self._clock.time_at(self._received[row] / 1000 - self._origin)

    def solo(self) -> Solo | None:
        """Let the one who hears of it take the rows that are due before anything else happens."""
        piece, take = self._piece, self._solo_taker
        limit_ms, most = self._player.solo_room()
        if take is None or type(piece) is not Stretch or self._row == piece.begin:
            return None
        row, changes = self._row, piece.changes
        received = changes.received
        if received[row] > limit_ms:
            return None
        if received[row] / 1000 - self._origin < self._clock.elapsed:
            return None  # times of a recording that fell: they do not turn back time
        # The last message stays behind: who turns over reads on, which is none of the one who hears.
        end = min(piece.end - 1, row + most)
        if received[end] > limit_ms:
            end = bisect_right(received, limit_ms, row, end)
        if row < end:
            end = self._floor.may_wait(changes, row, end)
        # Nobody goes on amid an instant, nor within a message.
        end = bisect_left(received, received[end], row, end)
        if end - row < _SOLO_LEAST:
            return None
        self.is_solo, self._passed = True, None
        solo = Solo(self._player, self, take(changes, row, end, self))
        self._player.begin_solo(solo)
        return solo

    def end_solo(self) -> int:
        """Note how many rows were taken, and return it."""
        self.is_solo = False
        piece, count = self._piece, self._backlog.end - self._row
        if count > 0 and isinstance(piece, Stretch):
            self._note(piece)
            if self._passed is not None:
                self._passed.value += count
        return count

    def steps(
        self,
        changes: Changes,
        begin: int,
        end: int,
        places: Sequence[tuple[Book, bool, Outcome]],
        tell: Callable[[Outcome], None],
        passed: Cell,
    ) -> Iterator[Outcome | None]:
        """Take rows in solo, see `Pace.steps`."""
        backlog, clock, origin, start = self._backlog, self._clock, self._origin, self._clock.start
        self._passed, is_amid = passed, False
        for first in range(begin, end, _SLICE):
            last = min(first + _SLICE, end)
            received = changes.received[first : last + 1]
            # This is what a row costs that is heard of: `arrive` is spelled out.
            for behind, side, price, size, time_ms, now_ms, next_ms in zip(
                range(first + 1, last + 1),
                changes.sides[first:last],
                changes.prices[first:last],
                changes.sizes[first:last],
                changes.times[first:last],
                received,
                received[1:],
                strict=False,
            ):
                book, is_bid, outcome = places[side]
                is_top = book.apply_change(is_bid, price, size)
                if time_ms > book.timestamp_ms:
                    book.timestamp_ms = time_ms
                backlog.end = behind
                clock.elapsed = when = now_ms / 1000 - origin
                book.received = start + when
                if now_ms != next_ms and not (is_top or is_amid):
                    yield outcome
                    continue
                tell(outcome)
                is_amid = now_ms == next_ms
                if not is_amid:
                    yield None

    def _begin(self, event: Timed | Stretch) -> None:
        # The first connection is nothing new to who listens: it is told when it connects.
        is_first, self._epoch = self._epoch is None, event.epoch
        if not is_first:
            self._floor.on_gap(event.received_ms)
            for sink in self._sinks:
                sink.on_market_stream(StreamState.CONNECTED, "")

    def _interrupt(self, gap: Gap) -> None:
        self._floor.on_gap(gap.received_ms)
        for sink in self._sinks:
            sink.on_market_stream(StreamState.LOST, gap.reason)

    def connect(self, sink: MarketSink) -> None:
        """Begin to tell `sink`: first the books as they stand, then every row."""
        sink.on_market_stream(StreamState.CONNECTED, "")
        for snapshot in self._floor.snapshots():
            sink.on_market_message(snapshot)
        # A list of its own, because one of those who are being told may ask for it.
        self._set_sinks([*self._sinks, sink])

    def disconnect(self, sink: MarketSink) -> None:
        """Tell `sink` nothing more."""
        self._set_sinks([other for other in self._sinks if other is not sink])

    def _set_sinks(self, sinks: list[MarketSink]) -> None:
        self._sinks = sinks
        # Not by a protocol: to compare with one takes longer than all else here.
        own: list[Taker | None] = [getattr(sink, "rows", None) for sink in sinks]
        self._takers = [
            take or partial(self._spell, sink) for sink, take in zip(sinks, own, strict=True)
        ]
        self._solo_taker = own[0] if len(own) == 1 else None
        self._player.interrupt()

    def _spell(
        self,
        sink: MarketSink,
        changes: Changes,
        begin: int,
        end: int,
        pace: Pace,
    ) -> Iterator[None]:
        """Tell a sink that takes nothing but messages."""
        while begin < end:
            behind = changes.behind(begin)
            pace.arrive(behind - 1)
            sink.on_market_message(changes.message(self._market, begin, behind))
            yield None
            begin = behind

    def stop(self) -> None:
        """End here, whatever was to come."""
        self._set_sinks([])
        self._piece, self.next_ms = None, None
        self._pieces = iter(())
        self._floor.end_backlog()


class Solo(Watch):
    """Rows of a tape that the one who hears of them takes himself."""

    def __init__(self, player: Player, tape: Tape, rows: Iterator[Outcome | None]) -> None:
        super().__init__()
        self.player, self.tape = player, tape
        self.rows, self.ready = rows, player.clock.ready

    def end(self) -> None:
        """Take no more rows; the present instant is played to its end."""
        self.player.interrupt()
        if self.tape.next_ms == self.tape.last_ms:
            self.player.catch_up()
