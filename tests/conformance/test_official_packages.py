"""The venue's own client packages, unchanged, against the local venue.

They are the judges of what no test of ours can judge: whether somebody else's client understands us.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.harness import ADDRESS, drive, open_live_scene, open_scene

FOK = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK = "no orders found to match with FAK order."
TAKEN = {"20", "19.23075"}
"""Shares bought: by a limit, and for 10 USD at 0.52."""

CASH = "981227210"
"""What is left of 1,000 USD: 20 + 19.23075 at 0.52 and 5 sold at 0.48, each with its fee."""

SHARES = "34230750"


def run(package: str, script: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a package got, and what is true at the venue in the end."""

    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        async with open_scene() as scene:
            result = await drive(package, script, scene.task(**options))
            account = scene.venue.accounts[1]
            facts = {
                "condition": scene.market.condition_id,
                "up": scene.market.tokens[0],
                "down": scene.market.tokens[1],
                "address": account.address,
                "funder": account.funder,
                "cash": account.cash,
                "shares": dict(account.shares),
            }
            return result, facts

    return asyncio.run(main())


def test_the_cash_is_what_the_rules_say() -> None:
    """The figure that both packages must end with, by the rule for fees (PROTOCOL §2.9)."""
    fees = Decimal("0.34944") + Decimal("0.33600") + Decimal("0.08736")
    left = 1_000 - Decimal("10.4") - Decimal("9.99999") + Decimal("2.4") - fees
    assert abs(left * 1_000_000 - Decimal(CASH)) < 10


def test_py_clob_client_v2_trades() -> None:
    """Keys, all public data, all order types, every way to cancel, errors, heartbeats, balances."""
    got, facts = run("py-clob-client-v2", "py_clob_client_v2_run.py")
    assert got["derived_the_same_key"]
    assert got["keys"]
    assert got["closed_only"] == {"closed_only": False}
    public = got["public"]
    assert public["ok"] == "OK"
    assert public["version"] == 2
    assert public["market"] == public["clob_market"] == facts["condition"]
    assert public["markets"] == [facts["condition"]]
    for name in ("simplified", "sampling", "sampling_simplified"):
        assert public[name] == 1
    assert public["book_hash_agrees"]
    assert public["books"] == 2
    assert (public["tick"], public["neg_risk"], public["fee"]) == ("0.01", False, 0)
    assert public["fee_exponent"] == 1
    assert public["midpoint"] == {"mid": "0.5"}
    assert public["midpoints"] == {facts["up"]: "0.5", facts["down"]: "0.5"}
    assert public["price"] == {"price": "0.48"}
    assert public["prices"] == {facts["up"]: {"BUY": "0.48", "SELL": "0.52"}}
    assert public["spread"] == {"spread": "0.04"}
    assert public["last"] == {"price": "0.5", "side": ""}
    assert public["lasts"] == []
    assert all(point["p"] == 0.5 for point in public["history"]["history"])

    order = got["cancelled_id"]
    assert (got["resting"]["status"], got["resting"]["orderID"]) == ("live", order)
    assert (got["row"]["id"], got["row"]["status"]) == (order, "LIVE")
    assert got["open"]
    assert got["before_version_2"] == []
    assert got["scoring"] == {"scoring": True}
    assert got["scorings"] == {order: True}
    assert got["cancelled"] == {"canceled": [order], "not_canceled": {}}
    assert got["quiet_post_only"] == got["dated"] == "live"
    for name, text in {
        "duplicate": f"order {order} is invalid. Duplicated.",
        "post_only": "invalid post-only order: order crosses book",
        "too_soon": "invalid expiration",
        "poor": "not enough balance / allowance",
        "small": "Size (2) lower than the minimum: 5",
        "killed": FOK,
        "unmatched": FAK,
    }.items():
        assert got[name]["status"] == 400, name
        assert text in got[name]["text"].replace('\\"', "'").replace("\\'", "'"), name

    for name, taken in (("bought", "20"), ("market_buy", "19.23075"), ("market_sell", "2.4")):
        assert got[name]["status"] == "matched"
        assert got[name]["takingAmount"] == taken
        # The package waits for the trades and adds their transactions.
        assert len(got[name]["transactionsHashes"]) == 1
    assert [entry["status"] for entry in got["batch"]] == ["live", ""]
    assert "lower than the minimum" in got["batch"][1]["errorMsg"]
    assert {row["size"] for row in got["trades"]} == {"5", *TAKEN}
    assert got["trade_page"] == 3
    assert (got["cash"], got["shares"]) == (CASH, SHARES)
    assert facts["cash"] * 1_000_000 // 1 == int(CASH)

    assert got["heartbeat"]
    assert "Invalid Heartbeat ID" in got["wrong_heartbeat"]["text"]
    assert got["notifications"] == []
    assert len(got["by_market"]["canceled"]) == 3
    assert got["several"] == {
        "canceled": [],
        "not_canceled": {order: "already canceled or matched"},
    }
    assert got["all"] == {"canceled": [], "not_canceled": {}}
    assert got["deleted"] == "OK"
    assert got["after"]["status"] == 401


@pytest.mark.parametrize(
    ("wallet", "kind"),
    [
        ("eoa", "EOA"),
        ("proxy", "POLY_PROXY"),
        ("safe", "GNOSIS_SAFE"),
        ("default", "DEPOSIT_WALLET"),
    ],
)
def test_polymarket_client_trades(wallet: str, kind: str) -> None:
    """The same with each kind of wallet, with both WebSockets and the Data API."""
    got, facts = run("polymarket-client", "polymarket_client_run.py", wallet=wallet)
    assert got["wallet_type"] == kind
    assert facts["address"] == ADDRESS
    assert facts["funder"] == got["wallet"]
    assert (facts["funder"] == ADDRESS) is (wallet == "eoa")
    public = got["public"]
    assert public["market"] == facts["condition"]
    for name in ("event_markets", "markets", "events"):
        assert public[name] == 1
    assert [level["price"] for level in public["book"]["bids"]] == ["0.47", "0.48"]
    for name in ("books", "midpoints", "spreads"):
        assert public[name] == 2
    assert (public["midpoint"], public["price"], public["spread"]) == ("0.5", "0.48", "0.04")
    assert public["prices"] == {facts["up"]: {"BUY": "0.48"}}
    assert public["last"] is None
    assert public["lasts"] == 0

    assert got["history"]
    assert {(point["price"], point["resolution_seconds"]) for point in got["history"]} == {
        ("0.5", 60)
    }

    order = got["resting"]["order_id"]
    assert got["resting"]["status"] == "live"
    assert (got["row"]["id"], got["row"]["maker_address"]) == (order, got["wallet"])
    assert got["open"] == [order]
    assert got["scoring"]
    assert got["cancelled"]["canceled"] == [order]
    for name, text in {
        "post_only": "invalid post-only order: order crosses book",
        "poor": "not enough balance / allowance",
        "small": "Size (2) lower than the minimum: 5",
        "killed": FOK,
    }.items():
        assert (got[name]["error"], got[name]["status"]) == ("RequestRejectedError", 400)
        assert text in got[name]["text"]
    assert got["settled"] == 1
    for name, taken in (("bought", "20"), ("market_buy", "19.23075"), ("market_sell", "2.4")):
        assert (got[name]["status"], got[name]["taking_amount"]) == ("matched", taken)
    assert [entry["status"] for entry in got["batch"]] == ["live", "live"]
    assert got["trades"] == 3
    assert str(got["cash"]["balance"]) == CASH
    assert str(got["shares"]["balance"]) == SHARES

    (position,) = got["data"]["positions"]
    assert position["asset_id"] == facts["up"]
    assert Decimal(position["current_size"]) == Decimal(SHARES) / 1_000_000
    assert {Decimal(row["size"]) for row in got["data"]["trades"]} == {
        Decimal(5),
        *map(Decimal, TAKEN),
    }
    assert len(got["data"]["activity"]) == 3
    assert Decimal(got["data"]["value"]["value"]) > 0

    assert got["wrong_heartbeat"]["error"] == "OrderHeartbeatMismatchError"
    assert got["notifications"] == []
    assert len(got["by_market"]["canceled"]) == 2
    assert got["all"]["canceled"] == []
    assert got["after"]["status"] == 401
    # Every order and every cancel, refused ones too; reading costs nothing.
    assert {(tier, warning) for tier, _, warning in got["rate_limits"]} == {("Standard", False)}
    assert len(got["rate_limits"]) == 12
    # The package drops what it cannot parse, so each kind that arrives was understood.
    assert set(got["market_events"]) >= {"book", "last_trade_price", "price_change"}
    events = [tuple(event) for event in got["user_events"]]
    assert events[:2] == [("order", "PLACEMENT"), ("order", "CANCELLATION")]
    assert set(events) == {
        ("order", "PLACEMENT"),
        ("order", "UPDATE"),
        ("order", "CANCELLATION"),
        ("trade", "MATCHED"),
        ("trade", "MINED"),
        ("trade", "CONFIRMED"),
    }


def test_polymarket_client_reads_reference_prices() -> None:
    """All topics of RTDS and of its successor: the same price, with history where there is one."""

    async def main() -> dict[str, Any]:
        async with open_live_scene() as scene:
            return await drive("polymarket-client", "polymarket_prices_run.py", scene.task())

    got = asyncio.run(main())
    prices: dict[str, set[Decimal]] = {}
    for name, events in got.items():
        updates = [event for event in events if event["type"] == "update"]
        assert len(updates) == 2, name
        for event in updates:
            payload = event["payload"]
            value = round(Decimal(payload["value"]), 4)
            prices.setdefault(str(payload["timestamp"]), set()).add(value)
        kinds = [event["type"] for event in events]
        # The package leaves the history of RTDS out; that of the successor it hands on.
        assert (kinds[0] == "subscribe") is name.startswith("live"), name
    # What several topics say of one second is one price, however many decimals they show.
    assert all(len(values) == 1 for values in prices.values())
