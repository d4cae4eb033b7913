"""The order book of one token."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from math import gcd

from typing_extensions import override

from polyframe.model.money import ONE, PRICE_UNITS, ZERO, units_price

Levels = tuple[tuple[int, Decimal], ...] | list[tuple[int, Decimal]]


class Book:
    """All resting sizes of one token by price, with the best of both sides at hand.

    Prices come in as integer units of 1e-4 USD and go out as ``Decimal``; sizes are shares. A book
    is *unknown* until its first snapshot and after `invalidate`: then it is empty and all its
    prices are ``None``.

    Each side is a flat list with one place per step of the grid, so an update costs an index and no
    search. The places below the lowest bid and above the highest ask hold a sentinel: the walk to
    the next best level always ends, at 0 or at 10,000, which stand for an empty side. The grid is
    the tick, or finer while levels lie between the ticks (resting orders survive a change to a
    coarser tick, PROTOCOL §2.8).

    Sizes are taken as they come: whoever decodes them sees to it that they are not negative
    (`polyframe.model.money.size_decimal`).

    Args:
        tick_units: Tick in units of 1e-4 USD: 100 for 0.01.

    Attributes:
        known: Whether there was a snapshot since the last `invalidate`.
        bid_units: Best bid in units, 0 if there is none.
        ask_units: Best ask in units, 10,000 if there is none.
        timestamp_ms: The venue's time of the last change, 0 if it never sent one.
        received: Market time of the last change in epoch seconds; kept by the owner of the book.

    Raises:
        ValueError: `tick_units` does not divide 1 USD.
    """

    __slots__ = (
        "_asks",
        "_bids",
        "_places",
        "_step",
        "_tick",
        "ask_units",
        "bid_units",
        "known",
        "received",
        "timestamp_ms",
    )

    def __init__(self, tick_units: int = 100) -> None:
        self._tick = _checked_tick(tick_units)
        self.received = 0.0
        self.invalidate()

    def invalidate(self) -> None:
        """Forget all levels; the book is unknown until the next snapshot."""
        self.known = False
        self.timestamp_ms = 0
        self._clear(self._tick)
        self._places = _NO_PLACES

    def apply_snapshot(
        self, bids: Levels, asks: Levels, timestamp_ms: int = 0, tick_units: int = 0
    ) -> bool:
        """Replace all levels and become known.

        Args:
            bids: ``(price units, size)`` in any order; levels of size 0 are left out.
            asks: Likewise.
            timestamp_ms: The venue's time, 0 if it sent none.
            tick_units: The tick from now on, 0 to leave it.

        Returns:
            False, with nothing changed, if the snapshot is older than what was applied last
            (PROTOCOL §4.10).

        Raises:
            ValueError: A price outside 1 to 9,999 units or an impossible tick; nothing is changed.
        """
        if self.known and 0 < timestamp_ms < self.timestamp_ms:
            return False
        tick = _checked_tick(tick_units) if tick_units else self._tick
        # Most come in order: to sort them costs less than to look for the lowest and the highest.
        bid_prices = sorted([units for units, size in bids if size])
        ask_prices = sorted([units for units, size in asks if size])
        for side in (bid_prices, ask_prices):
            if side and not (side[0] > 0 and side[-1] < PRICE_UNITS):
                prices = bid_prices + ask_prices
                msg = f"price: expected 1 to 9999 units, got {min(prices)} to {max(prices)}"
                raise ValueError(msg)
        self._tick = tick
        step = gcd(tick, *bid_prices, *ask_prices)
        self._clear(step)
        levels = self._bids
        for units, size in bids:
            if size:
                levels[units // step] = size
        levels = self._asks
        for units, size in asks:
            if size:
                levels[units // step] = size
        self.bid_units = bid_prices[-1] if bid_prices else 0
        self.ask_units = ask_prices[0] if ask_prices else PRICE_UNITS
        self.known = True
        self.touch(timestamp_ms)
        return True

    def apply_change(self, is_bid: bool, price_units: int, size: Decimal) -> bool:
        """Set the total size at one price; size 0 removes the level.

        Returns:
            Whether the best price of that side is another.

        Raises:
            ValueError: A price outside 1 to 9,999 units, or the book is unknown.
        """
        try:
            index = self._places[price_units]
        except KeyError:
            index = self._new_place(price_units)
        if is_bid:
            levels = self._bids
            if size:
                levels[index] = size
                if price_units > self.bid_units:
                    self.bid_units = price_units
                    return True
            else:
                levels[index] = None
                if price_units == self.bid_units:
                    while levels[index] is None:
                        index -= 1
                    self.bid_units = index * self._step
                    return True
        else:
            levels = self._asks
            if size:
                levels[index] = size
                if price_units < self.ask_units:
                    self.ask_units = price_units
                    return True
            else:
                levels[index] = None
                if price_units == self.ask_units:
                    while levels[index] is None:
                        index += 1
                    self.ask_units = index * self._step
                    return True
        return False

    def set_tick(self, tick_units: int) -> None:
        """Take a new tick; levels stay where they are, also those between its steps.

        Raises:
            ValueError: `tick_units` does not divide 1 USD.
        """
        self._tick = _checked_tick(tick_units)

    def touch(self, timestamp_ms: int) -> None:
        """Note the venue's time of a change; an older one, or 0, does not turn it back."""
        if timestamp_ms > self.timestamp_ms:
            self.timestamp_ms = timestamp_ms

    @property
    def tick_units(self) -> int:
        """The tick that the venue named last, in units of 1e-4 USD."""
        return self._tick

    @property
    def tick_size(self) -> Decimal:
        """The tick in USD that the venue named last."""
        return units_price(self._tick)

    @property
    def bid(self) -> Decimal | None:
        """Best bid in USD, ``None`` if there is none or the book is unknown."""
        return units_price(self.bid_units) if self.bid_units else None

    @property
    def ask(self) -> Decimal | None:
        """Best ask in USD, ``None`` if there is none or the book is unknown."""
        return units_price(self.ask_units) if self.ask_units != PRICE_UNITS else None

    @property
    def bid_size(self) -> Decimal | None:
        """Shares at the best bid, ``None`` if there is none or the book is unknown."""
        return self._bids[self.bid_units // self._step] if self.bid_units else None

    @property
    def ask_size(self) -> Decimal | None:
        """Shares at the best ask, ``None`` if there is none or the book is unknown."""
        if self.ask_units == PRICE_UNITS:
            return None
        return self._asks[self.ask_units // self._step]

    @property
    def spread(self) -> Decimal | None:
        """Best ask minus best bid in USD, ``None`` if a side is empty; negative when crossed."""
        bid, ask = self.bid, self.ask
        return None if bid is None or ask is None else ask - bid

    @property
    def mid(self) -> Decimal | None:
        """The middle of best bid and best ask in USD, ``None`` if a side is empty."""
        bid, ask = self.bid, self.ask
        return None if bid is None or ask is None else (bid + ask) / 2

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at or above the best ask.

        That is normal within one message of several changes, and wrong after all of it.
        """
        return self.bid_units >= self.ask_units

    def age(self, now: float) -> float | None:
        """Return the seconds since the last change at market time `now`, ``None`` if unknown."""
        return now - self.received if self.known else None

    def size_at(self, is_bid: bool, price_units: int) -> Decimal:
        """Return the shares at one price, 0 if there are none."""
        if not 0 < price_units < PRICE_UNITS or price_units % self._step:
            return ZERO
        side = self._bids if is_bid else self._asks
        return side[price_units // self._step] or ZERO

    def depth(self, is_bid: bool, levels: int) -> list[tuple[Decimal, Decimal]]:
        """Return up to `levels` levels of one side as ``(price in USD, shares)``, best first."""
        found: list[tuple[Decimal, Decimal]] = []
        if levels > 0:
            for units, size in self.levels(is_bid):
                found.append((units_price(units), size))
                if len(found) == levels:
                    break
        return found

    def sweep(self, is_bid: bool, size: Decimal) -> tuple[Decimal, Decimal]:
        """Return what an order that takes from one side would get, before fees.

        Args:
            is_bid: The side that is taken: False to buy from the asks, True to sell to the bids.
            size: Shares wanted.

        Returns:
            Shares that are there (at most `size`), and their exact value in USD.
        """
        filled = value = ZERO
        for units, there in self.levels(is_bid):
            if filled >= size:
                break
            taken = min(there, size - filled)
            filled += taken
            value += taken * units_price(units)
        return filled, value

    def levels(self, is_bid: bool) -> Iterator[tuple[int, Decimal]]:
        """Yield the levels of one side as ``(price units, shares)``, best first, from the live book."""
        step = self._step
        if is_bid:
            side, places = self._bids, range(self.bid_units // step, 0, -1)
        else:
            side, places = self._asks, range(self.ask_units // step, PRICE_UNITS // step)
        for index in places:
            if (size := side[index]) is not None:
                yield index * step, size

    def _clear(self, step: int) -> None:
        self._step = step
        self._places = _places(step)
        places = PRICE_UNITS // step
        self._bids: list[Decimal | None] = [_SENTINEL, *[None] * places]
        self._asks: list[Decimal | None] = [*[None] * places, _SENTINEL]
        self.bid_units = 0
        self.ask_units = PRICE_UNITS

    def _new_place(self, price_units: int) -> int:
        """Make room for a price that is not on the grid, and return its place."""
        if not self.known:
            msg = "book: unknown, it takes changes only after a snapshot"
            raise ValueError(msg)
        if not 0 < price_units < PRICE_UNITS:
            msg = f"price: expected 1 to 9999 units, got {price_units}"
            raise ValueError(msg)
        self._refine(gcd(self._step, price_units))
        return self._places[price_units]

    def _refine(self, step: int) -> None:
        """Go over to a grid of which the present one is a part; levels and prices stay."""
        bids, asks, factor = self._bids, self._asks, self._step // step
        bid_units, ask_units = self.bid_units, self.ask_units
        self._clear(step)
        self._bids[::factor] = bids
        self._asks[::factor] = asks
        self.bid_units, self.ask_units = bid_units, ask_units

    @override
    def __repr__(self) -> str:
        if not self.known:
            return "Book(unknown)"
        return f"Book({self.bid_size} @ {self.bid} | {self.ask_size} @ {self.ask})"


_SENTINEL = ONE

_NO_PLACES: dict[int, int] = {}


@cache
def _places(step: int) -> dict[int, int]:
    """Return the place of each price of a grid in its list; to look it up takes half of reckoning it."""
    return {price: price // step for price in range(step, PRICE_UNITS, step)}


def _checked_tick(tick_units: int) -> int:
    if not 0 < tick_units < PRICE_UNITS or PRICE_UNITS % tick_units:
        msg = f"tick_units: expected a part of 10,000 such as 100 (0.01), got {tick_units!r}"
        raise ValueError(msg)
    return tick_units
