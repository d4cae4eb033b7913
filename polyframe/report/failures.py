"""What a ledger's notes say of strategies that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTE = "strategy_failed"
"""The kind of the notes that tell of a strategy that raised (docs/ledger.md)."""


def failure(data: Mapping[str, Any]) -> str:
    """Return what a note says, short enough to be counted: whose error of which kind, and where."""
    return f"{data['strategy']}: {data['error']} in {data['hook']}"
