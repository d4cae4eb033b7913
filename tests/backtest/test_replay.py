"""The replayed venue: what it tells and when, and what it refuses."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen
from typing_extensions import override

from polyframe.backtest.exchange import ReplayExchange
from polyframe.backtest.lookahead import find_look_ahead
from polyframe.backtest.progress import Progress
from polyframe.backtest.run import CASH, backtest, run_backtest
from polyframe.backtest.sweeps import task
from polyframe.backtest.sweeps.sweeping import sweep
from polyframe.clock import Clock, VirtualClock, WallClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, StrategyDefinitionError, StrategyFailed
from polyframe.model.events import (
    MarketMessage,
    MarketResolved,
    PriceChanged,
    StreamState,
    TradePrint,
)
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.series import Series
from polyframe.paper.models import ConstantLatency, PaperModels
from polyframe.paper.queues import QueuePlace
from polyframe.recording.parquet import ParquetRecording
from polyframe.recording.tape import Gap, TapeEvent, TapeMarket, Timed
from polyframe.shared import SharedService
from polyframe.strategy import Strategy
from polyframe.trading.guards import EntryGuards
from tests.backtest.kit import (
    LENGTH,
    MODELS,
    START,
    Eager,
    Made,
    beside,
    both,
    level,
    make_entry,
    wandering,
)


@define
class Noting(Strategy):
    """Notes in a list of the environment what it is told of prices, and when."""

    @override
    async def on_price(self, event: PriceChanged) -> None:
        """Note one price."""
        after = round(self.clock.time() - self.market.window.start, 3)
        self.env.get(list).append((after, event.outcome, event.bid))


@define(eq=False)
class Ear:
    """A sink that keeps what it hears."""

    heard: list[object] = field(factory=list)

    def on_market_message(self, message: MarketMessage) -> None:
        """Keep a message."""
        self.heard.append(message)

    def on_market_stream(self, state: StreamState, reason: str) -> None:
        """Keep a change of the connection."""
        self.heard.append((state, reason))


def test_rows_come_exactly_when_they_are_due() -> None:
    """To the millisecond, in the order of the recording, at the time that the strategy's clock says."""
    entry = make_entry()
    rows = [(after, both(entry, 50 + i, 52 + i)) for i, after in enumerate((0.001, 7.25, 299.999))]
    told: list[tuple[float, Outcome, Decimal]] = []
    run_backtest(
        Noting(), data=Made().add(entry, (-30, both(entry, 40, 42)), *rows), services=[told]
    )
    up = [(after, bid) for after, outcome, bid in told if outcome is Outcome.UP]
    assert up == [
        (0.0, Decimal("0.40")),
        (0.001, Decimal("0.50")),
        (7.25, Decimal("0.51")),
        (299.999, Decimal("0.52")),
    ]


def test_a_gap_makes_books_unknown_until_the_next_connection() -> None:
    """After a gap nothing is known and nothing trades, until both books came again."""
    entry = make_entry()
    made = Made().add(entry, (-30, both(entry, 40, 42)), (100, both(entry, 50, 52)))
    rows = made.rows[0][1]
    rows[2:2] = [Gap((START + 50) * 1000, "closed")]
    rows[3:] = [evolved(row, 2) for row in rows[3:]]
    told: list[tuple[float, Outcome, Decimal | None]] = []
    run_backtest(Noting(), data=made, services=[told])
    up = [(after, bid) for after, outcome, bid in told if outcome is Outcome.UP]
    assert up == [(0.0, Decimal("0.40")), (50.0, None), (100.0, Decimal("0.50"))]


def evolved(row: TapeEvent, epoch: int) -> TapeEvent:
    """Return a row of another connection."""
    assert isinstance(row, Timed)
    return Timed(row.received_ms, epoch, row.message)


def test_a_market_that_is_added_meanwhile_is_played_in_its_turn() -> None:
    """Who adds one while rows of another are played hears both in order of time from then on."""
    first, other = make_entry(), beside(make_entry())
    steps = [(at, both(first, 40 + at, 42 + at)) for at in range(8)]
    data = Made().add(first, *steps)
    data.add(other, *((at + 0.5, both(other, 50 + at, 52 + at)) for at in range(8)))
    clock, times, woken = VirtualClock(START - 1), list[float](), asyncio.Event()

    class Waking(Ear):
        @override
        def on_market_message(self, message: MarketMessage) -> None:
            times.append(clock.time() - START)
            woken.set()

    async def main() -> None:
        exchange = ReplayExchange(data)
        await exchange.open(clock, Counters())

        async def add() -> None:
            for entry in (first, other):
                market = await exchange.fetch_market(entry.market.series, entry.market.window)
                assert market is not None
                exchange.market_stream(market, Waking()).start()
                await woken.wait()

        adding = asyncio.create_task(add())
        await clock.sleep_until(START + 20)  # no other timer ends what is played
        await adding
        await exchange.close()

    clock.run(main())
    assert times == sorted(times)
    assert set(times) == {half / 2 for half in range(16)}


def test_who_connects_late_is_told_the_books_as_they_stand() -> None:
    """A stream that begins, or begins anew, in the middle starts with both whole books."""
    entry = make_entry()
    data = Made().add(entry, (-100, both(entry, 40, 42)), (50, both(entry, 60, 62)))
    clock = VirtualClock(START - 50)

    async def main() -> list[object]:
        exchange, ear = ReplayExchange(data), Ear()
        await exchange.open(clock, Counters())
        market = await exchange.fetch_market(entry.market.series, entry.market.window)
        assert market is not None
        stream = exchange.market_stream(market, ear)
        stream.start()
        await clock.sleep(10)
        stream.resync("test")
        await clock.sleep(0)
        await clock.sleep(60)
        await stream.close()
        await exchange.close()
        return ear.heard

    heard = clock.run(main())
    first = [heard[0], *(bids(one) for one in heard[1:3])]
    assert first == [(StreamState.CONNECTED, ""), ("0.40", 5), ("0.58", 5)]
    assert heard[3:5] == [(StreamState.LOST, "test"), (StreamState.CONNECTED, "")]
    assert [bids(one) for one in heard[5:7]] == [("0.40", 5), ("0.58", 5)]


def bids(message: object) -> tuple[str, int]:
    """Return the best bid of a snapshot, and how many levels bid."""
    levels: tuple[tuple[int, Decimal], ...] = getattr(message, "bids", ())
    return f"{max(units for units, _ in levels) / 10_000:.2f}", len(levels)


def test_an_order_after_the_end_is_refused() -> None:
    """The book of a market is gone when its window is over: no order rests in it for ever."""
    entry = make_entry()
    data = Made().add(entry, (-50, both(entry, 40, 42)))
    clock = VirtualClock(START - 50)

    async def main() -> tuple[object, object]:
        exchange = ReplayExchange(data, models=MODELS)
        await exchange.open(clock, Counters())
        market = await exchange.fetch_market(entry.market.series, entry.market.window)
        assert market is not None
        request = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.10"), Decimal(10))
        resting = await exchange.place_order(exchange.prepare_order(market, request))
        assert resting.result is PlaceResult.LIVE
        assert len(await exchange.fetch_open_orders(market)) == 1
        await clock.sleep_until(market.window.end + 1)
        assert await exchange.fetch_open_orders() == []
        late = await exchange.place_order(exchange.prepare_order(market, request))
        again = await exchange.fetch_market(market.series, market.window)
        await exchange.close()
        return (late.result, late.code), again

    assert clock.run(main()) == ((PlaceResult.REJECTED, "market_not_found"), None)


def test_several_series_run_side_by_side_each_as_long_as_it_was_recorded() -> None:
    """A series with fewer markets ends earlier and holds up nobody; orders find their own market."""
    short, data = Series.parse("eth-updown-5m"), wandering(4, cycles=3)
    window = short.window_at(START + LENGTH)
    market = Market(short.slug(window), short, window, "0xother", "901", "902")
    entry = TapeMarket(market, Outcome.DOWN)
    data.add(
        entry, *((after, both(entry, 30, 31)) for after in (-10.0, *map(float, range(5, 200, 9))))
    )
    report = run_backtest(Eager(), data=data)
    assert [cycle.start - START for cycle in report.cycles] == [0, LENGTH, LENGTH, 2 * LENGTH]
    assert all(cycle.trades for cycle in report.cycles)
    assert all(trade.slug == cycle.slug for cycle in report.cycles for trade in cycle.trades)
    alone = run_backtest(Eager(), data=data, series="eth-updown-5m")
    assert [cycle.slug for cycle in alone.cycles] == [market.slug]


@define(eq=False)
class Broken(Made):
    """A recording whose files end in garbage after some rows."""

    good: int = 0

    @override
    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield the beginning of one."""
        for number, event in enumerate(Made.events(self, market)):
            if number == self.good:
                msg = "the file is damaged"
                raise OSError(msg)
            yield event


def test_a_recording_that_cannot_be_read_on_ends_the_run_with_its_error() -> None:
    """Half a recording is no result: the reader's own error is raised, and nothing hangs."""
    for good in (40, 0):
        with pytest.raises(OSError, match="the file is damaged"):
            run_backtest(Eager(), data=Broken(wandering(1).rows, good))


def test_a_model_that_raises_ends_the_run_with_its_error() -> None:
    """An order whose model fails is not waited for until the end of time."""

    @frozen
    class NoQueue:
        name: str = "none"

        def join(self, size: int) -> QueuePlace:
            msg = "no place"
            raise LookupError(msg)

    with pytest.raises(LookupError, match="no place"):
        run_backtest(Eager(), data=wandering(1), models=PaperModels(queue=NoQueue()))


def test_a_strategy_that_raises_ends_the_run_or_its_cycle_as_it_was_told_to() -> None:
    """By default the first error is raised; with another policy the other cycles go on."""

    @define
    class Raising(Strategy):
        @override
        async def on_book(self, outcome: Outcome) -> None:
            if self.market.window.start == START:
                raise ZeroDivisionError

    data = wandering(1)
    with pytest.raises(StrategyFailed) as raised:
        run_backtest(Raising(), data=data)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert len(run_backtest(Raising(), data=data, on_error="skip_cycle").cycles) == 3


def test_in_debug_mode_no_step_is_slow(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Market time that passes within a step of the loop is no time that it took."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    run_backtest(Eager(), data=wandering(1, cycles=1))
    assert "took" not in caplog.text


@define
class Telling(Strategy):
    """Logs with fields of its own, and with what says that there are none."""

    async def on_cycle_start(self) -> None:
        for more in (None, {}, {"pace": 3}):
            self.log.warning("begun", extra=more)


def test_what_a_strategy_logs_has_the_time_of_its_market(caplog: pytest.LogCaptureFixture) -> None:
    """Beside whatever fields it gives to its records."""
    run_backtest(Telling(), data=wandering(1, cycles=1), on_error="raise")
    found = [vars(one) for one in caplog.records if one.name.endswith("Telling")]
    assert [one["market_time"] for one in found] == [START] * 3
    assert found[2]["pace"] == 3


def test_what_cannot_be_run_is_refused_by_name(tmp_path: Path) -> None:
    """No strategy, no data, a series that was not recorded, a market twice, a loop, a wrong clock."""
    data = wandering(1, cycles=1)
    twice = Made([*data.rows, *data.rows])
    second = make_entry(1)
    token = data.markets()[0].market.up_token
    alike = Made([*data.rows]).add(evolve(second, market=evolve(second.market, down_token=token)))

    async def within() -> None:
        run_backtest(Eager(), data=data)

    async def wall() -> None:
        await ReplayExchange(data).open(WallClock(), Counters())

    with pytest.raises(ConfigError, match="expected at least one"):
        run_backtest(data=data)
    with pytest.raises(ConfigError, match=r"run_backtest\(One\(\), Other\(\), data=…\)"):
        run_backtest([Eager()], data=data)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"two would trade under one name, Eager; .* sweep\("):
        run_backtest(Eager(), Eager(), data=data)
    with pytest.raises(StrategyDefinitionError, match="the class Eager: call it"):
        run_backtest(Eager, Eager, data=data)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"has no markets$"):
        run_backtest(Eager(), data=Made())
    (tmp_path / "mine.parquet").touch()
    with pytest.raises(ConfigError, match="has no markets; skipped: 1 unreadable"):
        run_backtest(Eager(), data=ParquetRecording(tmp_path))
    with pytest.raises(ConfigError, match=r"such as ParquetRecording\(folder\), got 'recordings'"):
        run_backtest(Eager(), data="recordings")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="nothing was recorded of eth-updown-5m"):
        run_backtest(Eager(), data=data, series="eth-updown-5m")
    with pytest.raises(ConfigError, match="recorded twice"):
        run_backtest(Eager(), data=twice)
    with pytest.raises(ConfigError, match=f"has the token '{token}' of btc-updown-5m-.*its own"):
        run_backtest(Eager(), data=alike)
    with pytest.raises(ConfigError, match="await backtest"):
        asyncio.run(within())
    with pytest.raises(ConfigError, match="needs a VirtualClock"):
        asyncio.run(wall())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"model": PaperModels()}, r"model: no option of a .*; there are: .*models"),
        (
            {"models": ConstantLatency(250)},
            r"models: expected PaperModels\(…\), got ConstantLatency",
        ),
        ({"risk": {"max_run_loss": 5}}, r"risk: expected RiskLimits\(…\), got \{"),
        ({"settings": 3}, r"settings: expected TraderSettings\(…\), got 3"),
        ({"resolved_after": -1}, r"resolved_after: expected market seconds of at least 0, got -1"),
        ({"resolved_after": float("nan")}, r"resolved_after: expected .*, got nan"),
        ({"resolved_after": "60"}, r"resolved_after: expected .*, got '60'"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: dict[str, Any], text: str) -> None:
    """Also for a sweep, before anything runs: a winner that is told before the end would be the future."""
    data = wandering(1, cycles=1)
    with pytest.raises(ConfigError, match=text):
        run_backtest(Eager(), data=data, **options)
    with pytest.raises(ConfigError, match=text):
        sweep(Eager, [{}], data=data, **options)


@define
class Threaded(Strategy):
    """Waits for a thread."""

    number: int = 0

    async def on_cycle_start(self) -> None:
        """Wait."""
        await asyncio.to_thread(sum, range(3))


def test_who_waits_for_a_thread_is_told_what_that_does_to_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once a back-test: market time does not wait for it. Who computes in its hooks, or loads before, is told nothing."""

    class Loads(SharedService):
        async def open(self, clock: Clock, counters: Counters) -> None:
            await asyncio.to_thread(sum, range(3))

        async def close(self) -> None:
            pass

    @define
    class Spawns(Strategy):
        async def on_cycle_start(self) -> None:
            with suppress(FileNotFoundError):
                await asyncio.create_subprocess_exec("no-such-program")

    data = wandering(1, cycles=2)
    run_backtest(Eager(), data=data, services=[Loads()])
    assert "awaits a thread" not in caplog.text
    for strategy in (Threaded(), Spawns(), Threaded()):
        caplog.clear()
        run_backtest(strategy, data=data)
        assert 1 == caplog.text.count("awaits a thread, a process or a socket")


def test_many_back_tests_of_one_call_tell_it_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep says it once in each process, and the look for a look-ahead once."""
    data = wandering(1, cycles=2)
    find_look_ahead(Threaded(), data=data, cuts=1)
    assert 1 == caplog.text.count("awaits a thread, a process or a socket")
    caplog.clear()
    monkeypatch.setattr(task, "_TOLD", [])
    with ThreadPoolExecutor(1) as executor:
        sweep(Threaded, [{"number": 1}, {"number": 2}], data=data, executor=executor)
    assert 1 == caplog.text.count("awaits a thread, a process or a socket")


def test_services_may_take_their_time_to_open() -> None:
    """A thread or a process that a service waits for is no deadlock, however long it takes."""

    class Slow(SharedService):
        async def open(self, clock: Clock, counters: Counters) -> None:
            began = clock.time()
            await asyncio.to_thread(threading.Event().wait, 0.1)
            sleeper = "import time; time.sleep(0.1)"
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", sleeper)
            assert await process.wait() == 0
            assert clock.time() == began

        async def close(self) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyframe.clock._MOMENT", 0.01)
        patch.setattr("polyframe.clock._MOST_MOMENTS", 3000)
        assert len(run_backtest(Eager(), data=wandering(1), services=[Slow()]).cycles) == 3


def test_cancelling_the_awaited_form_ends_its_thread() -> None:
    """Whoever gives up waiting does not leave a back-test running behind."""
    began = threading.Event()

    @define
    class Endless(Strategy):
        @override
        async def run(self) -> None:
            self.env.get(threading.Event).set()
            while True:  # noqa: ASYNC110 - being busy is the point
                await asyncio.sleep(0)

    async def main() -> None:
        before = threading.active_count()
        running = asyncio.create_task(backtest(Endless(), data=wandering(1), services=[began]))
        await asyncio.to_thread(began.wait, 20)
        assert threading.active_count() > before
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await running

    asyncio.run(main())
    assert began.is_set()


def test_orders_of_a_batch_and_cancels_travel_as_long_as_the_models_say() -> None:
    """What is sent together arrives together, a cancel after the same time."""

    @define
    class Batch(Strategy):
        @override
        async def run(self) -> None:
            await self.clock.sleep_until(self.market.window.start + 10)
            requests = [
                OrderRequest(outcome, Side.BUY, Decimal("0.20"), Decimal(10), OrderType.GTC)
                for outcome in Outcome
            ]
            placed = await self.trading.place_many(requests)
            times.append(self.clock.time() - self.market.window.start)
            await self.trading.cancel_all()
            times.append(self.clock.time() - self.market.window.start)
            states.extend(order.status.value for order in self.trading.orders())
            assert all(one.order is not None for one in placed)

    times: list[float] = []
    states: list[str] = []
    entry = make_entry()
    data = Made().add(entry, (-30, both(entry, 50, 52)))
    report = run_backtest(Batch(), data=data, models=MODELS)
    assert [round(time, 3) for time in times] == [10.25, 10.5]
    assert states == ["cancelled", "cancelled"]
    actions = [(d.action, d.time_ms - START * 1000, d.number) for d in report.decisions]
    assert actions == [
        ("place", 10_000, 1),
        ("place", 10_000, 2),
        ("cancel", 10_250, 1),
        ("cancel", 10_250, 2),
    ]
    assert report.total.orders == 2


def test_a_market_without_a_winner_leaves_the_others_theirs() -> None:
    """A copy of a market without its winner is never resolved, and only it."""
    data = wandering(2, cycles=2)
    data.rows[1] = (evolve(data.rows[1][0], winner=None), data.rows[1][1])
    report = run_backtest(Eager(), data=data)
    assert [cycle.winner is None for cycle in report.cycles] == [False, True]
    assert report.profit is None


@define
class Curious(Strategy):
    """Buys Up in the first cycle; asks from then on who has won it."""

    done: bool = field(init=False, default=False)

    @override
    async def on_book(self, outcome: Outcome) -> None:
        """Buy, or ask."""
        found = self.env.get(list)
        found.append(self.market) if not found else None
        if self.market != found[0]:
            answer = await self.env.exchange.fetch_resolution(found[0])
            found.append((round(self.clock.time() - START - LENGTH), answer and answer.winner))
        elif not self.done:
            self.done = True
            price = self.session.price(Outcome.UP).ask
            assert price is not None
            await self.trading.buy(
                Outcome.UP, price=price, size=Decimal(10), order_type=OrderType.FAK
            )


@pytest.mark.parametrize(
    ("at", "due"), [(150, 60), (330, 60), (400, 100)], ids=["within", "behind", "late"]
)
def test_rows_say_who_won_where_nothing_else_does(at: float, due: int) -> None:
    """A row of the resolution settles a market without a winner: when it was told, at the earliest."""
    first, second = make_entry(0, winner=None), make_entry(1)
    foreign = MarketResolved(first.market.condition_id, "somebody else's", 0)
    row = MarketResolved(first.market.condition_id, first.market.up_token, 0)
    asked: list[tuple[float, list[MarketMessage]]] = [
        (float(after), [level(second, Outcome.UP, 40, after, is_bid=True)])
        for after in (30, 59, 61, 99, 101)
    ]
    data = Made().add(first, (0, both(first, 50, 51)), (at, [row]), (at + 1, [foreign]))
    data.add(second, (0, both(second, 50, 51)), *asked)
    found: list[Any] = []
    report = run_backtest(Curious(), data=data, models=MODELS, services=[found])
    assert [after for after, winner in found[1:] if winner is Outcome.UP] == [
        after for after in (61, 99, 101) if after > due
    ]
    assert {winner for after, winner in found[1:] if after < due} == {None}
    (cycle, _) = report.cycles
    fee = Decimal("0.17493")
    assert (cycle.winner, cycle.figures.profit) == (Outcome.UP, Decimal("4.9") - fee)
    # What is known of the market goes before what was heard of it.
    data.rows[0] = (evolve(first, winner=Outcome.DOWN), data.rows[0][1])
    report = run_backtest(Curious(), data=data, models=MODELS, services=[[]])
    assert report.cycles[0].winner is Outcome.DOWN


@define(eq=False)
class Endless(Made):
    """A recording that goes on for days behind its last row, and is never to be read to its end."""

    @override
    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield the rows, and then a trade a minute."""
        yield from super().events(market)
        trade = TradePrint(market.market.condition_id, market.market.up_token, 5000, None, None, 0)
        for minute in range(6, 3 * 1440):
            yield Timed((market.market.window.start + 60 * minute) * 1000, 1, trade)
        msg = "nobody needs so much"
        raise AssertionError(msg)


@pytest.mark.parametrize(("hours", "winner"), [(5, Outcome.UP), (None, None)])
def test_who_won_is_looked_for_long_enough_but_not_for_ever(
    hours: int | None, winner: Outcome | None
) -> None:
    """Hours behind the last window a row still settles it; what has no end is left after a day."""
    entry = make_entry(0, winner=None)
    rows: list[tuple[float, list[MarketMessage]]] = [(0, both(entry, 50, 51))]
    if hours is not None:
        message = MarketResolved(entry.market.condition_id, entry.market.up_token, 0)
        rows.append((hours * 3600, [message]))
    data = (Endless() if hours is None else Made()).add(entry, *rows)
    report = run_backtest(BuysOnce(), data=data, models=MODELS)
    assert [cycle.winner for cycle in report.cycles] == [winner]


def test_of_the_hour_that_comes_twice_one_is_played(caplog: pytest.LogCaptureFixture) -> None:
    """Two windows of one slug would be one cycle with one result: the later one is left out, and told."""
    series = Series.parse("btc-updown-1h")
    midnight = int(datetime(2026, 11, 1, 4, tzinfo=UTC).timestamp())  # in New York
    data = Made()
    for number in range(4):
        window = series.window_at(midnight + 3600 * number)
        plain = make_entry(number, Outcome.DOWN if number == 2 else Outcome.UP)
        market = evolve(plain.market, series=series, window=window, slug=series.slug(window))
        entry = evolve(plain, market=market)
        data.add(entry, (0, both(entry, 50, 51)), (2, both(entry, 55, 56)))
    assert data.rows[1][0].market.slug == data.rows[2][0].market.slug
    report = run_backtest(BuysOnce(), data=data, models=MODELS)
    assert [cycle.start - midnight for cycle in report.cycles] == [0, 3600, 3 * 3600]
    assert {cycle.winner for cycle in report.cycles} == {Outcome.UP}
    assert report.profit is not None
    assert report.cash == CASH + report.profit
    assert "an earlier market has the same name: 1" in caplog.text


@define
class BuysOnce(Strategy):
    """Buys Up once in a cycle."""

    @override
    async def run(self) -> None:
        """Buy."""
        await self.clock.sleep(1)
        price = self.session.price(Outcome.UP).ask
        assert price is not None
        await self.trading.buy(Outcome.UP, price=price, size=Decimal(10), order_type=OrderType.FAK)


def test_guards_of_a_strategy_hold_in_a_back_test() -> None:
    """What they refuse is told by the report, and nothing that they forbid was sent."""
    guards = EntryGuards(max_entries=2, entry_before_end=60.0)
    report = run_backtest(Eager(), data=wandering(3), guards=guards, on_error="skip_cycle")
    assert report.total.refusals["guard_entries"] > 0
    for cycle in report.cycles:
        assert sum(trade.request.side is Side.BUY for trade in cycle.trades) <= 2


def test_progress_counts_the_markets_that_are_over() -> None:
    """It is told how many there are before the first, then once for each of them."""
    told: list[Progress] = []
    run_backtest(Eager(), data=wandering(1), progress=told.append)
    assert told == [Progress(done, 3) for done in range(4)]


def test_nothing_is_asked_that_is_told_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cycle begins without a comparison; who won is asked at its end, and when it is told."""
    asked: list[str] = []
    ask = ReplayExchange.fetch_resolution

    async def noted(self: ReplayExchange, market: Market) -> Resolution | None:
        asked.append(market.slug)
        return await ask(self, market)

    monkeypatch.setattr(ReplayExchange, "fetch_resolution", noted)
    counters = Counters()
    report = run_backtest(Eager(5), data=wandering(1, cycles=2, rows=60), counters=counters)
    assert {} == counters.reasons(Count.RECONCILES)
    assert dict.fromkeys(asked, 2) == {
        cycle.slug: asked.count(cycle.slug) for cycle in report.cycles
    }
    assert all(cycle.winner is not None for cycle in report.cycles)


@define
class Busy(Noting):
    """Places and cancels orders all the time, far from the price, while it notes what it is told."""

    @override
    async def run(self) -> None:
        """Leave hundreds of timers behind that are not needed any more, all after one that is."""
        self.spawn(self._tick())
        while self.seconds_left() > 60:
            order = await self.trading.buy(Outcome.UP, price=Decimal("0.01"), size=Decimal(5))
            await self.trading.cancel(order)

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep(1.7)


def test_many_orders_do_not_hold_up_the_rows() -> None:
    """Who has placed and cancelled hundreds of orders is told the same prices at the same times."""
    told: dict[type[Noting], list[object]] = {}
    for kind in (Noting, Busy):
        told[kind] = []
        run_backtest(
            kind(),
            data=wandering(3, cycles=1, rows=250),
            models=MODELS,
            services=[told[kind]],
        )
    assert len(told[Noting]) > 100
    assert told[Busy] == told[Noting]
