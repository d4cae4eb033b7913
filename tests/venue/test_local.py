"""The venue as a program: address, shutdown, good manners, faults on request."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import time
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from polyframe.clock import ScaledClock
from polyframe.errors import ConfigError
from polyframe.venue import LocalVenue, SyntheticSource, VenueAccount, VenueSettings
from polyframe.venue.hub import Connection
from tests.venue.support import (
    BOOK,
    PATIENCE,
    START,
    ManualClock,
    ScriptedSource,
    open_venue,
    run,
    snapshot,
    until,
)

CLOCK = ManualClock()


# ------------------------------------------------------------------ address and settings


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.org", "::"])
def test_other_machines_are_kept_out(host: str) -> None:
    """An address beyond loopback needs an explicit word."""
    with pytest.raises(ConfigError, match=r"host: .*allow_remote=True"):
        LocalVenue(ScriptedSource(), clock=CLOCK, host=host)
    LocalVenue(ScriptedSource(), clock=CLOCK, host=host, allow_remote=True)


def test_wrong_settings_name_the_field() -> None:
    """Every bad value is refused with the name of its field."""
    with pytest.raises(ConfigError, match="port: expected 0"):
        LocalVenue(ScriptedSource(), clock=CLOCK, port=70_000)
    settings: dict[str, Any]
    for settings in (
        {"mint_ahead": 0},
        {"hydration": -1},
        {"resolve_after": -1},
        {"taker_delay": -0.1},
        {"mined_after": -1},
        {"confirmed_after": -1},
        {"quiet": 0},
        {"skew": 0},
        {"subscribe_timeout": 0},
        {"send_queue": 0},
        {"heartbeat_timeout": 0},
        {"user_lag": -1},
        {"chain_id": 0},
        {"max_accounts": 0},
        {"welcome_cash": -1},
        {"welcome_cash": "much"},
        {"rebate": -0.1},
        {"gtd_notice": -1},
        {"gtd_margin": -1},
        {"history": 0},
        {"max_open_orders": 0},
        {"max_connections": 0},
        {"max_body": 0},
        {"max_subscriptions": 0},
        {"header_timeout": 0},
        {"body_timeout": 0},
    ):
        (name,) = settings
        with pytest.raises(ConfigError, match=f"{name}: expected"):
            VenueSettings(**settings)
    with pytest.raises(ConfigError, match="confirmed_after: expected at least mined_after"):
        VenueSettings(mined_after=5, confirmed_after=4)


def test_accounts_are_checked_and_keep_their_secrets() -> None:
    """Bad fields are named; no credential appears in the text form or in an error."""
    account = VenueAccount.random(5)
    for secret in (account.api_key, account.secret, account.passphrase):
        assert secret not in repr(account)
    assert account.address in repr(account)
    good = {"api_key": "k", "secret": account.secret, "passphrase": "p", "address": account.address}
    bad: dict[str, Any]
    for bad in ({"cash": -1}, {"cash": "much"}, {"address": "0x1"}, {"secret": "not base64!"}):
        (name,) = bad
        fields: dict[str, Any] = {**good, **bad}
        with pytest.raises(ConfigError, match=f"{name}: expected") as caught:
            VenueAccount(**fields)
        assert "not base64!" not in str(caught.value)


def test_two_venues_get_their_own_ports() -> None:
    """Port 0 takes any free one, and both answer."""

    async def test() -> None:
        async with open_venue() as one, open_venue() as two:
            assert one.venue.url != two.venue.url
            for client in (one, two):
                assert client.venue.url.startswith("http://127.0.0.1:")
                assert client.venue.ws_url == client.venue.url.replace("http", "ws")
                assert (await client.clob("/ok")).json() == "OK"

    run(test)


def test_a_port_in_use_is_an_error_that_leaves_nothing_open() -> None:
    """The operating system's error comes out, and the venue can be closed."""

    async def test() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            venue = LocalVenue(ScriptedSource(), clock=CLOCK, port=port)
            with pytest.raises(OSError, match="in use"):
                async with venue:
                    pass
            await venue.close()

    run(test)


# ------------------------------------------------------------------ shutdown and manners


def test_closing_is_quick_with_everything_open(caplog: pytest.LogCaptureFixture) -> None:
    """Open WebSockets, a reader that does not read, a hanging request: below a second, no error."""

    async def test() -> None:
        async with open_venue([BOOK], taker_delay=1_000.0) as client:
            order = asyncio.create_task(
                client.signed("POST", "/order", client.order("BUY", "0.52", "10"))
            )
            slow = await connect(f"{client.venue.ws_url}/ws/market", max_queue=1, close_timeout=0.1)
            async with client.market_feed() as feed, client.user_feed():
                await feed.next()
                await until(lambda: len(client.venue._hub.connections("market")) == 2)
                for _ in range(40):
                    client.venue.send_raw("market", "x" * 500_000)
                    await feed.frame()
                began = time.monotonic()
                await client.venue.close()
                assert time.monotonic() - began < 1
                with pytest.raises(httpx.HTTPError):
                    await order
                with pytest.raises(ConnectionClosed):
                    await feed.frame()
            await slow.close()
            with pytest.raises(httpx.ConnectError):
                await client.clob("/ok")

    run(test)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_closing_twice_is_harmless() -> None:
    """The second close does nothing."""

    async def test() -> None:
        async with open_venue() as client:
            await client.venue.close()
            await client.venue.close()

    run(test)


def test_signals_and_logging_belong_to_the_program_around() -> None:
    """Neither handlers of signals nor loggers of uvicorn are changed."""
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access")]

    def state() -> Any:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return handlers, [(log.level, log.propagate, list(log.handlers)) for log in loggers]

    async def test() -> None:
        before = state()
        async with open_venue() as client:
            await client.clob("/ok")
            assert state() == before
        assert state() == before

    run(test)


def test_nothing_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Connections that come, go, are dropped or never speak leave no error and no access log."""
    caplog.set_level(logging.INFO)

    async def test() -> None:
        async with open_venue(subscribe_timeout=0.05) as client:
            async with client.market_feed() as feed, client.user_feed():
                await feed.next()
                client.venue.drop_connections("all")
                await until(lambda: not client.venue._hub.connections("all"))
            async with connect(f"{client.venue.ws_url}/ws/market") as silent:
                with pytest.raises(ConnectionClosed):
                    await silent.recv()
            async with client.market_feed() as feed:
                await feed.next()
                client.venue.send_raw("market", "x")
            await client.clob("/ok")
            last = await connect(f"{client.venue.ws_url}/ws/user")
        await last.close()

    run(test)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "uvicorn.access" not in {record.name for record in caplog.records}


def test_a_failing_source_comes_out_at_the_close(caplog: pytest.LogCaptureFixture) -> None:
    """A background task that fails is logged, and raised when the venue closes."""
    crossed = snapshot(1, {52: 1}, {50: 1})

    async def test() -> None:
        with pytest.raises(ValueError, match="must be below the best ask"):
            async with open_venue([BOOK, crossed]) as client, client.market_feed() as feed:
                await feed.next()
                await client.clock.advance(1)

    run(test)
    assert "venue-replay" in caplog.text


def test_it_runs_sixty_times_as_fast() -> None:
    """On a scaled clock a synthetic market flows, and time is the venue's."""

    async def test() -> None:
        source = SyntheticSource("btc-updown-15m", 1)
        clock = ScaledClock(60, start=START + 10)
        async with (
            LocalVenue(source, clock=clock) as venue,
            httpx.AsyncClient(verify=False) as http,
        ):
            market = source.next_market(START)
            assert market is not None
            now = (await http.get(f"{venue.url}/clob/time")).json()
            assert abs(now - clock.time()) < 60
            async with connect(f"{venue.ws_url}/ws/market") as feed, asyncio.timeout(PATIENCE):
                tokens = ",".join(f'"{token}"' for token in market.tokens)
                await feed.send(f'{{"type":"market","assets_ids":[{tokens}]}}')
                for _ in range(50):
                    await feed.recv()
            assert venue.stats.source_events > 10

    run(test)


# ------------------------------------------------------------------ faults on request


@pytest.mark.parametrize(("kind", "left"), [("market", [0, 1]), ("user", [1, 0]), ("all", [0, 0])])
def test_connections_can_be_dropped(kind: Any, left: list[int]) -> None:
    """One kind or all are cut off without a closing handshake; a new connection works."""

    async def test() -> None:
        async with (
            open_venue() as client,
            client.market_feed() as market,
            client.user_feed() as user,
        ):
            await market.next()
            assert client.venue.drop_connections(kind) == 2 - sum(left)

            def still() -> list[int]:
                return [len(client.venue._hub.connections(k)) for k in ("market", "user")]

            await until(lambda: still() == left)
            for feed, stays in zip((market, user), left, strict=True):
                if stays:
                    await feed.ping()
                else:
                    with pytest.raises(ConnectionClosed) as caught:
                        await feed.frame()
                    assert caught.value.rcvd is None
            async with client.market_feed() as again:
                assert len(await again.next()) == 2

    run(test)


def test_an_unknown_kind_of_connection_is_refused() -> None:
    """The kinds are market, user and all."""

    async def test() -> None:
        async with open_venue() as client:
            bad: Any = "both"
            with pytest.raises(ValueError, match="kind: expected"):
                client.venue.drop_connections(bad)

    run(test)


def test_the_market_channel_can_freeze() -> None:
    """PONG and nothing else, on old and new connections; the user channel goes on."""
    script = [BOOK, *(snapshot(at, {48: 100 + at}, {52: 100}) for at in range(1, 20))]

    async def test() -> None:
        async with (
            open_venue(script) as client,
            client.market_feed() as old,
            client.user_feed() as user,
        ):
            await old.next()
            frozen = client.venue.faults.inject("market_freeze", seconds=60)
            await client.clock.advance(8)
            await old.ping()
            client.venue.send_raw("market", "[]")
            assert await old.rest() == [[]]
            async with client.market_feed() as new:
                await new.ping()
            await client.place("BUY", "0.40", "10")
            assert len(await user.rest()) == 1
            frozen.stop()
            await client.clock.advance(1)
            assert [m["event_type"] for m in await old.rest()] == ["price_change"]

    run(test)


def test_raw_frames_can_be_sent() -> None:
    """Text goes out as it stands, to one kind of connection."""

    async def test() -> None:
        async with (
            open_venue() as client,
            client.market_feed() as market,
            client.user_feed() as user,
        ):
            await market.next()
            assert client.venue.send_raw("market", "{broken") == 1
            assert await market.frame() == "{broken"
            assert client.venue.send_raw("user", '{"event_type":"news"}') == 1
            assert await user.next() == {"event_type": "news"}
            assert client.venue.send_raw("all", "[]") == 2

    run(test)


def test_the_next_request_can_fail() -> None:
    """Once, with the given status, body and headers, without being carried out."""

    async def test() -> None:
        async with open_venue() as client:
            client.venue.fail_next("/order", 503, {"error": "later"}, headers={"Retry-After": "3"})
            client.venue.fail_next("/order", 425, "restart")
            body = client.order("BUY", "0.40", "10")
            first = await client.signed("POST", "/order", body)
            assert (first.status_code, first.json()) == (503, {"error": "later"})
            assert first.headers["retry-after"] == "3"
            second = await client.signed("POST", "/order", body)
            assert (second.status_code, second.text) == (425, "restart")
            assert (await client.signed("POST", "/order", body)).status_code == 200
            assert client.venue.stats.orders == 1

    run(test)


def test_an_answer_can_be_lost_after_the_order_was_taken() -> None:
    """accept=True carries the request out, its answer is lost; other paths are not touched."""

    async def test() -> None:
        async with open_venue() as client:
            client.venue.fail_next("/order", 502, accept=True)
            assert (await client.clob("/ok")).status_code == 200
            body = client.order("BUY", "0.40", "10")
            answer = await client.signed("POST", "/order", body)
            assert (answer.status_code, answer.text) == (502, "")
            open_now = (await client.signed("GET", "/data/orders")).json()["data"]
            assert len(open_now) == 1
            again = await client.signed("POST", "/order", body)
            assert again.json()["error"].endswith("is invalid. Duplicated.")

    run(test)


def test_the_next_request_can_be_delayed() -> None:
    """One request waits for real seconds while others pass."""

    async def test() -> None:
        async with open_venue() as client:
            client.venue.faults.inject("request_late", path="/version", count=1, delay=0.2)
            began = time.monotonic()
            slow = asyncio.create_task(client.clob("/version"))
            await client.clob("/ok")
            assert not slow.done()
            assert (await slow).json() == {"version": 2}
            assert time.monotonic() - began >= 0.2
            began = time.monotonic()
            await client.clob("/version")
            assert time.monotonic() - began < 0.2

    run(test)


def test_impossible_faults_are_refused() -> None:
    """A status that is none is named."""
    venue = LocalVenue(ScriptedSource(), clock=CLOCK)
    with pytest.raises(ConfigError, match="status: expected"):
        venue.fail_next("/order", 42)


def test_answers_are_not_held_back() -> None:
    """Nagle's algorithm is off on the venue's side: with it each answer would wait about 40 ms."""

    async def main() -> None:
        clock = ScaledClock(1)
        async with LocalVenue(SyntheticSource("btc-updown-15m"), clock=clock) as venue:
            host, port = venue.url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            ours = writer.get_extra_info("sockname")
            sides: list[asyncio.Transport] = []
            async with asyncio.timeout(5):
                while not sides:
                    await asyncio.sleep(0)
                    sides = [
                        thing
                        for thing in gc.get_objects()
                        if issubclass(type(thing), asyncio.Transport)  # a dead weak proxy raises
                        and thing.get_extra_info("peername") == ours
                    ]
            accepted = sides[0].get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


def test_nothing_is_written_to_who_is_gone() -> None:
    """What is left in the queue of a connection that broke is let go."""

    class Transport:
        gone = False

        def is_closing(self) -> bool:
            return self.gone

        def get_write_buffer_size(self) -> int:
            return 0

    class Socket:
        def __init__(self, transport: Transport) -> None:
            self.scope = {"state": {"transport": transport}}
            self.sent: list[str] = []

        async def send_text(self, text: str) -> None:
            self.sent.append(text)
            self.scope["state"]["transport"].gone = True

    async def main() -> None:
        venue = LocalVenue(ScriptedSource(), clock=CLOCK)
        socket: Any = Socket(Transport())
        connection = Connection(socket, "market", venue._hub)
        for text in ("one", "two", "three"):
            connection.send(text)
        async with asyncio.timeout(5):
            await connection.write()
        assert socket.sent == ["one"]

    asyncio.run(main())
