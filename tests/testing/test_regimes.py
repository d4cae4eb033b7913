"""Made-up recordings of markets that do what their regime says."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from functools import lru_cache

import pytest
from attrs import define, field
from typing_extensions import override

from polyframe.backtest.run import run_backtest
from polyframe.errors import ConfigError
from polyframe.model.book import Book
from polyframe.model.events import BookDelta, BookSnapshot, TickSizeChange, TradePrint
from polyframe.model.market import Outcome
from polyframe.model.reference import PriceSource
from polyframe.recording.reader import Recording, checked
from polyframe.recording.tape import TapeEvent, Timed
from polyframe.reference import ReferencePrices
from polyframe.strategy import Strategy
from polyframe.testing import FeedVenue, Regime, RegimeMarkets

ALL = list(Regime)


@lru_cache(8)
def markets(regime: Regime) -> RegimeMarkets:
    """Return a few markets, made once for all tests."""
    return RegimeMarkets(regime, cycles=4, seed=3)


def messages(made: RegimeMarkets, number: int = 0) -> list[TapeEvent]:
    """Return all that is heard of one market, checked as every recording is."""
    return list(made.events(made.markets()[number]))


@pytest.mark.parametrize("regime", ALL)
def test_the_same_arguments_make_the_same_markets(regime: Regime) -> None:
    """Every row repeats; another seed makes others."""
    first, again = (RegimeMarkets(regime, cycles=2, seed=5) for _ in range(2))
    other = RegimeMarkets(regime, cycles=2, seed=6)
    assert isinstance(first, Recording)
    assert first.markets() == again.markets()
    assert messages(first, 1) == messages(again, 1)
    assert messages(first, 1) != messages(other, 1)


@pytest.mark.parametrize("regime", ALL)
def test_both_books_are_one_mirrored(regime: Regime) -> None:
    """After every instant Down is Up mirrored, on the tick, uncrossed, and the named tops are right."""
    made = markets(regime)
    market = made.markets()[1].market
    books = {market.up_token: Book(), market.down_token: Book()}
    up, down = books.values()
    last, tick = None, 100
    for event in messages(made, 1):
        assert isinstance(event, Timed)
        message = event.message
        if event.received_ms != last and up.known:
            assert up.depth(True, 99) == [(1 - p, size) for p, size in down.depth(False, 99)]
            assert up.depth(False, 99) == [(1 - p, size) for p, size in down.depth(True, 99)]
            assert not up.is_crossed
            assert up.bid_units % tick == up.ask_units % tick == 0
        last = event.received_ms
        if isinstance(message, BookSnapshot):
            books[message.token].apply_snapshot(message.bids, message.asks)
        elif isinstance(message, TickSizeChange):
            tick = message.new_tick
        elif isinstance(message, BookDelta):
            for change in message.changes:
                books[change.token].apply_change(change.is_bid, change.price, change.size)
            for change in message.changes:
                book = books[change.token]
                assert (book.bid_units, book.ask_units) == (change.best_bid, change.best_ask)


@pytest.mark.parametrize("regime", ALL)
def test_rows_are_in_order_and_nothing_is_doubtful(regime: Regime) -> None:
    """Times never go back, no whole book is crossed, and there are trades."""
    made = markets(regime)
    counter: Counter[str] = Counter()
    rows = list(checked(messages(made), counter))
    assert not counter
    assert rows == messages(made)
    window = made.markets()[0].market.window
    assert (window.start - 60) * 1000 == rows[0].received_ms
    assert (window.end - 2) * 1000 < rows[-1].received_ms < window.end * 1000
    assert sum(isinstance(r, Timed) and isinstance(r.message, TradePrint) for r in rows) > 200


@pytest.mark.parametrize("regime", ALL)
def test_a_market_ends_as_the_asset_did(regime: Regime) -> None:
    """The winner is that of the average against the price to beat; books lean to the winner at last."""
    made = markets(regime)
    for number, entry in enumerate(made.markets()):
        window = entry.market.window
        final = made.price(PriceSource.TWAP, window.end)
        beat = made.price(PriceSource.TWAP, window.start)
        assert final is not None
        assert beat is not None
        assert beat == entry.price_to_beat
        assert entry.winner is (Outcome.UP if final >= beat else Outcome.DOWN)
        delta = [
            row.message
            for row in messages(made, number)
            if isinstance(row, Timed) and isinstance(row.message, BookDelta)
        ][-1]
        top = delta.changes[0]
        assert top.token == entry.market.up_token
        leader = Outcome.UP if top.best_bid + top.best_ask > 10_000 else Outcome.DOWN
        assert leader is entry.winner


def test_the_average_is_of_the_last_minute() -> None:
    """What settles a market is the mean of sixty whole seconds of the asset's price."""
    made = markets(Regime.TREND)
    end = made.markets()[0].market.window.end
    seconds = [made.price(PriceSource.BINANCE, end - ago) for ago in range(60)]
    mean = sum((price for price in seconds if price is not None), Decimal(0)) / 60
    average = made.price(PriceSource.TWAP, end)
    assert average is not None
    assert abs(average - mean) < Decimal("0.0001")


def test_regimes_are_what_they_are_called() -> None:
    """A trend moves further than a range, a jump in one second, a runaway empties a side of the book."""

    def moves(regime: Regime) -> list[float]:
        made = markets(regime)
        start = made.markets()[0].market.window.start
        prices = [made.price(PriceSource.BINANCE, start + second) for second in range(3601)]
        return [float(price) for price in prices if price is not None]

    spans = {
        regime: sum(abs(moves(regime)[900 * (i + 1)] - moves(regime)[900 * i]) for i in range(4))
        for regime in (Regime.TREND, Regime.RANGE)
    }
    assert spans[Regime.TREND] > 3 * spans[Regime.RANGE]
    steps = {
        regime: max(abs(b - a) for a, b in zip(moves(regime), moves(regime)[1:], strict=False))
        for regime in ALL
    }
    assert steps[Regime.JUMP] > 4 * max(steps[r] for r in ALL if r is not Regime.JUMP)
    tops = [
        (row.message.changes[0].best_bid, row.message.changes[0].best_ask)
        for row in messages(markets(Regime.ONE_SIDED))
        if isinstance(row, Timed) and isinstance(row.message, BookDelta)
    ]
    assert tops[-1][0] == 0 or tops[-1][1] == 10_000
    assert all(bid > 0 and ask < 10_000 for bid, ask in tops[:200])


@define
class Reader(Strategy):
    """Notes what the reference service says, and when."""

    @override
    async def run(self) -> None:
        prices = self.env.get(ReferencePrices)
        log = self.env.get(Log)
        beat = await prices.wait_price_to_beat(self.market)
        log.beats.append((self.market.slug, beat.value, beat.is_final))
        async for price in prices.updates(self.market):
            log.heard.append((self.clock.time(), price.instant_ms, price.value))


@define
class Log:
    """What all cycles noted."""

    heard: list[tuple[float, int, Decimal]] = field(factory=list)
    beats: list[tuple[str, Decimal | None, bool]] = field(factory=list)


def test_a_back_test_hears_the_price_when_it_is_due() -> None:
    """The service tells each second's price after that second, and the price to beat of each window."""
    made, log = markets(Regime.JUMP), Log()
    run_backtest(Reader(), data=made, services=[made.reference(), log])
    entries = made.markets()
    assert log.beats == [(e.market.slug, e.price_to_beat, True) for e in entries]
    assert len(log.heard) > 4 * 890
    assert all(0 < now - instant_ms / 1000 <= 1 for now, instant_ms, _ in log.heard)
    for _, instant_ms, value in log.heard[::100]:
        assert value == made.price(PriceSource.TWAP, instant_ms // 1000)


def test_arguments_that_make_no_sense() -> None:
    """No cycle at all, and a market of another recording, are refused."""
    with pytest.raises(ConfigError, match="cycles: expected at least 1, got 0"):
        RegimeMarkets(Regime.TREND, cycles=0)
    with pytest.raises(KeyError):
        markets(Regime.TREND).events(markets(Regime.RANGE).markets()[0])


def test_a_feed_is_opened_by_the_prices_it_serves() -> None:
    """Asked for streams before that, it says how it is used."""
    venue = FeedVenue(lambda *_: None)
    with pytest.raises(ConfigError, match="FeedVenue: not open; give it to ReferencePrices"):
        venue.reference_streams([], ReferencePrices(venue, "btc-updown-15m"))
