"""Has `py-clob-client-v2` write and sign the orders of a file; runs in that client's environment.

::

    .venv-py-clob-client-v2/bin/python tests/official/v2py_orders.py < cases.json > orders.json

Nothing is sent anywhere. Where the client chooses by itself (salt and time) it is given the choice of
the case.
"""

from __future__ import annotations

import functools
import json
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

import py_clob_client_v2.order_builder.builder as v2py_builder
from py_clob_client_v2.clob_types import CreateOrderOptions, MarketOrderArgsV2, OrderArgsV2
from py_clob_client_v2.order_utils import ExchangeOrderBuilderV2
from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2
from py_clob_client_v2.signer import Signer

CHAIN = 137


def official_order(case: dict[str, Any]) -> dict[str, Any]:
    """Return the client's request for one case, and the order's id."""
    ids: list[str] = []

    class Watched(ExchangeOrderBuilderV2):  # type: ignore[misc]
        """Notes the id of each order that it signs."""

        def build_order_signature(self, typed_data: dict[str, Any]) -> Any:
            ids.append(self.build_order_hash(typed_data))
            return super().build_order_signature(typed_data)

    builder = v2py_builder.OrderBuilder(
        Signer(case["key"], CHAIN), case["signatureType"], case["maker"]
    )
    options = CreateOrderOptions(tick_size=case["tick"], neg_risk=case["negRisk"])
    price, amount = float(case["price"]), float(case["amount"])
    fixed = functools.partial(Watched, generate_salt=lambda: str(case["salt"]))
    stopped = SimpleNamespace(time_ns=lambda: case["timestamp"] * 1_000_000)
    with (
        mock.patch.object(v2py_builder, "ExchangeOrderBuilderV2", fixed),
        mock.patch.object(v2py_builder, "time", stopped),
    ):
        if case["orderType"] in {"GTC", "GTD"}:
            expires = case["expires"] or 0
            signed = builder.build_order(
                OrderArgsV2(case["token"], price, amount, case["side"], expires), options
            )
        else:
            signed = builder.build_market_order(
                MarketOrderArgsV2(case["token"], amount, case["side"], price), options
            )
    body = order_to_json_v2(signed, case["owner"], case["orderType"], case["postOnly"])
    return {"id": ids[0], "body": body}


if __name__ == "__main__":
    json.dump([official_order(case) for case in json.load(sys.stdin)], sys.stdout)
