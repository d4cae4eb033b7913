r"""Orders as they come in: identity, amounts, price and size (PROTOCOL §2.3, §2.8, §3.5).

The order of a wallet has the id and the signature that the real venue wants. An account that is
local has no wallet: its orders carry a stand-in. With ``J`` the compact JSON of eleven fields of
the order, keys sorted::

    orderID   = "0x" + sha256(b"polyframe-local-order-v1\0" + J)
    signature = "0x6c6f63616c" + orderID without its 0x
"""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from typing import Any

from attrs import frozen

from polyframe.model.money import PRICE_UNITS
from polyframe.model.order import Side
from polyframe.venue.account import ADDRESS, VenueAccount
from polyframe.venue.accounts import Accounts, Login
from polyframe.venue.signatures import Recovery
from polyframe.venue.typed_data import order_digest
from polyframe.venue.values import Lifetime

_IDENTITY_DOMAIN = b"polyframe-local-order-v1\0"
_SIGNATURE_PREFIX = "0x6c6f63616c"
_IDENTITY_FIELDS = (
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
ORDER_ID = _BYTES32 = re.compile(r"0x[0-9a-fA-F]{64}")
_DIGITS = re.compile(r"[0-9]{1,78}")
_AMOUNT = re.compile(r"[0-9]{1,18}")
"""Base units: a million million shares are more than anybody has."""
_EXPIRATION = re.compile(r"[0-9]{1,12}")
_MAX_SALT = 1 << 53
_MAX_UINT = 1 << 256
_DEPOSIT_WALLET = 3
_LOT = 10_000
"""Base units in 0.01 shares: limit orders have two decimals."""


NO_BOOK = "No orderbook exists for the requested token id"
INVALID_PAYLOAD = "Invalid order payload"
_WRONG_SIGNER = "the order signer address has to be the address of the API KEY"


class Refusal(Exception):
    """The venue's answer is an error.

    Attributes:
        status: HTTP status.
        text: The venue's words.
        code: Its code for them, ``""`` where it has none.
        retry_after: Seconds to wait, 0 if it does not say.
    """

    def __init__(self, status: int, text: str, *, code: str = "", retry_after: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.code = code
        self.retry_after = retry_after


@frozen
class Intent:
    """An order that is well formed; whether it can be taken is another question.

    Attributes:
        login: Who sent it.
        order_id: Its id.
        token: Token id.
        side: Buy or sell.
        price: Limit in price units.
        size: Base units of shares.
        usd: Base units of USD that the order names.
        order_type: How long it lives.
        post_only: Whether it must not take.
        expiration: Epoch seconds, 0 for none.
    """

    login: Login
    order_id: str
    token: str
    side: Side
    price: int
    size: int
    usd: int
    order_type: Lifetime
    post_only: bool
    expiration: int


def order_identity(order: dict[str, Any]) -> str:
    """Return the id of an order; `order` is the object of that name in the body.

    Raises:
        KeyError: One of the eleven fields is missing.
    """
    fields = {name: order[name] for name in _IDENTITY_FIELDS}
    text = json.dumps(fields, separators=(",", ":"), sort_keys=True)
    return "0x" + hashlib.sha256(_IDENTITY_DOMAIN + text.encode()).hexdigest()


def stand_in_signature(order_id: str) -> str:
    """Return the stand-in for the signature of the order with this id."""
    return _SIGNATURE_PREFIX + order_id.removeprefix("0x")


class Reader:
    """Reads orders and checks who they come from.

    Args:
        accounts: Who may move which funds.
        recovery: Reads the signer out of a signature.
        chain_id: Chain that wallets sign for.
    """

    def __init__(self, accounts: Accounts, recovery: Recovery, chain_id: int) -> None:
        self._accounts = accounts
        self._recovery = recovery
        self._chain_id = chain_id

    def read(self, body: Any, login: Login, *, neg_risk: bool) -> Intent:
        """Return the order in the body of a ``POST /order``.

        The price is what the two amounts say. Where they do not divide exactly, which is usual for
        a marketable buy that names its USD, it is rounded down to 0.0001.

        Args:
            body: The value in the body.
            login: Who sent it.
            neg_risk: Whether the order is for the exchange of neg-risk markets.

        Raises:
            Refusal: Malformed, not the sender's, or with a wrong identity or signature.
        """
        invalid = Refusal(400, INVALID_PAYLOAD)
        if not isinstance(body, dict) or not isinstance(order := body.get("order"), dict):
            raise invalid
        if body.get("owner") != login.api_key:
            raise Refusal(400, "the order owner has to be the owner of the API KEY")
        if "timestamp" not in order and "nonce" in order:
            # The fields of version 1, which the exchange no longer takes (§0.4, §2.7).
            raise Refusal(400, "order_version_mismatch")
        if not _well_formed(body, order):
            raise invalid
        order_id = self._identify(order, login.account, neg_risk=neg_risk)
        side = Side(order["side"])
        maker, taker = int(order["makerAmount"]), int(order["takerAmount"])
        usd, size = (maker, taker) if side is Side.BUY else (taker, maker)
        order_type = Lifetime(body["orderType"])
        if not usd or not size or (order_type.rests and size % _LOT):
            raise invalid
        price, rest = divmod(usd * PRICE_UNITS, size)
        if rest and (side is Side.SELL or order_type.rests):
            # Only a buy for a sum of USD may have a price that is no whole number of units.
            exact = Decimal(usd) / Decimal(size)
            raise _off_tick(order_id, f"{exact:.6f}", Decimal("0.0001"))
        return Intent(
            login,
            order_id,
            order["tokenId"],
            side,
            price,
            size,
            usd,
            order_type,
            bool(body.get("postOnly", False)),
            int(order.get("expiration") or 0),
        )

    def _identify(self, order: dict[str, Any], account: VenueAccount, *, neg_risk: bool) -> str:
        """Return the id of an order that is the account's and rightly signed."""
        if account.is_local:
            order_id = order_identity(order)
            if order["signature"] != stand_in_signature(order_id):
                raise Refusal(400, INVALID_PAYLOAD)
        else:
            digest = order_digest(order, neg_risk=neg_risk, chain_id=self._chain_id)
            order_id = digest.order_id
            if not self._recovery.signed_by(
                account.address, digest.signed, order["signature"], digest.trailer
            ):
                raise Refusal(400, "invalid signature")
        kind, maker, signer = order["signatureType"], order["maker"], order["signer"]
        # A deposit wallet signs for itself; its signature was the account's all the same (§3.3).
        wanted = maker if kind == _DEPOSIT_WALLET else account.address
        if signer.lower() != wanted.lower() or (kind == 0 and maker.lower() != signer.lower()):
            raise Refusal(400, _WRONG_SIGNER)
        if not self._accounts.bind(account, maker):
            raise Refusal(400, _WRONG_SIGNER)
        return order_id


def check_tick(intent: Intent, tick: int) -> None:
    """Refuse a price that is off the tick, or not at least a tick away from 0 and 1.

    Raises:
        Refusal: As said.
    """
    if intent.price % tick or not tick <= intent.price <= PRICE_UNITS - tick:
        text = format(Decimal(intent.price).scaleb(-4).normalize(), "f")
        raise _off_tick(intent.order_id, text, Decimal(tick).scaleb(-4).normalize())


def _off_tick(order_id: str, price: str, tick: Decimal) -> Refusal:
    text = f"order {order_id} is invalid. Price ({price}) breaks minimum tick size rule: {tick:f}"
    return Refusal(400, text)


def _well_formed(body: dict[str, Any], order: dict[str, Any]) -> bool:
    salt = order.get("salt")
    post_only = body.get("postOnly", False)
    expiration = order.get("expiration") or "0"
    texts = {
        "maker": ADDRESS,
        "signer": ADDRESS,
        "tokenId": _DIGITS,
        "makerAmount": _AMOUNT,
        "takerAmount": _AMOUNT,
        "timestamp": _AMOUNT,
        "metadata": _BYTES32,
        "builder": _BYTES32,
    }
    return (
        type(salt) is int
        and 0 <= salt < _MAX_SALT
        and all(
            isinstance(order.get(name), str) and pattern.fullmatch(order[name]) is not None
            for name, pattern in texts.items()
        )
        and type(order.get("signatureType")) is int
        and order["signatureType"] in range(4)
        and order.get("side") in tuple(Side)
        and int(order["tokenId"]) < _MAX_UINT
        and body.get("orderType") in tuple(Lifetime)
        and isinstance(post_only, bool)
        and not (post_only and not Lifetime(body["orderType"]).rests)
        and isinstance(order.get("signature"), str)
        and isinstance(expiration, str)
        and _EXPIRATION.fullmatch(expiration) is not None
    )
