"""One market while somebody looks at it: replays the source into the book and publishes changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.order import Side
from polyframe.venue import messages
from polyframe.venue.hub import Hub
from polyframe.venue.matching import MakerFill, MatchingBook
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.sources import MarketSource
from polyframe.venue.tasks import TaskSet
from polyframe.venue.values import (
    Print,
    Snapshot,
    SourceEvent,
    VenueMarket,
    own_price,
    price_text,
    up_terms,
)

_FINE_TICK = 10
_FINE_ABOVE, _FINE_BELOW = 9_600, 400


class LiveMarket:
    """The book of one market, its tick and its last trade, kept up with the source.

    It sleeps until somebody subscribes, asks or trades, then starts with the source's latest
    snapshot and follows the source in the venue's time. When nobody wants it any more it sleeps
    again. Nothing moves after the end of the window.

    Args:
        market: The market.
        source: Where its events come from.
        clock: The venue's time.
        hub: Where changes are published.
        tasks: Owner of the replaying task.
        settings: How long a market may be quiet.
        stats: Where source events are counted.
        in_use: Whether own orders rest in it.
        on_fills: Takes the fills of own resting orders, and the print that caused them if one did.
    """

    def __init__(
        self,
        market: VenueMarket,
        source: MarketSource,
        clock: Clock,
        hub: Hub,
        tasks: TaskSet,
        settings: VenueSettings,
        stats: VenueStats,
        *,
        in_use: Callable[[VenueMarket], bool],
        on_fills: Callable[[LiveMarket, list[MakerFill], Print | None], None],
    ) -> None:
        self.market = market
        self.book = MatchingBook()
        self.tick = int(market.market.tick_size * PRICE_UNITS)
        self._last: tuple[Side, int] | None = None
        self._source = source
        self._clock = clock
        self._hub = hub
        self._tasks = tasks
        self._settings = settings
        self._stats = stats
        self._in_use = in_use
        self._on_fills = on_fills
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._time_ms = 0
        self._spoke = 0.0
        self._running = False

    # ------------------------------------------------------------------ replay

    def wake(self) -> None:
        """Catch up with the source and follow it from now on."""
        if self._running or self._clock.time() >= self.market.end:
            return
        self._running = True
        now_ms = int(self._clock.time() * 1000)
        events = self._source.events(self.market, now_ms)
        first = next(events, None)
        if first is not None and first.time_ms <= now_ms:
            self.apply(first)
        elif first is not None:
            events = _chain(first, events)
        self._spoke = self._clock.time()
        self._tasks.spawn(self._replay(events), f"venue-replay-{self.market.slug}")

    def retire(self) -> None:
        """Let go of the book of a market that is over."""
        self.book = MatchingBook()
        self._bids, self._asks = {}, {}

    async def _replay(self, events: Iterator[SourceEvent]) -> None:
        end = self.market.end
        try:
            for event in events:
                due = event.time_ms / 1000
                if due >= end:
                    break
                if not await self._follow_until(due):
                    return
                self.apply(event)
            await self._follow_until(end)
        finally:
            self._running = False

    async def _follow_until(self, due: float) -> bool:
        """Wait until `due`, sending the books whenever it is too quiet; false if nobody cares."""
        while True:
            await self._clock.sleep_until(min(due, self._spoke + self._settings.quiet))
            if not self._wanted():
                return False
            if (now := self._clock.time()) >= due:
                return True
            if now >= self._spoke + self._settings.quiet:
                self.publish(books=True)
                self._spoke = now

    def _wanted(self) -> bool:
        return self._hub.wants(self.market) or self._in_use(self.market)

    def apply(self, event: SourceEvent) -> None:
        """Take one event of the source: match, book the fills, publish."""
        self._stats.source_events += 1
        if isinstance(event, Print):
            side = Side.BUY if event.is_buy else Side.SELL
            fills = self.book.on_print(is_buy=event.is_buy, price=event.price, size=event.size)
            if fills:
                self._on_fills(self, fills, event)
            self.note_trade(Outcome.UP, side, event.price, event.size)
            self.publish(books=True)
            return
        fills = self.book.apply(event.bids, event.asks)
        refined = self._refine_tick(event)
        if fills:
            self._on_fills(self, fills, None)
        self.publish(books=refined or bool(fills))

    def _refine_tick(self, event: Snapshot) -> bool:
        """Make the tick fine near the edges, or when the source shows a finer price (§4.6)."""
        if self.tick == _FINE_TICK:
            return False
        near_edge = (
            max(event.bids, default=0) > _FINE_ABOVE or min(event.asks, default=5_000) < _FINE_BELOW
        )
        if not near_edge and not any(p % self.tick for p in (*event.bids, *event.asks)):
            return False
        return self.refine_tick()

    def refine_tick(self) -> bool:
        """Make the tick fine and tell; return whether it was coarse."""
        if self.tick == _FINE_TICK:
            return False
        old, self.tick = self.tick, _FINE_TICK
        for outcome in Outcome:
            message = messages.tick_size_change(self.market, outcome, old, self.tick, self.now_ms())
            self._hub.to_token(self.market.market.token(outcome), message)
        return True

    # ------------------------------------------------------------------ publishing

    def now_ms(self) -> int:
        """Return the venue's time in milliseconds; never goes back."""
        self._time_ms = max(self._time_ms, int(self._clock.time() * 1000))
        return self._time_ms

    def note_trade(self, outcome: Outcome, side: Side, price: int, size: int) -> None:
        """Remember and publish a trade; `price` in terms of the taker's `outcome`."""
        is_bid, up_price = up_terms(outcome, side, price)
        self._last = (Side.BUY if is_bid else Side.SELL), up_price
        message = messages.last_trade_price(
            self.market, outcome, side.value, price, size, self.now_ms()
        )
        self._hub.to_token(self.market.market.token(outcome), message)

    def last_trade(self, outcome: Outcome) -> tuple[str, str]:
        """Return price and taker side of the last trade in terms of `outcome`, empty before it."""
        if self._last is None:
            return "", ""
        side, price = self._last
        if outcome is Outcome.DOWN:
            side = Side.SELL if side is Side.BUY else Side.BUY
        return price_text(own_price(outcome, price)), side.value

    def publish(self, *, books: bool = False) -> None:
        """Publish what changed since the last time, and whole books too if asked for."""
        old_bids, old_asks = self._bids, self._asks
        self._bids, self._asks = self.book.bids(), self.book.asks()
        best_bid = max(self._bids, default=0)
        best_ask = min(self._asks, default=PRICE_UNITS)
        changes = [
            *((True, *change) for change in _difference(old_bids, self._bids)),
            *((False, *change) for change in _difference(old_asks, self._asks)),
        ]
        # What disappears goes first, so that the levels are not crossed in between.
        changes.sort(key=lambda change: change[2] > 0)
        if not self._hub.wants(self.market):
            return
        time_ms = self.now_ms()
        if changes:
            message = messages.price_change(
                self.market, changes, best_bid=best_bid, best_ask=best_ask, time_ms=time_ms
            )
            self._hub.to_market(self.market, message)
        if books:
            for outcome in Outcome:
                self._hub.to_token(self.market.market.token(outcome), self.book_message(outcome))
        if (best_bid, best_ask) != (
            max(old_bids, default=0),
            min(old_asks, default=PRICE_UNITS),
        ):
            for outcome in Outcome:
                top = messages.best_bid_ask(self.market, outcome, best_bid, best_ask, time_ms)
                self._hub.to_token(self.market.market.token(outcome), top, custom=True)
        if changes or books:
            self._spoke = self._clock.time()

    def book_message(self, outcome: Outcome) -> dict[str, Any]:
        """Return the ``book`` of one outcome as it is displayed."""
        return messages.book(
            self.market,
            outcome,
            self.book.bids(),
            self.book.asks(),
            tick=self.tick,
            last_trade=self.last_trade(outcome)[0],
            time_ms=self.now_ms(),
        )


def _chain(first: SourceEvent, rest: Iterator[SourceEvent]) -> Iterator[SourceEvent]:
    yield first
    yield from rest


def _difference(old: Mapping[int, int], new: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Yield price and new size of each level that differs; size 0 for one that is gone."""
    for price in old:
        if price not in new:
            yield price, 0
    for price, size in new.items():
        if old.get(price) != size:
            yield price, size
