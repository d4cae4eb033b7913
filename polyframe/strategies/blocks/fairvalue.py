"""What a share is worth by a model: the probability that Up wins, from reference prices.

**The model.** The price of the asset does a normal walk without drift: over τ seconds it moves by a
normal amount of variance v·τ, whatever it did before. v is the variance of a second. Up wins if the
settlement value is not below the price to beat (a tie is Up's, PROTOCOL §1.5). Because averages of a
normal walk are normal, everything is exact::

    P(Up) = Φ((m − beat) / √(v·s))

m is the settlement value that is expected, s the seconds whose worth of variance is still to come, A
the 60 seconds of the average (PROTOCOL §6), τ the seconds from the latest price to the window's end:

========= ================================= ================================= ======================
prices    settlement                        m                                 s
========= ================================= ================================= ======================
`LAST`    the last price                    p                                 τ
`SPOT`    average of the last A, τ ≥ A      p                                 τ − ⅔·A
`SPOT`    the same, τ < A: a part is over   (Σ + p·τ) / A                     τ³ / (3·A²)
`AVERAGE` the same, prices are averages,    p + d/2                           τ − 7/12·A
          τ ≥ A
`AVERAGE` τ < A                             p + d·(τ/A − τ²/(2·A²))           (⅔ − τ/(4·A))·τ³ / A²
========= ================================= ================================= ======================

p is the latest price. Σ is the sum (price times seconds) over the part of the last A that is over. d is
how far the asset moved in the A seconds before the latest price: an average that grows by x in a second
says that the asset stands A·x above where it stood A seconds before. An average is late, and the half of
d that is not in it yet is as good as certain. On its way between these two ends the asset was anywhere
on a bridge, which is why s is larger than with `SPOT`. If the price before the latest is missing, d is
not known: then m = p, and s is the variance of what comes into the average and of what goes out of it.

**What it leaves out.** Prices jump, and calm and storm come in runs; a normal walk knows neither. Near
0 and 1 the model is too sure. It knows no drift, which over minutes is right. The feed's rounding and
the venue's way of averaging (by the second) are far below the noise.
"""

from __future__ import annotations

import math
from collections import deque
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any

from attrs import define, field

from polyframe.checks import number, some_seconds
from polyframe.errors import ConfigError
from polyframe.model.reference import PriceSource, settling_source
from polyframe.model.series import Series

AVERAGE_SECONDS = 60.0
"""Seconds over which the settlement value is averaged (PROTOCOL §6)."""

YEAR = 365.25 * 86_400

PRECISION = Decimal("0.0001")
"""The probability is rounded to this: the venue's finest tick."""

_SLOPE_SECONDS = 5.0
"""Averages further apart than this say nothing of the asset's last minute in between."""


class PriceModel(StrEnum):
    """What the reference prices are, and by what of them the market is settled."""

    AVERAGE = "average"
    """Prices are 60-second averages, the last of them settles: Chainlink TWAP, as the venue tells it."""
    SPOT = "spot"
    """Prices are of the instant, their average over the last 60 seconds settles: a feed of your own."""
    LAST = "last"
    """Prices are of the instant, the last one settles: Binance, and the local venue's made-up markets."""

    @classmethod
    def of(cls, series: Series) -> PriceModel:
        """Return the model of the prices by which `series` is settled (PROTOCOL §1.5)."""
        return cls.AVERAGE if settling_source(series) is PriceSource.TWAP else cls.LAST


def price_model(value: Any) -> PriceModel:
    """Return a model, also for its name as text.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        return PriceModel(value)
    except ValueError:
        msg = f"model: expected one of {', '.join(PriceModel)}, got {value!r}"
        raise ConfigError(msg) from None


@define(eq=False)
class FairValue:
    """P(Up) of one market, from the reference prices of its cycle.

    The variance is an average over the cycle's own moves, which counts each half as much after every
    `half_life` seconds. It begins with `volatility`, which fades the same way. Moves over more than
    `max_gap` seconds are left out.

    Floats are used inside; prices come in and the probability goes out as ``Decimal``.

    Attributes:
        model: What the prices are.
        volatility: What a year's standard deviation is believed to be before anything is seen, as a
            part of the price: 0.5 is 50 % a year, or a quarter of a percent in 15 minutes.
        half_life: Seconds after which a move counts half.
        max_gap: Seconds between two prices from which on the move is not learned from, and an
            average in the making is not known any more.

    Raises:
        ConfigError: A setting that cannot be.
    """

    model: PriceModel = field(default=PriceModel.AVERAGE, converter=price_model)
    volatility: float = field(default=0.5, validator=number("above 0", lambda part: part > 0))
    half_life: float = field(default=300.0, validator=some_seconds)
    max_gap: float = field(default=5.0, validator=some_seconds)
    _variance: float = field(init=False)
    _prices: deque[tuple[int, Decimal]] = field(init=False, factory=deque)

    def __attrs_post_init__(self) -> None:
        self._variance = self.volatility**2 / YEAR

    @property
    def variance(self) -> float:
        """The variance of a second as it is estimated now, relative to the price squared."""
        return self._variance

    def add(self, value: Decimal, instant_ms: int) -> None:
        """Take the price of an instant; one that is not newer than the latest is left out.

        Args:
            value: USD, above 0.
            instant_ms: The instant that it speaks of, in epoch milliseconds.

        Raises:
            ValueError: A price that is not above 0.
        """
        if not value > 0:
            msg = f"value: expected a price above 0, got {value}"
            raise ValueError(msg)
        prices = self._prices
        if prices:
            before_ms, before = prices[-1]
            if instant_ms <= before_ms:
                return
            seconds = (instant_ms - before_ms) / 1000
            if seconds <= self.max_gap:
                self._learn(float(value / before) - 1.0, seconds)
            else:
                prices.clear()
        prices.append((instant_ms, value))
        while len(prices) > 2 and prices[1][0] <= instant_ms - AVERAGE_SECONDS * 1000:
            prices.popleft()

    def up(self, beat: Decimal, end: float) -> Decimal | None:
        """Return the probability that Up wins, as known at the latest price.

        Args:
            beat: The price to beat in USD.
            end: The end of the window in epoch seconds.

        Returns:
            0 to 1 in steps of 0.0001; ``None`` before the first price, once there is a price from
            after the end, and in the last 60 seconds of a `SPOT` model if prices are missing in the
            part of the average that is over.
        """
        if not self._prices:
            return None
        instant_ms, last = self._prices[-1]
        left = end - instant_ms / 1000
        if left < 0:
            return None
        expected = self._expect(float(last), end, left)
        if expected is None:
            return None
        mean, seconds = expected
        # The variance is relative; over one cycle it makes no difference of which price.
        deviation = float(last) * math.sqrt(self._variance * seconds)
        distance = mean - float(beat)
        if deviation > 0:
            probability = 0.5 * math.erfc(-distance / deviation / math.sqrt(2))
        else:
            probability = 1.0 if distance >= 0 else 0.0
        return Decimal(probability).quantize(PRECISION)

    def _learn(self, moved: float, seconds: float) -> None:
        weight = 1.0 - 0.5 ** (seconds / self.half_life)
        self._variance += weight * (moved**2 / self._lag(seconds) - self._variance)

    def _lag(self, seconds: float) -> float:
        """Return the variance of the move of a price over `seconds`, in variances of a second."""
        if self.model is not PriceModel.AVERAGE:
            return seconds
        part = min(seconds / AVERAGE_SECONDS, 1.0)
        # Two averages that overlap differ by what has come in and what has gone out.
        return part**2 * (AVERAGE_SECONDS - part * AVERAGE_SECONDS / 3) + max(
            seconds - AVERAGE_SECONDS, 0.0
        )

    def _expect(self, last: float, end: float, left: float) -> tuple[float, float] | None:
        """Return the expected settlement value, and the seconds of variance that are to come."""
        part = min(left / AVERAGE_SECONDS, 1.0)
        before = max(left - AVERAGE_SECONDS, 0.0)
        if self.model is PriceModel.LAST:
            return last, left
        if self.model is PriceModel.SPOT:
            over = self._sum_since(end - AVERAGE_SECONDS)
            if over is None:
                return None
            return over / AVERAGE_SECONDS + last * part, before + AVERAGE_SECONDS * part**3 / 3
        slope = self._slope()
        if slope is None:  # the average alone: where in its last minute the asset went is not known
            return last, self._lag(left)
        mean = last + slope * AVERAGE_SECONDS * (part - part**2 / 2)
        return mean, before + AVERAGE_SECONDS * part**3 * (2 / 3 - part / 4)

    def _slope(self) -> float | None:
        """Return by how much the average grows in a second."""
        if len(self._prices) < 2:
            return None
        (begin, first), (end, last) = self._prices[-2], self._prices[-1]
        seconds = (end - begin) / 1000
        return float(last - first) / seconds if seconds <= _SLOPE_SECONDS else None

    def _sum_since(self, start: float) -> float | None:
        """Return price times seconds from epoch second `start` to the latest price."""
        total, begin_ms = 0.0, round(start * 1000)
        if self._prices[-1][0] <= begin_ms:
            return 0.0
        if self._prices[0][0] > begin_ms:
            return None
        for (at, value), (following, then) in pairwise(self._prices):
            seconds = (following - max(at, begin_ms)) / 1000
            if seconds > 0:
                total += float(value + then) / 2 * seconds
        return total
