"""REST over real sockets: what became of a request that went wrong."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from polyframe.clock import WallClock
from polyframe.counters import Counters
from polyframe.errors import ExchangeUnavailable
from polyframe.exchange.base import PlaceAnswer
from polyframe.exchange.polymarket import PolymarketHosts
from polyframe.exchange.polymarket.http import CONNECTIONS, HEARTBEATS, HttpClient, NotSent
from polyframe.exchange.polymarket.rest import RestClient
from polyframe.exchange.polymarket.wire import Skips
from polyframe.model.order import PlaceResult
from tests.exchange.kit import CREDENTIALS

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _serving(peer: Peer) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def _place(url: str, timeout: float = 5) -> PlaceAnswer:
    counters = Counters()
    http = HttpClient(WallClock(), CREDENTIALS, timeout)
    rest = RestClient(http, PolymarketHosts.local(url), None, counters, Skips(counters))
    try:
        return await rest.place_order({"a": 1}, "0x1")
    finally:
        await rest.close()


def test_a_refused_connection_is_not_sent() -> None:
    """Nobody listens: the order does not exist."""

    async def main() -> None:
        async with _serving(_hang) as url:
            pass
        answer = await _place(url)
        assert (answer.result, answer.code) == (PlaceResult.REJECTED, "not_sent")

    asyncio.run(main())


async def _hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def _hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not reader.at_eof():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("peer", [_hang, _hang_up, _drip])
def test_a_request_without_an_answer_leaves_the_order_unknown(peer: Peer) -> None:
    """Hanging, hanging up, and answering for ever: the order may be live, and time is bounded."""

    async def main() -> None:
        async with _serving(peer) as url:
            begun = time.monotonic()
            answer = await _place(url, timeout=0.4)
            assert time.monotonic() - begun < 2
            assert (answer.result, answer.code) == (PlaceResult.UNKNOWN, "no_answer")

    asyncio.run(main())


@pytest.mark.parametrize("error", [ssl.SSLError("bad record mac"), OSError("gone")])
def test_an_error_below_http_leaves_the_order_unknown(error: OSError) -> None:
    """Some errors of TLS are no errors of HTTP; whoever cancels or asks must not fall over them."""

    async def fail(_: httpx.Request) -> httpx.Response:
        raise error

    async def main() -> None:
        counters = Counters()
        http = HttpClient(WallClock(), CREDENTIALS, 5, httpx.MockTransport(fail))
        hosts = PolymarketHosts.local("http://127.0.0.1:1")
        rest = RestClient(http, hosts, None, counters, Skips(counters))
        answer = await rest.place_order({"a": 1}, "0x1")
        assert (answer.result, answer.code) == (PlaceResult.UNKNOWN, "no_answer")
        with pytest.raises(ExchangeUnavailable, match="no answer"):
            await rest.cancel_orders(["0x1"])
        await rest.close()

    asyncio.run(main())


def test_what_ends_orders_waits_for_no_connection() -> None:
    """While orders hang on all connections, cancels and signs of life pass; one more order does not."""

    async def main() -> None:
        hanging, all_hang = 0, asyncio.Event()

        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal hanging
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST /order "):
                hanging += 1
                if hanging == CONNECTIONS:
                    all_hang.set()
                await reader.read()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            await writer.drain()

        client = HttpClient(WallClock(), CREDENTIALS, 3)
        async with _serving(peer) as url:
            orders = [
                asyncio.create_task(client.send("POST", url, "/order", body=b"{}"))
                for _ in range(CONNECTIONS)
            ]
            async with asyncio.timeout(5):
                await all_hang.wait()
            with pytest.raises(NotSent, match="no connection was free"):
                await client.send("POST", url, "/order", body=b"{}")
            for method, path in (("DELETE", "/order"), ("POST", HEARTBEATS)):
                answer = await client.send(method, url, path, body=b"{}", private=True)
                assert answer.is_success
            ends = await asyncio.gather(*orders, return_exceptions=True)
            assert {type(end) for end in ends} == {ExchangeUnavailable}
        await client.close()

    asyncio.run(main())


def test_a_read_that_gets_no_answer_is_unavailable() -> None:
    """Other calls raise: not sent and not answered are both "unavailable"."""

    async def main() -> None:
        client = HttpClient(WallClock(), CREDENTIALS, 0.3)
        async with _serving(_hang) as url:
            with pytest.raises(ExchangeUnavailable, match="no answer"):
                await client.json("GET", url, "/x")
        with pytest.raises(NotSent, match="no connection"):
            await client.json("GET", url, "/x")
        await client.close()

    asyncio.run(main())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders and secrets take the way that is configured, not one that the shell suggests."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1")
        await writer.drain()

    async def main() -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        client = HttpClient(WallClock(), CREDENTIALS, 5)
        async with _serving(answer) as url:
            assert await client.json("GET", url, "/x") == 1
        await client.close()

    asyncio.run(main())
