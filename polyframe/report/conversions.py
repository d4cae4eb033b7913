"""Splits and merges out of a ledger's notes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from polyframe.model.conversion import Conversion, ConversionKind, ConversionStatus

NOTE = "conversion"
"""The kind of the notes that tell each step of a split or merge (docs/ledger.md)."""


def confirmed(data: Mapping[str, Any], time_ms: int) -> Conversion | None:
    """Return the split or merge that a note says is confirmed, ``None`` if it tells another step.

    Args:
        data: Of the note.
        time_ms: When it was written, in epoch milliseconds.
    """
    if data["status"] != ConversionStatus.CONFIRMED:
        return None
    return Conversion(
        data["id"],
        data["strategy"],
        ConversionKind(data["kind"]),
        Decimal(data["shares"]),
        ConversionStatus.CONFIRMED,
        data["transaction"],
        updated_ms=time_ms,
    )
