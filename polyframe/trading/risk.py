"""Risk: what may be asked of the venue at all, and when nothing more may.

`RiskGuard` is asked before every order and told of every answer. It is pure: whatever it needs to
know (also the time) comes in as values. It refuses *entries*. Orders that reduce a risk, and cancels
(of which it does not even hear), pass whatever the limits say; only `halt` stops the former.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from polyframe.checks import expect
from polyframe.model.conversion import ConversionKind
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, PlaceResult, Side
from polyframe.trading.breaker import Breaker, BreakerState, TokenBucket
from polyframe.trading.commands import Denied
from polyframe.trading.limits import RiskLimits
from polyframe.trading.riskfacts import RiskFacts, committed, is_reducing, realised_loss
from polyframe.trading.view import CycleView

VENUE_ERRORS = frozenset(
    {
        "auth",
        "cancel_only",
        "forbidden",
        "geo_blocked",
        "not_sent",
        "not_signed",
        "rate_limited",
        "restarting",
        "trading_disabled",
    }
)
"""Codes of refusals that are no verdict on the order: the venue would refuse any (PROTOCOL §2.7)."""

RESULTS_KEPT = 1_000
"""Cycles whose results can still be corrected; of older ones the sum stays."""


class RiskState(StrEnum):
    """What the guard lets pass."""

    ACTIVE = "active"
    """Everything within the limits."""
    REDUCING = "reducing"
    """Only orders that reduce a risk, and cancels."""
    HALTED = "halted"
    """Nothing but cancels."""


def is_venue_error(result: PlaceResult, code: str) -> bool:
    """Return whether an answer tells of trouble at the venue, whatever the order was.

    Refusals by a rule, for lack of balance, of duplicates, and killed FOK or FAK orders do not: the
    venue works.
    """
    if result is PlaceResult.UNKNOWN:
        return code != "duplicate"
    return result is PlaceResult.REJECTED and code in VENUE_ERRORS


class _Result(msgspec.Struct, frozen=True):
    """What one cycle earned in USD; provisional until its market is resolved."""

    profit: Decimal
    is_losing: bool | None = None
    """``None`` if it counts neither way: no trades, not resolved, or forgiven."""


class _Intent(msgspec.Struct, frozen=True):
    """The last order of one intent, and when it left, in market time."""

    client_id: str
    time: float


class _Sent(msgspec.Struct, frozen=True):
    """What to do when an order is answered."""

    ticket: int
    series: str
    intent: tuple[str, str]
    time: float
    is_trial: bool
    """Whether it is the one that a half-open breaker lets through."""
    taken: float
    """What it took out of the bucket."""


class RiskGuard:
    """Watches the orders of all series of an environment.

    `halt`, `pause` and `resume` may be called at any time from the event loop's thread, for example
    by a signal handler. They last until the next of them, over all cycles.

    Args:
        limits: What is allowed; `RiskLimits()` by default.
    """

    def __init__(self, limits: RiskLimits | None = None) -> None:
        is_limits = isinstance(limits, RiskLimits | None)
        expect("limits", limits, "RiskLimits(…)", is_right=is_limits)
        self.limits = limits = RiskLimits() if limits is None else limits
        self._state = RiskState.ACTIVE
        self._reason = ""
        self._breaker = Breaker(limits.breaker_errors, limits.breaker_cooldown)
        self._bucket = (
            None
            if limits.max_orders_per_second is None
            else TokenBucket(limits.max_orders_per_second, limits.order_burst)
        )
        self._sent: dict[str, _Sent] = {}
        self._intents: dict[str, dict[tuple[str, str], _Intent]] = {}
        self._cycles: dict[str, CycleView] = {}
        self._committed_before = ZERO
        self._results: dict[str, _Result] = {}
        self._profit = ZERO
        self._losing_cycles: int | None = 0

    # ------------------------------------------------------------------ from outside

    @property
    def state(self) -> RiskState:
        """What passes now, limits and breaker aside."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it is paused or halted, ``""`` while active."""
        return self._reason

    def halt(self, reason: str) -> None:
        """Let nothing pass but cancels, until `resume`."""
        self._state, self._reason = RiskState.HALTED, reason

    def pause(self, reason: str) -> None:
        """Let only cancels and orders pass that reduce a risk, until `resume`. A halt stays one."""
        if self._state is not RiskState.HALTED:
            self._state, self._reason = RiskState.REDUCING, reason

    def resume(self) -> None:
        """Go on: end a pause or halt, close the breaker, and count losing cycles anew.

        What the run has lost and spent stays counted.
        """
        self._state, self._reason = RiskState.ACTIVE, ""
        self._breaker.close()
        self._results = {slug: _Result(r.profit) for slug, r in self._results.items()}
        self._losing_cycles = 0

    def breaker(self, network_time: float) -> BreakerState:
        """Return what the breaker lets pass at a time of the event loop's clock."""
        return self._breaker.state(network_time)

    @property
    def profit(self) -> Decimal:
        """USD earned by the cycles that are over; of those not resolved yet only what they lost."""
        return self._profit

    @property
    def losing_cycles(self) -> int:
        """Resolved cycles with trades that lost money, since the last that did not."""
        if self._losing_cycles is None:
            self._losing_cycles = 0
            for result in reversed(self._results.values()):
                if result.is_losing is False:
                    break
                self._losing_cycles += result.is_losing is True
        return self._losing_cycles

    # ------------------------------------------------------------------ orders

    def check(self, strategy: str, request: OrderRequest, facts: RiskFacts) -> Denied | None:
        """Return why an order must not be sent, ``None`` if it may. Changes nothing."""
        if (denied := self._check_halted()) is not None:
            return denied
        if (denied := self._check_intent(strategy, request, facts)) is not None:
            return denied
        if is_reducing(request, facts):
            return None
        if self._state is RiskState.REDUCING:
            return self._only_reducing()
        return self._above(request, facts) or self._reached(facts) or self._ill_timed(facts)

    def check_conversion(
        self, kind: ConversionKind, usd: Decimal, state: CycleView
    ) -> Denied | None:
        """Return why a split or merge must not be sent, ``None`` if it may. Changes nothing.

        A merge takes no risk: it passes unless everything is halted. A split buys shares of both
        outcomes; who sells one of them holds the other.

        Args:
            kind: What it is.
            usd: How much.
            state: The cycle.
        """
        if (denied := self._check_halted()) is not None or kind is ConversionKind.MERGE:
            return denied
        if self._state is RiskState.REDUCING:
            return self._only_reducing()
        return self._split_above(usd, state)

    def _split_above(self, usd: Decimal, state: CycleView) -> Denied | None:
        limits, in_cycle = self.limits, committed(state) + usd
        in_run = self._in_run(str(state.market.series), in_cycle)
        held = max(
            state.position(outcome).size + state.shares_to_come(Side.BUY, outcome)
            for outcome in Outcome
        )
        return _above_limit(
            ("cycle_notional", limits.max_cycle_notional, in_cycle, "USD spent in this cycle"),
            ("run_notional", limits.max_run_notional, in_run, "USD spent in this run"),
            ("position", limits.max_position, held + usd, "shares of an outcome"),
        )

    def _check_halted(self) -> Denied | None:
        if self._state is not RiskState.HALTED:
            return None
        return Denied("risk_halted", f"halted: {self._reason}; risk.resume() ends it")

    def _only_reducing(self) -> Denied:
        return Denied("risk_reducing", f"paused: {self._reason}; only risks are reduced")

    def admit(self, client_id: str, strategy: str, request: OrderRequest, facts: RiskFacts) -> None:
        """Note that an order which passed `check` leaves now."""
        now, key = facts.network_time, (strategy, request.intent)
        self._sent[client_id] = _Sent(
            is_trial=self._breaker.state(now) is BreakerState.HALF_OPEN,
            ticket=self._breaker.sent(now),
            series=facts.series,
            intent=key,
            time=now,
            taken=0.0 if self._bucket is None else self._bucket.take(now),
        )
        if request.intent:
            intents = self._intents.setdefault(facts.series, {})
            intents[key] = _Intent(client_id, facts.time)

    def answered(self, answers: Mapping[str, tuple[PlaceResult, str]], network_time: float) -> None:
        """Take the venue's answers to the orders of one request.

        They count as one venue error at most, and as none if any of them is no such error.

        Args:
            answers: Result and code of each, by client id.
            network_time: Seconds of the event loop's clock.
        """
        sent = {client_id: self._sent.pop(client_id) for client_id in answers}
        # All of a request left at the same instant.
        ticket = next(iter(sent.values())).ticket
        failed = all(is_venue_error(result, code) for result, code in answers.values())
        self._breaker.answered(ticket, failed=failed, now=network_time)
        for client_id, (result, _) in answers.items():
            if result is PlaceResult.REJECTED:
                self._forget_intent(client_id, sent[client_id])

    def withdrawn(self, client_id: str) -> None:
        """Take back `admit`: the order did not leave after all. Right after it, please."""
        sent = self._sent.pop(client_id)
        if sent.is_trial:
            self._breaker.withdraw(sent.time)
        if self._bucket is not None:
            self._bucket.give_back(sent.taken)
        self._forget_intent(client_id, sent)

    def _forget_intent(self, client_id: str, sent: _Sent) -> None:
        """Nothing came of an order, so it stands in nobody's way."""
        intents = self._intents.get(sent.series, {})
        last = intents.get(sent.intent)
        if last is not None and last.client_id == client_id:
            del intents[sent.intent]

    # ------------------------------------------------------------------ cycles

    def begin_cycle(self, state: CycleView) -> None:
        """Take notice of a cycle: what it spends and loses counts for the run."""
        self._cycles[str(state.market.series)] = state

    def end_cycle(self, state: CycleView) -> None:
        """Take leave of a cycle: its limits and intents end with it, its spending stays the run's.

        What its open orders may still buy counts as bought.
        """
        series = str(state.market.series)
        self._intents.pop(series, None)
        self._cycles.pop(series, None)
        self._committed_before += committed(state)
        self._put_result(state.market.slug, _Result(-realised_loss(state)))

    def note_result(self, slug: str, profit: Decimal, *, traded: bool) -> None:
        """Take what a resolved cycle earned in USD; a later word corrects an earlier one.

        Args:
            slug: The cycle.
            profit: In USD, after fees.
            traded: Whether it had fills; one without is neither a loss nor the end of a row of them.
        """
        self._put_result(slug, _Result(profit, profit < 0 if traded else None))

    def _put_result(self, slug: str, result: _Result) -> None:
        known = self._results.get(slug)
        self._profit += result.profit - (ZERO if known is None else known.profit)
        self._results[slug] = result
        if len(self._results) > RESULTS_KEPT:
            del self._results[next(iter(self._results))]
        self._losing_cycles = None  # counted anew when somebody asks

    # ------------------------------------------------------------------ the rules

    def _check_intent(
        self, strategy: str, request: OrderRequest, facts: RiskFacts
    ) -> Denied | None:
        if not request.intent:
            return None
        what = f"{strategy} has an order with intent {request.intent!r}"
        if facts.has_intent:
            return Denied("duplicate_intent", f"{what} open")
        last = self._intents.get(facts.series, {}).get((strategy, request.intent))
        ttl = self.limits.intent_ttl
        if last is not None and facts.time - last.time < ttl:
            return Denied("duplicate_intent", f"{what}, {last.client_id}, younger than {ttl:g} s")
        return None

    def _above(self, request: OrderRequest, facts: RiskFacts) -> Denied | None:
        limits = self.limits
        notional, spends = request.price * request.size, _spends(request)
        shares = request.most_shares(facts.best_ask)
        gains = shares if request.side is Side.BUY else ZERO
        in_cycle = facts.committed + spends
        in_run = self._in_run(facts.series, in_cycle)
        return _above_limit(
            ("order_notional", limits.max_order_notional, notional, "USD in one order"),
            ("order_shares", limits.max_order_shares, shares, "shares in one order"),
            ("cycle_notional", limits.max_cycle_notional, in_cycle, "USD spent in this cycle"),
            ("run_notional", limits.max_run_notional, in_run, "USD spent in this run"),
            ("position", limits.max_position, facts.position + gains, request.outcome + " shares"),
            ("open_orders", limits.max_open_orders, facts.open_orders + 1, "open orders"),
        )

    def _reached(self, facts: RiskFacts) -> Denied | None:
        limits = self.limits
        in_run = facts.loss - self._profit
        for state in self._others(facts.series):
            in_run += realised_loss(state)
        rows: tuple[tuple[str, Decimal | int | None, Decimal | int, str], ...] = (
            ("cycle_loss", limits.max_cycle_loss, facts.loss, "USD lost in this cycle"),
            ("run_loss", limits.max_run_loss, in_run, "USD lost in this run"),
            ("losing_cycles", limits.max_losing_cycles, self.losing_cycles, "cycles lost in a row"),
        )
        for name, limit, value, what in rows:
            if limit is not None and value >= limit:
                return Denied(f"risk_{name}", f"{value} {what}, max_{name} is {limit}")
        return None

    def _others(self, series: str) -> list[CycleView]:
        """Return the running cycles of the other series."""
        return [state for other, state in self._cycles.items() if other != series]

    def _in_run(self, series: str, in_cycle: Decimal) -> Decimal:
        """Return the USD spent in the run if it were so much in the cycle of a series."""
        in_run = self._committed_before + in_cycle
        for state in self._others(series):
            in_run += committed(state)
        return in_run

    def _ill_timed(self, facts: RiskFacts) -> Denied | None:
        limits, now = self.limits, facts.network_time
        since, left = facts.time - facts.start, facts.end - facts.time
        if limits.entry_after is not None and since < limits.entry_after:
            text = f"{since:.1f} s after the start, entry_after is {limits.entry_after:g}"
            return Denied("risk_entry_window", text)
        if limits.entry_before_end is not None and left < limits.entry_before_end:
            text = f"{left:.1f} s before the end, entry_before_end is {limits.entry_before_end:g}"
            return Denied("risk_entry_window", text)
        if limits.max_book_age is not None:
            if not facts.is_known:
                return Denied("risk_book_unknown", "the book is not known now")
            if facts.book_age > limits.max_book_age:
                text = (
                    f"no change for {facts.book_age:.1f} s, max_book_age is {limits.max_book_age:g}"
                )
                return Denied("risk_book_age", text)
        if limits.max_spread is not None and facts.spread > limits.max_spread:
            text = f"{facts.spread} USD between bid and ask, max_spread is {limits.max_spread}"
            return Denied("risk_spread", text)
        if self._bucket is not None and (wait := self._bucket.wait(now)):
            text = (
                f"more than {limits.max_orders_per_second:g} orders a second after "
                f"{limits.order_burst} at once; next in {wait:.2f} s"
            )
            return Denied("risk_rate", text)
        if self._breaker.state(now) is BreakerState.OPEN:
            text = (
                f"{self._breaker.errors} venue errors in a row; "
                f"next try in {self._breaker.wait(now):.1f} s"
            )
            return Denied("risk_breaker", text)
        return None


def _above_limit(*rows: tuple[str, Decimal | int | None, Decimal | int, str]) -> Denied | None:
    """Return what is above its limit, the first of them: name, limit, value, and what that is."""
    for name, limit, value, what in rows:
        if limit is not None and value > limit:
            return Denied(f"risk_{name}", f"it would make {value} {what}, max_{name} is {limit}")
    return None


def _spends(request: OrderRequest) -> Decimal:
    """Return the USD that an order may pay for shares, without fees."""
    return request.price * request.size if request.side is Side.BUY else ZERO
