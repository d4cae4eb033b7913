"""Drive the official package `polymarket-client` through a trading day and print what it got.

Runs in a virtual environment of its own. Reads its task from standard input as JSON: ``clob``,
``gamma``, ``data``, ``relayer`` (base URLs), ``ws``, ``key`` (private key), ``wallet`` (``eoa``,
``proxy``, ``safe``, ``deposit`` or ``default``), ``condition``, ``slug``, ``up``, ``down``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import sys
from typing import Any

import polymarket
from eth_account import Account
from polymarket import environments
from polymarket._internal import wallet as wallets
from polymarket.streams import _specs as specs

logging.disable(logging.CRITICAL)


def plain(value: Any) -> Any:
    """Return models of the package as plain values."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)


async def attempt(call: Any) -> dict[str, Any]:
    """Return the error that a call raises."""
    try:
        return {"result": await call}
    except Exception as error:  # noqa: BLE001 — whatever the package raises is the result
        status = getattr(error, "status", None) or getattr(error, "status_code", None)
        return {"error": type(error).__name__, "status": status, "text": str(error)}


async def first_page(paginator: Any) -> list[Any]:
    """Return the items of the first page."""
    return list((await paginator.first_page()).items)


async def until(events: list[Any], condition: Any) -> None:
    """Wait until some event meets the condition."""
    async with asyncio.timeout(20):
        while not any(condition(event) for event in events):  # noqa: ASYNC110 — the package calls nobody
            await asyncio.sleep(0.01)


def environment(task: dict[str, Any]) -> Any:
    """Return the package's production environment on other hosts."""
    config = dataclasses.replace(
        environments.PRODUCTION._config,
        clob_url=task["clob"],
        gamma_url=task["gamma"],
        data_url=task["data"],
        relayer_url=task["relayer"],
        rpc_url=task["relayer"],
        clob_market_ws_url=f"{task['ws']}/ws/market",
        clob_user_ws_url=f"{task['ws']}/ws/user",
        rtds_ws_url=f"{task['ws']}/rtds",
        realtime_ws_url=f"{task['ws']}/live/ws",
    )
    return environments._create_environment(name="local", config=config)


def wallet(kind: str, key: str, config: Any) -> str | None:
    """Return the address of the wallet of that kind."""
    signer = Account.from_key(key).address
    derivation = config.wallet_derivation
    found: dict[str, Any] = {
        "eoa": lambda: signer,
        "proxy": lambda: wallets.derive_proxy_wallet_address(signer, derivation),
        "safe": lambda: wallets.derive_safe_wallet_address(signer, derivation),
        "deposit": lambda: wallets.derive_beacon_deposit_wallet_address(signer, derivation),
        "default": lambda: None,
    }
    address: str | None = found[kind]()
    return address


def _kind(event: Any) -> str:
    payload = event.payload
    return str(payload.order_event_type if event.type == "order" else payload.status)


async def collect(handle: Any, into: list[Any]) -> None:
    """Keep the events of a subscription."""
    async for event in handle:
        into.append(event)  # noqa: PERF401 — others look at the list meanwhile


async def trade(client: Any, task: dict[str, Any]) -> dict[str, Any]:
    """Run everything in order."""
    up, down, condition = task["up"], task["down"], task["condition"]
    result: dict[str, Any] = {
        "wallet": str(client.wallet),
        "wallet_type": client.wallet_type,
        "keys": len(await client.fetch_api_keys()),
    }
    market_events: list[Any] = []
    user_events: list[Any] = []
    market = await client.subscribe(
        specs.MarketSpec(asset_ids=[up, down], custom_feature_enabled=True)
    )
    user = await client.subscribe(specs.UserSpec(markets=[condition]))
    readers = [
        asyncio.create_task(collect(market, market_events)),
        asyncio.create_task(collect(user, user_events)),
    ]
    await until(market_events, lambda event: event.type == "book")

    found = await client.get_market(slug=task["slug"])
    event = await client.get_event(slug=task["slug"])
    result["public"] = {
        "market": str(found.condition_id),
        "event_markets": len(event.markets),
        "markets": len(await first_page(client.list_markets())),
        "events": len(await first_page(client.list_events())),
        "book": await client.get_order_book(asset_id=up),
        "books": len(await client.get_order_books(asset_ids=[up, down])),
        "midpoint": await client.get_midpoint(asset_id=up),
        "midpoints": len(await client.get_midpoints(asset_ids=[up, down])),
        "price": await client.get_price(asset_id=up, side="BUY"),
        "prices": await client.get_prices(
            requests=[polymarket.PriceRequest(asset_id=up, side="BUY")]
        ),
        "spread": await client.get_spread(asset_id=up),
        "spreads": len(await client.get_spreads(asset_ids=[up, down])),
        "last": await client.get_last_trade_price(asset_id=up),
        "lasts": len(await client.get_last_trade_prices(asset_ids=[up, down])),
    }

    minutes = client.list_price_history(asset_id=up, interval="1h")
    result["history"] = await first_page(minutes)

    # ---------------------------------------------------------------- orders
    resting = await client.place_limit_order(asset_id=up, price="0.40", size="10", side="BUY")
    result["resting"] = resting
    result["row"] = await client.get_order(order_id=resting.order_id)
    result["open"] = [row.id for row in await first_page(client.list_open_orders())]
    result["scoring"] = await client.get_order_scoring(order_id=resting.order_id)
    result["cancelled"] = await client.cancel_order(order_id=resting.order_id)
    await until(
        user_events,
        lambda e: e.type == "order" and e.payload.order_event_type == "CANCELLATION",
    )
    result["post_only"] = await attempt(
        client.place_limit_order(asset_id=up, price="0.60", size="10", side="BUY", post_only=True)
    )
    result["poor"] = await attempt(
        client.post_order(
            await client.create_limit_order(asset_id=up, price="0.4", size="1000000", side="BUY")
        )
    )
    result["small"] = await attempt(
        client.place_limit_order(asset_id=up, price="0.40", size="2", side="BUY")
    )
    bought = await client.place_limit_order(asset_id=up, price="0.52", size="20", side="BUY")
    result["bought"] = bought
    result["settled"] = len(await client.wait_for_order_fill_settlement(bought))
    result["market_buy"] = await client.place_market_order(asset_id=up, side="BUY", amount="10")
    result["market_sell"] = await client.place_market_order(asset_id=up, side="SELL", shares="5")
    result["killed"] = await attempt(
        client.place_market_order(
            asset_id=up, side="BUY", amount="300", max_price="0.52", order_type="FOK"
        )
    )
    orders = [
        await client.create_limit_order(asset_id=up, price=price, size="10", side="BUY")
        for price in ("0.30", "0.31")
    ]
    result["batch"] = await client.post_orders(orders)
    await until(
        user_events,
        lambda e: e.type == "trade" and str(e.payload.status).endswith("CONFIRMED"),
    )
    result["trades"] = len(await first_page(client.list_account_trades(market=condition)))
    result["cash"] = await client.get_balance_allowance(asset_type="COLLATERAL")
    result["shares"] = await client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=up)

    # ---------------------------------------------------------------- Data API
    async with asyncio.timeout(20):
        while len(await first_page(client.list_trades())) < 3:  # noqa: ASYNC110 — the chain is later
            await asyncio.sleep(0.05)
    result["data"] = {
        "positions": await first_page(client.list_positions()),
        "trades": await first_page(client.list_trades()),
        "activity": await first_page(client.list_activity()),
        "value": await client.get_portfolio_value(),
    }

    # ---------------------------------------------------------------- the end
    beat = await client.send_order_heartbeat()
    beat = await client.send_order_heartbeat(heartbeat_id=beat.heartbeat_id)
    result["wrong_heartbeat"] = await attempt(client.send_order_heartbeat(heartbeat_id="wrong"))
    result["notifications"] = await client.get_notifications()
    result["by_market"] = await client.cancel_market_orders(market=condition)
    result["all"] = await client.cancel_all()
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    result["market_events"] = sorted({event.type for event in market_events})
    result["user_events"] = [[e.type, _kind(e)] for e in user_events]
    await client.delete_api_key()
    result["after"] = await attempt(client.fetch_api_keys())
    return result


async def main() -> None:
    """Connect, trade and print."""
    task = json.load(sys.stdin)
    place = environment(task)
    limits: list[Any] = []
    client = await polymarket.AsyncSecureClient.create(
        private_key=task["key"],
        wallet=wallet(task["wallet"], task["key"], place._config),
        environment=place,
        on_rate_limit_update=limits.append,
    )
    async with client:
        result = await trade(client, task)
    result["rate_limits"] = [[limit.tier, limit.remaining, limit.warning] for limit in limits]
    json.dump(result, sys.stdout, default=plain)


if __name__ == "__main__":
    asyncio.run(main())
