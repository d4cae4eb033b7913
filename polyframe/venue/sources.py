"""Where the markets of the local venue come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from polyframe.errors import ConfigError
from polyframe.model.market import Outcome
from polyframe.venue.values import SourceEvent, VenueMarket

PRICE_SCALE = 10**8
"""Reference prices are whole numbers of 1e-8 USD."""


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


class SeveralSources:
    """Several sources as one: a venue with several series.

    Args:
        sources: At least one; no two have a market of the same name.

    Raises:
        ConfigError: There is none.
    """

    def __init__(self, sources: Sequence[MarketSource]) -> None:
        if not sources:
            msg = "sources: expected at least one source of markets"
            raise ConfigError(msg)
        self.parts = tuple(sources)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Rows that could not be used, by reason, of all sources."""
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(part.skipped)
        return total

    def market(self, slug: str) -> VenueMarket | None:
        """Return the market named `slug` of the source that has it."""
        found = (part.market(slug) for part in self.parts)
        return next((market for market in found if market is not None), None)

    def next_market(self, start: float) -> VenueMarket | None:
        """Return the earliest of what the sources have next."""
        found = [market for part in self.parts if (market := part.next_market(start))]
        return min(found, key=lambda market: market.start, default=None)

    def winner(self, market: VenueMarket) -> Outcome:
        """Return the outcome that pays, as its source says."""
        return self._of(market).winner(market)

    def events(self, market: VenueMarket, since_ms: int) -> Iterator[SourceEvent]:
        """Yield the market's events as its source does."""
        return self._of(market).events(market, since_ms)

    # ------------------------------------------------------------------ prices

    def _priced(self) -> list[PricedSource]:
        return [part for part in self.parts if isinstance(part, PricedSource)]

    @property
    def assets(self) -> tuple[str, ...]:
        """The assets whose prices a source knows, each once."""
        return tuple(dict.fromkeys(asset for part in self._priced() for asset in part.assets))

    def reference(self, asset: str, time_ms: int) -> int | None:
        """Return the price that the first source with this asset knows."""
        found = (part.reference(asset, time_ms) for part in self._priced())
        return next((units for units in found if units is not None), None)

    def decided_by(self, market: VenueMarket) -> tuple[int, int] | None:
        """Return the prices at start and end of `market`, as its own source knows them."""
        source = self._of(market)
        return source.decided_by(market) if isinstance(source, PricedSource) else None

    def _of(self, market: VenueMarket) -> MarketSource:
        for part in self.parts:
            if part.market(market.slug) is not None:
                return part
        msg = f"market: no source has {market.slug}"
        raise KeyError(msg)


def parts_of(source: MarketSource) -> tuple[MarketSource, ...]:
    """Return the sources that have markets one after the other: at one start there is one of each."""
    return source.parts if isinstance(source, SeveralSources) else (source,)


@runtime_checkable
class PricedSource(Protocol):
    """A source that also knows what the assets cost: the prices that decide its markets."""

    @property
    def assets(self) -> tuple[str, ...]:
        """The assets whose prices it knows, for example ``("btc",)``."""
        ...

    def reference(self, asset: str, time_ms: int) -> int | None:
        """Return the price of `asset` at that time in 1e-8 USD, ``None`` if it is not known."""
        ...

    def decided_by(self, market: VenueMarket) -> tuple[int, int] | None:
        """Return the price to beat and the final price in 1e-8 USD, ``None`` if not known."""
        ...
