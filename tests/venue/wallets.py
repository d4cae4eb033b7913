"""A wallet that signs as the real venue wants, by an encoder that is not the venue's."""

from __future__ import annotations

from typing import Any

import pytest

from polyframe.venue import VenueAccount
from tests.venue.support import Client

eth_account = pytest.importorskip("eth_account", reason="the extra live is not installed")

CHAIN = 137
EXCHANGE = "0xE111180000d2663C0091e4f400237545B87B996B"
ORDER = [
    ("salt", "uint256"),
    ("maker", "address"),
    ("signer", "address"),
    ("tokenId", "uint256"),
    ("makerAmount", "uint256"),
    ("takerAmount", "uint256"),
    ("side", "uint8"),
    ("signatureType", "uint8"),
    ("timestamp", "uint256"),
    ("metadata", "bytes32"),
    ("builder", "bytes32"),
]
WRAPPED = [
    ("contents", "Order"),
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
    ("salt", "bytes32"),
]
CLAIM = [
    ("address", "address"),
    ("timestamp", "string"),
    ("nonce", "uint256"),
    ("message", "string"),
]


def _fields(names: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in names]


class Wallet:
    """A fresh private key."""

    def __init__(self) -> None:
        self.key = eth_account.Account.create()
        self.address: str = self.key.address

    def account(self, cash: object = 1_000, funder: str = "") -> VenueAccount:
        """Return an account at the venue for this wallet."""
        return VenueAccount.wallet(self.address, cash, funder=funder)

    def sign_order(self, order: dict[str, Any]) -> tuple[str, str]:
        """Return id and signature of an order of any type."""
        domain = {
            "name": "Polymarket CTF Exchange",
            "version": "2",
            "chainId": CHAIN,
            "verifyingContract": EXCHANGE,
        }
        content = {
            **{name: order[name] for name, _ in ORDER},
            **{
                name: int(order[name])
                for name in ("tokenId", "makerAmount", "takerAmount", "timestamp")
            },
            "side": ["BUY", "SELL"].index(order["side"]),
            "metadata": bytes.fromhex(order["metadata"][2:]),
            "builder": bytes.fromhex(order["builder"][2:]),
        }
        signed = self._sign(domain, {"Order": _fields(ORDER)}, content)
        order_id = "0x" + bytes(signed.message_hash).hex()
        if order["signatureType"] != 3:
            return order_id, "0x" + bytes(signed.signature).hex()
        wrapped = {
            "contents": content,
            "name": "DepositWallet",
            "version": "1",
            "chainId": CHAIN,
            "verifyingContract": order["maker"],
            "salt": bytes(32),
        }
        types = {"TypedDataSign": _fields(WRAPPED), "Order": _fields(ORDER)}
        outer = self._sign(domain, types, wrapped)
        message = eth_account.messages.encode_typed_data(domain, {"Order": _fields(ORDER)}, content)
        kind = "Order(" + ",".join(f"{kind} {name}" for name, kind in ORDER) + ")"
        trailer = message.header + message.body + kind.encode() + len(kind).to_bytes(2, "big")
        return order_id, "0x" + (bytes(outer.signature) + trailer).hex()

    def claim(self, timestamp: int, nonce: int = 0) -> dict[str, str]:
        """Return L1 headers."""
        message = {
            "address": self.address,
            "timestamp": str(timestamp),
            "nonce": nonce,
            "message": "This message attests that I control the given wallet",
        }
        domain = {"name": "ClobAuthDomain", "version": "1", "chainId": CHAIN}
        signed = self._sign(domain, {"ClobAuth": _fields(CLAIM)}, message)
        return {
            "POLY_ADDRESS": self.address,
            "POLY_SIGNATURE": "0x" + bytes(signed.signature).hex(),
            "POLY_TIMESTAMP": str(timestamp),
            "POLY_NONCE": str(nonce),
        }

    def _sign(self, domain: Any, types: Any, message: Any) -> Any:
        return self.key.sign_typed_data(domain, types, message)

    def body(
        self, client: Client, *args: Any, kind: int = 0, maker: str = "", **kwargs: Any
    ) -> tuple[str, dict[str, Any]]:
        """Return id and body of an order that this wallet has signed."""
        maker = maker or self.address
        signer = maker if kind == 3 else self.address
        body = client.order(*args, signatureType=kind, maker=maker, signer=signer, **kwargs)
        order_id, signature = self.sign_order(body["order"])
        body["order"]["signature"] = signature
        return order_id, body
