"""When cycles begin and end in a back-test, also where the next market is missing or late."""

from __future__ import annotations

from attrs import define
from typing_extensions import override

from polyframe.backtest.run import run_backtest
from polyframe.counters import Count, Counters
from polyframe.model.events import CycleEndReason
from polyframe.scheduler import ScheduleSettings
from polyframe.strategy import Strategy
from polyframe.trader import TraderSettings
from tests.backtest.kit import LENGTH, START, Made, both, make_entry


@define
class Lives(Strategy):
    """Notes when it begins and ends, in seconds after the first market's start."""

    def note(self, what: str) -> None:
        """Note something, with its time."""
        self.env.get(list).append((what, round(self.clock.time() - START, 3)))

    @override
    async def on_cycle_start(self) -> None:
        """Note the begin, and whether there are books."""
        self.note("books" if self.session.books_known else "no books")

    @override
    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        """Note the end."""
        self.note("end")


def lives(data: Made, ahead: float) -> tuple[list[tuple[str, float]], dict[str, int]]:
    """Return what is noted, and the switches, if markets are asked for so many seconds ahead."""
    noted: list[tuple[str, float]] = []
    counters = Counters()
    settings = TraderSettings(schedule=ScheduleSettings(prepare_ahead=ahead))
    run_backtest(Lives(), data=data, services=[noted], counters=counters, settings=settings)
    return noted, counters.reasons(Count.SWITCHES)


def test_where_a_market_is_missing_trading_pauses_at_the_boundary() -> None:
    """A cycle ends with its window, whether or not another follows; the one after the gap is in time."""
    data = Made()
    for number in (0, 2):
        entry = make_entry(number)
        data.add(entry, (-20.0, both(entry, 40, 42)))
    noted, switches = lives(data, 60.0)
    assert noted == [
        ("books", 0),
        ("end", LENGTH),
        ("books", 2 * LENGTH),
        ("end", 3 * LENGTH),
    ]
    assert switches == {"opened": 2, "paused": 2}


def test_a_market_that_is_late_holds_up_no_end_and_waits_for_its_books() -> None:
    """Asked for at the boundary it has no books yet: the old cycle ends, the new one has them at its begin."""
    data = Made()
    for number in (0, 1):
        entry = make_entry(number)
        data.add(entry, (3.0, both(entry, 40, 42)))
    noted, _ = lives(data, 1e-9)
    assert noted == [
        ("books", 3),
        ("end", LENGTH),
        ("books", LENGTH + 3),
        ("end", 2 * LENGTH),
    ]


def test_a_market_that_is_late_begins_without_books_after_a_while() -> None:
    """The books of a late market are waited for a little and no longer."""
    data, entry = Made(), make_entry()
    data.add(entry, (30.0, both(entry, 40, 42)))
    noted, _ = lives(data, 1e-9)
    assert noted == [("no books", 5), ("end", LENGTH)]


@define
class Busy(Lives):
    """Has something to do at its begin and at its end, so that two cycles meet at a boundary."""

    @override
    async def on_cycle_start(self) -> None:
        """Note the begin; and a turn later what a task of it does."""
        self.note("start")
        self.spawn(self.look())

    async def look(self) -> None:
        """Note that a task has begun, and when it goes on."""
        self.note("task")
        await self.clock.sleep_until(self.market.window.start)
        self.note("task goes on")


def test_at_a_boundary_the_new_cycle_begins_before_the_old_one_cleans_up() -> None:
    """The order does not hang on whether the old cycle had something left to be cancelled."""
    data = Made()
    for number in (0, 1):
        entry = make_entry(number)
        data.add(entry, (-20.0, both(entry, 40, 42)))
    noted: list[tuple[str, float]] = []
    run_backtest(Busy(), data=data, services=[noted])
    at_the_boundary = [what for what, after in noted if after == LENGTH]
    assert at_the_boundary == ["start", "task", "end", "task goes on"]
