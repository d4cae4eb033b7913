"""Polymarket as an `Exchange`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from attrs import Attribute, define, evolve, field, setters
from attrs.validators import optional

from polyframe.checks import a_time, expect, flag, instance, number
from polyframe.clock import Clock
from polyframe.counters import Counters
from polyframe.errors import ConfigError
from polyframe.exchange.base import (
    MAX_BATCH,
    CancelAnswer,
    DataStream,
    FrameTap,
    MarketSink,
    PlaceAnswer,
    PreparedOrder,
    ReferenceSink,
    UserSink,
)
from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.config import PolymarketHosts, StreamSettings
from polyframe.exchange.polymarket.orders import (
    check_confirmed,
    check_owner,
    signed_body,
    unsigned_body,
)
from polyframe.exchange.polymarket.pacing import RateLimits
from polyframe.exchange.polymarket.proxy import check_proxy, proxy_from_env, shown_proxy
from polyframe.exchange.polymarket.signing import LocalSigner, Signer
from polyframe.model.events import MarketMessage, OrderReport, TradeReport
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.order import OrderRequest, PlaceResult
from polyframe.model.reference import PriceRecord, PriceSource
from polyframe.model.series import Series, Window

if TYPE_CHECKING:
    from polyframe.exchange.polymarket.dataapi import DataClient
    from polyframe.exchange.polymarket.link import Link
    from polyframe.exchange.polymarket.marketdata import MarketDataClient
    from polyframe.exchange.polymarket.rest import RestClient
    from polyframe.exchange.polymarket.restcalls import Region

_log = logging.getLogger(__name__)

_MAX_HEARTBEAT = 5.0
"""The venue cancels after about ten seconds without one: one may be lost on the way."""


_heartbeat = optional(
    number(
        f"seconds above 0, at most {_MAX_HEARTBEAT:g}", lambda value: 0 < value <= _MAX_HEARTBEAT
    )
)


def _credentials(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, Credentials | None):
        # Whatever it is, it may be the secret.
        msg = f"{attribute.name}: expected Credentials(…), or None, got {type(value).__name__}"
        raise ConfigError(msg)


def _confirmation(value: Any) -> Any:
    return "" if value is None else value  # a variable that is not set is None


def _signer(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and (isinstance(value, type) or not hasattr(value, "maker")):
        msg = f"{attribute.name}: expected WalletSigner(…), or None, got {type(value).__name__}"
        raise ConfigError(msg)


class KeyHolder(Protocol):
    """An account of a local venue, as far as its client needs to know it."""

    @property
    def api_key(self) -> str:
        """The key's id."""
        ...

    @property
    def secret(self) -> str:
        """Url-safe base64; signs private calls."""
        ...

    @property
    def passphrase(self) -> str:
        """Sent along with private calls."""
        ...

    @property
    def address(self) -> str:
        """The account's address, ``0x…``."""
        ...


@define(eq=False)
class PolymarketExchange:
    """Polymarket, or a venue that speaks its protocol.

    Market data needs no credentials. At a venue on this machine orders are signed by `LocalSigner`,
    a stand-in without cryptography, unless another signer is given. Orders at any other venue move
    real money: they need a signer with a key and `confirm_live`; else `prepare_order` raises
    `ConfigError`.

    Attributes:
        hosts: Where the venue is.
        credentials: API key of the account, for everything but market data.
        signer: Whose funds orders move and who signs; at a venue on this machine `LocalSigner` of
            the credentials' address by default.
        confirm_live: Allows orders that move real money. It has to say whose:
            ``"real money of 0x…"`` with the address of the funds (the signer's maker).
        redeems: Whether winning shares turn into cash by themselves at this account.
        stream_settings: How streams are kept alive.
        request_timeout: Seconds for a whole REST request, and for the signature of an order.
        proxy: HTTP proxy of requests and streams, ``http://host:port``. By default the one that the
            environment variable ``POLYMARKET_PROXY`` names, if the venue is not on this machine.
        rate_limits: How fast the venue is asked; by default its own limits, and none at a venue on
            this machine.
        heartbeat: Seconds between two signs of life; ``None`` (the default) sends none. Once they
            have begun, the venue cancels all orders of the API key when they end: when the program
            dies or loses the network, and also when it closes (PROTOCOL §2.6). 5 is usual.

    Raises:
        ConfigError: Credentials and signer are of two different keys, or a heartbeat without
            credentials, or one that would always come too late.
    """

    # Whether real money moves follows from where the venue is, so that never changes afterwards.
    hosts: PolymarketHosts = field(factory=PolymarketHosts, on_setattr=setters.frozen)
    credentials: Credentials | None = field(default=None, validator=_credentials)
    signer: Signer | None = field(default=None, validator=_signer)
    redeems: bool = field(default=False, validator=flag)
    stream_settings: StreamSettings = field(
        factory=StreamSettings, validator=instance(StreamSettings)
    )
    request_timeout: float = field(default=10.0, validator=a_time)
    confirm_live: str = field(
        default="", kw_only=True, converter=_confirmation, validator=instance(str)
    )
    proxy: str | None = field(default=None, kw_only=True, validator=check_proxy, repr=shown_proxy)
    rate_limits: RateLimits | None = field(
        default=None, kw_only=True, validator=instance(RateLimits, or_none=True)
    )
    heartbeat: float | None = field(default=None, kw_only=True, validator=_heartbeat)
    name: str = field(init=False, default="polymarket")
    is_live: bool = field(init=False, on_setattr=setters.frozen)
    _link: Link | None = field(init=False, default=None, repr=False)

    @is_live.default
    def _is_live(self) -> bool:
        # The default is asked for before any validator runs.
        is_hosts = isinstance(self.hosts, PolymarketHosts)
        expect("hosts", self.hosts, "PolymarketHosts(…)", is_right=is_hosts)
        return not self.hosts.is_loopback

    def __attrs_post_init__(self) -> None:
        if self.credentials is not None and not self.is_live:
            self.signer = self.signer or LocalSigner(self.credentials.address)
        if self.credentials is not None and self.signer is not None:
            check_owner(self.signer, self.credentials)
        if self.heartbeat is not None and self.credentials is None:
            msg = "heartbeat: it needs credentials; leave it out for market data only"
            raise ConfigError(msg)

    @property
    def account_name(self) -> str:
        """Address of the account, ``""`` without credentials."""
        return "" if self.credentials is None else self.credentials.address

    @classmethod
    def local(cls, url: str, account: KeyHolder) -> PolymarketExchange:
        """Return a client of the local venue at `url` that trades on `account`.

        Raises:
            ConfigError: `url` is not on this machine.
        """
        hosts = PolymarketHosts.local(url)
        if not hosts.is_loopback:
            msg = f"url: expected a venue on this machine, got {url!r}"
            raise ConfigError(msg)
        credentials = Credentials(
            account.api_key, account.secret, account.passphrase, account.address
        )
        return cls(hosts, credentials, redeems=True)

    async def open(self, clock: Clock, counters: Counters) -> None:
        """Open the connection pool; no request is sent yet.

        Private requests are stamped with the venue's time, which is asked for before the first of
        them. A venue on this machine goes by our clock, whatever that is.

        Raises:
            ConfigError: The environment names a proxy that is none.
            RuntimeError: It is open already.
        """
        # Heavy, and of no use to who only imports names.
        from polyframe.exchange.polymarket.link import Link

        if self._link is not None:
            msg = "PolymarketExchange: open() was called twice"
            raise RuntimeError(msg)
        settings = self.stream_settings
        proxy = self.proxy or (proxy_from_env() if self.is_live else None)
        if proxy is not None:
            _log.info("requests and streams go through the proxy %s", shown_proxy(proxy))
            settings = evolve(settings, proxy=proxy)
        self._link = Link(self, clock, counters, settings, proxy)

    async def measure_clock(self) -> float:
        """Ask for the venue's time and return how many seconds it is ahead of ours.

        Every answer of the real venue corrects this further. At a venue on this machine it is told
        and not used.

        Raises:
            ExchangeError: The venue did not answer.
        """
        return await self._open_link.measure_clock()

    async def close(self) -> None:
        """Close the connection pool; streams are closed by who started them. Safe to repeat."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        """Return the market of `window`, ``None`` if it does not exist or cannot be traded yet."""
        return await self._client.fetch_market(series, window)

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Return how `market` ended, ``None`` if that is not final yet."""
        return await self._client.fetch_resolution(market)

    def market_stream(self, market: Market, sink: MarketSink) -> DataStream:
        """Return a fresh, not yet started stream of both tokens of `market`."""
        return self._open_link.market_stream(market, sink)

    def tapped_market_stream(self, market: Market, sink: MarketSink, tap: FrameTap) -> DataStream:
        """Return a stream like `market_stream` that shows each frame to `tap` before its sink."""
        return self._open_link.tapped_market_stream(market, sink, tap)

    def frame_decoder(self) -> Callable[[bytes], Sequence[MarketMessage]]:
        """Return what decodes frames that were kept.

        What is not understood is left out. It was counted when it came, so it is not counted again.
        """
        # Heavy, and of no use to who only imports names.
        from polyframe.exchange.polymarket.wire import Skips
        from polyframe.exchange.polymarket.wire_market import MarketDecoder

        return MarketDecoder(Skips(Counters())).decode

    def resolution_stream(self, market: Market, sink: MarketSink) -> DataStream:
        """Return a fresh, not yet started stream that tells when `market` is resolved."""
        return self._open_link.resolution_stream(market, sink)

    def reference_streams(
        self, wanted: Sequence[tuple[PriceSource, str]], sink: ReferenceSink
    ) -> list[DataStream]:
        """Return fresh, not yet started streams of the prices `wanted` (source and asset)."""
        return self._open_link.reference_streams(wanted, sink)

    async def fetch_price_record(self, series: Series, window: Window) -> PriceRecord:
        """Return what the venue has on record about one window, empty where it has nothing."""
        return await self._client.fetch_price_record(series, window)

    def user_stream(self, sink: UserSink) -> DataStream | None:
        """Return the account's stream, not yet started; ``None`` without credentials."""
        return self._open_link.user_stream(sink)

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        """Make an order of `request`, with its id; `place_order` signs and sends it.

        Raises:
            ConfigError: No credentials or no signer, or real money was not confirmed.
            ValueError: Price or size cannot be written as an order.
        """
        credentials, signer = self._trading_account()
        body = unsigned_body(
            market, request, signer, credentials.api_key, round(self._open_link.time() * 1000)
        )
        venue_id = signer.order_id(body["order"], neg_risk=market.neg_risk)
        return PreparedOrder(venue_id=venue_id, market=market, request=request, payload=body)

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Sign one order and send it, once. Never raises for what the venue says: the answer tells.

        An order that could not be signed in `request_timeout` seconds was not sent, and is refused
        with the code ``not_signed``.
        """
        body = await self._signed(prepared)
        if isinstance(body, PlaceAnswer):
            return body
        return await self._client.place_order(body, prepared.venue_id)

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        """Sign 1 to 15 orders and send them in one request, once; see `place_order`.

        Raises:
            ValueError: None, or more than the venue takes at once.
        """
        if not 1 <= len(prepared) <= MAX_BATCH:
            msg = f"prepared: expected 1 to {MAX_BATCH} orders, got {len(prepared)}; send them in parts"
            raise ValueError(msg)
        bodies = await asyncio.gather(*(self._signed(one) for one in prepared))
        sent = [
            (body, one.venue_id)
            for body, one in zip(bodies, prepared, strict=True)
            if not isinstance(body, PlaceAnswer)
        ]
        answers = iter(await self._client.place_orders(sent) if sent else ())
        return [body if isinstance(body, PlaceAnswer) else next(answers) for body in bodies]

    async def _signed(self, prepared: PreparedOrder) -> Mapping[str, Any] | PlaceAnswer:
        """Return the body to send, or the answer to an order that cannot be signed."""
        _, signer = self._trading_account()
        try:
            async with asyncio.timeout(self.request_timeout):
                return await signed_body(
                    prepared.payload, signer, neg_risk=prepared.market.neg_risk
                )
        except Exception as exc:  # noqa: BLE001 - a wallet may be another machine
            _log.exception("order %s could not be signed", prepared.venue_id)
            text = f"the signer failed ({type(exc).__name__}); nothing was sent"
            return PlaceAnswer(PlaceResult.REJECTED, "not_signed", text)

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel orders by the venue's id."""
        return await self._client.cancel_orders(venue_ids)

    async def cancel_market(self, market: Market) -> CancelAnswer:
        """Cancel all open orders of the account in one market, whoever placed them."""
        return await self._client.cancel_market(market.condition_id)

    async def cancel_all(self) -> CancelAnswer:
        """Cancel all open orders of the account, in all markets and of all programs."""
        return await self._client.cancel_all()

    async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
        """Return all open orders of the account (of one market), every page or an error."""
        return await self._client.fetch_open_orders(market)

    async def fetch_order(self, venue_id: str) -> OrderReport | None:
        """Return one order in whatever state, ``None`` if the venue does not know it."""
        return await self._client.fetch_order(venue_id)

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        """Return the account's trades (of one market, since epoch second `after`)."""
        return await self._client.fetch_trades(market, after)

    async def fetch_balance(self) -> Decimal:
        """Return the account's cash in USD."""
        return await self._client.fetch_balance(
            0 if self.signer is None else self.signer.signature_type
        )

    async def fetch_shares(self, market: Market, outcome: Outcome) -> Decimal:
        """Return how many shares of an outcome the account can sell, as the engine sees it."""
        signature_type = 0 if self.signer is None else self.signer.signature_type
        return await self._client.fetch_shares(market.token(outcome), signature_type)

    async def is_closed_only(self) -> bool:
        """Return whether the account may only reduce what it has."""
        return await self._client.is_closed_only()

    async def fetch_region(self) -> Region | None:
        """Return where the venue thinks that we are, ``None`` if it does not say."""
        return await self._client.fetch_region()

    async def list_markets(self, series: Series) -> list[Market]:
        """Return the markets of `series` that can be traded now, as the metadata lists them."""
        return await self._open_link.listing.markets(series)

    @property
    def market_data(self) -> MarketDataClient:
        """Public questions to the engine: books, prices, rules of a market."""
        return self._open_link.market_data

    @property
    def data_api(self) -> DataClient:
        """The venue's records of this account, for checks: they lag.

        Raises:
            ConfigError: No credentials: whose records?
        """
        if self.credentials is None:
            msg = "credentials: set them on PolymarketExchange to read the account's records"
            raise ConfigError(msg)
        user = self.credentials.address if self.signer is None else self.signer.maker
        return self._open_link.data_api(user)

    # -- parts --------------------------------------------------------------------------------

    @property
    def _open_link(self) -> Link:
        if self._link is None:
            raise RuntimeError(_NOT_OPEN)
        return self._link

    @property
    def _client(self) -> RestClient:
        return self._open_link.rest

    def _trading_account(self) -> tuple[Credentials, Signer]:
        """Return who trades.

        Raises:
            ConfigError: Nobody may.
        """
        if self.credentials is None:
            msg = "credentials: set them on PolymarketExchange to place orders"
            raise ConfigError(msg)
        if self.signer is None:
            msg = "signer: set a WalletSigner on PolymarketExchange to place orders at this venue"
            raise ConfigError(msg)
        if self.is_live:
            check_confirmed(self.signer, self.confirm_live)
        return self.credentials, self.signer


_NOT_OPEN = "PolymarketExchange: call open() first"
