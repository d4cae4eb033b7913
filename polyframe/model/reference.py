"""Reference prices: what the underlying asset costs, and the price that a market has to beat.

Times of these prices are the instants that they speak of, never the moment at which they arrived.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec
from attrs import define, field, frozen

from polyframe.model.series import Series, Window

BOUNDARY_MS = 300_000
"""Every window of every series begins and ends on a multiple of five minutes."""

_KEPT = 1_200
"""Boundaries that a history remembers: four days of them."""


class PriceSource(StrEnum):
    """Where a reference price comes from."""

    TWAP = "chainlink_twap"
    """Chainlink's average over 60 seconds, which settles 5-minute, 15-minute and 4-hour markets."""
    BINANCE = "binance"
    """Binance's last price; hourly and daily markets are settled on its candles."""
    GAMMA = "gamma"
    """The venue's own record, written minutes after the end of a window."""


def settling_source(series: Series) -> PriceSource:
    """Return the source that settles the markets of `series` (PROTOCOL §1.5, §1.6)."""
    return PriceSource.BINANCE if series.period in {"1h", "1d"} else PriceSource.TWAP


class ReferencePrice(msgspec.Struct, frozen=True, gc=False):
    """The price of an asset at one instant.

    Attributes:
        source: Who says so.
        asset: The venue's short word in lower case, for example ``btc``.
        value: USD.
        instant_ms: The instant that the price speaks of, in epoch milliseconds.
    """

    source: PriceSource
    asset: str
    value: Decimal
    instant_ms: int


class PriceToBeat(msgspec.Struct, frozen=True):
    """The price at the start of a market's window: Up wins if the end is not below it.

    Attributes:
        window: The market's window, so that one cycle's value cannot be taken for another's.
        value: USD, ``None`` while it is not known.
        source: Who said so, ``None`` while it is not known.
        instant: The instant that the value speaks of in epoch seconds, ``None`` while not known.
        is_final: Whether it is what settles the market: the settling source's price of exactly the
            window's start, or the venue's own record. A price from shortly before, or a last price
            in place of a candle's, is not.
        unknown: Why there is no value: ``"before_start"``, ``"waiting"`` for the first prices after
            the start, or ``"missed"`` (nobody listened at the start; the venue's record of the
            window before may still tell it, minutes later). ``""`` if there is one.
    """

    window: Window
    value: Decimal | None = None
    source: PriceSource | None = None
    instant: float | None = None
    is_final: bool = False
    unknown: str = ""

    @property
    def is_known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


@frozen
class PriceRecord:
    """What the venue has on record about one window.

    Attributes:
        price_to_beat: Price at the start in USD, ``None`` if it is not there (yet).
        final_price: Price at the end in USD, ``None`` likewise.
    """

    price_to_beat: Decimal | None = None
    final_price: Decimal | None = None


@frozen
class Reading:
    """What a history says of a boundary.

    Attributes:
        price: The price at or shortly before the boundary, ``None`` if there is none.
        is_exact: Whether it speaks of exactly the boundary.
        is_past: Whether prices from well after the boundary have come: without a price of the
            boundary by then, it was missed.
    """

    price: ReferencePrice | None
    is_exact: bool = False
    is_past: bool = False


@define(eq=False)
class ReferenceHistory:
    """The prices of one asset from one source: the latest, and those at the boundaries.

    Prices may come twice and in any order (two feeds, snapshots, reconnects).

    Attributes:
        tolerance_ms: How long before a boundary a price may be and still stand for it, and how long
            after it the exact one is waited for.
        latest: The price of the latest instant, ``None`` before the first.
    """

    tolerance_ms: int = 2_000
    latest: ReferencePrice | None = field(init=False, default=None)
    _exact: dict[int, ReferencePrice] = field(init=False, factory=dict)
    _before: dict[int, ReferencePrice] = field(init=False, factory=dict)

    def add(self, price: ReferencePrice) -> bool:
        """Take one price; return False for one that contradicts another of the same boundary.

        The first one stands: what strategies were told does not change under their feet.
        """
        instant, latest = price.instant_ms, self.latest
        boundary = instant - instant % BOUNDARY_MS
        if instant == boundary:
            known = self._exact.setdefault(boundary, price)
            if known.value != price.value:
                return False
            _keep_few(self._exact)
        if latest is None or instant > latest.instant_ms:
            if latest is not None and latest.instant_ms < boundary:
                self._remember_before(boundary, latest)
            self.latest = price
        return True

    def _remember_before(self, boundary: int, price: ReferencePrice) -> None:
        if boundary - price.instant_ms <= self.tolerance_ms:
            self._before[boundary] = price
            _keep_few(self._before)

    def at(self, instant_ms: int) -> Reading:
        """Return what is known of the boundary at `instant_ms`."""
        if (exact := self._exact.get(instant_ms)) is not None:
            return Reading(exact, is_exact=True, is_past=True)
        latest = self.latest
        if latest is None or latest.instant_ms < instant_ms + self.tolerance_ms:
            return Reading(None)
        return Reading(self._before.get(instant_ms), is_past=True)


def _keep_few(prices: dict[int, ReferencePrice]) -> None:
    if len(prices) > _KEPT:
        del prices[min(prices)]
