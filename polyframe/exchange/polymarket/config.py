"""Where the venue is and how its streams are watched."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen

from polyframe.checks import count, number
from polyframe.errors import ConfigError
from polyframe.exchange.polymarket.proxy import check_proxy, shown_proxy


def _base_url(value: object) -> str:
    return str(value).rstrip("/")


def is_loopback(url: str) -> bool:
    """Return whether the host of `url` is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_url(plain: str, encrypted: str, url: str, name: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {plain, encrypted} or not parts.hostname:
        msg = f"{name}: expected a URL such as {encrypted}://host, got {url!r}"
        raise ConfigError(msg)
    if parts.query or parts.fragment or parts.username or parts.password:
        msg = f"{name}: expected scheme, host, port and path only; remove the rest"
        raise ConfigError(msg)
    try:
        _ = parts.port
    except ValueError as exc:
        msg = f"{name}: {exc}"
        raise ConfigError(msg) from exc
    if parts.scheme == plain and not is_loopback(url):
        msg = f"{name}: use {encrypted}:// for a host that is not this machine, got {url!r}"
        raise ConfigError(msg)


def _check_http(_: object, attribute: Attribute[str], value: str) -> None:
    _check_url("http", "https", value, attribute.name)


def _check_ws(_: object, attribute: Attribute[str], value: str) -> None:
    _check_url("ws", "wss", value, attribute.name)


@frozen
class PolymarketHosts:
    """Base URLs of the venue; the defaults are the real ones (PROTOCOL §0.3).

    Attributes:
        gamma: Metadata REST; ``/markets/slug/…`` is appended.
        clob: Trading REST; ``/order`` and the like are appended. L2 signatures cover the path after
            this base, so a base with a path of its own works.
        ws: WebSocket base; ``/ws/market`` and ``/ws/user`` are appended.
        rtds: WebSocket of the reference prices, without credentials.
        live: WebSocket base of the reference prices with credentials; ``/ws`` is appended.
        data: Records of positions and activity; ``/positions`` and the like are appended.
        site: The website, which alone knows whether a region is served; ``/api/geoblock`` is appended.

    Raises:
        ConfigError: Not a URL of that kind, or unencrypted to a host that is not this machine.
    """

    gamma: str = field(
        default="https://gamma-api.polymarket.com", converter=_base_url, validator=_check_http
    )
    clob: str = field(
        default="https://clob.polymarket.com", converter=_base_url, validator=_check_http
    )
    ws: str = field(
        default="wss://ws-subscriptions-clob.polymarket.com",
        converter=_base_url,
        validator=_check_ws,
    )
    rtds: str = field(
        default="wss://ws-live-data.polymarket.com", converter=_base_url, validator=_check_ws
    )
    live: str = field(
        default="wss://ws-live-v2.polymarket.com", converter=_base_url, validator=_check_ws
    )
    data: str = field(
        default="https://data-api.polymarket.com", converter=_base_url, validator=_check_http
    )
    site: str = field(default="https://polymarket.com", converter=_base_url, validator=_check_http)

    @classmethod
    def local(cls, url: str) -> PolymarketHosts:
        """Return the hosts of a venue that serves all of them below one `url`, as the local one."""
        base = _base_url(url)
        _check_url("http", "https", base, "url")
        sockets = f"ws{base.removeprefix('http')}"
        return cls(
            gamma=f"{base}/gamma",
            clob=f"{base}/clob",
            ws=sockets,
            rtds=f"{sockets}/rtds",
            live=f"{sockets}/live",
            data=f"{base}/data-api",
            site=f"{base}/site",
        )

    @property
    def is_loopback(self) -> bool:
        """Whether markets, orders and streams are on this machine; prices may be real ones."""
        return all(is_loopback(url) for url in (self.gamma, self.clob, self.ws))

    @property
    def live_is_trusted(self) -> bool:
        """Whether the host of `live` may see the credentials: it is no farther than the rest."""
        return is_loopback(self.live) or not self.is_loopback


_positive = number("a number of seconds above 0", lambda value: value > 0)


@frozen(kw_only=True)
class StreamSettings:
    """How streams are kept alive. All times are real seconds (the event loop's), not market time.

    Attributes:
        ping_interval: Between two text frames ``PING`` (PROTOCOL §4.2).
        silence: Without data of its market after which a market connection is given up. A ``PONG``
            is no data: the venue is known to answer pings on a connection that is frozen (§4.10).
        price_silence: Without a reference price after which their connection is given up; they come
            every second (§6.1).
        pong_timeout: Without ``PONG`` after which a user connection is given up; that channel is
            rightly silent when nothing happens.
        open_timeout: To connect.
        snapshot_timeout: To have the books of both tokens after subscribing.
        backoff_base: Longest pause before the second attempt to reconnect; the first is at once,
            from the third on it doubles. It starts over after a connection that brought data and
            lasted at least this long.
        backoff_cap: Longest pause of all.
        user_queue: Decoded user messages that may wait for delivery; more are dropped and counted.
        proxy: HTTP proxy of the streams; `PolymarketExchange.proxy` names it for all connections.
    """

    ping_interval: float = field(default=10.0, validator=_positive)
    silence: float = field(default=30.0, validator=_positive)
    price_silence: float = field(default=10.0, validator=_positive)
    pong_timeout: float = field(default=30.0, validator=_positive)
    open_timeout: float = field(default=10.0, validator=_positive)
    snapshot_timeout: float = field(default=10.0, validator=_positive)
    backoff_base: float = field(default=0.5, validator=_positive)
    backoff_cap: float = field(default=30.0, validator=_positive)
    user_queue: int = field(default=4096, validator=count())
    proxy: str | None = field(default=None, validator=check_proxy, repr=shown_proxy)
