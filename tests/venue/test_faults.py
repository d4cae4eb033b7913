"""Faults on demand: what each does on the wire, how it ends, and that it is counted."""

from __future__ import annotations

import asyncio
import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from polyframe.errors import ConfigError
from polyframe.venue import VenueFault, VenueFaults
from polyframe.venue.faultkinds import OPTIONS
from polyframe.venue.line import GARBAGE
from tests.venue.support import START, Client, Feed, open_venue, run, snapshot, until
from tests.venue.test_accounts import funded

FAR = snapshot(0, {10: 100}, {90: 100})
STEPS = [FAR, *(snapshot(at, {10: 100 + at}, {90: 100}) for at in range(1, 30))]
LASTING = ("restart", "mode", "market_hidden", "market_unhydrated", "close_late", "resolution_late")


# ------------------------------------------------------------------ bounds, chance, options


def test_a_fault_ends_after_its_strikes() -> None:
    """It strikes `count` times, is counted, and is no longer in force."""
    faults = VenueFaults()
    fault = faults.inject("market_drop", count=2)
    strikes = [faults.strike(VenueFault.MARKET_DROP) for _ in range(3)]
    assert strikes == [fault, fault, None]
    assert (fault.hits, fault.is_over, faults.active) == (2, True, [])
    assert faults.happened == {VenueFault.MARKET_DROP: 2}


def test_a_fault_ends_after_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It strikes as often as it can until its real seconds are over."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    faults = VenueFaults()
    fault = faults.inject(VenueFault.USER_DROP, seconds=5)
    fault._began = now
    assert faults.strike(VenueFault.USER_DROP) is fault
    now = 104.9
    assert faults.strike(VenueFault.USER_DROP) is fault
    now = 105.0
    assert faults.strike(VenueFault.USER_DROP) is None
    assert faults.active == []


@given(st.integers(0, 1000), st.floats(0.05, 1.0))
def test_chance_repeats_itself(seed: int, chance: float) -> None:
    """The same seed gives the same strikes and the same delays; certainty always strikes."""

    def story() -> list[float | None]:
        faults = VenueFaults()
        faults.inject("user_delay", seconds=60, chance=chance, seed=seed, delay=0.2, spread=0.5)
        found = [faults.strike(VenueFault.USER_DELAY) for _ in range(30)]
        return [None if fault is None else fault.late() for fault in found]

    assert story() == story()
    if chance == 1.0:
        assert None not in story()


def test_another_seed_gives_another_story() -> None:
    """Two seeds strike at different times."""
    stories = []
    for seed in (1, 2):
        faults = VenueFaults()
        faults.inject("user_drop", seconds=60, chance=0.5, seed=seed)
        stories.append([faults.strike(VenueFault.USER_DROP) is None for _ in range(40)])
    assert stories[0] != stories[1]


def test_delays_are_spread_around_their_median() -> None:
    """About half of many delays are below the median; without spread all are the same."""
    faults = VenueFaults()
    spread = faults.inject("market_delay", count=1, delay=0.2, spread=0.5)
    below = sum(spread.late() < 0.2 for _ in range(1000))
    assert 400 < below < 600
    fixed = faults.inject("market_delay", count=1, delay=0.2)
    assert {fixed.late() for _ in range(9)} == {0.2}


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        ("earthquake", {"count": 1}, "kind"),
        ("user_drop", {}, "count"),
        ("user_drop", {"count": 0}, "count"),
        ("user_drop", {"count": True}, "count"),
        ("user_drop", {"count": "3"}, "count"),
        ("user_drop", {"seconds": 0}, "seconds"),
        ("user_drop", {"seconds": 86_401}, "seconds"),
        ("user_drop", {"seconds": float("nan")}, "seconds"),
        ("user_drop", {"seconds": "5"}, "seconds"),
        ("user_drop", {"count": 1, "chance": 0}, "chance"),
        ("user_drop", {"count": 1, "chance": 1.1}, "chance"),
        ("user_drop", {"count": 1, "delay": 1}, "delay"),
        ("user_delay", {"count": 1, "delay": -1}, "delay"),
        ("user_delay", {"count": 1, "delay": 3_601}, "delay"),
        ("user_delay", {"count": 1, "spread": 4}, "spread"),
        ("http_error", {"count": 1, "status": 42}, "status"),
        ("http_error", {"count": 1, "path": 7}, "path"),
        ("http_error", {"count": 1, "headers": ["a"]}, "headers"),
        ("http_error", {"count": 1, "headers": {"a": "b\r\nc: d"}}, "headers"),
        ("mode", {"seconds": 1, "mode": "lunch"}, "mode"),
        *((kind, {"count": 1}, "seconds") for kind in LASTING),
        *((kind, {"count": 1, "seconds": 1}, "seconds") for kind in LASTING),
    ],
)
def test_what_makes_no_sense_is_refused(kind: str, options: dict[str, Any], field: str) -> None:
    """The message names the field, and nothing is in force."""
    faults = VenueFaults()
    with pytest.raises(ConfigError, match=rf"^{field}: "):
        faults.inject(kind, **options)
    assert faults.active == []


def test_there_cannot_be_any_number_of_faults() -> None:
    """After a thousand that are in force the next is refused; those that are over do not count."""
    faults = VenueFaults()
    for _ in range(1_000):
        faults.inject("user_drop", count=1)
    with pytest.raises(ConfigError, match=r"^kind: 1000 faults"):
        faults.inject("user_drop", count=1)
    faults.strike(VenueFault.USER_DROP)
    faults.inject("user_drop", count=1)


def test_faults_can_be_ended() -> None:
    """One by itself, or all of them; who waits for the end is woken."""

    async def test() -> None:
        faults = VenueFaults()
        one, two = (faults.inject("resolution_late", seconds=60) for _ in range(2))
        waiting = asyncio.create_task(one.wait_over())
        await asyncio.sleep(0)
        one.stop()
        async with asyncio.timeout(5):
            await waiting
        assert faults.active == [two]
        faults.clear()
        assert faults.active == []

    asyncio.run(test())


def test_the_first_that_fits_strikes_first() -> None:
    """Faults of one kind queue up in order of their injection, path by path."""
    faults = VenueFaults()
    order = faults.inject("http_error", count=1, path="/order", status=425)
    post = faults.inject("http_error", count=1, method="POST", status=503)
    kind = VenueFault.HTTP_ERROR
    assert faults.strike(kind, path="/clob/book", method="GET") is None
    assert faults.strike(kind, path="/clob/order", method="POST") is order
    assert faults.strike(kind, path="/clob/order", method="POST") is post


# ------------------------------------------------------------------ HTTP


def test_a_lost_request_is_not_carried_out(caplog: pytest.LogCaptureFixture) -> None:
    """The connection breaks, and the order does not exist; to the server it is no error."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            client.venue.faults.inject("request_lost", path="/order", count=1)
            body = client.order("BUY", "0.40", "10")
            with pytest.raises(httpx.TransportError):
                await client.signed("POST", "/order", body)
            assert client.venue.stats.orders == 0
            assert (await client.signed("POST", "/order", body)).status_code == 200

    run(test)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_lost_reply_is_carried_out() -> None:
    """The connection breaks, and the order is there."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            client.venue.faults.inject("reply_lost", path="/order", method="POST", count=1)
            with pytest.raises(httpx.TransportError):
                await client.signed("POST", "/order", client.order("BUY", "0.40", "10"))
            assert client.venue.stats.orders == 1
            assert client.venue.faults.happened == {VenueFault.REPLY_LOST: 1}

    run(test)


@pytest.mark.parametrize("kind", ["request_late", "reply_late"])
def test_a_request_or_its_reply_can_be_late(kind: str) -> None:
    """An order exists before its late reply, and not before its request that is late."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            client.venue.faults.inject(kind, path="/order", count=1, delay=0.3)
            body = client.order("BUY", "0.40", "10")
            posting = asyncio.create_task(client.signed("POST", "/order", body))
            await until(lambda: client.venue.stats.requests == 1)
            await client.clob("/ok")
            assert client.venue.stats.orders == (kind == "reply_late")
            assert not posting.done()
            assert (await posting).json()["status"] == "live"

    run(test)


def test_an_order_can_be_answered_with_delayed() -> None:
    """It is taken, and the answer has its id, status delayed, no amounts and no trades."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            client.venue.faults.inject("order_delayed", count=1)
            answer = await client.place("BUY", "0.95", "10")
            assert (answer["status"], answer["tradeIDs"]) == ("delayed", [])
            assert (await client.row(answer["orderID"]))["size_matched"] == "10"
            assert (await client.place("BUY", "0.95", "10"))["status"] == "matched"
            _, refused = await client.refused("BUY", "0.955", "10")
            assert "tick size" in refused

    run(test)


def test_an_order_can_fill_before_its_cancel() -> None:
    """The cancel finds it matched; a stranger took it at its own price."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            client.venue.faults.inject("cancel_race", count=1)
            order = (await client.place("BUY", "0.40", "10"))["orderID"]
            answer = (await client.signed("DELETE", "/order", {"orderID": order})).json()
            assert answer == {"canceled": [], "not_canceled": {order: "order already matched"}}
            assert client.account.held(client.up) == 10
            assert client.account.cash == 1000 - Decimal("4.0")

    run(test)


def test_orders_can_be_filled_by_hand() -> None:
    """In part and as a whole, never more than is open."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            order = (await client.place("BUY", "0.40", "10"))["orderID"]
            assert client.venue.fill_order(order, Decimal(4)) == 4
            assert (await client.row(order))["size_matched"] == "4"
            assert client.venue.fill_order(order, Decimal(40)) == 6
            assert client.venue.fill_order(order) == 0
            assert client.venue.fill_order("0x") == 0
            with pytest.raises(ConfigError, match="shares: expected"):
                client.venue.fill_order(order, Decimal(0))

    run(test)


# ------------------------------------------------------------------ streams


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
    """The message is lost with its connection, the other channel stays."""

    async def test() -> None:
        async with (
            open_venue([FAR]) as client,
            client.market_feed() as market,
            client.user_feed() as user,
        ):
            await market.next()
            client.venue.faults.inject(f"{channel}_disconnect", count=1)
            await client.place("BUY", "0.40", "10")
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


# ------------------------------------------------------------------ the venue's states


def test_a_restart_ends_in_post_only_mode() -> None:
    """425, then only orders that must not take, then everything."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            fault = client.venue.faults.inject("restart", seconds=60, post_only=120)

            async def place(**options: Any) -> int:
                body = client.order("BUY", "0.40", "10", **options)
                return (await client.signed("POST", "/order", body)).status_code

            assert await place() == 425
            fault._began -= 61
            assert await place() == 503
            assert await place(post_only=True) == 200
            fault._began -= 120
            assert await place() == 200

    run(test)


def test_a_mode_can_last_for_a_while() -> None:
    """The injected mode holds, then the one that was set before."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            fault = client.venue.faults.inject("mode", seconds=60, mode="disabled")
            turnstile = client.venue._desk.turnstile
            assert turnstile.mode == "disabled"
            order = client.order("BUY", "0.40", "10")
            assert (await client.signed("POST", "/order", order)).status_code == 503
            assert fault.hits == 1
            fault.stop()
            assert turnstile.mode == "normal"

    run(test)


def test_a_market_can_be_hidden_or_not_hydrated() -> None:
    """404 at Gamma; or listed without token ids and unknown to the CLOB; others are not touched."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            slug, path = client.market.slug, f"/markets/slug/{client.market.slug}"
            fault = client.venue.faults.inject("market_hidden", seconds=60, slug=slug)
            assert (await client.gamma(path)).status_code == 404
            fault.stop()
            assert (await client.gamma(path)).status_code == 200
            other = client.venue.faults.inject("market_unhydrated", seconds=60, slug="other")
            assert (await client.clob("/book", token_id=client.up)).status_code == 200
            other.stop()
            fault = client.venue.faults.inject("market_unhydrated", seconds=60)
            assert json.loads((await client.gamma(path)).json()["clobTokenIds"]) == []
            assert (await client.clob("/book", token_id=client.up)).status_code == 404
            fault.stop()
            assert (await client.clob("/book", token_id=client.up)).status_code == 200

    run(test)


def test_a_market_can_close_late() -> None:
    """It takes orders after its end, until it is resolved."""

    async def test() -> None:
        async with open_venue([FAR], now=START + 890, resolve_after=20) as client:
            await client.clob("/book", token_id=client.up)
            await client.clock.advance(15)
            assert await client.refused("BUY", "0.40", "10") == (
                404,
                "No orderbook exists for the requested token id",
            )
            client.venue.faults.inject("close_late", seconds=60)
            await client.place("BUY", "0.40", "10")
            await client.clock.advance(20)
            assert (await client.refused("BUY", "0.40", "10"))[0] == 404

    run(test)


def test_a_resolution_can_be_late_or_not_told() -> None:
    """Nothing says who won until the fault is over; or everything but the market channel does."""

    async def test() -> None:
        async with open_venue([FAR], now=START + 890, resolve_after=5) as client:
            path = f"/markets/slug/{client.market.slug}"
            async with client.market_feed() as feed:
                await feed.next()
                fault = client.venue.faults.inject("resolution_late", seconds=60)
                client.venue.faults.inject("resolution_untold", seconds=60)
                await client.clock.advance(30)
                assert (await client.gamma(path)).json()["closed"] is False
                fault.stop()
                await until(lambda: client.venue.faults.happened[VenueFault.RESOLUTION_UNTOLD] > 0)
                assert (await client.gamma(path)).json()["closed"] is True
                kinds = {m["event_type"] for m in await feed.rest() if isinstance(m, dict)}
                assert "market_resolved" not in kinds

    run(test)


async def _statuses(feed: Feed) -> list[str]:
    return [m["status"] for m in await feed.rest() if m["event_type"] == "trade"]


@pytest.mark.parametrize(
    ("kind", "options", "story"),
    [
        ("trade_retrying", {}, ["MATCHED", "RETRYING", "MINED", "CONFIRMED"]),
        ("trade_late", {"delay": 30}, ["MATCHED"]),
        ("trade_failed", {}, ["MATCHED", "RETRYING", "FAILED"]),
    ],
)
def test_settlement_can_go_wrong(kind: str, options: dict[str, Any], story: list[str]) -> None:
    """A second attempt, a long wait, or the end of the trade; the next one is settled."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50"), redeem=False) as maker:
            maker.venue.faults.inject(kind, count=1, **options)
            async with maker.user_feed() as feed:
                await maker.place("SELL", "0.10", "20")
                await maker.clock.advance(10)
                assert await _statuses(feed) == story
                await maker.clock.advance(40)
                if kind == "trade_late":
                    assert await _statuses(feed) == ["MINED", "CONFIRMED"]
                await maker.place("SELL", "0.10", "20")
                await maker.clock.advance(10)
                assert await _statuses(feed) == ["MATCHED", "MINED", "CONFIRMED"]

    run(test)


def test_a_tick_can_be_refined_by_hand() -> None:
    """Both tokens are told once; an unknown market has none."""

    async def test() -> None:
        async with open_venue([FAR]) as client, client.market_feed() as feed:
            await feed.next()
            assert client.venue.refine_tick(client.market.slug)
            kinds = [m["event_type"] for m in await feed.rest()]
            assert kinds == ["tick_size_change"] * 2
            assert not client.venue.refine_tick(client.market.slug)
            assert not client.venue.refine_tick("btc-updown-15m-0")

    run(test)


# ------------------------------------------------------------------ over HTTP


async def _admin(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    sent = {"X-Venue-Token": client.venue.admin_token, **headers}
    url = f"{client.venue.url}/admin{path}"
    content = b"" if body is None else json.dumps(body).encode()
    return await client.http.request(method, url, content=content, headers=sent)


def test_faults_can_be_injected_over_http() -> None:
    """Injected, listed with their strikes, and cleared; requests of the admin are spared."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            wanted = {"kind": "http_error", "count": 2, "status": 425, "body": "restart"}
            answer = await _admin(client, "POST", "/faults", wanted)
            assert answer.status_code == 200, answer.text
            assert (await client.clob("/ok")).status_code == 425
            listed = (await _admin(client, "GET", "/faults")).json()
            assert listed["happened"] == {"http_error": 1}
            assert [(f["kind"], f["hits"], f["status"]) for f in listed["active"]] == [
                ("http_error", 1, 425)
            ]
            assert (await _admin(client, "DELETE", "/faults")).json() == {}
            assert (await client.clob("/ok")).status_code == 200

    run(test)


def test_interventions_over_http() -> None:
    """Orders are filled and withdrawn, frames sent, the tick refined, connections dropped."""

    async def test() -> None:
        async with open_venue([FAR]) as client, client.market_feed() as feed:
            await feed.next()
            first, second = [(await client.place("BUY", "0.40", "10"))["orderID"] for _ in range(2)]
            await feed.rest()
            for path, body, answer in (
                ("/fill-order", {"order_id": first, "shares": "4"}, {"filled": "4"}),
                ("/fill-order", {"order_id": first}, {"filled": "6"}),
                ("/withdraw-order", {"order_id": second}, {"withdrawn": True}),
                ("/refine-tick", {"slug": client.market.slug}, {"refined": True}),
                ("/send-raw", {"kind": "market", "text": "[]"}, {"connections": 1}),
                ("/drop-connections", {"kind": "all"}, {"connections": 1}),
            ):
                response = await _admin(client, "POST", path, body)
                assert Decimal(str(response.json().get("filled", 0))) == Decimal(
                    str(answer.get("filled", 0))
                )
                assert response.json().keys() == answer.keys()
                assert response.status_code == 200
            assert (await client.row(second))["status"] == "INVALID"

    run(test)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/faults", {"kind": "earthquake", "count": 1}, "kind"),
        ("/faults", {"count": 1}, "kind"),
        ("/faults", {"kind": "user_drop", "count": "many"}, "count"),
        ("/faults", {"kind": "user_drop", "count": 1, "self": 1}, "self"),
        ("/faults", [1], "body"),
        ("/fill-order", {"order_id": "0x", "shares": "much"}, "shares"),
        ("/fill-order", {"order_id": 7}, "order_id"),
        ("/withdraw-order", {}, "order_id"),
        ("/drop-connections", {"kind": "both"}, "kind"),
        ("/refine-tick", {"slug": "x", "tick": 1}, "tick"),
    ],
)
def test_nonsense_over_http_is_refused(path: str, body: Any, field: str) -> None:
    """400 with a text that begins with the field."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            answer = await _admin(client, "POST", path, body)
            assert answer.status_code == 400
            assert answer.json()["error"].startswith(f"{field}: ")

    run(test)


@pytest.mark.parametrize(
    ("open_to_all", "headers", "status"),
    [
        (False, {"X-Venue-Token": "wrong"}, 404),
        (False, {"X-Venue-Token": ""}, 404),
        (False, {}, 200),
        (False, {"Origin": "http://evil.example"}, 404),
        (True, {"X-Venue-Token": ""}, 200),
        (True, {"Origin": "http://evil.example"}, 404),
    ],
)
def test_who_may_intervene(open_to_all: bool, headers: dict[str, str], status: int) -> None:
    """Who sends the token, or everybody here if the setting says so, but no page in a browser."""

    async def test() -> None:
        async with open_venue([FAR], admin=open_to_all) as client:
            assert (await _admin(client, "GET", "/faults", **headers)).status_code == status
            assert client.venue.admin_token not in repr(client.venue)

    run(test)


def test_every_kind_says_what_it_can_be_told() -> None:
    """Each option of a kind is a field of an injected fault."""
    for kind in VenueFault:
        bounds = {"seconds": 1} if kind.value in LASTING else {"count": 1}
        row = VenueFaults().inject(kind, **bounds).row()
        assert OPTIONS.get(kind, frozenset()) <= row.keys()


def test_the_document_lists_every_kind() -> None:
    """Each kind has a row with what it can be told, and no row is about anything else."""
    page = Path(__file__).parents[2] / "docs" / "venue-faults.md"
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    told = {kind: set(re.findall(r"`(\w+)`", options)) for kind, options in rows}
    assert told.keys() == set(VenueFault)
    for kind, options in told.items():
        assert OPTIONS.get(VenueFault(kind), frozenset()) <= options, kind
