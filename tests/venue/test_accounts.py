"""Several accounts: who sees and moves what, and how their orders meet (PROTOCOL §2.10, §5.4)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from polyframe.errors import ConfigError
from polyframe.model.fees import NO_FEES
from polyframe.model.market import Outcome
from polyframe.venue import LocalVenue, VenueAccount, VenueMarket, VenueSettings
from polyframe.venue.values import up_terms
from tests.venue.support import (
    START,
    Client,
    ManualClock,
    ScriptedSource,
    make_market,
    open_venue,
    run,
    snapshot,
    until,
)

FAR = snapshot(0, {10: 100}, {90: 100})
"""A book that is out of the way."""


def funded(cash: str = "1000", **shares: str) -> VenueAccount:
    """Return an account with shares of the first market, by outcome."""
    market = make_market().market
    account = VenueAccount.random(cash)
    for name, size in shares.items():
        account.shares[market.token(Outcome[name.upper()])] = Decimal(size)
    return account


# ------------------------------------------------------------------ meeting


def test_orders_of_two_accounts_meet() -> None:
    """Shares and cash change hands at the maker's price; the taker alone pays the fee."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50")) as seller:
            buyer = seller.other()
            await seller.place("SELL", "0.55", "20")
            answer = await buyer.place("BUY", "0.60", "20")
            assert answer["status"] == "matched"
            assert (answer["makingAmount"], answer["takingAmount"]) == ("11", "20")
            fee = Decimal("0.3465")
            assert buyer.account.cash == 1000 - 11 - fee
            assert buyer.account.held(buyer.up) == 20
            assert seller.account.cash == 1011
            assert seller.account.held(seller.up) == 30

    run(test)


def test_price_then_time_decides_between_accounts() -> None:
    """The better price is hit first, and at one price the order that came first."""

    async def test() -> None:
        async with open_venue([FAR]) as first:
            second, third, taker = first.other(), first.other(), first.other(funded(up="100"))
            await first.place("BUY", "0.50", "10")
            await second.place("BUY", "0.50", "10")
            await third.place("BUY", "0.51", "10")
            await taker.place("SELL", "0.50", "25")
            held = [client.account.held(client.up) for client in (first, second, third)]
            assert held == [10, 5, 10]

    run(test)


def test_two_buyers_mint_and_two_sellers_merge() -> None:
    """Buy Up + buy Down make shares of both out of 1 USD each; two sells turn them into cash."""

    async def test() -> None:
        async with open_venue([FAR]) as up:
            down = up.other()
            await up.place("BUY", "0.60", "10")
            answer = await down.place("BUY", "0.45", "10", token=down.down)
            assert answer["status"] == "matched"
            assert answer["makingAmount"] == "4"  # 1 − 0.60: improvement goes to the taker
            assert up.account.cash == 1000 - 6
            assert down.account.cash == 1000 - 4 - Decimal("0.168")
            assert up.account.held(up.up) == down.account.held(down.down) == 10
            await up.place("SELL", "0.55", "10")
            answer = await down.place("SELL", "0.40", "10", token=down.down)
            assert answer["makingAmount"] == "10"
            assert answer["takingAmount"] == "4.5"
            assert up.account.cash == 1000 - 6 + Decimal("5.5")
            assert up.account.shares == down.account.shares == {}

    run(test)


def test_buys_that_sum_to_less_than_one_do_not_mint() -> None:
    """0.60 for Up and 0.39 for Down leave both in the book."""

    async def test() -> None:
        async with open_venue([FAR]) as up:
            down = up.other()
            await up.place("BUY", "0.60", "10")
            assert (await down.place("BUY", "0.39", "10", token=down.down))["status"] == "live"

    run(test)


def _check_orders(clients: list[Client]) -> None:
    """Open orders are covered, and together they are the book, which is not crossed."""
    blotter = clients[0].venue._blotter
    market = clients[0].market
    book = clients[0].venue._floor.live(market).book
    bids: Counter[int] = Counter()
    asks: Counter[int] = Counter()
    for client in clients:
        account = client.account
        assert blotter.reserved_cash(account) <= account.cash
        for token in market.tokens:
            assert blotter.reserved_shares(account, token) <= account.held(token)
        for order in blotter.open_orders(account):
            is_bid, price = up_terms(order.outcome, order.side, order.price)
            (bids if is_bid else asks)[price] += order.remaining
    assert book.bids() == bids
    assert book.asks() == asks
    assert book.best_bid() < book.best_ask()


def test_nothing_is_made_or_lost_between_accounts() -> None:
    """Whatever three accounts do: Up and Down stay equally many, cash adds up, orders are covered."""
    market = make_market()
    free = VenueMarket(evolve(market.market, fees=NO_FEES), market.row_id)

    async def test(seed: int) -> None:
        source = ScriptedSource([snapshot(0, {}, {})], markets=[free])
        draw = random.Random(seed)
        async with open_venue(source=source) as first:
            clients = [first, first.other(), first.other()]
            matched = 0
            for _ in range(120):
                client = draw.choice(clients)
                body = client.order(
                    draw.choice(["BUY", "BUY", "SELL"]),
                    f"0.{draw.randint(40, 60)}",
                    str(draw.randint(5, 40)),
                    token=draw.choice([client.up, client.down]),
                    order_type=draw.choice(["GTC", "GTC", "FAK", "FOK"]),
                )
                answer = await client.signed("POST", "/order", body)
                matched += answer.json().get("status") == "matched"
                if draw.random() < 0.1:
                    await client.signed("DELETE", "/cancel-all")
                accounts = [client.account for client in clients]
                up, down = (sum(a.held(t) for a in accounts) for t in market.tokens)
                assert up == down
                assert sum(a.cash for a in accounts) + up == 3000
                _check_orders(clients)
            assert matched > 20

    for seed in range(3):
        run(lambda seed=seed: test(seed))  # type: ignore[misc]


# ------------------------------------------------------------------ who sees what


def test_maker_and_taker_get_their_own_view_of_a_trade() -> None:
    """Each is told its side and its own key; keys of the others are never shown."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50")) as maker:
            taker = maker.other()
            async with maker.user_feed() as makers, taker.user_feed() as takers:
                resting = (await maker.place("SELL", "0.55", "20"))["orderID"]
                taking = (await taker.place("BUY", "0.55", "20"))["orderID"]
                of_maker, of_taker = await makers.rest(), await takers.rest()
                seen = {m["id"] for m in of_maker if m["event_type"] == "order"}
                assert seen == {resting}
                assert {m["id"] for m in of_taker if m["event_type"] == "order"} == {taking}
                (made,) = [m for m in of_maker if m["event_type"] == "trade"]
                (took,) = [m for m in of_taker if m["event_type"] == "trade"]
                assert (made["trader_side"], took["trader_side"]) == ("MAKER", "TAKER")
                assert made["id"] == took["id"]
                for trade in (made, took):
                    assert trade["taker_order_id"] == taking
                    assert trade["maker_address"] == taker.account.address
                    (leg,) = trade["maker_orders"]
                    assert leg["order_id"] == resting
                    assert leg["maker_address"] == maker.account.address
                    assert leg["matched_amount"] == "20"
                assert made["maker_orders"][0]["owner"] == maker.account.api_key
                assert took["owner"] == took["trade_owner"] == taker.account.api_key
                assert maker.account.api_key not in str(of_taker)
                assert taker.account.api_key not in str(of_maker)
            for client, side in ((maker, "MAKER"), (taker, "TAKER")):
                (row,) = (await client.signed("GET", "/data/trades")).json()["data"]
                assert row["trader_side"] == side
                # A filter finds the maker's part as well as the taker's.
                for name, value in (
                    ("maker_address", client.account.address.upper().replace("X", "x")),
                    ("asset_id", client.up),
                ):
                    found = await client.signed("GET", "/data/trades", **{name: value})
                    assert found.json()["data"] == [row]
                found = await client.signed("GET", "/data/trades", asset_id=client.down)
                assert found.json()["data"] == []

    run(test)


def test_an_account_sees_and_cancels_only_its_own_orders() -> None:
    """For others an order does not exist, in lists, by id, in cancels and in cancel-all."""

    async def test() -> None:
        async with open_venue([FAR]) as owner:
            other = owner.other()
            order = (await owner.place("BUY", "0.50", "10"))["orderID"]
            assert (await other.signed("GET", "/data/orders")).json()["data"] == []
            assert (await other.signed("GET", "/data/orders", id=order)).json()["data"] == []
            assert await other.row(order) is None
            answer = (await other.signed("DELETE", "/order", {"orderID": order})).json()
            unknown = "0x" + "0" * 64
            same = (await other.signed("DELETE", "/order", {"orderID": unknown})).json()
            assert answer["canceled"] == []
            assert answer["not_canceled"][order] == same["not_canceled"][unknown].replace(
                unknown, order
            )
            await other.signed("DELETE", "/cancel-all")
            await other.signed("DELETE", "/cancel-market-orders", {"asset_id": owner.up})
            assert (await owner.row(order))["status"] == "LIVE"

    run(test)


def test_accounts_reserve_for_themselves() -> None:
    """Open orders of one account bind nobody else's cash or shares."""

    async def test() -> None:
        async with open_venue([FAR], account=funded("10", up="10")) as first:
            second = first.other(funded("10", up="10"))
            await first.place("BUY", "0.50", "20")
            await second.place("BUY", "0.50", "20")
            assert (await first.refused("BUY", "0.50", "5"))[0] == 400
            await first.place("SELL", "0.80", "10")
            await second.place("SELL", "0.80", "10")
            assert (await second.refused("SELL", "0.80", "5"))[0] == 400

    run(test)


def test_credentials_do_not_mix() -> None:
    """The key of one account with the address, secret or order owner of another is refused."""

    async def test() -> None:
        async with open_venue([FAR]) as first:
            second = first.other()
            headers = second.headers("GET", "/data/orders")
            mixed = {**headers, "POLY_ADDRESS": first.account.address}
            url = f"{first.venue.url}/clob/data/orders"
            assert (await first.http.get(url, headers=mixed)).status_code == 401
            mixed = {**headers, "POLY_API_KEY": first.account.api_key}
            assert (await first.http.get(url, headers=mixed)).status_code == 401
            body = first.order("BUY", "0.50", "10")
            answer = await second.signed("POST", "/order", body)
            assert answer.json() == {"error": "the order owner has to be the owner of the API KEY"}
            body["owner"] = second.account.api_key
            answer = await second.signed("POST", "/order", body)
            assert answer.json() == {
                "error": "the order signer address has to be the address of the API KEY"
            }

    run(test)


def test_the_end_of_a_market_pays_everybody() -> None:
    """At the resolution all open orders end and all winners are paid."""

    async def test() -> None:
        async with open_venue([FAR]) as up:
            down = up.other()
            await up.place("BUY", "0.60", "10")
            await down.place("BUY", "0.40", "10", token=down.down)
            order = (await down.place("BUY", "0.20", "10"))["orderID"]
            await up.clock.advance(1_000)
            assert (await down.row(order))["status"] == "CANCELED_MARKET_RESOLVED"
            assert up.account.cash == 1000 - 6 + 10
            assert down.account.cash == 1000 - 4 - Decimal("0.168")
            assert up.account.shares == down.account.shares == {}

    run(test)


def test_accounts_are_told_apart() -> None:
    """A second account with a taken address or key is refused, and so is one too many."""
    first = VenueAccount.random()
    venue = LocalVenue(
        ScriptedSource(), clock=ManualClock(), account=first, settings=VenueSettings(max_accounts=2)
    )
    with pytest.raises(ConfigError, match=r"address: .* has an account already"):
        venue.add_account(VenueAccount.wallet(first.address.upper().replace("X", "x")))
    copy = VenueAccount.random()
    copy.api_key = first.api_key
    with pytest.raises(ConfigError, match="api_key: another account has it already"):
        venue.add_account(copy)
    second = venue.add_account()
    assert venue.accounts == [first, second]
    with pytest.raises(ConfigError, match="max_accounts: 2 accounts exist already"):
        venue.add_account()


# ------------------------------------------------------------------ money


def test_makers_get_a_share_of_the_fee_at_midnight() -> None:
    """20 % of the fee that the maker's part brought, paid at the next midnight UTC."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50"), redeem=False) as maker:
            taker = maker.other()
            await maker.place("SELL", "0.50", "20")
            await taker.place("BUY", "0.50", "20")
            assert maker.account.rebates == Decimal("0.35") * Decimal("0.2")
            assert taker.account.rebates == 0
            assert maker.account.cash == 1010
            midnight = (START // 86_400 + 1) * 86_400
            await maker.clock.advance(midnight - START - 1)
            assert maker.account.cash == 1010
            await maker.clock.advance(1)
            assert maker.account.cash == Decimal("1010.07")
            assert maker.account.rebates == 0

    run(test)


def test_an_allowance_bounds_what_can_be_spent() -> None:
    """A buy needs the allowance as well as the cash, and spends it; a sell needs the approval."""

    async def test() -> None:
        account = funded("1000", up="20")
        account.allowance = Decimal(12)
        async with open_venue([FAR], account=account) as client:
            assert (await client.refused("BUY", "0.50", "25"))[0] == 400
            await client.place("BUY", "0.90", "10")
            # 9 USD and the fee of 0.063 are spent
            query = {"asset_type": "COLLATERAL"}
            row = (await client.signed("GET", "/balance-allowance", **query)).json()
            assert row["balance"] == "990937000"
            assert set(row["allowances"].values()) == {"2937000"}
            account.approved = False
            status, text = await client.refused("SELL", "0.95", "10")
            assert status == 400
            assert text.startswith("not enough balance / allowance")
            query = {"asset_type": "CONDITIONAL", "token_id": client.up}
            row = (await client.signed("GET", "/balance-allowance", **query)).json()
            assert row["balance"] == "30000000"
            assert set(row["allowances"].values()) == {"0"}

    run(test)


# ------------------------------------------------------------------ bounds


def test_what_is_remembered_is_bounded() -> None:
    """Of orders that are over and of trades only the latest can be read."""

    async def test() -> None:
        async with open_venue([snapshot(0, {48: 100}, {52: 1000})], history=3) as client:
            ids = [(await client.place("BUY", "0.52", "10"))["orderID"] for _ in range(5)]
            rows = (await client.signed("GET", "/data/trades")).json()["data"]
            assert [row["taker_order_id"] for row in rows] == ids[:1:-1]
            assert [await client.row(order) is not None for order in ids] == [
                False,
                False,
                True,
                True,
                True,
            ]
            assert client.account.held(client.up) == 50

    run(test)


def test_open_orders_are_bounded() -> None:
    """One account cannot fill the book with orders without end; another one still can place."""

    async def test() -> None:
        async with open_venue([FAR], max_open_orders=2) as client:
            other = client.other()
            first = (await client.place("BUY", "0.50", "10"))["orderID"]
            await client.place("BUY", "0.50", "10")
            assert await client.refused("BUY", "0.50", "10") == (400, "too many open orders")
            await other.place("BUY", "0.50", "10")
            await client.signed("DELETE", "/order", {"orderID": first})
            await client.place("BUY", "0.50", "10")

    run(test)


# ------------------------------------------------------------------ heartbeats


async def _beat(client: Client, heartbeat: str) -> tuple[int, dict[str, Any]]:
    answer = await client.signed("POST", "/v1/heartbeats", {"heartbeat_id": heartbeat})
    return answer.status_code, answer.json()


def test_heartbeats_form_a_chain() -> None:
    """The first id is free, each answer names the next one, a wrong one is told the right one."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            status, first = await _beat(client, "")
            assert status == 200
            status, second = await _beat(client, first["heartbeat_id"])
            assert status == 200
            assert second["heartbeat_id"] != first["heartbeat_id"]
            status, wrong = await _beat(client, first["heartbeat_id"])
            assert (status, wrong["error_msg"]) == (400, "Invalid Heartbeat ID")
            assert wrong["heartbeat_id"] == second["heartbeat_id"]
            assert (await _beat(client, wrong["heartbeat_id"]))[0] == 200

    run(test)


def test_a_key_that_falls_silent_loses_its_orders() -> None:
    """Its open orders are cancelled, those of others and of keys without heartbeats are not."""

    async def test() -> None:
        async with open_venue([FAR], heartbeat_timeout=0.05) as client:
            other = client.other()
            mine = (await client.place("BUY", "0.50", "10"))["orderID"]
            theirs = (await other.place("BUY", "0.50", "10"))["orderID"]
            async with client.user_feed() as feed:
                await _beat(client, "")
                message = await feed.until("order", type="CANCELLATION")
                assert message["id"] == mine
            assert (await client.row(mine))["status"] == "CANCELED"
            assert (await other.row(theirs))["status"] == "LIVE"
            assert (await _beat(client, "anything"))[0] == 200

    run(test)


def test_heartbeats_keep_orders_alive() -> None:
    """As long as they come, also in the old form, nothing is cancelled."""

    async def test() -> None:
        async with open_venue([FAR], heartbeat_timeout=0.3) as client:
            order = (await client.place("BUY", "0.50", "10"))["orderID"]
            end = asyncio.get_running_loop().time() + 0.6
            while asyncio.get_running_loop().time() < end:
                answer = await client.signed("POST", "/heartbeats", {})
                assert answer.json() == {"status": "ok"}
            assert (await client.row(order))["status"] == "LIVE"
            blotter = client.venue._blotter
            await until(lambda: blotter.open_count(client.account) == 0)

    run(test)
