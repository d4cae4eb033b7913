"""The reference implementation that signatures are checked with, without its side effect.

A package below `eth_account` raises the recursion limit of the whole process a hundredfold when it is
imported; then JSON that is nested deeply enough is no error any more but the end of the process.
polyframe itself never imports it.
"""

from __future__ import annotations

import sys

_limit = sys.getrecursionlimit()
from eth_account import Account  # noqa: E402
from eth_account.messages import encode_typed_data  # noqa: E402

sys.setrecursionlimit(_limit)

__all__ = ["Account", "encode_typed_data"]
