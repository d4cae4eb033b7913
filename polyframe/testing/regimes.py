"""Made-up recordings in which it is known what the market does: trends, ranges, jumps, runaways.

A strategy that earns in one kind of market loses in another. Four kinds are made here, as recordings
that back-tests take, with a reference price for strategies that trade on one::

    markets = RegimeMarkets(Regime.TREND, cycles=12, seed=1)
    report = run_backtest(MyStrategy(), data=markets, services=[markets.reference()])
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from itertools import accumulate

import msgspec

from polyframe.errors import ConfigError
from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    TickSizeChange,
    TradePrint,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS, ZERO
from polyframe.model.order import Side
from polyframe.model.reference import PriceSource, settling_source
from polyframe.model.series import Series, Window
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed
from polyframe.reference import ReferencePrices
from polyframe.testing.builders import CRYPTO_FEES, START
from polyframe.testing.feeds import FeedVenue

COARSE, FINE = 100, 10
"""Ticks in price units: 0.01, and 0.001 once a price is above 0.96 or below 0.04 (PROTOCOL §4.6)."""

AVERAGED = 60
"""Seconds over which the price is averaged that settles a market (PROTOCOL §1.5)."""

BASE_USD = 100_000.0
VOLATILITY = 9e-5
"""Part of the price that is one standard deviation of a second in a market without any regime."""

LEVELS = 8
LEAD = 60
"""Seconds before its window from which a market is heard."""

CERTAIN = 30
"""So close to 0 or 1 USD, in price units, nobody offers what has won, and nobody bids for the rest."""


class Regime(StrEnum):
    """What the price of the asset does in every window."""

    TREND = "trend"
    """It drifts to one side, up or down, by about two standard deviations."""
    RANGE = "range"
    """It swings around the price to beat and is pulled back."""
    JUMP = "jump"
    """It is quiet, and jumps once to three times; the spread is wide for some seconds after."""
    ONE_SIDED = "one_sided"
    """It runs away in the second half: one side of the book is empty before the end."""


class RegimeMarkets:
    """Markets of one regime, one window after the other; always the same for the same arguments.

    Every market has both books, each the mirror of the other (PROTOCOL §2.2), in small changes one to
    three times a second, trades at the best prices, a finer tick near the edges, and a resolution
    that is what the asset did: the average of the last minute against that before the window. The
    crowd values shares as if the asset had no regime, by its distance from the price to beat and
    the time left: what a strategy knows better, it may earn.

    Args:
        regime: What the asset does.
        cycles: How many markets.
        seed: Any text or number.
        series: The series, or its name.
        start: Some epoch second of the first window.

    Raises:
        ConfigError: Fewer cycles than one, or no series.
    """

    def __init__(
        self,
        regime: Regime,
        *,
        cycles: int = 12,
        seed: int | str = 0,
        series: str | Series = "btc-updown-15m",
        start: int = START,
    ) -> None:
        if cycles < 1:
            msg = f"cycles: expected at least 1, got {cycles!r}"
            raise ConfigError(msg)
        self.regime = Regime(regime)
        self.seed = str(seed)
        self.series = Series.parse(series)
        windows = [self.series.window_at(start)]
        while len(windows) < cycles:
            windows.append(self.series.next(windows[-1]))
        self._is_mean = settling_source(self.series) is PriceSource.TWAP
        self._path = _Path(self.regime, f"path:{self.regime}:{self.seed}:{self.series}", windows)
        self._entries = tuple(self._entry(window) for window in windows)

    def markets(self) -> Sequence[TapeMarket]:
        """Return all markets in order of their windows."""
        return self._entries

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard of `market`.

        Raises:
            KeyError: `market` is none of these.
        """
        if market not in self._entries:
            raise KeyError(market.market.slug)
        return self._events(market.market)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Nothing was skipped."""
        return {}

    @property
    def doubtful(self) -> Mapping[str, int]:
        """Nothing is doubtful."""
        return {}

    def price(self, source: PriceSource, second: int) -> Decimal | None:
        """Return what `source` says of the asset at an epoch second, ``None`` outside of what is made."""
        index = second - self._path.origin
        if not 0 <= index < len(self._path.moved):
            return None
        return _usd(self._path.value(index, is_mean=source is PriceSource.TWAP))

    def reference(self) -> ReferencePrices:
        """Return a fresh service that tells the prices of the asset, for the ``services`` of one run."""
        return ReferencePrices(FeedVenue(self.price), self.series)

    def _entry(self, window: Window) -> TapeMarket:
        slug = self.series.slug(window)
        digest = hashlib.sha256(f"{self.regime}:{self.seed}:{slug}".encode()).hexdigest()
        market = Market(
            slug=slug,
            series=self.series,
            window=window,
            condition_id=f"0x{digest}",
            up_token=str(int(digest, 16) * 2),
            down_token=str(int(digest, 16) * 2 + 1),
            fees=CRYPTO_FEES,
            question=f"{self.regime}: {slug}",
        )
        source = settling_source(self.series)
        beat, final = self.price(source, window.start), self.price(source, window.end)
        if beat is None or final is None:  # the path is made of these windows
            raise KeyError(slug)
        winner = Outcome.UP if final >= beat else Outcome.DOWN
        made_up = f"made up: {self.regime}"
        return TapeMarket(market, winner, beat, price_source=source.value, source=made_up)

    def _events(self, market: Market) -> Iterator[TapeEvent]:
        window, path = market.window, self._path
        chance = random.Random(f"book:{self.regime}:{self.seed}:{market.slug}")
        crowd = _Crowd(market, chance)
        now_ms = (window.start - LEAD) * 1000
        crowd.levels = crowd.quote(PRICE_UNITS // 2, 1)
        yield from crowd.told(now_ms, crowd.snapshots())
        while (now_ms := now_ms + chance.randint(200, 1200)) < window.end * 1000:
            second = now_ms // 1000
            fair = path.fair(window, second, is_mean=self._is_mean)
            messages: list[MarketMessage] = []
            if crowd.tick == COARSE and not 400 <= fair <= PRICE_UNITS - 400:
                messages += crowd.refine()
            messages += crowd.show(crowd.quote(fair, path.spread(second)))
            if chance.random() < 0.35:
                messages += crowd.trade()
            yield from crowd.told(now_ms, messages)


# ---------------------------------------------------------------------- what the asset does


class _Path:
    """Where the asset is in every second, from a while before the first window to the last one's end.

    In standard deviations of a second, as floats: it is a made-up world, and no money is counted with
    them.

    Attributes:
        origin: The first second.
        moved: Where it is.
        sums: The sum of all seconds before one, for averages.
    """

    def __init__(self, regime: Regime, key: str, windows: Sequence[Window]) -> None:
        chance = random.Random(key)
        self.origin = windows[0].start - LEAD - AVERAGED
        self.moved = list(accumulate(chance.gauss(0.0, 1.0) for _ in range(LEAD + AVERAGED + 1)))
        self._jumps: set[int] = set()
        for window in windows:
            anchor = self.moved[-1]
            for step in self._steps(regime, chance, window):
                pull = (self.moved[-1] - anchor) / 60 if regime is Regime.RANGE else 0.0
                self.moved.append(self.moved[-1] + step - pull)
        self.sums = list(accumulate(self.moved, initial=0.0))

    def _steps(self, regime: Regime, chance: random.Random, window: Window) -> list[float]:
        """Return the moves of all seconds of a window."""
        length = window.end - window.start
        noise = {Regime.JUMP: 0.4, Regime.ONE_SIDED: 0.6}.get(regime, 1.0)
        steps = [chance.gauss(0.0, noise) for _ in range(length)]
        sign, spread = chance.choice((-1, 1)), math.sqrt(length)
        if regime is Regime.TREND:
            steps = [step + 2 * sign / spread for step in steps]
        elif regime is Regime.ONE_SIDED:
            begin = round(length * chance.uniform(0.5, 0.7))
            steps[begin:] = [step + 12 * sign / spread for step in steps[begin:]]
        elif regime is Regime.JUMP:
            for _ in range(chance.randint(1, 3)):
                jump = chance.randrange(30, length)
                steps[jump] += chance.choice((-1, 1)) * chance.uniform(0.8, 1.5) * spread
                self._jumps.add(window.start + jump)
        return steps

    def value(self, index: int, *, is_mean: bool) -> float:
        """Return where it is at a second counted from `origin`, or its mean over the last minute."""
        if not is_mean:
            return self.moved[index]
        first = max(index + 1 - AVERAGED, 0)
        return (self.sums[index + 1] - self.sums[first]) / (index + 1 - first)

    def spread(self, second: int) -> int:
        """Return the ticks between bid and ask: wider for some seconds after a jump."""
        return 3 if any(second - past in self._jumps for past in range(1, 6)) else 1

    def fair(self, window: Window, second: int, *, is_mean: bool) -> int:
        """Return the chance of Up in price units, if the asset goes on without drift.

        Seen from before the last minute, the mean of it varies as much as where it is after a third
        of it; within, what has passed is known, and what is left counts the less the later it is.
        """
        left = window.end - second
        if second <= window.start:
            return PRICE_UNITS // 2
        now = second - self.origin
        beat = self.value(window.start - self.origin, is_mean=is_mean)
        expected, variance = self.moved[now], float(left)
        if is_mean and left >= AVERAGED:
            variance = left - AVERAGED * 2 / 3
        elif is_mean:
            passed = self.sums[now + 1] - self.sums[now + 1 - (AVERAGED - left)]
            expected = (passed + left * self.moved[now]) / AVERAGED
            variance = left**3 / (3 * AVERAGED**2)
        distance = (expected - beat) / math.sqrt(max(variance, 0.01))
        share = round(0.5 * (1 + math.erf(distance / math.sqrt(2))) * PRICE_UNITS)
        return min(max(share, 5), PRICE_UNITS - 5)


def _usd(moved: float) -> Decimal:
    return Decimal(round(BASE_USD * (1 + VOLATILITY * moved) * 10**8)).scaleb(-8)


# ---------------------------------------------------------------------- what the market shows


class _Crowd:
    """Both books of a market, as one in terms of Up."""

    def __init__(self, market: Market, chance: random.Random) -> None:
        self.market = market
        self.tick = COARSE
        self.levels: dict[tuple[bool, int], Decimal] = {}
        self._chance = chance

    def quote(self, fair: int, spread: int) -> dict[tuple[bool, int], Decimal]:
        """Return what is to be shown around `fair`; most levels stay as they are."""
        tick = self.tick
        bid = (fair - tick // 2) // tick * tick
        ask = bid + tick * spread
        wanted = [(True, price) for price in range(bid, 0, -tick)[:LEVELS]]
        wanted += [(False, price) for price in range(ask, PRICE_UNITS, tick)[:LEVELS]]
        if fair > PRICE_UNITS - CERTAIN:
            wanted = [level for level in wanted if level[0]]
        elif fair < CERTAIN:
            wanted = [level for level in wanted if not level[0]]
        return {level: self._size(level) for level in wanted}

    def _size(self, level: tuple[bool, int]) -> Decimal:
        known = self.levels.get(level)
        if known is not None and self._chance.random() < 0.85:
            return known
        return Decimal(self._chance.randint(500, 40_000)).scaleb(-2)

    def show(self, levels: dict[tuple[bool, int], Decimal]) -> list[MarketMessage]:
        """Return the change from what is shown to `levels`, of both tokens at once."""
        gone = [(level, ZERO) for level in self.levels if level not in levels]
        new = [(at, size) for at, size in levels.items() if self.levels.get(at) != size]
        self.levels = levels
        changes = [
            change
            for (is_bid, price), size in (*gone, *new)
            for change in self._pair(is_bid, price, size)
        ]
        return [BookDelta(self.market.condition_id, tuple(changes))] if changes else []

    def _pair(self, is_bid: bool, price: int, size: Decimal) -> list[LevelChange]:
        bid, ask = self.best
        up, down = self.market.up_token, self.market.down_token
        mirrored = PRICE_UNITS - price
        return [
            LevelChange(up, is_bid, price, size, bid, ask),
            LevelChange(down, not is_bid, mirrored, size, PRICE_UNITS - ask, PRICE_UNITS - bid),
        ]

    @property
    def best(self) -> tuple[int, int]:
        """Best bid and ask of Up; 0 and 10,000 for an empty side."""
        bids = [price for is_bid, price in self.levels if is_bid]
        asks = [price for is_bid, price in self.levels if not is_bid]
        return max(bids, default=0), min(asks, default=PRICE_UNITS)

    def snapshots(self) -> list[MarketMessage]:
        """Return both books as they are."""
        sides: dict[bool, list[tuple[int, Decimal]]] = {True: [], False: []}
        for (is_bid, price), size in self.levels.items():
            sides[is_bid].append((price, size))
        mirrored = {
            is_bid: tuple((PRICE_UNITS - price, size) for price, size in sides[not is_bid])
            for is_bid in sides
        }
        name, tick = self.market.condition_id, self.tick
        up, down = self.market.up_token, self.market.down_token
        return [
            BookSnapshot(name, up, tuple(sides[True]), tuple(sides[False]), tick_units=tick),
            BookSnapshot(name, down, mirrored[True], mirrored[False], tick_units=tick),
        ]

    def refine(self) -> list[MarketMessage]:
        """Take the fine tick; both books come anew."""
        self.tick = FINE
        name = self.market.condition_id
        tokens = (self.market.up_token, self.market.down_token)
        return [*(TickSizeChange(name, token, FINE) for token in tokens), *self.snapshots()]

    def trade(self) -> list[MarketMessage]:
        """Let somebody take from one of the best prices; return the trade and what it left."""
        chance, name = self._chance, self.market.condition_id
        is_bid = chance.random() < 0.5
        price = self.best[not is_bid]
        there = self.levels.get((is_bid, price))
        if there is None:
            return []
        size = min(there, Decimal(chance.randint(100, 15_000)).scaleb(-2))
        left = {**self.levels, (is_bid, price): there - size}
        if size == there:
            del left[is_bid, price]
        side = Side.SELL if is_bid else Side.BUY
        if chance.random() < 0.5:
            told = TradePrint(name, self.market.up_token, price, size, side)
        else:
            other = Side.BUY if is_bid else Side.SELL
            told = TradePrint(name, self.market.down_token, PRICE_UNITS - price, size, other)
        return [told, *self.show(left)]

    def told(self, now_ms: int, messages: Sequence[MarketMessage]) -> Iterator[Timed]:
        """Yield messages as they are told at a time, in epoch milliseconds."""
        for message in messages:
            stamped = msgspec.structs.replace(message, timestamp_ms=now_ms)
            yield Timed(now_ms, 1, stamped)
