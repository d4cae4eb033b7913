"""Reference prices over the wire: what they say, in which words, and that they decide the markets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from polyframe.model.market import Outcome
from polyframe.model.series import Series
from polyframe.venue import LocalVenue, SeveralSources, SyntheticSource, VenueAccount, VenueSettings
from polyframe.venue.sources import PRICE_SCALE, PricedSource
from tests.venue.support import (
    PATIENCE,
    START,
    Feed,
    ManualClock,
    ScriptedSource,
    open_venue,
    run,
    settle,
    until,
)

SOURCE = SyntheticSource("btc-updown-15m", seed=5)
TWAP = {"topic": "crypto_prices_twap_sixty", "type": "update", "filters": '{"symbol":"btc/usd"}'}


@contextlib.asynccontextmanager
async def feed(venue: LocalVenue, path: str, *frames: Any) -> AsyncIterator[Feed]:
    """Open a feed and send some frames."""
    async with connect(f"{venue.ws_url}{path}") as socket:
        opened = Feed(socket)
        if path == "/rtds":
            assert await opened.frame() == ""
        for frame in frames:
            await opened.send(frame)
        yield opened


@contextlib.asynccontextmanager
async def scene(
    source: Any = SOURCE, account: VenueAccount | None = None, **options: Any
) -> AsyncIterator[tuple[LocalVenue, ManualClock]]:
    """Open a venue on a manual clock."""
    clock = ManualClock(START + 10)
    settings_ = VenueSettings(**options)
    async with LocalVenue(source, clock=clock, settings=settings_, account=account) as venue:
        yield venue, clock


def subscribe(*entries: Any) -> dict[str, Any]:
    """Return a frame that subscribes."""
    return {"action": "subscribe", "subscriptions": list(entries)}


def price(at: int) -> int:
    """Return what the source says."""
    units = SOURCE.reference("btc", at * 1000)
    assert units is not None
    return units


# ------------------------------------------------------------------ the source


@given(st.integers(0, 500), st.sampled_from(["btc-updown-15m", "eth-updown-5m"]))
@settings(max_examples=15, deadline=None)
def test_the_price_decides_the_market(number: int, name: str) -> None:
    """Up wins exactly if the price at the end is not below that at the start; nothing jumps."""
    source = SyntheticSource(name, seed=number % 3)
    asset = Series.parse(name).asset
    market = source.next_market(START + 900 * number)
    assert market is not None
    beat, final = (source.reference(asset, at * 1000) for at in (market.start, market.end))
    assert beat is not None
    assert final is not None
    assert (source.winner(market) is Outcome.UP) == (final >= beat)
    before = source.reference(asset, market.end * 1000 - 1)
    assert before is not None
    assert abs(before / final - 1) < 0.001
    assert source.reference("doge", market.start * 1000) is None


def test_only_some_sources_have_prices() -> None:
    """A synthetic one has, one that was written down has not; of several, each tells its own."""
    assert isinstance(SOURCE, PricedSource)
    scripted = ScriptedSource()
    assert not isinstance(scripted, PricedSource)
    eth = SyntheticSource("eth-updown-5m")
    several = SeveralSources([scripted, SOURCE, eth, SyntheticSource("btc-updown-5m")])
    assert several.assets == ("btc", "eth")
    assert several.reference("btc", START * 1000) == SOURCE.reference("btc", START * 1000)
    assert several.reference("doge", START * 1000) is None
    market = eth.next_market(START)
    assert market is not None
    assert several.decided_by(market) == eth.decided_by(market)
    assert SeveralSources([scripted]).decided_by(scripted.markets[0]) is None


# ------------------------------------------------------------------ RTDS


def test_prices_come_once_a_second() -> None:
    """The average of each second of the venue's clock, scaled, with the instant that it speaks of."""

    async def test() -> None:
        async with scene() as (venue, clock), feed(venue, "/rtds", subscribe(TWAP)) as rtds:
            assert await rtds.rest() == []
            await clock.advance(2.5)
            first, second = await rtds.rest()
            assert first["payload"]["timestamp"] == (START + 11) * 1000
            assert second["timestamp"] >= second["payload"]["timestamp"] == (START + 12) * 1000
            assert (second["topic"], second["type"]) == (TWAP["topic"], "update")
            units = price(START + 12)
            assert second["payload"] == {
                "symbol": "btc/usd",
                "timestamp": (START + 12) * 1000,
                "value": pytest.approx(units / PRICE_SCALE),
                "full_accuracy_value": str(units * 10**10),
                "window_s": 60,
            }

    run(test)


def test_each_topic_has_its_own_words() -> None:
    """Binance begins with a picture and has plain digits; Chainlink has neither."""

    async def test() -> None:
        spot = {"topic": "crypto_prices", "type": "update", "filters": "btcusdt,ethusdt"}
        link = {"topic": "crypto_prices_chainlink", "type": "*", "filters": ""}
        async with scene() as (venue, clock), feed(venue, "/rtds", subscribe(spot, link)) as rtds:
            (picture,) = await rtds.rest()
            assert picture["type"] == "subscribe"
            assert [point["timestamp"] for point in picture["payload"]["data"]] == [
                (START + at) * 1000 for at in (8, 9, 10)
            ]
            await clock.advance(1)
            plain, scaled = await rtds.rest()
            assert plain["payload"]["symbol"] == "btcusdt"
            exact = Decimal(plain["payload"]["full_accuracy_value"])
            assert exact == Decimal(price(START + 11)).scaleb(-8)
            assert scaled["payload"]["symbol"] == "btc/usd"
            assert Decimal(scaled["payload"]["full_accuracy_value"]).scaleb(-18) == exact
            assert "window_s" not in scaled["payload"]

    run(test)


@pytest.mark.parametrize(
    ("filters", "messages"),
    [
        ('{"symbol":"btc/usd"}', 1),
        ("", 1),
        ('{"symbol": "btc/usd"}', 0),
        ('{"symbol":"eth/usd"}', 0),
        ("{broken", 0),
        ("[" * 100_000, 0),
        ('["btc/usd"]', 0),
    ],
)
def test_filters_are_compared_as_text(filters: str, messages: int) -> None:
    """Compact JSON with one symbol; with a blank it matches nothing; without one all come."""

    async def test() -> None:
        wanted = subscribe({**TWAP, "filters": filters})
        async with scene() as (venue, clock), feed(venue, "/rtds", wanted) as rtds:
            await rtds.ping()
            await clock.advance(1)
            assert len(await rtds.rest()) == messages

    run(test)


def test_subscriptions_end_and_add_up() -> None:
    """What was unsubscribed comes no more; nonsense changes nothing."""

    async def test() -> None:
        async with scene() as (venue, clock), feed(venue, "/rtds", subscribe(TWAP)) as rtds:
            for nonsense in (7, {"action": "subscribe"}, subscribe(3, {"topic": "weather"})):
                await rtds.send(nonsense)
            other = {**TWAP, "filters": '{"symbol":"eth/usd"}'}
            await rtds.send(subscribe(other))
            await rtds.ping()
            await clock.advance(1)
            assert len(await rtds.rest()) == 1
            await rtds.send({"action": "unsubscribe", "subscriptions": [other]})
            await rtds.ping()
            await clock.advance(1)
            assert len(await rtds.rest()) == 1
            await rtds.send({"action": "unsubscribe", "subscriptions": [TWAP]})
            await rtds.ping()
            await clock.advance(1)
            assert await rtds.rest() == []

    run(test)


def test_a_jump_of_the_clock_is_not_told_in_full() -> None:
    """The last minute before it is told, and no flood of what is older."""

    async def test() -> None:
        async with scene() as (venue, clock), feed(venue, "/rtds", subscribe(TWAP)) as rtds:
            await rtds.ping()
            clock.now += 800
            await clock.advance(1)
            told = [message["payload"]["timestamp"] for message in await rtds.rest()]
            assert told == [(START + at) * 1000 for at in range(751, 812)]

    run(test)


def test_nobody_pays_for_prices_that_nobody_hears() -> None:
    """The venue's clock is slept on only while somebody is connected."""

    async def test() -> None:
        async with scene() as (venue, clock):
            await settle()

            def sleepers() -> int:
                return sum(not future.done() for _, future in clock._sleepers)

            before = sleepers()
            async with feed(venue, "/rtds", subscribe(TWAP)) as rtds:
                await rtds.ping()
                assert sleepers() == before + 1
            await until(lambda: not venue._prices._rtds)
            await clock.advance(2)
            assert sleepers() == before

    run(test)


def test_prices_can_freeze() -> None:
    """PONG and nothing else, until the fault is over."""

    async def test() -> None:
        async with scene() as (venue, clock), feed(venue, "/rtds", subscribe(TWAP)) as rtds:
            await rtds.ping()
            venue.faults.inject("prices_freeze", count=2)
            await clock.advance(3)
            assert len(await rtds.rest()) == 1

    run(test)


def test_a_source_without_prices_is_silent() -> None:
    """Both feeds take subscriptions and say nothing; Gamma has no record."""

    async def test() -> None:
        async with open_venue(price_record_after=0) as client:
            async with feed(client.venue, "/rtds", subscribe(TWAP)) as rtds:
                await rtds.ping()
                await client.clock.advance(1_000)
                assert await rtds.rest() == []
            row = (await client.gamma(f"/markets/slug/{client.market.slug}")).json()
            assert "eventMetadata" not in row["events"][0]

    run(test)


# ------------------------------------------------------------------ the successor


def auth(account: VenueAccount, **changes: str) -> dict[str, Any]:
    """Return the frame that says who we are."""
    parts = {
        "apiKey": account.api_key,
        "secret": account.secret,
        "passphrase": account.passphrase,
        **changes,
    }
    return {"op": "auth", "rid": "1", "auth": parts}


def live(symbol: str = "btcusd", seconds: int = 60, channel: str = "price.crypto.twap") -> Any:
    """Return the frame that subscribes there."""
    wanted = {"symbol": symbol, "window_seconds": seconds}
    return {
        "op": "subscribe",
        "rid": "2",
        "subscriptions": [{"channel": channel, "filter": wanted}],
    }


def test_the_successor_begins_with_two_minutes() -> None:
    """Authed, subscribed, a picture of 120 seconds, then numbered updates with plain digits."""

    async def test() -> None:
        account = VenueAccount.random()
        async with (
            scene(account=account) as (venue, clock),
            feed(venue, "/live/ws", auth(account), live()) as there,
        ):
            assert await there.next() == {"op": "authed", "rid": "1"}
            assert (await there.next())["op"] == "subscribed"
            picture = await there.next()
            assert (picture["seq"], picture["snapshot"]) == (1, True)
            points = picture["payload"]["data"]
            assert len(points) == 120
            assert points[-1]["timestamp"] == (START + 10) * 1000
            await clock.advance(1)
            update = await there.next()
            assert (update["seq"], update["channel"]) == (2, "price.crypto.twap")
            exact = Decimal(update["payload"]["full_accuracy_value"])
            assert exact == Decimal(price(START + 11)).scaleb(-8)
            assert update["payload"]["window_seconds"] == 60
            await there.send({"op": "ping"})
            assert await there.next() == {"op": "pong"}

    run(test)


def test_who_is_not_known_is_refused() -> None:
    """An error, and the connection is closed with 4001."""

    async def test() -> None:
        async with scene() as (venue, _):
            wrong = auth(venue.account, passphrase="wrong")
            async with feed(venue, "/live/ws", wrong) as there:
                assert (await there.next())["code"] == "auth_invalid"
                with pytest.raises(ConnectionClosed) as closed:
                    await there.frame()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4001

    run(test)


def test_what_the_successor_does_not_know_is_an_error() -> None:
    """Each with a code of its own, and the connection stays."""

    async def test() -> None:
        async with scene() as (venue, _), feed(venue, "/live/ws", live()) as there:
            assert (await there.next())["code"] == "auth_required"
            await there.send(auth(venue.account))
            await there.next()
            for frame, code in (
                (live(channel="weather"), "bad_channel"),
                (live(seconds=30), "bad_filter"),
                (live(symbol=""), "bad_filter"),
                ({"op": "dance"}, "bad_op"),
                (7, "bad_op"),
            ):
                await there.send(frame)
                assert (await there.next())["code"] == code

    run(test)


def test_subscriptions_are_bounded() -> None:
    """64 of a connection of the successor; so many entries of a frame are read, and no endless filter."""

    async def test() -> None:
        account = VenueAccount.random()
        async with scene(account=account) as (venue, clock):
            async with feed(venue, "/live/ws", auth(account)) as there:
                await there.next()
                for number in range(65):
                    await there.send(live(symbol=f"coin{number}usd"))
                codes = [(await there.next()).get("code") for _ in range(65)]
                assert codes == [None] * 64 + ["sub_limit"]
            flood = [{**TWAP, "topic": "weather"}] * 64 + [TWAP]
            names = ",".join(["btcusdt", *(f"coin{number}" for number in range(1_000))])
            endless = {"topic": "crypto_prices", "filters": names}
            async with feed(venue, "/rtds", subscribe(*flood), subscribe(endless)) as rtds:
                assert await rtds.rest() == []
                await clock.advance(1)
                assert await rtds.rest() == []

    run(test)


# ------------------------------------------------------------------ the record


def test_gamma_tells_the_prices_that_decided() -> None:
    """Some time after the end: the price to beat, and the final one, which the next market begins with."""

    async def test() -> None:
        async with scene(price_record_after=100) as (venue, clock):
            market = SOURCE.next_market(START)
            assert market is not None
            url = f"{venue.url}/gamma/markets/slug/{market.slug}"
            async with httpx.AsyncClient() as client:
                await clock.advance(900 + 80)
                await settle()
                assert "eventMetadata" not in (await client.get(url)).json()["events"][0]
                await clock.advance(20)
                async with asyncio.timeout(PATIENCE):
                    record = (await client.get(url)).json()["events"][0]["eventMetadata"]
            assert json.loads(json.dumps(record)) == {
                "priceToBeat": price(START) / PRICE_SCALE,
                "finalPrice": price(START + 900) / PRICE_SCALE,
            }

    run(test)
