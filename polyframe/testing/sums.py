"""The cash of one process, and its messages: whether they add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from polyframe.counters import Count
from polyframe.environment import Environment
from polyframe.model.market import Market
from polyframe.model.money import ZERO
from polyframe.model.trade import Fill
from polyframe.testing import audit
from polyframe.testing.audit import Finding
from polyframe.testing.invariants import Invariant
from polyframe.testing.simline import SimCount, SimLine
from polyframe.testing.simvenue import SimVenue
from polyframe.trading.state import CycleState

_ENDS: frozenset[Count | tuple[Count, str]] = frozenset(
    {
        (Count.GATE_PASSED, "order"),
        (Count.GATE_PASSED, "trade"),
        (Count.GATE_DROPPED, "foreign_market"),
        Count.ROUTER_DROPPED,
        Count.ROUTER_SETTLEMENT,
    }
)
"""Where a message of the account can end."""


class Sums:
    """Checks the sums of one process against the books of its cycles and against the venue.

    Args:
        venue: The venue.
        env: The environment of the process.
        line: Its line to the venue.
    """

    def __init__(self, venue: SimVenue, env: Environment, line: SimLine) -> None:
        self._venue = venue
        self._env = env
        self._line = line
        self._count = SimCount()
        self._misdirected = venue.misdirected
        # What was there before the books of the cycles moved any, once it is counted.
        self._start: Decimal | None = None

    # ------------------------------------------------------------------ what happens

    def counted(self, states: Iterable[CycleState]) -> None:
        """Take note that the cash was counted."""
        self._start = self._have - _moved(states)
        self._count = self._line.count

    def learned(self, state: CycleState, fills: Iterable[Fill]) -> None:
        """Take note of new fills: the cash of some was counted already when the process started."""
        market = self._venue.markets.get(state.market.slug)
        if self._start is None or market is None:
            return
        for fill in fills:
            trade = market.trades.get(fill.trade_id)
            is_external = state.orders[fill.client_id].is_external
            if is_external and trade is not None and self._count.contains(trade):
                self._start -= audit.flow(fill)

    def closed(self, state: CycleState) -> None:
        """Take note that nothing more can happen to a cycle."""
        if self._start is not None:
            self._start += _moved([state])

    # ------------------------------------------------------------------ what must hold

    @property
    def _have(self) -> Decimal:
        return self._env.account.cash + self._env.account.claimable

    def cash(self, states: Iterable[CycleState], *, deep: bool) -> Iterator[Finding]:
        """Check cash and reservations; `deep` works the reservations out anew."""
        total, reserved = self._start or ZERO, ZERO
        for state in states:
            total += state.cash_flow + state.payout
            reserved += audit.reserved(state) if deep else state.reserved_cash
        # While a process starts its cash is not counted yet.
        total -= self._env.account.presumed
        if self._start is not None and self._have != total:
            yield Invariant.CASH, f"there are {self._have} USD, the books say {total}"
        held = self._env.account.reserved
        if held != reserved:
            yield Invariant.RESERVED, f"{held} USD are reserved, the orders can cost {reserved}"

    def messages(self) -> Iterator[Finding]:
        """Check that every message of the account that arrived is counted."""
        user = self._venue.user
        if user is None:
            return
        counters, router = self._env.counters, self._env.router
        routes = {id(route): route for route in router._routes.values()}.values()
        counted = len(router._parked) + sum(len(route.parked) for route in routes)
        counted -= self._venue.misdirected - self._misdirected
        for name, reason, count in counters:
            if name in _ENDS or (name, reason) in _ENDS:
                counted += count
        if counted != user.delivered:
            yield Invariant.COUNTED, f"{user.delivered} messages arrived, {counted} are counted"

    def venue(self, markets: Iterable[Market]) -> Iterator[Finding]:
        """Check that in the end our cash is the venue's.

        What moved since the count in markets that the process does not know is none of its business.

        Args:
            markets: Those that it knows.
        """
        tokens = {token for market in markets for token in (market.up_token, market.down_token)}
        ours, theirs = self._env.account.cash, self._venue.account.cash
        for token, moved in self._venue.account.moved.items():
            if token not in tokens:
                theirs -= moved - self._count.moved.get(token, ZERO)
        if ours != theirs:
            claims = self._env.account.claimable
            text = f"we have {ours} USD and claims of {claims}, the venue says {theirs}"
            yield Invariant.VENUE_CASH, text


def _moved(states: Iterable[CycleState]) -> Decimal:
    return sum((state.cash_flow + state.payout for state in states), ZERO)
