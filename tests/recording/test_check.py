"""What a tape is worth."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyframe.model.events import (
    BestQuote,
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    TickSizeChange,
    TradePrint,
)
from polyframe.recording.check import TapeCheck, check_tape
from polyframe.recording.resolvedkit import ResolvedMarkets
from polyframe.recording.tape import Gap, TapeEvent, Timed
from tests.recording.kit import CONDITION, DOWN, MARKET, START_MS, TAPE, UP

ONE = Decimal(1)


def book(token: str = UP, bid: int = 4000, ask: int = 4200, ms: int = 0) -> BookSnapshot:
    """Return a book of one level a side."""
    return BookSnapshot(CONDITION, token, ((bid, ONE),), ((ask, ONE),), ms)


def delta(
    price: int, *, token: str = UP, size: int = 1, top: tuple[int, int] = (-1, -1), ms: int = 0
) -> BookDelta:
    """Return a change of a bid."""
    return BookDelta(CONDITION, (LevelChange(token, True, price, Decimal(size), *top),), ms)


def timed(*messages: MarketMessage, epoch: int = 1, after: int = 0) -> list[TapeEvent]:
    """Return messages that came ten milliseconds apart."""
    return [
        Timed(START_MS + after + 10 * number, epoch, message)
        for number, message in enumerate(messages)
    ]


def test_nothing_is_nothing() -> None:
    """A tape without events has no figures and covers nothing."""
    assert check_tape([]) == TapeCheck()
    assert not check_tape([]).covers(TAPE)


def test_messages_gaps_and_silence_are_counted() -> None:
    """Kinds, times, gaps by reason and the longest silence."""
    events = [
        *timed(book(), delta(4100), delta(4000)),
        Gap(START_MS + 25, "closed"),
        *timed(book(), TradePrint(CONDITION, UP, 4100, None, None), epoch=2, after=5_000),
    ]
    found = check_tape(events)
    assert found.messages == {"BookSnapshot": 2, "BookDelta": 2, "TradePrint": 1}
    assert (found.first_ms, found.last_ms) == (START_MS, START_MS + 5_010)
    assert found.gaps == {"closed": 1}
    assert found.longest_silence_ms == 4_975
    assert (found.unknown, found.stale, found.crossed, found.mismatches) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "before",
    [
        [],
        timed(book(DOWN)),
        [*timed(book()), Gap(START_MS, "closed")],
        timed(book(), TickSizeChange(CONDITION, DOWN, 10)),
        timed(book(), epoch=0),
    ],
    ids=["first", "other token", "gap", "tick", "connection"],
)
def test_changes_of_unknown_books_are_told(before: list[TapeEvent]) -> None:
    """A change counts as unknown until its token's book came afresh."""
    after = timed(delta(4100), book(), delta(4100), after=100)
    assert check_tape([*before, *after]).unknown == 1


def test_books_that_cross_are_told() -> None:
    """Once for each message after which they do; within a message they may."""
    within = BookDelta(
        CONDITION,
        (LevelChange(UP, True, 4300, ONE), LevelChange(UP, True, 4300, Decimal(0))),
    )
    assert check_tape(timed(book(), within)).crossed == 0
    assert check_tape(timed(book(), delta(4200), delta(4200, size=0))).crossed == 1
    assert check_tape(timed(book(bid=4200))).crossed == 1


def test_tops_that_differ_from_the_venues_are_told() -> None:
    """What the venue says of its top is compared, in changes and in quotes."""
    agree = timed(
        book(), delta(4100, top=(4100, 4200)), BestQuote(CONDITION, UP, 4100, 4200), delta(4150)
    )
    assert check_tape(agree).mismatches == 0
    differ = timed(
        book(),
        delta(4100, top=(4100, 4300)),
        BestQuote(CONDITION, UP, 4000, 4200),
        BestQuote(CONDITION, DOWN, 1, 2),
    )
    assert check_tape(differ).mismatches == 2


def test_books_from_before_are_told() -> None:
    """A whole book that is older than what was applied is not taken (PROTOCOL §4.10)."""
    events = timed(
        book(ms=100), delta(4100, ms=200), book(ms=150), BestQuote(CONDITION, UP, 4100, 4200)
    )
    found = check_tape(events)
    assert (found.stale, found.mismatches) == (1, 0)


@pytest.mark.parametrize(
    ("first", "last", "covers"),
    [(0, 0, True), (1, 0, False), (-5000, 5000, True), (0, -1001, False)],
)
def test_a_whole_window_is_covered(first: int, last: int, covers: bool) -> None:
    """From its start to its last second."""
    end = MARKET.window.end * 1000
    events = [Timed(START_MS + first, 1, book()), Timed(end + last, 1, book())]
    assert check_tape(events).covers(TAPE) is covers


def test_the_sample_holds() -> None:
    """The first market of resolvedkit is covered, and no book of it crosses."""
    pytest.importorskip("resolvedkit")
    recording = ResolvedMarkets()
    tape = recording.markets()[0]
    found = check_tape(recording.events(tape))
    assert found.covers(tape)
    assert (found.crossed, found.unknown, found.stale) == (0, 0, 0)
