"""What wallets ask contracts to do, byte by byte: split, merge, redeem (PROTOCOL §7.4). Pure.

Only what clients of the venue send is understood; everything else is no call of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from attrs import frozen

from polyframe.venue.keccak import keccak
from polyframe.venue.values import SHARE

COLLATERAL = "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB"
ADAPTER = "0xAdA100Db00Ca00073811820692005400218FcE1f"
NEG_RISK_ADAPTER = "0xadA2005600Dec949baf300f4C6120000bDB6eAab"

SPLIT, MERGE, REDEEM = "SPLIT", "MERGE", "REDEEM"

_WORD = 32
_MOST_CALLS = 32

_BATCH_TYPE = "Batch(address wallet,uint256 nonce,uint256 deadline,Call[] calls)"
_CALL_TYPE = "Call(address target,uint256 value,bytes data)"
_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def _selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


_SPLIT = _selector("splitPosition(address,bytes32,bytes32,uint256[],uint256)")
_MERGE = _selector("mergePositions(address,bytes32,bytes32,uint256[],uint256)")
_REDEEM = _selector("redeemPositions(address,bytes32,bytes32,uint256[])")
_BALANCES = _selector("balanceOfBatch(address[],uint256[])")


class NotUnderstood(Exception):
    """The bytes are no call that is known here; the text says why."""


@frozen
class Call:
    """One call of a contract.

    Attributes:
        target: Address of the contract.
        data: What it is called with.
        value: Native coins sent along, in the smallest unit.
    """

    target: str
    data: bytes
    value: int = 0


@frozen
class Wanted:
    """What a call asks for.

    Attributes:
        kind: `SPLIT`, `MERGE` or `REDEEM`.
        condition_id: The market.
        adapter: The contract that was called, in lower case.
        shares: Pairs, 0 for a redemption.
    """

    kind: str
    condition_id: str
    adapter: str
    shares: Decimal = Decimal(0)


def read_call(call: Call) -> Wanted:
    """Return what a call asks for.

    Raises:
        NotUnderstood: It is another one, or not of the form that the contracts take.
    """
    kinds = {_SPLIT: SPLIT, _MERGE: MERGE, _REDEEM: REDEEM}
    kind = kinds.get(call.data[:4])
    if kind is None or call.value:
        raise NotUnderstood("expected splitPosition, mergePositions or redeemPositions")
    words = _words(call.data[4:])
    heads = 4 if kind == REDEEM else 5
    if len(words) != heads + 3:
        raise NotUnderstood(f"expected {heads + 3} words, got {len(words)}")
    if _address(words[0]) != COLLATERAL.lower() or any(words[1]):
        raise NotUnderstood("expected the collateral pUSD and no parent collection")
    # The list of index sets, [1, 2], lies behind the heads.
    if [_number(word) for word in (words[3], *words[heads:])] != [heads * _WORD, 2, 1, 2]:
        raise NotUnderstood("expected the index sets 1 and 2")
    shares = Decimal(0) if kind == REDEEM else Decimal(_number(words[4])) / SHARE
    if kind != REDEEM and not shares:
        raise NotUnderstood("the amount is 0")
    return Wanted(kind, "0x" + words[2].hex(), call.target.lower(), shares)


def read_balances(data: bytes) -> list[tuple[str, str]]:
    """Return whose shares of which tokens ``balanceOfBatch`` asks for.

    Raises:
        NotUnderstood: It is another call.
    """
    if data[:4] != _BALANCES:
        raise NotUnderstood("expected balanceOfBatch")
    words = _words(data[4:])
    if len(words) < 3:
        raise NotUnderstood("expected two lists")
    count = _number(words[2])
    if count > _MOST_CALLS or len(words) != 4 + 2 * count or _number(words[3 + count]) != count:
        raise NotUnderstood("expected two lists of one length")
    owners = [_address(word) for word in words[3 : 3 + count]]
    return list(zip(owners, (str(_number(word)) for word in words[4 + count :]), strict=True))


def numbers(values: Sequence[int]) -> str:
    """Return a list of numbers as a contract returns it."""
    words = [_WORD, len(values), *values]
    return "0x" + b"".join(value.to_bytes(_WORD, "big") for value in words).hex()


def read_batch(payload: Mapping[str, Any]) -> list[Call]:
    """Return the calls of a deposit wallet's batch.

    Raises:
        NotUnderstood: They are not of the form that the relayer takes.
    """
    calls = payload.get("calls")
    if not isinstance(calls, list) or not 1 <= len(calls) <= _MOST_CALLS:
        raise NotUnderstood(f"expected 1 to {_MOST_CALLS} calls")
    try:
        return [
            Call(_checked(call["target"]), bytes.fromhex(call["data"][2:]), int(call["value"]))
            for call in calls
        ]
    except (KeyError, TypeError, ValueError):
        raise NotUnderstood("expected calls of target, value and data") from None


def batch_digest(
    wallet: str, nonce: int, deadline: int, calls: Sequence[Call], chain_id: int
) -> bytes:
    """Return what the owner of a deposit wallet signs for a batch."""
    domain = keccak(
        keccak(_DOMAIN_TYPE.encode())
        + keccak(b"DepositWallet")
        + keccak(b"1")
        + _padded(chain_id)
        + _padded(int(wallet, 16))
    )
    hashes = b"".join(
        keccak(
            keccak(_CALL_TYPE.encode())
            + _padded(int(call.target, 16))
            + _padded(call.value)
            + keccak(call.data)
        )
        for call in calls
    )
    content = keccak(
        keccak((_BATCH_TYPE + _CALL_TYPE).encode())
        + _padded(int(wallet, 16))
        + _padded(nonce)
        + _padded(deadline)
        + keccak(hashes)
    )
    return keccak(b"\x19\x01" + domain + content)


def _words(data: bytes) -> list[bytes]:
    if len(data) % _WORD:
        raise NotUnderstood("not a whole number of words")
    return [data[at : at + _WORD] for at in range(0, len(data), _WORD)]


def _number(word: bytes) -> int:
    return int.from_bytes(word, "big")


def _address(word: bytes) -> str:
    return "0x" + word[12:].hex()


def _padded(value: int) -> bytes:
    return value.to_bytes(_WORD, "big")


def _checked(address: str) -> str:
    if len(bytes.fromhex(address[2:])) != 20:
        raise ValueError(address)
    return address
