"""Let the official package `py-clob-client-v2` buy ten Up and print what it is told of its trade.

Runs in a virtual environment of its own; its task is that of `py_clob_client_v2_run`.
"""

from __future__ import annotations

import json
import logging
import sys

from py_clob_client_v2 import client as package
from py_clob_client_v2 import clob_types as types

logging.disable(logging.CRITICAL)


def main() -> None:
    """Buy, and ask for the trade."""
    task = json.load(sys.stdin)
    client = package.ClobClient(task["clob"], chain_id=137, key=task["key"])
    client.set_api_creds(client.create_or_derive_api_key())
    order = client.create_order(
        types.OrderArgsV2(token_id=task["up"], price=0.51, size=10, side="BUY")
    )
    result = {"answer": client.post_order(order), "trades": client.get_trades()}
    json.dump(result, sys.stdout, default=str)


if __name__ == "__main__":
    main()
