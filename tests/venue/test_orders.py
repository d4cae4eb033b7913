"""Placing, cancelling and reading orders; balances; every refusal (PROTOCOL §2.3 to §2.10)."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from polyframe.model.market import Outcome
from polyframe.venue import VenueAccount
from polyframe.venue.account import VenueAccount as Account
from tests.venue.support import (
    BOOK,
    PERIOD,
    START,
    Client,
    open_venue,
    order_id,
    run,
    signature,
    snapshot,
    trade_print,
    until,
)

NO_BOOK = "No orderbook exists for the requested token id"


def funded(cash: str = "1000", **shares: str) -> VenueAccount:
    """Return an account with shares of the first market, by outcome."""
    from tests.venue.support import make_market

    market = make_market().market
    account = VenueAccount.random(cash)
    for name, size in shares.items():
        outcome = Outcome.UP if name == "up" else Outcome.DOWN
        account.shares[market.token(outcome)] = Decimal(size)
    return account


# ------------------------------------------------------------------ life


def test_a_resting_order_is_live_and_displayed() -> None:
    """A limit below the asks rests: live, readable, in the book of both tokens."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.place("BUY", "0.49", "10")
            assert answer["success"] is True
            assert answer["errorMsg"] == ""
            assert answer["status"] == "live"
            assert (answer["makingAmount"], answer["takingAmount"]) == ("", "")
            assert answer["tradeIDs"] == []
            row = await client.row(answer["orderID"])
            assert (row["status"], row["price"], row["original_size"]) == ("LIVE", "0.49", "10")
            assert (row["size_matched"], row["outcome"], row["side"]) == ("0", "Up", "BUY")
            assert row["created_at"] == START
            book = (await client.clob("/book", token_id=client.up)).json()
            assert book["bids"][-1] == {"price": "0.49", "size": "10"}
            mirror = (await client.clob("/book", token_id=client.down)).json()
            assert mirror["asks"][-1] == {"price": "0.51", "size": "10"}

    run(test)


def test_the_order_id_is_the_stand_in_identity() -> None:
    """The id in the answer is the hash that the client computed before sending."""

    async def test() -> None:
        async with open_venue() as client:
            body = client.order("BUY", "0.49", "10")
            answer = await client.signed("POST", "/order", body)
            assert answer.json()["orderID"] == order_id(body["order"])

    run(test)


def test_a_marketable_order_takes_with_price_improvement_and_pays_the_fee_on_top() -> None:
    """Cost and fee of two levels leave the cash exactly; they are one trade, or two if set so."""

    async def test(whole: bool) -> None:
        async with open_venue(whole_trades=whole) as client:
            answer = await client.place("BUY", "0.55", "150")
            assert answer["status"] == "matched"
            assert (answer["makingAmount"], answer["takingAmount"]) == ("78.5", "150")
            assert len(answer["tradeIDs"]) == (1 if whole else 2)
            # 100 at 0.52 and 50 at 0.53, fees 0.07 · p · (1 − p) a share
            fee = Decimal("1.74720") + Decimal("0.87185")
            assert client.account.cash == Decimal(1000) - Decimal("78.5") - fee
            assert client.account.held(client.up) == 150
            row = await client.row(answer["orderID"])
            assert (row["status"], row["size_matched"]) == ("MATCHED", "150")
            assert row["associate_trades"] == answer["tradeIDs"]
            assert client.venue.stats.fills == 2

    run(partial(test, True))
    run(partial(test, False))


def test_a_seller_gets_the_proceeds_without_the_fee() -> None:
    """The fee of a sell comes out of the proceeds."""

    async def test() -> None:
        async with open_venue(account=funded(up="20")) as client:
            await client.place("SELL", "0.48", "20")
            fee = Decimal("0.34944")
            assert client.account.cash == 1000 + Decimal("9.6") - fee
            assert client.account.held(client.up) == 0

    run(test)


def test_the_rest_of_a_partly_filled_order_rests() -> None:
    """A GTC takes what is there and stays with the rest, still LIVE."""

    async def test() -> None:
        async with open_venue([snapshot(0, {48: 1}, {52: 30})]) as client:
            answer = await client.place("BUY", "0.52", "50")
            assert answer["status"] == "matched"
            row = await client.row(answer["orderID"])
            assert (row["status"], row["size_matched"]) == ("LIVE", "30")
            book = (await client.clob("/book", token_id=client.up)).json()
            assert book["bids"][-1] == {"price": "0.52", "size": "20"}
            assert book["asks"] == []

    run(test)


def test_buying_down_takes_the_bids_for_up() -> None:
    """One book: Down at 0.52 is the mirror of the bid for Up at 0.48."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.place("BUY", "0.52", "40", token=client.down)
            assert answer["status"] == "matched"
            assert client.account.held(client.down) == 40
            book = (await client.clob("/book", token_id=client.up)).json()
            assert book["bids"][-1] == {"price": "0.48", "size": "60"}

    run(test)


def test_own_orders_for_both_outcomes_match_each_other() -> None:
    """BUY Up at p and BUY Down at 1 − p make a pair of shares; only the taker pays a fee."""

    async def test() -> None:
        async with open_venue() as client:
            resting = await client.place("BUY", "0.50", "10")
            taking = await client.place("BUY", "0.50", "10", token=client.down)
            assert taking["status"] == "matched"
            assert (await client.row(resting["orderID"]))["status"] == "MATCHED"
            assert client.account.held(client.up) == client.account.held(client.down) == 10
            assert client.account.cash == 1000 - 10 - Decimal("0.175")

    run(test)


@pytest.mark.parametrize(
    ("event", "matched"),
    [
        (snapshot(1, {40: 1}, {47: 6, 48: 3}), "9"),
        (trade_print(1, "SELL", 48, 104), "4"),
        (trade_print(1, "SELL", 47, 500), "10"),
        (trade_print(1, "SELL", 48, 100), "0"),
        (trade_print(1, "BUY", 52, 500), "0"),
    ],
)
def test_resting_orders_fill_when_the_source_reaches_them(event: Any, matched: str) -> None:
    """By the crossing size or by what a print leaves behind the queue, at the own limit, no fee."""

    async def test() -> None:
        async with open_venue([BOOK, event]) as client:
            answer = await client.place("BUY", "0.48", "10")
            await client.clock.advance(1)
            row = await client.row(answer["orderID"])
            assert row["size_matched"] == matched
            assert client.account.cash == 1000 - Decimal("0.48") * Decimal(matched)
            assert client.account.held(client.up) == Decimal(matched)

    run(test)


def test_a_displayed_size_is_sold_once() -> None:
    """Between two snapshots of a level it cannot be taken twice."""

    async def test() -> None:
        async with open_venue([snapshot(0, {48: 1}, {52: 30})]) as client:
            await client.place("BUY", "0.52", "30", order_type="FOK")
            status, text = await client.refused("BUY", "0.52", "30", order_type="FOK")
            assert status == 400
            assert text.startswith("order couldn't be fully filled")

    run(test)


def test_fok_and_fak() -> None:
    """FOK takes all or nothing; FAK takes what there is and cancels the rest."""

    async def test() -> None:
        async with open_venue([snapshot(0, {48: 1}, {52: 30})]) as client:
            assert await client.refused("BUY", "0.52", "31", order_type="FOK") == (
                400,
                "order couldn't be fully filled. FOK orders are fully filled or killed.",
            )
            status, text = await client.refused("BUY", "0.51", "31", order_type="FAK")
            assert status == 400
            assert text == (
                "no orders found to match with FAK order. FAK orders are partially filled or "
                "killed if no match is found."
            )
            answer = await client.place("BUY", "0.52", "31", order_type="FAK")
            assert (answer["status"], answer["takingAmount"]) == ("matched", "30")
            row = await client.row(answer["orderID"])
            assert (row["status"], row["size_matched"]) == ("CANCELED", "30")
            assert (await client.signed("GET", "/data/orders")).json()["data"] == []

    run(test)


DOLLARS = {"makerAmount": "10000000", "takerAmount": "18867900"}
"""10 USD at 0.53: the price is rounded down from the amounts."""


@pytest.mark.parametrize("order_type", ["FAK", "FOK"])
def test_a_marketable_buy_spends_its_dollars(order_type: str) -> None:
    """At a better price than its limit it gets more shares than it names, to the last cent."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.place("BUY", "0.53", "1", order_type=order_type, **DOLLARS)
            assert (answer["makingAmount"], answer["takingAmount"]) == ("9.99999", "19.23075")
            row = await client.row(answer["orderID"])
            assert (row["status"], row["original_size"]) == ("MATCHED", "18.8679")
            assert row["size_matched"] == "19.23075"
            assert client.account.held(client.up) == Decimal("19.23075")
            fee = Decimal("0.33600")
            assert client.account.cash == 1000 - Decimal("9.99999") - fee

    run(test)


def test_dollars_are_spent_over_several_levels_and_outcomes() -> None:
    """For Down, too, best price first; the last level is taken in part."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.place("BUY", "0.53", "150", token=client.down, order_type="FAK")
            # 79.50 USD: 100 shares at 0.52, the rest at 0.53, which costs 27.499951
            assert answer["takingAmount"] == "151.8867"
            assert len(answer["tradeIDs"]) == 1
            assert client.account.held(client.down) == Decimal("151.8867")

    run(test)


def test_dollars_that_find_no_shares_are_not_spent() -> None:
    """FOK is killed unless all of them can be spent; of a FAK the rest ends as cancelled."""

    async def test() -> None:
        async with open_venue([snapshot(0, {48: 1}, {52: 19})]) as client:
            status, text = await client.refused("BUY", "0.53", "1", order_type="FOK", **DOLLARS)
            assert status == 400
            assert "FOK" in text
            answer = await client.place("BUY", "0.53", "1", order_type="FAK", **DOLLARS)
            assert answer["takingAmount"] == "19"
            row = await client.row(answer["orderID"])
            assert (row["status"], row["size_matched"]) == ("CANCELED", "19")
        async with open_venue(account=funded("10.3")) as client:
            status, text = await client.refused("BUY", "0.53", "1", order_type="FAK", **DOLLARS)
            assert status == 400
            assert text.startswith("not enough balance / allowance")

    run(test)


def test_a_marketable_buy_may_be_for_shares() -> None:
    """With spend_usd off it takes the shares that it names."""

    async def test() -> None:
        async with open_venue(spend_usd=False) as client:
            answer = await client.place("BUY", "0.53", "1", order_type="FAK", **DOLLARS)
            assert answer["takingAmount"] == "18.8679"

    run(test)


def test_post_only() -> None:
    """It rests if it does not cross and is refused if it would."""

    async def test() -> None:
        async with open_venue() as client:
            assert (await client.place("BUY", "0.51", "10", post_only=True))["status"] == "live"
            assert await client.refused("BUY", "0.52", "10", post_only=True) == (
                400,
                "invalid post-only order: order crosses book",
            )

    run(test)


def test_the_taker_delay_holds_and_checks_again() -> None:
    """A held order is not known yet, cannot be sent twice, and meets the book of its release."""

    async def test() -> None:
        script = [BOOK, snapshot(0.03, {48: 100}, {50: 100})]
        async with open_venue(script, taker_delay=0.05) as client:
            body = client.order("BUY", "0.52", "10")
            identity = order_id(body["order"])
            sent = asyncio.create_task(client.signed("POST", "/order", body))
            await until(lambda: client.venue.stats.source_events == 1)
            twice = await client.signed("POST", "/order", body)
            assert twice.json() == {"error": f"order {identity} is invalid. Duplicated."}
            cancel = await client.signed("DELETE", "/order", {"orderID": identity})
            assert cancel.json()["canceled"] == []
            async with client.market_feed():
                await client.clock.advance(0.05)
                assert (await sent).json()["makingAmount"] == "5"

    run(test)


def test_an_order_held_over_the_end_is_refused() -> None:
    """The check after the delay sees that the market has closed."""

    async def test() -> None:
        async with open_venue(now=START + PERIOD - 0.01, taker_delay=0.05) as client:
            sent = asyncio.create_task(
                client.signed("POST", "/order", client.order("BUY", "0.52", "10"))
            )
            await until(lambda: client.venue.stats.source_events == 1)
            await client.clock.advance(0.05)
            answer = await sent
            assert (answer.status_code, answer.json()) == (404, {"error": NO_BOOK})

    run(test)


# ------------------------------------------------------------------ refusals


def test_price_must_be_on_the_tick_and_inside() -> None:
    """Off the tick, at 0 or at 1: the tick rule, with the id, the price and the tick."""

    async def test() -> None:
        async with open_venue() as client:
            for price in ("0.485", "1", "0.999", "0.001"):
                body = client.order("BUY", price, "10")
                answer = await client.signed("POST", "/order", body)
                assert answer.status_code == 400
                assert answer.json()["error"] == (
                    f"order {order_id(body['order'])} is invalid. "
                    f"Price ({price}) breaks minimum tick size rule: 0.01"
                )

    run(test)


def test_the_fine_tick_allows_fine_prices() -> None:
    """After the tick became 0.001 a price of three decimals is taken."""

    async def test() -> None:
        async with open_venue([snapshot(0, {97: 100}, {99: 100})]) as client:
            assert (await client.place("BUY", "0.975", "10"))["status"] == "live"
            status, text = await client.refused("BUY", "0.9755", "10")
            assert (status, text[-34:]) == (400, "breaks minimum tick size rule: 0.001"[-34:])

    run(test)


def test_amounts_must_make_a_price() -> None:
    """A limit order whose amounts do not divide to a price breaks the tick rule."""

    async def test() -> None:
        async with open_venue() as client:
            status, text = await client.refused("BUY", "0.48", "10", makerAmount="4800001")
            assert status == 400
            assert "Price (0.480000) breaks minimum tick size rule" in text

    run(test)


def test_limit_orders_have_a_minimum_size() -> None:
    """Five shares; a FAK may be smaller."""

    async def test() -> None:
        async with open_venue() as client:
            body = client.order("BUY", "0.48", "4.99")
            answer = await client.signed("POST", "/order", body)
            assert answer.json()["error"] == (
                f"order {order_id(body['order'])} is invalid. Size (4.99) lower than the minimum: 5"
            )
            assert (await client.place("BUY", "0.52", "2", order_type="FAK"))["status"] == "matched"

    run(test)


def test_marketable_buys_have_a_minimum_amount() -> None:
    """One dollar for what takes, GTC too; a resting buy may be smaller."""
    cheap = snapshot(0, {5: 100}, {7: 100})

    async def test() -> None:
        async with open_venue([cheap]) as client:
            text = "invalid amount for a marketable BUY order ($0.7), min size: $1"
            assert await client.refused("BUY", "0.07", "10") == (400, text)
            assert await client.refused("BUY", "0.07", "10", order_type="FAK") == (400, text)
            text = "invalid amount for a marketable BUY order ($0.6), min size: $1"
            assert await client.refused("BUY", "0.06", "10", order_type="FAK") == (400, text)
            assert (await client.place("BUY", "0.06", "10"))["status"] == "live"

    run(test)


def test_a_buy_needs_cash_for_itself_the_fee_and_all_open_buys() -> None:
    """Balance minus reservations must cover the amount, for a taker with the fee."""

    async def test() -> None:
        async with open_venue(account=funded("10")) as client:
            status, text = await client.refused("BUY", "0.52", "19")
            assert status == 400
            assert text == (
                "not enough balance / allowance: balance is 10000000, sum of active orders 0, "
                "sum of matched orders 0, order amount 10211970"
            )
            resting = await client.place("BUY", "0.50", "12")
            status, text = await client.refused("BUY", "0.45", "10")
            assert status == 400
            assert "sum of active orders 6000000" in text
            await client.signed("DELETE", "/order", {"orderID": resting["orderID"]})
            assert (await client.place("BUY", "0.45", "10"))["status"] == "live"

    run(test)


def test_cash_that_just_covers_cost_and_fee_is_enough() -> None:
    """The check is exact to the fifth decimal of the fee."""
    cost = Decimal("5.2") + Decimal("0.17472")

    async def test() -> None:
        async with open_venue(account=funded(str(cost - Decimal("0.00001")))) as client:
            assert (await client.refused("BUY", "0.52", "10"))[0] == 400
        async with open_venue(account=funded(str(cost))) as client:
            await client.place("BUY", "0.52", "10")
            assert client.account.cash == 0

    run(test)


def test_a_sell_needs_shares_that_no_open_sell_holds() -> None:
    """Only held shares of that token can be sold, once."""

    async def test() -> None:
        async with open_venue(account=funded(up="10")) as client:
            assert (await client.refused("SELL", "0.60", "10", token=client.down))[0] == 400
            await client.place("SELL", "0.60", "6")
            status, text = await client.refused("SELL", "0.60", "5")
            assert status == 400
            assert text == (
                "not enough balance / allowance: balance is 10000000, "
                "sum of active orders 6000000, sum of matched orders 0, order amount 5000000"
            )

    run(test)


def test_the_same_order_twice_is_a_duplicate() -> None:
    """Whatever became of the first one."""

    async def test() -> None:
        async with open_venue() as client:
            for order_type in ("GTC", "FOK"):
                body = client.order("BUY", "0.49", "10", order_type=order_type)
                await client.signed("POST", "/order", body)
                answer = await client.signed("POST", "/order", body)
                text = f"order {order_id(body['order'])} is invalid. Duplicated."
                assert (answer.status_code, answer.json()) == (400, {"error": text})

    run(test)


def test_unknown_tokens_and_ended_markets_have_no_book() -> None:
    """404 for a token nobody knows, and for a market from its end on."""

    async def test() -> None:
        async with open_venue(now=START + PERIOD - 1) as client:
            assert await client.refused("BUY", "0.40", "10", token="12345") == (404, NO_BOOK)
            await client.place("BUY", "0.40", "10")
            await client.clock.advance(1)
            assert await client.refused("BUY", "0.40", "10") == (404, NO_BOOK)

    run(test)


@pytest.mark.parametrize(
    "damage",
    [
        {"salt": "1"},
        {"salt": 1 << 53},
        {"salt": True},
        {"maker": "0x12"},
        {"makerAmount": 4900000},
        {"makerAmount": "0"},
        {"makerAmount": "1" * 19},
        {"tokenId": "9" * 78},
        {"takerAmount": "-5"},
        {"takerAmount": "10000001"},
        {"tokenId": "abc"},
        {"side": "HOLD"},
        {"signatureType": 4},
        {"timestamp": 5},
        {"metadata": "0x0"},
        {"builder": None},
    ],
)
def test_malformed_orders_are_invalid(damage: dict[str, Any]) -> None:
    """Wrong types and values of the order's fields are an invalid payload."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.refused("BUY", "0.49", "10", **damage)
            assert answer == (400, "Invalid order payload")

    run(test)


def test_malformed_bodies_are_invalid() -> None:
    """No JSON, no object, unknown types, post-only of a FOK, a removed field, a wrong signature."""

    async def test() -> None:
        async with open_venue() as client:
            body = client.order("BUY", "0.49", "10")
            order = body["order"]
            bad: list[Any] = [
                [],
                {"order": 1, "owner": client.account.api_key},
                {**body, "orderType": "GTX"},
                {**body, "orderType": "FOK", "postOnly": True},
                {**body, "postOnly": "yes"},
                {**body, "order": {k: v for k, v in order.items() if k != "salt"}},
                {**body, "order": {**order, "signature": "0x00"}},
                {**body, "order": {**order, "makerAmount": "5000000"}},
                {**body, "order": {**order, "signature": signature("0x" + "0" * 64)}},
            ]
            for wrong in bad:
                answer = await client.signed("POST", "/order", wrong)
                assert answer.status_code == 400, wrong
                assert answer.json() == {"error": "Invalid order payload"}, wrong
            headers = client.headers("POST", "/order", "{")
            url = f"{client.venue.url}/clob/order"
            answer = await client.http.post(url, content=b"{", headers=headers)
            assert answer.json() == {"error": "Invalid order payload"}
            assert (await client.signed("POST", "/order", body)).status_code == 200

    run(test)


def test_an_order_of_version_1_is_told_so() -> None:
    """It has a nonce and no time stamp; clients then ask for the version again."""

    async def test() -> None:
        async with open_venue() as client:
            body = client.order("BUY", "0.49", "10")
            del body["order"]["timestamp"]
            body["order"] |= {"nonce": "0", "feeRateBps": "0", "taker": "0x" + "0" * 40}
            answer = await client.signed("POST", "/order", body)
            assert (answer.status_code, answer.json()) == (400, {"error": "order_version_mismatch"})

    run(test)


def test_owner_and_signer_must_be_the_accounts() -> None:
    """The owner is the API key, the signer is the address of the key, in any case of letters."""

    async def test() -> None:
        async with open_venue() as client:
            body = client.order("BUY", "0.49", "10")
            answer = await client.signed("POST", "/order", {**body, "owner": "somebody"})
            assert answer.json() == {"error": "the order owner has to be the owner of the API KEY"}
            assert await client.refused("BUY", "0.49", "10", signer="0x" + "1" * 40) == (
                400,
                "the order signer address has to be the address of the API KEY",
            )
            upper = "0x" + client.account.address[2:].upper()
            await client.place("BUY", "0.49", "10", signer=upper)

    run(test)


# ------------------------------------------------------------------ authentication


@pytest.mark.parametrize(
    "header",
    ["POLY_ADDRESS", "POLY_API_KEY", "POLY_PASSPHRASE", "POLY_SIGNATURE", "POLY_TIMESTAMP"],
)
def test_every_header_counts(header: str) -> None:
    """A wrong or missing L2 header is 401."""

    async def test() -> None:
        async with open_venue() as client:
            good = client.headers("GET", "/data/orders")
            url = f"{client.venue.url}/clob/data/orders"
            assert (await client.http.get(url, headers=good)).status_code == 200
            missing = {name: value for name, value in good.items() if name != header}
            for wrong in ({**good, header: "1"}, missing):
                answer = await client.http.get(url, headers=wrong)
                assert answer.status_code == 401
                assert answer.json() == {"error": "Unauthorized/Invalid api key"}

    run(test)


def test_the_signature_covers_method_path_and_body_but_not_the_query() -> None:
    """Changing any signed part is 401; the query is free."""

    async def test() -> None:
        async with open_venue() as client:
            url = f"{client.venue.url}/clob/data/orders"
            headers = client.headers("GET", "/data/orders")
            answer = await client.http.get(url, headers=headers, params={"market": "x"})
            assert answer.status_code == 200
            other = await client.http.get(f"{client.venue.url}/clob/data/trades", headers=headers)
            assert other.status_code == 401
            signed = client.headers("DELETE", "/order", '{"orderID":"a"}')
            changed = await client.http.request(
                "DELETE", f"{client.venue.url}/clob/order", headers=signed, content=b"{}"
            )
            assert changed.status_code == 401

    run(test)


@pytest.mark.parametrize(("age", "status"), [(60, 200), (61, 401), (-60, 200), (-61, 401)])
def test_the_time_stamp_may_be_a_minute_off(age: int, status: int) -> None:
    """60 seconds of the venue's clock in either direction."""

    async def test() -> None:
        async with open_venue() as client:
            headers = client.headers("GET", "/data/orders")
            client.clock.now += age
            url = f"{client.venue.url}/clob/data/orders"
            assert (await client.http.get(url, headers=headers)).status_code == status

    run(test)


# ------------------------------------------------------------------ batches and cancels


def test_a_batch_is_judged_entry_by_entry() -> None:
    """200 for the batch; a refused entry says success with no id, as recorded."""

    async def test() -> None:
        async with open_venue() as client:
            bodies = [
                client.order("BUY", "0.40", "10"),
                client.order("BUY", "0.405", "10"),
                client.order("BUY", "0.52", "10"),
            ]
            answer = await client.signed("POST", "/orders", bodies)
            assert answer.status_code == 200
            first, second, third = answer.json()
            assert first["status"] == "live"
            assert third["status"] == "matched"
            assert second["success"] is True
            assert second["orderID"] == second["status"] == ""
            assert "breaks minimum tick size rule" in second["errorMsg"]

    run(test)


def test_batches_have_limits() -> None:
    """At most 15 orders, at most 1000 cancels, never an empty batch."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.signed("POST", "/orders", [{}] * 16)
            assert (answer.status_code, answer.json()) == (
                400,
                {"error": "Too many orders in payload: 16, max allowed: 15"},
            )
            answer = await client.signed("DELETE", "/orders", ["0x" + "0" * 64] * 1001)
            assert answer.json() == {"error": "Too many orders in payload: 1001, max allowed: 1000"}
            answer = await client.signed("POST", "/orders", [])
            assert answer.json() == {"error": "Invalid order payload"}

    run(test)


def test_cancelling_answers_200_whatever_happened() -> None:
    """Cancelled, matched, already cancelled and unknown orders are told apart by the reason."""

    async def test() -> None:
        async with open_venue() as client:
            live = (await client.place("BUY", "0.40", "10"))["orderID"]
            matched = (await client.place("BUY", "0.52", "10"))["orderID"]
            unknown = "0x" + "9" * 64
            answer = await client.signed("DELETE", "/orders", [live, matched, unknown, live])
            assert answer.status_code == 200
            assert answer.json() == {
                "canceled": [live],
                "not_canceled": {
                    matched: "order already matched",
                    unknown: f"Order not found or already canceled: {unknown}",
                },
            }
            again = await client.signed("DELETE", "/order", {"orderID": live})
            assert again.status_code == 200
            assert again.json() == {
                "canceled": [],
                "not_canceled": {live: "already canceled or matched"},
            }
            assert (await client.row(live))["status"] == "CANCELED"
            book = (await client.clob("/book", token_id=client.up)).json()
            assert book["bids"][-1]["price"] == "0.48"

    run(test)


@pytest.mark.parametrize("body", [{"orderID": "1"}, {"orderID": 1}, {}, []])
def test_an_order_id_must_look_like_one(body: Any) -> None:
    """Anything else is 400 Invalid orderID."""

    async def test() -> None:
        async with open_venue() as client:
            answer = await client.signed("DELETE", "/order", body)
            assert (answer.status_code, answer.json()) == (400, {"error": "Invalid orderID"})

    run(test)


def test_cancelling_all_and_by_market() -> None:
    """cancel-all takes everything; by market or token only those; neither is a bad request."""

    async def test() -> None:
        async with open_venue() as client:

            async def place_two() -> list[str]:
                up = await client.place("BUY", "0.40", "10")
                down = await client.place("BUY", "0.40", "10", token=client.down)
                return [up["orderID"], down["orderID"]]

            async def cancel(body: Any) -> Any:
                return (await client.signed("DELETE", "/cancel-market-orders", body)).json()

            ids = await place_two()
            answer = (await client.signed("DELETE", "/cancel-all")).json()
            assert answer == {"canceled": ids, "not_canceled": {}}
            ids = await place_two()
            assert (await cancel({"market": "0xother"}))["canceled"] == []
            assert (await cancel({"asset_id": client.down}))["canceled"] == ids[1:]
            assert (await cancel({"market": client.market.condition_id}))["canceled"] == ids[:1]
            assert await cancel({}) == {"error": "Invalid order payload"}

    run(test)


# ------------------------------------------------------------------ reading


def test_open_orders_can_be_filtered() -> None:
    """By market, by token, by id; only the form by id shows an order that is not open."""

    async def test() -> None:
        async with open_venue() as client:
            up = (await client.place("BUY", "0.40", "10"))["orderID"]
            down = (await client.place("BUY", "0.40", "10", token=client.down))["orderID"]

            async def ids(**params: str) -> list[str]:
                answer = (await client.signed("GET", "/data/orders", **params)).json()
                assert answer["next_cursor"] == "LTE="
                assert answer["count"] == len(answer["data"])
                return [row["id"] for row in answer["data"]]

            assert await ids() == [up, down]
            assert await ids(asset_id=client.down) == [down]
            assert await ids(market=client.market.condition_id) == [up, down]
            assert await ids(market="0xother") == []
            await client.signed("DELETE", "/order", {"orderID": up})
            assert await ids() == [down]
            assert await ids(id=up) == [up]
            assert await ids(id="0x0") == []
            assert (await client.signed("GET", "/data/order/0x0")).json() is None

    run(test)


def test_long_lists_come_in_pages() -> None:
    """A hundred rows a page; the cursor leads on, a bad one is refused."""

    async def test() -> None:
        async with open_venue(account=funded("100000")) as client:
            for _ in range(7):
                bodies = [client.order("BUY", "0.40", "10") for _ in range(15)]
                await client.signed("POST", "/orders", bodies)
            first = (await client.signed("GET", "/data/orders", next_cursor="MA==")).json()
            assert (first["count"], first["next_cursor"]) == (100, "MTAw")
            second = (await client.signed("GET", "/data/orders", next_cursor="MTAw")).json()
            assert (second["count"], second["next_cursor"]) == (5, "LTE=")
            assert not {r["id"] for r in first["data"]} & {r["id"] for r in second["data"]}
            for cursor in ("LTE=", "?"):
                answer = await client.signed("GET", "/data/orders", next_cursor=cursor)
                assert answer.status_code == 400

    run(test)


def test_trades_can_be_read_and_filtered() -> None:
    """Newest first, with a prefixed status; by id, market, token, address and time."""

    async def test() -> None:
        async with open_venue() as client:
            (first,) = (await client.place("BUY", "0.52", "10"))["tradeIDs"]
            await client.clock.advance(10)
            (second,) = (await client.place("BUY", "0.52", "10", token=client.down))["tradeIDs"]

            async def ids(**params: str) -> list[str]:
                answer = (await client.signed("GET", "/data/trades", **params)).json()
                return [row["id"] for row in answer["data"]]

            assert await ids() == [second, first]
            assert await ids(id=first) == [first]
            assert await ids(asset_id=client.down) == [second]
            assert await ids(market=client.market.condition_id) == [second, first]
            assert await ids(maker_address=client.account.address.upper()) == [second, first]
            assert await ids(after=str(START)) == [second]
            assert await ids(before=str(START + 10)) == [first]
            assert (await client.signed("GET", "/data/trades", after="x")).status_code == 400
            rows = (await client.signed("GET", "/data/trades")).json()["data"]
            assert [row["status"] for row in rows] == [
                "TRADE_STATUS_MATCHED",
                "TRADE_STATUS_CONFIRMED",
            ]
            assert rows[1]["match_time"] == str(START)
            assert rows[1]["last_update"] == str(START + 4)
            assert rows[1]["transaction_hash"].startswith("0x")

    run(test)


def test_balances_are_base_units() -> None:
    """Cash and shares as whole numbers of 10 ** −6."""

    async def test() -> None:
        async with open_venue(account=funded("12.3456789", up="7.25")) as client:

            async def balance(**params: str) -> Any:
                return (await client.signed("GET", "/balance-allowance", **params)).json()

            assert (await balance(asset_type="COLLATERAL"))["balance"] == "12345678"
            shares = await balance(asset_type="CONDITIONAL", token_id=client.up)
            assert shares["balance"] == "7250000"
            assert (await balance(asset_type="CONDITIONAL", token_id="1"))["balance"] == "0"
            assert "error" in await balance(asset_type="GOLD")
            update = await client.signed(
                "GET", "/balance-allowance/update", asset_type="COLLATERAL"
            )
            assert update.status_code == 200

    run(test)


def test_the_books_of_the_account_add_up() -> None:
    """After many trades of all kinds: cash + fees + cost of buys = start + proceeds, exactly."""
    script = [BOOK] + [
        snapshot(at, {48 - at % 3: 40 + at, 45: 30}, {52 - at % 4: 35 + at, 55: 60})
        for at in range(1, 40)
    ]

    async def trade(client: Client) -> None:
        draw = random.Random(7)
        for _ in range(39):
            for _ in range(2):
                body = client.order(
                    draw.choice(["BUY", "SELL"]),
                    f"0.{draw.randint(45, 54)}",
                    str(draw.randint(5, 30)),
                    token=draw.choice([client.up, client.down]),
                    order_type=draw.choice(["GTC", "GTC", "FAK", "FOK"]),
                )
                await client.signed("POST", "/order", body)
            await client.clock.advance(1)

    async def test() -> None:
        account = funded("1000", up="50", down="50")
        async with open_venue(script, account=account) as client:
            await trade(client)
            rows = (await client.signed("GET", "/data/trades")).json()["data"]
            cash, held = Decimal(1000), {client.up: Decimal(50), client.down: Decimal(50)}
            fees, several = client.market.market.fees, 0
            for row in rows:
                total = sum(Decimal(leg["matched_amount"]) for leg in row["maker_orders"])
                assert total == Decimal(row["size"])
                levels: defaultdict[Decimal, Decimal] = defaultdict(Decimal)
                for leg in row["maker_orders"]:
                    size, price = Decimal(leg["matched_amount"]), Decimal(leg["price"])
                    if leg["owner"] == account.api_key:
                        sign = 1 if leg["side"] == "BUY" else -1
                        held[leg["asset_id"]] += sign * size
                        cash -= sign * size * price
                    levels[price if leg["asset_id"] == row["asset_id"] else 1 - price] += size
                if row["trader_side"] != "TAKER":
                    continue
                sign = 1 if row["side"] == "BUY" else -1
                held[row["asset_id"]] += sign * total
                for price, size in levels.items():
                    cash -= sign * size * price + fees.taker_fee(size, price)
                several += len(levels) > 1
            assert len(rows) > 20
            assert several > 2
            assert any(row["trader_side"] == "MAKER" for row in rows)
            assert account.cash == cash
            assert {t: account.held(t) for t in held} == held

    run(test)


def test_an_account_cannot_be_overdrawn() -> None:
    """The last line of defence behind the checks."""
    account = Account.random(1)
    with pytest.raises(ValueError, match="overdraw"):
        account.move("1", Decimal(1), Decimal(-2))
    with pytest.raises(ValueError, match="overdraw"):
        account.move("1", Decimal(-1), Decimal(1))
    assert account.cash == 1
