"""Comparing with the venue: what was missed is applied, what cannot be known is said, nothing guessed.

The venue's view of a market (its open orders and the account's trades) is fetched as a whole or not
at all, and goes through the same gate as the account's stream: there is one way into the engine.
That an order is not listed proves nothing. It is asked for by its id; only an order whose
request is long over, that no trade names and that the venue does not know by its id either, never
existed. Fills come from trades and from nothing else, and nothing is ever sent again.
"""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import Protocol

from attrs import define, field, frozen

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError, RateLimited
from polyframe.exchange.base import Exchange
from polyframe.model.events import OrderReport, TradeReport
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderStatus
from polyframe.trading.opencancel import cancel_in_bulk
from polyframe.trading.ownorders import OwnOrders
from polyframe.trading.reconcile import (
    DOUBTFUL,
    ReconcileReport,
    ReconcileSettings,
    describe,
)
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)

_QUERIES = 8
"""Orders that are asked for by id at the same time."""
_AT_ONCE = 20
"""Reports that are applied before others have their turn: about half a millisecond of prices."""


class UserGate(Protocol):
    """The gate of a session, through which everything goes, and its subscribers behind it."""

    def emit_order_update(self, report: OrderReport, *, asked: bool = False) -> None:
        """Gate one order report and apply it."""
        ...

    def emit_trade_update(self, report: TradeReport, *, asked: bool = False) -> None:
        """Gate one trade report and apply it."""
        ...

    def publish(self, change: ReconcileReport) -> None:
        """Tell the strategies of a comparison."""
        ...


_NOTHING_RESTS = frozenset({OrderStatus.CANCELLED, OrderStatus.REJECTED})
"""States in which no order may be open at the venue. Of a filled one some dust may be."""


class ReconcileDesk(Protocol):
    """The trading service, as far as comparisons need it."""

    def never_existed(self, order: Order) -> None:
        """End an order that never came to exist."""
        ...

    def adopt(self, order: Order, strategy: str) -> bool:
        """Give a foreign order to a strategy; say whether that is there to take it."""
        ...

    def reconciled(self, report: ReconcileReport) -> None:
        """Write down a comparison that failed or found something."""
        ...


@frozen
class _VenueView:
    """What the venue says, all of it."""

    orders: list[OrderReport]
    trades: list[TradeReport]
    cash: Decimal | None


@define
class _Findings:
    """A report in the making."""

    listed: int = 0
    orders: dict[str, None] = field(factory=dict)
    trades: dict[str, None] = field(factory=dict)
    not_found: list[str] = field(factory=list)
    unresolved: dict[str, str] = field(factory=dict)
    foreign: list[str] = field(factory=list)
    adopted: list[str] = field(factory=list)
    risen: dict[str, Order] = field(factory=dict)
    cancelled: list[str] = field(factory=list)
    cash: Decimal | None = None


class Comparison:
    """Compares one cycle with the venue, as often as it is asked to; one at a time, please.

    Args:
        state: The trading state of the cycle; read, and changed through `gate` and `desk` only.
        gate: The cycle's session.
        desk: Ends orders that never came to exist, and writes reports down.
        exchange: The venue.
        clock: Market time.
        counters: Where comparisons and repairs are counted.
        own: All our orders.
        settings: What to do with what nobody here has placed.
        compares_cash: Whether the books are compared with the venue's cash, too.

    Attributes:
        failures: How many comparisons failed since the last good one.
        retry_after: Network seconds that the venue asked for with the last failure.
    """

    def __init__(
        self,
        state: CycleState,
        gate: UserGate,
        desk: ReconcileDesk,
        *,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        own: OwnOrders,
        settings: ReconcileSettings,
        compares_cash: bool = True,
    ) -> None:
        self._compares_cash = compares_cash
        self.market = state.market
        self.failures = 0
        self.retry_after = 0.0
        self._state = state
        self._gate = gate
        self._desk = desk
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._own = own
        self._settings = settings
        self._born = asyncio.get_running_loop().time()
        self._told: set[str] = set()
        self._risen: set[str] = set()
        self._seen_cash = self._told_cash = ZERO

    @property
    def is_busy(self) -> bool:
        """Whether orders are open, matched shares wait for their trade or trades for settlement."""
        return bool(self._state.open_orders()) or self._state.in_motion

    async def run(self, trigger: str) -> ReconcileReport:
        """Fetch the venue's view, apply what it says, and report."""
        # An order that is being sent, or that is placed from now on, need not be in what is fetched:
        # nothing follows from its absence.
        judged = [
            order.client_id
            for order in self._state.open_orders()
            if not self._own.is_under_way(order.venue_id)
        ]
        looked_at = asyncio.get_running_loop().time()
        try:
            venue = await self._look()
        except ExchangeError as error:
            return self._failed(trigger, error)
        self.failures, self.retry_after = 0, 0.0
        found = _Findings(listed=len(venue.orders))
        reports: list[OrderReport | TradeReport] = [*venue.orders, *venue.trades]
        for number, report in enumerate(reports, 1):
            if isinstance(report, OrderReport):
                self._compare_order(report, found)
            elif self._feed_trade(report):
                found.trades[report.trade_id] = None
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        self._compare_cash(venue, found)
        await self._ask_for_absent(judged, venue, looked_at, found)
        self._adopt_foreign(found)
        await self._cancel_foreign(found)
        await self._cancel_risen(found)
        return self._report(trigger, found)

    async def _look(self) -> _VenueView:
        """Fetch the venue's view.

        Trades come after orders: an order that is filled in between is missing from the one and
        in the other, not in neither.

        Raises:
            ExchangeError: Some of it could not be had.
        """
        exchange, market = self._exchange, self.market
        # Cash that is in doubt is counted again by itself.
        is_certain = self._state.account.is_certain
        is_due = self._compares_cash and is_certain and self._is_quiet()
        books = self._state.account.cash if is_due else None
        orders = await exchange.fetch_open_orders(market)
        # All of the market's: it trades long before its window (PROTOCOL §1.4), and by a clock that
        # is wrong we may do so, too.
        trades = await exchange.fetch_trades(market)
        cash = None
        if books is not None:
            balance = await exchange.fetch_balance()
            if self._is_quiet() and self._state.account.cash == books:
                cash = balance - books
        return _VenueView(orders, trades, cash)

    def _is_quiet(self) -> bool:
        """Return whether nothing is under way that will move cash, in any cycle of the account."""
        now = self._clock.time()
        return not self._own.any_under_way and not any(
            state.in_motion or (now >= state.market.window.end and _awaits_payout(state))
            for state in self._own.states()
        )

    def _compare_order(self, report: OrderReport, found: _Findings) -> None:
        known = self._state.order_by_venue_id(report.order_id)
        leaves = self._settings.foreign_orders == "leave"
        if leaves and (known is None or known.is_external):
            return
        self._feed_order(report, found)
        # What did not pass the gate is none of this market's, and none of our business.
        order = self._state.order_by_venue_id(report.order_id)
        if order is None:
            return
        if order.is_external and order.is_open:
            found.foreign.append(order.venue_id)
        elif not order.is_external and order.status in _NOTHING_RESTS:
            found.risen[order.client_id] = order

    def _feed_order(self, report: OrderReport, found: _Findings) -> None:
        before = self._state.sequence
        self._gate.emit_order_update(report, asked=True)
        order = self._state.order_by_venue_id(report.order_id)
        if self._state.sequence != before and order is not None:
            found.orders[order.client_id] = None

    def _feed_trade(self, report: TradeReport) -> bool:
        before = self._state.sequence
        self._gate.emit_trade_update(report, asked=True)
        return self._state.sequence != before

    def _compare_cash(self, venue: _VenueView, found: _Findings) -> None:
        # A trade that was just learned of has moved the books after they were compared.
        if not found.trades:
            found.cash = venue.cash

    async def _ask_for_absent(
        self, judged: list[str], venue: _VenueView, looked_at: float, found: _Findings
    ) -> None:
        listed = {report.order_id for report in venue.orders}
        absent = [
            client_id
            for client_id in judged
            if (order := self._open_order(client_id)) and order.venue_id not in listed
        ]
        turn = asyncio.Semaphore(_QUERIES)

        async def ask(client_id: str) -> None:
            async with turn:
                if order := self._open_order(client_id):
                    await self._ask(order, looked_at, found)

        await asyncio.gather(*(ask(client_id) for client_id in absent))

    def _open_order(self, client_id: str) -> Order | None:
        order = self._state.orders.get(client_id)
        return order if order is not None and order.is_open else None

    async def _ask(self, order: Order, looked_at: float, found: _Findings) -> None:
        """Ask for one order that is open here and not listed there."""
        client_id = order.client_id
        try:
            report = await self._exchange.fetch_order(order.venue_id)
        except ExchangeError as error:
            found.unresolved[client_id] = f"not listed, and asking for it failed: {error}"
            return
        if report is not None:
            self._feed_order(report, found)
            return
        now = self._open_order(client_id)
        if now is None:
            return
        lost_at = self._own.lost_at(order.venue_id) or self._born
        if now.status not in DOUBTFUL:
            found.unresolved[client_id] = f"{now.status} here, not known there"
        elif looked_at - lost_at < self._settings.grace:
            found.unresolved[client_id] = "not known there, and too young to be given up"
        else:
            self._desk.never_existed(now)
            found.not_found.append(client_id)

    def _adopt_foreign(self, found: _Findings) -> None:
        if self._settings.foreign_orders == "adopt":
            for venue_id in found.foreign:
                order = self._state.order_by_venue_id(venue_id)
                if order is not None and self._desk.adopt(order, self._settings.adopter):
                    found.adopted.append(venue_id)

    async def _cancel_foreign(self, found: _Findings) -> None:
        if self._settings.foreign_orders == "cancel" and found.foreign:
            outcome = await cancel_in_bulk(self._exchange, self._counters, found.foreign)
            found.cancelled = sorted(outcome.cancelled)

    async def _cancel_risen(self, found: _Findings) -> None:
        """Cancel orders of ours that are over here and open there, by two comparisons in a row.

        The venue has taken back its word, or we have misread it: what nobody knows to be open,
        nobody would ever cancel. A list may be older than the end of an order, so once proves nothing.
        """
        again = [order for client_id, order in found.risen.items() if client_id in self._risen]
        self._risen = set(found.risen)
        if not again:
            return
        outcome = await cancel_in_bulk(
            self._exchange, self._counters, [order.venue_id for order in again]
        )
        for order in again:
            found.unresolved[order.client_id] = f"{order.status} here, open there: cancelling it"
        found.cancelled = sorted({*found.cancelled, *outcome.cancelled})

    # ------------------------------------------------------------------ the report

    def _failed(self, trigger: str, error: ExchangeError) -> ReconcileReport:
        self._counters.add(Count.RECONCILES, "failed")
        self.failures += 1
        self.retry_after = (error.retry_after or 0.0) if isinstance(error, RateLimited) else 0.0
        log.log(
            logging.WARNING if self.failures == 1 else logging.DEBUG,
            "%s: no view of the venue (%s), nothing was changed: %s",
            self.market.slug,
            trigger,
            error,
        )
        report = ReconcileReport(
            slug=self.market.slug,
            generation=self.market.generation,
            trigger=trigger,
            time=self._clock.time(),
            error=str(error) or type(error).__name__,
        )
        self._desk.reconciled(report)
        return report

    def _report(self, trigger: str, found: _Findings) -> ReconcileReport:
        report = ReconcileReport(
            slug=self.market.slug,
            generation=self.market.generation,
            trigger=trigger,
            time=self._clock.time(),
            listed=found.listed,
            orders=tuple(found.orders),
            trades=tuple(found.trades),
            not_found=tuple(found.not_found),
            unresolved=found.unresolved,
            foreign=tuple(found.foreign),
            adopted=tuple(found.adopted),
            cancelled=tuple(found.cancelled),
            cash=found.cash,
            differs=self._is_news(found),
        )
        for reason, amount in (
            ("order", len(report.orders)),
            ("trade", len(report.trades)),
            ("not_found", len(report.not_found)),
        ):
            self._counters.add(Count.RECONCILE_REPAIRS, reason, amount)
        self._counters.add(Count.RECONCILES, "differs" if report.differs else "same")
        if report.differs:
            # What changed only may have been on its way; the rest needs somebody's eyes.
            is_odd = report.not_found or report.unresolved or report.foreign or report.cash
            level = logging.WARNING if is_odd else logging.INFO
            log.log(level, "%s: differs from the venue: %s", self.market.slug, describe(report))
            self._desk.reconciled(report)
            self._gate.publish(report)
        return report

    def _is_news(self, found: _Findings) -> bool:
        """Return whether something was repaired, or is odd and was not told before."""
        odd = {*found.unresolved, *found.foreign}
        news = bool(found.orders or found.trades or found.not_found or odd - self._told)
        self._told |= odd
        return self._is_cash_news(found.cash) or news

    def _is_cash_news(self, cash: Decimal | None) -> bool:
        """Return whether the difference in cash is another than was told, and no passing one.

        A fill may move the venue's cash an instant before anybody can know: only a difference that
        two comparisons in a row have found is one.
        """
        if cash is None:
            return False
        is_same, self._seen_cash = cash == self._seen_cash, cash
        if not is_same or cash == self._told_cash:
            return False
        self._told_cash = cash
        return True


def _awaits_payout(state: CycleState) -> bool:
    return state.winner is None and any(state.position(outcome).size for outcome in Outcome)
