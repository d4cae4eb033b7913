"""Faults on demand: which there are, which are in force, and how often each has struck.

Every part of the venue asks here at the place where something can go wrong. A fault is bounded by a
number of strikes, by real seconds, or by both; chance repeats itself with the same seed.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from attrs import define, field

from polyframe.errors import ConfigError
from polyframe.venue.modes import VenueMode

MAX_SECONDS = 86_400.0
"""Real seconds that a fault may last."""
_MAX_DELAY = 3_600.0
_MAX_ACTIVE = 1_000


class VenueFault(StrEnum):
    """Kinds of faults (PROTOCOL §4.10, §5.6, §9, §11)."""

    HTTP_ERROR = "http_error"
    """A request is not carried out and answered with an error."""
    REQUEST_LOST = "request_lost"
    """A request is not carried out; the connection breaks."""
    REPLY_LOST = "reply_lost"
    """A request is carried out and the connection breaks before the answer."""
    REPLY_ERROR = "reply_error"
    """A request is carried out and answered with an error all the same."""
    REQUEST_LATE = "request_late"
    """A request waits before it is carried out."""
    REPLY_LATE = "reply_late"
    """A request is carried out at once, its answer waits."""
    ORDER_DELAYED = "order_delayed"
    """An order that was taken is answered with ``delayed``, without trades."""
    CANCEL_RACE = "cancel_race"
    """An order fills while its cancel is on the way."""
    CONNECT_REFUSED = "connect_refused"
    """A new WebSocket is refused."""
    MARKET_FREEZE = "market_freeze"
    """The market channel says nothing but ``PONG``, on new connections, too."""
    MARKET_DROP = "market_drop"
    """A message of the market channel is lost."""
    MARKET_DUPLICATE = "market_duplicate"
    """A message of the market channel comes twice."""
    MARKET_DELAY = "market_delay"
    """A message of the market channel comes late, and all behind it wait."""
    MARKET_REORDER = "market_reorder"
    """A message of the market channel is overtaken by later ones."""
    MARKET_STALE = "market_stale"
    """After a message an old book comes again, with its old time."""
    MARKET_GARBAGE = "market_garbage"
    """Before a message come others: broken, of no known type, of another market, without token."""
    MARKET_DISCONNECT = "market_disconnect"
    """In place of a message the connection of the market channel breaks."""
    UNSUBSCRIBE_LATE = "unsubscribe_late"
    """Messages of a token go on for a while after it was unsubscribed."""
    USER_DROP = "user_drop"
    """A message of the user channel is lost."""
    USER_DUPLICATE = "user_duplicate"
    """A message of the user channel comes twice."""
    USER_DELAY = "user_delay"
    """A message of the user channel comes late, and all behind it wait."""
    USER_REORDER = "user_reorder"
    """A message of the user channel is overtaken by later ones."""
    USER_REPLAY = "user_replay"
    """A message of the user channel comes again after a while."""
    USER_GARBAGE = "user_garbage"
    """Before a message come others: broken, of no known type, without id, of a foreign token."""
    USER_DISCONNECT = "user_disconnect"
    """In place of a message the connection of the user channel breaks."""
    RESTART = "restart"
    """The engine restarts: 425 for orders and cancels, then post-only mode."""
    MODE = "mode"
    """The venue takes less than everything."""
    MARKET_HIDDEN = "market_hidden"
    """Gamma answers 404 for a market that exists."""
    MARKET_UNHYDRATED = "market_unhydrated"
    """Gamma shows a market without token ids, and the CLOB does not know it."""
    CLOSE_LATE = "close_late"
    """A market takes orders after its end, until it is resolved."""
    RESOLUTION_LATE = "resolution_late"
    """A market that should be resolved is not."""
    RESOLUTION_UNTOLD = "resolution_untold"
    """``market_resolved`` is not sent; the market is resolved all the same."""
    TRADE_FAILED = "trade_failed"
    """The settlement of a trade fails: MATCHED, RETRYING, FAILED."""
    TRADE_RETRYING = "trade_retrying"
    """The settlement of a trade needs two attempts: MATCHED, RETRYING, MINED, CONFIRMED."""
    TRADE_LATE = "trade_late"
    """A trade stays MATCHED for long before it is settled."""
    PRICES_FREEZE = "prices_freeze"
    """The feeds of reference prices say nothing but ``PONG``, on new connections, too."""


_HTTP = frozenset({"path", "method"})
_DELAY = frozenset({"delay", "spread"})
_ERROR = frozenset({"status", "body", "headers"})
_SLUG = frozenset({"slug"})
F = VenueFault
OPTIONS: Mapping[VenueFault, frozenset[str]] = {
    **dict.fromkeys((F.HTTP_ERROR, F.REPLY_ERROR), _HTTP | _ERROR),
    **dict.fromkeys((F.REQUEST_LOST, F.REPLY_LOST), _HTTP),
    **dict.fromkeys((F.REQUEST_LATE, F.REPLY_LATE), _HTTP | _DELAY),
    **dict.fromkeys((F.MARKET_DELAY, F.MARKET_REORDER, F.UNSUBSCRIBE_LATE), _DELAY),
    **dict.fromkeys((F.USER_DELAY, F.USER_REORDER, F.USER_REPLAY, F.TRADE_LATE), _DELAY),
    **dict.fromkeys((F.MARKET_HIDDEN, F.MARKET_UNHYDRATED, F.CLOSE_LATE), _SLUG),
    **dict.fromkeys((F.RESOLUTION_LATE, F.RESOLUTION_UNTOLD), _SLUG),
    F.CONNECT_REFUSED: frozenset({"path"}),
    F.RESTART: frozenset({"post_only"}),
    F.MODE: frozenset({"mode"}),
}
"""What can be said about a kind besides how often and how long; nothing about the others."""

_LASTING = frozenset(
    {F.RESTART, F.MODE, F.MARKET_HIDDEN, F.MARKET_UNHYDRATED, F.CLOSE_LATE, F.RESOLUTION_LATE}
)
"""A state of the venue, not an event: it lasts for seconds."""


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
        if self.kind is F.MODE:
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
        known = _kind(kind)
        _check_bounds(known, count, seconds, chance)
        for name in options:
            if name not in OPTIONS.get(known, ()):
                msg = f"{name}: a fault {known.value!r} does not read it; leave it out"
                raise ConfigError(msg)
        if len(self.active) >= _MAX_ACTIVE:
            msg = f"kind: {_MAX_ACTIVE} faults are in force already; clear() them"
            raise ConfigError(msg)
        checked = {name: _CHECKS[name](name, value) for name, value in options.items()}
        if known is F.RESTART:
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


def _kind(kind: VenueFault | str) -> VenueFault:
    try:
        return VenueFault(kind)
    except ValueError:
        msg = f"kind: expected one of {', '.join(VenueFault)}, got {kind!r}"
        raise ConfigError(msg) from None


def _check_bounds(kind: VenueFault, count: Any, seconds: Any, chance: Any) -> None:
    if count is None and seconds is None:
        msg = "count: a fault must end; give count (strikes), seconds, or both"
        raise ConfigError(msg)
    if kind in _LASTING and (seconds is None or count is not None):
        msg = f"seconds: a fault {kind.value!r} lasts for seconds; give those and no count"
        raise ConfigError(msg)
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        msg = f"count: expected a whole number of at least 1, got {count!r}"
        raise ConfigError(msg)
    if seconds is not None and not 0 < _number("seconds", seconds) <= MAX_SECONDS:
        msg = f"seconds: expected a number above 0 and up to {MAX_SECONDS:g}, got {seconds!r}"
        raise ConfigError(msg)
    if not 0 < _number("chance", chance) <= 1:
        msg = f"chance: expected a number above 0 and up to 1, got {chance!r}"
        raise ConfigError(msg)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{name}: expected a number, got {value!r}"
        raise ConfigError(msg)
    return float(value)


def _delay(name: str, value: Any) -> float:
    number = _number(name, value)
    if not 0 <= number <= _MAX_DELAY:
        msg = f"{name}: expected a number of seconds from 0 to {_MAX_DELAY:g}, got {value!r}"
        raise ConfigError(msg)
    return number


def _spread(name: str, value: Any) -> float:
    number = _number(name, value)
    if not 0 <= number <= 3:
        msg = f"{name}: expected a number from 0 to 3, got {value!r}"
        raise ConfigError(msg)
    return number


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        msg = f"{name}: expected a text, got {value!r}"
        raise ConfigError(msg)
    return value


def _status(name: str, value: Any) -> int:
    if not isinstance(value, int) or not 200 <= value <= 599:
        msg = f"{name}: expected an HTTP status from 200 to 599, got {value!r}"
        raise ConfigError(msg)
    return value


def _headers(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not _all_texts([*value.keys(), *value.values()]):
        msg = f'{name}: expected names and texts, for example {{"Retry-After": "1"}}, got {value!r}'
        raise ConfigError(msg)
    return dict(value)


def _all_texts(values: Iterable[object]) -> bool:
    return all(isinstance(text, str) and text.isascii() and text.isprintable() for text in values)


def _anything(_: str, value: Any) -> Any:
    return value


def read_mode(name: str, value: Any) -> VenueMode:
    """Return a mode by its value.

    Raises:
        ConfigError: There is no such mode.
    """
    try:
        return VenueMode(value)
    except ValueError:
        msg = f"{name}: expected one of {', '.join(VenueMode)}, got {value!r}"
        raise ConfigError(msg) from None


_CHECKS = {
    "path": _text,
    "method": _text,
    "slug": _text,
    "status": _status,
    "body": _anything,
    "headers": _headers,
    "delay": _delay,
    "spread": _spread,
    "post_only": _delay,
    "mode": read_mode,
}
