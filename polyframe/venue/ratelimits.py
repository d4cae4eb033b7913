"""What one signer may do in a second: token buckets for orders and for cancels (PROTOCOL §2.11)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from attrs import define, frozen

from polyframe.venue.account import VenueAccount

Kind = Literal["orders", "cancels"]


@frozen
class RateTier:
    """Rates a second and bursts of one tier."""

    order_rate: int
    order_burst: int
    cancel_rate: int
    cancel_burst: int


TIERS: Mapping[str, RateTier] = {
    "Standard": RateTier(40, 60, 80, 120),
    "Copper": RateTier(60, 90, 120, 180),
    "Bronze": RateTier(80, 120, 160, 240),
    "Silver": RateTier(200, 300, 400, 600),
    "Gold": RateTier(400, 600, 800, 1_200),
    "Platinum": RateTier(450, 675, 900, 1_350),
    "Diamond": RateTier(525, 787, 1_050, 1_575),
    "Elite": RateTier(600, 900, 1_200, 1_800),
}


@define(eq=False)
class _Bucket:
    rate: int
    burst: int
    tokens: float
    at: float

    def refill(self, now: float) -> None:
        self.tokens = min(self.tokens + (now - self.at) * self.rate, self.burst)
        self.at = now


class RateLimits:
    """The buckets of all accounts.

    Args:
        tier: Name of the tier that all have.
        enforced: Whether too much is refused; otherwise it is only warned of, as the real venue
            does since July 2026.
        seconds: Real seconds, from any origin.
        epoch: The venue's time in epoch seconds.
    """

    def __init__(
        self,
        tier: str,
        *,
        enforced: bool,
        seconds: Callable[[], float],
        epoch: Callable[[], float],
    ) -> None:
        self._name = tier
        self._tier = TIERS[tier]
        self._enforced = enforced
        self._seconds = seconds
        self._epoch = epoch
        self._buckets: dict[tuple[VenueAccount, Kind], _Bucket] = {}

    def admit(self, account: VenueAccount, kind: Kind, cost: int) -> tuple[bool, dict[str, str]]:
        """Take `cost` tokens; return whether the request passes, and the headers of its answer.

        Orders pass when all of the tokens are there, as a whole or not at all. Cancels pass while
        any is left and may go below nothing: they are what a signer in trouble needs.
        """
        now = self._seconds()
        bucket = self._buckets.get((account, kind))
        if bucket is None:
            tier = self._tier
            rate = tier.order_rate if kind == "orders" else tier.cancel_rate
            burst = tier.order_burst if kind == "orders" else tier.cancel_burst
            bucket = self._buckets[account, kind] = _Bucket(rate, burst, burst, now)
        bucket.refill(now)
        fits = bucket.tokens >= cost if kind == "orders" else bucket.tokens > 0
        wanted = cost if kind == "orders" else 1
        wait = 0.0 if fits else (min(wanted, bucket.burst) - bucket.tokens) / bucket.rate
        if fits:
            bucket.tokens -= cost
        headers = {
            "Poly-RateLimit-Remaining": str(math.floor(bucket.tokens)),
            "Poly-RateLimit-Reset": str(math.ceil(self._epoch() + wait)),
            "Poly-RateLimit-Tier": self._name,
        }
        if fits:
            return True, headers
        if not self._enforced:
            return True, {**headers, "Poly-RateLimit-Warning": "true"}
        return False, {**headers, "Retry-After": str(max(math.ceil(wait), 1))}
