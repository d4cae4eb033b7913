"""Which faults the local venue has, and what can be said about each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from polyframe.errors import ConfigError
from polyframe.venue.modes import VenueMode

MAX_SECONDS = 86_400.0
"""Real seconds that a fault may last."""
_MAX_DELAY = 3_600.0


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


def read_kind(kind: VenueFault | str) -> VenueFault:
    """Return a kind by its value.

    Raises:
        ConfigError: There is no such kind.
    """
    try:
        return VenueFault(kind)
    except ValueError:
        msg = f"kind: expected one of {', '.join(VenueFault)}, got {kind!r}"
        raise ConfigError(msg) from None


def check_bounds(kind: VenueFault, count: Any, seconds: Any, chance: Any) -> None:
    """Check when a fault ends and how likely it strikes.

    Raises:
        ConfigError: It would not end, or a value cannot be.
    """
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


CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
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
"""What reads each option; all raise `ConfigError`."""
