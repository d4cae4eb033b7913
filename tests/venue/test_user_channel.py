"""The user channel (PROTOCOL §5)."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.venue.support import (
    BOOK,
    PATIENCE,
    START,
    open_venue,
    run,
    snapshot,
    trade_print,
    until,
)

SAMPLES = Path(__file__).parents[3] / "shared" / "protocol_samples"

FOK_KILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK_KILLED = (
    "no orders found to match with FAK order. "
    "FAK orders are partially filled or killed if no match is found."
)


def short(messages: list[Any]) -> list[tuple[str, str, str]]:
    """Return type, status and amount of each message."""
    return [
        (m["type"], m["status"], m["size"] if m["event_type"] == "trade" else m["size_matched"])
        for m in messages
    ]


def test_a_resting_order_is_placed_updated_and_cancelled() -> None:
    """PLACEMENT, the trade, a cumulative UPDATE for each fill, CANCELLATION of the rest."""
    script = [BOOK, snapshot(1, {40: 1}, {48: 4}), snapshot(2, {40: 1}, {48: 7})]

    async def test() -> None:
        async with (
            open_venue(script, mined_after=50.0, confirmed_after=60.0) as client,
            client.user_feed() as feed,
        ):
            identity = (await client.place("BUY", "0.48", "20"))["orderID"]
            assert short(await feed.rest()) == [("PLACEMENT", "LIVE", "0")]
            await client.clock.advance(1)
            assert short(await feed.rest()) == [
                ("TRADE", "MATCHED", "4"),
                ("UPDATE", "LIVE", "4"),
            ]
            await client.clock.advance(1)
            messages = await feed.rest()
            assert short(messages) == [("TRADE", "MATCHED", "7"), ("UPDATE", "LIVE", "11")]
            assert len(messages[1]["associate_trades"]) == 2
            await client.signed("DELETE", "/order", {"orderID": identity})
            (message,) = await feed.rest()
            assert short([message]) == [("CANCELLATION", "CANCELED", "11")]
            assert message["id"] == identity

    run(test)


def test_an_order_message_has_the_documented_fields() -> None:
    """All numbers are text, created_at in seconds, timestamp in milliseconds."""

    async def test() -> None:
        async with open_venue(now=START + 0.25) as client, client.user_feed() as feed:
            answer = await client.place("BUY", "0.40", "7.5", token=client.down)
            (message,) = await feed.rest()
            assert message == {
                "event_type": "order",
                "type": "PLACEMENT",
                "id": answer["orderID"],
                "owner": client.account.api_key,
                "order_owner": client.account.api_key,
                "market": client.market.condition_id,
                "asset_id": client.down,
                "side": "BUY",
                "original_size": "7.5",
                "size_matched": "0",
                "price": "0.4",
                "associate_trades": None,
                "outcome": "Down",
                "created_at": str(START),
                "expiration": "0",
                "order_type": "GTC",
                "status": "LIVE",
                "maker_address": client.account.address,
                "timestamp": str(START * 1000 + 250),
            }

    run(test)


def test_messages_have_the_fields_of_the_recorded_ones() -> None:
    """Every key of the recorded order and trade messages is there, with a value of that type."""
    if not SAMPLES.exists():
        pytest.skip("the recorded messages are not next to this repository")
    order = json.loads((SAMPLES / "ws_user_order_placement.json").read_text())
    trade = json.loads((SAMPLES / "ws_user_trade_doc_2026.json").read_text())

    async def test() -> None:
        async with open_venue() as client, client.user_feed() as feed:
            await client.place("BUY", "0.52", "7")
            placement, matched, _ = await feed.rest()
            for recorded, ours in (
                (order, placement),
                (trade, matched),
                (trade["maker_orders"][0], matched["maker_orders"][0]),
            ):
                assert recorded.keys() <= ours.keys()
                for name, value in recorded.items():
                    if value is not None:
                        assert isinstance(ours[name], type(value)), name

    run(test)


def test_a_taker_can_have_a_trade_for_each_price_and_then_the_update() -> None:
    """If set so; the makers add up; their side is the other one on the same token."""

    async def test() -> None:
        async with open_venue(whole_trades=False) as client, client.user_feed() as feed:
            answer = await client.place("BUY", "0.53", "150")
            messages = await feed.rest()
            assert short(messages) == [
                ("PLACEMENT", "LIVE", "0"),
                ("TRADE", "MATCHED", "100"),
                ("UPDATE", "LIVE", "100"),
                ("TRADE", "MATCHED", "50"),
                ("UPDATE", "MATCHED", "150"),
            ]
            trade = messages[1]
            assert trade["id"] == answer["tradeIDs"][0]
            assert trade["trader_side"] == "TAKER"
            assert trade["taker_order_id"] == answer["orderID"]
            assert (trade["asset_id"], trade["side"]) == (client.up, "BUY")
            assert (trade["price"], trade["outcome"]) == ("0.52", "Up")
            assert trade["match_time"] == trade["last_update"] == str(START)
            assert trade["transaction_hash"] == ""
            assert len(trade["maker_orders"]) == 2
            assert sum(Decimal(m["matched_amount"]) for m in trade["maker_orders"]) == 100
            for maker in trade["maker_orders"]:
                assert (maker["asset_id"], maker["side"], maker["price"]) == (
                    client.up,
                    "SELL",
                    "0.52",
                )
                assert maker["owner"] != client.account.api_key

    run(test)


def test_all_that_is_taken_at_once_is_one_trade() -> None:
    """One id, the average above, each maker at its own price, exact cash (§5.5)."""

    async def test() -> None:
        async with open_venue() as client, client.user_feed() as feed:
            other = client.other()
            resting = (await other.place("BUY", "0.47", "20", token=other.down))["orderID"]
            answer = await client.place("BUY", "0.53", "150")
            (trade_id,) = answer["tradeIDs"]
            assert answer["makingAmount"] == "78.5"
            placed, trade, update = await feed.rest()
            assert (placed["type"], update["type"]) == ("PLACEMENT", "UPDATE")
            assert update["associate_trades"] == [trade_id]
            assert (trade["id"], trade["size"], trade["price"]) == (trade_id, "150", "0.523333")
            legs = trade["maker_orders"]
            assert sum(Decimal(leg["matched_amount"]) for leg in legs) == 150
            assert {leg["price"] for leg in legs} == {"0.52", "0.53"}
            assert resting not in {leg["order_id"] for leg in legs}  # behind the 200 displayed
            fees = Decimal("1.74720") + Decimal("0.87185")
            assert client.account.cash == 1000 - Decimal("78.5") - fees
            assert client.venue.stats.trades == 1
            await client.clock.advance(3)
            url = f"{client.venue.url}/data-api/trades?user={client.account.address}"
            rows = (await client.http.get(url)).json()
            assert [(row["size"], row["price"]) for row in rows] == [(100, 0.52), (50, 0.53)]

    run(test)


def test_buying_down_meets_buyers_of_up() -> None:
    """The makers of a mint are on the other token, with the same side and the mirrored price."""

    async def test() -> None:
        async with open_venue() as client, client.user_feed() as feed:
            await client.place("BUY", "0.52", "10", token=client.down)
            trade = (await feed.rest())[1]
            assert (trade["asset_id"], trade["side"], trade["price"]) == (
                client.down,
                "BUY",
                "0.52",
            )
            (maker,) = trade["maker_orders"]
            assert (maker["asset_id"], maker["side"], maker["price"]) == (client.up, "BUY", "0.48")
            assert (maker["outcome"], maker["outcome_index"]) == ("Up", 0)

    run(test)


def test_a_maker_fill_by_a_print_names_the_others_too() -> None:
    """trader_side MAKER: the top is the taker's, our part is among the makers in our own terms."""

    async def test() -> None:
        async with (
            open_venue([BOOK, trade_print(1, "BUY", 52, 104)]) as client,
            client.user_feed() as feed,
        ):
            identity = (await client.place("BUY", "0.48", "10", token=client.down))["orderID"]
            await feed.rest()
            await client.clock.advance(1)
            trade, update = await feed.rest()
            assert trade["trader_side"] == "MAKER"
            assert trade["owner"] != client.account.api_key
            assert (trade["asset_id"], trade["side"]) == (client.up, "BUY")
            assert (trade["price"], trade["size"]) == ("0.52", "104")
            ours = [m for m in trade["maker_orders"] if m["owner"] == client.account.api_key]
            assert ours == [
                {
                    "order_id": identity,
                    "owner": client.account.api_key,
                    "maker_address": client.account.address,
                    "matched_amount": "4",
                    "price": "0.48",
                    "fee_rate_bps": "0",
                    "asset_id": client.down,
                    "outcome": "Down",
                    "outcome_index": 1,
                    "side": "BUY",
                }
            ]
            assert len(trade["maker_orders"]) > 1
            assert short([update]) == [("UPDATE", "LIVE", "4")]

    run(test)


def test_two_own_orders_in_one_trade() -> None:
    """Several of our orders at one price are legs of one trade; a self-match has both sides ours."""

    async def test() -> None:
        async with (
            open_venue([BOOK, snapshot(1, {40: 1}, {48: 30})]) as client,
            client.user_feed() as feed,
        ):
            first = (await client.place("BUY", "0.48", "10"))["orderID"]
            second = (await client.place("BUY", "0.48", "10"))["orderID"]
            await feed.rest()
            await client.clock.advance(1)
            trade, *updates = await feed.rest()
            assert [m["order_id"] for m in trade["maker_orders"]] == [first, second]
            assert trade["size"] == "20"
            assert short(updates) == [("UPDATE", "MATCHED", "10")] * 2
            maker = (await client.place("BUY", "0.45", "10"))["orderID"]
            taker = (await client.place("SELL", "0.45", "10"))["orderID"]
            messages = await feed.rest()
            trade = next(m for m in messages if m["event_type"] == "trade")
            assert trade["trader_side"] == "TAKER"
            assert trade["taker_order_id"] == taker
            assert [m["order_id"] for m in trade["maker_orders"]] == [maker]
            assert {m["id"] for m in messages if m["type"] == "UPDATE"} == {maker, taker}

    run(test)


def test_trades_settle_in_steps() -> None:
    """The same trade id again as MINED and CONFIRMED, with a transaction from MINED on."""

    async def test() -> None:
        async with (
            open_venue(mined_after=2.0, confirmed_after=5.0) as client,
            client.user_feed() as feed,
        ):
            await client.place("BUY", "0.52", "10")
            first = (await feed.rest())[1]
            await client.clock.advance(2)
            (mined,) = await feed.rest()
            await client.clock.advance(2.9)
            assert await feed.rest() == []
            await client.clock.advance(0.1)
            (confirmed,) = await feed.rest()
            assert [m["status"] for m in (first, mined, confirmed)] == [
                "MATCHED",
                "MINED",
                "CONFIRMED",
            ]
            assert first["id"] == mined["id"] == confirmed["id"]
            assert mined["transaction_hash"] == confirmed["transaction_hash"]
            assert len(mined["transaction_hash"]) == 66
            assert mined["match_time"] == str(START)
            assert mined["last_update"] == str(START + 2)
            assert confirmed["timestamp"] == str((START + 5) * 1000)

    run(test)


@pytest.mark.parametrize(
    ("order_type", "price", "text"), [("FOK", "0.52", FOK_KILLED), ("FAK", "0.51", FAK_KILLED)]
)
def test_a_killed_order_is_reported_as_recorded(order_type: str, price: str, text: str) -> None:
    """HTTP 400 and a CANCELLATION whose status carries the text and whose fields are empty."""

    async def test() -> None:
        async with open_venue() as client, client.user_feed() as feed:
            answer = await client.refused("BUY", price, "101", order_type=order_type)
            assert answer == (400, text)
            (message,) = await feed.rest()
            assert message["type"] == "CANCELLATION"
            assert message["status"] == f"CANCELED_{text}"
            assert message["size_matched"] == message["outcome"] == message["created_at"] == ""
            assert message["associate_trades"] == []
            assert message["order_type"] == order_type

    run(test)


def test_the_rest_of_a_fak_is_cancelled() -> None:
    """After its fills a FAK ends with a CANCELLATION that says how much was filled."""

    async def test() -> None:
        async with open_venue() as client, client.user_feed() as feed:
            await client.place("BUY", "0.52", "120", order_type="FAK")
            assert short(await feed.rest()) == [
                ("PLACEMENT", "LIVE", "0"),
                ("TRADE", "MATCHED", "100"),
                ("UPDATE", "LIVE", "100"),
                ("CANCELLATION", "CANCELED", "100"),
            ]

    run(test)


@pytest.mark.parametrize("part", ["apiKey", "secret", "passphrase"])
def test_wrong_credentials_are_disconnected(part: str) -> None:
    """Each part of the credentials is checked."""

    async def test() -> None:
        async with open_venue() as client:
            auth = {
                "apiKey": client.account.api_key,
                "secret": client.account.secret,
                "passphrase": client.account.passphrase,
                part: "wrong",
            }
            await rejected(client.venue.ws_url, {"type": "user", "auth": auth})

    run(test)


@pytest.mark.parametrize("frame", [[], {"type": "user"}, {"type": "market", "auth": {}}])
def test_a_first_frame_without_credentials_is_disconnected(frame: Any) -> None:
    """The first frame must be the authentication."""

    async def test() -> None:
        async with open_venue() as client:
            await rejected(client.venue.ws_url, frame)

    run(test)


async def rejected(ws_url: str, frame: Any) -> None:
    """Check that the venue closes the connection after this frame."""
    async with connect(f"{ws_url}/ws/user") as socket:
        await socket.send(json.dumps(frame))
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionClosed):
                await socket.recv()


def test_the_markets_filter() -> None:
    """Only the wanted condition ids are sent; the set can be changed; empty means all."""

    async def test() -> None:
        async with open_venue() as client:
            condition = client.market.condition_id
            async with (
                client.user_feed(markets=[condition]) as ours,
                client.user_feed(markets=["0xother"]) as other,
                client.user_feed(markets=[]) as everything,
            ):

                async def counts() -> list[int]:
                    await client.place("BUY", "0.40", "10")
                    return [len(await feed.rest()) for feed in (ours, other, everything)]

                assert await counts() == [1, 0, 1]
                await ours.send({"operation": "unsubscribe", "markets": [condition]})
                await other.send({"operation": "subscribe", "markets": [condition]})
                await everything.send({"operation": "unsubscribe", "markets": [condition]})
                for feed in (ours, other, everything):
                    await feed.ping()
                assert await counts() == [0, 1, 1]

    run(test)


def test_nothing_is_replayed_after_a_reconnect() -> None:
    """What happened while nobody was connected is only in REST."""

    async def test() -> None:
        async with open_venue() as client:
            async with client.user_feed():
                pass
            await until(lambda: not client.venue._hub.connections("user"))
            await client.place("BUY", "0.40", "10")
            async with client.user_feed() as feed:
                await feed.ping()
            assert client.venue.stats.user_connections == 2

    run(test)
