"""GTD, post-only, the taker's delay and its races (PROTOCOL §2.3, §2.8, §2.10)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.venue.support import BOOK, START, open_venue, run, settle, snapshot, until

INVALID = (400, "invalid expiration")
FAR = snapshot(0, {10: 100}, {90: 100})


def test_a_gtd_order_ends_a_minute_before_its_expiration() -> None:
    """It rests like a GTC, then ends with the status of expiry and frees its cash."""

    async def test() -> None:
        async with open_venue(quiet=1_000.0) as client, client.user_feed() as feed:
            expiration = str(START + 300)
            answer = await client.place(
                "BUY", "0.45", "10", order_type="GTD", expiration=expiration
            )
            order = answer["orderID"]
            row = await client.row(order)
            assert (row["order_type"], row["expiration"]) == ("GTD", expiration)
            (placed,) = await feed.rest()
            assert placed["expiration"] == expiration
            await client.clock.advance(239)
            assert (await client.row(order))["status"] == "LIVE"
            await client.clock.advance(1)
            assert (await client.row(order))["status"] == "CANCELED"
            (ended,) = await feed.rest()
            assert (ended["type"], ended["status"]) == ("CANCELLATION", "CANCELED_EXPIRED_ORDER")
            book = (await client.clob("/book", token_id=client.up)).json()
            assert book["bids"][-1]["price"] == "0.48"
            assert (await client.signed("GET", "/data/orders")).json()["data"] == []

    run(test)


def test_a_gtd_order_that_is_over_does_not_end_again() -> None:
    """Cancelled or filled before its time, it stays what it became."""

    async def test() -> None:
        async with open_venue() as client, client.user_feed() as feed:
            dated = {"order_type": "GTD", "expiration": str(START + 300)}
            cancelled = (await client.place("BUY", "0.45", "10", **dated))["orderID"]
            filled = (await client.place("BUY", "0.52", "10", **dated))["orderID"]
            await client.signed("DELETE", "/order", {"orderID": cancelled})
            await client.clock.advance(10)
            await feed.rest()
            await client.clock.advance(300)
            assert await feed.rest() == []
            assert (await client.row(cancelled))["status"] == "CANCELED"
            assert (await client.row(filled))["status"] == "MATCHED"

    run(test)


def test_a_gtd_order_beyond_the_end_of_its_market_ends_with_it() -> None:
    """Its market's resolution comes first."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.place(
                "BUY", "0.45", "10", order_type="GTD", expiration=str(START + 50_000)
            )
            await client.clock.advance(1_000)
            row = await client.row(answer["orderID"])
            assert row["status"] == "CANCELED_MARKET_RESOLVED"

    run(test)


@pytest.mark.parametrize(
    ("order_type", "expiration"),
    [
        ("GTD", str(START + 179)),
        ("GTD", "0"),
        ("GTD", ""),
        ("GTC", str(START + 600)),
        ("FOK", str(START + 600)),
        ("FAK", str(START + 600)),
    ],
)
def test_expirations_must_fit_the_type(order_type: str, expiration: str) -> None:
    """A GTD needs one at least three minutes ahead, the others must have none."""

    async def test() -> None:
        async with open_venue() as client:
            options = {"order_type": order_type, "expiration": expiration}
            assert await client.refused("BUY", "0.45", "10", **options) == INVALID

    run(test)


@pytest.mark.parametrize("expiration", ["-5", "soon", "1" * 13, "1.5"])
def test_an_expiration_is_a_number_of_seconds(expiration: str) -> None:
    """Anything else is an invalid payload."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.refused(
                "BUY", "0.45", "10", order_type="GTD", expiration=expiration
            )
            assert answer == (400, "Invalid order payload")

    run(test)


def test_a_gtd_order_has_the_minimum_size_of_a_resting_one_and_may_be_post_only() -> None:
    """The rules of GTC hold for it."""

    async def test() -> None:
        async with open_venue() as client:
            dated = {"order_type": "GTD", "expiration": str(START + 300)}
            assert (
                "lower than the minimum: 5"
                in (await client.refused("BUY", "0.45", "4.99", **dated))[1]
            )
            assert await client.refused("BUY", "0.52", "10", post_only=True, **dated) == (
                400,
                "invalid post-only order: order crosses book",
            )
            answer = await client.place("BUY", "0.51", "10", post_only=True, **dated)
            assert answer["status"] == "live"

    run(test)


# ------------------------------------------------------------------ the delay


def test_a_held_order_cannot_be_cancelled() -> None:
    """In the taker's delay it is not found; afterwards it is matched."""

    async def test() -> None:
        async with open_venue([BOOK], taker_delay=0.05) as client:
            body = client.order("BUY", "0.52", "10")
            placing = asyncio.create_task(client.signed("POST", "/order", body))
            await until(lambda: bool(client.venue._desk._held))
            (order,) = client.venue._desk._held
            answer = (await client.signed("DELETE", "/order", {"orderID": order})).json()
            assert answer["canceled"] == []
            assert order in answer["not_canceled"]
            duplicate = await client.signed("POST", "/order", body)
            assert duplicate.json()["error"].endswith("is invalid. Duplicated.")
            await client.clock.advance(0.05)
            assert (await placing).json()["status"] == "matched"

    run(test)


def test_a_maker_may_escape_during_the_delay() -> None:
    """It cancels while the taker is held: the taker then rests, or is killed."""

    async def test(order_type: str) -> tuple[int, Any]:
        async with open_venue([FAR], taker_delay=0.05) as maker:
            taker = maker.other()
            order = (await maker.place("BUY", "0.50", "10"))["orderID"]
            body = taker.order("BUY", "0.50", "10", token=taker.down, order_type=order_type)
            placing = asyncio.create_task(taker.signed("POST", "/order", body))
            await until(lambda: bool(maker.venue._desk._held))
            answer = (await maker.signed("DELETE", "/order", {"orderID": order})).json()
            assert answer["canceled"] == [order]
            await maker.clock.advance(0.05)
            reply = await placing
            return reply.status_code, reply.json().get("status") or reply.json()["error"]

    async def all_types() -> None:
        assert await test("GTC") == (200, "live")
        for kind in ("FAK", "FOK"):
            status, text = await test(kind)
            assert status == 400
            assert kind in text

    run(all_types)


def test_a_batch_is_held_together_not_one_after_the_other() -> None:
    """Fifteen marketable orders wait for one delay, not for fifteen."""

    async def test() -> None:
        async with open_venue([BOOK], taker_delay=0.05) as client:
            bodies = [client.order("BUY", "0.52", "5") for _ in range(15)]
            placing = asyncio.create_task(client.signed("POST", "/orders", bodies))
            await until(lambda: len(client.venue._desk._held) == 15)
            await settle()
            await client.clock.advance(0.05)
            answers = (await placing).json()
            assert [answer["status"] for answer in answers] == ["matched"] * 15

    run(test)
