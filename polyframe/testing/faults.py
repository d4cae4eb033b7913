"""What can go wrong, by name, and chance that repeats itself.

Every kind of fault draws from a source of its own: switching one off leaves the others' draws as
they were, so a failing run can be made smaller one kind at a time.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from polyframe.errors import ConfigError


class Fault(StrEnum):
    """Kinds of faults."""

    USER_DELAY = "user_delay"
    """The user stream stalls: this message and all behind it come late, perhaps after a switch."""
    USER_DUPLICATE = "user_duplicate"
    """A message of the user stream comes twice."""
    USER_REORDER = "user_reorder"
    """A message of the user stream is overtaken by later ones."""
    USER_DROP = "user_drop"
    """A message of the user stream is lost without a word."""
    USER_OVERFLOW = "user_overflow"
    """The queue of user messages is full: some are dropped, between ``LOST`` and ``CONNECTED``."""
    USER_DISCONNECT = "user_disconnect"
    """The user stream breaks; what happens until it is back is not told."""
    USER_REPLAY = "user_replay"
    """A message is told again much later, also cycles later."""
    USER_GARBAGE = "user_garbage"
    """A message of the account without asset id, of an unknown token, or of contradicting market."""
    MARKET_DELAY = "market_delay"
    """A message of the market stream comes late and out of order."""
    MARKET_DUPLICATE = "market_duplicate"
    """A message of the market stream comes twice."""
    MARKET_DROP = "market_drop"
    """A message of the market stream is lost."""
    MARKET_FREEZE = "market_freeze"
    """The market stream falls silent for a while."""
    MARKET_DISCONNECT = "market_disconnect"
    """The market stream breaks and comes back with fresh books."""
    MARKET_GARBAGE = "market_garbage"
    """A message of another market, of another token or without one."""
    TICK_CHANGE = "tick_change"
    """The price step gets finer, or coarse again."""
    PLACE_LOST = "place_lost"
    """The order is accepted and the reply is lost."""
    PLACE_VANISHED = "place_vanished"
    """The order never arrives, and nobody says so."""
    PLACE_REFUSED = "place_refused"
    """The venue refuses: 400, 401, 425, 429 or 503."""
    PLACE_RAISES = "place_raises"
    """The exchange object breaks its promise and raises; the order may have arrived."""
    PLACE_LATE = "place_late"
    """The reply comes late, perhaps after a switch."""
    PLACE_DELAYED = "place_delayed"
    """The venue says ``delayed``, whatever becomes of the order."""
    CANCEL_LOST = "cancel_lost"
    """The order is cancelled and the reply is lost."""
    CANCEL_ERROR = "cancel_error"
    """The cancel fails and nothing happens to the order."""
    CANCEL_LATE = "cancel_late"
    """The reply to a cancel comes late, perhaps after a switch."""
    CANCEL_RACE = "cancel_race"
    """The order fills, in part or as a whole, while its cancel is on the way."""
    CONVERT_LOST = "convert_lost"
    """A split or merge is submitted and the reply is lost."""
    CONVERT_VANISHED = "convert_vanished"
    """A split or merge never arrives, and nobody says so."""
    CONVERT_FAILED = "convert_failed"
    """The transaction of a split or merge fails on chain."""
    CONVERT_LATE = "convert_late"
    """The transaction of a split or merge waits for minutes."""
    QUERY_ERROR = "query_error"
    """A question to the venue is not answered."""
    MARKET_LATE = "market_late"
    """The next market appears only after its window began."""
    MARKET_MISSING = "market_missing"
    """The next market never appears."""
    MARKET_UNHYDRATED = "market_unhydrated"
    """The next market is listed, but cannot be traded for some time."""
    CLOSE_LATE = "close_late"
    """A market goes on trading for some seconds after its window."""
    RESOLUTION_LATE = "resolution_late"
    """A market is resolved minutes to hours late."""
    RESOLUTION_MISSING = "resolution_missing"
    """A market is never resolved."""
    TRADE_FAILED = "trade_failed"
    """A matched trade fails on chain: at once, or after a switch, or after the resolution."""
    TRADE_RETRYING = "trade_retrying"
    """A matched trade is sent again before it settles."""
    FOREIGN = "foreign"
    """Another program of the account places, cancels and fills orders, and cancels ours."""
    HOOK_SLOW = "hook_slow"
    """A hook takes its time."""
    HOOK_HANG = "hook_hang"
    """A hook never returns."""
    HOOK_DEAF = "hook_deaf"
    """A hook ignores its cancellation for a while."""
    HOOK_RAISE = "hook_raise"
    """A hook raises."""
    CLOCK_JUMP = "clock_jump"
    """The computer's clock is set, forward or back, by up to some minutes."""
    KILL = "kill"
    """The process is killed, at any instant, and a new one is started after a while."""
    STORE_FULL = "store_full"
    """The disk is full: a snapshot or a line of the list of sent orders cannot be written."""
    STORE_TORN = "store_torn"
    """A process is killed in the middle of writing a line, and before the order leaves."""
    STORE_ROT = "store_rot"
    """Files of snapshots are damaged or replaced by others while no process runs."""
    STORE_LOST = "store_lost"
    """All files of the snapshots are lost while no process runs."""
    BARRIER = "barrier"
    """Events of all kinds come between two steps of a switch."""


CONVERTING = frozenset(
    {Fault.CONVERT_LOST, Fault.CONVERT_VANISHED, Fault.CONVERT_FAILED, Fault.CONVERT_LATE}
)
"""Kinds that only happen at a venue that splits and merges."""


RATES: Mapping[Fault, float] = {
    Fault.USER_DELAY: 0.03,
    Fault.USER_DUPLICATE: 0.08,
    Fault.USER_REORDER: 0.08,
    Fault.USER_DROP: 0.04,
    Fault.USER_OVERFLOW: 0.003,
    Fault.USER_DISCONNECT: 0.004,
    Fault.USER_REPLAY: 0.02,
    Fault.USER_GARBAGE: 0.02,
    Fault.MARKET_DELAY: 0.01,
    Fault.MARKET_DUPLICATE: 0.01,
    Fault.MARKET_DROP: 0.01,
    Fault.MARKET_FREEZE: 0.003,
    Fault.MARKET_DISCONNECT: 0.003,
    Fault.MARKET_GARBAGE: 0.01,
    Fault.TICK_CHANGE: 0.005,
    Fault.PLACE_LOST: 0.05,
    Fault.PLACE_VANISHED: 0.03,
    Fault.PLACE_REFUSED: 0.04,
    Fault.PLACE_RAISES: 0.01,
    Fault.PLACE_LATE: 0.05,
    Fault.PLACE_DELAYED: 0.05,
    Fault.CANCEL_LOST: 0.05,
    Fault.CANCEL_ERROR: 0.05,
    Fault.CANCEL_LATE: 0.05,
    Fault.CANCEL_RACE: 0.15,
    Fault.CONVERT_LOST: 0.15,
    Fault.CONVERT_VANISHED: 0.05,
    Fault.CONVERT_FAILED: 0.1,
    Fault.CONVERT_LATE: 0.1,
    Fault.QUERY_ERROR: 0.1,
    Fault.MARKET_LATE: 0.08,
    Fault.MARKET_MISSING: 0.03,
    Fault.MARKET_UNHYDRATED: 0.08,
    Fault.CLOSE_LATE: 0.3,
    Fault.RESOLUTION_LATE: 0.1,
    Fault.RESOLUTION_MISSING: 0.01,
    Fault.TRADE_FAILED: 0.12,
    Fault.TRADE_RETRYING: 0.1,
    Fault.FOREIGN: 0.04,
    Fault.HOOK_SLOW: 0.01,
    Fault.HOOK_HANG: 0.0015,
    Fault.HOOK_DEAF: 0.001,
    Fault.HOOK_RAISE: 0.0015,
    Fault.CLOCK_JUMP: 0.02,
    Fault.KILL: 0.015,
    Fault.STORE_FULL: 0.01,
    Fault.STORE_TORN: 0.003,
    Fault.STORE_ROT: 0.1,
    Fault.STORE_LOST: 0.04,
    Fault.BARRIER: 0.7,
}
"""Chance of each fault per opportunity: message, request, market, trade, hook or step of a switch."""


class InjectedError(Exception):
    """Raised where a fault says that something raises; nothing but a fault raises it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*(arguments or ("an injected fault",)))


class Faults:
    """Decides, by a seed, which faults happen when; and counts them.

    Args:
        kinds: The kinds that may happen; all of them, or none by default.
        seed: Any text or number.
        rates: Chances by kind that replace those of `RATES`.

    Attributes:
        kinds: The kinds that may happen.
        counts: How often each kind happened.

    Raises:
        ConfigError: A chance that is not between 0 and 1.
    """

    def __init__(
        self,
        kinds: Iterable[Fault] = (),
        seed: int | str = 0,
        rates: Mapping[Fault, float] | None = None,
    ) -> None:
        self.kinds = frozenset(kinds)
        self.counts: dict[Fault, int] = {}
        self._rates = {**RATES, **(rates or {})}
        for kind, rate in self._rates.items():
            if not 0 <= rate <= 1:
                msg = f"rates: expected a chance from 0 to 1 for {kind}, got {rate!r}"
                raise ConfigError(msg)
        self._sources = {kind: random.Random(f"{seed}/{kind}") for kind in Fault}

    def hit(self, kind: Fault) -> bool:
        """Decide whether a fault happens now, and count it if so."""
        if kind not in self.kinds or self._sources[kind].random() >= self._rates[kind]:
            return False
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return True

    def source(self, kind: Fault) -> random.Random:
        """Return the kind's own source of chance, for how bad it gets."""
        return self._sources[kind]


def parse_faults(text: str) -> frozenset[Fault]:
    """Return the kinds named by ``"all"``, ``"none"`` or names with commas between.

    Raises:
        ConfigError: A name that is none; the message lists those that there are.
    """
    if text == "all":
        return frozenset(Fault)
    names = [name.strip() for name in text.split(",")]
    if text.strip() in ("", "none"):
        return frozenset()
    unknown = [name for name in names if name not in set(Fault)]
    if unknown:
        msg = f"faults: {', '.join(unknown)} is none; expected all, none or {', '.join(Fault)}"
        raise ConfigError(msg)
    return frozenset(Fault(name) for name in names)
