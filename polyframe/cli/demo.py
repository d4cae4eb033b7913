"""``polyframe demo``: a few cycles against the local venue, at many times their speed."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from attrs import define

from polyframe.cli.console import open_console
from polyframe.cli.loading import check_prices, fit_local, load_strategy, read_texts
from polyframe.cli.options import DemoOptions, Source
from polyframe.cli.show import Show
from polyframe.cli.stopping import Stopper
from polyframe.clock import ScaledClock
from polyframe.environment import Environment
from polyframe.errors import ConfigError
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.model.series import Series
from polyframe.reference import ReferencePrices
from polyframe.scheduler import ScheduleSettings
from polyframe.strategy import Strategy
from polyframe.trader import Trader, TraderSettings

if TYPE_CHECKING:
    from polyframe.venue import MarketSource

SERIES = Series.parse("btc-updown-15m")

SYNTHETIC_START = 1_893_456_000
"""Where synthetic markets begin: 2030-01-01 00:00 UTC, so that none looks like a recorded one."""

CREDIT = "Order books: Resolved Markets (resolvedkit), CC BY 4.0"

LEAD = 0.0
"""Market seconds before the first window at which the clock is held until everything is open."""

RESOLUTION_WAIT = 200.0
"""Market seconds within which the last market is resolved and asked about, at the latest."""

AFTER_THE_LAST = 2.0
"""Real seconds after the last recorded market in which the trader may end by itself."""


def run_demo(options: DemoOptions) -> int:
    """Run the demo and return its exit code.

    Raises:
        ConfigError: An option that cannot be.
        StrategyDefinitionError: The strategy would leak state between cycles.
        ExchangeError: The local venue did not answer.
    """
    strategy = load_strategy(options.strategy, read_texts(options.settings))
    strategy = fit_strategy(strategy, options.source)
    source = open_source(options)
    stopper = Stopper()
    stopper.install()
    console, view = open_console(stopper, plain=options.plain, verbose=options.verbose)
    show = Show(stopper, console, view, ["Paper money at a venue on this machine."])
    if options.source is Source.REAL:
        show.credits.append(CREDIT)
    demo = Demo(options, strategy, source, show, end_of(source))
    return asyncio.run(show.main(demo.play()))


def fit_strategy(strategy: Strategy, source: Source) -> Strategy:
    """Return `strategy` as it can live on these order books.

    Raises:
        ConfigError: It needs reference prices, and none were recorded.
    """
    if source is Source.REAL:
        check_prices(strategy, "watch it with --source synthetic, which has some")
        return strategy
    return fit_local(strategy)


def open_source(options: DemoOptions) -> MarketSource:
    """Return the order books that `options` ask for.

    Raises:
        ConfigError: The recording is not installed, or has fewer markets than cycles are wanted.
    """
    from polyframe.venue import ResolvedMarketsSource, SyntheticSource

    if options.source is Source.SYNTHETIC:
        return SyntheticSource(SERIES, options.seed, first=SYNTHETIC_START)
    recording = ResolvedMarketsSource()
    markets = len(recording.markets)
    if options.cycles > markets:
        msg = (
            f"cycles: the recording has {markets} markets, got {options.cycles}; ask for at most "
            f"{markets}, or use --source synthetic, which never ends"
        )
        raise ConfigError(msg)
    return recording


def end_of(source: MarketSource) -> float:
    """Return when the last market is over in epoch seconds, ``inf`` for a source without end."""
    from polyframe.venue import ResolvedMarketsSource

    return source.markets[-1].end if isinstance(source, ResolvedMarketsSource) else math.inf


@define(eq=False)
class Demo:
    """One run of the demo."""

    options: DemoOptions
    strategy: Strategy
    source: MarketSource
    show: Show
    ends: float = math.inf
    """When the last market of the source is over, in epoch seconds."""

    async def play(self) -> None:
        """Open the venue, trade, and wait for the results."""
        from polyframe.venue import LocalVenue

        options = self.options
        first = self.source.next_market(0)
        if first is None:
            msg = "source: it has no markets"
            raise ConfigError(msg)
        clock = ScaledClock(options.speed, first.start - LEAD, held=True)
        async with LocalVenue(self.source, clock=clock) as venue:
            self._say_hello(venue.url)
            exchange = PolymarketExchange.local(venue.url, venue.account)
            self.show.env = Environment(exchange, clock=clock)
            if options.source is Source.SYNTHETIC:
                self.show.env.provide(ReferencePrices(exchange, SERIES))
            async with self.show.env as env:
                await self._trade(env, clock)

    def _say_hello(self, url: str) -> None:
        options = self.options
        books = f"{CREDIT}; no reference prices were recorded"
        if options.source is Source.SYNTHETIC:
            books = f"Order books and reference prices: synthetic, seed {options.seed}"
        cycles = f"{options.cycles} cycle{'s' if options.cycles > 1 else ''}"
        settings = f" ({', '.join(options.settings)})" if options.settings else ""
        self.show.say(
            f"{cycles} of {SERIES} at {options.speed:g}× speed, "
            f"strategy {options.strategy}{settings}",
            f"Venue: {url} on this machine, paper money",
            books,
        )

    async def _trade(self, env: Environment, clock: ScaledClock) -> None:
        options = self.options
        trader = Trader(env, trader_settings(options.speed))
        trader.add(self.strategy, on=SERIES)
        title = f"{type(self.strategy).__name__} on {SERIES}, {options.speed:g}×"
        async with self.show.follow(env, trader, title, options.cycles):
            clock.release()
            await self._run(env, trader)
            await self.show.wait_resolved(env, RESOLUTION_WAIT / options.speed + 5)

    async def _run(self, env: Environment, trader: Trader) -> None:
        """Trade the cycles that are wanted, or those that are left if the first were missed."""
        left = (self.ends - env.clock.time()) / self.options.speed + AFTER_THE_LAST
        try:
            async with asyncio.timeout(left if left < math.inf else None):
                await trader.run(self.options.cycles)
        except TimeoutError:
            told = f"The recording is over after {len(env.ledger)} of {self.options.cycles} cycles."
            self.show.notes.append(told)


def trader_settings(speed: float) -> TraderSettings:
    """Return settings whose deadlines fit into the demo's own (`polyframe.cli.stopping`)."""
    # A second is needed to fetch a market and to connect, however fast market time runs.
    schedule = ScheduleSettings(prepare_ahead=max(60.0, speed))
    return TraderSettings(cycle_end_timeout=1.5, shutdown_timeout=2.5, schedule=schedule)
