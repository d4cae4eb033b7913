"""``polyframe demo``: a few cycles against the local venue, at many times their speed."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
from typing import TYPE_CHECKING

from attrs import define, evolve, field
from rich.console import Console
from rich.logging import RichHandler
from typing_extensions import override

from polyframe.cli.loading import check_prices, load_strategy
from polyframe.cli.options import DemoOptions, Source
from polyframe.cli.report import print_report
from polyframe.cli.screen import LiveView, PlainView, Scene, View
from polyframe.cli.stopping import Stopper
from polyframe.cli.watch import Event, Watch
from polyframe.clock import ScaledClock
from polyframe.environment import Environment
from polyframe.errors import ConfigError
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.model.series import Series
from polyframe.reference import ReferencePrices
from polyframe.scheduler import ScheduleSettings
from polyframe.strategies import MarketMaker, Momentum
from polyframe.strategies.blocks.fairvalue import PriceModel
from polyframe.strategy import Strategy
from polyframe.trader import Trader, TraderSettings

if TYPE_CHECKING:
    from polyframe.venue import MarketSource

log = logging.getLogger(__name__)

SERIES = Series.parse("btc-updown-15m")

SYNTHETIC_START = 1_893_456_000
"""Where synthetic markets begin: 2030-01-01 00:00 UTC, so that none looks like a recorded one."""

CREDIT = "Order books: Resolved Markets (resolvedkit), CC BY 4.0"

START_UP = 0.5
"""Real seconds in which the venue and the environment open before the first window begins."""

RESOLUTION_WAIT = 200.0
"""Market seconds within which the last market is resolved and asked about, at the latest."""

AFTER_THE_LAST = 2.0
"""Real seconds after the last recorded market in which the trader may end by itself."""

PLAIN_WIDTH = 100


def run_demo(options: DemoOptions) -> int:
    """Run the demo and return its exit code.

    Raises:
        ConfigError: An option that cannot be.
        StrategyDefinitionError: The strategy would leak state between cycles.
        ExchangeError: The local venue did not answer.
    """
    stopper = Stopper()
    stopper.install()
    console = DemoConsole(stopper)
    live = console.is_terminal and not console.is_dumb_terminal and not options.plain
    if not live:
        console = DemoConsole(stopper, plain=True)
    set_up_logging(verbose=options.verbose, console=console if live else None)
    source = open_source(options)
    demo = Demo(
        options=options,
        strategy=fit_strategy(load_strategy(options.strategy), options.source),
        source=source,
        stopper=stopper,
        console=console,
        view=LiveView(console) if live else PlainView(console),
        ends=end_of(source),
    )
    return asyncio.run(demo.main())


class DemoConsole(Console):
    """Standard output. If its reader goes away (``polyframe demo | head``), the demo ends in order.

    Args:
        stopper: Asked to stop then.
        plain: No control codes, whatever standard output is.
    """

    def __init__(self, stopper: Stopper, *, plain: bool = False) -> None:
        super().__init__(
            highlight=False,
            emoji=False,
            markup=False,
            force_terminal=False if plain else None,
            color_system=None if plain else "auto",
            width=PLAIN_WIDTH if plain else None,
        )
        self._stopper = stopper

    @override
    def on_broken_pipe(self) -> None:
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        # Windows has no such signal.
        self._stopper.stop(getattr(signal, "SIGPIPE", signal.SIGTERM))


def fit_strategy(strategy: Strategy, source: Source) -> Strategy:
    """Return `strategy` as it can live on these order books.

    Raises:
        ConfigError: It needs reference prices, and none were recorded.
    """
    if source is Source.REAL:
        check_prices(strategy, "watch it with --source synthetic, which has some")
    elif isinstance(strategy, Momentum | MarketMaker) and strategy.model is None:
        # The local venue's prices are no averages, unlike those that the real venue settles by.
        return evolve(strategy, model=PriceModel.LAST)
    return strategy


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


def set_up_logging(*, verbose: bool, console: Console | None) -> None:
    """Log to standard error, through the live screen's `console` if both share a terminal."""
    handler: logging.Handler
    if console is not None and sys.stderr.isatty():
        handler = RichHandler(console=console, show_path=False, rich_tracebacks=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    # The transports log every request at INFO: that is theirs, not what -v is for.
    logging.getLogger("polyframe").setLevel(logging.INFO if verbose else logging.WARNING)


@define(eq=False)
class Demo:
    """One run of the demo."""

    options: DemoOptions
    strategy: Strategy
    source: MarketSource
    stopper: Stopper
    console: Console
    view: View
    ends: float = math.inf
    """When the last market of the source is over, in epoch seconds."""
    _env: Environment | None = field(init=False, default=None)
    _notes: list[str] = field(init=False, factory=list)

    async def main(self) -> int:
        """Play, report, and return the exit code."""
        task = asyncio.current_task()
        if task is not None:
            self.stopper.bind(task)
        self.stopper.last_words = self._report
        try:
            await self._play()
        except asyncio.CancelledError:
            if self.stopper.signal is None:
                raise
        if self.stopper.signal is not None:
            self._notes.append(f"Stopped by {self.stopper.signal.name}.")
        if self.stopper.last_words is not None:
            self.stopper.last_words = None
            self._report()
        # A task that swallows its cancellation, or a thread that never ends, is not waited for.
        self.stopper.linger(self.stopper.exit_code)
        return self.stopper.exit_code

    def _report(self) -> None:
        self.view.close()
        env = self._env
        if env is not None:
            notes = [*self._notes, "Paper money at a venue on this machine."]
            if self.options.source is Source.REAL:
                notes.append(CREDIT)
            print_report(self.console, env.ledger, env.counters, notes=notes)
        self.console.file.flush()

    async def _play(self) -> None:
        from polyframe.venue import LocalVenue

        options = self.options
        first = self.source.next_market(0)
        if first is None:
            msg = "source: it has no markets"
            raise ConfigError(msg)
        clock = ScaledClock(options.speed, first.start - START_UP * options.speed)
        async with LocalVenue(self.source, clock=clock) as venue:
            self._say_hello(venue.url)
            exchange = PolymarketExchange.local(venue.url, venue.account)
            self._env = Environment(exchange, clock=clock)
            if options.source is Source.SYNTHETIC:
                self._env.provide(ReferencePrices(exchange, SERIES))
            async with self._env as env:
                await self._trade(env, first.start)

    def _say_hello(self, url: str) -> None:
        options = self.options
        books = f"{CREDIT}; no reference prices were recorded"
        if options.source is Source.SYNTHETIC:
            books = f"Order books and reference prices: synthetic, seed {options.seed}"
        cycles = f"{options.cycles} cycle{'s' if options.cycles > 1 else ''}"
        for line in (
            f"{cycles} of {SERIES} at {options.speed:g}× speed, strategy {options.strategy}",
            f"Venue: {url} on this machine, paper money",
            books,
        ):
            self.console.print(line, soft_wrap=True)

    async def _trade(self, env: Environment, start: float) -> None:
        options = self.options
        trader = Trader(env, trader_settings(options.speed))
        trader.add(self.strategy, on=SERIES)
        watch = Watch(env, trader, SERIES, self._tell, self._wants_more)
        title = f"{type(self.strategy).__name__} on {SERIES}, {options.speed:g}×"
        scene = Scene(env, trader, SERIES, watch, title, options.cycles)
        drawing = asyncio.create_task(self.view.show(scene), name="screen")
        try:
            await env.clock.sleep_until(start)
            await self._run(env, trader)
            await self._wait_resolved(env)
        finally:
            drawing.cancel()
            (end,) = await asyncio.gather(drawing, return_exceptions=True)
            if isinstance(end, Exception):
                log.error("the screen failed", exc_info=end)

    async def _run(self, env: Environment, trader: Trader) -> None:
        """Trade the cycles that are wanted, or those that are left if the first were missed."""
        left = (self.ends - env.clock.time()) / self.options.speed + AFTER_THE_LAST
        try:
            async with asyncio.timeout(left if left < math.inf else None):
                await trader.run(self.options.cycles)
        except TimeoutError:
            told = f"The recording is over after {len(env.ledger)} of {self.options.cycles} cycles."
            self._notes.append(told)

    async def _wait_resolved(self, env: Environment) -> None:
        try:
            async with asyncio.timeout(RESOLUTION_WAIT / self.options.speed + 5):
                await env.settlement.wait_settled()
        except TimeoutError:
            self._notes.append(f"Not resolved in time: {', '.join(env.settlement.pending)}")

    def _tell(self, event: Event) -> None:
        self.view.tell(event)

    def _wants_more(self) -> bool:
        begun = 0 if self._env is None else len(self._env.ledger)
        return self.stopper.signal is None and begun < self.options.cycles


def trader_settings(speed: float) -> TraderSettings:
    """Return settings whose deadlines fit into the demo's own (`polyframe.cli.stopping`)."""
    # A second is needed to fetch a market and to connect, however fast market time runs.
    schedule = ScheduleSettings(prepare_ahead=max(60.0, speed))
    return TraderSettings(cycle_end_timeout=1.5, shutdown_timeout=2.5, schedule=schedule)
