"""The market channel (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.venue.support import (
    BOOK,
    PATIENCE,
    PERIOD,
    START,
    ScriptedSource,
    make_market,
    open_venue,
    run,
    snapshot,
    trade_print,
    until,
)

MOVED = snapshot(1, {48: 100, 46: 50}, {51: 30, 52: 100, 53: 200})


def kinds(messages: list[Any]) -> list[str]:
    """Return the types of messages."""
    return [message["event_type"] for message in messages]


def test_a_subscription_is_answered_by_one_array_of_books() -> None:
    """No acknowledgement: the first frame is an array with the book of each token."""

    async def test() -> None:
        async with open_venue() as client, client.market_feed() as feed:
            books = await feed.next()
            assert [book["asset_id"] for book in books] == [client.up, client.down]
            assert books[0]["bids"][-1] == {"price": "0.48", "size": "100"}
            assert books[0]["asks"][-1] == {"price": "0.52", "size": "100"}
            assert books[1]["bids"][-1] == {"price": "0.48", "size": "100"}
            for book in books:
                assert book["event_type"] == "book"
                assert book["tick_size"] == "0.01"
                assert book["timestamp"] == str(START * 1000)
                assert book["market"] == client.market.condition_id
            assert await feed.rest() == []

    run(test)


def test_changes_come_as_price_change_with_both_tokens() -> None:
    """Only changed levels, each mirrored on the other token, with the top after the change."""

    async def test() -> None:
        async with open_venue([BOOK, MOVED]) as client, client.market_feed() as feed:
            await feed.next()
            await client.clock.advance(1)
            message = await feed.until("price_change")
            assert message["timestamp"] == str((START + 1) * 1000)
            assert "asset_id" not in message
            changes = {
                (c["asset_id"], c["side"], c["price"]): c["size"] for c in message["price_changes"]
            }
            assert changes == {
                (client.up, "BUY", "0.47"): "0",
                (client.down, "SELL", "0.53"): "0",
                (client.up, "BUY", "0.46"): "50",
                (client.down, "SELL", "0.54"): "50",
                (client.up, "SELL", "0.51"): "30",
                (client.down, "BUY", "0.49"): "30",
            }
            tops = {(c["asset_id"], c["best_bid"], c["best_ask"]) for c in message["price_changes"]}
            assert tops == {(client.up, "0.48", "0.51"), (client.down, "0.49", "0.52")}
            assert all(len(c["hash"]) == 40 for c in message["price_changes"])
            assert [c["size"] for c in message["price_changes"]][:2] == ["0", "0"]

    run(test)


def test_an_empty_side_has_the_edge_as_its_top() -> None:
    """best_bid "0" and best_ask "1" stand for nothing."""

    async def test() -> None:
        async with (
            open_venue([BOOK, snapshot(1, {48: 100}, {})]) as client,
            client.market_feed() as feed,
        ):
            await feed.next()
            await client.clock.advance(1)
            message = await feed.until("price_change")
            up = next(c for c in message["price_changes"] if c["asset_id"] == client.up)
            down = next(c for c in message["price_changes"] if c["asset_id"] == client.down)
            assert (up["best_bid"], up["best_ask"]) == ("0.48", "1")
            assert (down["best_bid"], down["best_ask"]) == ("0", "0.52")

    run(test)


def test_following_the_changes_gives_the_same_book_as_rest() -> None:
    """Applying every price_change to the first book ends at what /book shows."""
    script = [
        BOOK,
        MOVED,
        snapshot(2, {49: 5, 48: 70}, {51: 30, 53: 199}),
        snapshot(3, {45: 1}, {46: 2}),
        snapshot(4, {49: 5, 48: 70}, {51: 30, 53: 199}),
    ]

    async def test() -> None:
        async with open_venue(script) as client, client.market_feed() as feed:
            (first, _) = await feed.next()
            sides = {
                side: {Decimal(level["price"]): level["size"] for level in first[name]}
                for side, name in (("BUY", "bids"), ("SELL", "asks"))
            }
            await client.clock.advance(4)
            for message in await feed.rest():
                for change in message.get("price_changes", ()):
                    if change["asset_id"] == client.up:
                        sides[change["side"]][Decimal(change["price"])] = change["size"]
            rest = (await client.clob("/book", token_id=client.up)).json()
            for side, name in (("BUY", "bids"), ("SELL", "asks")):
                followed = {p: s for p, s in sides[side].items() if s != "0"}
                assert followed == {Decimal(lv["price"]): lv["size"] for lv in rest[name]}

    run(test)


def test_best_bid_ask_only_when_the_top_moves_and_only_on_request() -> None:
    """A custom message for each token when the top changes."""
    deep = snapshot(2, {48: 100, 46: 51}, {51: 30, 52: 100, 53: 200})

    async def test() -> None:
        async with (
            open_venue([BOOK, MOVED, deep]) as client,
            client.market_feed() as custom,
            client.market_feed(custom_feature_enabled=False) as plain,
        ):
            await custom.next()
            await plain.next()
            await client.clock.advance(1)
            messages = await custom.rest()
            assert kinds(messages) == ["price_change", "best_bid_ask", "best_bid_ask"]
            assert [
                (m["asset_id"], m["best_bid"], m["best_ask"], m["spread"]) for m in messages[1:]
            ] == [(client.up, "0.48", "0.51", "0.03"), (client.down, "0.49", "0.52", "0.03")]
            await client.clock.advance(1)
            assert kinds(await custom.rest()) == ["price_change"]
            assert kinds(await plain.rest()) == ["price_change", "price_change"]

    run(test)


def test_a_print_is_published_with_both_books() -> None:
    """A trade of the source gives last_trade_price for Up and a book of each token."""

    async def test() -> None:
        async with (
            open_venue([BOOK, trade_print(1, "BUY", 52, 12.5)]) as client,
            client.market_feed() as feed,
        ):
            await feed.next()
            await client.clock.advance(1)
            messages = await feed.rest()
            assert kinds(messages) == ["last_trade_price", "book", "book"]
            trade = messages[0]
            assert (trade["asset_id"], trade["price"], trade["size"], trade["side"]) == (
                client.up,
                "0.52",
                "12.5",
                "BUY",
            )
            assert [m["asset_id"] for m in messages[1:]] == [client.up, client.down]
            assert messages[1]["last_trade_price"] == "0.52"
            assert messages[2]["last_trade_price"] == "0.48"

    run(test)


def test_own_orders_and_trades_are_published() -> None:
    """A resting order changes a level of both tokens; a trade is news of the taker's token."""

    async def test() -> None:
        async with open_venue() as client, client.market_feed(custom_feature_enabled=False) as feed:
            await feed.next()
            await client.place("BUY", "0.47", "10", token=client.down)
            (message,) = await feed.rest()
            assert [
                (c["asset_id"], c["side"], c["price"], c["size"]) for c in message["price_changes"]
            ] == [(client.up, "SELL", "0.53", "210"), (client.down, "BUY", "0.47", "210")]
            await client.place("BUY", "0.52", "10", token=client.down)
            messages = await feed.rest()
            assert kinds(messages) == ["last_trade_price", "price_change", "book", "book"]
            trade = messages[0]
            assert (trade["asset_id"], trade["side"], trade["price"], trade["size"]) == (
                client.down,
                "BUY",
                "0.52",
                "10",
            )
            assert messages[2]["bids"][-1] == {"price": "0.48", "size": "90"}

    run(test)


def test_a_fill_of_a_resting_order_is_a_public_trade() -> None:
    """When the book moves through an own order the trade is printed on Up, with the books."""

    async def test() -> None:
        async with (
            open_venue([BOOK, snapshot(1, {40: 1}, {47: 6})]) as client,
            client.market_feed(custom_feature_enabled=False) as feed,
        ):
            await feed.next()
            await client.place("BUY", "0.48", "10")
            await feed.rest()
            await client.clock.advance(1)
            messages = await feed.rest()
            assert kinds(messages) == ["last_trade_price", "price_change", "book", "book"]
            assert (messages[0]["price"], messages[0]["side"]) == ("0.48", "SELL")
            assert messages[2]["bids"][-1] == {"price": "0.48", "size": "4"}
            assert messages[2]["asks"] == []

    run(test)


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (snapshot(1, {97: 10}, {99: 10}), "above 0.96"),
        (snapshot(1, {1: 10}, {3: 10}), "below 0.04"),
        (snapshot(1, {50: 10}, {}), "finer price"),
    ],
)
def test_the_tick_becomes_fine(picture: Any, why: str) -> None:
    """Near the edges, or when the source shows a finer price: for both tokens, with fresh books."""
    if why == "finer price":
        picture = type(picture)(picture.time_ms, {5010: 1_000_000}, {})

    async def test() -> None:
        async with open_venue([BOOK, picture]) as client, client.market_feed() as feed:
            await feed.next()
            await client.clock.advance(1)
            messages = await feed.rest()
            assert kinds(messages)[:2] == ["tick_size_change", "tick_size_change"]
            assert [
                (m["asset_id"], m["old_tick_size"], m["new_tick_size"]) for m in messages[:2]
            ] == [
                (client.up, "0.01", "0.001"),
                (client.down, "0.01", "0.001"),
            ]
            books = [m for m in messages if m["event_type"] == "book"]
            assert [book["tick_size"] for book in books] == ["0.001", "0.001"]
            answer = await client.clob("/tick-size", token_id=client.down)
            assert answer.json() == {"minimum_tick_size": 0.001}

    run(test)


def test_the_tick_does_not_change_in_the_middle() -> None:
    """A best price of 0.96 or 0.04 is not yet beyond the border."""

    async def test() -> None:
        script = [BOOK, snapshot(1, {96: 1}, {97: 1}), snapshot(2, {3: 1}, {4: 1})]
        async with open_venue(script) as client, client.market_feed() as feed:
            await feed.next()
            await client.clock.advance(2)
            assert "tick_size_change" not in kinds(await feed.rest())

    run(test)


def test_subscriptions_can_be_changed_without_acknowledgement() -> None:
    """Unsubscribed tokens go silent, a duplicate is ignored, a new subscription brings a book."""

    async def test() -> None:
        async with open_venue([BOOK, MOVED]) as client, client.market_feed() as feed:
            await feed.next()
            await feed.send({"operation": "subscribe", "assets_ids": [client.up]})
            assert await feed.rest() == []
            await feed.send({"operation": "unsubscribe", "assets_ids": list(client.market.tokens)})
            assert await feed.rest() == []
            await client.clock.advance(1)
            assert await feed.rest() == []
            await feed.send({"operation": "subscribe", "assets_ids": [client.up]})
            books = await feed.next()
            assert [book["asset_id"] for book in books] == [client.up]
            assert books[0]["asks"][-1]["price"] == "0.51"

    run(test)


def test_a_dump_can_be_declined_and_unknown_tokens_have_none() -> None:
    """initial_dump false sends nothing; tokens that do not exist give an empty array."""

    async def test() -> None:
        async with open_venue() as client:
            async with client.market_feed(initial_dump=False) as feed:
                assert await feed.rest() == []
            async with client.market_feed(assets_ids=["1"]) as feed:
                assert await feed.rest() == [[]]

    run(test)


def test_ping_is_answered_as_text() -> None:
    """PING gets PONG, subscribed or not."""

    async def test() -> None:
        async with open_venue() as client, connect(f"{client.venue.ws_url}/ws/market") as socket:
            await socket.send("PING")
            async with asyncio.timeout(PATIENCE):
                assert await socket.recv() == "PONG"

    run(test)


@pytest.mark.parametrize(
    "frame",
    [
        None,
        "not json",
        json.dumps({"type": "market", "asset_ids": ["1"]}),
        json.dumps({"type": "market", "assets_ids": []}),
        json.dumps({"type": "other", "assets_ids": ["1"]}),
        json.dumps(["type"]),
    ],
)
def test_who_never_subscribes_is_disconnected(frame: str | None) -> None:
    """A connection without a valid subscription is closed after `subscribe_timeout`, in silence."""

    async def test() -> None:
        async with (
            open_venue(subscribe_timeout=0.1) as client,
            connect(f"{client.venue.ws_url}/ws/market") as socket,
        ):
            if frame is not None:
                await socket.send(frame)
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(ConnectionClosed):
                    await socket.recv()

    run(test)


def test_who_subscribed_stays() -> None:
    """The time-out ends with the first subscription, also one for new markets only."""

    async def test() -> None:
        async with (
            open_venue(subscribe_timeout=0.1) as client,
            client.market_feed() as feed,
            client.market_feed(assets_ids=[]) as news,
            connect(f"{client.venue.ws_url}/ws/market") as witness,
        ):
            await feed.next()
            await news.ping()
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(ConnectionClosed):
                    await witness.recv()
            await feed.ping()
            await news.ping()

    run(test)


def test_a_quiet_market_sends_its_books_again() -> None:
    """After `quiet` seconds without a message both books come, however long the source pauses."""

    async def test() -> None:
        async with (
            open_venue([BOOK, snapshot(11, {48: 1}, {52: 1})]) as client,
            client.market_feed() as feed,
        ):
            await feed.next()
            await client.clock.advance(4.9)
            assert await feed.rest() == []
            await client.clock.advance(0.1)
            assert kinds(await feed.rest()) == ["book", "book"]
            await client.clock.advance(5)
            assert kinds(await feed.rest()) == ["book", "book"]
            await client.clock.advance(1)
            assert "price_change" in kinds(await feed.rest())
            # The source has ended, the market has not.
            await client.clock.advance(5)
            assert kinds(await feed.rest()) == ["book", "book"]

    run(test)


def test_a_late_subscriber_gets_the_present_not_the_backlog() -> None:
    """Who comes late starts at the latest snapshot; what was before is never sent."""
    script = [snapshot(at, {48: 1 + at}, {52: 100}) for at in range(60)]
    source = ScriptedSource(script)

    async def test() -> None:
        async with open_venue(source=source, now=START + 50.5) as client:
            async with client.market_feed() as feed:
                books = await feed.next()
                assert books[0]["bids"] == [{"price": "0.48", "size": "51"}]
                await client.clock.advance(1)
                assert kinds(await feed.rest()) == ["price_change"]
            assert client.venue.stats.source_events == 2

    run(test)


def test_a_market_without_subscribers_is_not_replayed() -> None:
    """The replay stops when the last subscriber leaves, and catches up for the next one."""
    script = [snapshot(at, {48: 1 + at}, {52: 100}) for at in range(100)]

    async def test() -> None:
        async with open_venue(script) as client:
            async with client.market_feed() as feed:
                await feed.next()
            await until(lambda: not client.venue._hub.connections("market"))
            await client.clock.advance(50)
            assert client.venue.stats.source_events == 1
            async with client.market_feed() as feed:
                books = await feed.next()
                assert books[0]["bids"][-1]["size"] == "51"

    run(test)


def test_nothing_moves_after_the_end() -> None:
    """Rows of the source after the end of the window are not replayed."""
    script = [BOOK, snapshot(PERIOD - 1, {40: 1}, {60: 1}), snapshot(PERIOD, {30: 1}, {70: 1})]

    async def test() -> None:
        async with (
            open_venue(script, now=START + PERIOD - 2) as client,
            client.market_feed() as feed,
        ):
            await feed.next()
            await client.clock.advance(30)
            book = (await client.clob("/book", token_id=client.up)).json()
            assert book["bids"] == [{"price": "0.4", "size": "1"}]

    run(test)


def test_new_markets_are_announced_in_the_moment_of_minting() -> None:
    """new_market goes to all custom subscribers, with real arrays, and to nobody else."""
    markets = [make_market(START), make_market(START + PERIOD)]

    async def test() -> None:
        async with (
            open_venue(source=ScriptedSource(markets=markets), mint_ahead=600.0) as client,
            client.market_feed(assets_ids=[]) as news,
            client.market_feed(custom_feature_enabled=False) as plain,
        ):
            await plain.next()
            await news.ping()
            await client.clock.advance(299)
            await news.ping()
            await client.clock.advance(1)
            (message,) = await news.rest()
            assert message["event_type"] == "new_market"
            assert message["slug"] == markets[1].slug
            assert message["clob_token_ids"] == list(markets[1].tokens)
            assert message["fee_schedule"]["rate"] == "0.07"
            assert "new_market" not in kinds(await plain.rest())

    run(test)


def test_a_slow_reader_is_cut_off_and_holds_up_nobody() -> None:
    """Who does not read loses its connection; others get everything."""
    frame = json.dumps(["x" * 500_000])

    async def test() -> None:
        async with open_venue(send_queue=4) as client, client.market_feed() as good:
            await good.next()
            async with connect(f"{client.venue.ws_url}/ws/market", max_queue=1, close_timeout=0.1):
                await until(lambda: len(client.venue._hub.connections("market")) == 2)
                for _ in range(100):
                    client.venue.send_raw("market", frame)
                    assert await good.frame() == frame
                    if client.venue.stats.slow_readers:
                        break
                await until(lambda: len(client.venue._hub.connections("market")) == 1)
                assert client.venue.stats.slow_readers == 1
                assert await good.rest() == []

    run(test)
