"""What a market did, as values: the market, and one after another what was heard of it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import msgspec
from attrs import frozen

from polyframe.model.events import MarketMessage
from polyframe.model.exact import EXACT
from polyframe.model.market import Market, Outcome


@frozen
class TapeMarket:
    """One recorded market.

    Attributes:
        market: Names, tokens and rules.
        winner: The outcome that paid, ``None`` if the recording does not know it.
        price_to_beat: The price at the start of the window in USD, ``None`` if it is not known.
        price_source: Who told the price to beat, ``""`` if nobody did.
        source: Who recorded the market.
        licence: What the data may be used for, in a few words; ``""`` if it is one's own.
    """

    market: Market
    winner: Outcome | None = None
    price_to_beat: Decimal | None = None
    price_source: str = ""
    source: str = ""
    licence: str = ""


def file_name(market: Market) -> str:
    """Return the name of a market's files, without a suffix: its slug.

    The second of two markets of the same slug (the hour that New York repeats in autumn) has its start
    in the name as well.
    """
    try:
        first = market.series.window_from_slug(market.slug)
    except ValueError:  # a name without a year, or of another kind
        return market.slug
    return market.slug if market.window == first else f"{market.slug}-{market.window.start}"


class Timed(msgspec.Struct, frozen=True, gc=False):
    """One message of the market channel, and when it came.

    Attributes:
        received_ms: The recorder's clock in epoch milliseconds. The venue's own time is in the
            message.
        epoch: Number of the connection that brought it. A new one voids what was known before: each
            connection begins with both books (PROTOCOL §4.2).
        message: The message.
    """

    received_ms: int
    epoch: int
    message: MarketMessage


class Gap(msgspec.Struct, frozen=True):
    """From here on nothing was heard, until the next message: books are unknown.

    Attributes:
        received_ms: The recorder's clock in epoch milliseconds.
        reason: Short word, for example ``"closed"``.
    """

    received_ms: int
    reason: str


TapeEvent = Timed | Gap

_SHARE = 1_000_000
_LARGEST = 2**63
_MEMO_LIMIT = 100_000


def base_units(size: Decimal) -> int:
    """Return `size` in millionths of a share, as the venue counts and files keep it.

    Raises:
        ValueError: Negative, finer than that, or too large for 64 bits.
    """
    exact = EXACT.multiply(size, _SHARE)
    base = int(exact)
    if base != exact or not 0 <= base < _LARGEST:
        msg = f"size: expected steps of 0.000001 from 0 to 2 ** 63 millionths, got {size}"
        raise ValueError(msg)
    return base


K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """What was made of numbers: for what every row asks for, a look-up without a frame of Python.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[K], V]) -> None:
        self._make = make

    def __missing__(self, key: K) -> V:
        made = self._make(key)
        if len(self) >= _MEMO_LIMIT:
            self.clear()  # what other markets had, most of it
        self[key] = made
        return made


def _shares(base: int) -> Decimal:
    return EXACT.divide(base, _SHARE)


shares: Callable[[int], Decimal] = Memo(_shares).__getitem__
"""Return the shares that so many millionths are."""
