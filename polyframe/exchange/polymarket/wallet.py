"""Wallets: private keys in this process, and orders signed for the real venue (PROTOCOL §3)."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import field, frozen
from typing_extensions import override

from polyframe.checks import expect
from polyframe.errors import ConfigError
from polyframe.exchange.polymarket.eip712 import (
    DEPOSIT_WALLET,
    POLYGON,
    OrderHashes,
    TypedData,
    check_token,
    checked_address,
    keccak,
    order_hashes,
)

_log = logging.getLogger(__name__)

_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class Wallet(Protocol):
    """Holds a key and signs with it: in this process, on another machine, or in a device."""

    @property
    def address(self) -> str:
        """Address of the key, ``0x…``."""
        ...

    async def sign(self, data: TypedData) -> bytes:
        """Return ``r ‖ s ‖ v``, 65 bytes, of ``data.digest``. Raises what it likes if it cannot."""
        ...


class PrivateKey:
    """A private key in the memory of this process. It does not show in ``repr``, logs or errors.

    Signatures are deterministic (RFC 6979). With the package ``coincurve`` one takes some 30 µs;
    without it, milliseconds in which the event loop stands still, which is logged once.

    Args:
        secret: 64 hexadecimal digits, with or without ``0x``.

    Raises:
        ConfigError: No private key. The message never has the value.
    """

    __slots__ = ("_sign", "address")

    def __init__(self, secret: str) -> None:
        given: Any = secret  # a variable that is not set is None
        secret = given.strip() if isinstance(given, str) else ""
        if _KEY.fullmatch(secret) is None:
            msg = "private_key: expected 64 hexadecimal digits, with or without 0x before them"
            raise ConfigError(msg)
        try:
            self._sign, public = _open_key(bytes.fromhex(secret.removeprefix("0x")))
        except ConfigError:
            raise
        except ValueError:
            msg = "private_key: expected a number from 1 to the order of the curve less 1"
            # The cause might show it.
            raise ConfigError(msg) from None
        self.address: str = checked_address("0x" + keccak(public)[-20:].hex(), "private_key")

    @classmethod
    def from_env(cls, variable: str = "POLYMARKET_PRIVATE_KEY") -> PrivateKey:
        """Read the key from an environment variable.

        Raises:
            ConfigError: It is missing or holds no key; names the variable, never the value.
        """
        secret = os.environ.get(variable, "")
        if not secret.strip():
            msg = f"private_key: set the environment variable {variable}"
            raise ConfigError(msg)
        return cls(secret)

    async def sign(self, data: TypedData) -> bytes:
        """Return the signature of ``data.digest``."""
        raw = self._sign(data.digest)
        return raw[:64] + bytes([27 + raw[64]])

    @override
    def __repr__(self) -> str:
        return f"PrivateKey(address={self.address!r})"

    @override
    def __reduce__(self) -> str:
        msg = "a private key is not copied, stored or sent to other processes"
        raise TypeError(msg)


def _open_key(secret: bytes) -> tuple[Callable[[bytes], bytes], bytes]:
    """Return the signing function (of a digest; v is 0 or 1) and the public key, 64 bytes."""
    try:
        from coincurve import PrivateKey as FastKey
    except ImportError:
        return _open_slow_key(secret)
    fast = FastKey(secret)
    return functools.partial(fast.sign_recoverable, hasher=None), fast.public_key.format(False)[1:]


def _open_slow_key(secret: bytes) -> tuple[Callable[[bytes], bytes], bytes]:
    try:
        from eth_keys.backends.native.main import NativeECCBackend
        from eth_keys.datatypes import PrivateKey as SlowKey
        from eth_utils.exceptions import ValidationError
    except ImportError as exc:
        msg = (
            "signer: signing needs optional packages; install them with: "
            "pip install '.[live]' in the checkout of polyframe"
        )
        raise ConfigError(msg) from exc

    _warn_of_slow_keys()
    try:
        slow = SlowKey(secret, NativeECCBackend())
        public = slow.public_key.to_bytes()
    except ValidationError:
        msg = "out of range"
        # The cause shows the number.
        raise ValueError(msg) from None
    return (lambda digest: slow.sign_msg_hash(digest).to_bytes()), public


@functools.cache
def _warn_of_slow_keys() -> None:
    _log.warning(
        "coincurve is not installed: each order blocks the event loop for 2 to 6 ms while it is "
        "signed (with it: 0.1 ms); pip install '.[live]' in the checkout of polyframe"
    )


@frozen(init=False)
class WalletSigner:
    """Signs orders for the real venue, for all signature types and both exchanges.

    ====  ==================  ======================  =======================
    type  account             funds (maker)           the order's signer
    ====  ==================  ======================  =======================
    0     plain key           the key's own address   the key's own address
    1     proxy (e-mail)      the proxy wallet        the key's own address
    2     Gnosis Safe         the Safe                the key's own address
    3     deposit wallet      the deposit wallet      the deposit wallet
    ====  ==================  ======================  =======================

    Attributes:
        wallet: Holds the key.
        address: Address of the key; the API credentials belong to it.
        funder: Address whose funds orders move.
        signature_type: 0 to 3 (PROTOCOL §3.3).
        chain_id: Number of the chain.
    """

    wallet: Wallet
    address: str
    funder: str
    signature_type: int
    chain_id: int = field(repr=False)

    def __init__(
        self,
        wallet: Wallet,
        funder: str | None = None,
        signature_type: int = 0,
        chain_id: int = POLYGON,
    ) -> None:
        """Check that the settings fit together.

        Args:
            wallet: Holds the key.
            funder: Address whose funds orders move; the wallet's own by default.
            signature_type: 0 to 3.
            chain_id: Number of the chain.

        Raises:
            ConfigError: They do not fit; names them.
        """
        expect(
            "wallet", type(wallet).__name__, "PrivateKey(…)", is_right=hasattr(wallet, "address")
        )
        own = checked_address(wallet.address, "wallet")
        funds = own if funder is None else checked_address(funder, "funder")
        if signature_type not in range(4):
            msg = f"signature_type: expected 0, 1, 2 or 3, got {signature_type!r}"
            raise ConfigError(msg)
        if signature_type == 0 and funds != own:
            msg = (
                "signature_type: 0 spends the key's own funds, but the funder is another address; "
                "use 1 (proxy wallet), 2 (Safe) or 3 (deposit wallet)"
            )
            raise ConfigError(msg)
        if signature_type and funds == own:
            msg = f"funder: type {signature_type} spends a contract's funds; give its address"
            raise ConfigError(msg)
        is_chain = type(chain_id) is int and chain_id > 0
        expect("chain_id", chain_id, "the whole number of a chain", is_right=is_chain)
        self.__attrs_init__(wallet, own, funds, signature_type, chain_id)

    @classmethod
    def from_env(cls, prefix: str = "POLYMARKET_") -> WalletSigner:
        """Read ``{prefix}PRIVATE_KEY`` and, unless type 0, ``…FUNDER`` and ``…SIGNATURE_TYPE``.

        Raises:
            ConfigError: A variable is missing or wrong (named; the key is never shown).
        """
        kind = os.environ.get(f"{prefix}SIGNATURE_TYPE", "").strip() or "0"
        if kind not in {"0", "1", "2", "3"}:
            msg = f"signature_type: set {prefix}SIGNATURE_TYPE to 0, 1, 2 or 3, not {kind!r}"
            raise ConfigError(msg)
        funder = os.environ.get(f"{prefix}FUNDER", "").strip() or None
        return cls(PrivateKey.from_env(f"{prefix}PRIVATE_KEY"), funder, int(kind))

    @property
    def maker(self) -> str:
        """Address whose funds orders move."""
        return self.funder

    @property
    def signer(self) -> str:
        """Address that orders name as their signer."""
        return self.funder if self.signature_type == DEPOSIT_WALLET else self.address

    def order_id(self, order: Mapping[str, Any], *, neg_risk: bool) -> str:
        """Return the id that the venue will use: the order's EIP-712 digest (PROTOCOL §3.5).

        Raises:
            ValueError: A field that no order can have, or a token of an exchange of version 3.
        """
        check_token(order["tokenId"])
        return self._hashes(order, neg_risk).order_id

    async def sign(self, order: Mapping[str, Any], *, neg_risk: bool) -> str:
        """Return the signature of an order, ``0x…``.

        Raises:
            ValueError: The wallet returned something that is no signature.
        """
        hashes = self._hashes(order, neg_risk)
        signature = await self.wallet.sign(hashes.signed)
        return "0x" + (checked_signature(signature) + hashes.trailer).hex()

    def _hashes(self, order: Mapping[str, Any], neg_risk: bool) -> OrderHashes:
        return order_hashes(order, neg_risk=neg_risk, chain_id=self.chain_id)


def checked_signature(signature: bytes) -> bytes:
    """Return the 65 bytes of a wallet's signature with `v` as the venue wants it, 27 or 28.

    Raises:
        ValueError: It has another length or an impossible `v`.
    """
    if len(signature) != 65 or signature[64] not in {0, 1, 27, 28}:
        msg = f"signature: expected 65 bytes r, s and v from the wallet, got {len(signature)} bytes"
        raise ValueError(msg)
    return signature[:64] + bytes([27 + signature[64] % 27])
