"""The server survives what it is sent, and what clients do to it costs little."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from polyframe.venue.clob_public import PublicApi
from tests.venue.support import PATIENCE, Client, Feed, open_venue, run, until

INVALID = {"error": "Invalid order payload"}
NESTED = "[" * 100_000


@contextlib.asynccontextmanager
async def raw(
    client: Client,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a bare connection to the venue."""
    host, port = client.venue.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what the venue sends until it ends the connection."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def is_alive(client: Client) -> bool:
    """Return whether the venue answers and takes orders."""
    assert (await client.clob("/ok")).json() == "OK"
    answer = await client.place("BUY", "0.40", "5")
    return bool(answer["status"] == "live")


# ------------------------------------------------------------------ bodies


def test_a_body_that_is_too_large_is_refused() -> None:
    """By its declared length before it is read, and by what comes when nothing is declared."""

    async def test() -> None:
        async with open_venue(max_body=10_000) as client:
            url = f"{client.venue.url}/clob/books"
            answer = await client.http.post(url, content=b"x" * 10_001)
            assert (answer.status_code, answer.json()) == (413, {"error": "Payload Too Large"})

            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(11):
                    yield b"x" * 1_000

            answer = await client.http.post(url, content=chunks())
            assert answer.status_code == 413
            answer = await client.http.post(url, content=b" " * 9_000 + b"[]")
            assert (answer.status_code, answer.json()) == (200, [])
            assert await is_alive(client)

    run(test)


def test_a_body_that_does_not_come_is_given_up() -> None:
    """After `body_timeout`, with an answer."""

    async def test() -> None:
        async with open_venue(body_timeout=0.05) as client, raw(client) as (reader, writer):
            writer.write(b"POST /clob/books HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n[")
            text = await ended(reader)
            assert text.startswith(b"HTTP/1.1 408 ")
            assert b'{"error": "Request Timeout"}' in text
            assert await is_alive(client)

    run(test)


@pytest.mark.parametrize(
    "start", [b"", b"GET /clob/ok HTT", b"GET /clob/ok HTTP/1.1\r\nhost: x\r\n"]
)
def test_a_head_that_does_not_come_is_given_up(start: bytes) -> None:
    """A connection that says nothing, or not enough, ends after `header_timeout`."""

    async def test() -> None:
        async with open_venue(header_timeout=0.05) as client, raw(client) as (reader, writer):
            writer.write(start)
            assert await ended(reader) == b""
            assert await is_alive(client)

    run(test)


def test_patience_begins_anew_with_each_request() -> None:
    """A kept connection may be idle, but a second head must come as quickly as the first."""

    async def test() -> None:
        async with open_venue(header_timeout=0.1) as client, raw(client) as (reader, writer):
            request = b"GET /clob/ok HTTP/1.1\r\nhost: x\r\n\r\n"
            for _ in range(2):
                writer.write(request)
                async with asyncio.timeout(PATIENCE):
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200 ")
                    assert await reader.readexactly(4) == b'"OK"'
            writer.write(request[:-2])
            assert await ended(reader) == b""

    run(test)


def test_slow_requests_and_open_websockets_are_not_cut_off() -> None:
    """The head's time-out ends with the head: a held order and a WebSocket live on."""

    async def test() -> None:
        async with (
            open_venue(header_timeout=0.05, taker_delay=0.5) as client,
            client.market_feed() as feed,
        ):
            await feed.next()
            body = client.order("BUY", "0.52", "10")
            sent = asyncio.create_task(client.signed("POST", "/order", body))
            await until(lambda: bool(client.venue._desk._held))
            _, idle = await asyncio.wait({sent}, timeout=0.15)
            assert idle
            await client.clock.advance(0.5)
            assert (await sent).json()["status"] == "matched"
            assert await feed.rest()

    run(test)


@pytest.mark.parametrize(
    "text",
    [
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /clob/order HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /clob/order HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /clob/ok HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_answered_or_dropped(text: bytes) -> None:
    """Broken requests end their own connection and nothing else."""

    async def test() -> None:
        async with (
            open_venue(header_timeout=0.1, body_timeout=0.1) as client,
            raw(client) as (reader, writer),
        ):
            writer.write(text)
            answer = await ended(reader)
            assert answer == b"" or answer.split(b" ")[1] in {b"400", b"408"}
            assert b"Traceback" not in answer
            assert await is_alive(client)

    run(test)


def test_there_is_an_end_to_connections() -> None:
    """Beyond the limit a connection is dropped; when one has left there is room again."""

    async def test() -> None:
        async with open_venue(max_connections=3) as client:
            assert (await client.clob("/ok")).json() == "OK"
            async with raw(client), raw(client):
                await until(lambda: len(client.venue._server._server.server_state.connections) == 3)  # type: ignore[union-attr]
                async with raw(client) as (reader, writer):
                    writer.write(b"GET /clob/ok HTTP/1.1\r\nhost: x\r\n\r\n")
                    assert await ended(reader) == b""
            async with asyncio.timeout(PATIENCE):
                while True:
                    async with raw(client) as (reader, writer):
                        request = b"GET /clob/ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
                        with contextlib.suppress(ConnectionError):
                            writer.write(request)
                            if await ended(reader):
                                break

    run(test)


# ------------------------------------------------------------------ answers


def test_a_client_never_sees_what_went_wrong_inside(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure of the venue itself is a plain 500; the traceback is in the log."""

    def fail(*_: Any) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(PublicApi, "_find", fail)

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.clob("/book", token_id=client.up)
            assert (answer.status_code, answer.json()) == (500, {"error": "Internal server error"})
            assert await is_alive(client)

    with caplog.at_level(logging.ERROR):
        run(test)
    assert any("secret of the house" in str(record.exc_info) for record in caplog.records)


def test_unknown_paths_and_methods_are_json() -> None:
    """404 and 405 in the shape of all other errors."""

    async def test() -> None:
        async with open_venue() as client:
            for path in ("/nothing", "/clob/nothing", "/gamma/nothing", "/data-api/nothing"):
                answer = await client.http.get(client.venue.url + path)
                assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
            answer = await client.http.put(f"{client.venue.url}/clob/order")
            assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})

    run(test)


# ------------------------------------------------------------------ anything

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["order", "owner", "orderType", "token_id", "side", "market", "asset_id"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
BODIES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())
POSTS = [
    ("POST", "/order"),
    ("POST", "/orders"),
    ("DELETE", "/order"),
    ("DELETE", "/orders"),
    ("DELETE", "/cancel-market-orders"),
    ("POST", "/v1/heartbeats"),
    ("POST", "/orders-scoring"),
    ("POST", "/books"),
    ("POST", "/prices"),
    ("POST", "/midpoints"),
    ("POST", "/spreads"),
    ("POST", "/last-trades-prices"),
]
FIELDS = [
    *("salt", "maker", "signer", "tokenId", "makerAmount", "takerAmount", "side", "signatureType"),
    *("timestamp", "metadata", "builder", "expiration", "signature"),
    *("owner", "orderType", "postOnly", "order"),
]
FUZZ = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(st.lists(st.tuples(st.sampled_from(POSTS), BODIES), min_size=10, max_size=30))
@FUZZ
def test_no_body_makes_the_venue_fail(requests: list[tuple[tuple[str, str], bytes]]) -> None:
    """Rightly signed nonsense of any kind gets an answer below 500, in JSON."""

    async def test() -> None:
        async with open_venue() as client:
            for (method, path), body in requests:
                text = body.decode("utf-8", "replace")
                answer = await client.http.request(
                    method,
                    f"{client.venue.url}/clob{path}",
                    content=body,
                    headers=client.headers(method, path, text),
                )
                assert answer.status_code < 500, (method, path, body)
                answer.json()
            assert await is_alive(client)

    run(test)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(FIELDS),
            JSON,
        ),
        min_size=10,
        max_size=30,
    )
)
@FUZZ
def test_no_field_of_an_order_makes_the_venue_fail(changes: list[tuple[str, Any]]) -> None:
    """An order with anything in one of its fields is refused, or taken if it still is one."""

    async def test() -> None:
        async with open_venue() as client:
            for name, value in changes:
                body = client.order("BUY", "0.40", "5")
                (body if name in body else body["order"])[name] = value
                answer = await client.signed("POST", "/order", body)
                assert answer.status_code in {200, 400}, (name, value)
            assert await is_alive(client)

    run(test)


@given(st.lists(st.text(max_size=40) | JSON.map(json.dumps) | st.binary(max_size=20), max_size=25))
@FUZZ
def test_no_frame_makes_the_venue_fail(frames: list[str | bytes]) -> None:
    """Both channels take any frame: ignored, or the connection is closed."""

    async def test() -> None:
        async with open_venue() as client:
            for path in ("market", "user"):
                async with connect(f"{client.venue.ws_url}/ws/{path}") as socket:
                    with contextlib.suppress(ConnectionClosed):
                        for frame in frames:
                            await socket.send(frame)
                        if path == "market":
                            await Feed(socket).ping()
            async with client.market_feed() as feed:
                assert [book["event_type"] for book in await feed.next()] == ["book", "book"]
            assert await is_alive(client)

    run(test)


GETS = [
    *("/clob/book", "/clob/price", "/clob/midpoint", "/clob/spread", "/clob/last-trade-price"),
    *("/clob/tick-size", "/clob/neg-risk", "/clob/fee-rate", "/clob/prices-history"),
    *("/clob/markets", "/clob/simplified-markets", "/clob/data/orders", "/clob/data/trades"),
    *("/clob/balance-allowance", "/clob/order-scoring", "/clob/auth/api-keys"),
    *("/gamma/markets", "/gamma/events", "/gamma/markets/keyset", "/gamma/series"),
    *("/gamma/public-search", "/data-api/positions", "/data-api/trades", "/data-api/activity"),
    *("/data-api/value", "/data-api/v2/positions", "/data-api/v2/trades"),
    *("/data-api/v2/activity", "/data-api/v2/resolutions", "/data-api/closed-positions"),
]
NAMES = [
    *("token_id", "side", "market", "asset_id", "id", "next_cursor", "before", "after", "limit"),
    *("startTs", "endTs", "fidelity", "asset_type", "order_id", "slug", "closed", "offset", "q"),
    *("after_cursor", "condition_ids", "clob_token_ids", "series_id", "tag_slug", "user", "start"),
    *(
        "end",
        "sizeThreshold",
        "takerOnly",
        "type",
        "status",
        "cursor",
        "condition_id",
        "redeemable",
    ),
]
VALUES = st.one_of(
    st.text(max_size=12),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(
        ["", "0", "1e9", "NaN", "Infinity", "-1", "true", "LTE=", "MA==", "%00", "0x", "BUY", "1.5"]
    ),
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(GETS), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
        ),
        min_size=10,
        max_size=40,
    ),
    st.booleans(),
)
@FUZZ
def test_no_query_makes_the_venue_fail(
    requests: list[tuple[str, dict[str, str]]], real: bool
) -> None:
    """Whatever is asked, also about what exists, the answer is JSON and no failure."""

    async def test() -> None:
        async with open_venue() as client:
            for path, query in requests:
                if real:
                    query = {
                        **query,
                        "user": client.account.address,
                        "token_id": client.up,
                        "market": client.up,
                        "asset_type": "CONDITIONAL",
                    }
                url = client.venue.url + path
                headers = client.headers("GET", path.removeprefix("/clob"))
                answer = await client.http.get(url, params=query, headers=headers)
                assert answer.status_code < 500, (path, query)
                answer.json()
            assert await is_alive(client)

    run(test)


@pytest.mark.parametrize("path", ["/clob/order", "/clob/books"])
def test_brackets_without_end_are_an_invalid_payload(path: str) -> None:
    """Deep nesting is refused, not followed."""

    async def test() -> None:
        async with open_venue() as client:
            signed = client.headers("POST", "/order", NESTED)
            answer = await client.http.post(
                client.venue.url + path, content=NESTED.encode(), headers=signed
            )
            assert (answer.status_code, answer.json()) == (400, INVALID)
            async with connect(f"{client.venue.ws_url}/ws/market") as socket:
                await socket.send(NESTED)
                await Feed(socket).ping()

    run(test)


def test_half_characters_are_not_sent_back() -> None:
    """A text that is no Unicode is refused where it would be part of the answer."""

    async def test() -> None:
        async with open_venue() as client:
            for method, path, body in (
                ("POST", "/orders-scoring", b'["\\ud800"]'),
                ("DELETE", "/orders", b'["\\ud800"]'),
                ("POST", "/prices", b'[{"token_id":"\\ud800"}]'),
                ("DELETE", "/cancel-market-orders", b'{"market":"\\ud800"}'),
            ):
                headers = client.headers(method, path, body.decode())
                url = f"{client.venue.url}/clob{path}"
                answer = await client.http.request(method, url, content=body, headers=headers)
                assert answer.status_code < 500, path

    run(test)


# ------------------------------------------------------------------ WebSockets


def test_a_frame_that_is_too_large_ends_its_connection() -> None:
    """With the code for it; others go on."""

    async def test() -> None:
        async with open_venue(max_body=1_000) as client, client.market_feed() as other:
            await other.next()
            async with connect(f"{client.venue.ws_url}/ws/market") as socket:
                with pytest.raises(ConnectionClosed) as caught:
                    await socket.send("x" * 1_001)
                    await socket.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1009
            await other.ping()

    run(test)


def test_subscriptions_are_bounded() -> None:
    """Tokens and markets beyond the limit are ignored; above 500 tokens there are no pictures."""

    async def test() -> None:
        async with open_venue(max_subscriptions=600) as client, client.market_feed() as feed:
            await feed.next()
            (connection,) = client.venue._hub._market
            await feed.send({"operation": "subscribe", "assets_ids": [str(n) for n in range(497)]})
            assert await feed.next() == []
            await feed.send({"operation": "subscribe", "assets_ids": [f"9{n}" for n in range(500)]})
            assert await feed.rest() == []
            assert len(connection.tokens) == 600
        async with (
            open_venue(max_subscriptions=2) as client,
            client.user_feed(markets=["a"]) as feed,
        ):
            await feed.send({"operation": "subscribe", "markets": ["b", "c"]})
            await feed.send({"operation": "subscribe", "markets": ["b"]})
            await feed.ping()
            (user,) = client.venue._hub._user
            assert user.markets == {"a", "b"}

    run(test)


def test_asking_for_what_is_not_there_is_cheap() -> None:
    """Unknown tokens do not make the venue look through its markets each time."""

    async def test() -> None:
        async with open_venue() as client:
            source = client.venue._listing._source
            calls = 0
            real = source.next_market

            def counted(start: float) -> Any:
                nonlocal calls
                calls += 1
                return real(start)

            source.next_market = counted  # type: ignore[method-assign]
            for number in range(20):
                assert (await client.clob("/book", token_id=str(number))).status_code == 404
            assert calls <= 25

    run(test)
