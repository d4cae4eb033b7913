"""Drive the official package `py-clob-client-v2` through a trading day and print what it got.

Runs in a virtual environment of its own. Reads its task from standard input as JSON: ``clob`` (base
URL), ``key`` (private key), ``condition``, ``up`` and ``down`` (token ids).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from py_clob_client_v2 import client as package
from py_clob_client_v2 import clob_types as types

logging.disable(logging.CRITICAL)


def attempt(call: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the error that a call raises."""
    try:
        call(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 — whatever the package raises is the result
        return {"status": getattr(error, "status_code", None), "text": str(error)}
    return {}


def main() -> None:
    """Run everything in order."""
    task = json.load(sys.stdin)
    up, down, condition = task["up"], task["down"], task["condition"]
    result: dict[str, Any] = {}
    client = package.ClobClient(task["clob"], chain_id=137, key=task["key"])
    creds = client.create_or_derive_api_key()
    again = client.create_or_derive_api_key()
    result["derived_the_same_key"] = creds.api_key == again.api_key
    client.set_api_creds(creds)
    result["keys"] = client.get_api_keys() == {"apiKeys": [creds.api_key]}
    result["closed_only"] = client.get_closed_only_mode()

    # ---------------------------------------------------------------- public data
    token = [types.BookParams(token_id=up), types.BookParams(token_id=down)]
    sides = [types.BookParams(token_id=up, side="BUY"), types.BookParams(token_id=up, side="SELL")]
    book = client.get_order_book(up)
    result["public"] = {
        "ok": client.get_ok(),
        "version": client.get_version(),
        "time": client.get_server_time(),
        "market": client.get_market(condition)["condition_id"],
        "clob_market": client.get_clob_market_info(condition)["c"],
        "markets": [row["condition_id"] for row in client.get_markets()["data"]],
        "simplified": len(client.get_simplified_markets()["data"]),
        "sampling": len(client.get_sampling_markets()["data"]),
        "sampling_simplified": len(client.get_sampling_simplified_markets()["data"]),
        "book_hash_agrees": client.get_order_book_hash(book)
        == (book["hash"] if isinstance(book, dict) else book.hash),
        "books": len(client.get_order_books(token)),
        "tick": client.get_tick_size(up),
        "neg_risk": client.get_neg_risk(up),
        "fee": client.get_fee_rate_bps(up),
        "fee_exponent": client.get_fee_exponent(up),
        "midpoint": client.get_midpoint(up),
        "midpoints": client.get_midpoints(token),
        "price": client.get_price(up, "BUY"),
        "prices": client.get_prices(sides),
        "spread": client.get_spread(up),
        "spreads": client.get_spreads(token),
        "last": client.get_last_trade_price(up),
        "lasts": client.get_last_trades_prices(token),
        "history": client.get_prices_history(
            types.PricesHistoryParams(market=up, start_ts=1, end_ts=int(time.time()), fidelity=1)
        ),
    }

    # ---------------------------------------------------------------- orders
    def limit(side: str, price: float, size: float, token_id: str = up, **more: Any) -> Any:
        return client.create_order(
            types.OrderArgsV2(token_id=token_id, price=price, size=size, side=side, **more)
        )

    def post(order: Any, kind: str = "GTC", **more: Any) -> Any:
        return client.post_order(order, getattr(types.OrderType, kind), **more)

    signed = limit("BUY", 0.40, 10)
    resting = post(signed)
    order_id = resting["orderID"]
    result["resting"] = resting
    result["row"] = client.get_order(order_id)
    result["open"] = [row["id"] for row in client.get_open_orders()] == [order_id]
    result["before_version_2"] = client.get_pre_migration_orders()
    result["scoring"] = client.is_order_scoring(types.OrderScoringParams(order_id))
    result["scorings"] = client.are_orders_scoring(types.OrdersScoringParams([order_id]))
    result["duplicate"] = attempt(post, signed)
    result["cancelled"] = client.cancel_order(types.OrderPayload(orderID=order_id))
    result["cancelled_id"] = order_id
    result["post_only"] = attempt(post, limit("BUY", 0.60, 10), post_only=True)
    result["quiet_post_only"] = post(limit("BUY", 0.41, 10), post_only=True)["status"]
    later = int(time.time()) + 600
    result["dated"] = post(limit("BUY", 0.42, 10, expiration=later), "GTD")["status"]
    result["too_soon"] = attempt(post, limit("BUY", 0.42, 10, expiration=later - 590), "GTD")
    result["poor"] = attempt(post, limit("BUY", 0.40, 1_000_000))
    result["small"] = attempt(post, limit("BUY", 0.40, 2))

    # ---------------------------------------------------------------- taking
    bought = post(limit("BUY", 0.52, 20))
    result["bought"] = bought
    market = types.MarketOrderArgsV2(token_id=up, amount=10, side="BUY")
    result["market_buy"] = client.create_and_post_market_order(market)
    result["killed"] = attempt(post, limit("BUY", 0.52, 1_000), "FOK")
    result["unmatched"] = attempt(post, limit("BUY", 0.30, 10), "FAK")
    market = types.MarketOrderArgsV2(token_id=up, amount=5, side="SELL")
    result["market_sell"] = client.create_and_post_market_order(
        market, order_type=types.OrderType.FAK
    )
    batch = [
        types.PostOrdersV2Args(order=limit("BUY", price, size), orderType=types.OrderType.GTC)
        for price, size in ((0.35, 10), (0.36, 1))
    ]
    result["batch"] = client.post_orders(batch)
    result["trades"] = client.get_trades(types.TradeParams(market=condition))
    result["trade_page"] = client.get_trades_paginated()["count"]
    parameters = types.BalanceAllowanceParams(asset_type=types.AssetType.COLLATERAL)
    client.update_balance_allowance(parameters)
    result["cash"] = client.get_balance_allowance(parameters)["balance"]
    parameters = types.BalanceAllowanceParams(asset_type=types.AssetType.CONDITIONAL, token_id=up)
    result["shares"] = client.get_balance_allowance(parameters)["balance"]

    # ---------------------------------------------------------------- the end
    first = client.post_heartbeat()
    result["heartbeat"] = client.post_heartbeat(first["heartbeat_id"])["heartbeat_id"] != ""
    result["wrong_heartbeat"] = attempt(client.post_heartbeat, "wrong")
    result["notifications"] = client.get_notifications()
    result["by_market"] = client.cancel_market_orders(
        types.OrderMarketCancelParams(market=condition)
    )
    result["several"] = client.cancel_orders([order_id])
    result["all"] = client.cancel_all()
    result["deleted"] = client.delete_api_key()
    result["after"] = attempt(client.get_api_keys)
    json.dump(result, sys.stdout, default=str)


if __name__ == "__main__":
    main()
