"""Counting the account's cash: how much there is, and which trades are in it.

A trade of another program, or of an earlier run whose snapshot is lost, may be heard of only after
the count. Whether its money is in the count is decided by its id, not by comparing the venue's time
with ours, which may be wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from decimal import Decimal

from polyframe.clock import Clock
from polyframe.exchange.base import Exchange
from polyframe.model.events import TradeReport
from polyframe.model.money import ZERO
from polyframe.model.trade import TradeStatus
from polyframe.trading.account import Stock
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)

LOOK_BACK = 7200.0
"""Market seconds for which trades are listed; half of it, our clock may be wrong by."""
TRIES = 5
"""Counts after which the last one is taken, although trades keep coming in."""


async def count_cash(exchange: Exchange, clock: Clock) -> Stock:
    """Ask for the cash between two lists of trades that agree.

    Raises:
        ExchangeError: The venue did not answer.
    """
    now = clock.time()
    cash, trades = ZERO, _counted(await _listed(exchange, now))
    for attempt in range(1, TRIES + 1):
        cash = await exchange.fetch_balance()
        before, trades = trades, _counted(await _listed(exchange, now))
        if trades == before:
            break
        log.info("the account traded while its cash was counted (%d)", attempt)
    else:
        log.warning("the account keeps trading; its cash is as of the last count")
    return _stock(cash, trades, now)


async def count_once(exchange: Exchange, clock: Clock) -> tuple[Stock, list[TradeReport]] | None:
    """Ask once for the cash between two lists of trades; return it with the trades if they agree.

    Raises:
        ExchangeError: The venue did not answer.
    """
    now = clock.time()
    before = await _listed(exchange, now)
    cash = await exchange.fetch_balance()
    after = await _listed(exchange, now)
    if _counted(before) != _counted(after):
        return None
    return _stock(cash, _counted(after), now), after


def moves(states: Iterable[CycleState]) -> dict[str, tuple[Decimal, Decimal, int, int]]:
    """Return what has moved cash so far, by cycle; also what cancels itself out."""
    found = {}
    for state in states:
        failed = sum(fill.status is TradeStatus.FAILED for fill in state.fills.values())
        found[state.market.slug] = (state.cash_flow, state.payout, len(state.fills), failed)
    return found


async def _listed(exchange: Exchange, now: float) -> list[TradeReport]:
    return await exchange.fetch_trades(None, int(now - LOOK_BACK))


def _counted(trades: Iterable[TradeReport]) -> frozenset[str]:
    return frozenset(t.trade_id for t in trades if t.status is not TradeStatus.FAILED)


def _stock(cash: Decimal, trades: frozenset[str], now: float) -> Stock:
    return Stock(cash, trades, int((now - LOOK_BACK / 2) * 1000))
