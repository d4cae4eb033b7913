r"""Orders as they come in: identity, amounts, price and size (PROTOCOL §2.3, §2.8).

Until orders are really signed, this venue takes a stand-in for the signature and nothing else. With
``J`` the compact JSON of eleven fields of the order, keys sorted::

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
from polyframe.model.order import OrderType, Side
from polyframe.venue.account import VenueAccount

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
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_BYTES32 = re.compile(r"0x[0-9a-fA-F]{64}")
_DIGITS = re.compile(r"[0-9]{1,78}")
_MAX_SALT = 1 << 53
_LOT = 10_000
"""Base units in 0.01 shares: limit orders have two decimals."""


NO_BOOK = "No orderbook exists for the requested token id"


class Refusal(Exception):
    """The venue's answer is an error.

    Attributes:
        status: HTTP status.
        text: The venue's words.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@frozen
class Intent:
    """An order that is well formed; whether it can be taken is another question.

    Attributes:
        order_id: Its id.
        token: Token id.
        side: Buy or sell.
        price: Limit in price units.
        size: Base units of shares.
        usd: Base units of USD that the order names.
        order_type: How long it lives.
        post_only: Whether it must not take.
        expiration: Text as sent.
    """

    order_id: str
    token: str
    side: Side
    price: int
    size: int
    usd: int
    order_type: OrderType
    post_only: bool
    expiration: str


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


def parse_intent(body: Any, account: VenueAccount) -> Intent:
    """Return the order in the body of a ``POST /order``.

    The price is what the two amounts say. Where they do not divide exactly, which is usual for a
    marketable buy that names its USD, it is rounded down to 0.0001.

    Raises:
        Refusal: Malformed, not ours, or with a wrong identity or signature.
    """
    invalid = Refusal(400, "Invalid order payload")
    if not isinstance(body, dict) or not isinstance(order := body.get("order"), dict):
        raise invalid
    if body.get("owner") != account.api_key:
        raise Refusal(400, "the order owner has to be the owner of the API KEY")
    if not _well_formed(body, order):
        raise invalid
    order_id = order_identity(order)
    if order.get("signature") != stand_in_signature(order_id):
        raise invalid
    if order["signer"].lower() != account.address.lower():
        raise Refusal(400, "the order signer address has to be the address of the API KEY")
    side = Side(order["side"])
    maker, taker = int(order["makerAmount"]), int(order["takerAmount"])
    usd, size = (maker, taker) if side is Side.BUY else (taker, maker)
    order_type = OrderType(body["orderType"])
    if not usd or not size or (order_type is OrderType.GTC and size % _LOT):
        raise invalid
    price, rest = divmod(usd * PRICE_UNITS, size)
    if rest and (side is Side.SELL or order_type is OrderType.GTC):
        # Only a buy for a sum of USD may have a price that is no whole number of units.
        exact = Decimal(usd) / Decimal(size)
        raise _off_tick(order_id, f"{exact:.6f}", Decimal("0.0001"))
    return Intent(
        order_id,
        order["tokenId"],
        side,
        price,
        size,
        usd,
        order_type,
        bool(body.get("postOnly", False)),
        str(order.get("expiration", "0")),
    )


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
    texts = {
        "maker": _ADDRESS,
        "signer": _ADDRESS,
        "tokenId": _DIGITS,
        "makerAmount": _DIGITS,
        "takerAmount": _DIGITS,
        "timestamp": _DIGITS,
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
        and body.get("orderType") in tuple(OrderType)
        and isinstance(post_only, bool)
        and not (post_only and body["orderType"] != OrderType.GTC)
    )
