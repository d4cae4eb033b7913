"""Reference prices as strategies see them, on simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

import pytest
from attrs import define, evolve

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.errors import ConfigError, ExchangeUnavailable
from polyframe.exchange.base import DataStream, ReferenceSink
from polyframe.model.reference import PriceRecord, PriceSource, PriceToBeat, ReferencePrice
from polyframe.model.series import Series, Window
from polyframe.reference import ReferencePrices, ReferenceSettings
from polyframe.shared import SharedService
from polyframe.strategy import Strategy
from polyframe.trader import Trader
from tests.exchange.kit import MARKET, SERIES, WINDOW
from tests.support.fake import FakeExchange
from tests.support.stage import Diary

START, END = WINDOW.start, WINDOW.end
NEXT = evolve(MARKET, window=SERIES.next(WINDOW), slug=SERIES.slug(SERIES.next(WINDOW)))


class QuietStream:
    """A stream that keeps what was done with it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        """Note it."""
        self.calls.append("start")

    def detach(self) -> None:
        """Note it."""
        self.calls.append("detach")

    def resync(self, reason: str) -> None:
        """Note it."""
        self.calls.append(f"resync {reason}")

    async def close(self) -> None:
        """Note it."""
        self.calls.append("close")


class Prices:
    """A venue whose prices and records a test decides."""

    def __init__(self) -> None:
        self.records: dict[int, PriceRecord | Exception] = {}
        self.asked: list[tuple[float, int]] = []
        self.streams: list[QuietStream] = []
        self.wanted: Sequence[tuple[PriceSource, str]] = ()
        self.clock = VirtualClock(START - 60)
        self._sink: ReferenceSink | None = None

    def reference_streams(
        self, wanted: Sequence[tuple[PriceSource, str]], sink: ReferenceSink
    ) -> list[DataStream]:
        """Return one stream that does nothing."""
        self.wanted, self._sink = wanted, sink
        self.streams.append(QuietStream())
        return [self.streams[-1]]

    async def fetch_price_record(self, series: Series, window: Window) -> PriceRecord:
        """Return what the test put there."""
        self.asked.append((self.clock.time(), window.start))
        found = self.records.get(window.start, PriceRecord())
        if isinstance(found, Exception):
            raise found
        return found

    def tick(self, instant: float, value: str = "65000.5", **other: object) -> None:
        """Deliver a price."""
        assert self._sink is not None
        price = ReferencePrice(PriceSource.TWAP, "btc", Decimal(value), round(instant * 1000))
        for name, change in other.items():
            fields = {n: getattr(price, n) for n in price.__struct_fields__} | {name: change}
            price = ReferencePrice(**fields)
        self._sink.on_reference(price)


def play(
    act: Callable[[ReferencePrices, Prices], Awaitable[None]],
    *series: str,
    settings: ReferenceSettings | None = None,
) -> Counters:
    """Run `act` with an open service a minute before the window starts."""
    venue, counters = Prices(), Counters()

    async def main() -> None:
        service = ReferencePrices(venue, *(series or ("btc-updown-15m",)), settings=settings)
        await service.open(venue.clock, counters)
        try:
            await act(service, venue)
        finally:
            await service.close()
        named = [t.get_name() for t in asyncio.all_tasks()]
        assert not [name for name in named if name.startswith("polyframe-")]

    venue.clock.run(main())
    return counters


def beat(value: str, **changes: object) -> PriceToBeat:
    """Return the price to beat of the market, by the average at its start."""
    fields = {
        "window": WINDOW,
        "value": Decimal(value),
        "source": PriceSource.TWAP,
        "instant": float(START),
        "is_final": True,
    }
    return PriceToBeat(**(fields | changes))  # type: ignore[arg-type]


def test_the_price_to_beat_is_unknown_until_the_starts_price_came() -> None:
    """Before the start, and until its price is there, the answer says so and why."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        assert prices.price_to_beat(MARKET) == PriceToBeat(WINDOW, unknown="before_start")
        venue.tick(START - 1, "64999")
        await venue.clock.sleep_until(START)
        assert prices.price_to_beat(MARKET) == PriceToBeat(WINDOW, unknown="waiting")
        assert not prices.price_to_beat(MARKET).is_known
        venue.tick(START, "65000.25")
        assert prices.price_to_beat(MARKET) == beat("65000.25")
        assert prices.price_to_beat(MARKET).is_known

    play(act)


def test_waiting_ends_with_the_price() -> None:
    """Who waits is woken by the price of the start, and by no other."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(prices.wait_price_to_beat(MARKET))
            await venue.clock.sleep_until(START + 0.3)
            venue.tick(START - 1, "1")
            await venue.clock.sleep_until(START + 0.7)
            assert not waiting.done()
            venue.tick(START, "2")
        assert waiting.result() == beat("2")
        assert venue.clock.time() == START + 0.7

    play(act)


def test_a_missed_start_is_told_and_the_wait_ends_with_the_window() -> None:
    """Nobody listened at the start: it says "missed", and nobody waits longer than the cycle."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        await venue.clock.sleep_until(START + 10)
        venue.tick(START + 9)
        assert prices.price_to_beat(MARKET) == PriceToBeat(WINDOW, unknown="missed")
        assert await prices.wait_price_to_beat(MARKET) == PriceToBeat(WINDOW, unknown="missed")
        assert venue.clock.time() == END

    play(act)


def test_a_price_from_shortly_before_is_not_final() -> None:
    """When the exact price never comes, the one before stands in and says what it is."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        await venue.clock.sleep_until(START + 3)
        venue.tick(START - 1, "7")
        venue.tick(START + 2.5, "8")
        expected = beat("7", instant=START - 1.0, is_final=False)
        assert prices.price_to_beat(MARKET) == expected

    play(act)


def test_hourly_markets_are_never_final_by_ticks() -> None:
    """They are settled on Binance's candle, which a last price only comes close to (§1.5)."""
    hourly = Series.parse("btc-updown-1h")
    window = hourly.window_at(START + 3600)
    market = evolve(MARKET, series=hourly, window=window, slug=hourly.slug(window))

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        await venue.clock.sleep_until(window.start)
        venue.tick(window.start, "9", source=PriceSource.BINANCE)
        found = prices.price_to_beat(market)
        assert found.source is PriceSource.BINANCE
        assert found.value == 9
        assert not found.is_final
        assert venue.wanted == [(PriceSource.BINANCE, "btc")]

    play(act, "btc-updown-1h")


def test_the_next_cycle_has_its_own_price_to_beat() -> None:
    """The end of one window is the start of the next; neither answer is mistaken for the other."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        await venue.clock.sleep_until(START)
        venue.tick(START, "1")
        assert prices.price_to_beat(NEXT).unknown == "before_start"
        await venue.clock.sleep_until(END)
        venue.tick(END, "2")
        assert prices.price_to_beat(MARKET) == beat("1")
        assert prices.price_to_beat(NEXT) == beat("2", window=NEXT.window, instant=float(END))

    play(act)


def test_updates_end_with_their_window() -> None:
    """A reader gets the latest price each time, none of the next cycle, and then the end."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        seen: list[tuple[int, int]] = []

        async def read() -> None:
            async for price in prices.updates(MARKET):
                seen.append((price.instant_ms - START * 1000, int(price.value)))
                await venue.clock.sleep(0.5)  # slower than what comes

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            await venue.clock.sleep_until(START + 1)
            for number in range(3):
                venue.tick(START + 1 + number / 10, str(number))
                await venue.clock.sleep(0.1)
            await venue.clock.sleep_until(END - 1)
            venue.tick(END, "99")
        assert seen == [(1000, 0), (1200, 2)]
        assert venue.clock.time() < END

    play(act)


def test_updates_end_although_no_price_comes() -> None:
    """A dead feed does not keep a reader beyond the window."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        assert [price async for price in prices.updates(MARKET)] == []
        assert venue.clock.time() == END
        assert [price async for price in prices.updates(MARKET)] == []

    play(act)


def test_the_latest_price_is_of_the_series() -> None:
    """Each asset has its own; a series that was not given is an error that says what to do."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        assert prices.latest("eth-updown-5m") is None
        venue.tick(START - 60, "3", asset="eth")
        venue.tick(START - 60, "4", asset="doge")  # nobody asked for it
        found = prices.latest("eth-updown-5m")
        assert found is not None
        assert found.value == 3
        assert prices.latest(SERIES) is None
        with pytest.raises(ConfigError, match=r"sol-updown-15m was not given"):
            prices.latest("sol-updown-15m")

    play(act, "btc-updown-15m", "eth-updown-5m")


def test_prices_of_impossible_instants_are_not_taken() -> None:
    """A price from the far future or past would make every start look missed."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        venue.tick(START + 100_000)
        venue.tick(START - 100_000)
        assert prices.latest(SERIES) is None

    counted = play(act)
    assert counted.reasons(Count.REFERENCE_SKIPPED) == {"implausible_time": 2}


def test_a_second_value_for_one_instant_is_counted() -> None:
    """Two feeds that disagree about a start are noticed; what was told stays."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        await venue.clock.sleep_until(START)
        venue.tick(START, "1")
        venue.tick(START, "2")
        venue.tick(START, "1")
        assert prices.price_to_beat(MARKET) == beat("1")

    counted = play(act)
    assert counted.reasons(Count.REFERENCE_SKIPPED) == {"conflict": 1}
    assert counted.reasons(Count.REFERENCE_PRICES) == {"chainlink_twap": 2}


# ------------------------------------------------------------------ the venue's record


@pytest.mark.parametrize(
    ("recorded", "result"),
    [("65000.5", "agrees"), ("65000.49", "agrees"), ("65000", "agrees"), ("65000.3", "differs")],
)
def test_the_venues_record_is_compared_after_the_end(recorded: str, result: str) -> None:
    """Minutes later the record is asked for; it may be rounded, and it is what counts from then on."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        venue.records[START] = PriceRecord(price_to_beat=Decimal(recorded))
        await venue.clock.sleep_until(START)
        venue.tick(START)
        assert prices.price_to_beat(MARKET) == beat("65000.5")
        await venue.clock.sleep_until(END + 179)
        assert venue.asked == []
        await venue.clock.sleep_until(END + 181)
        assert prices.price_to_beat(MARKET) == beat(recorded, source=PriceSource.GAMMA)

    assert play(act).reasons(Count.REFERENCE_CHECKS) == {result: 1}


def test_a_record_that_is_not_there_yet_is_asked_for_again() -> None:
    """It appears with a delay and with holes: asked every minute, for an hour at most."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        prices.price_to_beat(MARKET)
        venue.records[START] = ExchangeUnavailable("not now")
        await venue.clock.sleep_until(END + 250)
        del venue.records[START]
        await venue.clock.sleep_until(END + 4000)
        times = [round(at - END) for at, start in venue.asked if start == START]
        assert times == list(range(180, 3600, 60))

    counted = play(act)
    assert counted.reasons(Count.REFERENCE_CHECKS) == {"error": 2, "no_record": 1}


def test_a_missed_start_is_made_up_for_by_the_record_of_the_window_before() -> None:
    """Its final price is this window's price to beat; it appears minutes into the window (§1.6)."""
    before = SERIES.window_at(START - 1)

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(prices.wait_price_to_beat(MARKET))
            await venue.clock.sleep_until(START + 5)
            venue.tick(START + 5)
            await venue.clock.sleep_until(START + 150)
            assert not waiting.done()
            venue.records[before.start] = PriceRecord(final_price=Decimal("123.4"))
        assert waiting.result() == beat("123.4", source=PriceSource.GAMMA)
        assert START + 150 < venue.clock.time() < START + 250
        venue.records[START] = PriceRecord(price_to_beat=Decimal("123.4"))
        await venue.clock.sleep_until(END + 200)

    assert play(act).reasons(Count.REFERENCE_CHECKS) == {"agrees": 1}


def test_a_record_without_a_price_of_ours_is_told_apart() -> None:
    """Nothing to compare with is no agreement."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        venue.records[START] = PriceRecord(price_to_beat=Decimal(1))
        prices.price_to_beat(MARKET)
        await venue.clock.sleep_until(END + 200)

    assert play(act).reasons(Count.REFERENCE_CHECKS) == {"unknown_here": 1}


def test_a_new_market_is_not_followed_for_ever() -> None:
    """Only so many markets are remembered; the oldest are let go with their tasks."""

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        window = WINDOW
        for _ in range(600):
            prices.price_to_beat(evolve(MARKET, window=window, slug=SERIES.slug(window)))
            window = SERIES.next(window)
        assert len(prices._followed) == 512
        await asyncio.sleep(0)
        tasks = [t for t in asyncio.all_tasks() if t.get_name().startswith("polyframe-reference")]
        assert len(tasks) == 512

    play(act)


# ------------------------------------------------------------------ life


def test_a_service_without_series_is_refused() -> None:
    """At least one series has to be named, and by a name that exists."""
    with pytest.raises(ConfigError, match="series: name at least one"):
        ReferencePrices(Prices())
    with pytest.raises(ConfigError, match="series: expected"):
        ReferencePrices(Prices(), "btc")
    with pytest.raises(ConfigError, match="record_every"):
        ReferenceSettings(record_every=0)


def test_a_service_that_is_not_open_says_so() -> None:
    """To ask too early, or to open twice, is a mistake with a remedy."""
    with pytest.raises(ConfigError, match=r"env\.provide"):
        ReferencePrices(Prices(), SERIES).price_to_beat(MARKET)

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        with pytest.raises(ConfigError, match="open once"):
            await prices.open(venue.clock, Counters())

    play(act)


@define
class Beats(Strategy):
    """Waits for the price to beat of its cycle and notes it."""

    async def run(self) -> None:
        """Wait for it."""
        beat = await self.env.get(ReferencePrices).wait_price_to_beat(self.market)
        self.env.get(Diary).seen.append((self.market.generation, "beat", beat))


def test_a_strategy_that_waits_never_hears_of_another_cycle() -> None:
    """The start of the first cycle is missed; the price of the second one's reaches only that."""
    venue = Prices()

    async def main() -> list[tuple[int, str, object]]:
        env = Environment(exchange=FakeExchange(), clock=venue.clock)
        env.provide(ReferencePrices(venue, SERIES))
        env.provide(Diary())
        async with env:
            trader = Trader(env)
            trader.add(Beats(), on="btc-updown-15m")
            running = asyncio.create_task(trader.run(cycles=3))
            await venue.clock.sleep_until(START + 30)
            venue.tick(START + 30)
            await venue.clock.sleep_until(END + 1)
            venue.tick(END, "2")
            await running
            return env.get(Diary).seen

    seen = venue.clock.run(main())
    known = [(at, found.value) for at, _, found in seen if isinstance(found, PriceToBeat)]
    assert [item for item in known if item[1] is not None] == [(END, Decimal(2))]


def test_the_environment_opens_and_closes_it() -> None:
    """A shared service lives exactly as long as the environment, and strategies find it there."""
    venue = Prices()

    async def main() -> None:
        env = Environment(exchange=FakeExchange(), clock=venue.clock)
        service = ReferencePrices(venue, SERIES)
        env.provide(service)
        env.provide(service, as_type=SharedService)  # two names are no second opening
        async with env:
            assert env.get(ReferencePrices) is service
            assert [stream.calls for stream in venue.streams] == [["start"]]
            venue.tick(START - 60)
            assert env.counters.get(Count.REFERENCE_PRICES) == 1
        assert [stream.calls for stream in venue.streams] == [["start", "close"]]

    venue.clock.run(main())


def test_a_shared_service_cannot_come_too_late() -> None:
    """In an environment that is open already nobody would open it."""
    venue = Prices()

    async def main() -> None:
        async with Environment(exchange=FakeExchange(), clock=venue.clock) as env:
            with pytest.raises(ConfigError, match="before the environment opens"):
                env.provide(ReferencePrices(venue, SERIES))

    venue.clock.run(main())


class Failing(SharedService):
    """Does not open."""

    def __init__(self) -> None:
        self.closed = 0

    async def open(self, clock: object, counters: object) -> None:
        """Fail."""
        msg = "no feed"
        raise ConfigError(msg)

    async def close(self) -> None:
        """Note it."""
        self.closed += 1


def test_a_service_that_fails_to_open_closes_the_environment() -> None:
    """Its error is the environment's, and everything that was opened is closed again."""
    exchange, failing = FakeExchange(), Failing()

    async def main() -> None:
        env = Environment(exchange=exchange, clock=VirtualClock(START))
        env.provide(failing)
        with pytest.raises(ConfigError, match="no feed"):
            async with env:
                pass
        assert not env.is_open
        assert failing.closed == 1

    asyncio.run(main())
