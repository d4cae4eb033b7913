"""What happens to a cycle after its death.

The settlement side owns the states of dead cycles. It goes on applying what the venue says of them,
cancels orders that were accepted too late, finds out how the market was resolved, and writes the
ledger. Nothing here reaches a strategy of a later cycle.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from decimal import Decimal
from typing import Any

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError
from polyframe.exchange.base import Exchange, PlaceAnswer
from polyframe.model.events import OrderReport, TradeReport, UserMessage
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.order import Order, OrderStatus, PlaceResult
from polyframe.trading.cancelling import Cancelling
from polyframe.trading.commands import (
    Applied,
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyReceipt,
    ApplyResolution,
    ApplyTradeReport,
    CycleCommand,
    ExpireOrder,
    Ignored,
    Reply,
)
from polyframe.trading.deadcycles import Claim, DeadCycle, DeadCycles
from polyframe.trading.lateorders import LateOrders
from polyframe.trading.ledger import CycleStatus, Journal, record_of
from polyframe.trading.ownorders import OwnOrders
from polyframe.trading.reconcile import ReconcileReport, ReconcileSettings
from polyframe.trading.resolution import listening
from polyframe.trading.snapshots import Snapshots
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)

POLL_FIRST, POLL_CAP = 5.0, 60.0
"""Market seconds between two questions: for trades that are not settled at first, and at most."""

GIVE_UP_AFTER = 6 * 3600.0
"""Market seconds after the end of a window after which its resolution is no longer asked for."""


class Settlement:
    """Carries dead cycles to their end.

    Args:
        exchange: Where resolutions are asked for and late orders are cancelled.
        clock: Market time.
        counters: Where late answers and events are counted.
        ledger: Where it is written down.
        settings: What becomes of orders that are accepted too late, and when questions are asked.
        snapshots: Are told when a dead cycle changed, and when nothing more can happen to it.
        may_redeem: Whether somebody here redeems what markets owe; it is kept until then.

    Attributes:
        own: All orders of the environment; those of dead cycles are added here.
    """

    def __init__(
        self,
        *,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        ledger: Journal,
        settings: ReconcileSettings | None = None,
        snapshots: Snapshots | None = None,
        may_redeem: bool = True,
    ) -> None:
        self._snapshots = snapshots
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._ledger = ledger
        self._settings = settings or ReconcileSettings()
        self._cycles = DeadCycles(keeps_claims=may_redeem)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False
        self._changed = asyncio.Event()
        self.own = OwnOrders()
        self.own.add_source(lambda: [cycle.state for cycle in self._cycles])
        self._cancelling = Cancelling(
            exchange=exchange, clock=clock, counters=counters, ledger=ledger
        )
        self._late = LateOrders(
            self,
            exchange=exchange,
            counters=counters,
            own=self.own,
            settings=self._settings,
        )

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Begin to ask for resolutions."""
        self._running = True
        for cycle in self._cycles:
            self._begin(cycle)

    async def stop(self) -> None:
        """Stop asking; cycles that are not resolved are recorded as such."""
        self._running = False
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for cycle in self._cycles:
            if not cycle.is_done:
                self._ledger.put(record_of(cycle.state, CycleStatus.UNRESOLVED))

    def adopt(self, state: CycleState) -> None:
        """Take over the state of a cycle that was just reset."""
        cycle = self._cycles.add(state)
        if self._snapshots is not None and self._clock.time() >= state.market.window.end:
            # A program that stops within the cycle may come back to it.
            self._snapshots.end(state.market.slug)
        self._ledger.put(record_of(state, CycleStatus.RESOLVING))
        if self._running:
            self._begin(cycle)

    def restore(self, state: CycleState, *, is_over: bool = False) -> None:
        """Take over a cycle of an earlier run; before `start`.

        As long as its window is open, `reclaim` gives it back to whoever goes on trading it. If
        nobody does, its orders are treated as those that are found too late.

        Args:
            state: Its state.
            is_over: Whether its strategies have ended with its window, and left what rests there.
        """
        cycle = self._cycles.add(state)
        cycle.is_orphan = not is_over
        self._redeem(cycle)
        # A resolved market is over, also if our clock was set back into its window.
        cycle.is_resumable = self._clock.time() < state.market.window.end and state.winner is None
        status = CycleStatus.OPEN if cycle.is_resumable else CycleStatus.RESOLVING
        self._ledger.put(record_of(state, status))

    def can_resume(self, slug: str) -> bool:
        """Return whether a cycle of an earlier run is here that can be traded on."""
        cycle = self._cycles.get(slug)
        return cycle is not None and cycle.is_resumable

    def reclaim(self, market: Market) -> CycleState | None:
        """Give back the state of a cycle of an earlier run, ``None`` if there is none of `market`."""
        cycle = self._cycles.get(market.slug)
        if cycle is None or not cycle.is_resumable:
            return None
        ours = cycle.state.market
        same = (ours.condition_id, ours.up_token, ours.down_token, ours.window) == (
            market.condition_id,
            market.up_token,
            market.down_token,
            market.window,
        )
        self._cycles.remove(cycle)
        if cycle.settling is not None:
            cycle.settling.cancel()
        if same:
            return cycle.state
        # Nothing of it can be true in this market, and nothing of it may stand in its way.
        cycle.state.forsake()
        self.own.forget(cycle.state)
        if self._snapshots is not None:
            self._snapshots.set_aside(
                market.slug, "wrong_market", "its market has other tokens now"
            )
        return None

    def _begin(self, cycle: DeadCycle) -> None:
        state = cycle.state
        cycle.settling = self._spawn(self._settle(cycle), f"settle {state.market.slug}")
        if not cycle.is_resumable:
            self._find_out_unexpected(cycle)

    def _find_out_unexpected(self, cycle: DeadCycle) -> None:
        """Find out about orders whose answer was lost; if no strategy saw the end, about all."""
        ours = [order for order in cycle.state.open_orders() if not order.is_external]
        every = cycle.is_orphan
        self._find_out(cycle, [o for o in ours if every or o.status is OrderStatus.UNKNOWN])

    def _find_out(self, cycle: DeadCycle, orders: Iterable[Order]) -> None:
        """Find out in the background what became of orders whose answer was lost."""
        client_ids = [order.client_id for order in orders]
        if self._running and client_ids:
            self._spawn(
                self._late.resolve(cycle.state, client_ids, cycle.closed),
                f"find out about orders of {cycle.state.market.slug}",
            )

    def _spawn(self, coro: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)

    @property
    def pending(self) -> list[str]:
        """Slugs of the dead cycles whose books are not closed yet, oldest first."""
        return [cycle.state.market.slug for cycle in self._cycles if not cycle.is_done]

    async def wait_settled(self) -> None:
        """Return once every dead cycle is resolved or given up. Put a time-out around it."""
        while self._tasks:
            self._changed.clear()
            await self._changed.wait()

    # ------------------------------------------------------------------ late events and answers

    def take(self, message: UserMessage) -> bool:
        """Apply an event of the account that belongs to a dead cycle; say whether it did."""
        cycle = self._cycles.of_token(message.token)
        if cycle is None:
            return False
        generation = cycle.state.market.generation
        if isinstance(message, OrderReport):
            self._counters.add(Count.ROUTER_SETTLEMENT, "order")
            reply = self._apply(cycle, ApplyOrderReport(generation, message, self._now_ms()))
            self._note_late(cycle, "order", message.order_id, reply)
        else:
            self._counters.add(Count.ROUTER_SETTLEMENT, "trade")
            reply = self._apply(cycle, ApplyTradeReport(generation, message, self._now_ms()))
            self._note_late(cycle, f"trade:{message.status.value}", message.trade_id, reply)
        return True

    async def take_place_answer(self, slug: str, client_id: str, answer: PlaceAnswer) -> None:
        """Apply an answer that came after its cycle's end; cancel what the venue accepted."""
        self._counters.add(Count.LATE_ANSWERS, answer.result.value)
        cycle = self._cycles.get(slug)
        if cycle is None:
            log.error("late answer for %s, whose cycle %s is forgotten", client_id, slug)
            forgotten = {"slug": slug, "client_id": client_id, "answer": answer.result.value}
            self._ledger.note("forgotten_answer", forgotten)
            return
        reply = self._apply(
            cycle,
            ApplyPlaceAnswer(
                cycle.state.market.generation,
                client_id,
                answer.result,
                answer.code,
                answer.text,
                self._now_ms(),
            ),
        )
        self._note_late(cycle, f"answer:{answer.result.value}", client_id, reply)
        order = cycle.state.orders.get(client_id)
        if answer.result is not PlaceResult.REJECTED and order is not None and order.is_open:
            await self._late.found_alive(cycle.state, order)
            if cycle.state.orders[client_id].is_open:
                self._find_out(cycle, [order])

    def take_lost_answer(self, slug: str, command: ApplyPlaceAnswer) -> None:
        """Take note that no answer to an order of a dead cycle will come, and find out about it."""
        self._counters.add(Count.LATE_ANSWERS, command.answer.value)
        if cycle := self._cycles.get(slug):
            reply = self._apply(cycle, command)
            self._note_late(cycle, f"answer:{command.answer.value}", command.client_id, reply)
            self._find_out(cycle, [cycle.state.orders[command.client_id]])

    def take_cancel_answer(self, slug: str, command: ApplyCancelAnswer) -> None:
        """Apply the answer to a cancel that came after its cycle's end."""
        self._counters.add(Count.LATE_ANSWERS, "cancel")
        if cycle := self._cycles.get(slug):
            reply = self._apply(cycle, command)
            self._note_late(cycle, "answer:cancel", command.client_id, reply)

    def _note_late(self, cycle: DeadCycle, kind: str, subject: str, reply: Reply) -> None:
        if cycle.is_resumable:
            return
        result = reply.reason if isinstance(reply, Ignored) else "applied"
        self._ledger.late(cycle.state.market, kind, subject, result)

    def take_receipt(self, state: CycleState, command: ApplyReceipt) -> Reply:
        """Apply what the venue says of a split or merge of a cycle that is not open any more."""
        cycle = self._cycles.get(state.market.slug)
        if cycle is None or cycle.state is not state:
            log.error("%s is told of after its cycle is forgotten", command.conversion_id)
            return state.apply(command)
        reply = self._apply(cycle, command)
        self._note_late(cycle, f"receipt:{command.state.value}", command.conversion_id, reply)
        return reply

    def claim(self, slug: str) -> Claim | None:
        """Return what a resolved market still owes here, ``None`` if that is nothing."""
        return self._cycles.claim(slug)

    def claims(self) -> list[str]:
        """Return the slugs of the resolved markets that still owe something here, oldest first."""
        return self._cycles.claims()

    def redeemed(self, slug: str, amount: Decimal) -> Decimal:
        """Note that a resolved market has paid: its claim is cash now; return how much of it."""
        return self._cycles.redeem(slug, amount)

    # ------------------------------------------------------------------ cancels of dead cycles

    def state(self, slug: str) -> CycleState | None:
        """Return the state of a dead cycle, ``None`` once it is let go."""
        cycle = self._cycles.get(slug)
        return None if cycle is None else cycle.state

    async def cancel(self, slug: str, orders: Iterable[Order]) -> ExchangeError | None:
        """Cancel orders of a dead cycle at the venue, as far as they are open.

        A venue that does not answer is logged, counted and returned, not raised: most callers have
        nobody to tell, and the resolution ends the orders in any case.
        """
        cycle = self._cycles.get(slug)
        if cycle is None:
            return None
        market = cycle.state.market

        def apply(command: CycleCommand) -> Reply:
            return self._apply(cycle, command)

        wanted = self._cancelling.mark(market, orders, apply)
        return await self._cancelling.send(market, wanted, apply) if wanted else None

    def open_order_ids(self) -> list[str]:
        """Return the client ids of our orders in dead cycles that may still rest at the venue."""
        return [
            order.client_id
            for cycle in self._cycles
            for order in cycle.state.open_orders()
            if not order.is_external
        ]

    async def cancel_open_orders(self) -> None:
        """Cancel every open order of ours in every dead cycle."""
        for cycle in self._cycles:
            ours = [order for order in cycle.state.open_orders() if not order.is_external]
            await self.cancel(cycle.state.market.slug, ours)

    def _apply(self, cycle: DeadCycle, command: CycleCommand) -> Reply:
        reply = cycle.state.apply(command)
        if isinstance(reply, Ignored):
            self._counters.add(Count.ENGINE_IGNORED, reply.reason)
        elif isinstance(reply, Applied):
            self._ledger.changed(cycle.state.market, reply.changes, is_late=not cycle.is_resumable)
            if self._snapshots is not None:
                self._snapshots.changed(cycle.state.market.slug)
        # At once: claims are the account's, another cycle's failed trade would take them.
        self._redeem(cycle)
        if cycle.is_done:
            self._ledger.put(record_of(cycle.state, _final_status(cycle.state)))
        return reply

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)

    def apply_order_report(self, state: CycleState, report: OrderReport) -> None:
        """Apply what the venue says of an order of a dead cycle."""
        if (cycle := self._cycles.get(state.market.slug)) is not None:
            command = ApplyOrderReport(state.market.generation, report, self._now_ms())
            self._note_late(cycle, "order", report.order_id, self._apply(cycle, command))

    def apply_trade_report(self, state: CycleState, report: TradeReport) -> None:
        """Apply what the venue says of a trade of a dead cycle."""
        if (cycle := self._cycles.get(state.market.slug)) is not None:
            command = ApplyTradeReport(state.market.generation, report, self._now_ms())
            kind = f"trade:{report.status.value}"
            self._note_late(cycle, kind, report.trade_id, self._apply(cycle, command))

    def resolve(self, slug: str, winner: Outcome) -> None:
        """Apply how the market of a dead cycle ended."""
        cycle = self._cycles[slug]
        generation = cycle.state.market.generation
        self._apply(cycle, ApplyResolution(generation, winner, self._now_ms()))

    def note_reconciled(self, state: CycleState, report: ReconcileReport) -> None:
        """Write down a comparison of a restored cycle with the venue."""
        self._ledger.note("reconcile", report.as_note(), state.market)

    def apply_place_answer(
        self, state: CycleState, client_id: str, result: PlaceResult, code: str, text: str
    ) -> None:
        """Apply what is known of the answer to an order of a dead cycle."""
        if (cycle := self._cycles.get(state.market.slug)) is not None:
            command = ApplyPlaceAnswer(
                state.market.generation, client_id, result, code, text, self._now_ms()
            )
            self._note_late(cycle, f"answer:{code}", client_id, self._apply(cycle, command))

    # ------------------------------------------------------------------ resolution

    async def _settle(self, cycle: DeadCycle) -> None:
        market = cycle.state.market
        if self._clock.time() < market.window.end:
            await self._clock.sleep_until(market.window.end)
        if cycle.is_resumable:
            # Nobody traded it on.
            cycle.is_resumable = False
            self._find_out_unexpected(cycle)
        resolution = await self._wait_resolution(cycle)
        if resolution is not None:
            self.resolve(market.slug, resolution.winner)
        else:
            log.error("%s: no resolution within %.0f h", market.slug, GIVE_UP_AFTER / 3600)
            self._end_orders(cycle)
        cycle.is_done = True
        cycle.closed.set()
        self._ledger.put(record_of(cycle.state, _final_status(cycle.state)))
        await self._follow_trades(cycle, were_read=resolution is not None)
        if self._snapshots is not None:
            self._snapshots.forget(market.slug)
        gone = self._cycles.settle(cycle)
        if gone is not None:
            self.own.forget(gone.state)

    def _end_orders(self, cycle: DeadCycle) -> None:
        """End what is open in a market whose book closed hours ago, whatever was never reported."""
        market = cycle.state.market
        for order in cycle.state.open_orders():
            text = "market over, never resolved"
            self._apply(
                cycle, ExpireOrder(market.generation, order.client_id, text, self._now_ms())
            )

    async def _follow_trades(self, cycle: DeadCycle, *, were_read: bool) -> None:
        """Ask until every trade is confirmed or failed (PROTOCOL §9), or for hours in vain.

        The account's stream tells it too, as far as its messages arrive.

        Args:
            cycle: The cycle.
            were_read: Whether its trades were read since its end: if not, some may not be known.
        """
        market = cycle.state.market
        delay = POLL_FIRST
        give_up = self._clock.time() + GIVE_UP_AFTER
        while self._clock.time() < give_up:
            if were_read and cycle.state.is_settled:
                return
            await self._clock.sleep(delay)
            delay = min(delay * 1.5, POLL_CAP)
            try:
                await self.fetch_missed_trades(cycle.state)
                were_read = True
                if cycle.state.winner is None:
                    self._end_orders(cycle)  # also those of which only a trade has told
            except ExchangeError as error:
                log.warning("%s: asking for its trades failed: %s", market.slug, error)
        log.error("%s: its trades did not settle in %.0f h", market.slug, GIVE_UP_AFTER / 3600)

    async def _wait_resolution(self, cycle: DeadCycle) -> Resolution | None:
        """Ask until the market is resolved and its trades were read once more, or give up."""
        market = cycle.state.market
        first = delay = self._settings.resolution_interval
        # Also a cycle that is found long after its end, in a restart, is asked for once.
        give_up = max(self._clock.time() + first, market.window.end + GIVE_UP_AFTER)
        async with listening(self._exchange, market, self._counters) as hint:
            while self._clock.time() < give_up:
                try:
                    resolution = await self._exchange.fetch_resolution(market)
                    if resolution is not None:
                        await self.fetch_missed_trades(cycle.state)
                        self._counters.add(Count.RESOLUTIONS, resolution.source)
                        return resolution
                except ExchangeError as error:
                    log.warning("%s: asking for its end failed: %s", market.slug, error)
                was_told = await hint.pause(self._clock, delay)
                delay = first if was_told else max(min(delay * 1.5, POLL_CAP), first)
        return None

    async def fetch_missed_trades(self, state: CycleState) -> None:
        """Apply the market's trades once more from the venue's records; repeats change nothing.

        Raises:
            ExchangeError: The venue did not answer.
        """
        market = state.market
        # Also if no order is known: messages may be lost, and so may the snapshots of an earlier run.
        if (cycle := self._cycles.get(market.slug)) is not None and self._exchange.account_name:
            for trade in await self._exchange.fetch_trades(market):
                self._apply(cycle, ApplyTradeReport(market.generation, trade, self._now_ms()))

    def _redeem(self, cycle: DeadCycle) -> None:
        """Take the payout of a cycle as it is now."""
        cycle.take_payout(by_itself=self._exchange.redeems)


def _final_status(state: CycleState) -> CycleStatus:
    return CycleStatus.UNRESOLVED if state.winner is None else CycleStatus.RESOLVED
