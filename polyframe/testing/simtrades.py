"""Trades of one simulated market: from the match over the chain to the last status."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from decimal import Decimal

from polyframe.clock import Clock
from polyframe.model.events import TradeReport, UserMessage
from polyframe.model.market import Market
from polyframe.model.money import ZERO
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.testing.faults import Fault, Faults
from polyframe.testing.simaccount import SimAccount
from polyframe.testing.simvalues import SimHabits, SimTrade


class SimTrades:
    """All trades of one market in which the account took part.

    Args:
        market: Names and fees.
        rng: Chance of the settlement.
        clock: Market time.
        account: Where deliveries and failures are booked.
        faults: What goes wrong.
        habits: Times.
        send: Sends a message to the account's stream.
    """

    def __init__(
        self,
        market: Market,
        *,
        rng: random.Random,
        clock: Clock,
        account: SimAccount,
        faults: Faults,
        habits: SimHabits,
        send: Callable[[UserMessage], None],
    ) -> None:
        self._market = market
        self._rng = rng
        self._clock = clock
        self._account = account
        self._faults = faults
        self._habits = habits
        self._send = send
        self._trades: dict[str, SimTrade] = {}
        self._unsettled = 0

    def __iter__(self) -> Iterator[SimTrade]:
        """Iterate over the trades in the order of their matches."""
        return iter(self._trades.values())

    def __len__(self) -> int:
        return len(self._trades)

    @property
    def are_final(self) -> bool:
        """Whether every trade is confirmed or failed."""
        return not self._unsettled

    def fee(self, leg: TradeLeg) -> Decimal:
        """Return the fee of one leg in USD."""
        return self._market.fees.taker_fee(leg.size, leg.price) if leg.is_taker else ZERO

    def report(self, trade: SimTrade) -> TradeReport:
        """Return what the venue says of a trade now."""
        return TradeReport(
            trade_id=trade.trade_id,
            market=self._market.condition_id,
            token=trade.token,
            status=trade.status,
            legs=trade.legs,
            match_time_ms=trade.time_ms,
            timestamp_ms=self._now_ms(),
        )

    def add(self, token: str, legs: tuple[TradeLeg, ...]) -> SimTrade:
        """Keep a new trade, whose legs are booked already, and let it settle."""
        trade_id = f"t-{self._market.slug}-{len(self._trades) + 1}"
        trade = SimTrade(trade_id, token, legs, self._now_ms())
        self._trades[trade_id] = trade
        self._unsettled += 1
        self._settle(trade)
        return trade

    def _settle(self, trade: SimTrade) -> None:
        loop, rng, faults = asyncio.get_running_loop(), self._rng, self._faults
        mined = rng.uniform(*self._habits.mined)
        confirmed = mined + rng.uniform(*self._habits.confirmed)
        if faults.hit(Fault.TRADE_RETRYING):
            loop.call_later(mined, self._advance, trade, TradeStatus.RETRYING)
            late = faults.source(Fault.TRADE_RETRYING).uniform(1.0, 60.0)
            mined, confirmed = mined + late, confirmed + late
        if faults.hit(Fault.TRADE_FAILED):
            late = faults.source(Fault.TRADE_FAILED).choice((0.01, 5.0, 120.0, 500.0, 2000.0))
            loop.call_later(mined + late, self._advance, trade, TradeStatus.FAILED)
            return
        loop.call_later(mined, self._advance, trade, TradeStatus.MINED)
        loop.call_later(confirmed, self._advance, trade, TradeStatus.CONFIRMED)

    def _advance(self, trade: SimTrade, status: TradeStatus) -> None:
        trade.status = status
        for leg in trade.legs:
            if status is TradeStatus.MINED:
                self._account.deliver(leg)
            elif status is TradeStatus.FAILED:
                self._account.book(leg, self.fee(leg), undo=True)
        if status.is_final:
            self._unsettled -= 1
            trade.settled = self._clock.time()
        self._send(self.report(trade))

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
