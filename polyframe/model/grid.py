"""The grid that prices and sizes have to lie on (PROTOCOL §2.8): checked, or rounded when asked to."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from attrs import field, frozen

from polyframe.model.money import ONE, decimal

TICKS = tuple(map(Decimal, ("0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001")))
"""The price steps that the venue knows, in USD."""

FINEST_TICK = TICKS[-1]

SIZE_STEP = Decimal("0.01")
"""Orders have at most two decimals of shares."""

CENT = Decimal("0.01")
"""What a buy that does not rest spends has at most two decimals of USD."""

LARGEST = Decimal(10) ** 15
"""No order has as many shares or USD."""


def _to_tick(value: object) -> Decimal:
    tick = decimal(value, "tick")
    if tick not in TICKS:
        msg = f"tick: expected one of {', '.join(map(str, TICKS))}, got {value!r}"
        raise ValueError(msg)
    return tick


@frozen
class Grid:
    """Prices and sizes that orders of a market can have.

    The checks refuse what is off the grid; nothing is rounded unless it is asked for, because only
    the caller knows in which direction.

    Attributes:
        tick: The price step in USD, one of `TICKS`; ``session.tick_size(outcome)`` has the present one.

    Raises:
        ValueError: A tick that the venue does not have.
    """

    tick: Decimal = field(converter=_to_tick)

    @property
    def lowest(self) -> Decimal:
        """The lowest price."""
        return self.tick

    @property
    def highest(self) -> Decimal:
        """The highest price."""
        return ONE - self.tick

    def check_price(self, price: Decimal) -> Decimal:
        """Return `price`, in USD per share.

        Raises:
            ValueError: Off the grid, or not within one tick of 0 and 1.
        """
        _finite(price, "price")
        if not self.lowest <= price <= self.highest:
            msg = f"price: expected {self.lowest} to {self.highest}, got {price}"
            raise ValueError(msg)
        if price % self.tick:
            msg = f"price: expected a multiple of the tick {self.tick}, got {price}"
            raise ValueError(msg)
        return price

    def check_size(self, size: Decimal) -> Decimal:
        """Return `size`, in shares.

        Raises:
            ValueError: Not above 0, finer than 0.01, or absurd.
        """
        return _check_amount(size, "size", SIZE_STEP)

    def check_usd(self, usd: Decimal) -> Decimal:
        """Return `usd`, what a market buy spends.

        Raises:
            ValueError: Not above 0, finer than a cent, or absurd.
        """
        return _check_amount(usd, "usd", CENT)

    def floor_price(self, price: Decimal) -> Decimal:
        """Return the highest price of the grid that is not above `price`, at least the lowest.

        Raises:
            ValueError: Not finite; so do all that round.
        """
        return self._clamped(price, ROUND_FLOOR)

    def ceil_price(self, price: Decimal) -> Decimal:
        """Return the lowest price of the grid that is not below `price`, at most the highest."""
        return self._clamped(price, ROUND_CEILING)

    def floor_size(self, size: Decimal) -> Decimal:
        """Return `size` cut to steps of 0.01 shares; 0 if it is less than one."""
        return max(_finite(size, "size"), Decimal(0)).quantize(SIZE_STEP, ROUND_FLOOR)

    def floor_usd(self, usd: Decimal) -> Decimal:
        """Return `usd` cut to cents; 0 if it is less than one."""
        return max(_finite(usd, "usd"), Decimal(0)).quantize(CENT, ROUND_FLOOR)

    def _clamped(self, price: Decimal, rounding: str) -> Decimal:
        bounded = min(max(_finite(price, "price"), self.lowest), self.highest)
        return (bounded / self.tick).to_integral_value(rounding) * self.tick


def _finite(value: Decimal, name: str) -> Decimal:
    # Not a number cannot even be compared.
    if not value.is_finite():
        msg = f"{name}: expected a finite Decimal, got {value}"
        raise ValueError(msg)
    return value


def _check_amount(value: Decimal, name: str, step: Decimal) -> Decimal:
    _finite(value, name)
    if not step <= value < LARGEST:
        msg = f"{name}: expected {step} to {LARGEST}, got {value}"
        raise ValueError(msg)
    if value % step:
        msg = f"{name}: expected steps of {step}, got {value}; round it first (Grid.floor_{name})"
        raise ValueError(msg)
    return value
