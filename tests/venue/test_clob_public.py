"""Public market data of the CLOB (PROTOCOL §2.1, §2.2)."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.venue.support import BOOK, START, open_venue, run, snapshot, trade_print


def test_time_ok_and_version() -> None:
    """Bare values: epoch seconds of the venue's clock, OK, and the version."""

    async def test() -> None:
        async with open_venue(now=START + 0.9) as client:
            assert (await client.clob("/time")).json() == START
            assert (await client.clob("/ok")).json() == "OK"
            assert (await client.clob("/version")).json() == {"version": 2}

    run(test)


def test_books_have_the_best_level_last_and_mirror_each_other() -> None:
    """Bids ascend, asks descend; a bid for Up is an ask for Down; all numbers are text."""

    async def test() -> None:
        async with open_venue() as client:
            up = (await client.clob("/book", token_id=client.up)).json()
            down = (await client.clob("/book", token_id=client.down)).json()
            assert up["bids"] == [
                {"price": "0.47", "size": "200"},
                {"price": "0.48", "size": "100"},
            ]
            assert up["asks"] == [
                {"price": "0.53", "size": "200"},
                {"price": "0.52", "size": "100"},
            ]
            assert [level["price"] for level in down["asks"]] == ["0.53", "0.52"]
            assert [level["size"] for level in down["asks"]] == ["200", "100"]
            assert up["market"] == down["market"] == client.market.condition_id
            assert (up["tick_size"], up["min_order_size"], up["neg_risk"]) == ("0.01", "5", False)
            assert up["timestamp"] == str(START * 1000)

    run(test)


def test_the_hash_of_a_book_is_over_its_own_text() -> None:
    """SHA-1 of the compact JSON with an empty hash."""

    async def test() -> None:
        async with open_venue() as client:
            book = (await client.clob("/book", token_id=client.up)).json()
            text = json.dumps({**book, "hash": ""}, separators=(",", ":"))
            assert book["hash"] == hashlib.sha1(text.encode()).hexdigest()

    run(test)


def test_several_books_at_once() -> None:
    """`POST /books` gives the books that exist, in order."""

    async def test() -> None:
        async with open_venue() as client:
            body = [{"token_id": client.down}, {"token_id": "1"}, {"token_id": client.up}]
            answer = await client.http.post(f"{client.venue.url}/clob/books", json=body)
            assert [book["asset_id"] for book in answer.json()] == [client.down, client.up]
            bad = await client.http.post(f"{client.venue.url}/clob/books", content=b"{")
            assert (bad.status_code, bad.json()) == (400, {"error": "Invalid order payload"})

    run(test)


def test_prices_are_text_in_terms_of_the_token() -> None:
    """Midpoint, spread and price of Down are the mirror of Up's."""

    async def test() -> None:
        async with open_venue([snapshot(0, {48: 1}, {53: 1})]) as client:
            assert (await client.clob("/midpoint", token_id=client.up)).json() == {"mid": "0.505"}
            assert (await client.clob("/midpoint", token_id=client.down)).json() == {"mid": "0.495"}
            assert (await client.clob("/spread", token_id=client.down)).json() == {"spread": "0.05"}
            for side, price in (("BUY", "0.47"), ("SELL", "0.52")):
                answer = await client.clob("/price", token_id=client.down, side=side)
                assert answer.json() == {"price": price}
            assert (await client.clob("/price", token_id=client.up)).status_code == 400

    run(test)


def test_trading_parameters() -> None:
    """Tick and compact parameters are numbers; false flags are left out."""

    async def test() -> None:
        async with open_venue() as client:
            condition = client.market.condition_id
            tick = await client.clob("/tick-size", token_id=client.up)
            assert tick.json() == {"minimum_tick_size": 0.01}
            neg_risk = await client.clob("/neg-risk", token_id=client.up)
            assert neg_risk.json() == {"neg_risk": False}
            compact = (await client.clob(f"/clob-markets/{condition}")).json()
            assert compact["fd"] == {"r": 0.07, "e": 1, "to": True}
            assert {t["o"]: t["t"] for t in compact["t"]} == {"Up": client.up, "Down": client.down}
            assert (compact["mts"], compact["mos"], compact["ao"]) == (0.01, 5, True)
            assert compact.keys().isdisjoint({"nr", "itode"})
            by_token = (await client.clob(f"/markets-by-token/{client.down}")).json()
            assert by_token == {
                "condition_id": condition,
                "primary_token_id": client.up,
                "secondary_token_id": client.down,
            }
            market = (await client.clob(f"/markets/{condition}")).json()
            assert market["accepting_orders"]
            assert not any(token["winner"] for token in market["tokens"])

    run(test)


def test_the_taker_delay_is_announced() -> None:
    """`itode` appears when marketable orders are held."""

    async def test() -> None:
        async with open_venue(taker_delay=0.05) as client:
            path = f"/clob-markets/{client.market.condition_id}"
            assert (await client.clob(path)).json()["itode"] is True

    run(test)


def test_last_trade_price() -> None:
    """0.5 without a side before the first trade, then the last print."""

    async def test() -> None:
        async with open_venue([BOOK, trade_print(1, "SELL", 48, 10)]) as client:
            path = "/last-trade-price"
            assert (await client.clob(path, token_id=client.up)).json() == {
                "price": "0.5",
                "side": "",
            }
            async with client.market_feed() as feed:
                await feed.next()
                await client.clock.advance(1)
                await feed.until("last_trade_price")
            assert (await client.clob(path, token_id=client.up)).json() == {
                "price": "0.48",
                "side": "SELL",
            }
            assert (await client.clob(path, token_id=client.down)).json() == {
                "price": "0.52",
                "side": "BUY",
            }

    run(test)


@pytest.mark.parametrize("path", ["/book", "/midpoint", "/spread", "/tick-size", "/neg-risk"])
def test_unknown_tokens_have_no_book(path: str) -> None:
    """404 with the venue's words."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.clob(path, token_id="123")
            assert answer.status_code == 404
            assert answer.json() == {"error": "No orderbook exists for the requested token id"}

    run(test)


def test_a_resolved_market_has_no_book_but_is_still_known() -> None:
    """After the resolution the book is gone, the market is not."""

    async def test() -> None:
        async with open_venue(now=START + 960) as client:
            assert (await client.clob("/book", token_id=client.up)).status_code == 404
            market = await client.clob(f"/markets/{client.market.condition_id}")
            assert market.json()["closed"]
            assert not market.json()["enable_order_book"]

    run(test)
