"""Exact numbers: prices, sizes and cash never touch binary floating point.

Market-data prices also exist as integer *units* of 1e-4 USD, the finest tick of the venue: a unit
indexes a book level without hashing a ``Decimal``. Both forms come out of bounded memo tables,
because the same few hundred price texts arrive over and over.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from polyframe.model.exact import EXACT

ZERO = Decimal(0)
ONE = Decimal(1)

PRICE_UNITS = 10_000
"""Units in one USD: the venue's finest tick is 0.0001."""

_MEMO_LIMIT = 100_000
_MAX_EXPONENT = 40


def is_sane(number: Decimal) -> bool:
    """Return whether `number` can be reckoned with: finite, and 0 or between 1e-40 and 1e41.

    Nothing that money is about is larger or smaller, and it would overflow in the first multiplication.
    """
    return number.is_finite() and -_MAX_EXPONENT <= number.adjusted() <= _MAX_EXPONENT


def decimal(value: object, field: str = "value") -> Decimal:
    """Return `value` as an exact, finite ``Decimal`` below 1e41.

    Accepts ``Decimal``, ``int`` and decimal text (also ``".48"``). A ``float`` is taken by its
    shortest text, which is what a JSON number meant before it was parsed.

    Raises:
        ValueError: No such number; the message names `field`.
    """
    if type(value) is Decimal:
        number = value
    elif isinstance(value, str):
        number = _DECIMALS[value.strip()]
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        msg = f"{field}: expected a decimal number, got {value!r}"
        raise ValueError(msg)
    else:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or number.adjusted() > _MAX_EXPONENT:
        msg = f"{field}: expected a finite decimal number, got {value!r}"
        raise ValueError(msg)
    return number


class _DecimalMemo(dict[str, Decimal]):
    def __missing__(self, text: str) -> Decimal:
        try:
            # "1_000" is a Python habit, not a number of the wire.
            number = Decimal(text) if "_" not in text else Decimal("NaN")
        except InvalidOperation:
            number = Decimal("NaN")
        if not is_sane(number):
            number = Decimal("NaN")
        if len(self) < _MEMO_LIMIT:
            self[text] = number
        return number


_DECIMALS = _DecimalMemo()


class _UnitsMemo(dict[str, int]):
    def __missing__(self, text: str) -> int:
        scaled = EXACT.multiply(decimal(text, "price"), PRICE_UNITS)
        units = int(scaled)
        if units != scaled or not 0 <= units <= PRICE_UNITS:
            msg = f"price: expected a multiple of 0.0001 from 0 to 1, got {text!r}"
            raise ValueError(msg)
        if len(self) < _MEMO_LIMIT:
            self[text] = units
        return units


class _SizeMemo(dict[str, Decimal]):
    def __missing__(self, text: str) -> Decimal:
        number = decimal(text, "size")
        if number < 0:
            msg = f"size: expected a decimal number of at least 0, got {text!r}"
            raise ValueError(msg)
        if len(self) < _MEMO_LIMIT:
            self[text] = number
        return number


# Every price and size of the market channel passes these two: a look-up without a frame of Python.

price_units: Callable[[str], int] = _UnitsMemo().__getitem__
"""Return a price text of the wire as integer units of 1e-4 USD (0 to 10,000).

Raises:
    ValueError: Not a number, off the 0.0001 grid, or outside 0 to 1.
"""

size_decimal: Callable[[str], Decimal] = _SizeMemo().__getitem__
"""Return a size text of the wire as an exact, non-negative ``Decimal`` of shares.

Raises:
    ValueError: Not a finite number, or negative.
"""


def _all_prices() -> tuple[Decimal, ...]:
    # Looked up once: that is most of what this would take, at each start of a program.
    normalize, divide = EXACT.normalize, EXACT.divide
    return tuple([normalize(divide(units, PRICE_UNITS)) for units in range(PRICE_UNITS + 1)])


_PRICES = _all_prices()


def units_price(units: int) -> Decimal:
    """Return the price in USD of integer units of 1e-4 USD.

    Raises:
        ValueError: Outside 0 to 10,000 units; -1, the mark of a missing price, is no price.
    """
    if not 0 <= units <= PRICE_UNITS:
        msg = f"price: expected 0 to {PRICE_UNITS} units, got {units}"
        raise ValueError(msg)
    return _PRICES[units]
