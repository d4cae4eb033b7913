"""The account at the local venue: its credentials, its cash and its shares."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Mapping
from decimal import Decimal

from attrs import Attribute, define, field

from polyframe.errors import ConfigError
from polyframe.model.money import ZERO, decimal

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def _cash(value: object) -> Decimal:
    try:
        cash = decimal(value, "cash")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if cash < 0:
        msg = f"cash: expected an amount in USD of at least 0, got {cash}"
        raise ConfigError(msg)
    return cash


def _is_address(_: object, attribute: Attribute[str], value: str) -> None:
    if not _ADDRESS.fullmatch(value):
        msg = f"{attribute.name}: expected 0x and 40 hexadecimal digits, got {value!r}"
        raise ConfigError(msg)


def _is_secret(_: object, _attribute: Attribute[str], value: str) -> None:
    try:
        known = bool(_decode(value))
    except (binascii.Error, ValueError):
        known = False
    if not known:
        # The text itself stays out of the message.
        msg = "secret: expected URL-safe base64, for example from VenueAccount.random()"
        raise ConfigError(msg)


def _decode(secret: str) -> bytes:
    return base64.b64decode(secret + "=" * (-len(secret) % 4), altchars=b"-_", validate=True)


@define(kw_only=True, eq=False)
class VenueAccount:
    """One account. Credentials are as the real venue issues them; `cash` and `shares` are live.

    Attributes:
        api_key: Key of the API, also the ``owner`` of orders.
        secret: Key of the HMAC in URL-safe base64.
        passphrase: Third part of the credentials.
        address: Address that signs and holds the funds.
        cash: USD.
        shares: Shares held, by token id.

    Raises:
        ConfigError: A field that cannot be one; the message names it.
    """

    api_key: str = field(repr=False)
    secret: str = field(repr=False, validator=_is_secret)
    passphrase: str = field(repr=False)
    address: str = field(validator=_is_address)
    cash: Decimal = field(default=Decimal(1_000), converter=_cash)
    shares: dict[str, Decimal] = field(factory=dict)

    @classmethod
    def random(cls, cash: object = 1_000) -> VenueAccount:
        """Return an account with fresh random credentials and `cash` USD."""
        return cls(
            api_key=str(uuid.uuid4()),
            secret=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            passphrase=secrets.token_hex(32),
            address="0x" + secrets.token_hex(20),
            cash=_cash(cash),
        )

    def held(self, token: str) -> Decimal:
        """Return the shares held of `token`."""
        return self.shares.get(token, ZERO)

    def move(self, token: str, shares: Decimal, cash: Decimal) -> None:
        """Book a change of shares and cash.

        Raises:
            ValueError: Either would become negative: a check before this was wrong.
        """
        left = self.held(token) + shares
        if left < 0 or self.cash + cash < 0:
            msg = f"move: {shares} shares and {cash} USD would overdraw {self!r}"
            raise ValueError(msg)
        self.cash += cash
        if left:
            self.shares[token] = left
        else:
            self.shares.pop(token, None)

    def owns(self, api_key: str, secret: str, passphrase: str) -> bool:
        """Return whether these are this account's credentials (PROTOCOL §5.1)."""
        return (
            _same(api_key, self.api_key)
            & _same(secret, self.secret)
            & _same(passphrase, self.passphrase)
        )

    def authentic(
        self,
        headers: Mapping[str, str],
        method: str,
        path: str,
        body: str,
        *,
        now: float,
        skew: float,
    ) -> bool:
        """Return whether a request carries this account's L2 signature (PROTOCOL §3.2).

        Args:
            headers: Headers of the request, looked up without regard to case.
            method: Method in upper case.
            path: Path without query.
            body: The exact text of the body.
            now: The venue's time in epoch seconds.
            skew: Seconds that the request's time may differ from it.
        """
        stamp = headers.get("POLY_TIMESTAMP", "")
        if not (stamp.isascii() and stamp.isdigit()) or abs(int(stamp) - now) > skew:
            return False
        digest = hmac.digest(
            _decode(self.secret), f"{stamp}{method}{path}{body}".encode(), hashlib.sha256
        )
        expected = base64.urlsafe_b64encode(digest).decode()
        return (
            _same(headers.get("POLY_SIGNATURE", ""), expected)
            & _same(headers.get("POLY_API_KEY", ""), self.api_key)
            & _same(headers.get("POLY_PASSPHRASE", ""), self.passphrase)
            & _same(headers.get("POLY_ADDRESS", "").lower(), self.address.lower())
        )


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
