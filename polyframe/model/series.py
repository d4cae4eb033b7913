"""Placeholder values; the calendar follows."""

from __future__ import annotations

from attrs import frozen


@frozen
class Window:
    """One cycle's span, epoch seconds (UTC): start inclusive, end exclusive."""

    start: int
    end: int


@frozen
class Series:
    """A rolling family of markets, for example ``btc-updown-15m``."""

    asset: str
    period: str
