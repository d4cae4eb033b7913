"""What the venue charges for a fill."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from attrs import field, frozen

from polyframe.model.money import ONE, ZERO, decimal

_FEE_STEP = Decimal("0.00001")


def _to_decimal(value: object) -> Decimal:
    return decimal(value, "fee schedule")


@frozen
class FeeSchedule:
    """Taker fee of one market; makers pay nothing (PROTOCOL §2.9).

    ``fee = shares · rate · (p · (1 − p)) ** exponent`` USD, rounded to five decimals.

    Attributes:
        rate: Fee rate; 0.07 on crypto markets, 0 where fees are off.
        exponent: Power of ``p · (1 − p)``; 1 on crypto markets.
    """

    rate: Decimal = field(default=ZERO, converter=_to_decimal)
    exponent: int = 1

    def taker_fee(self, size: Decimal, price: Decimal) -> Decimal:
        """Return the fee in USD for taking `size` shares at `price`."""
        raw = size * self.rate * (price * (ONE - price)) ** self.exponent
        return raw.quantize(_FEE_STEP, rounding=ROUND_HALF_UP)


NO_FEES = FeeSchedule()
