"""Has `polymarket-client` write and sign the orders of a file; runs in that client's environment.

::

    .venv-polymarket-client/bin/python tests/official/sdk_orders.py < cases.json > orders.json

Nothing is sent anywhere. Where the client chooses by itself (salt and time) it is given the choice of
the case.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest import mock

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from polymarket._internal.actions.orders import limit, market, orders
from polymarket._internal.actions.orders.market_data import MarketInfo, PlatformFeeInfo
from polymarket._internal.actions.orders.post import build_post_order_request
from polymarket._internal.actions.orders.typed_data import (
    build_order_signature,
    build_order_typed_data,
)
from polymarket._internal.environment import PRODUCTION_CONFIG

WALLET_TYPES = ("EOA", "POLY_PROXY", "GNOSIS_SAFE", "DEPOSIT_WALLET")


def official_order(case: dict[str, Any]) -> dict[str, Any]:
    """Return the client's request for one case, and the order's id."""
    account = Account.from_key(case["key"])
    rests = case["orderType"] in {"GTC", "GTD"}
    context: Any = SimpleNamespace(
        environment_config=PRODUCTION_CONFIG, wallet=case["maker"], signer=account
    )
    metadata = MarketInfo(
        fee_info=PlatformFeeInfo(rate=Decimal(0), exponent=1),
        neg_risk=case["negRisk"],
        tick_size=Decimal(case["tick"]),
        token_ids=frozenset({case["token"]}),
    )
    price, amount = Decimal(case["price"]), Decimal(case["amount"])
    if rests:
        draft = limit._build_limit_order_draft(
            context,
            limit.PrepareLimitOrderParams(
                asset_id=case["token"],
                price=price,
                size=amount,
                side=case["side"],
                expiration=case["expires"],
            ),
            price=price,
            metadata=metadata,
        )
    else:
        is_buy = case["side"] == "BUY"
        draft = market._build_protected_market_order_draft(
            context,
            market.PrepareMarketOrderParams(
                asset_id=case["token"],
                side=case["side"],
                order_type=case["orderType"],
                amount=amount if is_buy else None,
                shares=None if is_buy else amount,
                max_price=price if is_buy else None,
                min_price=None if is_buy else price,
            ),
            metadata=metadata,
            builder_taker_fee_rate=Decimal(0),
        )
    with (
        mock.patch.object(orders, "_generate_salt", return_value=case["salt"]),
        mock.patch.object(orders, "_current_timestamp_ms", return_value=case["timestamp"]),
    ):
        unsigned = orders.create_unsigned_order(
            draft, wallet=case["maker"], wallet_type=WALLET_TYPES[case["signatureType"]]
        )
    typed = build_order_typed_data(unsigned)
    raw = "0x" + account.sign_typed_data(full_message=typed).signature.hex()
    signed = orders.create_signed_order(
        unsigned, build_order_signature(unsigned, raw), post_only=case["postOnly"]
    )
    _, body = build_post_order_request(signed, owner_api_key=case["owner"])
    # The id is the hash of the plain order, also where a wrapper of it is signed.
    plain = typed | {"primaryType": "Order"}
    if case["signatureType"] == 3:
        plain["message"] = typed["message"]["contents"]
        plain["types"] = {name: typed["types"][name] for name in ("EIP712Domain", "Order")}
    message = encode_typed_data(full_message=plain)
    order_id = "0x" + keccak(b"\x19" + message.version + message.header + message.body).hex()
    return {"id": order_id, "body": body}


if __name__ == "__main__":
    json.dump([official_order(case) for case in json.load(sys.stdin)], sys.stdout)
