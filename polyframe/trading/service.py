"""The facade of one series: it places, cancels and reads, for one cycle after the other.

The service is the only one that talks to the engine and to the venue's order endpoints. Every
request leaves with a generation and comes back with it: an answer that arrives after the switch
changes nothing of the new cycle.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Protocol

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import (
    OrderDenied,
    StaleCycleError,
)
from polyframe.exchange.base import Exchange, PlaceAnswer
from polyframe.model.conversion import Conversion, ConversionKind
from polyframe.model.events import (
    OrderChanged,
    OrderReport,
    PriceChanged,
    TradeChanged,
    TradeReport,
)
from polyframe.model.exact import check_exact, exactly
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderRequest, PlaceResult
from polyframe.model.series import Series, Window
from polyframe.trading.account import Account
from polyframe.trading.cancels import Cancels
from polyframe.trading.commands import (
    AdoptOrder,
    Applied,
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyTradeReport,
    Command,
    Denied,
    Ignored,
    PlaceOrder,
    Query,
    Reply,
    Snapshot,
    Stale,
)
from polyframe.trading.conversions import Conversions
from polyframe.trading.engine import OrderEngine
from polyframe.trading.guards import EntryBook, EntryGuards
from polyframe.trading.handle import StrategyTrading
from polyframe.trading.ledger import CycleRecord, CycleStatus, Journal, record_of
from polyframe.trading.legs import LegsPlan, LegsResult
from polyframe.trading.legsplacing import LegsPlacing
from polyframe.trading.opencancel import CancelReport
from polyframe.trading.placing import OpenCycle, Placed, Placing, Quotes
from polyframe.trading.reconcile import NOT_FOUND, ReconcileReport, ReconcileSettings
from polyframe.trading.reconciler import Reconciler
from polyframe.trading.requests import Bell, Requests
from polyframe.trading.risk import RiskGuard
from polyframe.trading.sending import Sender
from polyframe.trading.settlement import Settlement
from polyframe.trading.snapshots import Snapshots
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)


class MarketView(Quotes, Protocol):
    """What the service needs of the session of its current market."""

    def publish(self, change: OrderChanged | TradeChanged | ReconcileReport) -> None:
        """Hand a change or a comparison with the venue on to the strategies."""
        ...

    def emit_order_update(self, report: OrderReport, *, asked: bool = False) -> None:
        """Pass an order report through the gate."""
        ...

    def emit_trade_update(self, report: TradeReport, *, asked: bool = False) -> None:
        """Pass a trade report through the gate."""
        ...


class TradingService:
    """Trading of one series.

    Args:
        series: The series.
        exchange: The venue.
        clock: Market time.
        counters: Where refusals, answers and stale commands are counted.
        account: The cash of all series.
        settlement: Takes over the states of dead cycles.
        ledger: Where it is written down what happens.
        risk: Is asked before every order and told of every answer.
        reconcile: When the venue is compared with.
        snapshots: Are told of every change, and of each order before it leaves.
        conversions: Splits and merges; all are denied by default.

    Attributes:
        reconciler: Keeps the current cycle equal to the venue.
        strategies: Names of the strategies that are mounted on the series.
        is_resumed: Whether an earlier run of the program has begun the current cycle.
    """

    def __init__(
        self,
        series: Series,
        *,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        account: Account,
        settlement: Settlement,
        ledger: Journal,
        risk: RiskGuard,
        reconcile: ReconcileSettings | None = None,
        snapshots: Snapshots | None = None,
        conversions: Conversions | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._conversions = conversions or Conversions(
            None,
            settlement=settlement,
            clock=clock,
            counters=counters,
            ledger=ledger,
            risk=risk,
        )
        self._conversions.attach(self)
        self.is_resumed = False
        self.strategies: set[str] = set()
        self.series = series
        self.account = account
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._settlement = settlement
        self._ledger = ledger
        self._risk = risk
        self._engine = OrderEngine(account)
        self._market: Market | None = None
        self._view: MarketView | None = None
        self._cycle: OpenCycle | None = None
        self._requests = Requests()
        self._bell = Bell()
        self._own = settlement.own
        self._own.add_source(lambda: () if self._engine.state is None else (self._engine.state,))
        self._sender = Sender(
            self,
            exchange=exchange,
            clock=clock,
            counters=counters,
            own=self._own,
            risk=risk,
            requests=self._requests,
        )
        self._guards = EntryBook()
        self._placing = Placing(
            self,
            sender=self._sender,
            exchange=exchange,
            clock=clock,
            counters=counters,
            own=self._own,
            risk=risk,
            guards=self._guards,
        )
        self._legs = LegsPlacing(
            self,
            placing=self._placing,
            sender=self._sender,
            counters=counters,
            requests=self._requests,
            bell=self._bell,
        )
        self._cancels = Cancels(
            self,
            settlement=settlement,
            exchange=exchange,
            clock=clock,
            counters=counters,
            ledger=ledger,
            own=self._own,
            requests=self._requests,
        )
        self.reconciler = Reconciler(
            desk=self,
            exchange=exchange,
            clock=clock,
            counters=counters,
            own=self._own,
            settings=reconcile or ReconcileSettings(),
        )

    # ------------------------------------------------------------------ the cycle

    @property
    def market(self) -> Market | None:
        """The market that is traded now, ``None`` while trading is paused."""
        return self._market

    @property
    def generation(self) -> int | None:
        """The engine's generation, ``None`` while trading is paused."""
        return self._engine.generation

    @property
    def cycle(self) -> OpenCycle | None:
        """The cycle that is traded now, ``None`` while trading is paused."""
        state, quotes, cycle = self._engine.state, self._view, self._cycle
        if state is None or quotes is None:
            return None
        if cycle is None or cycle.state is not state or cycle.quotes is not quotes:
            cycle = self._cycle = OpenCycle(state, quotes)
        return cycle

    def set_current_market(self, market: Market | None, view: MarketView | None) -> None:
        """Enter a cycle: fresh trading state and the new generation, in one command.

        The old state goes to the settlement side. ``None`` pauses trading. Only a cycle that an
        earlier run of the program has begun goes on with the state that it had.

        Raises:
            ValueError: The market is not newer than the last one.
        """
        resumed = None if market is None else self._settlement.reclaim(market)
        old = self._engine.reset(market, resumed)
        self.is_resumed = resumed is not None
        if resumed is not None:
            self._placing.go_on_after(resumed)
        self.reconciler.end()
        self._market, self._view = market, view
        self._guards.begin_cycle()
        self._bell.ring()
        if old is not None:
            self._risk.end_cycle(old)
            self._settlement.adopt(old)
        if self._engine.state is not None:
            self._risk.begin_cycle(self._engine.state)
            self._ledger.put(record_of(self._engine.state, CycleStatus.OPEN))
            if self._snapshots is not None:
                self._snapshots.watch(self._engine.state)
            if view is not None:
                self.reconciler.begin(self._engine.state, view)
        slugs = {
            "from": None if old is None else old.market.slug,
            "to": None if market is None else market.slug,
            **({"resumed": True} if self.is_resumed else {}),
        }
        self._ledger.note("switch", {"series": str(self.series), **slugs}, market)

    def handle(self, strategy: str) -> StrategyTrading:
        """Return the handle of one strategy for the current cycle.

        Raises:
            OrderDenied: Trading is paused.
        """
        if self._market is None:
            raise self.denied("paused", f"{self.series} has no market now", strategy=strategy)
        return StrategyTrading(self, self._market, strategy)

    def guard(self, strategy: str, guards: EntryGuards) -> None:
        """Guard the entries of a strategy, in every cycle."""
        self._guards.set(strategy, guards)

    def strategy_starts(self, strategy: str) -> None:
        """Take note that a strategy starts in the current cycle, now."""
        self._guards.started(strategy, self._clock.time())

    async def wait_idle(self) -> None:
        """Return once no request to the venue is under way, for orders or of a cycle that is over."""
        await self._requests.wait_idle()
        await self.reconciler.wait_ended()

    @property
    def requests(self) -> list[str]:
        """What was asked of the venue and is not answered yet, for people to read."""
        return self._requests.names

    async def abandon_requests(self) -> None:
        """Give up what is not answered yet; what became of those orders is then not known."""
        await self._requests.abandon()

    def rival(self, market: Market) -> Market | None:
        """Return the market of another cycle, of any series, that has an id of `market`."""
        return self._own.rival(market)

    def has_traded(self, window: Window) -> bool:
        """Return whether the cycle of `window` was traded in this environment before."""
        slug = self.series.slug(window)
        return self._settlement.state(slug) is not None and not self._settlement.can_resume(slug)

    # ------------------------------------------------------------------ what the venue says

    def apply_order_report(self, generation: int, report: OrderReport) -> None:
        """Apply an order report that passed the gate of the session of `generation`."""
        self.submit(ApplyOrderReport(generation, report, self._now_ms()))

    def apply_trade_report(self, generation: int, report: TradeReport) -> None:
        """Apply a trade report that passed the gate of the session of `generation`."""
        self.submit(ApplyTradeReport(generation, report, self._now_ms()))

    # ------------------------------------------------------------------ comparing with the venue

    async def reconcile(self, trigger: str = "demand") -> ReconcileReport:
        """Compare the current cycle with the venue, apply what was missed, and report.

        It happens by itself, too; `ReconcileSettings` tells when.

        Raises:
            StaleCycleError: Trading is paused, or the cycle ended meanwhile.
        """
        with exactly():
            return await self.reconciler.reconcile(trigger)

    async def catch_up(self) -> bool:
        """Compare with the venue until it answers; say whether the cycle is still the same then."""
        pause = 0.5
        while True:
            try:
                report = await self.reconcile("start")
            except StaleCycleError:
                return False
            except Exception:  # a defect must not keep the strategies out for the rest of the cycle
                log.exception("%s: comparing with the venue failed", self.series)
            else:
                if not report.error:
                    return True
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    def never_existed(self, order: Order) -> None:
        """End an order of which the venue knows nothing; called by the reconciler."""
        generation, text = order.generation, "the venue does not know it"
        reply = self.submit(
            ApplyPlaceAnswer(
                generation, order.client_id, PlaceResult.REJECTED, NOT_FOUND, text, self._now_ms()
            )
        )
        if isinstance(reply, Applied):
            self.note_refusal(self._market, f"venue:{NOT_FOUND}", text, strategy=order.strategy)

    def adopt(self, order: Order, strategy: str) -> bool:
        """Give a foreign order to a strategy, if it is mounted here; called by the reconciler."""
        if strategy not in self.strategies:
            return False
        command = AdoptOrder(order.generation, order.client_id, strategy, self._now_ms())
        return isinstance(self.submit(command), Applied)

    def reconciled(self, report: ReconcileReport) -> None:
        """Write down a comparison that failed or found something; called by the reconciler."""
        if self._market is not None and report.generation == self._market.generation:
            self._ledger.note("reconcile", report.as_note(), self._market)

    def submit(self, command: Command) -> Reply:
        """Submit a command to the engine, count what did not apply, publish what changed."""
        reply = self._engine.submit(command)
        if isinstance(reply, Stale):
            self._counters.add(Count.ENGINE_STALE, reply.command)
        elif isinstance(reply, Ignored):
            self._counters.add(Count.ENGINE_IGNORED, reply.reason)
        elif isinstance(reply, Applied) and self._market is not None:
            self._ledger.changed(self._market, reply.changes)
            if self._snapshots is not None:
                if isinstance(command, PlaceOrder) and reply.order is not None:
                    self._snapshots.sent(self._market, reply.order)
                self._snapshots.changed(self._market.slug)
            if self._view is not None:
                for change in reply.changes:
                    self._view.publish(change)
            self._bell.ring()
        return reply

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)

    # ------------------------------------------------------------------ placing

    async def place(self, generation: int, strategy: str, request: OrderRequest) -> Order:
        """Place one order and return it once the venue answered.

        It is sent once and never again. If the caller is cancelled meanwhile, the answer is
        still applied.

        Raises:
            StaleCycleError: `generation` is not the current cycle, before or after sending.
            OrderDenied: Refused here; nothing was sent.
            OrderRejected: Refused by the venue. (A FOK or FAK that found nothing is not refused: it
                comes back cancelled.)
            OrderOutcomeUnknown: Sent, and the answer was lost.
            ConfigError: The caller has a decimal context of its own that is not exact.
        """
        check_exact("place")
        return await self._placing.place(generation, strategy, request)

    async def place_many(
        self, generation: int, strategy: str, requests: Iterable[OrderRequest]
    ) -> tuple[Placed, ...]:
        """Place several orders with one request to the venue (for each 15 of them).

        Each is checked in turn, as if those before it were placed already, and each has an end of
        its own: one that is denied here, or refused by the venue, stops no other. Apart from that
        everything is as with `place`.

        Returns:
            What became of them, in the order of `requests`.

        Raises:
            StaleCycleError: `generation` is not the current cycle, before or after sending.
            ConfigError: As `place`.
        """
        check_exact("place_many")
        return await self._placing.place_many(generation, strategy, requests)

    async def place_legs(self, generation: int, strategy: str, plan: LegsPlan) -> LegsResult:
        """Place several orders that are meant as one, with one request to the venue.

        Here it is all or nothing: every leg is checked and secured before any is sent. At the venue
        each has an end of its own. A leg is *missing* if it is neither filled as a whole nor
        resting: refused, killed (also in part), or still of unknown outcome after
        `LegsPlan.missing_timeout`; nothing is sent a second time. If one is missing, the policy
        acts:

        * ``"keep"``: nothing is done about the others.
        * ``"cancel"``: the legs that are open, or may be, are cancelled.
        * ``"unwind"``: likewise, and then what the legs have bought is sold back as FAK, at
          `LegsPlan.unwind_floor` or else at the best bid, as far as it can be sold now.

        It goes on to the end if the caller is cancelled.

        Raises:
            StaleCycleError: `generation` is not the current cycle, or it ended before all was done;
                legs that are still open are cancelled then, unless they are to be kept.
            OrderDenied: A leg was denied, the text says which; none was sent.
            ConfigError: As `place`.
        """
        check_exact("place_legs")
        return await self._legs.place(generation, strategy, plan)

    # ------------------------------------------------------------------ splitting and merging

    def convert(
        self, market: Market, strategy: str, kind: ConversionKind, shares: Decimal
    ) -> Conversion:
        """Begin to split or merge pairs, in the background, and return it as it is now.

        It is sent once. What it gives is held until its end is known, also over the end of the cycle,
        and nothing else moves before it is confirmed.

        Raises:
            StaleCycleError: `market` is not the current one.
            OrderDenied: Refused here; nothing was sent.
            ConfigError: As `place`.
        """
        check_exact(str(kind))
        return self._conversions.begin(self, market, strategy, kind, shares)

    def check_conversion(
        self, strategy: str, kind: ConversionKind, shares: Decimal
    ) -> Denied | None:
        """Return why the strategy's guards forbid a split in the current cycle; merges pass."""
        if kind is ConversionKind.MERGE or self.cycle is None:
            return None
        return self._guards.check_split(strategy, shares, self.cycle.state, self._clock.time())

    async def wait_conversion(self, market: Market, conversion_id: str) -> Conversion:
        """Return a split or merge once its end is known. Put a time-out around it.

        Raises:
            StaleCycleError: The cycle is over and let go.
            OrderDenied: There is none of this id in the cycle.
        """
        state = self.state(market)
        if state is None:
            what = f"wait for {conversion_id}"
            raise StaleCycleError(what, market.generation, self.generation)
        if conversion_id not in state.conversions:
            text = f"no conversion {conversion_id} in {market.slug}"
            raise self.denied("unknown_order", text, market)
        return await self._conversions.wait(state, conversion_id)

    # ------------------------------------------------------------------ refusals

    def denied(
        self, rule: str, text: str, market: Market | None = None, *, strategy: str = ""
    ) -> OrderDenied:
        """Count a denial, for the current cycle unless another market is named."""
        self._counters.add(Count.ORDERS_DENIED, rule)
        self.note_refusal(market or self._market, rule, text, strategy=strategy)
        return OrderDenied(rule, text)

    async def take_late_answer(
        self, market: Market, command: ApplyPlaceAnswer | ApplyCancelAnswer
    ) -> None:
        """Hand an answer that came after its cycle's end to the settlement side."""
        if isinstance(command, ApplyCancelAnswer):
            self._settlement.take_cancel_answer(market.slug, command)
        else:
            answer = PlaceAnswer(command.answer, command.code, command.text)
            await self._settlement.take_place_answer(market.slug, command.client_id, answer)

    def give_up(self, market: Market, client_id: str) -> None:
        """Take note that no answer to an order will come: what became of it is not known."""
        text, unknown = "the answer was not waited for", PlaceResult.UNKNOWN
        command = ApplyPlaceAnswer(
            market.generation, client_id, unknown, "given_up", text, self._now_ms()
        )
        if isinstance(self.submit(command), Stale):
            self._settlement.take_lost_answer(market.slug, command)

    def look_soon(self) -> None:
        """Compare with the venue in a moment, because the fate of an order is open."""
        self.reconciler.soon()

    def note_stale(self, call: str) -> None:
        """Count a call through a handle whose cycle is over."""
        self._counters.add(Count.STALE_CALLS, call)

    def note_refusal(
        self, market: Market | None, reason: str, text: str, *, strategy: str = ""
    ) -> None:
        """Write down a refusal and count it for its cycle."""
        self._ledger.refused(market, reason, text, strategy)
        state = None if market is None else self.state(market)
        if state is not None:
            state.note_refusal(reason)

    # ------------------------------------------------------------------ cancelling

    async def cancel(self, market: Market, client_id: str) -> Order:
        """Cancel one order and return it as it is then; see `cancel_many`."""
        with exactly():
            (order,) = await self._cancels.cancel_many(market, [client_id])
        return order

    async def cancel_many(self, market: Market, client_ids: Collection[str]) -> list[Order]:
        """Cancel orders with one request and return them as they are then.

        Those that are final are left alone. Works for the current cycle, and for a dead one while
        its state is kept.

        Raises:
            StaleCycleError: The cycle is over and let go.
            OrderDenied: No such order in this cycle; nothing was cancelled.
            ExchangeError: The venue did not answer; the orders are as they were.
        """
        with exactly():  # cancels are never refused
            return await self._cancels.cancel_many(market, client_ids)

    async def cancel_exchange_open_orders(
        self,
        market: Market | str | None = None,
        assets: Collection[str] = (),
        *,
        only_untracked: bool = False,
        max_to_cancel: int | None = None,
        dry_run: bool = False,
    ) -> CancelReport:
        """Cancel what the venue lists as open for the account, whoever placed it.

        Also what earlier runs and other programs have left, in any market. Works while trading is
        paused, too.

        Args:
            market: Only orders of this market: a `Market`, a slug, or a condition id; all by default.
            assets: Only orders of these token ids; all by default.
            only_untracked: Leave alone what this environment has placed, in whatever series or
                cycle, also what is being sent right now.
            max_to_cancel: At most so many, in the order in which the venue lists them.
            dry_run: Cancel nothing, but report what would be.

        Raises:
            ConfigError: A market or number that cannot be.
            ExchangeError: The venue did not list the orders; nothing was cancelled.
        """
        with exactly():
            return await self._cancels.cancel_listed(
                market,
                assets,
                only_untracked=only_untracked,
                max_to_cancel=max_to_cancel,
                dry_run=dry_run,
            )

    # ------------------------------------------------------------------ reading

    def snapshot(self) -> Snapshot:
        """Return the whole trading state of the current cycle.

        Raises:
            StaleCycleError: Trading is paused.
        """
        reply = self.submit(Query(self.generation or 0))
        if not isinstance(reply, Applied) or reply.snapshot is None:
            what = "snapshot"
            raise StaleCycleError(what, 0, self.generation)
        return reply.snapshot

    def state(self, market: Market) -> CycleState | None:
        """Return the state of a cycle: the engine's, or the settlement side's."""
        if market.generation == self.generation:
            return self._engine.state
        return self._settlement.state(market.slug)

    def price(self, market: Market, outcome: Outcome) -> PriceChanged:
        """Return the latest top of book of the current market.

        Raises:
            StaleCycleError: `market` is not the current one.
        """
        if self._view is None or market.generation != self.generation:
            what = "price"
            raise StaleCycleError(what, market.generation, self.generation)
        return self._view.price(outcome)

    def bids(self, market: Market) -> dict[Outcome, Decimal]:
        """Return the best bids of a market as far as they are known; nobody bidding is 0."""
        if self._view is None or market.generation != self.generation:
            return {}
        quotes = (self._view.price(outcome) for outcome in Outcome)
        return {quote.outcome: quote.bid or ZERO for quote in quotes if quote.known}

    def record(self) -> CycleRecord | None:
        """Return the account of the current cycle as it is now, ``None`` while trading is paused."""
        state = self._engine.state
        return None if state is None else record_of(state, CycleStatus.OPEN)
