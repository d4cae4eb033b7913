"""From price and size to the two amounts that an order carries, exactly."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Side

BASE_UNITS = 1_000_000
"""Base units in one USD and in one share (PROTOCOL §0.2)."""

FINEST_TICK = Decimal("0.0001")
"""The finest price step that the venue knows (PROTOCOL §2.8)."""

_SIZE_STEP = Decimal("0.01")
_SIZE_LIMIT = Decimal(10) ** 15


def limit_amounts(
    side: Side, price: Decimal, size: Decimal, tick: Decimal = FINEST_TICK
) -> tuple[int, int]:
    """Return ``(makerAmount, takerAmount)`` of a limit order in base units (PROTOCOL §2.8).

    The size is cut to two decimals, as the venue has no smaller orders. The price is never rounded.
    With a price on a tick of the venue the product then has at most six decimals, so that both
    amounts are exact.

    Args:
        side: A buy gives USD for shares, a sell gives shares for USD.
        price: USD per share.
        size: Shares.
        tick: Price step of the market in USD.

    Raises:
        ValueError: Price off the tick grid or not within ``tick … 1 − tick``, or size below 0.01.
    """
    if not tick <= price <= ONE - tick:
        msg = f"price: expected {tick} to {ONE - tick}, got {price}"
        raise ValueError(msg)
    if price % tick != ZERO:
        msg = f"price: expected a multiple of the tick {tick}, got {price}"
        raise ValueError(msg)
    if not _SIZE_STEP <= size < _SIZE_LIMIT:
        msg = f"size: expected {_SIZE_STEP} to {_SIZE_LIMIT} shares, got {size}"
        raise ValueError(msg)
    shares = size.quantize(_SIZE_STEP, rounding=ROUND_DOWN)
    share_units = int(shares * BASE_UNITS)
    usd_units = int(shares * price * BASE_UNITS)
    return (usd_units, share_units) if side is Side.BUY else (share_units, usd_units)
