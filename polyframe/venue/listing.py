"""Which markets the venue knows, and in which phase of its life each is (PROTOCOL §1.4, §1.5)."""

from __future__ import annotations

from collections import deque

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import VenueFaults
from polyframe.venue.settings import VenueSettings
from polyframe.venue.sources import MarketSource, parts_of
from polyframe.venue.values import VenueMarket

_LOOK_BACK = 90_000


class Listing:
    """The markets of a source as the venue shows them at the time of its clock.

    Args:
        source: Where the markets come from.
        clock: The venue's time.
        settings: When a market is minted, hydrated and resolved.
        faults: Which markets are late.
    """

    def __init__(
        self, source: MarketSource, clock: Clock, settings: VenueSettings, faults: VenueFaults
    ) -> None:
        self._faults = faults
        self._source = source
        self._clock = clock
        self._settings = settings
        self._hidden: dict[str, float | None] = {}
        self._conditions: dict[str, VenueMarket] = {}
        self._tokens: dict[str, tuple[VenueMarket, Outcome]] = {}
        self.parts = parts_of(source)
        """Sources of one series each, or one of all."""
        self._winners: dict[str, Outcome] = {}
        self._near: deque[VenueMarket] = deque()
        self._looked_to = [0.0] * len(self.parts)

    # ------------------------------------------------------------------ phases

    def minted_at(self, market: VenueMarket) -> float:
        """Return the epoch seconds from which the market exists."""
        return market.start - self._settings.mint_ahead

    def hydrated(self, market: VenueMarket) -> bool:
        """Return whether the CLOB knows the market and Gamma shows its token ids."""
        if self._clock.time() < self.minted_at(market) + self._settings.hydration:
            return False
        return self._faults.strike(VenueFault.MARKET_UNHYDRATED, slug=market.slug) is None

    def trading(self, market: VenueMarket) -> bool:
        """Return whether orders are taken."""
        if not self.hydrated(market):
            return False
        if self._clock.time() < market.end:
            return True
        return (
            self.winner(market) is None
            and self._faults.strike(VenueFault.CLOSE_LATE, slug=market.slug) is not None
        )

    def resolves_at(self, market: VenueMarket) -> float:
        """Return the epoch seconds at which the market is resolved."""
        return market.end + self._settings.resolve_after

    def resolved(self, market: VenueMarket) -> bool:
        """Return whether it is known who won; cheaper than to ask who did."""
        if self._clock.time() < self.resolves_at(market):
            return False
        return self._faults.strike(VenueFault.RESOLUTION_LATE, slug=market.slug) is None

    def winner(self, market: VenueMarket) -> Outcome | None:
        """Return who won, ``None`` before the resolution."""
        if not self.resolved(market):
            return None
        winner = self._winners.get(market.condition_id)
        if winner is None:
            winner = self._winners[market.condition_id] = self._source.winner(market)
        return winner

    # ------------------------------------------------------------------ finding

    def by_slug(self, slug: str) -> VenueMarket | None:
        """Return the market as Gamma finds it: minted, and not hidden."""
        if self._is_hidden(slug):
            return None
        if self._faults.strike(VenueFault.MARKET_HIDDEN, slug=slug):
            return None
        market = self._source.market(slug)
        if market is None or self._clock.time() < self.minted_at(market):
            return None
        self._register(market)
        return market

    def by_token(self, token: str) -> tuple[VenueMarket, Outcome] | None:
        """Return the market and outcome of a token that the CLOB knows."""
        if token not in self._tokens:
            self._look_around()
        found = self._tokens.get(token)
        return found if found and self.hydrated(found[0]) else None

    def pending(self, token: str) -> bool:
        """Return whether the token belongs to a market that is minted but not yet hydrated."""
        found = self._tokens.get(token)
        if found is None or self.hydrated(found[0]):
            return False
        return self._clock.time() >= self.minted_at(found[0])

    def by_condition(self, condition_id: str) -> VenueMarket | None:
        """Return the market of a condition id that the CLOB knows."""
        if condition_id not in self._conditions:
            self._look_around()
        market = self._conditions.get(condition_id)
        return market if market and self.hydrated(market) else None

    def by_row(self, row_id: str) -> VenueMarket | None:
        """Return the market with this number at Gamma, if it is near the present."""
        return next((market for market in self.known() if market.row_id == row_id), None)

    def known(self) -> list[VenueMarket]:
        """Return the markets that are minted and not older than a day, in order of their windows.

        Markets that Gamma hides are left out.
        """
        self._look_around()
        return [market for market in self._near if not self._is_hidden(market.slug)]

    def next_minted(self, part: MarketSource, after: float) -> VenueMarket | None:
        """Return the first market of `part` that is minted at epoch second `after` or later."""
        return part.next_market(after + self._settings.mint_ahead)

    def hide(self, slug: str, until: float | None) -> None:
        """Let Gamma not find `slug` until epoch second `until`, ``None`` for ever."""
        self._hidden[slug] = until

    def _is_hidden(self, slug: str) -> bool:
        if slug not in self._hidden:
            return False
        until = self._hidden[slug]
        return until is None or self._clock.time() < until

    def _look_around(self) -> None:
        """Learn the markets near the present: somebody may know a token from an earlier run.

        Each market is looked at once, however often somebody asks for what is not there.
        """
        now = self._clock.time()
        fresh: list[VenueMarket] = []
        for index, part in enumerate(self.parts):
            start = max(self._looked_to[index], now - _LOOK_BACK)
            while (market := part.next_market(start)) and self.minted_at(market) <= now:
                self._register(market)
                fresh.append(market)
                start = market.start + 1
            self._looked_to[index] = start
        self._near.extend(sorted(fresh, key=lambda market: market.start))
        while self._near and self._near[0].start < now - _LOOK_BACK:
            self._winners.pop(self._near.popleft().condition_id, None)

    def _register(self, market: VenueMarket) -> None:
        self._conditions[market.condition_id] = market
        for token, outcome in zip(market.tokens, (Outcome.UP, Outcome.DOWN), strict=True):
            self._tokens[token] = (market, outcome)
