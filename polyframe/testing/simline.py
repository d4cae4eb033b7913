"""What one process has of the venue: a line that can be cut in an instant."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from attrs import field, frozen

from polyframe.clock import Clock
from polyframe.counters import Counters
from polyframe.exchange.base import CancelAnswer, MarketSink, PlaceAnswer, PreparedOrder, UserSink
from polyframe.model.events import OrderReport, TradeReport
from polyframe.model.market import Market, Resolution
from polyframe.model.order import OrderRequest
from polyframe.model.series import Series, Window
from polyframe.model.trade import TradeStatus
from polyframe.testing.simstreams import SimMarketStream, SimUserStream
from polyframe.testing.simvalues import SimTrade
from polyframe.testing.simvenue import SimVenue

T = TypeVar("T")


@frozen
class SimCount:
    """What the venue's count of the cash contains.

    Attributes:
        moved: USD that each token had moved.
        next_trade: Number of the trade after it.
        time: When it was made, in market time.
    """

    moved: Mapping[str, Decimal] = field(factory=dict)
    next_trade: int = 0
    time: float = 0.0

    def contains(self, trade: SimTrade) -> bool:
        """Return whether the money of a trade is in it: one that had failed has moved none."""
        has_failed = trade.status is TradeStatus.FAILED and trade.settled is not None
        failed_before = has_failed and (trade.settled or 0.0) <= self.time
        return trade.number < self.next_trade and not failed_before


class SimLine:
    """The venue as one process sees it.

    A request runs in a task of the venue's: when the line is cut it arrives all the same, as one
    that had left already. Nothing comes back over a line that is cut, and nothing new leaves.

    Args:
        venue: The venue.
        clock: Its time.
        on_sent: Called when orders have left.
        on_answer: Called when the venue has answered a question.

    Attributes:
        is_cut: Whether the process is dead.
        count: What there was at the last answer to the question for the cash.
    """

    def __init__(
        self,
        venue: SimVenue,
        clock: Clock,
        on_sent: Callable[[], None],
        on_answer: Callable[[], None],
    ) -> None:
        self.name = venue.name
        self.account_name = venue.account_name
        self.is_live = venue.is_live
        self.redeems = venue.redeems
        self.is_cut = False
        self.count = SimCount()
        self._venue = venue
        self._clock = clock
        self._on_sent = on_sent
        self._on_answer = on_answer
        # The venue's own: what runs in it is no part of the process.
        self._outside = contextvars.copy_context()
        self._streams: list[SimMarketStream | SimUserStream] = []
        self._requests: set[asyncio.Task[Any]] = set()

    def cut(self) -> None:
        """End everything between the process and the venue."""
        self.is_cut = True
        for stream in self._streams:
            stream.cut()
        self._streams.clear()

    # ------------------------------------------------------------------ requests

    async def ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Let the venue answer something that is none of the questions below."""
        return await self._ask(question)

    async def _ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        self._check()
        task = asyncio.get_running_loop().create_task(question(), context=self._outside)
        self._requests.add(task)
        task.add_done_callback(self._answered)
        answer = await asyncio.shield(task)
        self._on_answer()
        self._check()
        return answer

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._requests.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked is told, if there still is somebody

    def _check(self) -> None:
        """End whoever uses a line that is cut: its process is dead.

        Raises:
            asyncio.CancelledError: It is.
        """
        if self.is_cut:
            raise asyncio.CancelledError

    async def open(self, clock: Clock, counters: Counters) -> None:
        """Take the clock."""
        self._check()
        await self._venue.open(clock, counters)

    async def close(self) -> None:
        """Do nothing: the venue goes on without the process."""

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        """Return the market of `window`, ``None`` while it is not to be traded."""
        return await self._ask(lambda: self._venue.fetch_market(series, window))

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Return how `market` ended, ``None`` until it is resolved."""
        return await self._ask(lambda: self._venue.fetch_resolution(market))

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Send one order."""
        (answer,) = await self._send([prepared], self._one)
        return answer

    async def _one(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        return [await self._venue.place_order(prepared[0])]

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        """Send several orders."""
        return await self._send(prepared, self._venue.place_orders)

    async def _send(
        self,
        prepared: Sequence[PreparedOrder],
        send: Callable[[Sequence[PreparedOrder]], Coroutine[Any, Any, list[PlaceAnswer]]],
    ) -> list[PlaceAnswer]:
        asyncio.get_running_loop().call_soon(self._on_sent)
        try:
            return await self._ask(lambda: send(prepared))
        except asyncio.CancelledError:
            prepared = ()  # whoever asked does not listen any more
            raise
        finally:
            for one in prepared:
                self._venue.tell(one.venue_id)

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel orders."""
        return await self._ask(lambda: self._venue.cancel_orders(venue_ids))

    async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
        """Return all open orders (of one market)."""
        return await self._ask(lambda: self._venue.fetch_open_orders(market))

    async def fetch_order(self, venue_id: str) -> OrderReport | None:
        """Return one order in whatever state, ``None`` if there is none."""
        return await self._ask(lambda: self._venue.fetch_order(venue_id))

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        """Return the account's trades (of one market, since epoch second `after`)."""
        return await self._ask(lambda: self._venue.fetch_trades(market, after))

    async def fetch_balance(self) -> Decimal:
        """Return the account's cash in USD."""

        async def count() -> Decimal:
            cash = await self._venue.fetch_balance()
            account, now = self._venue.account, self._clock.time()
            self.count = SimCount(dict(account.moved), next(account.numbers), now)
            return cash

        return await self._ask(count)

    # ------------------------------------------------------------------ the rest

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        """Give a request its id."""
        self._check()
        return self._venue.prepare_order(market, request)

    def market_stream(self, market: Market, sink: MarketSink) -> SimMarketStream:
        """Return a stream of `market`."""
        self._check()
        self._streams = [stream for stream in self._streams if not stream.closed]
        stream = self._venue.market_stream(market, sink)
        self._streams.append(stream)
        return stream

    def user_stream(self, sink: UserSink) -> SimUserStream:
        """Return the account's stream."""
        self._check()
        stream = self._venue.user_stream(sink)
        self._streams.append(stream)
        return stream
