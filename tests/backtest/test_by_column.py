"""Level changes are played by column; one after another, in turn, they do the same."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from typing_extensions import override

from polyframe import clock as clock_module
from polyframe.backtest import exchange as exchange_module
from polyframe.backtest.player import Player
from polyframe.backtest.run import run_backtest
from polyframe.clock import Doorbell
from polyframe.counters import Counters
from polyframe.errors import OrderError
from polyframe.model.events import (
    BestQuote,
    BookDelta,
    LevelChange,
    MarketMessage,
    MarketTraded,
    OrderChanged,
    PriceChanged,
    TickSizeChange,
    TradePrint,
)
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, Side
from polyframe.model.stretch import Changes, Stretch
from polyframe.paper.book import PaperBook
from polyframe.paper.matching import PaperMarket
from polyframe.paper.models import PaperModels
from polyframe.recording.changes import as_events
from polyframe.recording.gather import gather, pieces_of
from polyframe.recording.parquet import ParquetRecording, write_market
from polyframe.recording.reader import Piece, Recording
from polyframe.recording.tape import Gap, TapeEvent, TapeMarket, Timed
from polyframe.strategy import Strategy
from tests.backtest.kit import MODELS, Made, beside, both, level, make_entry
from tests.recording.kit import messages_of

Notes = list[tuple[Any, ...]]


@define
class Noting(Strategy):
    """Trades by chance, and notes whatever it hears with the time and the book of that moment."""

    seed: int = 0
    chance: random.Random = field(init=False, factory=random.Random)

    def note(self, *what: object) -> None:
        """Note something."""
        books = [self.session.book(outcome) for outcome in Outcome]
        seen = [(b.bid, b.ask, b.bid_size, b.received, b.timestamp_ms, b.known) for b in books]
        self.env.get(list).append((self.name, self.market.slug, self.clock.time(), *what, *seen))

    async def act(self) -> None:
        """Do something now and then."""
        price = self.session.price(self.chance.choice(list(Outcome)))
        if self.chance.random() > 0.1 or price.ask is None or price.bid is None:
            return
        try:
            match self.chance.randrange(4):
                case 0:
                    await self.trading.buy(
                        price.outcome,
                        price=price.ask,
                        size=Decimal(7),
                        order_type=self.chance.choice([OrderType.FAK, OrderType.GTC]),
                    )
                case 1:
                    await self.trading.buy(price.outcome, price=price.bid, size=Decimal(9))
                case 2:
                    await self.clock.sleep(self.chance.choice([0, 0.1, 2.5]))
                case _:
                    await self.trading.cancel_all()
        except OrderError as error:
            self.note(str(error))

    @override
    async def on_cycle_start(self) -> None:
        self.chance = random.Random(f"{self.seed}/{self.market.slug}")

    @override
    async def on_order(self, event: OrderChanged) -> None:
        self.note("order", event.order.status, event.order.filled)


@define
class OnBook(Noting):
    """Wants every level."""

    @override
    async def on_book(self, outcome: Outcome) -> None:
        self.note("book", outcome)
        await self.act()


@define
class OnPrice(Noting):
    """Wants prices and trades."""

    @override
    async def on_price(self, event: PriceChanged) -> None:
        self.note("price", event.outcome, event.bid, event.ask)
        await self.act()

    @override
    async def on_market_trade(self, event: MarketTraded) -> None:
        self.note("print", event.price)


@define
class OnBoth(OnBook):
    """Wants every level, and prices."""

    @override
    async def on_price(self, event: PriceChanged) -> None:
        self.note("price", event.outcome, event.bid, event.ask)


@define
class Waking(Noting):
    """Wants nothing, and looks on its own time."""

    @override
    async def run(self) -> None:
        while True:
            await self.clock.sleep(self.chance.choice([0.25, 1, 3.3, 20]))
            self.note("woke")
            await self.act()


STRATEGIES: list[list[type[Noting]]] = [
    [OnBook],
    [OnBoth],
    [OnPrice],
    [Waking],
    [OnBook, OnPrice],
    [OnPrice, Waking],
]


def wild(seed: int, cycles: int = 2, rows: int = 90, plain: float = 0) -> Made:
    """Return markets in which everything happens that a recording may hold, and some that it should not.

    Those of an odd seed are of two series, side by side. Of the rows the share `plain` are changes of one
    level each, and nothing else is.
    """
    chance, made = random.Random(seed), Made()
    entries = [make_entry(number, chance.choice(list(Outcome))) for number in range(cycles)]
    if seed % 2:
        entries += [beside(entry) for entry in entries]
    for entry in entries:
        epoch, market = 1, entry.market
        now_ms = market.window.start * 1000 - chance.choice([0, 400, 20_000])
        events = list[TapeEvent]()
        if chance.random() < 0.8:  # else nothing is known for a while
            events += [Timed(now_ms, epoch, one) for one in both(entry, 48, 52)]
        tops = [(-1, -1), (-1, -1), (4800, 5200), (0, 10_000)]
        if chance.random() < 0.3:  # so many do not fit that the books are fetched anew
            tops = [(4700, 5300)] * 9 + [(4800, 5200)]
        if plain and chance.random() < 0.7:
            tops = [(-1, -1)]

        def change(token: str) -> LevelChange:
            is_bid = chance.random() < 0.5
            cents = chance.randint(44, 49) if is_bid else chance.randint(51, 56)
            if chance.random() < 0.03:
                cents = chance.choice([0, 100])
            size = Decimal(chance.choice([0, 0, 3, 20, 60]))
            return LevelChange(token, is_bid, cents * 100, size, *chance.choice(tops))  # noqa: B023

        for _ in range(rows):
            now_ms += chance.choice([0, 0, 1, 40, 250, 900, 3_000])
            tokens = [market.up_token, market.down_token]
            token, name = chance.choice(tokens), market.condition_id
            messages: list[MarketMessage] = []
            match 12 if chance.random() < plain else chance.randrange(24):
                case 0:
                    bid = chance.randint(40, 55)
                    books = both(entry, bid, bid + chance.randint(1, 3), chance.randint(1, 60))
                    sent = chance.choice([0, now_ms, now_ms - 5_000])
                    messages += [replace(one, timestamp_ms=sent) for one in books]
                case 1:
                    messages.append(BestQuote(name, token, 4800, chance.choice([5200, 5300])))
                case 2:
                    side = chance.choice([None, *Side])
                    messages.append(TradePrint(name, token, 5000, Decimal(30), side))
                case 3:
                    messages.append(TickSizeChange(name, token, chance.choice([100, 10])))
                case 4:
                    foreign = chance.choice([change("777"), change(token)])
                    messages.append(BookDelta(chance.choice([name, "0xelse"]), (foreign,)))
                case 5 if chance.random() < 0.4:
                    events.append(Gap(now_ms, "closed"))
                    epoch += 1
                    messages += both(entry, 47, 51) if chance.random() < 0.6 else []
                case 7 if chance.random() < 0.3:
                    epoch += 1
                case 6:
                    messages.append(BookDelta(name, ()))
                case kind if kind < 12:
                    several = tuple(change(chance.choice(tokens)) for _ in range(3))
                    messages.append(BookDelta(name, several, now_ms - chance.choice([0, 5])))
                case _:
                    messages.append(BookDelta(name, (change(token),), now_ms))
            events += [Timed(now_ms, epoch, message) for message in messages]
        made.rows.append((entry, events))
    return made


def run(
    data: Recording, kinds: list[type[Noting]], seed: int, models: PaperModels
) -> tuple[Notes, dict[str, Any], str]:
    """Run strategies; return all that they noted, what was counted, and the report and its paths as text."""
    notes: Notes = []
    counters = Counters()
    report = run_backtest(
        *(kind(seed) for kind in kinds),
        data=data,
        models=models,
        services=[notes],
        counters=counters,
    )
    assert report.decisions is not None
    paths = [list(cycle.path or ()) for cycle in report.cycles]
    text = repr(report) + repr(report.decisions) + report.text() + repr(paths)
    return notes, dict(counters.snapshot()), text


def instant_by_instant(self: Player) -> Iterator[bool]:
    """Play as simply as can be: what is due next, and everything else of that instant."""
    while True:
        if not self._due or self._due[0][0] > self._next_timer_ms():
            yield False
            continue
        now_ms = self._due[0][0]
        self.clock.pass_on(now_ms / 1000 - self.origin)
        self._catch_up(now_ms)
        yield True


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    kinds=st.sampled_from(STRATEGIES),
    is_delayed=st.booleans(),
    plain=st.sampled_from([0, 0.9, 0.99]),
)
def test_by_column_is_as_one_by_one(
    seed: int, kinds: list[type[Noting]], is_delayed: bool, plain: float
) -> None:
    """Every hook, with the time and the books of its moment, every counter and the report are the same."""
    data = wild(seed, plain=plain)
    models = PaperModels(seed=seed) if is_delayed else evolve(MODELS, stale_ms=3_000)
    by_column = run(data, kinds, seed, models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange_module, "pieces_of", lambda made, entry: made.events(entry))
        patch.setattr(Player, "_play", instant_by_instant)
        patch.setattr(clock_module, "_IdleDoorbell", lambda _: Doorbell())
        patch.setattr(PaperMarket, "can_wait", lambda *_: False)
        patch.setattr(PaperBook, "apply_later", PaperBook.apply)
        one_by_one = run(data, kinds, seed, models)
    assert by_column[0] == one_by_one[0]
    assert by_column[1:] == one_by_one[1:]


def test_of_made_up_markets_much_is_heard() -> None:
    """In some of them the books are never known; most are worth to be compared."""
    heard = [len(run(wild(seed), [OnBook], seed, MODELS)[0]) for seed in range(12)]
    assert sum(count > 50 for count in heard) >= 8


@define
class BothSides(Strategy):
    """Lets a bid for Up rest, and one for Down, which is an ask for Up, some rows later."""

    @override
    async def run(self) -> None:
        await self.trading.buy(Outcome.UP, price=Decimal("0.46"), size=Decimal(10))
        await self.clock.sleep(10)
        await self.trading.buy(Outcome.DOWN, price=Decimal("0.46"), size=Decimal(10))


def test_an_order_on_the_other_side_is_watched_from_the_next_row_on() -> None:
    """What was found of the rows to come holds for the prices at which orders rested then."""
    entry = make_entry(0)
    rows: list[tuple[float, list[MarketMessage]]] = [(0, both(entry, 48, 52))]
    rows += [(i / 10, [level(entry, Outcome.UP, 40, 10 + i % 5, is_bid=True)]) for i in range(140)]
    rows += [(15, [level(entry, Outcome.UP, 52 + i, 0, is_bid=False)]) for i in range(5)]
    rows.append((15.1, [level(entry, Outcome.UP, 54, 30, is_bid=True)]))
    data = Made().add(entry, *rows)
    report = run_backtest(BothSides(), data=data, models=MODELS)
    assert report.total.fills == 1


def tame(seed: int) -> Made:
    """Return markets that a file can hold as they are."""
    made = Made()
    for entry, events in wild(seed).rows:
        kept = [event for event in events if not is_odd(event, entry)]
        made.rows.append((entry, kept))
    return made


def is_odd(event: TapeEvent, entry: TapeMarket) -> bool:
    """Return whether a file leaves an event out."""
    if not isinstance(event, Timed) or not isinstance(message := event.message, BookDelta):
        return False
    market = entry.market
    return (
        message.market != market.condition_id
        or not message.changes
        or any(
            change.token not in (market.up_token, market.down_token)
            or not 0 < change.price < 10_000
            for change in message.changes
        )
    )


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 100_000), kinds=st.sampled_from(STRATEGIES))
def test_a_file_is_as_what_was_written_to_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kinds: list[type[Noting]]
) -> None:
    """A back-test of a Parquet recording is that of the same rows in memory."""
    data, folder = tame(seed), tmp_path_factory.mktemp("made")
    for entry, events in data.rows:
        write_market(folder, entry, events)
    models = PaperModels(seed=seed)
    assert run(ParquetRecording(folder), kinds, seed, models) == run(data, kinds, seed, models)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100_000), most=st.sampled_from([1, 2, 5, 256]))
def test_what_is_gathered_is_what_was_there(seed: int, most: int) -> None:
    """Stretches taken apart are the events, none lost, none moved, each with its time and epoch."""
    (entry, events), *_ = wild(seed).rows
    chance = random.Random(seed)
    if chance.random() < 0.3:  # a recorder's clock that was set back
        place = chance.randrange(len(events))
        events[place:] = [moved(event, -5_000) for event in events[place:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyframe.recording.gather._MOST", most)
        pieces = list(gather(events, entry.market))
    apart: list[TapeEvent] = []
    for piece in pieces:
        if isinstance(piece, Timed | Gap):
            apart.append(piece)
            continue
        assert 0 < piece.end - piece.begin <= 3 * most
        assert piece.changes.received == sorted(piece.changes.received)
        apart += messages_of(piece, entry.market)
    assert apart == events


def moved(event: TapeEvent, by_ms: int) -> TapeEvent:
    """Return an event at another time."""
    if isinstance(event, Gap):
        return Gap(event.received_ms + by_ms, event.reason)
    return Timed(event.received_ms + by_ms, event.epoch, event.message)


def test_what_came_before_a_reader_failed_is_played() -> None:
    """Reading ahead takes nothing away: rows before the one that cannot be read come first."""
    (entry, events), *_ = wild(3).rows

    def failing() -> Iterator[TapeEvent]:
        yield from events[:40]
        raise ValueError("broken")

    found: list[object] = []
    with pytest.raises(ValueError, match="broken"):
        found += gather(failing(), entry.market)
    found = []
    with pytest.raises(ValueError, match="broken"):
        for piece in gather(failing(), entry.market):
            found.append(piece)
    whole = list(gather(iter(events[:40]), entry.market))
    assert found == whole


class Shortened(ParquetRecording):
    """A recording that leaves out most of what another has."""

    @override
    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        return islice(super().events(market), 2)


def test_a_recording_that_replaces_the_events_of_another_is_played_by_its_own(
    tmp_path: Path,
) -> None:
    """What its base class would read by column is none of its business any more."""
    (entry, events), *_ = tame(5).rows
    write_market(tmp_path, entry, events)
    short = list(pieces_of(Shortened(tmp_path), entry))
    assert short == list(gather(events[:2], entry.market))
    assert len(list(pieces_of(ParquetRecording(tmp_path), entry))) > 10


@define(eq=False)
class Kept(Made):
    """A recording that keeps the columns that it has told."""

    told: list[Changes] = field(init=False, factory=list)

    def stretches(self, market: TapeMarket) -> Iterator[Piece]:
        """Yield what is gathered, and keep its columns."""
        for piece in gather(self.events(market), market.market):
            if isinstance(piece, Stretch):
                self.told.append(piece.changes)
            yield piece


def test_nobody_holds_on_to_the_rows_of_a_market_that_is_over() -> None:
    """The paper venue knows a market for an hour after its end, but none of its columns."""
    data, holders = Kept(tame(11).rows[:1]), list[list[int]]()
    told = data.told

    def count(_: object) -> None:
        # One is the list, and one the call.
        holders.append([sys.getrefcount(told[i]) - 2 for i in range(len(told))])

    run_backtest(OnPrice(1), data=data, models=MODELS, services=[list[object]()], progress=count)
    assert len(told) > 5
    assert [set(seen) for seen in holders] == [set(), {0}]


class Holed(Made):
    """A recording whose stretches are of the same columns, of which it leaves rows out."""

    def stretches(self, market: TapeMarket) -> Iterator[Piece]:
        """Yield what is gathered without the middle of each stretch."""
        for piece in gather(super().events(market), market.market):
            if isinstance(piece, Stretch) and piece.end - piece.begin > 2:
                begin, first = piece.begin, piece.changes.behind(piece.begin)
                last = piece.changes.beginning(piece.end - 1)
                yield Stretch(piece.changes, begin, first, piece.epoch)
                if last >= first:
                    yield Stretch(piece.changes, last, piece.end, piece.epoch)
            else:
                yield piece

    @override
    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        return as_events(market.market, self.stretches(market))


def test_rows_that_no_stretch_is_of_are_not_played() -> None:
    """Columns may hold more than what was heard: what is left out is in nobody's book."""
    data, seen = Holed(tame(12).rows), list[object]()
    for source in (data, Made([(entry, list(data.events(entry))) for entry in data.markets()])):
        seen.append(run(source, [OnPrice, Waking], 4, MODELS))
    assert seen[0] == seen[1]
