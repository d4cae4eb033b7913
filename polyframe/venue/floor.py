"""All markets that somebody looks at, from the first look to their resolution."""

from __future__ import annotations

from collections.abc import Callable

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.venue import messages
from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import VenueFaults
from polyframe.venue.hub import Hub, MarketConnection
from polyframe.venue.listing import Listing
from polyframe.venue.live import LiveMarket
from polyframe.venue.matching import MakerFill
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.sources import MarketSource
from polyframe.venue.tasks import TaskSet
from polyframe.venue.values import Print, Snapshot, VenueMarket, own_price

_MAX_POINTS = 1_500
"""Points of one history."""


class Floor:
    """Makes live markets on demand, announces new ones and resolves old ones.

    Args:
        source: Where the markets come from.
        listing: Which markets there are.
        hub: Where messages go.
        clock: The venue's time.
        tasks: Owner of the background tasks.
        settings: Behaviour.
        stats: Where things are counted.
        faults: Which resolutions are late, or not told.
    """

    def __init__(
        self,
        source: MarketSource,
        listing: Listing,
        hub: Hub,
        clock: Clock,
        tasks: TaskSet,
        settings: VenueSettings,
        stats: VenueStats,
        faults: VenueFaults,
    ) -> None:
        self._source = source
        self._listing = listing
        self._hub = hub
        self._clock = clock
        self._tasks = tasks
        self._settings = settings
        self._stats = stats
        self._faults = faults
        self._live: dict[str, LiveMarket] = {}
        self.in_use: Callable[[VenueMarket], bool] = lambda _: False
        """Tells whether own orders rest in a market."""
        self.on_fills: Callable[[LiveMarket, list[MakerFill], Print | None], None] | None = None
        """Takes fills of own resting orders."""
        self.on_resolved: Callable[[LiveMarket, Outcome], None] | None = None
        """Takes the end of a market."""
        hub.on_tokens = self._subscribe

    def live(self, market: VenueMarket) -> LiveMarket:
        """Return the market's book, awake and up to date."""
        live = self._live.get(market.condition_id)
        if live is None:
            live = self._live[market.condition_id] = LiveMarket(
                market,
                self._source,
                self._clock,
                self._hub,
                self._tasks,
                self._settings,
                self._stats,
                in_use=self.in_use,
                on_fills=self._fills,
            )
            if self._clock.time() < self._listing.resolves_at(market):
                self._tasks.spawn(self._resolve(live), f"venue-resolve-{market.slug}")
        live.wake()
        return live

    def tick(self, market: VenueMarket) -> int:
        """Return the market's tick in price units; a market that sleeps is not woken for it."""
        live = self._live.get(market.condition_id)
        return live.tick if live else int(market.market.tick_size * PRICE_UNITS)

    def price_at(self, market: VenueMarket, outcome: Outcome, seconds: int) -> int | None:
        """Return the midpoint that the source had then in price units, ``None`` before its first."""
        event = next(self._source.events(market, seconds * 1000), None)
        if not isinstance(event, Snapshot) or event.time_ms > seconds * 1000:
            return None
        bid, ask = max(event.bids, default=0), min(event.asks, default=PRICE_UNITS)
        return own_price(outcome, (bid + ask) // 2)

    def history(
        self, market: VenueMarket, outcome: Outcome, first: int, last: int, step: int
    ) -> list[tuple[int, float]]:
        """Return epoch seconds and midpoint in USD at each full `step` seconds in between.

        If there are too many, the latest are returned.
        """
        first = max(first, last - step * _MAX_POINTS)
        times = range(-(-first // step) * step, last + 1, step)
        found = [(at, self.price_at(market, outcome, at)) for at in times]
        return [(at, price / PRICE_UNITS) for at, price in found if price is not None]

    def _fills(self, live: LiveMarket, fills: list[MakerFill], trade: Print | None) -> None:
        if self.on_fills is not None:
            self.on_fills(live, fills, trade)

    def announce(self) -> None:
        """Send ``new_market`` for each market in the moment of its minting from now on (§4.8)."""
        for part in self._listing.parts:
            self._tasks.spawn(self._announce(part), "venue-announce")

    async def _announce(self, part: MarketSource) -> None:
        after = self._clock.time()
        while market := self._listing.next_minted(part, after):
            minted = self._listing.minted_at(market)
            await self._clock.sleep_until(minted)
            self._hub.to_custom(messages.new_market(market, int(self._clock.time() * 1000)))
            after = minted + 1

    async def _resolve(self, live: LiveMarket) -> None:
        market = live.market
        await self._clock.sleep_until(self._listing.resolves_at(market))
        while (late := self._faults.find(VenueFault.RESOLUTION_LATE, market.slug)) is not None:
            await late.wait_over()
        winner = self._source.winner(market)
        if self.on_resolved is not None:
            self.on_resolved(live, winner)
        untold = self._faults.strike(VenueFault.RESOLUTION_UNTOLD, slug=market.slug)
        if self._settings.tell_resolution and untold is None:
            message = messages.market_resolved(market, winner, live.now_ms())
            self._hub.to_market(market, message, custom=True)
        live.retire()

    def _subscribe(self, connection: MarketConnection, tokens: list[str], dump: bool) -> None:
        found = [entry for token in tokens if (entry := self._listing.by_token(token))]
        pictures = [self.live(market).book_message(outcome) for market, outcome in found]
        if dump:
            self._hub.to_one(connection, pictures)
