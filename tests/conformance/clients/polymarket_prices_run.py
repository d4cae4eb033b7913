"""Let the official package `polymarket-client` read reference prices and print what it got.

Runs in a virtual environment of its own. Reads its task from standard input as JSON: the base URLs
that `polymarket_client_run` takes, and ``key``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import polymarket
from polymarket.streams import _specs as specs
from polymarket_client_run import (  # type: ignore[import-not-found]  # the script beside this one
    environment,
    plain,
    wallet,
)

logging.disable(logging.CRITICAL)

WANTED: dict[str, Any] = {
    "binance": lambda: specs.CryptoPricesSpec(topic="prices.crypto.binance", symbols=["btcusdt"]),
    "chainlink": lambda: specs.CryptoPricesSpec(
        topic="prices.crypto.chainlink", symbols=["btc/usd"]
    ),
    "twap": lambda: specs.CryptoPricesChainlinkTwapSpec(window_seconds=60, symbols=["btc/usd"]),
    "live": lambda: specs.CryptoPriceSpec(symbols=["btcusd"]),
    "live_twap": lambda: specs.CryptoTwapPriceSpec(symbols=["btcusd"]),
}


async def read(client: Any, spec: Any) -> list[Any]:
    """Return the events of a subscription up to its second update."""
    handle = await client.subscribe(spec)
    events: list[Any] = []
    updates = 0
    async with asyncio.timeout(20):
        async for event in handle:
            events.append(event)
            updates += event.type == "update"
            if updates == 2:
                break
    await handle.close()
    return events


async def main() -> None:
    """Connect, read and print."""
    task = json.load(sys.stdin)
    place = environment(task)
    client = await polymarket.AsyncSecureClient.create(
        private_key=task["key"],
        wallet=wallet("eoa", task["key"], place._config),
        environment=place,
    )
    async with client:
        found = await asyncio.gather(*(read(client, spec()) for spec in WANTED.values()))
    json.dump(dict(zip(WANTED, found, strict=True)), sys.stdout, default=plain)


if __name__ == "__main__":
    asyncio.run(main())
