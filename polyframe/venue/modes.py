"""States in which the venue takes less than everything (PROTOCOL §2.7)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from polyframe.venue.intents import Refusal


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


_CANCEL_ONLY = (
    "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."
)
_DISABLED = "Trading is currently disabled. Check polymarket.com for updates"
_POST_ONLY = "post-only mode: only post-only orders and cancels are allowed"


class Turnstile:
    """Lets pass what the present mode allows."""

    def __init__(self) -> None:
        self.mode = VenueMode.NORMAL
        self.retry_after = 0

    def check_cancel(self) -> None:
        """Let a cancel pass.

        Raises:
            Refusal: Not in this mode.
        """
        if self.mode is VenueMode.RESTARTING:
            raise Refusal(425, "Too Early", retry_after=self.retry_after)
        if self.mode is VenueMode.DISABLED:
            raise Refusal(503, _DISABLED, retry_after=self.retry_after)

    def check_order(self, body: Any) -> None:
        """Let an order pass; `body` is that of a ``POST /order``.

        Raises:
            Refusal: Not in this mode.
        """
        self.check_cancel()
        if self.mode is VenueMode.CANCEL_ONLY:
            raise Refusal(503, _CANCEL_ONLY, retry_after=self.retry_after)
        post_only = isinstance(body, dict) and body.get("postOnly") is True
        if self.mode is VenueMode.POST_ONLY and not post_only:
            raise Refusal(503, _POST_ONLY, code="post_only_mode", retry_after=self.retry_after)
