"""Faults on demand: requests, and what the venue makes of orders, markets and trades."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import httpx
import pytest

from polyframe.errors import ConfigError
from polyframe.venue import VenueFault
from tests.venue.support import START, Feed, open_venue, run, snapshot, until
from tests.venue.test_accounts import funded

FAR = snapshot(0, {10: 100}, {90: 100})


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


def test_a_batch_can_be_answered_with_delayed() -> None:
    """Entry by entry; what was refused stays refused, and what is no batch is refused as ever."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            client.venue.faults.inject("order_delayed", count=5)
            bodies = [client.order("BUY", price, "10") for price in ("0.40", "0.405", "0.41")]
            entries = (await client.signed("POST", "/orders", bodies)).json()
            assert [entry["status"] for entry in entries] == ["delayed", "", "delayed"]
            assert (await client.signed("POST", "/orders", [])).status_code == 400

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
