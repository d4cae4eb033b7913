"""Counting the cash once more, because nobody knows whether the first count contains a conversion.

A conversion whose end is open when a program starts may be on chain already, and so in the cash that
is counted then, or may come later. Its end alone does not tell which. So it is taken as contained,
and as soon as nothing is open any more the venue's cash is asked for again: then it says it. The same
goes for a claim that turns out to have been redeemed, nobody knows when.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal

from attrs import frozen

from polyframe.clock import Clock
from polyframe.errors import ExchangeError
from polyframe.exchange.base import Exchange
from polyframe.model.conversion import Conversion, ConversionKind, ConversionStatus
from polyframe.model.events import TradeReport
from polyframe.model.market import Market
from polyframe.model.money import ZERO
from polyframe.model.order import Side
from polyframe.model.trade import Fill, TradeLeg, TradeStatus
from polyframe.trading.account import Account, Stock
from polyframe.trading.ledger import Journal
from polyframe.trading.ownorders import OwnOrders
from polyframe.trading.positions import exact
from polyframe.trading.requests import Bell
from polyframe.trading.state import CycleState
from polyframe.trading.stocktaking import count_once, moves

log = logging.getLogger(__name__)

PAUSE_FIRST, PAUSE_CAP = 2.0, 15.0
"""Market seconds between two looks at the venue's cash: at first, and at most."""

GIVE_UP_AFTER = 6 * 3600.0
"""Market seconds after which the cash is left as it is: the next start counts it."""

AGREEING = 5
"""Looks in a row that have to find the same difference; with the pauses they take 16 s at least.

An answer may be older than it seems: whom the venue asks may be some blocks behind the chain."""
AGREEING_UNEXPLAINED = 6
"""The same for a difference that no conversion explains, as after a deposit."""

MOST_SUMS = 4_096
"""What moves of cash may come to is told apart up to so many sums."""

ReadTrades = Callable[[CycleState], Awaitable[None]]


async def _read_nothing(_: CycleState) -> None:
    return


@frozen
class _Doubt:
    """A move of cash that may be in the count or not.

    Attributes:
        name: Of what moved it.
        off: USD that the venue has beyond our books if what was taken for true is not.
    """

    name: str
    off: Decimal


class Recount:
    """Makes the cash certain after conversions of an earlier run have ended.

    Args:
        account: Whose cash.
        exchange: The venue.
        own: All cycles that are kept.
        clock: Market time.
        ledger: Where a new count is written down.

    Attributes:
        read_trades: Makes the books of a cycle know all trades that the venue has.
    """

    def __init__(
        self, account: Account, *, exchange: Exchange, own: OwnOrders, clock: Clock, ledger: Journal
    ) -> None:
        self._account = account
        self._exchange = exchange
        self._own = own
        self._clock = clock
        self._ledger = ledger
        self._doubts: list[_Doubt] = []
        self._pauses = 0
        self._is_over = False
        self._counting: asyncio.Task[None] | None = None
        self._bell = Bell()
        self.read_trades: ReadTrades = _read_nothing

    async def stop(self) -> None:
        """Stop counting, for good; the next start counts in any case."""
        self._is_over = True
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)

    async def wait(self) -> None:
        """Return once the cash is certain. Put a time-out around it."""
        while self._doubts:
            await self._bell.wait()

    def ended(self, state: CycleState, conversion: Conversion) -> None:
        """Take note that a conversion which was open when the cash was counted has just ended.

        What it has booked is taken as contained in the count, so that it cannot be spent twice.
        """
        pairs = conversion.shares
        moved = -pairs if conversion.kind is ConversionKind.SPLIT else pairs
        if conversion.status is ConversionStatus.CONFIRMED:
            self._account.presume(moved)
            off = moved
        elif state.winner is not None:
            # It may have happened before the count: then the market has paid for other shares than
            # those in the books.
            off = -moved
        else:
            return
        self._doubt(conversion.conversion_id, off)

    def was_paid(self, market: Market, amount: Decimal) -> None:
        """Take note that a claim was booked as cash that somebody redeemed, nobody knows when."""
        self._account.presume(amount)
        self._doubt(f"{market.slug}-redeem", amount)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Believe no count meanwhile: cash moves that is in no books yet."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1

    def _doubt(self, name: str, off: Decimal) -> None:
        self._account.doubt(max(-off, ZERO))
        self._doubts.append(_Doubt(name, off))
        if not self._is_over and (self._counting is None or self._counting.done()):
            self._counting = asyncio.create_task(self._run(), name="count the cash again")

    async def _run(self) -> None:
        """Count until the cash is certain, or for hours in vain."""
        delay, give_up = PAUSE_FIRST, self._clock.time() + GIVE_UP_AFTER
        last, times = None, 0
        while self._doubts:
            if self._clock.time() > give_up:
                log.error("the cash is not certain: it could not be counted in peace for hours")
                return
            stock = await self._patiently()
            if stock is not None:
                # Against our books, so that what is traded between two looks makes no difference.
                found = (stock.cash - self._account.cash, len(self._doubts))
                last, times = found, (times + 1 if found == last else 1)
                if times >= self._wanted(found[0]):
                    self._take(stock)
                    return
            await self._clock.sleep(delay)
            delay = min(delay * 1.5, PAUSE_CAP)

    def _wanted(self, difference: Decimal) -> float:
        """Return how many looks in a row have to find this difference."""
        states, explained = self._own.states(), self._explained()
        if difference in explained:
            # What is booked of a trade may not have moved the venue's cash: it comes on chain later.
            fills = (fill for state in states for fill in state.fills.values())
            late = _sums(_cash_of(fill) for fill in fills if not fill.status.is_final)
            if late is None or any(usd and difference + usd in explained for usd in late):
                return float("inf")
            return AGREEING
        # Trades may move the venue's cash only when they are on chain.
        is_moving = any(state.trades_under_way for state in states)
        return float("inf") if is_moving else AGREEING_UNEXPLAINED

    def _explained(self) -> set[Decimal]:
        """Return all differences that some of the conversions in doubt explain."""
        return _sums(doubt.off for doubt in self._doubts) or set()

    def _take(self, stock: Stock) -> None:
        was = self._account.cash
        names = [doubt.name for doubt in self._doubts]
        is_explained = stock.cash - was in self._explained()
        self._account.take_stock(stock)
        self._doubts.clear()
        self._bell.ring()
        level = logging.INFO if is_explained else logging.WARNING
        text = "the cash was counted again after %s: %s USD, not %s"
        log.log(level, text, ", ".join(names), stock.cash, was)
        note = {"was": f"{was:f}", "is": f"{stock.cash:f}", "after": names}
        self._ledger.note("recount", {**note, "explained": is_explained})

    # ------------------------------------------------------------------ one look

    async def _patiently(self) -> Stock | None:
        try:
            return await self._look()
        except ExchangeError as error:
            log.warning("counting the cash again failed: %s", error)
        except Exception:  # a defect; the next look may do better
            log.exception("counting the cash again failed")
        return None

    async def _look(self) -> Stock | None:
        """Return a count that contains what our books contain, ``None`` if there is none now.

        Raises:
            ExchangeError: The venue did not answer.
        """
        before = self._books()
        counted = await count_once(self._exchange, self._clock)
        if counted is None:
            return None
        stock, trades = counted
        for state in _lacking(self._own.states(), trades):
            await self.read_trades(state)
        if _has_unlisted(self._own.states(), stock):
            return None
        # Asked after the cash, whatever our clock says of the end of a window: a market that is not
        # resolved now had not paid then.
        unresolved = [state for state in self._own.states() if state.winner is None]
        for state in unresolved:
            if await self._exchange.fetch_resolution(state.market) is not None:
                return None
        return stock if self._books() == before and self._is_quiet() else None

    def _is_quiet(self) -> bool:
        """Return whether nothing is under way that moves cash and is not a trade."""
        is_converting = any(state.open_conversion for state in self._own.states())
        return not (self._pauses or is_converting)

    def _books(self) -> object:
        return self._account.cash, self._account.claimable, moves(self._own.states())


def _sums(moves: Iterable[Decimal]) -> set[Decimal] | None:
    """Return what any of `moves` come to, ``None`` if there are too many for it to tell anything."""
    sums = {ZERO}
    for usd in moves:
        sums |= {total + usd for total in sums}
        if len(sums) > MOST_SUMS:
            return None
    return sums


def _cash_of(fill: Fill) -> Decimal:
    """Return the cash that a fill moves in USD, as the books have it."""
    notional = exact(fill.price * fill.size)
    return (-notional if fill.side is Side.BUY else notional) - fill.fee


def _lacking(states: Iterable[CycleState], trades: Iterable[TradeReport]) -> list[CycleState]:
    """Return the cycles whose books do not agree with a list of trades."""
    by_token = {}
    for state in states:
        for token in (state.market.up_token, state.market.down_token):
            by_token[token] = state
    found: dict[str, CycleState] = {}
    for report in trades:
        for leg in report.legs:
            concerned = by_token.get(leg.token)
            if concerned is not None and not _agrees(concerned, report, leg):
                found[concerned.market.slug] = concerned
    return list(found.values())


def _agrees(state: CycleState, report: TradeReport, leg: TradeLeg) -> bool:
    """Return whether books have the money of one part of a trade if the venue has moved it."""
    order = state.order_by_venue_id(leg.order_id)
    fill = None if order is None else state.fills.get((report.trade_id, order.client_id))
    has_moved = fill is not None and fill.status is not TradeStatus.FAILED
    return has_moved is (report.status is not TradeStatus.FAILED and leg.size > 0)


def _has_unlisted(states: Iterable[CycleState], stock: Stock) -> bool:
    """Return whether books have a trade that a count should have listed, and has not."""
    return any(
        fill.status is not TradeStatus.FAILED
        and fill.time_ms >= stock.old_ms
        and fill.trade_id not in stock.trades
        for state in states
        for fill in state.fills.values()
    )
