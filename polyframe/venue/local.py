"""The local venue: Polymarket's protocol on loopback, over real HTTP and WebSocket."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute

from polyframe.clock import Clock
from polyframe.errors import ConfigError
from polyframe.model.exact import exactly
from polyframe.venue.account import VenueAccount
from polyframe.venue.accounts import Accounts
from polyframe.venue.admin import AdminApi
from polyframe.venue.blotter import Blotter
from polyframe.venue.bounds import Bounds
from polyframe.venue.clob_account import AccountApi
from polyframe.venue.clob_keys import KeysApi
from polyframe.venue.clob_markets import MarketsApi
from polyframe.venue.clob_public import PublicApi
from polyframe.venue.data_api import DataApi
from polyframe.venue.desk import Desk
from polyframe.venue.expiry import Expiry
from polyframe.venue.faultkinds import VenueFault, read_mode
from polyframe.venue.faults import VenueFaults
from polyframe.venue.floor import Floor
from polyframe.venue.gamma import GammaApi
from polyframe.venue.heartbeats import Heartbeats
from polyframe.venue.httpfaults import HttpFaults
from polyframe.venue.hub import Hub
from polyframe.venue.intents import Reader
from polyframe.venue.listing import Listing
from polyframe.venue.modes import VenueMode
from polyframe.venue.prices import PriceFeeds
from polyframe.venue.ratelimits import RateLimits
from polyframe.venue.relayer import RelayerApi
from polyframe.venue.rest import internal_error, unknown_path
from polyframe.venue.server import EmbeddedServer
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.signatures import Recovery
from polyframe.venue.sources import MarketSource, PricedSource
from polyframe.venue.tasks import TaskSet
from polyframe.venue.values import SHARE, size_shares

_DAY = 86_400


class LocalVenue:
    """A venue on this machine, for any number of accounts.

    It serves Gamma below ``{url}/gamma``, the CLOB below ``{url}/clob`` (the signed path is the one
    without that prefix), the WebSockets ``{ws_url}/ws/market`` and ``{ws_url}/ws/user``, and the
    reference prices at ``{ws_url}/rtds`` and ``{ws_url}/live/ws`` if the source has any. It runs in
    the event loop that opens it::

        async with LocalVenue(SyntheticSource("btc-updown-15m"), clock=ScaledClock(60)) as venue:
            print(venue.url)

    Its first account is there from the start, more come by `add_account`, or by themselves when a
    wallet asks for an API key. What differs from the real venue is listed in ``docs/venue.md``.

    Args:
        source: The markets.
        clock: The venue's time.
        settings: Behaviour.
        account: The first account, by default a random one with 1,000 USD.
        host: Address to bind, loopback unless `allow_remote`.
        port: Port to bind, 0 for any free one.
        allow_remote: Allow an address that other machines can reach.

    Raises:
        ConfigError: `host` is not a loopback address, or `port` is not a port.
    """

    def __init__(
        self,
        source: MarketSource,
        *,
        clock: Clock,
        settings: VenueSettings | None = None,
        account: VenueAccount | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_remote: bool = False,
    ) -> None:
        if not allow_remote and not _is_loopback(host):
            msg = (
                f"host: {host!r} can be reached by other machines; use 127.0.0.1, "
                "or allow it with allow_remote=True (--allow-remote)"
            )
            raise ConfigError(msg)
        if not 0 <= port <= 65_535:
            msg = f"port: expected 0 (any free port) to 65535, got {port!r}"
            raise ConfigError(msg)
        self.account = account or VenueAccount.random()
        self.settings = settings or VenueSettings()
        self.stats = VenueStats(skipped=source.skipped)
        self.admin_token = secrets.token_urlsafe(24)
        self._clock = clock
        self._host = host
        self._port = port
        self._tasks = TaskSet()
        recovery = Recovery()
        self._accounts = Accounts(clock, self.settings, recovery)
        self._accounts.add(self.account)
        self.faults = faults = VenueFaults()
        priced = source if isinstance(source, PricedSource) else None
        self._listing = Listing(source, clock, self.settings, faults)
        self._hub = Hub(self._accounts, self.settings, self.stats, faults)
        self._floor = Floor(
            source, self._listing, self._hub, clock, self._tasks, self.settings, self.stats, faults
        )
        self._blotter = Blotter(self._hub, clock, self._tasks, self.settings, self.stats, faults)
        self._desk = desk = Desk(
            Reader(self._accounts, recovery, self.settings.chain_id),
            self._accounts,
            self._blotter,
            self._listing,
            self._floor,
            Expiry(clock, self._tasks),
            clock,
            self.settings,
            self.stats,
            faults,
        )
        self._heartbeats = Heartbeats(desk.cancel_key, self._tasks, self.settings)
        self._prices = PriceFeeds(priced, clock, self._accounts, self.settings, self.stats, faults)
        self._relayer = RelayerApi(
            self._accounts,
            self._blotter,
            self._listing,
            self._floor,
            clock,
            self._tasks,
            self.settings,
            recovery,
        )
        rates = RateLimits(
            self.settings.rate_tier,
            enforced=self.settings.rate_enforced,
            seconds=time.monotonic,
            epoch=clock.time,
        )
        app = Starlette(
            routes=[
                *GammaApi(self._listing, clock, self.settings, priced).routes(),
                *PublicApi(self._listing, self._floor, clock).routes(),
                *MarketsApi(self._listing, self._floor, self.settings).routes(),
                *AccountApi(desk, self._blotter, self._accounts, rates).routes(),
                *KeysApi(self._accounts, self._hub, self._heartbeats, self._blotter).routes(),
                *DataApi(self._accounts, self._blotter, self._listing, self._floor, clock).routes(),
                *self._relayer.routes(),
                *AdminApi(self, self.settings).routes(),
                *self._prices.routes(),
                WebSocketRoute("/ws/market", self._hub.serve_market),
                WebSocketRoute("/ws/user", self._hub.serve_user),
            ],
            exception_handlers={HTTPException: unknown_path, Exception: internal_error},
        )
        served = HttpFaults(Bounds(app, self.settings), faults, self.stats)
        self._server = EmbeddedServer(served, host, port, self.settings)

    @property
    def url(self) -> str:
        """Where it serves HTTP, without a slash at the end; only while it is open."""
        return f"http://{self._address()}"

    @property
    def ws_url(self) -> str:
        """Where it serves WebSockets likewise."""
        return f"ws://{self._address()}"

    def _address(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    async def __aenter__(self) -> Self:
        with exactly():
            self._port = await self._server.start()
            self._floor.announce()
            self._tasks.spawn(self._pay_rebates(), "venue-rebates")
            self._tasks.spawn(self._prices.run(), "venue-prices")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections and tasks and free the port, in less than a second.

        Raises:
            BaseException: What a background task of the venue failed with, if one did.
        """
        try:
            await self._server.stop()
        finally:
            await self._tasks.close()

    # ------------------------------------------------------------------ accounts

    @property
    def accounts(self) -> list[VenueAccount]:
        """All accounts, in order of their arrival."""
        return list(self._accounts)

    def add_account(self, account: VenueAccount | None = None) -> VenueAccount:
        """Take a further account in, by default a random one with 1,000 USD, and return it.

        Raises:
            ConfigError: Its address, wallet or key is taken, or there are too many accounts.
        """
        account = account or VenueAccount.random()
        self._accounts.add(account)
        return account

    async def _pay_rebates(self) -> None:
        while True:
            await self._clock.sleep_until((self._clock.time() // _DAY + 1) * _DAY)
            self._blotter.pay_rebates(self._accounts)

    # ------------------------------------------------------------------ faults on request

    def drop_connections(self, kind: Literal["market", "user", "all"]) -> int:
        """Cut WebSockets off in mid-stream, without a closing handshake; return how many."""
        connections = self._hub.connections(kind)
        for connection in connections:
            connection.abort()
        return len(connections)

    def send_raw(self, kind: Literal["market", "user", "all"], text: str) -> int:
        """Send one text frame as it stands to all these WebSockets; return how many."""
        connections = self._hub.connections(kind)
        for connection in connections:
            connection.send(text)
        return len(connections)

    def fail_next(
        self,
        path_suffix: str,
        status: int,
        body: Any = "",
        *,
        headers: Mapping[str, str] | None = None,
        accept: bool = False,
    ) -> None:
        """Answer the next request whose path ends with `path_suffix` with an error.

        Several calls queue up, each for one request.

        Args:
            path_suffix: End of the path, for example ``"/order"``.
            status: HTTP status of the answer.
            body: Text as it stands, or a value to be sent as JSON.
            headers: Further headers, for example ``{"Retry-After": "1"}``.
            accept: Carry the request out first and lose its real answer.

        Raises:
            ConfigError: `status` is not an HTTP status.
        """
        self.faults.inject(
            VenueFault.REPLY_ERROR if accept else VenueFault.HTTP_ERROR,
            count=1,
            path=path_suffix,
            status=status,
            body=body,
            headers=headers or {},
        )

    def set_mode(self, mode: VenueMode | str, *, retry_after: int = 0) -> None:
        """Take less than everything from now on (PROTOCOL §2.7).

        Args:
            mode: A `VenueMode` or its value, for example ``"cancel-only"``.
            retry_after: Seconds that refusals name as the time to come back; 0 to say nothing.

        Raises:
            ConfigError: There is no such mode.
        """
        self._desk.turnstile.mode = read_mode("mode", mode)
        self._desk.turnstile.retry_after = retry_after

    def withdraw_order(self, order_id: str) -> bool:
        """End an open order as the venue does by itself: status INVALID (§5.3).

        Returns:
            Whether the order was open.
        """
        return self._desk.withdraw(order_id)

    def fill_order(self, order_id: str, shares: Decimal | None = None) -> Decimal:
        """Let a stranger take an open order, whatever stands before it in the queue.

        Args:
            order_id: The order.
            shares: How many, all that is open by default.

        Returns:
            The shares that were filled, 0 if the order does not rest.

        Raises:
            ConfigError: `shares` is not above 0.
        """
        size = None if shares is None else int(shares * SHARE)
        if size is not None and size <= 0:
            msg = f"shares: expected a number above 0, got {shares}"
            raise ConfigError(msg)
        return size_shares(self._desk.fill(order_id, size))

    def refine_tick(self, slug: str) -> bool:
        """Make the price step of a market fine, as the venue does near the edges (§4.6).

        Returns:
            Whether there is such a market and its step was coarse.
        """
        market = self._listing.by_slug(slug)
        return market is not None and self._floor.live(market).refine_tick()

    def hide_market(self, slug: str, until: float | None = None) -> None:
        """Let Gamma answer 404 for `slug` though it exists.

        Args:
            slug: The market.
            until: Epoch seconds of the venue's clock at which it appears, ``None`` for never.
        """
        self._listing.hide(slug, until)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
