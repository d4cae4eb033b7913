"""Signing of orders: the seam, and a stand-in that only the local venue accepts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from attrs import frozen

SIGNED_FIELDS = (
    "salt",
    "maker",
    "signer",
    "tokenId",
    "makerAmount",
    "takerAmount",
    "side",
    "signatureType",
    "timestamp",
    "metadata",
    "builder",
)
"""Fields of an order that are signed (PROTOCOL §3.4), with the values of the order's JSON object."""


class Signer(Protocol):
    """Whose funds an order moves, and how it is signed (PROTOCOL §3.3)."""

    @property
    def maker(self) -> str:
        """Address whose funds the order moves."""
        ...

    @property
    def signer(self) -> str:
        """Address that signs."""
        ...

    @property
    def signature_type(self) -> int:
        """Kind of signature, 0 to 3."""
        ...

    def sign(self, fields: Mapping[str, Any]) -> tuple[str, str]:
        """Return ``(order id, signature)`` of an order with the keys `SIGNED_FIELDS`."""
        ...


@frozen
class LocalSigner:
    """A stand-in for a signer: there is no key and no cryptographic proof in it.

    The order id is a plain hash of the order, the "signature" repeats it. polyframe's local venue
    accepts such orders, the real one does not; `PolymarketExchange` refuses to use it anywhere but
    on this machine.

    Attributes:
        maker: Address of the account at the local venue.
    """

    maker: str

    @property
    def signer(self) -> str:
        """The same address."""
        return self.maker

    @property
    def signature_type(self) -> int:
        """0, as for an account that signs for itself."""
        return 0

    def sign(self, fields: Mapping[str, Any]) -> tuple[str, str]:
        """Return ``(order id, signature)``; the id depends on every one of `SIGNED_FIELDS`."""
        signed = {name: fields[name] for name in SIGNED_FIELDS}
        text = json.dumps(signed, separators=(",", ":"), sort_keys=True)
        digest = hashlib.sha256(b"polyframe-local-order-v1\0" + text.encode()).hexdigest()
        return f"0x{digest}", f"0x6c6f63616c{digest}"
