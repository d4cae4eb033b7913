"""Runs strategies for some cycles in simulated time and returns what happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TypeVar

from attrs import frozen

from polyframe.clock import VirtualClock
from polyframe.counters import Counters
from polyframe.errors import ConfigError
from polyframe.model.exact import exactly
from polyframe.model.series import Series
from polyframe.strategy import Strategy
from polyframe.strategyrun import ErrorPolicy
from polyframe.testing.builders import START
from polyframe.testing.faults import Fault, Faults
from polyframe.testing.invariants import Violation
from polyframe.testing.simtrader import Seen, SimTrader
from polyframe.testing.simvenue import SimVenue
from polyframe.testing.simwriter import writers_in_turn
from polyframe.testing.stage import Stage
from polyframe.testing.standing import Bound, Bounds, Checked
from polyframe.trader import TraderSettings
from polyframe.trading.guards import EntryGuards
from polyframe.trading.ledger import CycleRecord
from polyframe.trading.limits import RiskLimits

T = TypeVar("T")

CASH = Decimal(1000)
"""USD of an account unless something else is asked for."""


@frozen
class RunResult:
    """What happened in a run.

    Attributes:
        records: One record for each cycle, oldest first.
        counters: All counts.
        events: What was published to strategies, oldest first.
        cash: USD of the account at the end, payouts included.
        violations: What must hold and did not; empty if all is well.
        faults: How often each fault happened.
        commands: Inputs that the books of all cycles were given.
        orders: Orders that the venue was sent.
        audited: Fills that were compared with the venue's.
        closed: Cycles whose books were compared with the venue's.
        starts: Processes that were started, one after the other.
        hours: Market hours that passed.
        checked: What the bound of each strategy was checked on, by its name.
    """

    records: tuple[CycleRecord, ...]
    counters: Counters
    events: tuple[Seen, ...]
    cash: Decimal
    violations: tuple[Violation, ...]
    faults: Mapping[Fault, int]
    commands: int
    orders: int
    audited: int
    closed: int
    starts: int
    hours: float
    checked: Mapping[str, Checked]

    def of(self, kind: type[T]) -> list[T]:
        """Return the published events of one type, oldest first."""
        return [seen.event for seen in self.events if isinstance(seen.event, kind)]


@exactly()
def run_strategy(
    *strategies: Strategy,
    series: str | Series | Iterable[str | Series] = "btc-updown-15m",
    cycles: int = 1,
    seed: int | str = 0,
    faults: Iterable[Fault] = (),
    cash: Decimal = CASH,
    start: float = START,
    on_error: ErrorPolicy = "raise",
    venue: SimVenue | None = None,
    settings: TraderSettings | None = None,
    risk: RiskLimits | None = None,
    services: Iterable[object] = (),
    keep_events: bool = True,
    strict: Iterable[str] = (),
    bounds: Mapping[str, Bound] | None = None,
    guards: EntryGuards | None = None,
) -> RunResult:
    """Run strategies on a simulated venue, until the last trade of the last cycle is settled.

    Hours pass in milliseconds; the same arguments give the same result. The run ends at once when
    something does not hold that must: see `RunResult.violations`.

    Args:
        strategies: Templates, each mounted under the name of its class on all `series`.
        series: Which series.
        cycles: How many cycles of each series.
        seed: Any text or number; decides what the market does, and the faults.
        faults: What may go wrong. With faults of the store or `Fault.KILL` snapshots are kept.
        cash: USD at the start.
        start: Epoch seconds at the start.
        on_error: As for `Trader.add`; by default a strategy that raises ends the run.
        venue: The venue, instead of one made from `seed`, `faults` and `cash`.
        settings: Settings of the trader.
        risk: Limits for what the strategies may do.
        services: Objects for ``env.provide``.
        keep_events: Whether to keep what was published, for `RunResult.events`.
        strict: Names of strategies that must not raise: what a hook of theirs raises is a violation of
            ``no_defect``.
        bounds: By the name of a strategy, what is asserted of its `Standing` after each change of its
            orders and fills. What does not hold is a violation of ``bound``.
        guards: Of each strategy, as for `Trader.add`.

    Raises:
        ConfigError: No strategy, no series, a bound of a strategy that is none of them, or a venue
            together with a seed, faults or cash.
        StrategyFailed: A strategy raised, and `on_error` is ``"raise"``.
    """
    wanted = [series] if isinstance(series, str | Series) else list(series)
    if not strategies:
        msg = "strategies: expected at least one, for example run_strategy(MyStrategy())"
        raise ConfigError(msg)
    promised, names = dict(bounds or {}), [type(strategy).__name__ for strategy in strategies]
    if unknown := promised.keys() - set(names):
        msg = f"bounds: {', '.join(sorted(unknown))} is none of the strategies {', '.join(names)}"
        raise ConfigError(msg)
    kinds = frozenset(faults)
    if venue is not None and (seed != 0 or kinds or cash != CASH):
        msg = "venue: it has a seed, cash and faults of its own; give them to SimVenue(…)"
        raise ConfigError(msg)
    clock = VirtualClock(start)
    site = venue or SimVenue(seed, cash=cash, faults=Faults(kinds, seed))

    def mount(trader: SimTrader) -> None:
        for strategy in strategies:
            trader.add(strategy, on=wanted, on_error=on_error, guards=guards)

    stage = Stage(
        site,
        clock,
        settings=settings,
        risk=risk,
        services=services,
        mount=mount,
        keep_events=keep_events,
    )
    stage.monitor.strict = frozenset(strict)
    stage.monitor.bounds = Bounds(promised)

    async def main() -> RunResult:
        async with opened(stage):
            return await live(stage, cycles)

    return clock.run(main())


@exactly()
def play(
    act: Callable[[Stage], Awaitable[T]],
    *strategies: Strategy,
    series: str | Series = "btc-updown-15m",
    start: float = START,
    venue: SimVenue | None = None,
    settings: TraderSettings | None = None,
    services: Iterable[object] = (),
    on_error: ErrorPolicy = "raise",
) -> T:
    """Run `act` in simulated time on an open stage, the strategies being mounted on `series`.

    For tests that act while a cycle runs: start ``stage.trader.run()`` as a task, wait with
    ``stage.clock.sleep()``, and look. What must hold is checked as in `run_strategy`; the findings
    are in ``stage.monitor.violations``.
    """
    clock = VirtualClock(start)

    def mount(trader: SimTrader) -> None:
        for strategy in strategies:
            trader.add(strategy, on=series, on_error=on_error)

    stage = Stage(venue or SimVenue(), clock, settings=settings, services=services, mount=mount)

    async def main() -> T:
        async with opened(stage):
            return await act(stage)

    return clock.run(main())


@asynccontextmanager
async def opened(stage: Stage) -> AsyncIterator[None]:
    """Open a stage, watch it, and close it."""
    with writers_in_turn(), stage.monitor.watching():
        try:
            await stage.open()
            yield
        finally:
            await stage.close()


async def live(stage: Stage, cycles: int) -> RunResult:
    """Run the program of a stage for `cycles` cycles and until all is settled, then audit."""
    run = asyncio.create_task(stage.run(cycles), name="run")
    failed = asyncio.create_task(stage.monitor.failed.wait(), name="first violation")
    try:
        await asyncio.wait({run, failed}, return_when=asyncio.FIRST_COMPLETED)
        if stage.monitor.violations:
            run.cancel()
            await asyncio.wait({run})
        else:
            await run
            stage.monitor.finish()
    finally:
        for task in (run, failed):
            task.cancel()
        await asyncio.wait({run, failed})
    monitor = stage.monitor
    return RunResult(
        records=tuple(stage.journals.records.values()),
        counters=stage.counters,
        events=tuple(stage.seen),
        cash=stage.env.account.cash,
        violations=tuple(monitor.violations),
        faults=dict(stage.venue.faults.counts),
        commands=monitor.commands,
        orders=stage.venue.sent,
        audited=monitor.audited,
        closed=monitor.closed,
        starts=stage.starts,
        hours=(stage.clock.time() - stage.began) / 3600,
        checked=dict(monitor.bounds.checked),
    )
