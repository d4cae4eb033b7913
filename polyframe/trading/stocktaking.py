"""Counting the account's cash: how much there is, and which trades are in it.

A trade of another program, or of an earlier run whose snapshot is lost, may be heard of only after
the count. Whether its money is in the count is decided by its id, not by comparing the venue's time
with ours, which may be wrong.
"""

from __future__ import annotations

import logging

from polyframe.clock import Clock
from polyframe.exchange.base import Exchange
from polyframe.model.money import ZERO
from polyframe.model.trade import TradeStatus
from polyframe.trading.account import Stock

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
    after = int(now - LOOK_BACK)
    cash, trades = ZERO, await _counted(exchange, after)
    for attempt in range(1, TRIES + 1):
        cash = await exchange.fetch_balance()
        before, trades = trades, await _counted(exchange, after)
        if trades == before:
            break
        log.info("the account traded while its cash was counted (%d)", attempt)
    else:
        log.warning("the account keeps trading; its cash is as of the last count")
    return Stock(cash, trades, int((now - LOOK_BACK / 2) * 1000))


async def _counted(exchange: Exchange, after: int) -> frozenset[str]:
    trades = await exchange.fetch_trades(None, after)
    return frozenset(t.trade_id for t in trades if t.status is not TradeStatus.FAILED)
