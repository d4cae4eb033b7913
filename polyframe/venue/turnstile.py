"""Lets orders and cancels pass, as the mode of the venue allows (PROTOCOL §2.7)."""

from __future__ import annotations

from typing import Any

from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import VenueFaults
from polyframe.venue.intents import Refusal
from polyframe.venue.modes import VenueMode

_STATES = (VenueFault.RESTART, VenueFault.MODE)

_CANCEL_ONLY = (
    "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."
)
_DISABLED = "Trading is currently disabled. Check polymarket.com for updates"
_POST_ONLY = "post-only mode: only post-only orders and cancels are allowed"


class Turnstile:
    """Lets pass what the present mode allows.

    Args:
        faults: Restarts and modes that were injected; they come before the mode that was set.
    """

    def __init__(self, faults: VenueFaults) -> None:
        self._faults = faults
        self._mode = VenueMode.NORMAL
        self.retry_after = 0

    @property
    def mode(self) -> VenueMode:
        """What the venue takes at present."""
        for kind in _STATES:
            if (fault := self._faults.find(kind)) is not None:
                return fault.present_mode
        return self._mode

    @mode.setter
    def mode(self, mode: VenueMode) -> None:
        self._mode = mode

    def check_cancel(self) -> None:
        """Let a cancel pass.

        Raises:
            Refusal: Not in this mode.
        """
        self._faults.strike(*_STATES)
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
