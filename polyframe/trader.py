"""Mounts strategies on series and carries them from cycle to cycle."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterable
from typing import Any, ClassVar

from attrs import define, field, frozen

from polyframe.checks import a_time, expect, expect_count, flag, instance
from polyframe.counters import Count
from polyframe.definition import check_definition
from polyframe.environment import Environment
from polyframe.errors import ConfigError, StrategyFailed
from polyframe.model.events import CycleEndReason
from polyframe.model.exact import exactly
from polyframe.model.market import Market
from polyframe.model.series import Series
from polyframe.scheduler import MarketScheduler, ScheduleSettings
from polyframe.session import ExchangeSession, SessionState
from polyframe.strategy import Strategy, fresh
from polyframe.strategyrun import ErrorPolicy, StrategyRun, as_failure, words_of
from polyframe.tasks import see_through
from polyframe.trading.flatten import Flattener
from polyframe.trading.guards import EntryGuards
from polyframe.trading.service import TradingService

log = logging.getLogger(__name__)

SOCKETS_TIMEOUT = 0.5
"""Network seconds for closing the sockets after a shutdown that took too long."""

POLICIES = ("skip_cycle", "halt", "raise")


@frozen
class TraderSettings:
    """How the trader behaves at the ends of cycles. Times in network seconds.

    Attributes:
        cycle_end_timeout: For the tasks and ``on_cycle_end`` of one strategy when its cycle ends.
        shutdown_timeout: For all of the shutdown.
        cancel_on_exit: Cancel all of our open orders when the program stops.
        schedule: When the next market is looked for.
    """

    cycle_end_timeout: float = field(default=3.0, validator=a_time)
    shutdown_timeout: float = field(default=4.0, validator=a_time)
    cancel_on_exit: bool = field(default=False, validator=flag)
    schedule: ScheduleSettings = field(
        factory=ScheduleSettings, validator=instance(ScheduleSettings)
    )


@define
class _Mount:
    """One strategy template on one series."""

    template: Strategy
    name: str
    on_error: ErrorPolicy
    guards: EntryGuards
    is_halted: bool = False


@define(eq=False)
class _Desk:
    """Everything of one series."""

    series: Series
    trading: TradingService
    mounts: list[_Mount] = field(factory=list)
    runs: list[StrategyRun] = field(factory=list)
    failed: set[asyncio.Task[None]] = field(factory=set)
    flattening: list[asyncio.Task[None]] = field(factory=list)
    is_first: bool = True
    starting: asyncio.Task[None] | None = None
    scheduler: MarketScheduler | None = None


class Trader:
    """Runs strategies.

    Args:
        env: The environment; open while the trader runs.
        settings: Deadlines and habits.
        rng: Source of the jitter between questions for a market; a seeded one makes simulated
            runs repeat themselves.
    """

    _scheduler_type: ClassVar[type[MarketScheduler]] = MarketScheduler
    _begins_with_comparison: ClassVar[bool] = True
    """Whether each cycle is compared with the venue although no order's fate is open."""

    def __init__(
        self,
        env: Environment,
        settings: TraderSettings | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        expect("env", env, "an Environment", is_right=isinstance(env, Environment))
        is_settings = isinstance(settings, TraderSettings | None)
        expect("settings", settings, "TraderSettings(…)", is_right=is_settings)
        expect("rng", rng, "random.Random(…)", is_right=isinstance(rng, random.Random | None))
        self._env = env
        self._rng = rng
        self._settings = settings or TraderSettings()
        self._desks: dict[Series, _Desk] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] | None = None
        self._runner: asyncio.Task[Any] | None = None
        self._end_reason = CycleEndReason.BOUNDARY

    # ------------------------------------------------------------------ mounting

    def add(
        self,
        strategy: Strategy,
        *,
        on: str | Series | Iterable[str | Series],
        name: str | None = None,
        on_error: ErrorPolicy = "skip_cycle",
        guards: EntryGuards | None = None,
    ) -> None:
        """Mount a strategy on one or more series.

        Args:
            strategy: The template; each cycle runs a fresh copy of it.
            on: A series such as ``"btc-updown-15m"``, or several.
            name: Under which it trades; the class name by default. Unique per series.
            on_error: What happens when it raises: ``"skip_cycle"`` sits out the rest of the cycle,
                ``"halt"`` the rest of the run, ``"raise"`` stops the trader.
            guards: When it may enter a cycle, and how far; on each series by itself.

        Raises:
            StrategyDefinitionError: The class would leak state between cycles.
            ConfigError: A duplicate name, an unknown policy or series, guards that are none, or the
                trader runs already.
        """
        if self._failure is not None:
            msg = "add: the trader is running; mount strategies before run()"
            raise ConfigError(msg)
        check_definition(strategy)
        expect("on_error", on_error, f"one of {', '.join(POLICIES)}", is_right=on_error in POLICIES)
        guards = EntryGuards() if guards is None else guards
        expect("guards", guards, "EntryGuards(…)", is_right=isinstance(guards, EntryGuards))
        label: object = type(strategy).__name__ if name is None else name
        if not isinstance(label, str) or not label.strip():
            msg = f"name: expected some text, got {label!r}"
            raise ConfigError(msg)
        wanted = [on] if isinstance(on, str | Series) or not isinstance(on, Iterable) else list(on)
        if not wanted:
            msg = "on: expected at least one series, for example 'btc-updown-15m'"
            raise ConfigError(msg)
        # Check all before anything is mounted: add() mounts on every series or on none.
        parsed = list(dict.fromkeys(Series.parse(item) for item in wanted))
        for series in parsed:
            desk = self._desks.get(series)
            if desk is not None and any(mount.name == label for mount in desk.mounts):
                msg = f"name: {label!r} is mounted on {series} already; give another name="
                raise ConfigError(msg)
        for series in parsed:
            desk = self._desk(series)
            desk.mounts.append(_Mount(strategy, label, on_error, guards))
            if guards != EntryGuards():
                desk.trading.guard(label, guards)
            desk.trading.strategies.add(label)

    def _desk(self, series: Series) -> _Desk:
        if series not in self._desks:
            env = self._env
            trading = TradingService(
                series,
                exchange=env.exchange,
                clock=env.clock,
                counters=env.counters,
                account=env.account,
                settlement=env.settlement,
                ledger=env.ledger,
                risk=env.risk,
                reconcile=env.reconcile_settings,
                snapshots=env.snapshots,
                conversions=env.conversions,
            )
            env.router.on_gap(trading.reconciler.wake)
            self._desks[series] = _Desk(series, trading)
        return self._desks[series]

    def trading(self, series: str | Series) -> TradingService:
        """Return the trading service of a series that has strategies.

        Raises:
            ConfigError: No strategy is mounted on it.
        """
        desk = self._desks.get(Series.parse(series))
        if desk is None:
            msg = f"series: nothing is mounted on {series}; call trader.add(…, on={str(series)!r})"
            raise ConfigError(msg)
        return desk.trading

    @property
    def series(self) -> list[Series]:
        """The series that have strategies."""
        return list(self._desks)

    def session(self, series: str | Series) -> ExchangeSession | None:
        """Return the session that is open on a series, ``None`` between markets."""
        desk = self._desks.get(Series.parse(series))
        return None if desk is None or desk.scheduler is None else desk.scheduler.session

    # ------------------------------------------------------------------ running

    async def run(self, cycles: int | None = None) -> None:
        """Trade until cancelled, or until every series lived through `cycles` markets.

        However it ends, strategies get ``on_cycle_end`` with working cancels, within the deadline.

        Raises:
            ConfigError: The environment is not open, or nothing is mounted.
            StrategyFailed: A strategy with policy ``"raise"`` raised.
        """
        if not self._env.is_open:
            msg = "run: the environment is not open; use 'async with Environment(...) as env:'"
            raise ConfigError(msg)
        if not self._desks:
            msg = "run: no strategy is mounted; call trader.add(MyStrategy(), on='btc-updown-15m')"
            raise ConfigError(msg)
        expect_count("cycles", cycles, or_none="for no end")
        if self._failure is not None:
            msg = "run: this trader is running already"
            raise ConfigError(msg)
        for series in self._desks:
            self._env.check_free(series)
        for series in self._desks:
            self._env.claim(series)
        with exactly():
            await self._trade(cycles)

    async def _trade(self, cycles: int | None) -> None:
        self._failure = asyncio.get_running_loop().create_future()
        self._runner = asyncio.current_task()
        tasks: list[asyncio.Future[None]] = [
            asyncio.create_task(self._scheduler(desk).run(cycles), name=f"schedule {desk.series}")
            for desk in self._desks.values()
        ]
        failure = self._failure
        interrupted = False
        try:
            await self._wait_all(tasks, failure)
        except asyncio.CancelledError:
            interrupted = True
            raise
        finally:
            try:
                # One Ctrl-C asks for an end in order, also while that is under way; two insist.
                await see_through(self._shut_down(tasks), "shutdown", patient=not interrupted)
            finally:
                if failure.done():
                    failure.exception()  # raised above, unless something else came first
                self._failure = self._runner = None
                for series in self._desks:
                    self._env.release(series)

    @staticmethod
    async def _wait_all(tasks: list[asyncio.Future[None]], failure: asyncio.Future[None]) -> None:
        """Wait for all tasks; the first failure of one of them or of a strategy ends the wait."""
        pending: set[asyncio.Future[None]] = set(tasks)
        while pending:
            done, _ = await asyncio.wait({*pending, failure}, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                future.result()
            pending -= done

    def _scheduler(self, desk: _Desk) -> MarketScheduler:
        env = self._env
        desk.is_first = True
        if env.has_account:
            desk.trading.reconciler.watch(from_start=self._begins_with_comparison)
        desk.scheduler = self._scheduler_type(
            desk.series,
            exchange=env.exchange,
            clock=env.clock,
            counters=env.counters,
            router=env.router,
            trading=desk.trading,
            on_session_switch=lambda old, new, market: self._on_switch(desk, old, new, market),
            settings=self._settings.schedule,
            rng=self._rng,
        )
        return desk.scheduler

    # ------------------------------------------------------------------ cycles

    def _on_switch(
        self,
        desk: _Desk,
        old: ExchangeSession | None,
        new: ExchangeSession | None,
        market: Market | None,
    ) -> None:
        """Start the new runs and leave the old ones to the background; part of the barrier."""
        runs, desk.runs = desk.runs, []
        for run in runs:
            run.leave()
        starting, desk.starting = desk.starting, None
        if starting is not None:
            starting.cancel()
        flattening, desk.flattening = desk.flattening, []
        for task in flattening:
            task.cancel()
        if old is not None:
            failed = tuple(desk.failed)
            self._background(
                self._end_cycle(old, runs, failed, self._end_reason), f"end of {old.slug}"
            )
        if new is None or market is None:
            return
        is_first, desk.is_first = desk.is_first, False
        is_first |= desk.trading.is_resumed
        if is_first and self._env.snapshots is not None and self._env.has_account:
            # An earlier run may have traded this cycle: first the venue is asked.
            name = f"start of {new.slug}"
            desk.starting = self._background(self._start_later(desk, new), name)
        else:
            self._start_all(desk, new)

    async def _start_later(self, desk: _Desk, session: ExchangeSession) -> None:
        """Start the strategies once the cycle is equal to the venue's view of it."""
        if await desk.trading.catch_up() and session.state is SessionState.OPEN:
            desk.starting = None
            self._start_all(desk, session)

    def _start_all(self, desk: _Desk, session: ExchangeSession) -> None:
        for mount in desk.mounts:
            if not mount.is_halted:
                try:
                    self._start(desk, mount, session)
                except (KeyboardInterrupt, GeneratorExit):
                    raise
                except BaseException as raised:
                    # Its constructor raised: that is its own trouble, by its own policy.
                    error, name = as_failure(raised), mount.name
                    self._env.counters.add(Count.STRATEGY_ERRORS, "construction")
                    text = "strategy %s cannot be made for %s"
                    log.error(text, name, session.slug, exc_info=error)
                    self._note_failure(mount, "its construction", error, session)
                    self._apply_policy(mount, "its construction", error)

    def _start(self, desk: _Desk, mount: _Mount, session: ExchangeSession) -> None:
        strategy = fresh(mount.template)
        is_resumed = desk.trading.is_resumed
        self._env.keep_fields(strategy, mount.name, session.slug, is_resumed=is_resumed)
        run = StrategyRun(
            strategy,
            name=mount.name,
            env=self._env,
            session=session,
            trading=desk.trading.handle(mount.name),
            counters=self._env.counters,
            on_failed=lambda run, where, error: self._on_failed(desk, mount, run, where, error),
            is_leaving=self._is_leaving,
            is_resumed=is_resumed,
        )
        desk.runs.append(run)
        desk.trading.strategy_starts(mount.name)
        run.start()
        if mount.guards.flattens:
            desk.flattening.append(self._flatten(desk, mount, session))

    def _is_leaving(self) -> bool:
        # Who ends an event loop cancels all of its tasks at once, the trader's among them.
        return self._runner is not None and self._runner.cancelling() > 0

    def _flatten(self, desk: _Desk, mount: _Mount, session: ExchangeSession) -> asyncio.Task[None]:
        """Start what sells the strategy's shares; it goes on if the strategy fails."""
        flattener = Flattener(
            desk.trading,
            desk.trading.handle(mount.name),
            session.market,
            session,
            strategy=mount.name,
            guards=mount.guards,
            clock=self._env.clock,
        )
        return self._background(flattener.run(), f"flattening of {mount.name} on {session.slug}")

    def _on_failed(
        self, desk: _Desk, mount: _Mount, run: StrategyRun, where: str, error: Exception
    ) -> None:
        if run in desk.runs:
            desk.runs.remove(run)
            task = self._background(
                run.end(CycleEndReason.ERROR, timeout=self._settings.cycle_end_timeout),
                f"end of {mount.name} on {run.session.slug}",
            )
            desk.failed.add(task)
            task.add_done_callback(desk.failed.discard)
        slug = run.session.slug
        policy = _policy(mount, error)
        if policy == "skip_cycle":
            log.warning(
                "%s sits out the rest of %s; its next cycle begins afresh", mount.name, slug
            )
        elif policy == "halt":
            log.warning(
                "%s sits out the rest of %s and of the run (on_error: halt)", mount.name, slug
            )
        self._note_failure(mount, f"{where}()", error, run.session)
        self._apply_policy(mount, where, error)

    def _note_failure(
        self, mount: _Mount, where: str, error: Exception, session: ExchangeSession
    ) -> None:
        # What a cycle earned is half a story if one of its strategies sat out the rest of it.
        data = {"strategy": mount.name, "hook": where, "error": type(error).__name__}
        self._env.ledger.note("strategy_failed", {**data, "text": words_of(error)}, session.market)

    def _apply_policy(self, mount: _Mount, where: str, error: Exception) -> None:
        if mount.on_error == "halt":
            mount.is_halted = True
        is_raised = _policy(mount, error) == "raise"
        if is_raised and self._failure is not None and not self._failure.done():
            failed = StrategyFailed(mount.name, where)
            failed.__cause__ = error
            self._failure.set_exception(failed)

    async def _end_cycle(
        self,
        session: ExchangeSession,
        runs: list[StrategyRun],
        failed: tuple[asyncio.Task[None], ...],
        reason: CycleEndReason,
    ) -> None:
        """End all runs of a cycle, wait for those that failed just before, close the session."""
        ends = [self._end_run(run, reason) for run in runs]
        try:
            if len(ends) == 1 and not failed:
                await ends[0]  # needs no task of its own
            else:
                await asyncio.gather(*ends, *failed, return_exceptions=True)
        finally:
            await session.close()

    async def _end_run(self, run: StrategyRun, reason: CycleEndReason) -> None:
        try:
            await run.end(reason, timeout=self._settings.cycle_end_timeout)
        except Exception:  # a defect of ours must not keep the session open
            log.exception("the end of %s on %s failed", run.name, run.session.slug)

    def _background(self, coro: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coro, name=name)
        self._ending.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)

    # ------------------------------------------------------------------ the end

    async def _shut_down(self, schedules: Iterable[asyncio.Future[None]] = ()) -> None:
        """End what is still open, in order, within the deadline; also if it is cancelled itself."""
        self._end_reason = CycleEndReason.SHUTDOWN
        schedulers = [d.scheduler for d in self._desks.values() if d.scheduler is not None]
        settlement = self._env.settlement
        for schedule in schedules:
            schedule.cancel()
        for scheduler in schedulers:
            scheduler.switch(None)
        try:
            async with asyncio.timeout(self._settings.shutdown_timeout):
                await asyncio.gather(*schedules, return_exceptions=True)
                closing = [scheduler.stop() for scheduler in schedulers]
                if self._settings.cancel_on_exit:
                    # First of all, and once more when the strategies are through: a strategy that
                    # hangs must not cost the cancels.
                    closing.append(settlement.cancel_open_orders())
                await asyncio.gather(*closing)
                while self._ending:
                    await asyncio.wait(tuple(self._ending))
                for desk in self._desks.values():
                    await desk.trading.wait_idle()
                if self._settings.cancel_on_exit:
                    await settlement.cancel_open_orders()
        except (TimeoutError, asyncio.CancelledError) as error:
            await self._give_up()
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._end_reason = CycleEndReason.BOUNDARY
            for desk in self._desks.values():
                for mount in desk.mounts:
                    mount.is_halted = False

    async def _give_up(self) -> None:
        """Say what took too long, break it off, and close the sockets all the same."""
        left = sorted(task.get_name() for task in self._ending)
        left += [name for desk in self._desks.values() for name in desk.trading.requests]
        orders = self._env.settlement.open_order_ids()
        log.error(
            "shutdown took too long; given up: %s; orders still open: %s",
            ", ".join(left) or "nothing",
            ", ".join(orders) or "none",
        )
        for task in tuple(self._ending):
            task.cancel()
        waiting = [desk.trading.abandon_requests() for desk in self._desks.values()]
        waiting += [d.scheduler.stop() for d in self._desks.values() if d.scheduler is not None]
        if self._ending:
            waiting.append(_wait(tuple(self._ending)))
        await asyncio.gather(*waiting)


def _policy(mount: _Mount, error: Exception) -> ErrorPolicy:
    """Return what to do about an error; who calls ``sys.exit`` means the program, not a cycle."""
    return "raise" if isinstance(error.__cause__, SystemExit) else mount.on_error


async def _wait(tasks: Iterable[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks, timeout=SOCKETS_TIMEOUT)
