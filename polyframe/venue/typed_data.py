"""What wallets sign, word for word: orders and the claim of an address (PROTOCOL §3.1, §3.4–§3.6).

The venue encodes it anew from what it received; a client's own numbers are never believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from attrs import frozen

from polyframe.venue.keccak import keccak

EXCHANGE = "0xE111180000d2663C0091e4f400237545B87B996B"
NEG_RISK_EXCHANGE = "0xe2222d279d744050d28e00520010520000310F59"

_ORDER_TYPE = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    "uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,"
    "bytes32 builder)"
)
_NESTED_TYPE = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    "address verifyingContract,bytes32 salt)" + _ORDER_TYPE
)
_AUTH_TYPE = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
_AUTH_MESSAGE = "This message attests that I control the given wallet"
_AUTH_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId)"
_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_SIDES = {"BUY": 0, "SELL": 1}


@frozen
class OrderDigest:
    """An order as it is signed.

    Attributes:
        order_id: Digest of the order, its id at the venue for every type of signature.
        signed: The 32 bytes under the 65 bytes of the signature.
        trailer: What has to follow those: empty but for deposit wallets.
    """

    order_id: str
    signed: bytes
    trailer: bytes = b""


def order_digest(order: Mapping[str, Any], *, neg_risk: bool, chain_id: int) -> OrderDigest:
    """Return what has to be signed for an order that is well formed (§3.4, §3.5, §3.6)."""
    domain = _exchange_domain(NEG_RISK_EXCHANGE if neg_risk else EXCHANGE, chain_id)
    content = keccak(
        _text(_ORDER_TYPE)
        + _number(order["salt"])
        + _address(order["maker"])
        + _address(order["signer"])
        + _number(order["tokenId"])
        + _number(order["makerAmount"])
        + _number(order["takerAmount"])
        + _number(_SIDES[order["side"]])
        + _number(order["signatureType"])
        + _number(order["timestamp"])
        + bytes.fromhex(order["metadata"][2:])
        + bytes.fromhex(order["builder"][2:])
    )
    digest = _typed(domain, content)
    order_id = f"0x{digest.hex()}"
    if order["signatureType"] != 3:
        return OrderDigest(order_id, digest)
    # A deposit wallet is a contract that checks a signature over the order wrapped in its own name.
    nested = keccak(
        _text(_NESTED_TYPE)
        + content
        + _text("DepositWallet")
        + _text("1")
        + _number(chain_id)
        + _address(order["signer"])
        + bytes(32)
    )
    kind = _ORDER_TYPE.encode()
    trailer = domain + content + kind + len(kind).to_bytes(2, "big")
    return OrderDigest(order_id, _typed(domain, nested), trailer)


def auth_digest(address: str, timestamp: str, nonce: int, chain_id: int) -> bytes:
    """Return what is signed to claim an address (§3.1)."""
    content = keccak(
        _text(_AUTH_TYPE)
        + _address(address)
        + _text(timestamp)
        + _number(nonce)
        + _text(_AUTH_MESSAGE)
    )
    return _typed(_auth_domain(chain_id), content)


@cache
def _exchange_domain(exchange: str, chain_id: int) -> bytes:
    name = _text("Polymarket CTF Exchange") + _text("2")
    return keccak(_text(_DOMAIN) + name + _number(chain_id) + _address(exchange))


@cache
def _auth_domain(chain_id: int) -> bytes:
    return keccak(_text(_AUTH_DOMAIN) + _text("ClobAuthDomain") + _text("1") + _number(chain_id))


def _typed(domain: bytes, content: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain + content)


@lru_cache(64)
def _text(text: str) -> bytes:
    return keccak(text.encode())


def _number(value: int | str) -> bytes:
    return (int(value) & ((1 << 256) - 1)).to_bytes(32, "big")


def _address(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])
