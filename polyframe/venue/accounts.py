"""All accounts of the venue and their API keys (PROTOCOL §2.6, §3.1, §3.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, field, frozen

from polyframe.clock import Clock, ScaledClock
from polyframe.errors import ConfigError
from polyframe.venue.account import ADDRESS, Credentials, VenueAccount
from polyframe.venue.settings import VenueSettings
from polyframe.venue.signatures import Recovery
from polyframe.venue.typed_data import auth_digest

_KEYS_PER_ACCOUNT = 100
_DIGITS = 20
"""More digits than any number in a header has."""


class KeyRefused(Exception):
    """No key is made or shown; the text is the venue's."""


@frozen
class Login:
    """Who sent a request: an account, by one of its keys."""

    account: VenueAccount
    credentials: Credentials

    @property
    def api_key(self) -> str:
        """The key."""
        return self.credentials.api_key


@define(eq=False)
class _Entry:
    """An account and its keys by their nonce."""

    account: VenueAccount
    keys: dict[int, Credentials] = field(factory=dict)


class Accounts:
    """Finds accounts by key and by address, and issues keys.

    Args:
        clock: The venue's time.
        settings: How far clocks may differ, how many accounts there may be, and what a new one has.
        recovery: Reads the signer out of a signature.
    """

    def __init__(self, clock: Clock, settings: VenueSettings, recovery: Recovery) -> None:
        self._clock = clock
        self._settings = settings
        self._recovery = recovery
        # A request is late by real seconds; on a faster clock those are more of the venue's own.
        speed = clock.speed if isinstance(clock, ScaledClock) else 1.0
        self._skew = settings.skew * max(speed, 1.0)
        self._entries: dict[str, _Entry] = {}
        self._wallets: dict[str, VenueAccount] = {}
        self._logins: dict[str, Login] = {}

    def __iter__(self) -> Iterator[VenueAccount]:
        """Iterate over the accounts in order of their arrival."""
        return iter([entry.account for entry in self._entries.values()])

    # ------------------------------------------------------------------ accounts

    def add(self, account: VenueAccount) -> None:
        """Take an account in.

        Raises:
            ConfigError: One with its address, wallet or key is here already, or there are too many.
        """
        addresses = {account.address.lower(), account.funder.lower()}
        if addresses & (self._entries.keys() | self._wallets.keys()):
            msg = f"address: {account.address} has an account already; each needs its own"
            raise ConfigError(msg)
        if account.api_key in self._logins:
            msg = "api_key: another account has it already; each needs its own"
            raise ConfigError(msg)
        if len(self._entries) >= self._settings.max_accounts:
            msg = f"max_accounts: {self._settings.max_accounts} accounts exist already; allow more"
            raise ConfigError(msg)
        entry = self._entries[account.address.lower()] = _Entry(account)
        self._wallets[account.funder.lower()] = account
        self._issue(entry, 0, account.credentials)

    def by_address(self, address: str) -> VenueAccount | None:
        """Return the account that signs or holds its funds there."""
        entry = self._entries.get(address.lower())
        return entry.account if entry else self._wallets.get(address.lower())

    def bind(self, account: VenueAccount, wallet: str) -> bool:
        """Return whether `account` may move the funds of `wallet`; the first one counts.

        The real venue knows which wallet contract belongs to which signer. Here a signer that has
        none yet gets the one that it names.
        """
        if wallet.lower() == account.funder.lower():
            return True
        if account.funder != account.address or self.by_address(wallet) is not None:
            return False
        del self._wallets[account.funder.lower()]
        account.funder = wallet
        self._wallets[wallet.lower()] = account
        return True

    # ------------------------------------------------------------------ requests

    def by_key(self, api_key: str, secret: str, passphrase: str) -> Login | None:
        """Return who has these credentials."""
        login = self._logins.get(api_key)
        if login is None or not login.credentials.same(api_key, secret, passphrase):
            return None
        return login

    def authenticate(
        self, headers: Mapping[str, str], method: str, path: str, body: str
    ) -> Login | None:
        """Return who signed a request with L2 headers, ``None`` if nobody did (§3.2)."""
        login = self._logins.get(headers.get("POLY_API_KEY", ""))
        if (
            login is None
            or not self._timely(headers)
            or headers.get("POLY_ADDRESS", "").lower() != login.account.address.lower()
            or not login.credentials.signed(headers, method, path, body)
        ):
            return None
        return login

    def attested(self, headers: Mapping[str, str]) -> tuple[str, int] | None:
        """Return address and nonce of a request with L1 headers, ``None`` if they are wrong (§3.1).

        Without the packages for it the signature is not checked. The address of an account that is
        local is refused in any case.
        """
        address = headers.get("POLY_ADDRESS", "")
        nonce = headers.get("POLY_NONCE", "0") or "0"
        if not ADDRESS.fullmatch(address) or not _is_number(nonce) or not self._timely(headers):
            return None
        digest = auth_digest(
            address, headers["POLY_TIMESTAMP"], int(nonce), self._settings.chain_id
        )
        if not self._recovery.signed_by(address, digest, headers.get("POLY_SIGNATURE", "")):
            return None
        known = self._entries.get(address.lower())
        if known is not None and known.account.is_local:
            return None
        return address, int(nonce)

    def _timely(self, headers: Mapping[str, str]) -> bool:
        stamp = headers.get("POLY_TIMESTAMP", "")
        return _is_number(stamp) and abs(int(stamp) - self._clock.time()) <= self._skew

    # ------------------------------------------------------------------ keys

    def create_key(self, address: str, nonce: int) -> Credentials:
        """Issue a key; a new address gets an account with the cash of the settings.

        Raises:
            KeyRefused: The nonce has a key, or there are too many.
        """
        entry = self._entries.get(address.lower())
        if entry is None:
            account = VenueAccount.wallet(address, self._settings.welcome_cash)
            try:
                self.add(account)
            except ConfigError as error:
                raise KeyRefused("Could not create api key") from error
            entry = self._entries[address.lower()]
            # The key that it came with was for nonce 0.
            entry.keys[nonce] = entry.keys.pop(0)
            return entry.keys[nonce]
        if nonce in entry.keys or len(entry.keys) >= _KEYS_PER_ACCOUNT:
            raise KeyRefused("Could not create api key")
        return self._issue(entry, nonce, Credentials.random())

    def derive_key(self, address: str, nonce: int) -> Credentials:
        """Return the key of this nonce.

        Raises:
            KeyRefused: There is none.
        """
        entry = self._entries.get(address.lower())
        if entry is None or nonce not in entry.keys:
            raise KeyRefused("Could not derive api key!")
        return entry.keys[nonce]

    def delete_key(self, login: Login) -> None:
        """Take a key back: nothing is signed with it any more."""
        keys = self._entries[login.account.address.lower()].keys
        for nonce in [n for n, key in keys.items() if key.api_key == login.api_key]:
            del keys[nonce]
        del self._logins[login.api_key]

    def keys_of(self, account: VenueAccount) -> list[str]:
        """Return the API keys of an account."""
        return [key.api_key for key in self._entries[account.address.lower()].keys.values()]

    def _issue(self, entry: _Entry, nonce: int, credentials: Credentials) -> Credentials:
        entry.keys[nonce] = credentials
        self._logins[credentials.api_key] = Login(entry.account, credentials)
        return credentials


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS
