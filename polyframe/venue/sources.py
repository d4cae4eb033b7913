"""Where the markets of the local venue come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from polyframe.model.market import Outcome
from polyframe.venue.values import SourceEvent, VenueMarket


class MarketSource(Protocol):
    """Markets, their order books over time, and how they end. Read only, does not block."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """Rows that could not be used, by reason."""
        ...

    def market(self, slug: str) -> VenueMarket | None:
        """Return the market named `slug`, ``None`` if there is none."""
        ...

    def next_market(self, start: float) -> VenueMarket | None:
        """Return the first market whose window starts at epoch second `start` or later."""
        ...

    def winner(self, market: VenueMarket) -> Outcome:
        """Return the outcome that pays; the venue asks only when it resolves the market."""
        ...

    def events(self, market: VenueMarket, since_ms: int) -> Iterator[SourceEvent]:
        """Yield the last snapshot at or before `since_ms`, then all that is later, in time order.

        If the first snapshot is later than `since_ms` the iterator begins with that.
        """
        ...
