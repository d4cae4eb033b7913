"""API credentials and the signature of private REST calls."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from typing import Any

from attrs import Attribute, field, frozen

from polyframe.errors import ConfigError


def _masked(_: object) -> str:
    return "'***'"


def _header_text(_: object, attribute: Attribute[str], value: Any) -> None:
    # These go into HTTP headers: a stray line end would fail far from its cause.
    if (
        not isinstance(value, str)
        or not value
        or not value.isascii()
        or not value.isprintable()
        or value != value.strip()
    ):
        msg = f"{attribute.name}: expected plain text without blanks around it"
        raise ConfigError(msg)


def _secret_key(secret: str) -> bytes:
    padded = secret + "=" * (-len(secret) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)


def _base64_secret(_: object, attribute: Attribute[str], value: str) -> None:
    try:
        key = _secret_key(value)
    except (binascii.Error, ValueError, TypeError):
        key = b""
    if not key:
        msg = f"{attribute.name}: expected the url-safe base64 text that came with the API key"
        # The cause would show the secret.
        raise ConfigError(msg) from None


@frozen
class Credentials:
    """An API key of the venue (PROTOCOL §3.2). Secrets do not show in ``repr``.

    Attributes:
        api_key: The key's id, also called ``owner`` on the wire.
        secret: Url-safe base64; signs private calls.
        passphrase: Sent along with private calls.
        address: The account's address, ``0x…``.

    Raises:
        ConfigError: A value is empty or malformed; names the field, never the value.
    """

    api_key: str = field(validator=_header_text)
    secret: str = field(repr=_masked, validator=_base64_secret)
    passphrase: str = field(repr=_masked, validator=_header_text)
    address: str = field(validator=_header_text)

    @classmethod
    def from_env(cls, prefix: str = "POLYMARKET_") -> Credentials:
        """Read ``{prefix}API_KEY``, ``…SECRET``, ``…PASSPHRASE`` and ``…ADDRESS``.

        Raises:
            ConfigError: A variable is missing or empty (named), or its value is malformed.
        """
        values: dict[str, str] = {}
        missing: list[str] = []
        for name in ("api_key", "secret", "passphrase", "address"):
            variable = prefix + name.upper()
            value = os.environ.get(variable, "").strip()
            if not value:
                missing.append(variable)
            values[name] = value
        if missing:
            msg = f"credentials: set the environment variable(s) {', '.join(missing)}"
            raise ConfigError(msg)
        return cls(**values)

    def headers(self, timestamp: int, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        """Return the L2 headers of one private call (PROTOCOL §3.2).

        Args:
            timestamp: Epoch seconds.
            method: HTTP method in capitals.
            path: Request path below the CLOB base, without query.
            body: The exact bytes that are sent.
        """
        message = f"{timestamp}{method}{path}".encode() + body
        digest = hmac.new(_secret_key(self.secret), message, hashlib.sha256).digest()
        return {
            "POLY_ADDRESS": self.address,
            "POLY_API_KEY": self.api_key,
            "POLY_PASSPHRASE": self.passphrase,
            "POLY_SIGNATURE": base64.urlsafe_b64encode(digest).decode(),
            "POLY_TIMESTAMP": str(timestamp),
        }
