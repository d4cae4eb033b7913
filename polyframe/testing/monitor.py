"""Watches a running simulation and checks the invariants, after every step and at the end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from polyframe.clock import Clock
from polyframe.counters import Count
from polyframe.environment import Environment
from polyframe.errors import PolyframeError
from polyframe.model.market import Market
from polyframe.model.money import ZERO
from polyframe.model.series import Series
from polyframe.session import ExchangeSession
from polyframe.testing import audit
from polyframe.testing.faults import Fault
from polyframe.testing.invariants import Invariant, Violation
from polyframe.testing.leaks import leaks_of
from polyframe.testing.simvenue import InjectedError, SimVenue
from polyframe.trading.commands import (
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyTradeReport,
    CancelOrder,
    CycleCommand,
    Denied,
    Ignored,
    PlaceOrder,
    Query,
    Reply,
    Stale,
)
from polyframe.trading.comparison import Comparison
from polyframe.trading.reconcile import ReconcileReport
from polyframe.trading.service import TradingService
from polyframe.trading.state import CycleState

_Apply = Callable[[CycleState, CycleCommand], Reply]
_Compare = Callable[[Comparison, str], Awaitable[ReconcileReport]]

TRACE = 60
"""Steps that a violation tells of."""

GAP_PATIENCE = 1.5
"""Seconds after a gap in the account's stream within which a comparison begins."""

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


@define(eq=False)
class _Cycle:
    """The books of one cycle and what they were given."""

    state: CycleState
    inputs: list[CycleCommand] = field(factory=list)
    is_audited: bool = False
    over: float | None = None
    compared: float = 0.0
    comparing: int = 0


class Monitor:
    """Checks the invariants of one simulation.

    Args:
        venue: The venue, whose own books are the truth.
        clock: Market time.

    Attributes:
        violations: What did not hold; the first one ends a run.
        failed: Set with the first violation.
        deaf: Names of tasks that a fault made ignore their cancellation, and until when (loop time).
        commands: Inputs of all cycles' books so far.
        closed: Cycles whose books were compared with the venue's for the last time.
        audited: Fills in them.
    """

    def __init__(self, venue: SimVenue, clock: Clock) -> None:
        self.violations: list[Violation] = []
        self.failed = asyncio.Event()
        self.deaf: dict[str, float] = {}
        self.commands = 0
        self.audited = 0
        self.closed = 0
        self._venue = venue
        self._clock = clock
        self._env: Environment | None = None
        self._cash = ZERO
        self._cycles: dict[str, _Cycle] = {}
        self._services: Callable[[], list[TradingService]] = list
        self._trace: deque[tuple[float, Any]] = deque(maxlen=TRACE)
        self._steps = 0
        self._newest: dict[Series, int] = {}

    # ------------------------------------------------------------------ what is seen

    @contextmanager
    def watching(
        self, env: Environment, services: Callable[[], list[TradingService]]
    ) -> Iterator[None]:
        """Watch an open environment: its inputs, its log, and what nobody catches."""
        self._env, self._cash, self._services = env, env.account.cash, services
        self._venue.on_step = self.on_step
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._unhandled(context))
        handler = _LogHandler(self)
        logger = logging.getLogger("polyframe")
        logger.addHandler(handler)
        apply, compare = CycleState.apply, Comparison.run
        try:
            setattr(CycleState, "apply", self._recording(apply))  # noqa: B010
            setattr(Comparison, "run", self._following(compare))  # noqa: B010
            yield
        finally:
            setattr(CycleState, "apply", apply)  # noqa: B010
            setattr(Comparison, "run", compare)  # noqa: B010
            logger.removeHandler(handler)

    def _recording(self, original: _Apply) -> _Apply:
        def apply(state: CycleState, command: CycleCommand) -> Reply:
            reply = original(state, command)
            self._on_input(state, command, reply)
            return reply

        return apply

    def _following(self, original: _Compare) -> _Compare:
        async def run(comparison: Comparison, trigger: str) -> ReconcileReport:
            began, own = self._clock.time(), self._opened().settlement.own
            cycle = self._cycle(comparison._state)
            cycle.compared = began
            cycle.comparing += 1
            asked = {
                order.client_id
                for order in comparison._state.open_orders()
                if not own.is_under_way(order.venue_id)
            }
            try:
                report = await original(comparison, trigger)
            finally:
                cycle.comparing -= 1
            self._on_comparison(comparison._state, began, asked - report.unresolved.keys(), report)
            return report

        return run

    def note(self, what: Any) -> None:
        """Keep a step for the story of a violation."""
        self._trace.append((self._clock.time(), what))

    def check(self, holds: bool, invariant: Invariant, text: str, slug: str = "") -> None:
        """Note a violation if something does not hold."""
        if not holds:
            self.violate(invariant, text, slug)

    def violate(self, invariant: Invariant, text: str, slug: str = "") -> None:
        """Note a violation."""
        now = self._clock.time()
        steps = tuple(f"{time - now:+9.3f} s  {_words(what)}" for time, what in self._trace)
        self.violations.append(Violation(invariant, text, slug, now, steps))
        self.failed.set()

    def _unhandled(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, InjectedError):
            self.violate(Invariant.NO_DEFECT, f"{context.get('message')}: {error!r}")

    def on_log(self, record: logging.LogRecord) -> None:
        """Look for exceptions that ended in the log."""
        error = record.exc_info[1] if record.exc_info else None
        # What strategies raise is theirs; those of the simulation watch themselves.
        if error is None or record.name == "polyframe.strategyrun":
            return
        if not isinstance(error, InjectedError | PolyframeError):
            self.violate(Invariant.NO_DEFECT, f"{record.getMessage()}: {error!r}")

    # ------------------------------------------------------------------ steps

    def _on_input(self, state: CycleState, command: CycleCommand, reply: Reply) -> None:
        if isinstance(command, Query) or state.account is not self._opened().account:
            return  # the latter are replays
        self.commands += 1
        if not isinstance(reply, Ignored):
            self.note(command)
        slug = state.market.slug
        if command.generation != state.generation and not isinstance(reply, Stale):
            text = f"a command of {command.generation} was applied: {_words(command)}"
            self.violate(Invariant.OWN_INPUTS, text, slug)
        if isinstance(command, ApplyOrderReport):
            self._check_input(slug, [command.report.order_id])
        elif isinstance(command, ApplyTradeReport):
            self._check_input(slug, [leg.order_id for leg in command.report.legs])
        # Whether there is cash is the one thing that books ask of the world outside.
        if not (isinstance(reply, Denied) and reply.rule == "cash"):
            self._cycle(state).inputs.append(command)

    def _cycle(self, state: CycleState) -> _Cycle:
        slug = state.market.slug
        if slug not in self._cycles:
            self._cycles[slug] = _Cycle(state)
        return self._cycles[slug]

    def _check_input(self, slug: str, order_ids: list[str]) -> None:
        market = self._venue.markets.get(slug)
        if market is not None and not any(order_id in market.orders for order_id in order_ids):
            text = f"its books were told of {', '.join(order_ids)}"
            self.violate(Invariant.OWN_INPUTS, text, slug)

    def _on_comparison(
        self, state: CycleState, began: float, asked: set[str], report: ReconcileReport
    ) -> None:
        """Check that a comparison with the venue has found all there was to find."""
        slug = state.market.slug
        market = self._venue.markets.get(slug)
        is_current = any(service.market == state.market for service in self._services())
        if report.error or market is None or not is_current:
            return
        for invariant, text in audit.recovered(state, market, began, asked):
            self.violate(invariant, text, slug)

    def on_step(self, what: str) -> None:
        """Check what is quickly checked, after something reached us."""
        if what == "market":
            self._steps += 1
            if self._steps % 25:
                return
        else:
            self.note(what)
        if what == "user connected":
            self._expect_comparisons()
        self.check_cash()
        self.check_counts()

    def _expect_comparisons(self) -> None:
        """See to it that what may have been missed is asked for."""
        loop, now = asyncio.get_running_loop(), self._clock.time()
        for service in self._services():
            if service.market is not None:
                loop.call_later(GAP_PATIENCE, self._check_compared, service, service.market, now)

    def _check_compared(self, service: TradingService, market: Market, gap: float) -> None:
        cycle = self._cycles.get(market.slug)
        if service.market != market or cycle is None or cycle.compared >= gap:
            return
        if cycle.comparing:
            # One at a time: the next one begins when this one is through.
            loop = asyncio.get_running_loop()
            loop.call_later(GAP_PATIENCE, self._check_compared, service, market, gap)
            return
        text = f"nothing was compared since messages were missed at {gap:.3f}"
        self.violate(Invariant.COMPENSATED, text, market.slug)

    def on_barrier(
        self,
        service: TradingService,
        step: str,
        old: ExchangeSession | None,
        new: ExchangeSession | None,
    ) -> None:
        """Check a step of a switch."""
        if step == "reset" and old is not None and (cycle := self._cycles.get(old.slug)):
            cycle.over = self._clock.time()
        self.note(f"switch to {new.slug if new else 'no market'}: {step}")
        if step == "reset":
            state = service._engine.state
            self.check(
                (None if state is None else state.market) == (None if new is None else new.market),
                Invariant.FRESH_START,
                f"after the reset the engine has {state!r}",
                new.slug if new else "",
            )
            if state is not None:
                self._cycle(state)
                newest = self._newest.get(service.series, 0)
                self._newest[service.series] = state.generation
                text = f"it begins after {newest}"
                self.check(
                    state.generation > newest, Invariant.FRESH_START, text, state.market.slug
                )
                text = f"it begins with {len(state.orders)} orders and {len(state.fills)} fills"
                empty = CycleState(state.market, state.account).snapshot()
                self.check(
                    state.snapshot() == empty, Invariant.FRESH_START, text, state.market.slug
                )
        self.check_cash(deep=step == "reset")
        self.check_counts()
        if step == "open":
            self._close_settled()

    def expect_dead(self, session: ExchangeSession) -> None:
        """Check that nothing is left of a cycle, its deadline being over."""
        env = self._opened()
        now = asyncio.get_running_loop().time()
        deaf = {name for name, until in self.deaf.items() if now <= until}
        for leak in leaks_of(session, env, self._venue):
            if leak.name not in deaf:
                self.violate(Invariant.NOTHING_LEFT, str(leak), session.slug)

    # ------------------------------------------------------------------ sums

    def check_cash(self, *, deep: bool = False) -> None:
        """Check cash and reservations against the books of all cycles."""
        env = self._opened()
        total, reserved = self._cash, ZERO
        for cycle in self._cycles.values():
            state = cycle.state
            total += state.cash_flow + state.payout
            reserved += audit.reserved(state) if deep else state.reserved_cash
        have = env.account.cash + env.account.claimable
        self.check(have == total, Invariant.CASH, f"there are {have} USD, the books say {total}")
        held = env.account.reserved
        text = f"{held} USD are reserved, the orders can cost {reserved}"
        self.check(held == reserved, Invariant.RESERVED, text)

    def check_counts(self) -> None:
        """Check that every message of the account that arrived is counted."""
        env, user = self._opened(), self._venue.user
        if user is None:
            return
        counters, router = env.counters, env.router
        routes = {id(route): route for route in router._routes.values()}.values()
        counted = len(router._parked) + sum(len(route.parked) for route in routes)
        counted -= self._venue.misdirected
        for name, reason, count in counters:
            if name in _ENDS or (name, reason) in _ENDS:
                counted += count
        text = f"{user.delivered} messages arrived, {counted} are counted"
        self.check(counted == user.delivered, Invariant.COUNTED, text)

    # ------------------------------------------------------------------ the end of a cycle

    def _close_settled(self) -> None:
        """Audit the cycles in which nothing is left to happen at the venue.

        Before that messages may be missing, and our books are right only as far as they were told.
        Each is audited once more when its books are let go: late messages must change nothing.
        """
        env = self._opened()
        settling = {task.get_name() for task in env.settlement._tasks}
        current = {
            service.market.slug for service in self._services() if service.market is not None
        }
        for slug, cycle in list(self._cycles.items()):
            market = self._venue.markets[slug]
            if slug in current or f"settle {slug}" in settling or not market.is_quiet:
                continue
            is_gone = env.settlement.state(slug) is None
            if is_gone or not cycle.is_audited:
                self._audit(cycle, is_last=is_gone)
                cycle.is_audited = True
            if is_gone:
                self._cash += cycle.state.cash_flow + cycle.state.payout
                self.closed += 1
                self.audited += len(cycle.state.fills)
                del self._cycles[slug]
                self._venue.forget(slug)

    def _audit(self, cycle: _Cycle, *, is_last: bool) -> None:
        state = cycle.state
        slug = state.market.slug
        market = self._venue.markets[slug]
        findings = audit.fills(state, market)
        findings += audit.orders(state, market, self._venue.placed)
        if cycle.over is not None:
            findings += audit.late_orders(market, cycle.over)
        if is_last:
            findings += audit.replay(state, cycle.inputs)
        findings += audit.record(state, self._opened().ledger.get(slug))
        for invariant, text in findings:
            self.violate(invariant, text, slug)

    def finish(self) -> None:
        """Check what must hold when all is over and told."""
        env = self._opened()
        self.check_cash(deep=True)
        self.check_counts()
        for cycle in self._cycles.values():
            self._audit(cycle, is_last=True)
            self.closed += 1
            self.audited += len(cycle.state.fills)
        overdue = env.counters.reasons(Count.TASKS_OVERDUE)
        is_deaf = Fault.HOOK_DEAF in self._venue.faults.counts
        text = f"tasks that did not end when they were told to: {overdue}"
        self.check(is_deaf or not overdue, Invariant.NOTHING_LEFT, text)
        ours, theirs = env.account.cash, self._venue.account.cash
        # What others do in markets that we never traded is none of our books' business.
        theirs -= sum(
            (
                audit.moved(market)
                for slug, market in self._venue.markets.items()
                if slug not in self._cycles
            ),
            ZERO,
        )
        text = f"we have {ours} USD and claims of {env.account.claimable}, the venue says {theirs}"
        self.check(ours == theirs, Invariant.VENUE_CASH, text)

    def _opened(self) -> Environment:
        if self._env is None:
            msg = "Monitor: use it inside watching()"
            raise RuntimeError(msg)
        return self._env


class _LogHandler(logging.Handler):
    def __init__(self, monitor: Monitor) -> None:
        super().__init__(logging.WARNING)
        self._monitor = monitor

    def emit(self, record: logging.LogRecord) -> None:
        self._monitor.on_log(record)


def _words(what: Any) -> str:
    if isinstance(what, ApplyOrderReport):
        report = what.report
        return (
            f"told of order {report.order_id}: {report.kind.value} {report.status}, "
            f"{report.size_matched} of {report.original_size} matched"
        )
    if isinstance(what, ApplyTradeReport):
        legs = ", ".join(
            f"{leg.order_id} {leg.side.value} {leg.size} at {leg.price}" for leg in what.report.legs
        )
        return f"told of trade {what.report.trade_id}: {what.report.status.value} ({legs})"
    if isinstance(what, PlaceOrder):
        request = what.request
        return (
            f"{what.strategy} places {what.client_id} ({what.venue_id}): {request.side.value} "
            f"{request.size} {request.outcome.value} at {request.price} {request.order_type.value}"
        )
    if isinstance(what, CancelOrder):
        return f"cancel of {what.client_id}"
    if isinstance(what, ApplyPlaceAnswer):
        return f"answer to {what.client_id}: {what.answer.value} {what.code}".rstrip()
    if isinstance(what, ApplyCancelAnswer):
        done = "done" if what.cancelled else f"not done, {what.text}"
        return f"answer to the cancel of {what.client_id}: {done}"
    return what if isinstance(what, str) else repr(what)
