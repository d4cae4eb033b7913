"""The accounts at the local venue: their credentials, their cash and their shares."""

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

from attrs import Attribute, define, field, frozen

from polyframe.errors import ConfigError
from polyframe.model.money import ZERO, decimal

ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


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
    if not ADDRESS.fullmatch(value):
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


@frozen(kw_only=True)
class Credentials:
    """One API key of an account.

    Attributes:
        api_key: The key, also the ``owner`` of orders.
        secret: Key of the HMAC in URL-safe base64.
        passphrase: Third part of the credentials.
    """

    api_key: str = field(repr=False)
    secret: str = field(repr=False, validator=_is_secret)
    passphrase: str = field(repr=False)

    @classmethod
    def random(cls) -> Credentials:
        """Return fresh ones as the real venue issues them."""
        return cls(
            api_key=str(uuid.uuid4()),
            secret=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            passphrase=secrets.token_hex(32),
        )

    def same(self, api_key: str, secret: str, passphrase: str) -> bool:
        """Return whether these are all three parts (PROTOCOL §5.1)."""
        return (
            _same(api_key, self.api_key)
            & _same(secret, self.secret)
            & _same(passphrase, self.passphrase)
        )

    def signed(self, headers: Mapping[str, str], method: str, path: str, body: str) -> bool:
        """Return whether a request carries the L2 signature of this key (PROTOCOL §3.2).

        Args:
            headers: Headers of the request, looked up without regard to case.
            method: Method in upper case.
            path: Path without query.
            body: The exact text of the body.
        """
        text = f"{headers.get('POLY_TIMESTAMP', '')}{method}{path}{body}"
        digest = hmac.digest(_decode(self.secret), text.encode("utf-8", "replace"), hashlib.sha256)
        expected = base64.urlsafe_b64encode(digest).decode()
        return (
            _same(headers.get("POLY_SIGNATURE", ""), expected)
            & _same(headers.get("POLY_API_KEY", ""), self.api_key)
            & _same(headers.get("POLY_PASSPHRASE", ""), self.passphrase)
        )


@define(kw_only=True, eq=False)
class VenueAccount:
    """One account. Credentials are as the real venue issues them; `cash` and `shares` are live.

    Attributes:
        api_key, secret, passphrase: Its first API key; see `Credentials`.
        address: Address that signs.
        funder: Address of the wallet that holds the funds. By default `address`; the wallet of the
            first order of signature type 1 to 3 otherwise (PROTOCOL §3.3).
        cash: USD.
        shares: Shares held, by token id.
        allowance: USD that the exchange may still take, ``None`` for any amount.
        approved: Whether the exchange may take shares.
        rebates: USD of maker rebates earned and not yet paid (PROTOCOL §2.9).
        is_local: Whether its orders carry the stand-in of `polyframe.venue.intents` in place of a
            wallet's signature. Nobody can claim such an account by its address.

    Raises:
        ConfigError: A field that cannot be one; the message names it.
    """

    api_key: str = field(repr=False)
    secret: str = field(repr=False, validator=_is_secret)
    passphrase: str = field(repr=False)
    address: str = field(validator=_is_address)
    funder: str = field(validator=_is_address)
    cash: Decimal = field(default=Decimal(1_000), converter=_cash)
    shares: dict[str, Decimal] = field(factory=dict)
    allowance: Decimal | None = None
    approved: bool = True
    rebates: Decimal = ZERO
    is_local: bool = True

    @funder.default
    def _own_funds(self) -> str:
        return self.address

    @classmethod
    def random(cls, cash: object = 1_000) -> VenueAccount:
        """Return an account with fresh random credentials and `cash` USD."""
        return cls._fresh("0x" + secrets.token_hex(20), cash, is_local=True)

    @classmethod
    def wallet(cls, address: str, cash: object = 1_000, *, funder: str = "") -> VenueAccount:
        """Return the account of a real wallet: its orders must carry that wallet's signature.

        Args:
            address: Address that signs.
            cash: USD.
            funder: Address of the proxy, Safe or deposit wallet if the funds are not at `address`.
        """
        account = cls._fresh(address, cash, is_local=False)
        if funder:
            account.funder = funder
        return account

    @classmethod
    def _fresh(cls, address: str, cash: object, *, is_local: bool) -> VenueAccount:
        key = Credentials.random()
        return cls(
            api_key=key.api_key,
            secret=key.secret,
            passphrase=key.passphrase,
            address=address,
            cash=_cash(cash),
            is_local=is_local,
        )

    @property
    def credentials(self) -> Credentials:
        """The first API key."""
        return Credentials(api_key=self.api_key, secret=self.secret, passphrase=self.passphrase)

    def held(self, token: str) -> Decimal:
        """Return the shares held of `token`."""
        return self.shares.get(token, ZERO)

    @property
    def spendable(self) -> Decimal:
        """USD that the exchange may take: the cash, or the allowance if that is less."""
        return self.cash if self.allowance is None else min(self.cash, self.allowance)

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
        if self.allowance is not None and cash < 0:
            self.allowance += cash
        if left:
            self.shares[token] = left
        else:
            self.shares.pop(token, None)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
