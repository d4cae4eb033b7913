"""Requests and streams go through the proxy that is named, and through no other."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from polyframe.clock import ScaledClock, WallClock
from polyframe.counters import Counters
from polyframe.errors import ConfigError, ExchangeUnavailable
from polyframe.exchange.polymarket import (
    Credentials,
    PolymarketExchange,
    PolymarketHosts,
    StreamSettings,
)
from polyframe.exchange.polymarket.login import create_or_derive_credentials
from polyframe.exchange.polymarket.proxy import PROXY_VARIABLE
from polyframe.exchange.polymarket.wallet import PrivateKey, WalletSigner
from polyframe.model.events import BookSnapshot
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, PlaceResult, Side
from polyframe.model.series import Series, Window
from polyframe.venue import LocalVenue, SyntheticSource
from tests.exchange.kit import (
    API_KEY,
    DEVELOPMENT_KEY,
    MARKET,
    PASSPHRASE,
    SECRET,
    SERIES,
    WINDOW,
)
from tests.exchange.servers import WatchedSink, only_this_task

PASSWORD = "pa/ss:wörd"
ENCODED = "pa%2Fss%3Aw%C3%B6rd"
SIGNER = WalletSigner(PrivateKey(DEVELOPMENT_KEY))


class LocalProxy:
    """An HTTP proxy on loopback: tunnels, and forwards plain requests of one host.

    Attributes:
        password: Which it wants of the user ``me``; none by default.
        refuses: Whether it refuses every tunnel.
        lines: The first line of every request, and the host that it was for.
    """

    def __init__(self, *, password: str = "", refuses: bool = False) -> None:
        self.password = password
        self.refuses = refuses
        self.lines: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve; gives the address without user and password."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, _, rest = head.partition("\r\n")
            method, target, version = line.split()
            self.lines.append(f"{method} {target}")
            token = base64.b64encode(f"me:{self.password}".encode()).decode()
            if self.password and f"proxy-authorization: basic {token}".lower() not in rest.lower():
                writer.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
            elif self.refuses:
                writer.write(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
            else:
                parts = urlsplit(target if "//" in target else f"//{target}")
                peer_reader, peer = await asyncio.open_connection(parts.hostname, parts.port)
                if method == "CONNECT":
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    path = target.removeprefix(f"http://{parts.netloc}")
                    peer.write(f"{method} {path} {version}\r\nConnection: close\r\n{rest}".encode())
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(_pump(reader, peer))
                        both.create_task(_pump(peer_reader, writer))
                finally:
                    peer.close()
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    target.close()


async def _use(exchange: PolymarketExchange, series: Series, window: Window) -> None:
    """Ask once and stream until both books are there."""
    market = await exchange.fetch_market(series, window)
    assert market is not None
    sink = WatchedSink()
    stream = exchange.market_stream(market, sink)
    stream.start()
    await sink.until(lambda: sum(isinstance(m, BookSnapshot) for m in sink.messages) >= 2)
    await stream.close()


@pytest.mark.parametrize("password", ["", PASSWORD])
def test_requests_and_streams_go_through_the_proxy(
    password: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Both work through it, with its password, which never shows; nothing goes around it."""
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        clock, proxy = ScaledClock(4, start=WINDOW.start + 60), LocalProxy(password=password)
        source = SyntheticSource(SERIES, seed=7)
        async with LocalVenue(source, clock=clock) as venue, proxy.serving() as url:
            exchange = PolymarketExchange.local(venue.url, venue.account)
            exchange.proxy = url.replace("//", f"//me:{ENCODED}@") if password else url
            await exchange.open(clock, Counters())
            try:
                await _use(exchange, SERIES, WINDOW)
            finally:
                await exchange.close()
            host = urlsplit(venue.url).netloc
            assert f"GET {venue.url}/gamma/markets/slug/{SERIES.slug(WINDOW)}" in proxy.lines
            assert f"CONNECT {host}" in proxy.lines
            shown = repr(exchange) + repr(exchange.stream_settings) + caplog.text
            assert url in shown
            assert ENCODED not in shown
            assert PASSWORD not in shown
            assert only_this_task()

    asyncio.run(main())


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variable is meant for the real venue: a local one is reached directly, as ever."""

    async def main() -> None:
        clock, proxy = ScaledClock(4, start=WINDOW.start + 60), LocalProxy()
        source = SyntheticSource(SERIES, seed=7)
        async with LocalVenue(source, clock=clock) as venue, proxy.serving() as url:
            for name in (PROXY_VARIABLE, "HTTP_PROXY", "http_proxy", "ALL_PROXY", "ws_proxy"):
                monkeypatch.setenv(name, url)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            exchange = PolymarketExchange.local(venue.url, venue.account)
            await exchange.open(clock, Counters())
            try:
                await _use(exchange, SERIES, WINDOW)
            finally:
                await exchange.close()
            assert proxy.lines == []

    asyncio.run(main())


def _live(**settings: str) -> PolymarketExchange:
    return PolymarketExchange(
        PolymarketHosts(),
        Credentials(API_KEY, SECRET, PASSPHRASE, SIGNER.address),
        SIGNER,
        request_timeout=5,
        confirm_live=f"real money of {SIGNER.maker}",
        **settings,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("from_environment", [False, True])
def test_the_real_venue_is_asked_through_a_tunnel(
    from_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by the setting or the variable; a tunnel that is refused means that nothing was sent."""

    async def main() -> None:
        proxy = LocalProxy(refuses=True)
        async with proxy.serving() as url:
            if from_environment:
                monkeypatch.setenv(PROXY_VARIABLE, url)
            else:
                monkeypatch.setenv(PROXY_VARIABLE, "http://127.0.0.1:9")  # the setting goes first
            exchange = _live() if from_environment else _live(proxy=url)
            await exchange.open(WallClock(), Counters())
            try:
                with pytest.raises(ExchangeUnavailable, match="no connection"):
                    await exchange.fetch_market(SERIES, WINDOW)
                request = OrderRequest(Outcome.UP, Side.BUY, MARKET.tick_size, MARKET.min_size)
                prepared = exchange.prepare_order(MARKET, request)
                answer = await exchange.place_order(prepared)
                assert (answer.result, answer.code) == (PlaceResult.REJECTED, "not_sent")
                sink = WatchedSink()
                stream = exchange.market_stream(MARKET, sink)
                stream.start()
                await sink.until(lambda: bool(sink.states))
                await stream.close()
                with pytest.raises(ExchangeUnavailable, match="no connection"):
                    await create_or_derive_credentials(
                        SIGNER, timeout=5, proxy=None if from_environment else url
                    )
            finally:
                await exchange.close()
            assert {line.removesuffix(":443") for line in proxy.lines} == {
                "CONNECT gamma-api.polymarket.com",
                "CONNECT clob.polymarket.com",
                "CONNECT ws-subscriptions-clob.polymarket.com",
            }

    asyncio.run(main())


@pytest.mark.parametrize(
    "proxy",
    [
        "",
        "proxy:3128",
        "socks5://proxy:1080",
        "ftp://proxy",
        "http://",
        "http://proxy:0",
        "http://proxy:99999",
        "http://proxy/path",
        "http://proxy?x=1",
        "http://me@proxy:3128",
        "http://me:secret-word@pro xy",
        "http://me:secret-word@:1",
        "http://me:secret-wörd@proxy",
    ],
)
def test_what_is_no_proxy_is_refused_without_showing_it(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the setting or the variable; the value may hold a password."""
    shown = []
    for setting in (PolymarketExchange, StreamSettings):
        with pytest.raises(ConfigError, match=r"^proxy: ") as caught:
            setting(proxy=proxy)
        shown.append(str(caught.value))
    if proxy:
        monkeypatch.setenv(PROXY_VARIABLE, proxy)
        with pytest.raises(ConfigError, match=rf"^proxy: set {PROXY_VARIABLE}") as caught:
            asyncio.run(_live().open(WallClock(), Counters()))
        shown.append(str(caught.value))
    assert "secret" not in "".join(shown)
