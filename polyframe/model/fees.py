"""What the venue charges for a fill."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from attrs import field, frozen

from polyframe.model.money import ONE, ZERO, decimal

_FEE_STEP = Decimal("0.00001")


def _to_rate(value: object) -> Decimal:
    rate = decimal(value, "rate")
    if rate < 0:
        msg = f"rate: expected a fee rate of at least 0, got {value!r}"
        raise ValueError(msg)
    return rate


def _to_exponent(value: object) -> int:
    exponent = decimal(value, "exponent")
    if exponent < 0 or exponent != int(exponent):
        msg = f"exponent: expected a whole number of at least 0, got {value!r}"
        raise ValueError(msg)
    return int(exponent)


@frozen
class FeeSchedule:
    """Taker fee of one market; makers pay nothing (PROTOCOL §2.9).

    ``fee = shares · rate · (p · (1 − p)) ** exponent`` USD, rounded to five decimals; what is less
    than the last of these decimals costs nothing.

    Attributes:
        rate: Fee rate; 0.07 on crypto markets, 0 where fees are off.
        exponent: Power of ``p · (1 − p)``; 1 on crypto markets.

    Raises:
        ValueError: A negative rate, or an exponent that is no whole number; names the field.
    """

    rate: Decimal = field(default=ZERO, converter=_to_rate)
    exponent: int = field(default=1, converter=_to_exponent)

    def taker_fee(self, size: Decimal, price: Decimal) -> Decimal:
        """Return the fee in USD for taking `size` shares at `price`."""
        if not self.rate:
            return ZERO
        raw = size * self.rate * (price * (ONE - price)) ** self.exponent
        if raw < _FEE_STEP:
            return ZERO
        return raw.quantize(_FEE_STEP, rounding=ROUND_HALF_UP)


NO_FEES = FeeSchedule()
