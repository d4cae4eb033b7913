"""Trades of one simulated market: from the match over the chain to the last status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal

from polyframe.model.events import TradeReport
from polyframe.model.money import ZERO
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.testing.faults import Fault
from polyframe.testing.simvalues import SimTrade, SimWorld


class SimTrades:
    """All trades of one market in which the account took part."""

    def __init__(self, world: SimWorld) -> None:
        self._world = world
        self._market = world.market
        self._trades: dict[str, SimTrade] = {}
        self._unsettled = 0

    def __iter__(self) -> Iterator[SimTrade]:
        """Iterate over the trades in the order of their matches."""
        return iter(self._trades.values())

    def __len__(self) -> int:
        return len(self._trades)

    def get(self, trade_id: str) -> SimTrade | None:
        """Return one trade, ``None`` if there is none."""
        return self._trades.get(trade_id)

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
            timestamp_ms=self._world.now_ms(),
        )

    def add(self, token: str, legs: tuple[TradeLeg, ...]) -> SimTrade:
        """Keep a new trade, whose legs are booked already, and let it settle."""
        trade_id = f"t-{self._market.slug}-{len(self._trades) + 1}"
        trade = SimTrade(
            trade_id, token, legs, self._world.now_ms(), next(self._world.account.numbers)
        )
        self._trades[trade_id] = trade
        self._unsettled += 1
        self._settle(trade)
        return trade

    def _settle(self, trade: SimTrade) -> None:
        loop, world = asyncio.get_running_loop(), self._world
        rng, faults = world.rng, world.faults
        mined = rng.uniform(*world.habits.mined)
        confirmed = mined + rng.uniform(*world.habits.confirmed)
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
                self._world.account.deliver(leg)
            elif status is TradeStatus.FAILED:
                self._world.account.book(leg, self.fee(leg), undo=True)
        if status.is_final:
            self._unsettled -= 1
            trade.settled = self._world.clock.time()
        self._world.send(self.report(trade))
