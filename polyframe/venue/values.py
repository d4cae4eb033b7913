"""What a source of market data hands to the venue, and how its numbers look on the wire.

Inside the venue prices are integer units of 1e-4 USD and sizes are integer base units of 1e-6
shares. Both are exact, cheap to compare, and the finest that the protocol knows (PROTOCOL §0.2).
A market has one book, kept in terms of its Up share: a bid for Down at ``q`` *is* an ask for Up at
``1 − q`` (PROTOCOL §2.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec
from attrs import frozen

from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.order import Side

SHARE = 1_000_000
"""Base units in one share (and in one USD)."""

CRYPTO_FEES = FeeSchedule(rate=Decimal("0.07"), exponent=1)
"""What takers pay on crypto markets (PROTOCOL §2.9)."""

CASH_SCALE = -10
"""Price units × base units of shares are multiples of 10 ** −10 USD."""


class Lifetime(StrEnum):
    """How long an order lives (PROTOCOL §2.10)."""

    GTC = "GTC"
    """Until it is filled, cancelled, or the market ends."""
    GTD = "GTD"
    """Likewise, with an hour of death."""
    FOK = "FOK"
    """All of it now, or nothing."""
    FAK = "FAK"
    """What is there now; the rest is cancelled."""

    @property
    def rests(self) -> bool:
        """Whether what does not match at once stays in the book."""
        return self in {Lifetime.GTC, Lifetime.GTD}


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """The whole book of a market at one time, in terms of Up.

    Attributes:
        time_ms: Epoch milliseconds.
        bids, asks: Base units of shares by price units; every size is above 0.
    """

    time_ms: int
    bids: Mapping[int, int]
    asks: Mapping[int, int]


class Print(msgspec.Struct, frozen=True, gc=False):
    """A trade between others, in terms of Up.

    Attributes:
        time_ms: Epoch milliseconds.
        is_buy: Whether the taker bought Up.
        price: Price units.
        size: Base units of shares.
    """

    time_ms: int
    is_buy: bool
    price: int
    size: int


SourceEvent = Snapshot | Print


@frozen
class VenueMarket:
    """A market that the venue lists.

    Attributes:
        market: Its names, tokens and rules.
        row_id: Number of its Gamma row.
    """

    market: Market
    row_id: str

    @property
    def slug(self) -> str:
        """Name of the market."""
        return self.market.slug

    @property
    def condition_id(self) -> str:
        """Key of the market on the CLOB."""
        return self.market.condition_id

    @property
    def start(self) -> int:
        """Start of the window in epoch seconds."""
        return self.market.window.start

    @property
    def end(self) -> int:
        """End of trading in epoch seconds."""
        return self.market.window.end

    @property
    def tokens(self) -> tuple[str, str]:
        """Token ids: Up, then Down."""
        return self.market.up_token, self.market.down_token


def derive_token(condition_id: str, outcome: Outcome) -> str:
    """Return a made-up token id: a uint256 in decimal of 77 or 78 digits, like the real ones."""
    digest = hashlib.sha256(f"{condition_id}:{outcome}".encode()).digest()
    # The top bit is set so that no id is ever short.
    return str(int.from_bytes(digest, "big") | 1 << 255)


def derive_row_id(slug: str) -> str:
    """Return a made-up Gamma row number of seven digits."""
    digest = hashlib.sha256(f"row:{slug}".encode()).digest()
    return str(1_000_000 + int.from_bytes(digest[:4], "big") % 9_000_000)


_PRICE_TEXTS = tuple(
    format(Decimal(units).scaleb(-4).normalize(), "f") for units in range(PRICE_UNITS + 1)
)
_SIZE_TEXTS: dict[int, str] = {}
_SIZE_MEMO = 50_000


def price_text(units: int) -> str:
    """Return price units as the wire has them, for example ``"0.53"``."""
    return _PRICE_TEXTS[units]


def size_text(size: int) -> str:
    """Return base units of shares as the wire has them, for example ``"7.25"``."""
    text = _SIZE_TEXTS.get(size)
    if text is None:
        whole, rest = divmod(size, SHARE)
        text = f"{whole}.{rest:06}".rstrip("0").rstrip(".") if rest else str(whole)
        if len(_SIZE_TEXTS) < _SIZE_MEMO:
            _SIZE_TEXTS[size] = text
    return text


def size_shares(size: int) -> Decimal:
    """Return base units as shares (or USD)."""
    return Decimal(size).scaleb(-6)


def notional(price: int, size: int) -> Decimal:
    """Return the exact USD value of `size` base units at `price` units."""
    return Decimal(price * size).scaleb(CASH_SCALE)


def usd(price: int) -> Decimal:
    """Return price units in USD."""
    return Decimal(price) / PRICE_UNITS


def mirrored(price: int) -> int:
    """Return the price of the other outcome's side of the same level."""
    return PRICE_UNITS - price


def up_terms(outcome: Outcome, side: Side, price: int) -> tuple[bool, int]:
    """Return an order in terms of Up: whether it bids, and its price units."""
    if outcome is Outcome.UP:
        return side is Side.BUY, price
    return side is Side.SELL, mirrored(price)


def own_price(outcome: Outcome, up_price: int) -> int:
    """Return a price in terms of Up as the price of `outcome`."""
    return up_price if outcome is Outcome.UP else mirrored(up_price)
