"""What an open exchange object has: connections, calls, streams. Heavy, so loaded when it is opened."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polyframe.clock import Clock
from polyframe.counters import Counters
from polyframe.exchange.base import DataStream, FrameTap, MarketSink, ReferenceSink, UserSink
from polyframe.exchange.polymarket.config import StreamSettings
from polyframe.exchange.polymarket.dataapi import DataClient
from polyframe.exchange.polymarket.heartbeat import Heartbeat
from polyframe.exchange.polymarket.http import HttpClient
from polyframe.exchange.polymarket.listing import Listing
from polyframe.exchange.polymarket.market_stream import MarketStream
from polyframe.exchange.polymarket.marketdata import MarketDataClient
from polyframe.exchange.polymarket.pacing import Pacer, RateLimits
from polyframe.exchange.polymarket.reference_stream import reference_streams
from polyframe.exchange.polymarket.resolution_stream import ResolutionStream
from polyframe.exchange.polymarket.rest import RestClient
from polyframe.exchange.polymarket.serverclock import ServerClock
from polyframe.exchange.polymarket.tapped_stream import TappedMarketStream
from polyframe.exchange.polymarket.user_stream import UserStream
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.market import Market
from polyframe.model.reference import PriceSource

if TYPE_CHECKING:
    from polyframe.exchange.polymarket.exchange import PolymarketExchange

_log = logging.getLogger(__name__)


class Link:
    """The open side of a `PolymarketExchange`, from its `open` to its `close`.

    Args:
        exchange: Its settings.
        clock: Market time.
        counters: Where everything is counted.
        stream_settings: How streams are kept alive, with the proxy that holds.
        proxy: HTTP proxy of requests, ``None`` for none.

    Attributes:
        clock: Market time, ours.
        server_clock: The venue's time as far as it is known, ``None`` where ours is the venue's.
        rest: The calls.
        market_data: Public questions to the engine.
        listing: Lists of markets.
    """

    def __init__(
        self,
        exchange: PolymarketExchange,
        clock: Clock,
        counters: Counters,
        stream_settings: StreamSettings,
        proxy: str | None,
    ) -> None:
        self.clock, self._counters = clock, counters
        self._skips = Skips(counters)
        self._hosts, self._credentials = exchange.hosts, exchange.credentials
        self._stream_settings = stream_settings
        self._addresses = {exchange.credentials.address} if exchange.credentials else set()
        if exchange.signer is not None:
            self._addresses |= {exchange.signer.maker, exchange.signer.signer}
        limits = exchange.rate_limits or (RateLimits() if exchange.is_live else None)
        self.server_clock = ServerClock(clock, counters) if exchange.is_live else None
        self._http = HttpClient(
            clock,
            exchange.credentials,
            exchange.request_timeout,
            pacer=None if limits is None else Pacer(limits, counters),
            server_clock=self.server_clock,
            services={
                self._hosts.clob: "clob",
                self._hosts.gamma: "gamma",
                self._hosts.data: "data",
            },
            proxy=proxy,
        )
        self.rest = RestClient(
            self._http,
            self._hosts,
            self._user_decoder(),
            counters,
            self._skips,
            server_clock=self.server_clock,
        )
        self.market_data = MarketDataClient(self._http, self._hosts, self._skips)
        self.listing = Listing(self._http, self._hosts, clock, self._skips)
        self.heart: Heartbeat | None = None
        if exchange.heartbeat is not None:
            self.heart = Heartbeat(self.rest.send_heartbeat, exchange.heartbeat, counters)
            self.heart.start()

    async def close(self) -> None:
        """End the signs of life and close the pool; streams are closed by who started them."""
        if self.heart is not None:
            await self.heart.close()
        await self.rest.close()

    def time(self) -> float:
        """Return the venue's time as far as it is known, else ours."""
        return (self.server_clock or self.clock).time()

    async def measure_clock(self) -> float:
        """Return how many seconds the venue's clock is ahead of ours.

        Raises:
            ExchangeError: The venue did not answer.
        """
        measured = self.server_clock or ServerClock(self.clock, self._counters)
        await self.rest.measure_clock(measured)
        return measured.offset

    def data_api(self, user: str) -> DataClient:
        """Return a reader of the records of an address."""
        return DataClient(self._http, self._hosts, user, self._skips)

    # -- streams ------------------------------------------------------------------------------

    def market_stream(self, market: Market, sink: MarketSink) -> DataStream:
        """Return a fresh, not yet started stream of both tokens of `market`."""
        url, decoder = f"{self._hosts.ws}/ws/market", MarketDecoder(self._skips)
        return MarketStream(url, market, sink, decoder, self._stream_settings, self._counters)

    def tapped_market_stream(self, market: Market, sink: MarketSink, tap: FrameTap) -> DataStream:
        """Return the same, with somebody who takes each frame down as it came."""
        url, decoder = f"{self._hosts.ws}/ws/market", MarketDecoder(self._skips)
        return TappedMarketStream(
            url, market, sink, decoder, self._stream_settings, self._counters, tap=tap
        )

    def resolution_stream(self, market: Market, sink: MarketSink) -> DataStream:
        """Return a fresh, not yet started stream that tells when `market` is resolved."""
        url, decoder = f"{self._hosts.ws}/ws/market", MarketDecoder(self._skips)
        return ResolutionStream(url, market, sink, decoder, self._stream_settings, self._counters)

    def user_stream(self, sink: UserSink) -> DataStream | None:
        """Return the account's stream, not yet started; ``None`` without credentials."""
        decoder = self._user_decoder()
        if self._credentials is None or decoder is None:
            return None
        url, settings = f"{self._hosts.ws}/ws/user", self._stream_settings
        return UserStream(url, self._credentials, sink, decoder, settings, self._counters)

    def reference_streams(
        self, wanted: Sequence[tuple[PriceSource, str]], sink: ReferenceSink
    ) -> list[DataStream]:
        """Return fresh, not yet started streams of the prices `wanted`."""
        return reference_streams(
            self._hosts,
            self._credentials,
            wanted,
            sink,
            self._stream_settings,
            self._counters,
            self._skips,
        )

    def _user_decoder(self) -> UserDecoder | None:
        if self._credentials is None:
            return None
        return UserDecoder(self._skips, self._credentials.api_key, self._addresses)
