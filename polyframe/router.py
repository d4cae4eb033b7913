"""The account's one user stream, shared by all sessions, and who gets which of its events.

The router is registered with the stream once and never again; a switch only moves its pointers. It
knows the tokens of the sessions that are open and of those that are prepared; everything else is
the settlement side's (dead cycles) or nobody's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from attrs import define, field

from polyframe.counters import Count, Counters
from polyframe.model.events import OrderReport, StreamState, UserMessage
from polyframe.session import ExchangeSession

log = logging.getLogger(__name__)


class DeadLetters(Protocol):
    """Takes events of cycles that are over (the settlement side)."""

    def take(self, message: UserMessage) -> bool:
        """Apply `message` if it belongs to a dead cycle that is still known; say whether it did."""
        ...


@define
class _Route:
    session: ExchangeSession
    is_live: bool = False
    parked: list[UserMessage] = field(factory=list)


class SessionEventRouter:
    """Forwards order and trade events to the session that owns their token.

    Args:
        counters: Where parked and dropped events are counted.
        dead_letters: Takes the events of dead cycles.
    """

    def __init__(self, counters: Counters, dead_letters: DeadLetters) -> None:
        self._counters = counters
        self._dead_letters = dead_letters
        self._routes: dict[str, _Route] = {}
        self._enabled = True
        self._parked: list[UserMessage] = []
        self._gap_listeners: list[Callable[[str], None]] = []
        self._up = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the account's stream is up."""
        return self._up.is_set()

    async def wait_connected(self) -> None:
        """Return once the account's stream is up."""
        await self._up.wait()

    # ------------------------------------------------------------------ pointers

    def prepare(self, session: ExchangeSession) -> None:
        """Park what comes for the tokens of `session` until `set_session` makes it live."""
        route = _Route(session)
        for token in (session.market.up_token, session.market.down_token):
            self._routes[token] = route

    def forget(self, session: ExchangeSession) -> None:
        """Take back `prepare` for a session that never became live.

        What was parked is the settlement side's, or else nobody's, and counted.
        """
        self._release(session, "abandoned")

    def set_session(self, old: ExchangeSession | None, new: ExchangeSession | None) -> None:
        """Move the pointer of one series from `old` to `new`."""
        if old is not None:
            self._release(old, "abandoned")
        if new is not None:
            route = self._routes.get(new.market.up_token)
            if route is None or route.session is not new:
                self.prepare(new)
                route = self._routes[new.market.up_token]
            route.is_live = True
            if self._enabled:
                self._unpark(route)

    def _release(self, session: ExchangeSession, reason: str) -> None:
        parked: list[UserMessage] = []
        for token in (session.market.up_token, session.market.down_token):
            route = self._routes.get(token)
            if route is not None and route.session is session:
                del self._routes[token]
                parked += route.parked
                route.parked.clear()
        # A cycle of an earlier run stays with the settlement side, if nobody goes on with it.
        lost = sum(not self._dead_letters.take(message) for message in parked)
        if lost:
            self._counters.add(Count.ROUTER_DROPPED, reason, lost)

    # ------------------------------------------------------------------ the barrier

    def disable(self) -> None:
        """Park everything from now on (a switch is under way)."""
        self._enabled = False

    def enable(self) -> None:
        """Let everything pass again: parked events first, in the order in which they came."""
        self._enabled = True
        for route in tuple(self._routes.values()):
            if route.is_live and route.parked:
                self._unpark(route)
        parked, self._parked = self._parked, []
        for message in parked:
            self._route(message)

    def _unpark(self, route: _Route) -> None:
        parked, route.parked = route.parked, []
        for message in parked:
            self._emit(route.session, message)

    # ------------------------------------------------------------------ gaps

    def on_gap(self, listener: Callable[[str], None]) -> None:
        """Call `listener` whenever messages may have been missed and come again from now on.

        It is given ``"connected"`` or, if they were dropped here, ``"overflow"``. It is called
        synchronously and must not raise.
        """
        self._gap_listeners.append(listener)

    # ------------------------------------------------------------------ the stream's side

    def on_user_message(self, message: UserMessage) -> None:
        """Take one event of the account."""
        if self._enabled:
            self._route(message)
        else:
            self._counters.add(Count.ROUTER_PARKED, "switching")
            self._parked.append(message)

    def on_user_stream(self, state: StreamState, reason: str) -> None:
        """Take a change of the account's connection."""
        if state is StreamState.LOST:
            self._up.clear()
            log.warning("user stream lost (%s): events may be missing until it is back", reason)
            return
        self._up.set()
        for listener in self._gap_listeners:
            listener(reason or "connected")

    def _route(self, message: UserMessage) -> None:
        if not message.token:
            if self._counters.add(Count.ROUTER_DROPPED, "no_asset") == 1:
                log.warning("dropped a user event without asset id; see the counter router_dropped")
            return
        route = self._routes.get(message.token)
        if route is None:
            if not self._dead_letters.take(message):
                self._counters.add(Count.ROUTER_DROPPED, "foreign")
        elif route.is_live:
            self._emit(route.session, message)
        else:
            self._counters.add(Count.ROUTER_PARKED, "prepared")
            route.parked.append(message)

    @staticmethod
    def _emit(session: ExchangeSession, message: UserMessage) -> None:
        if isinstance(message, OrderReport):
            session.emit_order_update(message)
        else:
            session.emit_trade_update(message)
