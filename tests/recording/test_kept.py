"""Recordings that are read once tell and count what they would if they were read each time."""

from __future__ import annotations

import pickle
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from polyframe import ConfigError, KeptRecording, ParquetRecording, write_market
from polyframe.model.events import BookDelta, BookSnapshot, LevelChange, MarketMessage
from polyframe.model.stretch import Stretch
from polyframe.recording.gather import pieces_of
from polyframe.recording.reader import Piece, Recording
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed
from tests.backtest.kit import Made, both, make_entry, wandering
from tests.backtest.test_by_column import tame, wild

BOUNDS = st.sampled_from([None, 0.0, 0.004, 0.02, 10.0])


@define(eq=False)
class Faulty(Made):
    """A recording that leaves rows out, doubts others, counts both, and may break in the middle.

    Attributes:
        breaks: Whether each market cannot be read on from somewhere.
        opened: The markets that were read, each time.
    """

    breaks: bool = False
    opened: list[str] = field(init=False, factory=list)
    left_out: Counter[str] = field(init=False, factory=Counter)
    doubted: Counter[str] = field(init=False, factory=Counter)

    @override
    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield some of the rows."""
        slug = market.market.slug
        self.opened.append(slug)
        chance = random.Random(slug)
        events = list(Made.events(self, market))
        broken = chance.randrange(len(events)) if self.breaks else len(events)
        for number, event in enumerate(events):
            if number == broken:
                self.left_out["last"] += 1
                raise ValueError(f"{slug}: broken")
            if chance.random() < 0.1:
                self.left_out[chance.choice(["odd", "even"])] += 1
                continue
            self.doubted["late"] += chance.random() < 0.1
            yield event
        self.left_out["end"] += 1

    @property
    @override
    def skipped(self) -> Mapping[str, int]:
        """What was left out."""
        return self.left_out

    @property
    @override
    def doubtful(self) -> Mapping[str, int]:
        """What was doubted."""
        return self.doubted


class Listener:
    """Somebody who is told of a market, some pieces at a time."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces

    def hear(self, count: int) -> list[object]:
        """Return the next pieces, or what they end with."""
        heard: list[object] = []
        for _ in range(count):
            try:
                heard.append(next(self._pieces, "end"))
            except ValueError as error:
                heard.append(str(error))
        return heard


def counts(recording: Recording) -> tuple[dict[str, int], dict[str, int]]:
    """Return what a recording has counted."""
    # A count of nothing is none.
    return dict(+Counter(recording.skipped)), dict(+Counter(recording.doubtful))


def reads(recording: Recording, chance: random.Random, steps: int) -> list[object]:
    """Let listeners come and go and hear some of their markets; return all that they saw."""
    listeners, seen = list[Listener](), list[object]()
    for _ in range(steps):
        what = chance.random()
        if what < 0.25 or not listeners:
            market = chance.choice(list(recording.markets()))
            listeners.append(Listener(pieces_of(recording, market)))
        elif what < 0.35:
            listeners.pop(chance.randrange(len(listeners)))
        else:
            seen.append(chance.choice(listeners).hear(chance.choice([1, 3, 20, 500])))
        seen.append(counts(recording))
    return seen


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 100_000), breaks=st.booleans(), megabytes=BOUNDS, steps=st.integers(2, 40)
)
def test_listeners_that_come_and_go_are_told_the_same(
    seed: int, breaks: bool, megabytes: float | None, steps: int
) -> None:
    """Whoever hears how much of what and when: each piece, each count and each error is the same."""
    rows = wild(seed).rows
    plain, kept = Faulty(rows, breaks), KeptRecording(Faulty(rows, breaks), megabytes)
    expected = reads(plain, random.Random(seed), steps)
    assert reads(kept, random.Random(seed), steps) == expected


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100_000), megabytes=BOUNDS)
def test_its_events_are_those_of_the_recording(seed: int, megabytes: float | None) -> None:
    """Each time, those of foreign tokens, empty messages and gaps among them; and so are the counts."""
    plain, kept = (Faulty(wild(seed).rows) for _ in range(2))
    data = KeptRecording(kept, megabytes)
    assert list(data.markets()) == list(plain.markets())
    for _ in range(3):
        for entry in plain.markets():
            assert list(data.events(entry)) == list(plain.events(entry))
            assert counts(data) == counts(plain)


def test_each_market_is_read_once_and_not_before_it_is_asked_for() -> None:
    """By whichever of its methods, as often as one likes."""
    source = Faulty(wandering(3, cycles=3).rows)
    data = KeptRecording(source)
    first, second, third = data.markets()
    for _ in range(2):
        list(data.stretches(second))
        list(data.events(second))
        next(data.events(first))
    assert source.opened == [second.market.slug, first.market.slug]
    assert data.stretches(third) is not None
    assert len(source.opened) == 2
    # Both were asked for before either had read.
    ones = [data.events(third), data.events(third)]
    assert list(ones[1]) == list(ones[0])
    assert len(source.opened) == 3


def test_what_does_not_fit_is_read_each_time() -> None:
    """The bound holds; a smaller market that comes later may still fit."""
    small, large = wandering(3, cycles=1, rows=20), wandering(4, cycles=3, rows=300)
    rows = [*large.rows[1:], *small.rows]
    each = [KeptRecording(Made([row])) for row in rows]
    for data, (entry, _) in zip(each, rows, strict=True):
        list(data.stretches(entry))
    sizes = [data.kept_megabytes for data in each]
    bound = sizes[0] + sizes[2]
    assert sizes[1] > sizes[2] > 0
    source = Faulty(rows)
    data = KeptRecording(source, bound * 1.01)
    for _ in range(3):
        for entry in source.markets():
            list(data.stretches(entry))
    slugs = [entry.market.slug for entry, _ in rows]
    assert Counter(source.opened) == {slugs[0]: 1, slugs[1]: 3, slugs[2]: 1}
    assert 0 < data.kept_megabytes <= bound * 1.01


def test_what_is_counted_in_one_market_is_not_noted_for_another() -> None:
    """While a thread reads a market, another one that is told of one that does not fit waits."""
    first, second = make_entry(), make_entry(1)
    amid, is_told = threading.Event(), threading.Event()

    class Counting(Faulty):
        @override
        def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
            """Yield all rows, each with a count of its market."""
            for number, event in enumerate(Made.events(self, market)):
                if market == second and number == 1:
                    amid.set()
                    is_told.wait(0.3)  # the other one comes amid this, or waits
                self.left_out[market.market.slug] += 1
                yield event

    many: list[tuple[float, list[MarketMessage]]] = [(i, both(first, 48, 52)) for i in range(60)]
    few: list[tuple[float, list[MarketMessage]]] = [(i, both(second, 48, 52)) for i in range(3)]
    small = Made().add(second, *few)
    whole = KeptRecording(Made(small.rows))
    list(whole.stretches(second))
    data = KeptRecording(
        Counting(small.add(first, *many).rows), megabytes=1.5 * whole.kept_megabytes
    )
    told = data.stretches(first)
    for _ in range(30):
        next(told)

    def ask() -> None:
        amid.wait(60)
        for _ in range(5):
            next(told)
        is_told.set()

    other = threading.Thread(target=ask)
    other.start()
    assert len(list(data.stretches(second))) == 6
    other.join(60)
    slugs = first.market.slug, second.market.slug
    assert [data.skipped[slug] for slug in slugs] == [35, 6]
    list(data.stretches(second))
    assert [data.skipped[slug] for slug in slugs] == [35, 12]


def test_a_market_that_cannot_be_read_on_is_read_anew() -> None:
    """What was wrong may be over: nothing of the first attempt is left."""
    source = Faulty(wandering(5, cycles=1).rows, breaks=True)
    data = KeptRecording(source)
    (entry,) = data.markets()
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            list(data.stretches(entry))
    assert data.kept_megabytes == 0
    source.breaks = False
    assert list(data.events(entry)) == list(data.events(entry))
    assert len(source.opened) == 3
    assert data.kept_megabytes > 0


def test_who_is_interrupted_while_a_market_is_read_has_not_kept_the_half_of_it() -> None:
    """A Ctrl-C ends the generator of a reader for good; the next run is told all of it."""
    rows = wandering(6, cycles=1).rows

    class Interrupted(Made):
        is_over = False

        @override
        def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
            for number, event in enumerate(Made.events(self, market)):
                if number == 40 and not self.is_over:
                    self.is_over = True
                    raise KeyboardInterrupt
                yield event

    data, plain = KeptRecording(Interrupted(rows)), Made(rows)
    (entry,) = data.markets()
    stretches = data.stretches(entry)
    with pytest.raises(KeyboardInterrupt):
        next(stretches)
    assert list(data.events(entry)) == list(plain.events(entry))


def test_threads_that_ask_at_the_same_time_wait_for_one_of_them() -> None:
    """The market is read once, nobody is told half of it, and what is counted is lost for nobody."""

    class Waiting(Faulty):
        second = threading.Event()

        @override
        def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
            for number, event in enumerate(super().events(market)):
                if len(self.opened) > 1:
                    self.second.set()
                elif number == 5:
                    self.second.wait(0.3)  # who does not wait for this one comes now
                yield event

    source = Waiting(wandering(7, cycles=1).rows)
    data, told = KeptRecording(source), list[list[Piece]]()
    (entry,) = data.markets()
    together = threading.Barrier(4)

    def ask() -> None:
        stretches = data.stretches(entry)
        together.wait(60)
        told.append(list(stretches))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(source.opened) == 1
    assert [len(each) for each in told] == [len(told[0])] * 4
    assert counts(data)[0] == {reason: 4 * n for reason, n in source.left_out.items()}


@pytest.mark.parametrize("is_kept", [True, False])
def test_threads_that_ask_for_the_markets_at_the_same_time_are_told_all_of_them(
    is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes while another one looks for them is not told that there are none."""
    rows = wandering(7, cycles=2).rows
    for entry, events in rows:
        write_market(tmp_path, entry, events)
    plain = ParquetRecording(tmp_path)
    data: Recording = KeptRecording(plain) if is_kept else plain
    amid, is_told, told, looks = threading.Event(), threading.Event(), list[int](), list[str]()
    read = ParquetRecording._read_metadata

    def slowly(recording: ParquetRecording, path: str) -> TapeMarket | None:
        looks.append(path)
        amid.set()
        is_told.wait(0.2)  # the other one comes amid this, or waits
        return read(recording, path)

    def ask() -> None:
        amid.wait(60)
        told.append(len(data.markets()))
        is_told.set()

    monkeypatch.setattr(ParquetRecording, "_read_metadata", slowly)
    other = threading.Thread(target=ask)
    other.start()
    told.append(len(data.markets()))
    other.join(60)
    assert told == [2, 2]
    assert len(looks) == 2 or not is_kept


class Meddling(str):
    """A reason; when it is looked up, another thread, as it were, is told the next piece meanwhile."""

    __slots__ = ()
    meanwhile: Iterator[Piece] = iter(())

    @override
    def __hash__(self) -> int:
        told, Meddling.meanwhile = Meddling.meanwhile, iter(())
        next(told, None)
        Meddling.meanwhile = told
        return str.__hash__(self)


class Reasons(Faulty):
    """A recording that leaves out something else before each event."""

    @override
    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield all rows."""
        for number, event in enumerate(Made.events(self, market)):
            self.left_out[Meddling("first") if number == 0 else f"row {number}"] += 1
            yield event


def test_who_asks_what_was_counted_is_not_disturbed_by_who_is_told() -> None:
    """One thread reads the counts while another is told of something that is counted for the first time."""
    entry = make_entry()
    rows: list[tuple[float, list[MarketMessage]]] = [(i, both(entry, 48, 52)) for i in range(50)]
    data = KeptRecording(Reasons(Made().add(entry, *rows).rows))
    told = data.stretches(entry)
    next(told)
    try:
        Meddling.meanwhile = told
        found = set(data.skipped)
    finally:
        Meddling.meanwhile = iter(())
    assert {"first"} <= found < set(data.skipped)


def test_to_another_process_goes_what_it_was_made_of(tmp_path: Path) -> None:
    """A path, however much was read; the copy reads for itself, under the same bound."""
    for entry, events in tame(2).rows:
        write_market(tmp_path, entry, events)
    data = KeptRecording(ParquetRecording(tmp_path), megabytes=3)
    empty = pickle.dumps(data)
    told = [list(data.stretches(entry)) for entry in data.markets()]
    assert pickle.dumps(data) == empty
    assert len(empty) < 500
    copy: KeptRecording = pickle.loads(empty)
    assert (copy.megabytes, copy.kept_megabytes) == (3, 0)
    assert [list(copy.stretches(entry)) for entry in copy.markets()] == told
    assert copy.kept_megabytes == data.kept_megabytes
    assert str(tmp_path) in repr(copy)


def test_what_no_recording_has_is_refused(tmp_path: Path) -> None:
    """A market of elsewhere, when it is asked for; a bound that is none; a path as a recording."""
    (entry, events), (other, _) = tame(2).rows
    write_market(tmp_path, entry, events)
    data = KeptRecording(ParquetRecording(tmp_path))
    for ask in (data.stretches, data.events):
        with pytest.raises(KeyError):
            ask(other)
    for bound in (-1, float("nan"), "500"):
        with pytest.raises(ConfigError, match="megabytes: expected at least 0, or None for no"):
            KeptRecording(data, bound)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"recording: expected a recording, such as Parquet.*'tapes'"
    ):
        KeptRecording("tapes")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["one", "several", "books"])
def test_the_memory_that_it_takes_is_about_what_it_says(kind: str, tmp_path: Path) -> None:
    """Within some per cent of what the interpreter says of each object that is kept."""
    entry, events = _market(kind)
    write_market(tmp_path, entry, events)
    del events
    data = KeptRecording(ParquetRecording(tmp_path))
    taken = _size(list(data.stretches(entry))) / 1e6
    assert taken / 1.15 < data.kept_megabytes < taken * 1.15


def _size(of: object) -> int:
    """Return the bytes of a value and of all that it consists of, shared ones once."""
    seen, left, size = set[int](), [of], 0
    while left:
        value = left.pop()
        if value is None or isinstance(value, str) or id(value) in seen:
            continue
        seen.add(id(value))
        size += (sys.getsizeof(value) + 15) // 16 * 16
        if isinstance(value, msgspec.Struct):
            left += msgspec.structs.astuple(value)
        elif isinstance(value, list | tuple):
            left += value
    return size


def _market(kind: str) -> tuple[TapeMarket, list[TapeEvent]]:
    """Return a market in which not much is of any other kind."""
    entry, chance = make_entry(), random.Random(kind)
    market, events, now_ms = entry.market, list[TapeEvent](), entry.market.window.start * 1000
    tokens = [market.up_token, market.down_token]

    def size() -> Decimal:
        return Decimal(chance.randrange(1, 100_000_000)).scaleb(-6)

    for number in range(300 if kind == "books" else 12_000):
        now_ms += chance.choice([1, 5])
        message: MarketMessage
        if kind == "books":
            bids, asks = (
                tuple((start + step * place, size()) for place in range(1, 40))
                for start, step in ((5000, -100), (5000, 100))
            )
            token = tokens[number % 2]
            message = BookSnapshot(market.condition_id, token, bids, asks, now_ms)
        else:
            top = (4900, 5100) if kind == "several" else (-1, -1)
            shared = Decimal(chance.randrange(100))
            changes = [
                LevelChange(token, True, 4800, size() if kind == "several" else shared, *top)
                for token in (tokens if kind == "several" else tokens[:1])
            ]
            message = BookDelta(market.condition_id, tuple(changes), now_ms - 300)
        events.append(Timed(now_ms, 1, message))
    return entry, events


def test_prices_of_a_file_share_their_objects(tmp_path: Path) -> None:
    """Of all files: a price is no object of its own in each row that stays in memory."""
    for entry, events in tame(2).rows:
        write_market(tmp_path, entry, events)
    seen: dict[int, set[int]] = {}
    data = KeptRecording(ParquetRecording(tmp_path))
    for entry in data.markets():
        for piece in data.stretches(entry):
            if isinstance(piece, Stretch):
                changes = piece.changes
                for column in (changes.prices, changes.places, changes.best_bids or []):
                    for price in column:
                        seen.setdefault(price, set()).add(id(price))
    assert len(seen) > 10
    assert {len(ids) for ids in seen.values()} == {1}
