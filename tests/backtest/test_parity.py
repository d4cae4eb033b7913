"""A recorded paper run on simulated time, played again, is the same to the last digit."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from tempfile import TemporaryDirectory

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from polyframe.backtest.exchange import ReplayExchange
from polyframe.backtest.run import run_backtest
from polyframe.clock import Clock, VirtualClock
from polyframe.environment import Environment
from polyframe.exchange.base import (
    DataStream,
    Exchange,
    MarketSink,
)
from polyframe.model.events import MarketMessage, StreamState
from polyframe.model.market import Market
from polyframe.paper.models import PaperModels
from polyframe.recording.parquet import ParquetRecording, write_market
from polyframe.recording.tape import Gap, TapeEvent, Timed
from polyframe.trader import Trader
from tests.backtest.kit import SERIES, START, Eager, wandering
from tests.backtest.noted import CASH, MODELS, Got, Noted, did, got

pytest.importorskip("pyarrow")


@define(eq=False)
class Tapped:
    """A sink that keeps what it passes on, as a recorder does."""

    sink: MarketSink
    clock: Clock
    heard: list[TapeEvent]
    epoch: int = 0

    def on_market_message(self, message: MarketMessage) -> None:
        """Keep a message."""
        self.heard.append(Timed(round(self.clock.time() * 1000), self.epoch, message))
        self.sink.on_market_message(message)

    def on_market_stream(self, state: StreamState, reason: str) -> None:
        """Keep a change of the connection."""
        if state is StreamState.CONNECTED:
            self.epoch += 1
        else:
            self.heard.append(Gap(round(self.clock.time() * 1000), reason))
        self.sink.on_market_stream(state, reason)


class NotedAndTapped(Noted):
    """A paper exchange whose market streams are listened in on."""

    def __init__(self, inner: Exchange, clock: Clock, models: PaperModels) -> None:
        super().__init__(inner, clock, models)
        self.heard: dict[str, list[TapeEvent]] = {}

    @override
    def market_stream(self, market: Market, sink: MarketSink) -> DataStream:
        tap = Tapped(sink, self.clock, self.heard.setdefault(market.slug, []))
        return super().market_stream(market, tap)


@settings(max_examples=4)
@given(st.integers(0, 10_000), st.booleans())
def test_a_paper_run_in_simulated_time_played_again_is_the_same(
    seed: int, is_delayed: bool
) -> None:
    """Decisions and fills are equal to the millisecond and the micro-share; so is the profit."""
    data = wandering(seed, cycles=2, rows=60)
    models = PaperModels(seed=seed) if is_delayed else MODELS
    clock = VirtualClock(START - 60)

    async def trade() -> tuple[NotedAndTapped, list[Got], Decimal | None]:
        exchange = NotedAndTapped(ReplayExchange(data, models=models), clock, models)
        async with Environment(exchange, clock=clock) as env:
            trader = Trader(env, rng=random.Random(seed))
            trader.add(Eager(), on=SERIES)
            await trader.run(cycles=2)
            async with asyncio.timeout(3600):
                await env.settlement.wait_settled()
            return exchange, await exchange.got(), env.ledger.profit

    exchange, fills, profit = clock.run(trade())
    with TemporaryDirectory() as folder:
        for entry in data.markets():
            write_market(folder, entry, exchange.heard[entry.market.slug])
        report = run_backtest(Eager(), data=ParquetRecording(folder), models=models, cash=CASH)
    assert did(report.decisions) == exchange.did
    assert got(report) == fills
    assert report.profit == profit
    assert len(exchange.did) > 5
