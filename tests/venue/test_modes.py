"""What the venue does to its clients on request: modes, failing trades, late and double events."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from polyframe.errors import ConfigError
from polyframe.venue import VenueMode
from tests.venue.support import Client, open_venue, run, snapshot
from tests.venue.test_accounts import funded

FAR = snapshot(0, {10: 100}, {90: 100})
CANCEL_ONLY = (
    "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."
)
DISABLED = "Trading is currently disabled. Check polymarket.com for updates"
POST_ONLY = "post-only mode: only post-only orders and cancels are allowed"


@pytest.mark.parametrize(
    ("mode", "order", "post_only", "cancel"),
    [
        (VenueMode.NORMAL, 200, 200, 200),
        ("restarting", 425, 425, 425),
        ("post-only", 503, 200, 200),
        ("cancel-only", 503, 503, 200),
        ("disabled", 503, 503, 503),
    ],
)
def test_each_mode_takes_what_it_says(mode: str, order: int, post_only: int, cancel: int) -> None:
    """Orders, post-only orders and every way to cancel."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            live = (await client.place("BUY", "0.50", "10"))["orderID"]
            client.venue.set_mode(mode)

            async def place(**options: Any) -> int:
                body = client.order("BUY", "0.50", "10", **options)
                return (await client.signed("POST", "/order", body)).status_code

            assert await place() == order
            assert await place(post_only=True) == post_only
            for path, body in (
                ("/order", {"orderID": live}),
                ("/orders", [live]),
                ("/cancel-market-orders", {"asset_id": client.up}),
                ("/cancel-all", None),
            ):
                assert (await client.signed("DELETE", path, body)).status_code == cancel
            assert (await client.signed("GET", "/data/orders")).status_code == 200
            client.venue.set_mode("normal")
            assert await place() == 200

    run(test)


def test_modes_speak_the_venues_words() -> None:
    """Texts, code and the time to come back, also in the entries of a batch."""

    async def test() -> None:
        async with open_venue([FAR]) as client:

            async def refusal(path: str = "/order") -> Any:
                order = client.order("BUY", "0.50", "10")
                body: Any = order if path == "/order" else [order]
                return await client.signed("POST", path, body)

            client.venue.set_mode("cancel-only")
            assert (await refusal()).json() == {"error": CANCEL_ONLY}
            assert (await refusal("/orders")).status_code == 503
            client.venue.set_mode("disabled")
            assert (await refusal()).json() == {"error": DISABLED}
            client.venue.set_mode("post-only", retry_after=79)
            answer = await refusal()
            assert answer.headers["Retry-After"] == "79"
            assert answer.json() == {
                "error": POST_ONLY,
                "code": "post_only_mode",
                "retry_after_seconds": 79,
            }
            answer = await refusal("/orders")
            assert answer.status_code == 200
            (entry,) = answer.json()
            assert (entry["success"], entry["orderID"]) == (True, "")
            assert entry["errorMsg"] == POST_ONLY
            with pytest.raises(ConfigError, match="mode: expected one of normal, restarting"):
                client.venue.set_mode("lunch")

    run(test)


# ------------------------------------------------------------------ trades that fail


async def _trade(maker: Client, taker: Client) -> None:
    await maker.place("SELL", "0.50", "20")
    await taker.place("BUY", "0.50", "20")


def test_a_trade_that_fails_is_taken_back() -> None:
    """MATCHED, RETRYING, FAILED for both parties; cash, shares and rebate are as before it."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50"), redeem=False) as maker:
            taker = maker.other()
            maker.venue.faults.inject("trade_failed", count=1)
            async with maker.user_feed() as makers, taker.user_feed() as takers:
                await _trade(maker, taker)
                assert taker.account.held(taker.up) == 20
                await maker.clock.advance(10)
                for feed in (makers, takers):
                    trades = [m for m in await feed.rest() if m["event_type"] == "trade"]
                    assert [m["status"] for m in trades] == ["MATCHED", "RETRYING", "FAILED"]
                    assert {m["transaction_hash"] for m in trades} == {""}
            assert maker.account.cash == taker.account.cash == 1000
            assert maker.account.shares == {maker.up: Decimal(50)}
            assert taker.account.shares == {}
            assert maker.account.rebates == 0
            await _trade(maker, taker)
            await maker.clock.advance(10)
            (last, _) = (await taker.signed("GET", "/data/trades")).json()["data"]
            assert last["status"] == "TRADE_STATUS_CONFIRMED"

    run(test)


def test_what_is_spent_cannot_be_taken_back() -> None:
    """A failing trade whose shares were sold on stays RETRYING, and nothing is booked twice."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50"), redeem=False) as maker:
            taker = maker.other()
            maker.venue.faults.inject("trade_failed", count=1)
            await _trade(maker, taker)
            await maker.place("BUY", "0.40", "20")
            await taker.place("SELL", "0.40", "20")
            cash = maker.account.cash, taker.account.cash
            await maker.clock.advance(10)
            rows = (await taker.signed("GET", "/data/trades")).json()["data"]
            assert {row["status"] for row in rows} == {
                "TRADE_STATUS_CONFIRMED",
                "TRADE_STATUS_RETRYING",
            }
            assert (maker.account.cash, taker.account.cash) == cash

    run(test)


def test_orders_that_lost_their_cover_are_withdrawn() -> None:
    """Shares and cash of a trade that fails were offered on: those orders end as INVALID."""

    async def test() -> None:
        async with open_venue([FAR], account=funded("0", up="50"), redeem=False) as maker:
            taker = maker.other(funded("20"))
            maker.venue.faults.inject("trade_failed", count=1)
            async with maker.user_feed() as makers, taker.user_feed() as takers:
                await _trade(maker, taker)
                bid = (await maker.place("BUY", "0.40", "20"))["orderID"]
                kept = (await maker.place("SELL", "0.80", "30"))["orderID"]
                offer = (await taker.place("SELL", "0.70", "20"))["orderID"]
                small = (await taker.place("BUY", "0.20", "10"))["orderID"]
                await maker.clock.advance(10)
                for feed, order in ((makers, bid), (takers, offer)):
                    ends = [m for m in await feed.rest() if m["type"] == "CANCELLATION"]
                    assert [(m["id"], m["status"]) for m in ends] == [(order, "INVALID")]
            assert (await maker.row(kept))["status"] == "LIVE"
            assert (await taker.row(small))["status"] == "LIVE"
            book = (await maker.clob("/book", token_id=maker.up)).json()
            assert [level["price"] for level in book["asks"]] == ["0.9", "0.8"]
            # Whoever comes now meets only what is covered.
            other = maker.other()
            await other.place("BUY", "0.80", "30")
            await other.place("SELL", "0.20", "10")
            assert maker.account.cash == 24
            assert taker.account.held(taker.up) == 10

    run(test)


# ------------------------------------------------------------------ the user channel


def test_the_venue_may_withdraw_an_order() -> None:
    """A CANCELLATION with status INVALID; an order that is over cannot be withdrawn."""

    async def test() -> None:
        async with open_venue([FAR]) as client, client.user_feed() as feed:
            order = (await client.place("BUY", "0.50", "10"))["orderID"]
            await feed.rest()
            assert client.venue.withdraw_order(order)
            (message,) = await feed.rest()
            assert (message["type"], message["status"]) == ("CANCELLATION", "INVALID")
            assert (await client.row(order))["status"] == "INVALID"
            assert not client.venue.withdraw_order(order)
            assert not client.venue.withdraw_order("0x")

    run(test)


def test_events_may_come_twice() -> None:
    """Each message of the user channel, until it is switched off."""

    async def test() -> None:
        async with open_venue([FAR]) as client, client.user_feed() as feed:
            twice = client.venue.faults.inject("user_duplicate", seconds=60)
            await client.place("BUY", "0.50", "10")
            first, second = await feed.rest()
            assert first == second
            twice.stop()
            await client.place("BUY", "0.50", "10")
            assert len(await feed.rest()) == 1

    run(test)


def test_events_may_come_after_the_answer() -> None:
    """With a lag the answer to the order is there before its PLACEMENT, which still comes."""

    async def test() -> None:
        async with open_venue([FAR], user_lag=0.1) as client, client.user_feed() as feed:
            order = (await client.place("BUY", "0.50", "10"))["orderID"]
            assert await feed.rest() == []
            message = await feed.until("order")
            assert (message["id"], message["type"]) == (order, "PLACEMENT")

    run(test)


def test_the_resolution_may_be_withheld() -> None:
    """No market_resolved on the channel; the market is resolved all the same."""

    async def test() -> None:
        async with (
            open_venue([FAR], tell_resolution=False) as client,
            client.market_feed() as feed,
        ):
            await feed.next()
            await client.clock.advance(1_000)
            kinds = {m["event_type"] for m in await feed.rest() if isinstance(m, dict)}
            assert "market_resolved" not in kinds
            row = (await client.gamma(f"/markets/slug/{client.market.slug}")).json()
            assert row["umaResolutionStatus"] == "resolved"

    run(test)
