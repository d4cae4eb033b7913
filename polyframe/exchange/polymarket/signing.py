"""Signing of orders: the seam, and a stand-in that only the local venue accepts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from attrs import field, frozen

from polyframe.checks import instance

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
    """Whose funds an order moves, and how it is signed (PROTOCOL §3.3).

    The id of an order is a hash of public values, so it is there at once: the order can be tracked
    before anything is sent. The signature may take its time, for example when another machine or a
    device holds the key; an order whose signature fails was never sent.
    """

    @property
    def address(self) -> str:
        """Address of the key; the API credentials belong to it."""
        ...

    @property
    def maker(self) -> str:
        """Address whose funds the order moves."""
        ...

    @property
    def signer(self) -> str:
        """Address that the order names as its signer."""
        ...

    @property
    def signature_type(self) -> int:
        """Kind of signature, 0 to 3."""
        ...

    def order_id(self, order: Mapping[str, Any], *, neg_risk: bool) -> str:
        """Return the id that the venue will use of an order with the keys `SIGNED_FIELDS`.

        Args:
            order: The order's JSON object.
            neg_risk: Whether its market belongs to the neg-risk exchange.
        """
        ...

    async def sign(self, order: Mapping[str, Any], *, neg_risk: bool) -> str:
        """Return the signature of the same order, ``0x…``. Whatever it raises means: not signed."""
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

    maker: str = field(validator=instance(str))

    @property
    def address(self) -> str:
        """The same address."""
        return self.maker

    @property
    def signer(self) -> str:
        """The same address."""
        return self.maker

    @property
    def signature_type(self) -> int:
        """0, as for an account that signs for itself."""
        return 0

    def order_id(self, order: Mapping[str, Any], *, neg_risk: bool) -> str:  # noqa: ARG002
        """Return a hash that depends on every one of `SIGNED_FIELDS` and on nothing else."""
        return f"0x{self._digest(order)}"

    async def sign(self, order: Mapping[str, Any], *, neg_risk: bool) -> str:  # noqa: ARG002
        """Return the stand-in for a signature."""
        return f"0x6c6f63616c{self._digest(order)}"

    def _digest(self, order: Mapping[str, Any]) -> str:
        signed = {name: order[name] for name in SIGNED_FIELDS}
        text = json.dumps(signed, separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(b"polyframe-local-order-v1\0" + text.encode()).hexdigest()
