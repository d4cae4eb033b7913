"""Strategies for sweeps, in a module that workers can import."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from attrs import define, field, validators
from typing_extensions import override

from polyframe import Outcome, SweepResult, sweep
from polyframe.backtest.sweeps.variantresult import VariantResult
from polyframe.model.order import OrderType
from polyframe.recording.reader import Recording
from polyframe.recording.tape import TapeEvent, TapeMarket
from polyframe.strategy import Strategy
from tests.backtest.kit import LENGTH, MODELS, START, Eager, Made, wandering

SETTINGS = [{"every": every} for every in (3, 5, 8, 13)]


@define
class Buyer(Strategy):
    """Buys once in a cycle, as soon as Up costs no more than `limit`."""

    limit: Decimal = Decimal("0.5")
    size: Decimal = Decimal(10)
    side: Outcome = Outcome.UP
    done: bool = field(init=False, default=False)

    @override
    async def on_book(self, outcome: Outcome) -> None:
        """Buy."""
        ask = self.session.price(self.side).ask
        if not self.done and ask is not None and ask <= self.limit:
            self.done = True
            await self.trading.buy(self.side, price=ask, size=self.size, order_type=OrderType.FAK)


@define
class Odd(Strategy):
    """Fails in one way or another, as its number says."""

    number: int = field(default=0, validator=validators.lt(4))

    @override
    async def on_cycle_start(self) -> None:
        """Fail with number 1 and 2."""
        if self.number == 1:
            raise LookupError("no <luck>")
        if self.number == 2:
            raise ValueError("two")


@define
class Shaky(Strategy):
    """Raises in cycles behind the first `steady` ones."""

    steady: int = 9

    @override
    async def on_cycle_start(self) -> None:
        """Raise, or not."""
        if (self.market.window.start - START) // LENGTH >= self.steady:
            raise LookupError("not steady")


@define
class Killer(Strategy):
    """Kills its process, once if it is given a mark to leave.

    Attributes:
        number: The victim is number 2.
        mark: A file; where it exists nobody is killed. ``""`` kills each time.
    """

    number: int = 0
    mark: str = ""

    @override
    async def on_cycle_start(self) -> None:
        """Kill."""
        self.kill()

    def kill(self) -> None:
        """End the whole process."""
        if self.number != 2 or (self.mark and Path(self.mark).exists()):
            return
        if self.mark:
            Path(self.mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)


@define(eq=False)
class Logged(Made):
    """A recording that notes in a file each time a market of it is read, in whatever process."""

    log: str = ""

    @override
    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Note it, and yield the rows."""
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{market.market.slug}\n")
        return Made.events(self, market)


@define
class InRounds:
    """A sampler that asks for settings in rounds.

    Attributes:
        left: The rounds to come.
    """

    left: list[list[dict[str, int]]]

    def ask(self) -> list[dict[str, int]]:
        """Return the next round."""
        return self.left.pop(0) if self.left else []

    def tell(self, results: Sequence[VariantResult]) -> None:
        """It does not matter what came of it."""


def small(cycles: int = 3) -> Made:
    """Return a recording that is quick to play."""
    return wandering(1, cycles, rows=50)


@contextmanager
def threads(count: int = 2) -> Iterator[Executor]:
    """Give an executor that needs no processes."""
    with ThreadPoolExecutor(count) as executor:
        yield executor


def eager_sweep(data: Recording | None = None, **more: object) -> SweepResult:
    """Sweep four variants of `Eager` on threads."""
    recording = small() if data is None else data
    with threads() as executor:
        given = {"executor": executor, "models": MODELS} | more
        return sweep(Eager, SETTINGS, data=recording, **given)  # type: ignore[arg-type]


def forget_this() -> None:
    """Make a process that does not have this module."""
    sys.modules[__name__] = None  # type: ignore[assignment]
