"""What an order costs to sign: its id and its signature, from the fields to the text that is sent.

::

    python benchmarks/signing.py [--rounds 15] [--orders 20]

Beside polyframe with and without coincurve stands `eth_account` alone, which encodes the typed data by
itself, as the official clients let it do. The candidates take turns; figures are medians over the rounds, and all
of them have to make the same signatures.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

from eth_account import Account

from polyframe.exchange.polymarket.eip712 import order_hashes
from polyframe.exchange.polymarket.wallet import PrivateKey, WalletSigner

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # known to everybody
ZERO = "0x" + "0" * 64

Candidate = Callable[[dict[str, Any]], str]


def orders(count: int, signer: WalletSigner) -> list[dict[str, Any]]:
    """Return orders such as a strategy places."""
    chance = random.Random(7)
    return [
        {
            "salt": chance.getrandbits(53),
            "maker": signer.maker,
            "signer": signer.signer,
            "tokenId": str(chance.getrandbits(255)),
            "makerAmount": str(chance.randint(1, 10**9)),
            "takerAmount": str(chance.randint(1, 10**9)),
            "side": chance.choice(("BUY", "SELL")),
            "signatureType": signer.signature_type,
            "timestamp": "1790586000000",
            "metadata": ZERO,
            "builder": ZERO,
        }
        for _ in range(count)
    ]


def ours(signer: WalletSigner) -> Candidate:
    """Return the production path: the id when the order is prepared, the signature when it leaves."""

    def sign(order: dict[str, Any]) -> str:
        signer.order_id(order, neg_risk=False)
        coroutine = signer.sign(order, neg_risk=False)
        try:
            coroutine.send(None)
        except StopIteration as end:
            return str(end.value)
        raise AssertionError

    return sign


def alone(order: dict[str, Any]) -> str:
    """Sign with `eth_account`, which encodes the document itself."""
    document = order_hashes(order, neg_risk=False, chain_id=137).signed.document
    signed = Account.from_key(KEY).sign_typed_data(full_message=document)
    return "0x" + bytes(signed.signature).hex()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--orders", type=int, default=20)
    settings = parser.parse_args()

    fast = WalletSigner(PrivateKey(KEY))
    with mock.patch.dict(sys.modules, {"coincurve": None}):
        slow = WalletSigner(PrivateKey(KEY))
    wrapped = WalletSigner(PrivateKey(KEY), "0x" + "11" * 20, 3)
    plain = orders(settings.orders, fast)
    candidates = {
        "polyframe with coincurve": (ours(fast), plain),
        "polyframe with coincurve, type 3": (ours(wrapped), orders(settings.orders, wrapped)),
        "eth_account alone, with coincurve": (alone, plain),
        "polyframe without coincurve": (ours(slow), plain),
    }
    if any(len({sign(order) for sign in (ours(fast), ours(slow), alone)}) > 1 for order in plain):
        sys.exit("the candidates do not make the same signatures")

    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(settings.rounds):
        for name, (sign, work) in candidates.items():
            begun = time.perf_counter()
            for order in work:
                sign(order)
            times[name].append((time.perf_counter() - begun) / len(work))
    base = times["polyframe with coincurve"]
    for name, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found, base, strict=True))
        print(f"{name:36} {statistics.median(found) * 1e6:8.0f} µs an order   ratio {ratio:6.1f}")


if __name__ == "__main__":
    asyncio.run(asyncio.sleep(0))  # the loop's modules are loaded before anything is measured
    main()
