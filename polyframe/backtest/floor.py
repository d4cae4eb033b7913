"""Between a tape and the paper venue: one market's rows go in, its books can be asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from polyframe.model.events import BookSnapshot, MarketMessage
from polyframe.model.market import Market
from polyframe.model.money import PRICE_UNITS
from polyframe.model.order import OrderRequest
from polyframe.model.stretch import Changes
from polyframe.paper.book import Backlog, shares
from polyframe.paper.core import PaperVenue
from polyframe.report.orders import OrderView
from polyframe.report.prices import PathWriter, PricePath, view_of


class VenueFloor:
    """Tells the paper venue the rows of one market, and others its books as they stand.

    Args:
        venue: The paper venue.
        market: The market, which the venue knows.
        on_change: Called when the venue has something to tell.
    """

    def __init__(self, venue: PaperVenue, market: Market, on_change: Callable[[], None]) -> None:
        self._venue = venue
        self._market = market
        self._slug = market.slug
        self._paper = venue.markets[market.slug]
        self._on_change = on_change
        self._prices = self._paper.book.watcher = PathWriter(self._paper.book, market.window)

    @property
    def path(self) -> PricePath:
        """How the prices moved so far."""
        self._paper.book.catch_up()
        return self._prices.path

    def on_message(self, message: MarketMessage, now_ms: int) -> None:
        """Take one message."""
        self._venue.on_message(self._slug, message, now_ms)
        if now_ms >= self._prices.next_ms:
            self._prices.look(now_ms)
        if self._venue.outbox:
            self._on_change()

    def begin_backlog(self, changes: Changes, begin: int) -> Backlog:
        """Return where rows wait that `may_wait` lets."""
        return self._paper.book.begin_backlog(changes, begin)

    def may_wait(self, changes: Changes, begin: int, end: int) -> int:
        """Return where the first message begins that is to be taken when it comes; or `end`.

        Most of them concern no order: they wait for whoever looks at the book next.
        """
        received, first_ms = changes.received, self._venue.schedule.first_ms
        if received[end - 1] >= first_ms:
            end = bisect_left(received, first_ms, begin, end)
        return self._paper.may_wait(changes, begin, end) if self._paper.book.is_known else begin

    def end_backlog(self) -> None:
        """Let go of the rows that waited: no more are to come."""
        self._paper.end_backlog()

    def on_gap(self, now_ms: int) -> None:
        """Nothing is known any more."""
        self._venue.on_gap(self._slug)
        self._prices.interrupt(now_ms)

    def view(self, request: OrderRequest) -> OrderView:
        """Return what the book shows to who decides on `request`, as it is there for us."""
        return view_of(self._paper.book, request)

    def snapshots(self) -> list[BookSnapshot]:
        """Return both books as they are, nothing while they are not known."""
        book = self._paper.book
        if not book.is_known:
            return []
        bids = [(price, shares(size)) for price, size in book.offers(True, 1)]
        asks = [(price, shares(size)) for price, size in book.offers(False, PRICE_UNITS - 1)]
        mirrored = [
            tuple((PRICE_UNITS - price, size) for price, size in side) for side in (asks, bids)
        ]
        market, tick = self._market, book.tick
        name, up, down = market.condition_id, market.up_token, market.down_token
        return [
            BookSnapshot(name, up, tuple(bids), tuple(asks), tick_units=tick),
            BookSnapshot(name, down, mirrored[0], mirrored[1], tick_units=tick),
        ]
