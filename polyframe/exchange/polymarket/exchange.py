"""Polymarket as an `Exchange`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from attrs import Attribute, define, field

from polyframe.clock import Clock
from polyframe.counters import Counters
from polyframe.errors import ConfigError
from polyframe.exchange.base import (
    MAX_BATCH,
    CancelAnswer,
    DataStream,
    MarketSink,
    PlaceAnswer,
    PreparedOrder,
    UserSink,
)
from polyframe.exchange.polymarket.amounts import limit_amounts
from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.config import PolymarketHosts, StreamSettings
from polyframe.exchange.polymarket.signing import LocalSigner, Signer
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.events import OrderReport, TradeReport
from polyframe.model.market import Market, Resolution
from polyframe.model.order import OrderRequest
from polyframe.model.series import Series, Window

if TYPE_CHECKING:
    from polyframe.exchange.polymarket.rest import RestClient

_ZERO_WORD = "0x" + "0" * 64


def _positive(_: object, attribute: Attribute[float], value: float) -> None:
    if not value > 0:
        msg = f"{attribute.name}: expected seconds above 0, got {value!r}"
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

    Market data needs no credentials. Orders work at a venue on this machine only: they are signed
    by `LocalSigner`, a stand-in without cryptography. Signing for the real venue is not included
    yet; there `prepare_order` raises `ConfigError`.

    Attributes:
        hosts: Where the venue is.
        credentials: API key of the account, for everything but market data.
        signer: Whose funds orders move; `LocalSigner` of the credentials' address by default.
        redeems: Whether winning shares turn into cash by themselves at this account.
        stream_settings: How streams are kept alive.
        request_timeout: Seconds for a whole REST request.
    """

    hosts: PolymarketHosts = field(factory=PolymarketHosts)
    credentials: Credentials | None = None
    signer: Signer | None = None
    redeems: bool = False
    stream_settings: StreamSettings = field(factory=StreamSettings)
    request_timeout: float = field(default=10.0, validator=_positive)
    name: str = field(init=False, default="polymarket")
    is_live: bool = field(init=False)
    _clock: Clock | None = field(init=False, default=None, repr=False)
    _counters: Counters | None = field(init=False, default=None, repr=False)
    _skips: Skips | None = field(init=False, default=None, repr=False)
    _rest: RestClient | None = field(init=False, default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        self.is_live = not self.hosts.is_loopback
        if self.signer is None and self.credentials is not None:
            self.signer = LocalSigner(self.credentials.address)

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
        """Open the connection pool. `clock` stamps signatures; no request is sent yet.

        Raises:
            RuntimeError: It is open already.
        """
        # Heavy, and of no use to who only imports names.
        from polyframe.exchange.polymarket import market_stream, user_stream  # noqa: F401
        from polyframe.exchange.polymarket.http import HttpClient
        from polyframe.exchange.polymarket.rest import RestClient

        if self._rest is not None:
            msg = "PolymarketExchange: open() was called twice"
            raise RuntimeError(msg)
        self._clock, self._counters, self._skips = clock, counters, Skips(counters)
        http = HttpClient(clock, self.credentials, self.request_timeout)
        self._rest = RestClient(http, self.hosts, self._user_decoder(), counters, self._skips)

    async def close(self) -> None:
        """Close the connection pool; streams are closed by who started them. Safe to repeat."""
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest.close()

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        """Return the market of `window`, ``None`` if it does not exist or cannot be traded yet."""
        return await self._client.fetch_market(series, window)

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Return how `market` ended, ``None`` if that is not final yet."""
        return await self._client.fetch_resolution(market)

    def market_stream(self, market: Market, sink: MarketSink) -> DataStream:
        """Return a fresh, not yet started stream of both tokens of `market`."""
        from polyframe.exchange.polymarket.market_stream import MarketStream

        counters, skips = self._accounts
        return MarketStream(
            f"{self.hosts.ws}/ws/market",
            market,
            sink,
            MarketDecoder(skips),
            self.stream_settings,
            counters,
        )

    def user_stream(self, sink: UserSink) -> DataStream | None:
        """Return the account's stream, not yet started; ``None`` without credentials."""
        from polyframe.exchange.polymarket.user_stream import UserStream

        counters, _ = self._accounts
        decoder = self._user_decoder()
        if self.credentials is None or decoder is None:
            return None
        return UserStream(
            f"{self.hosts.ws}/ws/user",
            self.credentials,
            sink,
            decoder,
            self.stream_settings,
            counters,
        )

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        """Sign `request`; sends nothing.

        The price is checked against the venue's finest step only: the tick of the moment is known
        to the caller, and `market` may be older than the last change of it.

        Raises:
            ConfigError: No credentials, or the venue is not on this machine.
            ValueError: Price or size cannot be written as an order.
        """
        if self.is_live:
            msg = (
                "hosts: signing orders for the real venue is not included yet (market data works); "
                "use a venue on this machine, PolymarketHosts.local(url)"
            )
            raise ConfigError(msg)
        if self.credentials is None or self.signer is None:
            msg = "credentials: set them on PolymarketExchange to place orders"
            raise ConfigError(msg)
        maker_amount, taker_amount = limit_amounts(request.side, request.price, request.size)
        order: dict[str, Any] = {
            "salt": secrets.randbits(53),
            "maker": self.signer.maker,
            "signer": self.signer.signer,
            "tokenId": market.token(request.outcome),
            "makerAmount": str(maker_amount),
            "takerAmount": str(taker_amount),
            "side": request.side.value,
            "signatureType": self.signer.signature_type,
            "timestamp": str(round(self._time() * 1000)),
            "metadata": _ZERO_WORD,
            "builder": _ZERO_WORD,
        }
        venue_id, signature = self.signer.sign(order)
        body = {
            "deferExec": False,
            "order": order | {"expiration": "0", "signature": signature},
            "orderType": request.order_type.value,
            "owner": self.credentials.api_key,
            "postOnly": request.post_only,
        }
        return PreparedOrder(venue_id=venue_id, market=market, request=request, payload=body)

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Send one order, once. Never raises for what the venue says: the answer tells."""
        return await self._client.place_order(prepared.payload, prepared.venue_id)

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        """Send 1 to 15 orders in one request, once; return the answers in the same order.

        Raises:
            ValueError: None, or more than the venue takes at once.
        """
        if not 1 <= len(prepared) <= MAX_BATCH:
            msg = f"prepared: expected 1 to {MAX_BATCH} orders, got {len(prepared)}; send them in parts"
            raise ValueError(msg)
        return await self._client.place_orders(
            [(one.payload, one.venue_id) for one in prepared]
        )

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel orders by the venue's id."""
        return await self._client.cancel_orders(venue_ids)

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

    # -- parts --------------------------------------------------------------------------------

    @property
    def _client(self) -> RestClient:
        if self._rest is None:
            raise RuntimeError(_NOT_OPEN)
        return self._rest

    @property
    def _accounts(self) -> tuple[Counters, Skips]:
        if self._counters is None or self._skips is None:
            raise RuntimeError(_NOT_OPEN)
        return self._counters, self._skips

    def _time(self) -> float:
        if self._clock is None:
            raise RuntimeError(_NOT_OPEN)
        return self._clock.time()

    def _user_decoder(self) -> UserDecoder | None:
        _, skips = self._accounts
        if self.credentials is None or self.signer is None:
            return None
        addresses = {self.credentials.address, self.signer.maker, self.signer.signer}
        return UserDecoder(skips, self.credentials.api_key, addresses)


_NOT_OPEN = "PolymarketExchange: call open() first"
