"""A paper run on real sockets that a recorder listened to, played again, is the same.

It is compared exactly, which needs a clock that only moves when all of an instant has been heard. On
any other clock the recorder's connection and the strategy's bring one frame at times that differ by
turns of the event loop, and a strategy that was busy at the one time is not at the other.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from attrs import define, field
from typing_extensions import override

from polyframe.backtest.run import run_backtest
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.exchange.polymarket import PolymarketExchange, PolymarketHosts
from polyframe.model.events import PriceChanged
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market, Outcome
from polyframe.model.order import OrderType
from polyframe.model.series import Series
from polyframe.recording.parquet import ParquetRecording
from polyframe.recording.recorder import Recorder, RecorderSettings
from polyframe.strategy import Strategy
from polyframe.trader import Trader
from tests.backtest.kit import SERIES, START
from tests.backtest.noted import CASH, MODELS, Got, Noted, did, got

pytest.importorskip("pyarrow")
pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")

from polyframe.venue import LocalVenue, VenueSettings
from polyframe.venue.values import Print, Snapshot, SourceEvent, VenueMarket, derive_token


class SteppedClock:
    """Market time that stands still until it is moved."""

    def __init__(self, start: float) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    def time(self) -> float:
        """Return the time in epoch seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Sleep until it was moved that far."""
        await self.sleep_until(self._now + seconds)

    async def sleep_until(self, when: float) -> None:
        """Sleep until it was moved to `when`."""
        if when > self._now:
            woken = asyncio.get_running_loop().create_future()
            heapq.heappush(self._sleepers, (when, next(self._number), woken))
            await woken
        await asyncio.sleep(0)

    def move_to(self, when: float) -> None:
        """Go to `when`, and wake who slept until then."""
        self._now = max(self._now, when)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)


TOPS = (50, 48, 46, 44, 45, 47, 49, 52, 54, 53, 51, 49, 46, 43, 41, 44, 48, 51, 55, 56, 53, 50)
"""Best bids for Up in cents, one after another; the best ask is a cent above. Neighbours differ."""


class Stairs:
    """A source of one market whose price goes up and down stairs, with a trade at every third step."""

    def __init__(self) -> None:
        window = Series.parse(SERIES).window_at(START)
        market = Market(
            slug=Series.parse(SERIES).slug(window),
            series=Series.parse(SERIES),
            window=window,
            condition_id="0x" + "ab" * 32,
            up_token=derive_token("0xab", Outcome.UP),
            down_token=derive_token("0xab", Outcome.DOWN),
            fees=FeeSchedule(rate=Decimal("0.07")),
        )
        self.entry = VenueMarket(market, "17")
        self.skipped: Mapping[str, int] = {}
        self.steps = [(START + 2 + step, bid) for step, bid in enumerate(TOPS)]

    def market(self, slug: str) -> VenueMarket | None:
        """Return the one market."""
        return self.entry if slug == self.entry.slug else None

    def next_market(self, start: float) -> VenueMarket | None:
        """Return it as long as it has not begun."""
        return self.entry if start <= self.entry.start else None

    def winner(self, market: VenueMarket) -> Outcome:
        """Up."""
        return Outcome.UP

    def events(self, market: VenueMarket, since_ms: int) -> Iterator[SourceEvent]:
        """Yield a ladder at each step, and at every third a sale to the best bid just before it."""
        yield self._ladder(START * 1000, 51)
        for step, (second, bid) in enumerate(self.steps):
            if second * 1000 > since_ms:
                if step % 3 == 2:
                    best = self.steps[step - 1][1]
                    yield Print(second * 1000, is_buy=False, price=best * 100, size=30_000_000)
                yield self._ladder(second * 1000, bid)

    @staticmethod
    def _ladder(time_ms: int, bid: int) -> Snapshot:
        bids = {(bid - i) * 100: (10 + i) * 1_000_000 for i in range(6)}
        asks = {(bid + 1 + i) * 100: (5 + i) * 1_000_000 for i in range(6)}
        return Snapshot(time_ms, bids, asks)


@define(eq=False)
class Watch:
    """What a driver of the clock has to know of a strategy: what it saw last, and what it waits for."""

    bid: Decimal | None = None
    waits: bool = False


@define
class Stepping(Strategy):
    """Buys low, sells high, rests a bid and takes it back: an order of each kind, and its fills."""

    step: int = field(init=False, default=0)

    @override
    async def on_price(self, event: PriceChanged) -> None:
        """Do what the price of Up calls for."""
        if event.outcome is not Outcome.UP or event.bid is None or event.ask is None:
            return
        watch = self.env.get(Watch)
        watch.bid, watch.waits = event.bid, True
        self.step += 1
        trading, fak = self.trading, OrderType.FAK
        if event.ask <= Decimal("0.46"):
            price = event.ask + Decimal("0.01")
            await trading.buy(Outcome.UP, price=price, size=Decimal(8), order_type=fak)
        elif event.bid >= Decimal("0.52") and trading.position(Outcome.UP).settled >= 5:
            await trading.sell(Outcome.UP, price=event.bid, size=Decimal(5), order_type=fak)
        elif self.step % 4 == 0:
            await trading.cancel_all()
            await trading.buy(Outcome.UP, price=event.bid, size=Decimal(12))
            down = Decimal(1) - event.ask
            await trading.buy(Outcome.DOWN, price=down, size=Decimal(6))
        watch.waits = False


class Drive:
    """Moves the clock of a live run on when all that belongs to the present instant has happened."""

    def __init__(self, clock: SteppedClock, counters: Sequence[Counters], watch: Watch) -> None:
        self._clock = clock
        self._counters = counters
        self._watch = watch

    def heard(self, kind: str) -> tuple[int, ...]:
        """Return how many messages of a kind each connection has brought."""
        return tuple(each.get(Count.MARKET_MESSAGES, kind) for each in self._counters)

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something that another task, or the other side of a socket, is about to do."""
        async with asyncio.timeout(60):
            while not happened():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.002)

    async def steps(self, source: Stairs, exchange: Noted) -> None:
        """Go through all steps of the price."""
        await self.until(lambda: min(self.heard("BookSnapshot")) >= 2 and not self._watch.waits)
        prints = 0
        for step, (second, bid) in enumerate(source.steps):
            prints += step % 3 == 2
            self._clock.move_to(second)
            expected = step + 1, prints, Decimal(bid) / 100
            await self.until(partial(self._is_done, exchange, *expected))
            while self._watch.waits:
                # The order that it waits for arrives; it may send another at once.
                asked = len(exchange.did)
                self._clock.move_to(self._clock.time() + 0.25)
                await self.until(partial(self._moved_on, exchange, asked))

    def _is_done(self, exchange: Noted, deltas: int, prints: int, bid: Decimal) -> bool:
        return (
            min(self.heard("BookDelta")) >= deltas
            and min(self.heard("TradePrint")) >= prints
            and min(self.heard("BookSnapshot")) >= 2 + 2 * prints
            and self._watch.bid == bid
            and (not self._watch.waits or exchange.asking > 0)
        )

    def _moved_on(self, exchange: Noted, asked: int) -> bool:
        return not self._watch.waits or (len(exchange.did) > asked and exchange.asking > 0)


async def trade_and_record(folder: Path) -> tuple[Noted, list[Got], Decimal | None]:
    """Trade one market of a venue on paper while a recorder listens; return what was done."""
    clock, source, watch = SteppedClock(START + 1), Stairs(), Watch()
    quiet = VenueSettings(quiet=1_000.0)
    recorder_counters, counters = Counters(), Counters()
    async with LocalVenue(source, clock=clock, settings=quiet) as venue:
        hosts = PolymarketHosts.local(venue.url)
        listener = PolymarketExchange(hosts)
        await listener.open(clock, recorder_counters)
        recorder = Recorder(
            listener,
            [SERIES],
            folder,
            cycles=1,
            settings=RecorderSettings(tail=1.0, retry=1.0, resolution_wait=90.0),
        )
        exchange = Noted(PolymarketExchange(hosts), clock, MODELS)
        env = Environment(exchange, clock=clock, counters=counters)
        env.provide(watch)
        async with env:
            await recorder.open(clock, recorder_counters)
            trader = Trader(env)
            trader.add(Stepping(), on=SERIES)
            drive = Drive(clock, (recorder_counters, counters), watch)
            running = asyncio.create_task(trader.run(cycles=1))
            await drive.steps(source, exchange)
            ends = asyncio.gather(running, recorder.wait())
            clock.move_to(source.entry.end)
            while not (ends.done() and not env.settlement.pending):
                clock.move_to(clock.time() + 1)
                await asyncio.sleep(0.01)
            await ends
            fills, profit = await exchange.got(), env.ledger.profit
        await recorder.close()
        await listener.close()
    return exchange, fills, profit


def test_a_recorded_paper_run_on_real_sockets_played_again_is_the_same(tmp_path: Path) -> None:
    """What the recorder has written leads the same strategy to the same orders, fills and profit."""

    async def main() -> tuple[Noted, list[Got], Decimal | None]:
        async with asyncio.timeout(120):
            return await trade_and_record(tmp_path)

    exchange, fills, profit = asyncio.run(main())
    data = ParquetRecording(tmp_path)
    report = run_backtest(Stepping(), data=data, models=MODELS, cash=CASH, services=[Watch()])
    assert did(report.decisions) == exchange.did
    assert got(report) == fills
    assert report.profit == profit
    assert {action for _, action, *_ in exchange.did} == {"place", "cancel"}
    assert {is_taker for *_, is_taker in fills} == {True, False}
