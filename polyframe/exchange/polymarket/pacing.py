"""How often the venue may be asked: its limits, kept here before it has to enforce them (§2.11).

Two kinds of limits hold at once. Each endpoint has one for the whole machine, and each signer has
one for the orders it sends and one for those it cancels. A request takes from all that apply, waits
until they allow it, or is refused here when that would take too long. All times are network seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from polyframe.checks import a_wait, number, one_of
from polyframe.counters import Count, Counters
from polyframe.errors import RateLimited

_log = logging.getLogger(__name__)

TIERS = {
    "standard": (40, 60),
    "copper": (60, 90),
    "bronze": (80, 120),
    "silver": (200, 300),
    "gold": (400, 600),
    "platinum": (450, 675),
    "diamond": (525, 787),
    "elite": (600, 900),
}
"""Orders per second and in one burst, by the tier of the signer; of cancels it is twice as many."""

_ENDPOINTS: tuple[tuple[str, str, str, int, int], ...] = (
    ("clob", "POST", "/order", 5000, 120_000),
    ("clob", "DELETE", "/order", 5000, 120_000),
    ("clob", "POST", "/orders", 2000, 21_000),
    ("clob", "DELETE", "/orders", 2000, 15_000),
    ("clob", "DELETE", "/cancel-all", 250, 6000),
    ("clob", "DELETE", "/cancel-market-orders", 1500, 21_000),
    ("clob", "GET", "/book", 1500, 0),
    ("clob", "GET", "/price", 1500, 0),
    ("clob", "GET", "/midpoint", 1500, 0),
    ("clob", "POST", "/books", 500, 0),
    ("clob", "GET", "/tick-size", 200, 0),
    ("clob", "GET", "/prices-history", 1000, 0),
    ("clob", "GET", "/data/orders", 500, 0),
    ("clob", "GET", "/data/trades", 500, 0),
    ("clob", "GET", "/balance-allowance", 200, 0),
    ("clob", "GET", "/balance-allowance/update", 50, 0),
    ("gamma", "GET", "/events", 500, 0),
    ("gamma", "GET", "/markets", 300, 0),
    ("data", "GET", "/trades", 200, 0),
    ("data", "GET", "/positions", 150, 0),
)
"""Service, method, path, and how many requests pass in 10 seconds and in 10 minutes (0: no limit)."""

_TOTALS = {"clob": 9000, "gamma": 4000, "data": 1000}
"""Requests of a service in 10 seconds, whatever they are."""

_INSTANT = 0.001
"""Seconds by which a sleep may end early."""

_CANCEL_SHARE = 0.1
"""The part of a service's total that only cancels may use."""


_tier = one_of(*TIERS)
_share = number("a part above 0, at most 1", lambda value: 0 < value <= 1)


@frozen(kw_only=True)
class RateLimits:
    """How fast the venue is asked.

    Attributes:
        tier: The signer's tier at the venue, which decides on orders and cancels per second.
        share: The part of the signer's limits that is used. What leaves here evenly does not arrive
            so; and another program may use the same key.
        order_wait: How long an order may wait for its turn; one that would wait longer is refused
            here (``rate_limited``, nothing is sent), because its price was meant for now.
        cancel_wait: How long a cancel may wait; afterwards it is sent all the same: the venue's own
            refusal is not worse than an order that nobody cancels.
        read_wait: How long a question may wait.

    Raises:
        ConfigError: An unknown tier, a share that is none, or a negative time.
    """

    tier: str = field(default="standard", validator=_tier)
    share: float = field(default=0.95, validator=_share)
    order_wait: float = field(default=0.5, validator=a_wait)
    cancel_wait: float = field(default=1.0, validator=a_wait)
    read_wait: float = field(default=10.0, validator=a_wait)


@define(eq=False)
class Bucket:
    """Fills at `rate` a second up to `burst`; who takes more than is there waits for the rest.

    Attributes:
        name: For the counters.
        rate, burst: Tokens a second, and at most.
        reserve: Tokens that only privileged takers may use.
        blocked: Until when it gives nothing, because the venue has said so.
    """

    name: str
    rate: float
    burst: float
    reserve: float = 0.0
    _tokens: float = field(init=False)
    _at: float = field(init=False, default=0.0)
    blocked: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._tokens = self.burst

    def wait(self, now: float, cost: float, *, is_privileged: bool = False) -> float:
        """Return the seconds until `cost` could be taken; takes nothing.

        More than the whole burst can be taken at once, of a full bucket: it is paid back later.
        """
        self._refill(now)
        floor = 0.0 if is_privileged else self.reserve
        missing = min(cost + floor, self.burst) - self._tokens
        return max(missing / self.rate, self.blocked - now, 0.0)

    def _refill(self, now: float) -> None:
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)

    def take(self, cost: float) -> None:
        """Take `cost`, also more than there is: those who come later wait for it."""
        self._tokens -= cost

    def lower_to(self, now: float, tokens: float) -> None:
        """Have no more than `tokens`: the venue has counted, and others may take as well."""
        self._refill(now)
        self._tokens = min(self._tokens, tokens)

    def block(self, until: float) -> None:
        """Give nothing before `until`: the venue has said so."""
        self.blocked = max(self.blocked, until)


def endpoint_buckets() -> dict[tuple[str, str, str], Bucket]:
    """Return a bucket of each endpoint, such that no span of time sees more than the limits."""
    found: dict[tuple[str, str, str], Bucket] = {}
    for service, method, path, short, long in _ENDPOINTS:
        # In any 10 s a bucket lets pass its burst and 10 s of its rate: half of the limit each.
        rate, burst = short / 20, short / 2
        if long:
            rate, burst = min(rate, long * 0.9 / 600), min(burst, long * 0.1)
        found[service, method, path] = Bucket(f"{method} {path}", rate, burst)
    return found


class Pacer:
    """Lets requests pass at the venue's pace. One for each pool of connections.

    Args:
        limits: The signer's tier, and how long requests may wait.
        counters: Where waits and refusals are counted.
    """

    def __init__(self, limits: RateLimits, counters: Counters) -> None:
        self._limits = limits
        self._counters = counters
        self._endpoints = endpoint_buckets()
        self._totals = {
            name: Bucket(name, short / 20, short / 2, reserve=short / 2 * _CANCEL_SHARE)
            for name, short in _TOTALS.items()
        }
        rate, burst = (limits.share * number for number in TIERS[limits.tier])
        self._has_told_tier = False
        self._orders = Bucket("signer_orders", rate, burst)
        self._cancels = Bucket("signer_cancels", 2 * rate, 2 * burst)

    def _buckets(self, service: str, method: str, path: str) -> list[tuple[Bucket, bool]]:
        """Return the buckets that apply, and whether each counts orders instead of requests."""
        found: list[tuple[Bucket, bool]] = []
        if service in self._totals:
            found.append((self._totals[service], False))
        key = (service, method, path)
        if key not in self._endpoints:  # "/markets/slug/…" is one of "/markets"
            key = (service, method, "/" + path.split("/")[1])
        if key in self._endpoints:
            found.append((self._endpoints[key], False))
        if service == "clob" and method == "POST" and path in {"/order", "/orders"}:
            found.append((self._orders, True))
        elif is_cancel(service, method):
            found.append((self._cancels, True))
        return found

    async def pass_through(self, service: str, method: str, path: str, count: int = 1) -> None:
        """Return when a request may be sent.

        Args:
            service: ``"clob"``, ``"gamma"`` or ``"data"``.
            method: HTTP method in capitals.
            path: Below the base of the service.
            count: Orders that it places or cancels.

        Raises:
            RateLimited: It would have to wait for too long; nothing was taken.
        """
        buckets = self._buckets(service, method, path)
        cancel = is_cancel(service, method)
        now = asyncio.get_running_loop().time()
        costs = [count if per_order else 1 for _, per_order in buckets]
        waits = [
            (bucket.wait(now, cost, is_privileged=cancel), bucket.name)
            for (bucket, _), cost in zip(buckets, costs, strict=True)
        ]
        seconds, name = max(waits, default=(0.0, ""))
        limit = self._limit(service, method, path)
        if seconds > limit and cancel:
            self._counters.add(Count.REQUESTS_PACED, "cancel_not_held")
            seconds = limit
        elif seconds > limit:
            raise self._refused(f"{method} {path}", name, seconds)
        for (bucket, _), cost in zip(buckets, costs, strict=True):
            bucket.take(cost)
        if seconds > 0:
            self._counters.add(Count.REQUESTS_PACED, f"waited:{name}")
            await self._sleep(seconds, buckets, costs)
        # The venue may have refused another one meanwhile.
        while not cancel and (more := max(((b.blocked, b.name) for b, _ in buckets), default=None)):
            left = more[0] - asyncio.get_running_loop().time()
            if left <= _INSTANT:
                break
            seconds += left
            if seconds > limit:
                self._give_back(buckets, costs)
                raise self._refused(f"{method} {path}", more[1], left)
            await self._sleep(left, buckets, costs)

    def _refused(self, what: str, name: str, seconds: float) -> RateLimited:
        self._counters.add(Count.REQUESTS_PACED, f"refused:{name}")
        msg = f"{what}: not sent: the limit of {name} allows it in {seconds:.1f} s"
        return RateLimited(msg, seconds, code="rate_limited")

    @staticmethod
    def _give_back(buckets: Sequence[tuple[Bucket, bool]], costs: Sequence[int]) -> None:
        for (bucket, _), cost in zip(buckets, costs, strict=True):
            bucket.take(-cost)  # it was not sent

    async def _sleep(
        self, seconds: float, buckets: Sequence[tuple[Bucket, bool]], costs: Sequence[int]
    ) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._give_back(buckets, costs)
            raise

    def _limit(self, service: str, method: str, path: str) -> float:
        if is_cancel(service, method):
            return self._limits.cancel_wait
        if method == "POST" and path in {"/order", "/orders"}:
            return self._limits.order_wait
        return self._limits.read_wait

    def note_refusal(self, service: str, method: str, path: str, retry_after: float | None) -> None:
        """Take the venue's own refusal: its endpoint is left alone for as long as it says."""
        self._counters.add(Count.REQUESTS_PACED, "refused_by_venue")
        until = asyncio.get_running_loop().time() + (1.0 if retry_after is None else retry_after)
        for bucket, _ in self._buckets(service, method, path)[1:]:
            bucket.block(until)

    def note_answer(self, service: str, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Take what an answer says of the signer's limits: what is left of them, and warnings.

        Another program with the same key takes of the same limits.
        """
        if headers.get("Poly-RateLimit-Warning", "").lower() == "true":
            self._counters.add(Count.REQUESTS_PACED, "warned_by_venue")
        left = headers.get("Poly-RateLimit-Remaining", "")
        if left.removeprefix("-").isdecimal() and len(left) < 9:
            now = asyncio.get_running_loop().time()
            for bucket, per_order in self._buckets(service, method, path):
                if per_order:
                    bucket.lower_to(now, float(left))
        tier = headers.get("Poly-RateLimit-Tier", "").lower()
        if tier in TIERS and tier != self._limits.tier and not self._has_told_tier:
            self._has_told_tier = True
            _log.warning(
                "the venue's limits for this signer are those of tier %r and not %r: set "
                "rate_limits=RateLimits(tier=%r) on the exchange",
                tier,
                self._limits.tier,
                tier,
            )


def is_cancel(service: str, method: str) -> bool:
    """Return whether a request cancels orders."""
    return service == "clob" and method == "DELETE"
