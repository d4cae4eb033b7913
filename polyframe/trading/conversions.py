"""Splits and merges: out of band, in tasks of the run, never in a cycle's event flow.

Each is sent once. While its end is open it holds what it gives, and its transaction is asked for
until it is confirmed or has failed; where nobody knows of a transaction, the shares on chain tell.
The cycle may be over by then: the books are those of the settlement side, and it is booked there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from decimal import Decimal
from itertools import count
from typing import Any, Protocol

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError, OrderDenied, StaleCycleError
from polyframe.exchange.base import PositionContracts
from polyframe.model.conversion import (
    Conversion,
    ConversionKind,
    ConversionStatus,
    Receipt,
    ReceiptState,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.trading.commands import (
    ApplyReceipt,
    BeginConversion,
    Command,
    Denied,
    Ignored,
    Reply,
)
from polyframe.trading.ledger import Journal
from polyframe.trading.reconcile import ReconcileReport
from polyframe.trading.recount import Recount
from polyframe.trading.requests import Bell
from polyframe.trading.risk import RiskGuard
from polyframe.trading.settlement import Settlement
from polyframe.trading.snapshots import Snapshots
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)

ASK_FIRST, ASK_CAP = 2.0, 15.0
"""Market seconds between two questions for a transaction: at first, and at most."""

GONE_AFTER = 900.0
"""Market seconds after which a transaction that nobody knows of cannot come any more: what is signed
is good for ten minutes (PROTOCOL §7.4)."""

GIVE_UP_AFTER = 6 * 3600.0
"""Market seconds after which an end that cannot be found out is no longer looked for."""

_DONE = ReceiptState.CONFIRMED


class ConversionDesk(Protocol):
    """The trading service, as far as conversions need it."""

    @property
    def generation(self) -> int | None:
        """The engine's generation, ``None`` while trading is paused."""
        ...

    def state(self, market: Market) -> CycleState | None:
        """Return the state of a cycle, open or over."""
        ...

    def submit(self, command: Command) -> Reply:
        """Apply a command to the current cycle."""
        ...

    def denied(
        self, rule: str, text: str, market: Market | None = None, *, strategy: str = ""
    ) -> OrderDenied:
        """Count a denial."""
        ...

    async def reconcile(self, trigger: str) -> ReconcileReport:
        """Compare the current cycle with the venue."""
        ...

    def check_conversion(
        self, strategy: str, kind: ConversionKind, shares: Decimal
    ) -> Denied | None:
        """Return why the strategy's guards forbid it in the current cycle."""
        ...


def judge(
    state: CycleState, conversion: Conversion, shares: Mapping[Outcome, Decimal]
) -> ReceiptState:
    """Return what the shares on chain tell of a conversion: it happened, it did not, or nothing.

    The shares have to be exactly those with it, or exactly those without it. While a trade is under way
    they tell nothing: the chain may have any part of it, and what fits by chance would be believed.

    Args:
        state: The books of its cycle, in which it is not booked.
        conversion: The conversion.
        shares: What is on chain.
    """
    moved = conversion.shares if conversion.kind is ConversionKind.SPLIT else -conversion.shares
    differences = {shares[outcome] - state.settled(outcome) for outcome in Outcome}
    if state.trades_under_way or len(differences) > 1:
        return ReceiptState.UNKNOWN
    told = {moved: ReceiptState.CONFIRMED, ZERO: ReceiptState.FAILED}
    return told.get(differences.pop(), ReceiptState.UNKNOWN)


class Conversions:
    """The conversions of an environment.

    Args:
        contracts: Who carries them out, ``None`` if nobody does: all are denied then.
        settlement: Owns the books of dead cycles.
        clock: Market time.
        counters: Where they are counted.
        ledger: Where they are written down.
        risk: Is asked before each.
        snapshots: Have each one before it leaves.
        recount: Is told how those of an earlier run ended.
    """

    def __init__(
        self,
        contracts: PositionContracts | None,
        *,
        settlement: Settlement,
        clock: Clock,
        counters: Counters,
        ledger: Journal,
        risk: RiskGuard,
        snapshots: Snapshots | None = None,
        recount: Recount | None = None,
    ) -> None:
        self._contracts = contracts
        self._settlement = settlement
        self._clock = clock
        self._counters = counters
        self._ledger = ledger
        self._risk = risk
        self._snapshots = snapshots
        self._recount = recount
        if recount is not None:
            recount.read_trades = self.read_trades
        self._inherited: set[str] = set()
        self._desks: list[ConversionDesk] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._bell = Bell()

    def attach(self, desk: ConversionDesk) -> None:
        """Take a trading service in: what is told of its open cycle is applied there."""
        self._desks.append(desk)

    @property
    def are_offered(self) -> bool:
        """Whether anybody carries conversions out."""
        return self._contracts is not None

    async def stop(self) -> None:
        """Stop asking; what is open stays open in the books, and in the snapshots."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------ split and merge

    def begin(
        self,
        desk: ConversionDesk,
        market: Market,
        strategy: str,
        kind: ConversionKind,
        shares: Decimal,
    ) -> Conversion:
        """Register a conversion, send it in the background, and return it as it is now.

        Args:
            desk: The trading service of the cycle.
            market: The market of the cycle.
            strategy: Whose shares.
            kind: Split or merge.
            shares: Pairs, which is also USD.

        Raises:
            StaleCycleError: The cycle is over; nothing was sent.
            OrderDenied: Refused here; nothing was sent.
        """
        state = desk.state(market)
        if state is None or desk.generation != market.generation:
            self._counters.add(Count.ENGINE_STALE, "BeginConversion")
            raise StaleCycleError(kind.value, market.generation, desk.generation)
        if self._contracts is None:
            text = "nobody splits and merges here; see Environment(contracts=...)"
            raise desk.denied("contracts", text, strategy=strategy)
        if (denied := self._risk.check_conversion(kind, shares, state)) is not None:
            raise desk.denied(denied.rule, denied.text, strategy=strategy)
        names = (f"{market.slug}-{kind.value}-{number}" for number in count(1))
        name = next(name for name in names if name not in state.conversions)
        if (denied := desk.check_conversion(strategy, kind, shares)) is not None:
            raise desk.denied(denied.rule, denied.text, strategy=strategy)
        reply = desk.submit(
            BeginConversion(market.generation, name, strategy, kind, shares, self._now_ms())
        )
        if isinstance(reply, Denied):
            raise desk.denied(reply.rule, reply.text, strategy=strategy)
        begun = state.conversions[name]
        self._note(market, begun)
        self._spawn(self._carry_out(self._contracts, state, begun), f"{kind.value} {name}")
        return begun

    async def wait(self, state: CycleState, conversion_id: str) -> Conversion:
        """Return a conversion once its end is known. Put a time-out around it."""
        while state.conversions[conversion_id].is_open:
            await self._bell.wait()
        return state.conversions[conversion_id]

    def resume(self, state: CycleState) -> None:
        """Go on asking for what an earlier run has left open in a cycle, the cash being counted."""
        left = state.open_conversion
        if left is not None and self._contracts is not None:
            self._inherited.add(left.conversion_id)
            name = f"{left.kind.value} {left.conversion_id}"
            self._spawn(self._follow(self._contracts, state, left), name)

    async def look(self, states: Iterable[CycleState]) -> None:
        """Book what is on chain already of what an earlier run has left open.

        Between two of these looks that book nothing, none of it can have moved the cash.

        Raises:
            ExchangeError: The venue did not answer.
        """
        for state in states:
            left, contracts = state.open_conversion, self._contracts
            if left is None or contracts is None:
                continue
            is_mined = False
            if left.transaction_id:
                receipt = await contracts.fetch_receipt(left.transaction_id)
                is_mined = receipt.is_mined or receipt.state is _DONE
            if is_mined or judge(state, left, await contracts.fetch_shares(state.market)) is _DONE:
                self._apply(state, left.conversion_id, Receipt(_DONE, text="it is on chain"))

    async def _carry_out(
        self, contracts: PositionContracts, state: CycleState, begun: Conversion
    ) -> None:
        market, name = state.market, begun.conversion_id
        # A program that is killed after this must know that it may have happened.
        if self._snapshots is not None and not await self._snapshots.write_now(market.slug):
            text = "not sent: it could not be written down"
            self._apply(state, name, Receipt(ReceiptState.FAILED, "", text))
            return
        act = contracts.split if begun.kind is ConversionKind.SPLIT else contracts.merge
        self._apply(state, name, await self._sent(act(market, begun.shares), name))
        await self._follow(contracts, state, begun)

    async def _sent(self, request: Coroutine[Any, Any, Receipt], name: str) -> Receipt:
        try:
            return await request
        except ExchangeError as error:
            return Receipt(ReceiptState.UNKNOWN, "", str(error))
        except Exception as error:  # whatever a client of others raises: it may have left
            log.exception("%s: sending it failed", name)
            return Receipt(ReceiptState.UNKNOWN, "", repr(error))

    async def _follow(
        self, contracts: PositionContracts, state: CycleState, begun: Conversion
    ) -> None:
        """Ask until the end of a conversion is known, or for hours in vain."""
        name, delay = begun.conversion_id, ASK_FIRST
        give_up = self._clock.time() + GIVE_UP_AFTER
        while (now := state.conversions[name]).is_open:
            if self._clock.time() > give_up:
                log.error("%s: how it ended was not found out; it holds what it gives", name)
                return
            try:
                self._apply(state, name, await self._look(contracts, state, now))
            except ExchangeError as error:
                log.warning("%s: asking for its end failed: %s", name, error)
            except Exception:  # a client of others; the next question may do better
                log.exception("%s: asking for its end failed", name)
            if state.conversions[name].is_open:
                await self._clock.sleep(delay)
                delay = min(delay * 1.5, ASK_CAP)

    async def _look(
        self, contracts: PositionContracts, state: CycleState, now: Conversion
    ) -> Receipt:
        """Return what is known of an open conversion.

        Raises:
            ExchangeError: The venue did not answer.
        """
        if now.transaction_id:
            receipt = await contracts.fetch_receipt(now.transaction_id)
            if receipt.state is not ReceiptState.UNKNOWN:
                return receipt
        # A fill that was never told would be taken for the conversion, or for there being none.
        await self.read_trades(state)
        shares = await contracts.fetch_shares(state.market)
        told = judge(state, now, shares)
        is_gone = self._clock.time() * 1000 > now.created_ms + GONE_AFTER * 1000
        if told is ReceiptState.CONFIRMED:
            return Receipt(told, text="the shares on chain tell")
        if told is ReceiptState.FAILED and is_gone:
            return Receipt(told, text="the shares on chain tell: it never happened")
        if is_gone and state.winner is not None and not any(shares.values()):
            # All is paid out, so nothing can tell; and it makes no difference: a pair is 1 USD.
            return Receipt(ReceiptState.FAILED, text="the market is resolved and paid out")
        return Receipt(ReceiptState.UNKNOWN, text="no transaction of it is known")

    async def read_trades(self, state: CycleState) -> None:
        """Make the books of a cycle know all trades that the venue has.

        Raises:
            ExchangeError: The venue did not answer, or the cycle ended meanwhile.
        """
        desk = self._desk_of(state)
        if desk is None:
            await self._settlement.fetch_missed_trades(state)
            return
        try:
            report = await desk.reconcile("conversion")
        except StaleCycleError as error:
            raise ExchangeError(str(error)) from error
        if report.error:
            raise ExchangeError(report.error)

    def _apply(self, state: CycleState, name: str, receipt: Receipt) -> None:
        market = state.market
        command = ApplyReceipt(
            market.generation,
            name,
            receipt.state,
            receipt.transaction_id,
            receipt.text,
            self._now_ms(),
        )
        reply = self._submit(state, command)
        if isinstance(reply, Ignored):
            return
        changed = state.conversions[name]
        if self._recount is not None and not changed.is_open and name in self._inherited:
            self._inherited.discard(name)
            self._recount.ended(state, changed)
        self._counters.add(Count.CONVERSIONS, changed.status.value)
        self._note(market, changed)
        self._bell.ring()
        if changed.status is ConversionStatus.FAILED:
            log.warning("%s failed: %s", name, changed.text)

    def _submit(self, state: CycleState, command: ApplyReceipt) -> Reply:
        desk = self._desk_of(state)
        return (
            self._settlement.take_receipt(state, command) if desk is None else desk.submit(command)
        )

    def _desk_of(self, state: CycleState) -> ConversionDesk | None:
        """Return who has the books of a cycle while it is open, ``None`` for the settlement side."""
        for desk in self._desks:
            if desk.generation == state.generation and desk.state(state.market) is state:
                return desk
        return None

    # ------------------------------------------------------------------ helpers

    def _spawn(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)

    def _note(self, market: Market, conversion: Conversion) -> None:
        data = {
            "id": conversion.conversion_id,
            "strategy": conversion.strategy,
            "kind": conversion.kind,
            "shares": f"{conversion.shares:f}",
            "status": conversion.status,
            "transaction": conversion.transaction_id,
            "text": conversion.text,
        }
        self._ledger.note("conversion", data, market)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
