"""The hashes that wallets sign: orders and log-ins as EIP-712 typed data (PROTOCOL §3).

Everything here is arithmetic on public values; no key is involved. It needs the extra ``live``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from polyframe.errors import ConfigError

POLYGON = 137
"""Chain id of the real venue."""

CTF_EXCHANGE = "0xE111180000d2663C0091e4f400237545B87B996B"
NEG_RISK_EXCHANGE = "0xe2222d279d744050d28e00520010520000310F59"
"""The two exchange contracts, version 2 (PROTOCOL §0.4)."""

DEPOSIT_WALLET = 3
"""The signature type whose signatures a contract checks (PROTOCOL §3.3)."""

ORDER_TYPE = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    "uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,"
    "bytes32 builder)"
)
_WRAPPER_TYPE = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    "address verifyingContract,bytes32 salt)"
)
_LOGIN_TYPE = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
_LOGIN_MESSAGE = "This message attests that I control the given wallet"

_EXCHANGE_DOMAIN = (
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_LOGIN_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId)"
_EXCHANGE_NAME, _EXCHANGE_VERSION = "Polymarket CTF Exchange", "2"
_LOGIN_NAME, _LOGIN_VERSION = "ClobAuthDomain", "1"
_WALLET_NAME, _WALLET_VERSION = "DepositWallet", "1"

_ZERO_WORD = bytes(32)
_SIDES = {"BUY": 0, "SELL": 1}
_NOT_VERSION_3 = ((1 << 64) - 1) << 40
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


@frozen
class TypedData:
    """What a wallet is asked to sign, in both forms that wallets know.

    Attributes:
        digest: The 32 bytes that are signed in the end.
        document: The same as a document for ``eth_signTypedData_v4``; a hardware wallet shows it.
    """

    digest: bytes
    document: Mapping[str, Any] = field(repr=False)


@frozen
class OrderHashes:
    """The hashes of one order.

    Attributes:
        order_id: The venue's id of the order, whatever its signature type.
        signed: What the wallet signs.
        trailer: What follows the wallet's 65 bytes in the signature (type 3 only, §3.6).
    """

    order_id: str
    signed: TypedData
    trailer: bytes


@functools.cache
def _keccak() -> Callable[[bytes], bytes]:
    try:
        from eth_hash.auto import keccak as found
    except ImportError as exc:
        msg = (
            "signer: signing needs optional packages; install them with: "
            "pip install '.[live]' in the checkout of polyframe"
        )
        raise ConfigError(msg) from exc
    return found


def keccak(data: bytes) -> bytes:
    """Return the Keccak-256 hash of `data`.

    Raises:
        ConfigError: The extra ``live`` is not installed.
    """
    return _keccak()(data)


def checked_address(value: str, name: str) -> str:
    """Return `value` with the capitals of its checksum (EIP-55).

    Raises:
        ConfigError: No address, or its capitals are those of another one; names the setting.
    """
    given: Any = value
    if not isinstance(given, str) or _ADDRESS.fullmatch(given) is None:
        msg = f"{name}: expected an address, 0x and 40 hexadecimal digits, got {value!r}"
        raise ConfigError(msg)
    digits = value[2:].lower()
    marks = keccak(digits.encode()).hex()
    checked = "0x" + "".join(
        digit.upper() if int(mark, 16) > 7 else digit
        for digit, mark in zip(digits, marks, strict=False)
    )
    if value[2:] not in {digits, digits.upper(), checked[2:]}:
        msg = f"{name}: {value} is mistyped: its capitals do not fit; copy it anew"
        raise ConfigError(msg)
    return checked


def check_token(token: str) -> None:
    """Refuse a token of an exchange of version 3, whose orders are signed otherwise (PROTOCOL §3.4).

    Raises:
        ValueError: It is one; no up/down market has such tokens so far.
    """
    if not int(token) & _NOT_VERSION_3:
        msg = f"tokenId: {token} belongs to an exchange of version 3, which is not supported"
        raise ValueError(msg)


def order_hashes(order: Mapping[str, Any], *, neg_risk: bool, chain_id: int) -> OrderHashes:
    """Return what is to be signed of an order, and its id (PROTOCOL §3.4 to §3.6).

    Args:
        order: The order's JSON object; the fields of `ORDER_TYPE` are read.
        neg_risk: Whether its market belongs to the neg-risk exchange.
        chain_id: Number of the chain.

    Raises:
        ValueError: A field that no order can have.
    """
    message = {
        "salt": order["salt"],
        "maker": order["maker"],
        "signer": order["signer"],
        "tokenId": int(order["tokenId"]),
        "makerAmount": int(order["makerAmount"]),
        "takerAmount": int(order["takerAmount"]),
        "side": _SIDES[order["side"]],
        "signatureType": order["signatureType"],
        "timestamp": int(order["timestamp"]),
        "metadata": order["metadata"],
        "builder": order["builder"],
    }
    contents = _struct_hash(ORDER_TYPE, message)
    exchange = NEG_RISK_EXCHANGE if neg_risk else CTF_EXCHANGE
    separator = _exchange_separator(exchange, chain_id)
    digest = _digest(separator, contents)
    domain = {
        "name": _EXCHANGE_NAME,
        "version": _EXCHANGE_VERSION,
        "chainId": chain_id,
        "verifyingContract": exchange,
    }
    order_id = "0x" + digest.hex()
    if message["signatureType"] != DEPOSIT_WALLET:
        document = _document(_EXCHANGE_DOMAIN, domain, (ORDER_TYPE,), message)
        return OrderHashes(order_id, TypedData(digest, document), b"")
    inner = keccak(
        _type_hash(_WRAPPER_TYPE + ORDER_TYPE)
        + contents
        + _text_hash(_WALLET_NAME)
        + _text_hash(_WALLET_VERSION)
        + _word("uint256", chain_id)
        + _word("address", message["signer"])
        + _ZERO_WORD
    )
    wrapped = {
        "contents": message,
        "name": _WALLET_NAME,
        "version": _WALLET_VERSION,
        "chainId": chain_id,
        "verifyingContract": message["signer"],
        "salt": "0x" + _ZERO_WORD.hex(),
    }
    document = _document(_EXCHANGE_DOMAIN, domain, (_WRAPPER_TYPE, ORDER_TYPE), wrapped)
    kind = ORDER_TYPE.encode()
    trailer = separator + contents + kind + len(kind).to_bytes(2, "big")
    return OrderHashes(order_id, TypedData(_digest(separator, inner), document), trailer)


def login(address: str, timestamp: int, nonce: int, chain_id: int) -> TypedData:
    """Return what a wallet signs to make or read API keys (PROTOCOL §3.1).

    Args:
        address: The wallet's own address.
        timestamp: Epoch seconds.
        nonce: Number of the API key, from 0.
        chain_id: Number of the chain.
    """
    message = {
        "address": address,
        "timestamp": str(timestamp),
        "nonce": nonce,
        "message": _LOGIN_MESSAGE,
    }
    domain = {"name": _LOGIN_NAME, "version": _LOGIN_VERSION, "chainId": chain_id}
    digest = _digest(_login_separator(chain_id), _struct_hash(_LOGIN_TYPE, message))
    return TypedData(digest, _document(_LOGIN_DOMAIN, domain, (_LOGIN_TYPE,), message))


def _digest(separator: bytes, struct_hash: bytes) -> bytes:
    return keccak(b"\x19\x01" + separator + struct_hash)


def _struct_hash(kind: str, message: Mapping[str, Any]) -> bytes:
    words = [_word(type_name, message[name]) for type_name, name in _members(kind)]
    return keccak(_type_hash(kind) + b"".join(words))


def _word(kind: str, value: Any) -> bytes:
    """Return one value as 32 bytes.

    Raises:
        ValueError: The value does not fit its type.
    """
    if kind == "string":
        return keccak(value.encode())
    if kind in {"address", "bytes32"}:
        raw = bytes.fromhex(value.removeprefix("0x"))
        if len(raw) != (20 if kind == "address" else 32):
            msg = f"{value!r} is no {kind}"
            raise ValueError(msg)
        return raw.rjust(32, b"\0")
    limit = 8 if kind == "uint8" else 256
    if not 0 <= value < 1 << limit:
        msg = f"{value} is no {kind}"
        raise ValueError(msg)
    return int(value).to_bytes(32, "big")


@functools.cache
def _members(kind: str) -> tuple[tuple[str, str], ...]:
    """Return the types and names of ``Name(type name,…)``."""
    members = kind[kind.index("(") + 1 : -1].split(",")
    return tuple((member.split()[0], member.split()[1]) for member in members)


@functools.cache
def _type_hash(kind: str) -> bytes:
    return keccak(kind.encode())


@functools.cache
def _text_hash(text: str) -> bytes:
    return keccak(text.encode())


@functools.cache
def _exchange_separator(exchange: str, chain_id: int) -> bytes:
    values = {
        "name": _EXCHANGE_NAME,
        "version": _EXCHANGE_VERSION,
        "chainId": chain_id,
        "verifyingContract": exchange,
    }
    return _struct_hash(_EXCHANGE_DOMAIN, values)


@functools.cache
def _login_separator(chain_id: int) -> bytes:
    values = {"name": _LOGIN_NAME, "version": _LOGIN_VERSION, "chainId": chain_id}
    return _struct_hash(_LOGIN_DOMAIN, values)


def _document(
    domain_kind: str, domain: Mapping[str, Any], kinds: tuple[str, ...], message: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "types": _document_types((domain_kind, *kinds)),
        "primaryType": kinds[0].partition("(")[0],
        "domain": domain,
        "message": message,
    }


@functools.cache
def _document_types(kinds: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    return {
        kind.partition("(")[0]: [{"name": name, "type": type_} for type_, name in _members(kind)]
        for kind in kinds
    }
