"""A made-up market that never ends: a seeded random walk with an order book around it."""

from __future__ import annotations

import hashlib
import math
import random
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import lru_cache

from attrs import field, frozen

from polyframe.errors import ConfigError
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.series import Series, Window
from polyframe.venue.sources import PRICE_SCALE
from polyframe.venue.values import (
    CRYPTO_FEES,
    SHARE,
    Print,
    Snapshot,
    SourceEvent,
    VenueMarket,
    derive_row_id,
    derive_token,
)

_COARSE, _FINE = 100, 10
_LEVELS = 12
_LEAD = 600
_WALKS_KEPT = 16
_BASE_USD = {"btc": 65_000.0, "eth": 3_000.0, "sol": 150.0, "xrp": 0.6, "doge": 0.12, "bnb": 600.0}
_VOLATILITY = 9e-5
"""Part of the price that is one standard deviation of a second: a quarter of a percent in 15 minutes."""


@frozen
class _Walk:
    """Times, fair values and reference prices of one market, and where its tick becomes fine."""

    times: list[int] = field(repr=False)
    fair: list[int] = field(repr=False)
    reference: list[int] = field(repr=False)
    fine_from: int


class SyntheticSource:
    """Any window of a series, made up but always the same for the same seed and slug.

    A reference price does a random walk, without a jump from window to window. The fair value of an
    Up share is the probability that it ends above where the window began, as in the real market: it
    wanders from about one half towards 0 or 1. A ladder of levels stands around it, most of which stay the same
    from one update to the next; about every third update comes with a trade at the best price.
    There are one to five updates a second, from ten minutes before the window until its end. When
    the fair value passes 0.96 or 0.04 the tick becomes 0.001 and stays so (PROTOCOL §4.6).

    Args:
        series: The series, or its name such as ``"btc-updown-15m"``.
        seed: Any text or number.
        first: First window's start in epoch seconds; there are no markets before it.

    Raises:
        ConfigError: `series` is no name of a series.
    """

    def __init__(self, series: Series | str, seed: int | str = 0, *, first: int = 0) -> None:
        self.series = Series.parse(series)
        self.seed = str(seed)
        if first < 0:
            msg = f"first: expected epoch seconds of at least 0, got {first!r}"
            raise ConfigError(msg)
        self.first = first
        self.skipped: Mapping[str, int] = {}
        self._walks: OrderedDict[str, _Walk] = OrderedDict()

    def market(self, slug: str) -> VenueMarket | None:
        """Return the market named `slug`, ``None`` if the series has no such window."""
        try:
            window = self.series.window_from_slug(slug)
        except ValueError:
            return None
        return self._market(window) if window.start >= self.first else None

    def next_market(self, start: float) -> VenueMarket | None:
        """Return the first market whose window starts at epoch second `start` or later."""
        start = max(start, self.first)
        window = self.series.window_at(start)
        return self._market(window if window.start >= start else self.series.next(window))

    def winner(self, market: VenueMarket) -> Outcome:
        """Return the outcome that the walk ends in; a tie counts for Up (PROTOCOL §1.5)."""
        beat, final = self.decided_by(market)
        return Outcome.UP if final >= beat else Outcome.DOWN

    def decided_by(self, market: VenueMarket) -> tuple[int, int]:
        """Return the price to beat and the final price in 1e-8 USD."""
        return self._level(market.start), self._level(market.end)

    @property
    def assets(self) -> tuple[str, ...]:
        """The asset whose price it knows."""
        return (self.series.asset,)

    def reference(self, asset: str, time_ms: int) -> int | None:
        """Return the price of the asset then in 1e-8 USD, ``None`` for another asset."""
        if asset != self.series.asset:
            return None
        window = self.series.window_at(time_ms / 1000)
        walk = self._walk(self._market(window))
        step = bisect_right(walk.times, time_ms) - 1
        if time_ms == window.start * 1000 or step < 0:
            return self._level(window.start)
        return walk.reference[step]

    def _level(self, start: int) -> int:
        """Return the price at the boundary of two windows: what one ends with, the next begins with."""
        return _price(self.series.asset, _level(self._level_seed, start, self._period(start)))

    @property
    def _level_seed(self) -> str:
        return f"{self.seed}:{self.series}"

    def _period(self, start: int) -> int:
        window = self.series.window_at(start)
        return window.end - window.start

    def events(self, market: VenueMarket, since_ms: int) -> Iterator[SourceEvent]:
        """Yield the last snapshot at or before `since_ms`, then all that is later."""
        walk = self._walk(market)
        key = f"{self.seed}:{market.slug}"
        for step in range(max(bisect_right(walk.times, since_ms) - 1, 0), len(walk.times)):
            tick = _FINE if step >= walk.fine_from else _COARSE
            snapshot = _ladder(key, step, walk.times[step], walk.fair[step], tick)
            yield snapshot
            trade = _trade(key, step, snapshot)
            if trade is not None and trade.time_ms > since_ms:
                yield trade

    def _market(self, window: Window) -> VenueMarket:
        slug = self.series.slug(window)
        digest = hashlib.sha256(f"condition:{self.seed}:{slug}".encode()).hexdigest()
        condition = f"0x{digest}"
        market = Market(
            slug=slug,
            series=self.series,
            window=window,
            condition_id=condition,
            up_token=derive_token(condition, Outcome.UP),
            down_token=derive_token(condition, Outcome.DOWN),
            fees=CRYPTO_FEES,
            question=f"{self.series.asset.upper()} Up or Down, {slug}",
        )
        return VenueMarket(market, derive_row_id(slug))

    def _walk(self, market: VenueMarket) -> _Walk:
        walk = self._walks.get(market.slug)
        if walk is None:
            levels = (
                _level(self._level_seed, at, self._period(at)) for at in (market.start, market.end)
            )
            walk = self._walks[market.slug] = _make_walk(self.seed, market, *levels)
            if len(self._walks) > _WALKS_KEPT:
                self._walks.popitem(last=False)
        return walk


def _level(seed: str, start: int, period: int) -> float:
    """Return where the reference is at a boundary, in standard deviations of a second."""
    draw = random.Random(f"level:{seed}:{start}")  # noqa: S311
    # The difference of two such levels is spread like a free walk over the window.
    return draw.gauss(0.0, math.sqrt(period / 2))


def _price(asset: str, reference: float) -> int:
    base = _BASE_USD.get(asset, 100.0)
    return round(base * (1 + _VOLATILITY * reference) * PRICE_SCALE)


def _make_walk(seed: str, market: VenueMarket, begins: float, ends: float) -> _Walk:
    # A simulation of a reference price may use floats: no money is counted with them.
    draw = random.Random(f"walk:{seed}:{market.slug}")  # noqa: S311
    start, end = market.start * 1000, market.end * 1000
    now = start - _LEAD * 1000
    times: list[int] = []
    walks: list[float] = []
    noises: list[float] = []
    walk = noise = 0.0
    while now < end:
        step_ms = draw.randint(200, 1000)
        noise = 0.9 * noise + draw.gauss(0.0, 0.012)
        if now >= start:
            walk += draw.gauss(0.0, math.sqrt(step_ms / 1000))
        times.append(now)
        walks.append(walk)
        noises.append(noise)
        now += step_ms
    # Bent so that it ends where the next window begins.
    bend = (ends - begins) - walk
    duration = market.end - market.start
    fair: list[int] = []
    reference: list[int] = []
    fine_from = len(times)
    for step, at in enumerate(times):
        moved = walks[step] + bend * max(at - start, 0) / (times[-1] - start)
        left = min(max((end - at) / 1000, 1.0), duration)
        probability = 0.5 * (1 + math.erf((moved / math.sqrt(left) + noises[step]) / math.sqrt(2)))
        value = min(max(round(probability * PRICE_UNITS), 25), PRICE_UNITS - 25)
        if fine_from == len(times) and not 400 <= value <= 9600:
            fine_from = step
        fair.append(value)
        reference.append(_price(market.market.series.asset, begins + moved))
    return _Walk(times, fair, reference, fine_from)


def _ladder(key: str, step: int, time_ms: int, fair: int, tick: int) -> Snapshot:
    best_bid = (fair - tick // 2) // tick * tick
    best_ask = best_bid + tick * (1 + _number(key, "spread", step // 5) % 5 // 4)
    return Snapshot(
        time_ms,
        {p: _size(key, "b", p, step) for p in range(best_bid, 0, -tick)[:_LEVELS]},
        {p: _size(key, "a", p, step) for p in range(best_ask, PRICE_UNITS, tick)[:_LEVELS]},
    )


def _size(key: str, side: str, price: int, step: int) -> int:
    # Each level changes on its own beat of nine steps, so that one update touches few levels.
    return _size_at(key, side, price, (step + price // 10) // 9)


@lru_cache(50_000)
def _size_at(key: str, side: str, price: int, beat: int) -> int:
    return (500 + _number(key, f"{side}{price}", beat) % 60_000) * (SHARE // 100)


def _trade(key: str, step: int, snapshot: Snapshot) -> Print | None:
    number = _number(key, "trade", step)
    if number % 3:
        return None
    is_buy = number // 3 % 2 == 0
    levels = snapshot.asks if is_buy else snapshot.bids
    if not levels:
        return None
    price = min(levels) if is_buy else max(levels)
    cents = levels[price] * 100 // SHARE
    size = (1 + number // 7 % cents) * (SHARE // 100)
    return Print(snapshot.time_ms, is_buy, price, size)


def _number(key: str, name: str, index: int) -> int:
    digest = hashlib.blake2b(f"{key}:{name}:{index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
