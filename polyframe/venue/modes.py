"""States in which the venue takes less than everything (PROTOCOL §2.7)."""

from __future__ import annotations

from enum import StrEnum


class VenueMode(StrEnum):
    """What the venue takes at present."""

    NORMAL = "normal"
    """Everything."""
    RESTARTING = "restarting"
    """No orders and no cancels: 425."""
    POST_ONLY = "post-only"
    """Orders that must not take, and cancels."""
    CANCEL_ONLY = "cancel-only"
    """Cancels."""
    DISABLED = "disabled"
    """Neither orders nor cancels."""
