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
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, Protocol

from attrs import Attribute, asdict, define, field, frozen

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeError, RateLimited
from polyframe.exchange.base import Exchange
from polyframe.model.events import OrderReport, TradeReport
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderStatus
from polyframe.trading.opencancel import cancel_in_bulk
from polyframe.trading.ownorders import OwnOrders
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)

ForeignOrders = Literal["report", "cancel", "leave"]
LateOrders = Literal["cancel", "leave"]

DOUBTFUL = frozenset({OrderStatus.SUBMITTING, OrderStatus.UNKNOWN})
"""States in which it is not known whether the venue ever got the order."""
NOT_FOUND = "not_found"
"""Code of the refusal of an order that never came to exist."""
_QUERIES = 8
"""Orders that are asked for by id at the same time."""


def _positive(_: object, attribute: Attribute[float], value: float) -> None:
    if not value > 0:
        msg = f"{attribute.name}: expected seconds above 0, got {value!r}"
        raise ConfigError(msg)


def _not_negative(_: object, attribute: Attribute[float], value: float) -> None:
    if not value >= 0:
        msg = f"{attribute.name}: expected at least 0 seconds, got {value!r}"
        raise ConfigError(msg)


def _all_positive(_: object, attribute: Attribute[Any], values: tuple[float, ...]) -> None:
    if not values or not all(value > 0 for value in values):
        msg = f"{attribute.name}: expected some numbers of seconds above 0, got {values!r}"
        raise ConfigError(msg)


def _one_of(*words: str) -> Callable[[object, Attribute[str], str], None]:
    def check(_: object, attribute: Attribute[str], value: str) -> None:
        if value not in words:
            msg = f"{attribute.name}: expected one of {', '.join(words)}, got {value!r}"
            raise ConfigError(msg)

    return check


@frozen(kw_only=True)
class ReconcileSettings:
    """When the venue is asked, and what is done with what nobody here has placed.

    Seconds are network time, except where noted.

    Attributes:
        open_interval: Between two comparisons while orders are open or matches unsettled.
        idle_interval: Otherwise.
        soon: After an order whose answer was lost, or a cancel that was not done.
        grace: Since the answer was lost; before that an order that the venue does not know may
            still be on its way there.
        trade_margin: Market seconds before the start of the cycle from which trades are read.
        foreign_orders: What becomes of open orders in the current market that nobody here placed:
            ``"report"`` names them, ``"cancel"`` also cancels them, ``"leave"`` says nothing.
        late_orders: What becomes of orders that turn out to be accepted after their cycle is over:
            ``"cancel"`` or ``"leave"``.

    Raises:
        ConfigError: A value that cannot be.
    """

    open_interval: float = field(default=3.0, validator=_positive)
    idle_interval: float = field(default=30.0, validator=_positive)
    soon: tuple[float, ...] = field(
        default=(1.0, 2.0, 5.0), converter=tuple, validator=_all_positive
    )
    grace: float = field(default=4.0, validator=_not_negative)
    trade_margin: float = field(default=60.0, validator=_not_negative)
    foreign_orders: ForeignOrders = field(
        default="report", validator=_one_of("report", "cancel", "leave")
    )
    late_orders: LateOrders = field(default="cancel", validator=_one_of("cancel", "leave"))


@frozen(kw_only=True)
class ReconcileReport:
    """What one comparison with the venue found, and what was done.

    A difference need not be a loss: what the account's stream was just about to tell counts, too.

    Attributes:
        slug, generation: The cycle.
        trigger: Why it was made: ``"start"``, ``"timer"``, ``"connected"``, ``"overflow"``,
            ``"soon"``, ``"demand"``, or the caller's own word.
        time: Market time of its end in epoch seconds.
        error: Why there was no complete view of the venue; then nothing was changed. ``""`` if there
            was one.
        listed: Open orders that the venue lists.
        orders: Client ids of the orders that changed.
        trades: Ids of the trades that were new, or whose settlement had moved on.
        not_found: Client ids of the orders that never came to exist; they are rejected now.
        unresolved: What is known of the orders that are open here and not listed there, by client
            id; they are left as they are.
        foreign: The venue's ids of the listed orders that nobody here placed (none with the policy
            ``"leave"``).
        cancelled: Those of them that were cancelled.
        cash: USD that the venue has beyond our books, ``None`` where it could not be compared
            because something is under way. It is told and not corrected.
        differs: Whether any of this is new since the last report.
    """

    slug: str
    generation: int
    trigger: str
    time: float
    error: str = ""
    listed: int = 0
    orders: tuple[str, ...] = ()
    trades: tuple[str, ...] = ()
    not_found: tuple[str, ...] = ()
    unresolved: dict[str, str] = field(factory=dict)
    foreign: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    cash: Decimal | None = None
    differs: bool = False

    def as_note(self) -> dict[str, Any]:
        """Return what it says as plain values, without what is empty; amounts as text."""
        note: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self, recurse=False).items()
            if value not in ("", (), {}, None, False) and name not in {"slug", "generation"}
        }
        if self.cash is not None:
            note["cash"] = f"{self.cash:f}"
        return note


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


class ReconcileDesk(Protocol):
    """The trading service, as far as comparisons need it."""

    def never_existed(self, order: Order) -> None:
        """End an order that never came to exist."""
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
    ) -> None:
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
        self._told_cash = ZERO

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
        for order_report in venue.orders:
            self._compare_order(order_report, found)
        for trade_report in venue.trades:
            if self._feed_trade(trade_report):
                found.trades[trade_report.trade_id] = None
        self._compare_cash(venue, found)
        await self._ask_for_absent(judged, venue, looked_at, found)
        await self._cancel_foreign(found)
        return self._report(trigger, found)

    async def _look(self) -> _VenueView:
        """Fetch the venue's view.

        Trades come after orders: an order that is filled in between is missing from the one and
        in the other, not in neither.

        Raises:
            ExchangeError: Some of it could not be had.
        """
        exchange, market = self._exchange, self.market
        since = int(market.window.start - self._settings.trade_margin)
        books = self._state.account.cash if self._is_quiet() else None
        orders = await exchange.fetch_open_orders(market)
        trades = await exchange.fetch_trades(market, since)
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
        if known is None or known.is_external:
            if self._settings.foreign_orders == "leave":
                return
            found.foreign.append(report.order_id)
        self._feed_order(report, found)

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
        turn = asyncio.Semaphore(_QUERIES)

        async def ask(client_id: str) -> None:
            async with turn:
                if (order := self._open_order(client_id)) and order.venue_id not in listed:
                    await self._ask(order, looked_at, found)

        await asyncio.gather(*(ask(client_id) for client_id in judged))

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

    async def _cancel_foreign(self, found: _Findings) -> None:
        if self._settings.foreign_orders == "cancel" and found.foreign:
            outcome = await cancel_in_bulk(self._exchange, self._counters, found.foreign)
            found.cancelled = sorted(outcome.cancelled)

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
            log.warning("%s: differs from the venue: %s", self.market.slug, describe(report))
            self._desk.reconciled(report)
            self._gate.publish(report)
        return report

    def _is_news(self, found: _Findings) -> bool:
        """Return whether something was repaired, or is odd and was not told before."""
        odd = {*found.unresolved, *found.foreign}
        news = bool(found.orders or found.trades or found.not_found or odd - self._told)
        self._told |= odd
        if found.cash is not None:
            news = news or found.cash != self._told_cash
            self._told_cash = found.cash
        return news


def describe(report: ReconcileReport) -> str:
    """Return the findings of a report as one line of text."""
    parts = [
        f"{len(values)} {words}"
        for values, words in (
            (report.orders, "orders changed"),
            (report.trades, "trades learned of"),
            (report.not_found, "orders do not exist"),
            (report.unresolved, "orders unresolved"),
            (report.foreign, "foreign orders open"),
            (report.cancelled, "of them cancelled"),
        )
        if values
    ]
    if report.cash:
        parts.append(f"the venue has {report.cash:+f} USD of cash beyond our books")
    return f"{', '.join(parts) or 'nothing'} ({report.trigger})"


def _awaits_payout(state: CycleState) -> bool:
    return state.winner is None and any(state.position(outcome).size for outcome in Outcome)
