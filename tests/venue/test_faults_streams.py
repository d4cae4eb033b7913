"""Faults on demand: what happens to messages on their way."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from polyframe.venue.line import GARBAGE
from tests.venue.support import open_venue, run, snapshot, until

FAR = snapshot(0, {10: 100}, {90: 100})
STEPS = [FAR, *(snapshot(at, {10: 100 + at}, {90: 100}) for at in range(1, 30))]


def test_new_connections_can_be_refused() -> None:
    """The handshake fails for one channel, the other one is let in."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            client.venue.faults.inject("connect_refused", path="/ws/user", count=1)
            with pytest.raises(InvalidStatus):
                await connect(f"{client.venue.ws_url}/ws/user")
            async with client.market_feed() as market, client.user_feed():
                await market.next()

    run(test)


def test_messages_of_the_market_can_get_lost_or_come_twice() -> None:
    """One is dropped, the next is doubled, then all is well."""

    async def test() -> None:
        async with open_venue(STEPS) as client, client.market_feed() as feed:
            await feed.next()
            client.venue.faults.inject("market_drop", count=1)
            await client.clock.advance(1)
            assert await feed.rest() == []
            client.venue.faults.inject("market_duplicate", count=1)
            await client.clock.advance(1)
            first, second = await feed.rest()
            assert first == second
            await client.clock.advance(1)
            assert len(await feed.rest()) == 1

    run(test)


def _sizes(messages: list[Any]) -> list[str]:
    return [message["price_changes"][0]["size"] for message in messages]


def test_late_messages_keep_their_order() -> None:
    """All behind a late message wait for it."""

    async def test() -> None:
        async with open_venue(STEPS) as client, client.market_feed() as feed:
            await feed.next()
            client.venue.faults.inject("market_delay", count=1, delay=0.2)
            for _ in range(3):
                await client.clock.advance(1)
            assert await feed.rest() == []
            got = [await feed.next() for _ in range(3)]
            assert _sizes(got) == ["101", "102", "103"]
            await client.clock.advance(1)
            assert _sizes(await feed.rest()) == ["104"]

    run(test)


def test_messages_can_be_overtaken() -> None:
    """One that is reordered comes after those behind it."""

    async def test() -> None:
        async with open_venue(STEPS) as client, client.market_feed() as feed:
            await feed.next()
            client.venue.faults.inject("market_reorder", count=1, delay=0.2)
            for _ in range(2):
                await client.clock.advance(1)
            assert _sizes(await feed.rest()) == ["102"]
            assert _sizes([await feed.next()]) == ["101"]

    run(test)


def test_old_books_can_come_again() -> None:
    """After a new book the one before it comes with its old time."""

    async def test() -> None:
        async with open_venue(STEPS, quiet=0.5) as client, client.market_feed() as feed:
            await feed.next()
            client.venue.faults.inject("market_stale", count=1)
            await client.clock.advance(3)
            books = [m for m in await feed.rest() if m.get("event_type") == "book"]
            times = [int(book["timestamp"]) for book in books]
            assert times != sorted(times)

    run(test)


@pytest.mark.parametrize("channel", ["market", "user"])
def test_garbage_can_come_before_a_message(channel: str) -> None:
    """Every piece of it as it stands, then the message."""

    async def test() -> None:
        async with (
            open_venue([FAR]) as client,
            client.market_feed() as market,
            client.user_feed() as user,
        ):
            await market.next()
            client.venue.faults.inject(f"{channel}_garbage", count=1)
            await client.place("BUY", "0.40", "10")
            feed = {"market": market, "user": user}[channel]
            for junk in GARBAGE[channel]:
                assert await feed.frame() == junk
            assert (await feed.next())["event_type"] in {"price_change", "order"}

    run(test)


@pytest.mark.parametrize("channel", ["market", "user"])
def test_a_connection_can_break_instead_of_a_message(channel: str) -> None:
    """The message is lost with its connection, the other channel stays; what is gone breaks once."""

    async def test() -> None:
        async with (
            open_venue([FAR]) as client,
            client.market_feed() as market,
            client.user_feed() as user,
        ):
            await market.next()
            fault = client.venue.faults.inject(f"{channel}_disconnect", count=9)
            await client.place("BUY", "0.40", "10")
            assert fault.hits == 1
            fault.stop()
            feeds = {"market": market, "user": user}
            with pytest.raises(ConnectionClosed):
                await feeds.pop(channel).frame()
            (other,) = feeds.values()
            assert len(await other.rest()) >= 1

    run(test)


def test_messages_of_the_account_can_get_lost_late_or_come_again() -> None:
    """Lost, overtaken, late in order, and again after a while."""

    async def test() -> None:
        async with open_venue([FAR]) as client, client.user_feed() as feed:

            async def placed() -> str:
                order: str = (await client.place("BUY", "0.40", "10"))["orderID"]
                return order

            faults = client.venue.faults
            faults.inject("user_drop", count=1)
            await placed()
            assert await feed.rest() == []
            faults.inject("user_reorder", count=1, delay=0.2)
            late, early = await placed(), await placed()
            assert [m["id"] for m in await feed.rest()] == [early]
            assert (await feed.next())["id"] == late
            faults.inject("user_delay", count=1, delay=0.2)
            late, behind = await placed(), await placed()
            assert await feed.rest() == []
            assert [(await feed.next())["id"] for _ in range(2)] == [late, behind]
            faults.inject("user_replay", count=1, delay=0.2)
            again = await placed()
            assert [(await feed.next())["id"] for _ in range(2)] == [again, again]

    run(test)


def test_unsubscribing_can_take_a_while() -> None:
    """Messages of the token go on, and end."""

    async def test() -> None:
        async with open_venue(STEPS) as client, client.market_feed() as feed:
            await feed.next()
            client.venue.faults.inject("unsubscribe_late", count=1, delay=0.2)
            await feed.send({"operation": "unsubscribe", "assets_ids": list(client.market.tokens)})
            await feed.ping()
            await client.clock.advance(1)
            assert len(await feed.rest()) == 1
            (connection,) = client.venue._hub._market
            await until(lambda: not connection.tokens)
            await client.clock.advance(1)
            assert await feed.rest() == []

    run(test)
