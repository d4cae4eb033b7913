"""Faults on demand: which are in force, and how often each has struck.

Every part of the venue asks here at the place where something can go wrong. A fault is bounded by a
number of strikes, by real seconds, or by both; chance repeats itself with the same seed.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from typing import Any

from attrs import define, field

from polyframe.errors import ConfigError
from polyframe.venue.faultkinds import (
    CHECKS,
    MAX_SECONDS,
    OPTIONS,
    VenueFault,
    check_bounds,
    read_kind,
)
from polyframe.venue.modes import VenueMode

_MAX_ACTIVE = 1_000


@define(eq=False, kw_only=True)
class InjectedFault:
    """A fault that was asked for.

    Attributes:
        kind: What it is.
        count: Strikes after which it is over, ``None`` for no such bound.
        seconds: Real seconds from its injection after which it is over, ``None`` likewise.
        chance: How likely it strikes where it could.
        path: It meets requests (or WebSockets) whose path ends so.
        method: It meets requests of this method; all by default.
        status, body, headers: The error: text as it stands, or a value to be sent as JSON.
        delay: Median of how late, in real seconds (`TRADE_LATE`: of the venue's clock).
        spread: How much that varies: the sigma of a log-normal distribution, 0 for not at all.
        slug: The market that it befalls; all by default.
        post_only: Seconds of post-only mode that follow a restart, within `seconds`.
        mode: What the venue takes meanwhile.
        hits: How often it has struck.
    """

    kind: VenueFault
    count: int | None = None
    seconds: float | None = None
    chance: float = 1.0
    path: str = ""
    method: str = ""
    status: int = 503
    body: Any = ""
    headers: dict[str, str] = field(factory=dict)
    delay: float = 0.0
    spread: float = 0.0
    slug: str = ""
    post_only: float = 0.0
    mode: VenueMode = VenueMode.CANCEL_ONLY
    hits: int = field(default=0, init=False)
    _draw: random.Random = field(repr=False)
    _began: float = field(factory=time.monotonic, init=False, repr=False)
    _stopped: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)

    @property
    def left(self) -> float:
        """Real seconds that it will last, 0 if it is over."""
        if self._stopped.is_set() or (self.count is not None and self.hits >= self.count):
            return 0.0
        if self.seconds is None:
            return MAX_SECONDS
        return max(self._began + self.seconds - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether it strikes no more."""
        return not self.left

    @property
    def present_mode(self) -> VenueMode:
        """What the venue takes at this point of a `RESTART`, or while a `MODE` lasts."""
        if self.kind is VenueFault.MODE:
            return self.mode
        return VenueMode.RESTARTING if self.left > self.post_only else VenueMode.POST_ONLY

    def late(self) -> float:
        """Return by how many seconds this strike is late."""
        return self.delay * math.exp(self._draw.gauss(0.0, self.spread))

    def stop(self) -> None:
        """End it."""
        self._stopped.set()

    async def wait_over(self) -> None:
        """Return once it is over, by time or by `stop`."""
        while left := self.left:
            try:
                await asyncio.wait_for(self._stopped.wait(), left)
            except TimeoutError:
                continue

    def strikes(self) -> bool:
        """Draw whether it strikes now, and count it if so."""
        if self.chance < 1 and self._draw.random() >= self.chance:
            return False
        self.hits += 1
        return True

    def row(self) -> dict[str, Any]:
        """Return what can be told of it as JSON."""
        options = {name: getattr(self, name) for name in sorted(OPTIONS.get(self.kind, ()))}
        return {
            "kind": self.kind.value,
            "count": self.count,
            "seconds": self.seconds,
            "chance": self.chance,
            "hits": self.hits,
            "left": round(self.left, 3),
            **options,
        }


class VenueFaults:
    """The faults of one venue.

    ::

        venue.faults.inject("reply_lost", path="/order", count=1)
        venue.faults.inject("market_delay", delay=0.2, spread=0.5, seconds=30, chance=0.1, seed=7)

    The first that was injected and fits strikes first.

    Attributes:
        happened: How often each kind has struck since the venue was made.
    """

    def __init__(self) -> None:
        self.happened: Counter[VenueFault] = Counter()
        self._active: list[InjectedFault] = []

    @property
    def active(self) -> list[InjectedFault]:
        """Those that are not over, in order of their injection."""
        self._active = [fault for fault in self._active if not fault.is_over]
        return list(self._active)

    def inject(
        self,
        kind: VenueFault | str,
        *,
        count: int | None = None,
        seconds: float | None = None,
        chance: float = 1.0,
        seed: int | str = 0,
        **options: Any,
    ) -> InjectedFault:
        """Let something go wrong from now on.

        Args:
            kind: What, a `VenueFault` or its value.
            count: Strikes after which it is over.
            seconds: Real seconds after which it is over; one of the two is needed.
            chance: How likely it strikes where it could, above 0 to 1.
            seed: Of that chance, and of the delays.
            options: What this kind can be told besides; see `InjectedFault` and ``docs/venue-faults.md``.

        Raises:
            ConfigError: An unknown kind, no bound, or an option that is wrong or that it does not read.
        """
        known = read_kind(kind)
        check_bounds(known, count, seconds, chance)
        for name in options:
            if name not in OPTIONS.get(known, ()):
                msg = f"{name}: a fault {known.value!r} does not read it; leave it out"
                raise ConfigError(msg)
        if len(self.active) >= _MAX_ACTIVE:
            msg = f"kind: {_MAX_ACTIVE} faults are in force already; clear() them"
            raise ConfigError(msg)
        checked = {name: CHECKS[name](name, value) for name, value in options.items()}
        if known is VenueFault.RESTART:
            seconds = min((seconds or 0.0) + checked.get("post_only", 0.0), MAX_SECONDS)
        # Chance of a test is no secret.
        draw = random.Random(f"{known.value}:{seed}")  # noqa: S311
        fault = InjectedFault(
            kind=known, count=count, seconds=seconds, chance=chance, draw=draw, **checked
        )
        self._active.append(fault)
        return fault

    def clear(self) -> None:
        """End all of them."""
        for fault in self._active:
            fault.stop()
        self._active.clear()

    # ------------------------------------------------------------------ what the venue asks

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was injected that might still strike."""
        return not self._active

    def find(self, kind: VenueFault, slug: str = "") -> InjectedFault | None:
        """Return the fault of this kind that is in force, without a strike."""
        if not self._active:
            return None
        return next((f for f in self.active if f.kind is kind and f.slug in {"", slug}), None)

    def strike(
        self, *kinds: VenueFault, slug: str = "", path: str = "", method: str = ""
    ) -> InjectedFault | None:
        """Return the fault of one of these kinds that strikes now, if one does."""
        if not self._active:
            return None
        for fault in self.active:
            if (
                fault.kind in kinds
                and path.endswith(fault.path)
                and fault.method in {"", method}
                and fault.slug in {"", slug}
                and fault.strikes()
            ):
                self.happened[fault.kind] += 1
                return fault
        return None
