"""Runs strategies on recorded markets."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any, ParamSpec, TypedDict, TypeVar

from attrs import define, evolve, field
from typing_extensions import Unpack, override

from polyframe.backtest.exchange import RESOLVED_AFTER, ReplayExchange
from polyframe.backtest.progress import Meter, Tell, check_progress, listener
from polyframe.backtest.reckoning import ReplayLedger, make_report
from polyframe.checks import expect, expect_list, expect_path, expect_recording, is_number
from polyframe.clock import VirtualClock
from polyframe.counters import Counters
from polyframe.environment import Environment
from polyframe.errors import ConfigError
from polyframe.model.exact import exactly
from polyframe.model.series import Series, Window
from polyframe.paper.account import start_cash
from polyframe.paper.models import PaperModels
from polyframe.recording.reader import Recording, skipped_since, with_own_names
from polyframe.recording.tape import TapeMarket
from polyframe.report.values import Report
from polyframe.scheduler import MarketScheduler
from polyframe.session import ExchangeSession
from polyframe.strategy import Strategy, described
from polyframe.strategyrun import ErrorPolicy
from polyframe.trader import POLICIES, Trader, TraderSettings
from polyframe.trading.guards import EntryGuards
from polyframe.trading.ledger import CycleRecord, CycleStatus
from polyframe.trading.limits import RiskLimits
from polyframe.trading.reconcile import ReconcileSettings

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

CASH = Decimal(10_000)
"""USD of an account unless something else is asked for."""

_SELDOM = 3600.0
"""Seconds between questions whose answer is told anyway, or is the same each time."""

_KINDS: dict[str, type] = {
    "models": PaperModels,
    "risk": RiskLimits,
    "settings": TraderSettings,
    "guards": EntryGuards,
    "counters": Counters,
}
"""What options have to be that are objects of ours."""

_PATIENCE = 600.0
"""Simulated seconds that the last cycles have to be settled in, beyond what the model takes."""


class Options(TypedDict, total=False):
    """What a back-test may be told besides strategies and data.

    Attributes:
        series: Which series of the data; all by default.
        models: What stands between an order and its fills.
        resolved_after: Market seconds from the end of a window until it is told who won.
        cash: USD of the account at the start, 10,000 by default.
        risk: Limits for what the strategies may do, as for an `Environment`.
        settings: Settings of the trader.
        on_error: As for `Trader.add`; by default a strategy that raises ends the run.
        guards: As for `Trader.add`, of each strategy.
        services: Objects for ``env.provide``.
        counters: Where everything is counted; a fresh set by default.
        ledger: A file that gets the whole story, as that of a run on paper (`Ledger`); none by default.
        progress: A callable that takes a `Progress` whenever a market is over, ``True`` for a bar on
            standard error, ``None`` for a bar on a terminal; nothing by default.
    """

    series: str | Series | Iterable[str | Series] | None
    models: PaperModels
    resolved_after: float
    cash: Decimal
    risk: RiskLimits
    settings: TraderSettings
    on_error: ErrorPolicy
    guards: EntryGuards
    services: Iterable[object]
    counters: Counters
    ledger: str | Path | None
    progress: bool | Tell | None


async def backtest(*strategies: Strategy, data: Recording, **options: Unpack[Options]) -> Report:
    """Run strategies on recorded markets and return what came of it.

    The runtime is that of live trading, cycle after cycle, on a clock that jumps over the time in
    which nothing happens. It runs in a thread of its own, so that the caller's event loop goes on.

    Args:
        strategies: Templates, each mounted under the name of its class on all series.
        data: The markets.
        options: See `Options`.

    Raises:
        ConfigError: No strategy, a series of which nothing was recorded, or an option that cannot be.
        StrategyFailed: A strategy raised, and ``on_error`` is ``"raise"``.
    """
    job = _job(strategies, data, options)
    running = asyncio.ensure_future(asyncio.to_thread(job.run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        job.cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # ours is the one that is told
        raise


def run_backtest(*strategies: Strategy, data: Recording, **options: Unpack[Options]) -> Report:
    """Do what `backtest` does, for scripts: blocks until it is done.

    Raises:
        ConfigError: As `backtest`, or it is called where an event loop runs.
        StrategyFailed: A strategy raised, and ``on_error`` is ``"raise"``.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass  # as it should be; what goes wrong below is not a consequence of this
    else:
        msg = "run_backtest: an event loop is running here; write 'await backtest(...)' instead"
        raise ConfigError(msg)
    return _job(strategies, data, options).run()


def _job(strategies: Sequence[Strategy], data: Recording, options: Options) -> _Job:
    """Return a back-test of arguments that can be meant so.

    Raises:
        ConfigError: The first that cannot.
    """
    known = Options.__annotations__
    if unknown := sorted(options.keys() - known):
        msg = f"{unknown[0]}: no option of a back-test; there are: {', '.join(sorted(known))}"
        raise ConfigError(msg)
    if not strategies or isinstance(strategies[0], list | tuple):
        msg = (
            "strategies: expected at least one, each an argument of its own, for example "
            "run_backtest(One(), Other(), data=…)"
        )
        raise ConfigError(msg)
    given: Sequence[object] = strategies  # whatever they are; the trader refuses what is none
    names = Counter(type(one).__name__ for one in given if isinstance(one, Strategy))
    if twice := next((name for name, count in names.items() if count > 1), None):
        msg = (
            f"strategies: two would trade under one name, {twice}; give one a class of its own, or "
            "compare settings with sweep(…)"
        )
        raise ConfigError(msg)
    check_options(options)
    return _Job(strategies, data, **options)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that cannot be meant so.

    Raises:
        ConfigError: Names the first of them.
    """
    for name, kind in _KINDS.items():
        value = options.get(name)
        is_right = value is None or isinstance(value, kind)
        expect(name, value, f"{kind.__name__}(…)", is_right=is_right)
    start_cash(options.get("cash", CASH))
    policy = options.get("on_error", "raise")
    expect("on_error", policy, f"one of {', '.join(POLICIES)}", is_right=policy in POLICIES)
    expect_list("services", options.get("services", ()), "a list of objects")
    if options.get("ledger") is not None:
        expect_path("ledger", options["ledger"], "the name of a file, or None for none")
    check_progress(options.get("progress"))
    after = options.get("resolved_after", RESOLVED_AFTER)
    # Before the end nobody may know who has won.
    is_right = is_number(after) and 0 <= after < inf
    expect("resolved_after", after, "market seconds of at least 0", is_right=is_right)


@define(eq=False)
class _Job:
    """One back-test; runs in whatever thread it is called in."""

    strategies: Sequence[Strategy]
    data: Recording
    series: str | Series | Iterable[str | Series] | None = None
    models: PaperModels = field(factory=PaperModels)
    resolved_after: float = RESOLVED_AFTER
    cash: Decimal = CASH
    risk: RiskLimits | None = None
    settings: TraderSettings | None = None
    on_error: ErrorPolicy = "raise"
    guards: EntryGuards | None = None
    services: Iterable[object] = ()
    counters: Counters | None = None
    ledger: str | Path | None = None
    progress: bool | Tell | None = False
    _loop: asyncio.AbstractEventLoop | None = field(init=False, default=None)
    _task: asyncio.Task[Any] | None = field(init=False, default=None)
    _is_cancelled: bool = field(init=False, default=False)
    _report: Report = field(init=False)

    def cancel(self) -> None:
        """End it early, from another thread."""
        self._is_cancelled = True
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                return  # it has just ended by itself

    def run(self) -> Report:
        """Run it and return the report."""
        chosen = _chosen(self.data, self.series)
        settings = self.settings or TraderSettings()
        # A whole second, so that times of the clock are exact to the millisecond.
        start = min(
            entry.market.window.start
            - int(min(settings.schedule.prepare_ahead, _length(entry) / 2))
            for entries in chosen.values()
            for entry in entries
        )
        clock = VirtualClock(start)
        with exactly(), listener(self.progress, "back-test") as tell:
            clock.run(self._main(clock, chosen, settings, tell))
        return self._report

    async def _main(
        self,
        clock: VirtualClock,
        chosen: dict[Series, list[TapeMarket]],
        settings: TraderSettings,
        tell: Tell,
    ) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._is_cancelled:
            raise asyncio.CancelledError
        entries = {entry.market.slug: entry for found in chosen.values() for entry in found}
        exchange = ReplayExchange(
            self.data, models=self.models, cash=self.cash, resolved_after=self.resolved_after
        )
        ledger = ReplayLedger(self.ledger, limit=len(entries))
        ledger.subscribe(_Counting(Meter(tell), len(entries)))
        # A recording counts what it skips as long as it lives; ours is what is new.
        skipped, doubtful = Counter(self.data.skipped), Counter(self.data.doubtful)
        environment = Environment(
            exchange,
            clock=clock,
            counters=self.counters,
            ledger=ledger,
            risk=self.risk,
            # Nothing is lost on the way here, and who won is told at the instant from which on it
            # would be answered.
            reconcile=ReconcileSettings(
                open_interval=_SELDOM, idle_interval=_SELDOM, resolution_interval=_SELDOM
            ),
        )
        for service in self.services:
            environment.provide(service)
        async with environment as env:
            _notice_outside(self._loop)  # while services open, no time passes that matters
            await _until_failure(exchange, self._trade(env, chosen, settings))
            try:
                left = max(self.resolved_after, exchange.told_ms / 1000 - clock.time())
                async with asyncio.timeout(left + _PATIENCE):
                    await env.settlement.wait_settled()
            except TimeoutError:
                pass  # the report says which cycles are not resolved
        report = make_report(
            entries,
            ledger,
            exchange.blotter,
            exchange.paths,
            cash=exchange.cash,
            models=self.models,
            skipped=skipped_since(self.data, skipped),
            doubtful=Counter(self.data.doubtful) - doubtful,
        )
        # Not returned: asyncio would write out the result of its main task, all of it, for nobody.
        self._report = evolve(report, ran=tuple(map(described, self.strategies)))

    async def _trade(
        self,
        env: Environment,
        chosen: dict[Series, list[TapeMarket]],
        settings: TraderSettings,
    ) -> None:
        """Trade every series, each for as many cycles as it was recorded."""
        async with asyncio.TaskGroup() as group:
            for series, found in chosen.items():
                trader = _ReplayTrader(env, settings, rng=random.Random(str(series)))  # noqa: S311
                for strategy in self.strategies:
                    trader.add(strategy, on=series, on_error=self.on_error, guards=self.guards)
                group.create_task(trader.run(len(found)), name=f"back-test {series}")


class _Counting:
    """Tells how many markets are over."""

    def __init__(self, meter: Meter, markets: int) -> None:
        self._meter = meter
        self._over: set[str] = set()
        meter.expect(markets)

    def __call__(self, record: CycleRecord) -> None:
        """Take a record of the ledger."""
        if record.status is not CycleStatus.OPEN and record.slug not in self._over:
            self._over.add(record.slug)
            self._meter.add(is_failed=False)


class _ReplayScheduler(MarketScheduler):
    """Asks for a market once: what was not recorded will not appear however often it is asked for.

    Asking takes no time either, so nothing has to be looked after meanwhile.
    """

    @override
    async def _session_for(self, window: Window) -> ExchangeSession | None:
        market = await self._exchange.fetch_market(self.series, window)
        if market is None:
            log.info("%s: nothing was recorded of the window of %d", self.series, window.start)
            await self._clock.sleep_until(window.start)
            self.switch(None)
            await self._clock.sleep_until(window.end - self._lead(self.series.next(window)))
            return None
        session = self._open(market)
        if self._clock.time() >= window.start:
            self.switch(None)
            await self._wait_books(session)
        else:
            await self._clock.sleep_until(window.start)
        return session


class _ReplayTrader(Trader):
    _scheduler_type = _ReplayScheduler
    _begins_with_comparison = False  # nothing is lost on the way here


_OUTSIDE = (
    "run_in_executor",
    "create_connection",
    "create_datagram_endpoint",
    "create_unix_connection",
    "subprocess_exec",
    "subprocess_shell",
)
"""Methods of an event loop by which somebody waits for what simulated time does not wait for."""

_told: ContextVar[list[str] | None] = ContextVar("told", default=None)


@contextmanager
def telling_once(told: list[str] | None = None) -> Iterator[None]:
    """Let the back-tests within tell but once of what each of them would tell.

    Args:
        told: What was told already; is added to.
    """
    token = _told.set([] if told is None else told)
    try:
        yield
    finally:
        _told.reset(token)


def _notice_outside(loop: asyncio.AbstractEventLoop) -> None:
    """Say it once if somebody waits for a thread, a process, or another machine."""
    told = _told.get()
    told = [] if told is None else told
    for name in _OUTSIDE:
        setattr(loop, name, _noticed(getattr(loop, name), told))


def _noticed(call: Callable[P, R], told: list[str]) -> Callable[P, R]:
    def noticed(*args: P.args, **kwargs: P.kwargs) -> R:
        if not told:
            told.append("outside")
            log.warning(
                "a strategy or service awaits a thread, a process or a socket: market time goes on "
                "meanwhile, by as much as this machine needs, and no two runs are the same; compute in "
                "the hook itself, or have it in memory before"
            )
        return call(*args, **kwargs)

    return noticed


async def _until_failure(exchange: ReplayExchange, main: Coroutine[Any, Any, None]) -> None:
    """Await `main`; if the exchange fails meanwhile, end it and raise that."""
    task = asyncio.ensure_future(main)
    failure = exchange.failure
    waiting: set[asyncio.Future[None]] = {task} if failure is None else {task, failure}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if failure is not None and failure.done():
        failure.result()
    try:
        task.result()
    except ExceptionGroup as group:
        # One is enough, and what callers know how to catch.
        first = group.exceptions[0]
        raise first from first.__cause__


def markets_of(
    data: Recording, series: str | Series | Iterable[str | Series] | None = None
) -> tuple[TapeMarket, ...]:
    """Return the markets of all series that are wanted, in order of their windows.

    Raises:
        ConfigError: Nothing was recorded of one, or at all; or `data` is no recording, such as a path.
    """
    found = [entry for entries in _chosen(data, series).values() for entry in entries]
    return tuple(sorted(found, key=lambda entry: (entry.market.window, entry.market.slug)))


def _length(entry: TapeMarket) -> int:
    return entry.market.window.end - entry.market.window.start


def _chosen(
    data: Recording, series: str | Series | Iterable[str | Series] | None
) -> dict[Series, list[TapeMarket]]:
    """Return the markets of each series that is wanted.

    Raises:
        ConfigError: Nothing was recorded of one, or at all; or `data` is no recording, such as a path.
    """
    expect_recording("data", data)
    found: dict[Series, list[TapeMarket]] = {}
    markets = list(data.markets())
    own = with_own_names(markets)
    if left_out := len(markets) - len(own):
        text = "data: left out, because an earlier market has the same name: %d (New York's hour twice)"
        log.warning(text, left_out)
    for entry in own:
        found.setdefault(entry.market.series, []).append(entry)
    if not found:
        told = ", ".join(f"{count} {reason}" for reason, count in data.skipped.items())
        msg = f"data: the recording has no markets{f'; skipped: {told}' if told else ''}"
        raise ConfigError(msg)
    if series is None:
        return found
    wanted = (
        list(series) if isinstance(series, Iterable) and not isinstance(series, str) else [series]
    )
    if not wanted:
        msg = "series: expected at least one, for example 'btc-updown-15m', or None for all"
        raise ConfigError(msg)
    parsed = list(dict.fromkeys(Series.parse(item) for item in wanted))
    for one in parsed:
        if one not in found:
            have = ", ".join(sorted(map(str, found)))
            msg = f"series: nothing was recorded of {one}; there is: {have}"
            raise ConfigError(msg)
    return {one: found[one] for one in parsed}
