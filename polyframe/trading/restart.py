"""A program that comes back: cycles of an earlier run are read, compared with the venue, and counted.

The order matters. First the states are read back and belong to the settlement side, so that every
event of theirs has somebody who takes it. Then each is compared with the venue, which decides. The
cash is counted last, between two comparisons that agree: whatever moved it before is in the count,
whatever moves it afterwards will be heard of. No strategy runs until then. Only of a conversion whose
end is open at that instant nobody can tell: when it is known, the cash is counted again (`recount`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import AuthenticationFailed, ExchangeError
from polyframe.exchange.base import Exchange
from polyframe.model.events import OrderChanged, OrderReport, TradeChanged, TradeReport
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderStatus, PlaceResult
from polyframe.trading.account import Account, Stock
from polyframe.trading.commands import ApplyCancelAnswer, ApplyPlaceAnswer
from polyframe.trading.comparison import Comparison
from polyframe.trading.conversions import Conversions
from polyframe.trading.ledger import Journal
from polyframe.trading.reconcile import DOUBTFUL, NOT_FOUND, ReconcileReport, ReconcileSettings
from polyframe.trading.settlement import Settlement
from polyframe.trading.snapshots import Found, Snapshots
from polyframe.trading.state import CycleState
from polyframe.trading.stocktaking import TRIES, count_cash, moves

log = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Network seconds between two attempts to get an answer."""
_AT_ONCE = 4
"""Cycles that are compared at the same time."""
_ENDED = "the program ended before the answer"


class Restart:
    """Brings back what an earlier run has left.

    Args:
        snapshots: Where it is written down.
        settlement: Owns the cycles until they are resumed.
        account: Whose cash is counted.
        exchange: The venue.
        clock: Market time.
        counters: Where it is counted.
        ledger: Where it is written down.
        settings: How the venue is compared with.
        conversions: Finds out how splits and merges ended.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        settlement: Settlement,
        account: Account,
        *,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        ledger: Journal,
        settings: ReconcileSettings,
        conversions: Conversions | None = None,
    ) -> None:
        self._conversions = conversions
        self._snapshots = snapshots
        self._settlement = settlement
        self._account = account
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._ledger = ledger
        self._settings = settings
        self._cycles: list[_RestoredCycle] = []
        self.fields: dict[str, dict[str, msgspec.Raw]] = {}
        """Marked fields by slug and strategy."""

    def restore(self) -> None:
        """Read all cycles back and give them to the settlement side. Asks nobody."""
        for found in self._snapshots.load():
            slug = found.image.market.slug
            state = CycleState.restored(found.image, self._account)
            cycle = _RestoredCycle(
                state,
                self._settlement,
                exchange=self._exchange,
                clock=self._clock,
                counters=self._counters,
                settings=self._settings,
            )
            cycle.forget_requests()
            self._settlement.restore(state, is_over=found.is_over)
            self._snapshots.take_over(state, found)
            self.fields[slug] = dict(found.fields)
            self._cycles.append(cycle)
            self._counters.add(Count.SNAPSHOTS, "restored")
            self._tell(found, state)

    def _tell(self, found: Found, state: CycleState) -> None:
        """Enter everything once more: the last rows of the run that ended may be missing."""
        market, open_orders = state.market, len(state.open_orders())
        log.info(
            "%s: %d orders (%d open) and %d fills of an earlier run are restored",
            market.slug,
            len(state.orders),
            open_orders,
            len(state.fills),
        )
        note = {
            "orders": len(state.orders),
            "open": open_orders,
            "fills": len(state.fills),
            "cash_then": None if found.cash is None else f"{found.cash:f}",
            "strategies": sorted(found.fields),
        }
        self._ledger.note("restored", note, market)
        sequence = state.sequence
        self._ledger.changed(
            market, (OrderChanged(order, order.status, sequence) for order in state.orders.values())
        )
        self._ledger.changed(
            market,
            (
                TradeChanged(fill, state.orders[fill.client_id], fill.status, sequence)
                for fill in state.fills.values()
            ),
        )

    async def count_cash(self) -> None:
        """Compare every cycle with the venue and count the cash in between.

        Raises:
            ExchangeError: The venue did not answer.
        """
        await self._look()
        stock = Stock(ZERO)
        for attempt in range(1, TRIES + 1):
            before = moves(cycle.state for cycle in self._cycles)
            stock = await self._patiently(lambda: count_cash(self._exchange, self._clock))
            if not self._cycles:
                break
            await self._look()
            await self._patiently(self._look_at_conversions)
            if moves(cycle.state for cycle in self._cycles) == before:
                break
            log.info("the account moved while its cash was counted (%d)", attempt)
        else:
            log.warning("the account keeps moving; its cash is as of the last count")
        self._account.take_stock(stock)
        if self._conversions is not None:
            for cycle in self._cycles:
                self._conversions.resume(cycle.state)

    async def _look_at_conversions(self) -> None:
        if self._conversions is not None:
            await self._conversions.look([cycle.state for cycle in self._cycles])

    async def _look(self) -> None:
        """Compare all cycles with the venue.

        Raises:
            ExchangeError: The venue did not answer for one of them.
        """
        turn = asyncio.Semaphore(_AT_ONCE)

        async def look(cycle: _RestoredCycle) -> None:
            async with turn:
                await self._patiently(cycle.compare)

        looks = (look(cycle) for cycle in self._cycles)
        for result in await asyncio.gather(*looks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    @staticmethod
    async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and ask again: a start needs many answers, and one may be missing.

        Raises:
            ExchangeError: The venue did not answer for some seconds.
        """
        for pause in _PAUSES:
            try:
                return await ask()
            except AuthenticationFailed:
                raise
            except ExchangeError as error:
                log.warning("starting: %s; asking again in %g s", error, pause)
                await asyncio.sleep(pause)
        return await ask()


class _RestoredCycle:
    """One cycle between reading it back and trading on: gate and desk of its own comparison."""

    def __init__(
        self,
        state: CycleState,
        settlement: Settlement,
        *,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        settings: ReconcileSettings,
    ) -> None:
        self.state = state
        self._settlement = settlement
        self._exchange = exchange
        self._clock = clock
        self._comparison = Comparison(
            state,
            self,
            self,
            exchange=exchange,
            clock=clock,
            counters=counters,
            own=settlement.own,
            settings=settings,
            compares_cash=False,
        )

    def forget_requests(self) -> None:
        """Take note that no answer will come to what was being asked when the program ended."""
        own, now_ms = self._settlement.own, int(self._clock.time() * 1000)
        for order in self.state.open_orders():
            generation, client_id = order.generation, order.client_id
            if order.status is OrderStatus.SUBMITTING:
                result = PlaceResult.UNKNOWN
                self.state.apply(
                    ApplyPlaceAnswer(generation, client_id, result, "", _ENDED, now_ms)
                )
            elif order.status is OrderStatus.CANCELLING:
                self.state.apply(ApplyCancelAnswer(generation, client_id, False, _ENDED, now_ms))
            if self.state.orders[client_id].status in DOUBTFUL and not order.is_external:
                own.answered(order.venue_id, is_lost=True)

    async def compare(self) -> None:
        """Make the state equal to the venue's.

        Raises:
            ExchangeError: The venue did not answer.
        """
        market = self.state.market
        report = await self._comparison.run("restart")
        if report.error:
            msg = f"{market.slug}: {report.error}"
            raise ExchangeError(msg)
        # Also before the end of its window: by a clock that is behind, the payout may be in the count.
        if self.state.winner is None:
            resolution = await self._exchange.fetch_resolution(market)
            if resolution is not None:
                self._settlement.resolve(market.slug, resolution.winner)

    # ------------------------------------------------------------------ what a comparison asks for

    def emit_order_update(self, report: OrderReport, *, asked: bool = False) -> None:
        """Apply a report of an order of this market."""
        if asked and self.state.market.outcome(report.token) is not None:
            self._settlement.apply_order_report(self.state, report)

    def emit_trade_update(self, report: TradeReport, *, asked: bool = False) -> None:
        """Apply a report of a trade; legs of other markets are ignored by the state."""
        if asked:
            self._settlement.apply_trade_report(self.state, report)

    def publish(self, change: ReconcileReport) -> None:
        """Do nothing: no strategy runs yet."""

    def never_existed(self, order: Order) -> None:
        """End an order of which the venue knows nothing."""
        self._settlement.apply_place_answer(
            self.state,
            order.client_id,
            PlaceResult.REJECTED,
            NOT_FOUND,
            "the venue does not know it",
        )

    def adopt(self, order: Order, strategy: str) -> bool:  # noqa: ARG002
        """Leave it: strategies get nothing before they run."""
        return False

    def reconciled(self, report: ReconcileReport) -> None:
        """Write down a comparison that found something."""
        self._settlement.note_reconciled(self.state, report)
