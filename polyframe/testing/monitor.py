"""Watches a running simulation and checks the invariants, after every step and at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from polyframe.clock import Clock
from polyframe.counters import Count
from polyframe.environment import Environment
from polyframe.errors import PolyframeError
from polyframe.model.market import Market
from polyframe.model.series import Series
from polyframe.model.trade import Fill
from polyframe.session import ExchangeSession
from polyframe.testing import audit
from polyframe.testing.faults import Fault, InjectedError
from polyframe.testing.gaps import Gaps
from polyframe.testing.heirs import Heirs
from polyframe.testing.invariants import Invariant, Violation
from polyframe.testing.leaks import leaks_of
from polyframe.testing.simledger import Journals
from polyframe.testing.simline import SimLine
from polyframe.testing.simvenue import SimVenue
from polyframe.testing.standing import Bounds
from polyframe.testing.sums import Sums
from polyframe.testing.taps import tapped
from polyframe.testing.trace import Trace, words
from polyframe.trading.account import Account
from polyframe.trading.commands import (
    ApplyOrderReport,
    ApplyTradeReport,
    CycleCommand,
    Denied,
    Ignored,
    PlaceOrder,
    Query,
    Reply,
    Stale,
)
from polyframe.trading.comparison import Comparison
from polyframe.trading.image import CycleImage
from polyframe.trading.reconcile import ReconcileReport
from polyframe.trading.service import TradingService
from polyframe.trading.state import CycleState


@define(eq=False)
class _Cycle:
    """The books of one cycle and what they were given; `base` if an earlier process began it."""

    state: CycleState
    base: CycleImage | None = None
    inputs: list[CycleCommand] = field(factory=list)
    is_audited: bool = False
    over: float | None = None


class Monitor:
    """Checks the invariants of one simulation, whatever process is alive.

    Args:
        venue: The venue, whose own books are the truth.
        clock: Market time.
        journals: What the ledgers of all processes say.
        doubtful: Slugs of cycles of which snapshots may not tell everything.

    Attributes:
        violations: What did not hold; the first one ends a run.
        failed: Set with the first violation.
        deaf: Names of tasks that a fault made ignore their cancellation, and until when (loop time).
        strict: Names of strategies that must not raise; what others raise is their own affair.
        bounds: What strategies promise.
        commands: Inputs of all cycles' books so far.
        on_message: Called with each message of the account that arrived.
    """

    def __init__(
        self, venue: SimVenue, clock: Clock, journals: Journals, doubtful: Collection[str]
    ) -> None:
        self.violations: list[Violation] = []
        self.failed = asyncio.Event()
        self.deaf: dict[str, float] = {}
        self.strict: frozenset[str] = frozenset()
        self.bounds = Bounds({})
        self.commands = 0
        self.on_message: Callable[[], None] = _nothing
        self._venue = venue
        self._clock = clock
        self._trace = Trace()
        self._steps = 0
        self._gaps = Gaps(clock, self._is_traded, self.violate)
        self._heirs = Heirs(venue, journals, doubtful)
        self._fills: dict[str, int] = {}
        # Of the present process:
        self._env: Environment | None = None
        self._services: Callable[[], list[TradingService]] = list
        self._cycles: dict[str, _Cycle] = {}
        self._sums: Sums | None = None
        self._newest: dict[Series, int] = {}

    @property
    def closed(self) -> int:
        """Cycles whose books were compared with the venue's when nothing was left to happen."""
        return len(self._fills)

    @property
    def audited(self) -> int:
        """Fills in them."""
        return sum(self._fills.values())

    # ------------------------------------------------------------------ what is seen

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what processes do: the inputs of books, the log, and what nobody catches."""
        self._venue.on_step = self.on_step
        with tapped(self):
            yield

    def is_watched(self, account: Account) -> bool:
        """Return whether books of this account are of the living process; others are replays."""
        return self._env is not None and account is self._env.account

    def on_restored(self, state: CycleState, image: CycleImage) -> None:
        """Take note of books that were read back."""
        self._cycles[state.market.slug] = _Cycle(state, image)

    def on_counted(self) -> None:
        """Take note that the cash was counted."""
        if self._sums is not None:
            self._sums.counted(self._states())

    async def on_comparison(
        self, comparison: Comparison, compare: Callable[[], Awaitable[ReconcileReport]]
    ) -> ReconcileReport:
        """Follow a comparison, and check that it has found all there was to find."""
        env, state = self._env, comparison._state
        if env is None:
            return await compare()
        began, own = self._clock.time(), env.settlement.own
        asked = {
            order.client_id for order in state.open_orders() if not own.is_under_way(order.venue_id)
        }
        self._cycle(state)
        with self._gaps.comparing(state.market.slug):
            report = await compare()
        if env is self._env:
            self._check_comparison(state, began, asked - report.unresolved.keys(), report)
        return report

    # ------------------------------------------------------------------ processes

    def attach(
        self, env: Environment, services: Callable[[], list[TradingService]], line: SimLine
    ) -> None:
        """Watch a new process, before its environment opens."""
        self._env, self._services = env, services
        self._cycles, self._newest = {}, {}
        self._sums = Sums(self._venue, env, line)
        self._gaps.forget()
        self.bounds.starting()
        self.note("a process starts")

    def opened(self) -> None:
        """Check what a process has inherited, its environment being open."""
        for invariant, text, slug in self._heirs.check(
            {s: c.state for s, c in self._cycles.items()}
        ):
            self.violate(invariant, text, slug)
        for text, slug in self.bounds.opened(self._states()):
            self.violate(Invariant.BOUND, text, slug)
        self.note("the process is open")

    def detach(self) -> None:
        """Stop watching a process, because it is dead."""
        env, self._env = self._env, None
        if env is None:
            return
        self.note("the process is dead")
        settling = {task.get_name() for task in env.settlement._tasks}
        traded = {one.market.slug for one in self._services() if one.market is not None}
        for slug, cycle in self._cycles.items():
            is_over = slug not in traded and f"settle {slug}" not in settling
            if is_over and env.is_open:
                # Nothing need be known of it any more.
                self._heirs.pop(slug)
                self._close(cycle)
            else:
                self._heirs.put(cycle.state)

    def note(self, what: Any) -> None:
        """Keep a step for the story of a violation."""
        self._trace.note(self._clock.time(), what)

    def check(self, holds: bool, invariant: Invariant, text: str, slug: str = "") -> None:
        """Note a violation if something does not hold."""
        if not holds:
            self.violate(invariant, text, slug)

    def violate(self, invariant: Invariant, text: str, slug: str = "") -> None:
        """Note a violation, unless the process that shows it is dead."""
        if self._env is None:
            return
        now = self._clock.time()
        steps = self._trace.lines(now)
        self.violations.append(Violation(invariant, text, slug, now, steps))
        self.failed.set()

    def on_unhandled(self, context: dict[str, Any]) -> None:
        """Look at an exception that nobody has caught."""
        error = context.get("exception")
        if not isinstance(error, InjectedError):
            self.violate(Invariant.NO_DEFECT, f"{context.get('message')}: {error!r}")

    def on_log(self, record: logging.LogRecord) -> None:
        """Look for exceptions that ended in the log."""
        if record.name == "polyframe.strategyrun":
            # What strategies raise is theirs; those of the simulation watch themselves.
            args = record.args if isinstance(record.args, tuple) else ()
            if record.levelno >= logging.ERROR and args and args[0] in self.strict:
                self.violate(Invariant.NO_DEFECT, record.getMessage())
            return
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, InjectedError | PolyframeError):
            self.violate(Invariant.NO_DEFECT, f"{record.getMessage()}: {error!r}")

    # ------------------------------------------------------------------ steps

    def on_input(self, state: CycleState, command: CycleCommand, reply: Reply) -> None:
        """Check a command that books were given."""
        if isinstance(command, Query):
            return
        self.commands += 1
        if not isinstance(reply, Ignored):
            self.note(command)
        slug = state.market.slug
        if command.generation != state.generation and not isinstance(reply, Stale):
            text = f"a command of {command.generation} was applied: {words(command)}"
            self.violate(Invariant.OWN_INPUTS, text, slug)
        if isinstance(command, ApplyOrderReport):
            self._check_input(slug, [command.report.order_id])
        elif isinstance(command, ApplyTradeReport):
            self._check_input(slug, [leg.order_id for leg in command.report.legs])
        if isinstance(command, PlaceOrder):
            self._heirs.placed(command)
            is_new = not (isinstance(reply, Denied) and reply.rule == "duplicate")
            self.check(is_new, Invariant.ORDERS, f"{command.client_id} was placed before", slug)
        # Whether there is cash is the one thing that books ask of the world outside.
        if not (isinstance(reply, Denied) and reply.rule == "cash"):
            self._cycle(state).inputs.append(command)
        for text in self.bounds.findings(state, reply):
            self.violate(Invariant.BOUND, text, slug)

    def on_fills(self, state: CycleState, fills: Iterable[Fill]) -> None:
        """Take note of new fills."""
        if self._sums is not None:
            self._sums.learned(state, fills)

    def _cycle(self, state: CycleState) -> _Cycle:
        slug = state.market.slug
        known = self._cycles.get(slug)
        if known is None or known.state is not state:
            if known is not None and self._sums is not None:
                # Read back and not gone on with: its file told of another market.
                self._sums.closed(known.state)
            self._cycles[slug] = _Cycle(state)
        return self._cycles[slug]

    def _check_input(self, slug: str, order_ids: list[str]) -> None:
        market = self._venue.markets.get(slug)
        if market is not None and not any(order_id in market.orders for order_id in order_ids):
            text = f"its books were told of {', '.join(order_ids)}"
            self.violate(Invariant.OWN_INPUTS, text, slug)

    def _check_comparison(
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
        if self._env is None:
            return
        if what == "market":
            self._steps += 1
            if self._steps % 25:
                return
        else:
            self.note(what)
            self.on_message()
        if self._env is None:
            return  # it was killed in this very message
        if what == "user connected":
            self._gaps.expect([s.market for s in self._services() if s.market is not None])
        self.check_sums()

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
                newest = self._newest.get(service.series, 0)
                self._newest[service.series] = state.generation
                text = f"it begins after {newest}"
                self.check(
                    state.generation > newest, Invariant.FRESH_START, text, state.market.slug
                )
                text = f"it begins with {len(state.orders)} orders and {len(state.fills)} fills"
                cycle = self._cycle(state)
                inherited = cycle.base is not None and cycle.state is state
                empty = CycleState(state.market, state.account).snapshot()
                self.check(
                    inherited or state.snapshot() == empty,
                    Invariant.FRESH_START,
                    text,
                    state.market.slug,
                )
        self.check_sums(deep=step == "reset")
        if step == "open":
            self._close_settled()

    def expect_dead(self, env: Environment, session: ExchangeSession) -> None:
        """Check that nothing is left of a cycle, its deadline being over."""
        if env is not self._env:
            return
        now = asyncio.get_running_loop().time()
        deaf = {name for name, until in self.deaf.items() if now <= until}
        for leak in leaks_of(session, env, self._venue):
            if leak.name not in deaf:
                self.violate(Invariant.NOTHING_LEFT, str(leak), session.slug)

    def check_sums(self, *, deep: bool = False) -> None:
        """Check cash, reservations and counts of messages."""
        if self._sums is None:
            return
        for invariant, text in self._sums.cash(self._states(), deep=deep):
            self.violate(invariant, text)
        for invariant, text in self._sums.messages():
            self.violate(invariant, text)

    def _states(self) -> Iterator[CycleState]:
        return (cycle.state for cycle in self._cycles.values())

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
                if self._sums is not None:
                    self._sums.closed(cycle.state)
                self._close(cycle)
                del self._cycles[slug]
                self._heirs.forget(slug)
                self._venue.forget(slug)
                self.bounds.forget(slug)

    def _close(self, cycle: _Cycle) -> None:
        self._fills[cycle.state.market.slug] = len(cycle.state.fills)

    def _audit(self, cycle: _Cycle, *, is_last: bool) -> None:
        state = cycle.state
        slug = state.market.slug
        market = self._venue.markets[slug]
        findings = audit.fills(state, market)
        findings += audit.orders(state, market, self._venue.placed, self._heirs.owners(slug))
        if cycle.over is not None:
            findings += audit.late_orders(market, cycle.over)
        if is_last:
            findings += audit.replay(state, cycle.base, cycle.inputs)
        findings += audit.record(state, self._opened().ledger.get(slug))
        findings += self._heirs.journal(state)
        for invariant, text in findings:
            self.violate(invariant, text, slug)

    def finish(self) -> None:
        """Check what must hold when all is over and told."""
        env = self._opened()
        self.check_sums(deep=True)
        for cycle in self._cycles.values():
            self._audit(cycle, is_last=True)
            self._close(cycle)
        overdue = env.counters.reasons(Count.TASKS_OVERDUE)
        is_deaf = Fault.HOOK_DEAF in self._venue.faults.counts
        text = f"tasks that did not end when they were told to: {overdue}"
        self.check(is_deaf or not overdue, Invariant.NOTHING_LEFT, text)
        if self._sums is not None:
            for invariant, found in self._sums.venue(state.market for state in self._states()):
                self.violate(invariant, found)

    def _is_traded(self, market: Market) -> bool:
        traded = (service.market for service in self._services())
        return self._env is not None and market in traded

    def _opened(self) -> Environment:
        if self._env is None:
            msg = "Monitor: use it inside watching()"
            raise RuntimeError(msg)
        return self._env


def _nothing() -> None:
    return
