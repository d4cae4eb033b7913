"""Who alone hears of a recording takes its rows himself; nobody else is to notice."""

from __future__ import annotations

import asyncio
import decimal
import gc
import weakref
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from typing_extensions import override

from polyframe import clock as clock_module
from polyframe.backtest import tape as tape_module
from polyframe.backtest.run import run_backtest
from polyframe.backtest.tape import Tape
from polyframe.counters import Count, Counters
from polyframe.errors import StrategyFailed
from polyframe.model.events import (
    BookDelta,
    LevelChange,
    MarketMessage,
    OrderChanged,
    PriceChanged,
    TradeChanged,
)
from polyframe.model.market import Outcome
from polyframe.model.stretch import Stretch
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed
from polyframe.strategy import Strategy
from tests.backtest.kit import MODELS, START, Made, beside, both, level, make_entry
from tests.runtime.test_session import Ear


def plain(
    entry: TapeMarket, count: int, step: float = 0.1
) -> list[tuple[float, list[MarketMessage]]]:
    """Return both books and then changes of levels below the best, one at a time."""
    rows: list[tuple[float, list[MarketMessage]]] = [(0, both(entry, 48, 52))]
    for i in range(count):
        message = level(entry, list(Outcome)[i % 2], 40 + i % 3, 10 + i % 7, is_bid=True)
        rows.append((1 + i * step, [message]))
    return rows


@define
class Hearing(Strategy):
    """Notes at what time it heard of which book, and does as a subclass does."""

    heard: list[float] = field(factory=list)

    @property
    def after(self) -> float:
        """Market seconds since the first window began."""
        return round(self.clock.time() - START, 3)

    @override
    async def on_cycle_start(self) -> None:
        self.env.get(list).append(self)

    @override
    async def on_book(self, outcome: Outcome) -> None:
        self.heard.append(self.after)
        await self.act()

    async def act(self) -> None:
        """Do nothing."""


@define
class Also(Hearing):
    """Another one that does the same."""


@define
class Prices(Strategy):
    """Wants prices alone."""

    @override
    async def on_price(self, event: PriceChanged) -> None:
        pass


@pytest.fixture(name="taken")
def _taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were taken by whom they were told alone, each time."""
    counts: list[int] = []
    end_solo = Tape.end_solo

    def noting(tape: Tape) -> int:
        counts.append(end_solo(tape))
        return counts[-1]

    monkeypatch.setattr(Tape, "end_solo", noting)
    return counts


def play(*strategies: Strategy, data: Made, counters: Counters | None = None) -> list[Hearing]:
    """Run strategies; return those that ran."""
    ran: list[Hearing] = []
    counters = Counters() if counters is None else counters
    run_backtest(*strategies, data=data, models=MODELS, services=[ran], counters=counters)
    return ran


def test_who_hears_alone_takes_the_rows(taken: list[int]) -> None:
    """Nearly all of them at once, and each counts as one that passed the gate."""
    entry, counters = make_entry(), Counters()
    (ran,) = play(Hearing(), data=Made().add(entry, *plain(entry, 900)), counters=counters)
    assert len(ran.heard) == 902
    assert sum(taken) > 850
    assert max(taken) > 200
    assert counters.get(Count.GATE_PASSED, "book") == 902


@pytest.mark.parametrize("strategies", [[Hearing(), Prices()], [Hearing(), Also()]])
def test_of_several_nobody_does(taken: list[int], strategies: list[Strategy]) -> None:
    """They hear of each row in turn."""
    entry = make_entry()
    ran = play(*strategies, data=Made().add(entry, *plain(entry, 100)))
    assert taken == []
    assert {len(one.heard) for one in ran} == {102}


def test_beside_another_market_nobody_passes_its_rows() -> None:
    """Rows of two markets that take turns are heard of at their own times."""
    entry = make_entry()
    other = beside(entry)
    shifted = [(after + 0.05, messages) for after, messages in plain(other, 50)]
    data = Made().add(entry, *plain(entry, 50)).add(other, *shifted)
    order: list[float] = []

    @define
    class Both(Hearing):
        async def act(self) -> None:
            order.append(self.after)

    play(Both(), data=data)
    times = [round(after, 3) for after, _ in [*plain(entry, 50), *shifted]]
    assert sorted(order) == sorted([*times, 0.0, 0.05])  # each book is told of when both are known


def test_a_row_that_an_order_has_to_see_is_not_passed() -> None:
    """Others sell at the price of a resting order in a row that the strategy hears of."""
    entry = make_entry()
    rows = plain(entry, 100)
    rows.insert(80, (8.85, [level(entry, Outcome.UP, 50, 30, is_bid=False)]))

    filled: list[float] = []

    @define
    class Resting(Hearing):
        async def act(self) -> None:
            if self.after == 2.0:
                await self.trading.buy(Outcome.UP, price=Decimal("0.50"), size=Decimal(10))

        @override
        async def on_trade(self, event: TradeChanged) -> None:
            filled.append(self.after)

    play(Resting(), data=Made().add(entry, *rows))
    assert filled[0] == 8.85


@define
class Waiting(Hearing):
    """Waits within a hook, and wakes once by itself."""

    woke: list[int] = field(factory=list)

    @override
    async def on_cycle_start(self) -> None:
        await super().on_cycle_start()
        self.spawn(self.wake())

    async def wake(self) -> None:
        """Look what was heard by a time between two rows."""
        await self.clock.sleep_until(START + 5.05)
        self.woke.append(len(self.heard))

    async def act(self) -> None:
        """Wait for two rows and a half."""
        if self.after == 2.0:
            await self.clock.sleep(0.25)


def test_time_goes_on_while_a_hook_waits() -> None:
    """What came meanwhile is heard of once, as the latest, and then the next row; timers are on time."""
    entry = make_entry()
    (ran,) = play(Waiting(), data=Made().add(entry, *plain(entry, 100)))
    assert isinstance(ran, Waiting)
    rows = [round(1 + i / 10, 3) for i in range(100)]
    # Of the two rows meanwhile one was of Up and one of Down: each book has its turn.
    assert ran.heard == [0, 0, *rows[:11], 2.25, 2.25, *rows[13:]]
    assert ran.woke == [2 + 41]


@define
class Timing(Hearing):
    """Sets a timer while it hears of a row."""

    fired: list[float] = field(factory=list)

    async def act(self) -> None:
        """Set a timer between this row and the next."""
        if self.after == 2.0:
            loop = asyncio.get_running_loop()
            loop.call_later(0.25, lambda: self.fired.append(self.after))


@define
class Slow(Hearing):
    """Waits once."""

    async def act(self) -> None:
        """Wait in the fifth call."""
        if len(self.heard) == 5:
            await self.clock.sleep(30)


def test_rows_that_come_while_a_hook_waits_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once both books are marked, nobody has to be told of them again until the hook is done."""
    steps = list[int]()
    note = Tape._note

    def counting(tape: Tape, piece: Stretch) -> None:
        note(tape, piece)
        steps.append(tape.last_ms)

    monkeypatch.setattr(Tape, "_note", counting)
    entry = make_entry()
    (ran,) = play(Slow(), data=Made().add(entry, *plain(entry, 900)))
    began = ran.heard[4]
    assert ran.heard[5:8] == pytest.approx([began + 30, began + 30, began + 30.1], abs=0.001)
    within = [ms for ms in steps if began < ms / 1000 - START < began + 30]
    assert len(within) <= 5  # of each book, and all the others


def test_a_timer_that_is_set_meanwhile_is_met() -> None:
    """Rows behind it are heard of after it."""
    entry = make_entry()
    (ran,) = play(Timing(), data=Made().add(entry, *plain(entry, 100)))
    assert isinstance(ran, Timing)
    assert ran.fired == [2.25]


@define
class Spawning(Hearing):
    """Lets somebody else go on, who looks what was heard before him."""

    before: list[int] = field(factory=list)

    async def act(self) -> None:
        """Start a task."""
        if self.after == 2.0:
            self.spawn(self.look())

    async def look(self) -> None:
        """Note how much was heard so far."""
        self.before.append(len(self.heard))


def test_others_who_are_ready_go_before_the_next_row() -> None:
    """A task that a hook started runs at the instant at which it was started."""
    entry = make_entry()
    (ran,) = play(Spawning(), data=Made().add(entry, *plain(entry, 100)))
    assert isinstance(ran, Spawning)
    assert ran.before == [ran.heard.index(2.0) + 1]


@define
class Told(Hearing):
    """Is told of an order while it hears of a row."""

    told: list[int] = field(factory=list)
    event: OrderChanged | None = None

    async def act(self) -> None:
        """Buy once; later hear of it once more."""
        if self.after == 2.0:
            await self.trading.buy(Outcome.UP, price=Decimal("0.30"), size=Decimal(10))
        elif self.after == 6.0 and self.event is not None:
            self.session.publish(self.event)

    @override
    async def on_order(self, event: OrderChanged) -> None:
        self.event = event
        self.told.append(len(self.heard))


def test_an_order_goes_before_the_next_row() -> None:
    """What is told of an order while a row is heard of is heard before the next one."""
    entry = make_entry()
    (ran,) = play(Told(), data=Made().add(entry, *plain(entry, 100)))
    assert isinstance(ran, Told)
    assert ran.told[-2:] == [ran.heard.index(6.0) + 1, 102]


def test_a_subscriber_that_joins_meanwhile_hears_of_the_next_row() -> None:
    """It is not alone any more who was."""
    entry, ear = make_entry(), Ear()

    @define
    class Joining(Hearing):
        async def act(self) -> None:
            if self.after == 2.0:
                self.session.subscribe(ear)
            elif self.after == 3.0:
                self.session.unsubscribe(ear)

    play(Joining(), data=Made().add(entry, *plain(entry, 100)))
    told = [name for name, *_ in ear.heard]
    assert told.count("book") == 2 + 10  # both at once, and then what it hears of for a second


def test_the_venue_does_not_reckon_in_the_strategys_context() -> None:
    """Books that are fetched anew because of a row that a strategy took are exact."""
    entry = make_entry()
    rows = plain(entry, 60)
    size = Decimal("1234.56")
    token = entry.market.up_token
    rows[1] = (1, [BookDelta(entry.market.condition_id, (LevelChange(token, True, 4500, size),))])
    for i in range(30):
        wrong = LevelChange(token, True, 4000, Decimal(5 + i), 4700, 5300)
        rows.append((10 + i / 10, [BookDelta(entry.market.condition_id, (wrong,))]))
    sizes: set[Any] = set()

    @define
    class Rounding(Hearing):
        @override
        async def on_cycle_start(self) -> None:
            await super().on_cycle_start()
            decimal.setcontext(decimal.Context(prec=3))

        async def act(self) -> None:
            if self.after > 1:
                sizes.add(self.session.book(Outcome.UP).size_at(True, 4500))

    counters = Counters()
    play(Rounding(), data=Made().add(entry, *rows), counters=counters)
    assert counters.get(Count.BOOK_UNKNOWN, "mismatch") == 1
    assert sizes == {size, 0}  # nothing, while they are fetched


def test_times_that_fall_do_not_turn_back_the_clock() -> None:
    """A recorder's clock that was set back: what came after is told at once, and time goes on from there."""
    entry = make_entry()
    data = Made().add(entry, *plain(entry, 400))
    events = data.rows[0][1]
    data.rows[0] = (entry, [moved(event) for event in events])
    (ran,) = play(Hearing(), data=data)
    assert ran.heard == sorted(ran.heard)
    assert len(ran.heard) > 300


def moved(event: TapeEvent) -> TapeEvent:
    """Return an event of the second half as if the clock had been set back by five seconds."""
    assert isinstance(event, Timed)
    late = event.received_ms > (START + 21) * 1000
    return Timed(event.received_ms - 5_000 * late, event.epoch, event.message)


def test_the_loop_is_given_back_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows there are, signals and sockets are looked at after a bounded number of them."""
    monkeypatch.setattr(clock_module, "_MOST_AT_ONCE", 50)
    entry, seen = make_entry(), list[int]()

    @define
    class Counting(Hearing):
        async def act(self) -> None:
            seen[-1:] = [seen[-1] + 1] if seen else [1]

    select = clock_module._VirtualSelector.select

    def looking(self: Any, timeout: float | None = None) -> Any:
        seen.append(0)
        return select(self, timeout)

    monkeypatch.setattr(clock_module._VirtualSelector, "select", looking)
    play(Counting(), data=Made().add(entry, *plain(entry, 600)))
    assert sum(seen) == 602
    assert max(seen) <= 150


def test_a_row_of_the_same_instant_is_not_heard_of_by_itself(
    monkeypatch: pytest.MonkeyPatch, taken: list[int]
) -> None:
    """Several rows of one millisecond are one piece of news for each book."""
    monkeypatch.setattr(tape_module, "_SLICE", 3)  # so that slices end amid an instant, too
    entry = make_entry()
    rows = plain(entry, 100)
    pairs = [(1 + i // 4, messages) for i, (_, messages) in enumerate(rows[1:])]
    (ran,) = play(Hearing(), data=Made().add(entry, rows[0], *pairs))
    assert ran.heard == [0.0, 0.0] + [float(1 + i // 2) for i in range(50)]
    assert sum(taken) > 80


def test_who_cancels_his_own_task_among_rows_has_failed() -> None:
    """It takes effect when the task waits for the next time; then it is a failure, as it is live."""

    @define
    class CancelsItself(Hearing):
        @override
        async def act(self) -> None:
            task = asyncio.current_task()
            if len(self.heard) == 20 and task is not None:
                task.cancel()

    entry = make_entry()
    with pytest.raises(StrategyFailed, match="on_book") as caught:
        play(CancelsItself(), data=Made().add(entry, *plain(entry, 2_000)))
    assert "its task was cancelled by the strategy itself" in str(caught.value.__cause__)


def test_a_market_that_is_over_is_let_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows and books do not wait until somebody looks for garbage, however many markets there are."""
    left: list[int] = []
    tapes: list[weakref.ref[Tape]] = []
    stop = Tape.stop

    def noting(tape: Tape) -> None:
        left.append(sum(ref() is not None for ref in tapes))
        tapes.append(weakref.ref(tape))
        stop(tape)

    monkeypatch.setattr(Tape, "stop", noting)
    data = Made()
    for number in range(6):
        entry = make_entry(number)
        data.add(entry, *plain(entry, 20))
    gc.collect()
    gc.disable()
    try:
        play(Hearing(), data=data)
    finally:
        gc.enable()
    assert len(tapes) == 6
    assert max(left) <= 1


@pytest.fixture(autouse=True)
def _solo_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let also few rows be taken."""
    monkeypatch.setattr(tape_module, "_SOLO_LEAST", 1)
