"""The end of a market: cancellation, resolution, redemption (PROTOCOL §1.5)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyframe.model.market import Outcome
from tests.venue.support import (
    BOOK,
    PERIOD,
    START,
    ScriptedSource,
    make_market,
    open_venue,
    run,
    snapshot,
    until,
)


def test_resting_orders_end_with_the_resolution() -> None:
    """They stay until then, are cancelled with the status of the resolution, and free their cash."""

    async def test() -> None:
        async with (
            open_venue(now=START + PERIOD - 10) as client,
            client.user_feed() as feed,
            client.market_feed() as market,
        ):
            identity = (await client.place("BUY", "0.40", "10"))["orderID"]
            await feed.rest()
            await client.clock.advance(69)
            assert await feed.rest() == []
            assert (await client.row(identity))["status"] == "LIVE"
            await client.clock.advance(1)
            (message,) = await feed.rest()
            assert message["type"] == "CANCELLATION"
            assert message["status"] == "CANCELED_MARKET_RESOLVED"
            assert (await client.row(identity))["status"] == "CANCELED_MARKET_RESOLVED"
            assert client.venue.stats.fills == 0
            resolved = await market.until("market_resolved")
            assert resolved["winning_outcome"] == "Up"

    run(test)


def test_orders_can_be_cancelled_between_end_and_resolution() -> None:
    """Cancels stay allowed when orders are no longer taken."""

    async def test() -> None:
        async with open_venue(now=START + PERIOD - 10) as client:
            identity = (await client.place("BUY", "0.40", "10"))["orderID"]
            await client.clock.advance(30)
            answer = await client.signed("DELETE", "/order", {"orderID": identity})
            assert answer.json()["canceled"] == [identity]

    run(test)


def test_nothing_fills_after_the_end() -> None:
    """A row of the source at the end or later does not reach a resting order."""
    script = [BOOK, snapshot(PERIOD, {1: 1}, {2: 500})]

    async def test() -> None:
        async with open_venue(script, now=START + PERIOD - 10) as client:
            identity = (await client.place("BUY", "0.48", "10"))["orderID"]
            await client.clock.advance(30)
            assert (await client.row(identity))["size_matched"] == "0"

    run(test)


@pytest.mark.parametrize("winner", list(Outcome))
@pytest.mark.parametrize("redeem", [True, False])
def test_winning_shares_are_redeemed(winner: Outcome, redeem: bool) -> None:
    """A winning share becomes a dollar, a losing one nothing; or neither if not wanted."""
    source = ScriptedSource([BOOK], winner=winner)

    async def test() -> None:
        async with open_venue(source=source, redeem=redeem) as client:
            await client.place("BUY", "0.52", "10")
            await client.place("BUY", "0.52", "20", token=client.down)
            cash = client.account.cash
            await client.clock.advance(PERIOD + 60)
            won = 10 if winner is Outcome.UP else 20
            assert client.account.cash == cash + (won if redeem else 0)
            assert client.account.held(client.up) == (0 if redeem else 10)
            assert client.account.held(client.down) == (0 if redeem else 20)

    run(test)


def test_market_resolved_is_a_custom_message() -> None:
    """Only who asked for custom messages hears of the winner on the channel."""

    async def test() -> None:
        async with (
            open_venue(source=ScriptedSource([BOOK], winner=Outcome.DOWN)) as client,
            client.market_feed() as custom,
            client.market_feed(custom_feature_enabled=False) as plain,
        ):
            await custom.next()
            await plain.next()
            await client.clock.advance(PERIOD + 60)
            message = await custom.until("market_resolved")
            assert message["market"] == client.market.condition_id
            assert message["assets_ids"] == list(client.market.tokens)
            assert message["winning_asset_id"] == client.down
            assert message["winning_outcome"] == "Down"
            assert message["timestamp"] == str((START + PERIOD + 60) * 1000)
            kinds = {m["event_type"] for m in await plain.rest()}
            assert kinds == {"book"}

    run(test)


def test_markets_do_not_touch_each_other() -> None:
    """Orders, books and the end of one market leave the next one alone."""
    markets = [make_market(START), make_market(START + PERIOD)]
    source = ScriptedSource([BOOK], markets=markets)

    async def test() -> None:
        async with open_venue(source=source, now=START + PERIOD - 1) as client:
            old = (await client.place("BUY", "0.40", "10"))["orderID"]
            following = markets[1].tokens[0]
            new = (await client.place("BUY", "0.41", "10", token=following))["orderID"]
            ours = (await client.clob("/book", token_id=client.up)).json()
            assert "0.41" not in {level["price"] for level in ours["bids"]}
            await client.clock.advance(61)
            assert (await client.row(old))["status"] == "CANCELED_MARKET_RESOLVED"
            assert (await client.row(new))["status"] == "LIVE"
            open_now = (await client.signed("GET", "/data/orders")).json()["data"]
            assert [row["id"] for row in open_now] == [new]

    run(test)


def test_an_order_keeps_its_market_awake() -> None:
    """With an order resting the source is followed although nobody is subscribed."""
    script = [BOOK, *(snapshot(at, {48: 100}, {52: 100 + at}) for at in range(1, 60))]
    script.append(snapshot(60, {40: 1}, {48: 10}))

    async def test() -> None:
        async with open_venue(script) as client:
            await client.place("BUY", "0.48", "10")
            await client.clock.advance(60)
            assert client.account.held(client.up) == 10
            assert client.account.cash == 1000 - Decimal("4.8")
            await until(lambda: client.venue.stats.source_events == 61)

    run(test)
