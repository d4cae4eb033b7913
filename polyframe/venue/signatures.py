"""Who made a signature. The cryptography is of the optional packages, imported when first needed."""

from __future__ import annotations

import importlib
import logging
from typing import Any

_log = logging.getLogger(__name__)

_BYTES = 65


class Recovery:
    """Reads the signing address out of a signature over 32 bytes.

    Without the package ``eth-keys`` (it comes with ``eth-account``) nothing can be read: then every
    signature passes, which is logged once as a warning.
    """

    def __init__(self) -> None:
        self._keys: Any = None
        self._looked = False

    @property
    def checks(self) -> bool:
        """Whether signatures are checked."""
        if not self._looked:
            self._looked = True
            try:
                self._keys = importlib.import_module("eth_keys")
            except ModuleNotFoundError:
                _log.warning(
                    "local venue: signatures of wallets are not checked, since eth-keys is not "
                    "installed; it comes with the package eth-account"
                )
        return self._keys is not None

    def signed_by(self, address: str, digest: bytes, signature: str, trailer: bytes = b"") -> bool:
        """Return whether `signature` is the one of `address` over `digest`.

        Args:
            address: Who should have signed.
            digest: 32 bytes.
            signature: 0x, then in hexadecimal 65 bytes and the trailer.
            trailer: What has to follow the 65 bytes.
        """
        try:
            raw = bytes.fromhex(signature.removeprefix("0x"))
        except ValueError:
            return False
        if len(raw) != _BYTES + len(trailer) or raw[_BYTES:] != trailer:
            return False
        if not self.checks:
            return True
        # Ethereum counts from 27, the package from 0.
        raw = raw[: _BYTES - 1] + bytes([raw[_BYTES - 1] - 27 & 0xFF])
        try:
            key = self._keys.keys.Signature(raw).recover_public_key_from_msg_hash(digest)
        except (self._keys.exceptions.BadSignature, self._keys.exceptions.ValidationError):
            return False
        return bool(key.to_address() == address.lower())
