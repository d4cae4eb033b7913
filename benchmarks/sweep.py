"""What a second worker brings to a sweep.

::

    python benchmarks/sweep.py [--rounds 3] [--variants 12] [--chunk 9]

The same sweep of the 18 recorded markets (package resolvedkit) with one process and with two, in turns;
from the call to the table, so with the start of the processes and with what each has to read. Figures
are medians. The processor time of the workers is told as well: where a machine is busy, the wall tells
of its neighbours, but two workers that use no more of the processor than one did not get in each other's
way. A task's length is that of one variant on one chunk.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from decimal import Decimal

from attrs import define, field, frozen

from polyframe import OrderType, Outcome, ResolvedMarkets, Strategy, grid, sweep


@define
class Late(Strategy):
    """Buys once in a cycle, near its end."""

    trigger: Decimal = Decimal("0.60")
    done: bool = field(init=False, default=False)

    async def on_book(self, outcome: Outcome) -> None:
        if self.done or not 0 < self.seconds_left() <= 120:
            return
        ask = self.session.price(outcome).ask
        if ask is not None and self.trigger <= ask <= Decimal("0.90"):
            self.done = True
            await self.trading.buy(outcome, price=ask, size=Decimal(20), order_type=OrderType.FAK)


@frozen
class Run:
    """One sweep: seconds of the wall and of the workers' processor time, and its table."""

    wall: float
    cpu: float
    table: str


def measure(workers: int, variants: int, chunk: int) -> Run:
    """Sweep once."""
    triggers = [Decimal("0.50") + step * Decimal("0.005") for step in range(variants)]
    data = ResolvedMarkets()
    used, began = _children(), time.perf_counter()
    result = sweep(
        Late, grid(trigger=triggers), data=data, workers=workers, chunk=chunk, progress=False
    )
    return Run(time.perf_counter() - began, _children() - used, result.csv())


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", type=int, default=12)
    parser.add_argument("--chunk", type=int, default=9)
    told = parser.parse_args()
    one, two = list[Run](), list[Run]()
    for number in range(told.rounds):
        # Who comes first changes, so that a machine that slows down favours nobody.
        order = [(1, one), (2, two)] if number % 2 == 0 else [(2, two), (1, one)]
        for workers, runs in order:
            runs.append(measure(workers, told.variants, told.chunk))
            print(
                f"{workers}: {runs[-1].wall:.1f} s, {runs[-1].cpu:.1f} s of processor", flush=True
            )
    if len({run.table for run in one + two}) != 1:
        raise SystemExit("the tables differ")
    tasks = told.variants * -(-18 // told.chunk)
    walls = [statistics.median(run.wall for run in runs) for runs in (one, two)]
    cpus = [statistics.median(run.cpu for run in runs) for runs in (one, two)]
    ratio = statistics.median(a.wall / b.wall for a, b in zip(one, two, strict=True))
    print(f"{tasks} tasks of {cpus[0] / tasks * 1000:.0f} ms")
    print(f"wall: one worker {walls[0]:.1f} s, two {walls[1]:.1f} s: {ratio:.2f} times as fast")
    print(f"processor: one worker {cpus[0]:.1f} s, two {cpus[1]:.1f} s ({cpus[1] / cpus[0]:.2f})")


if __name__ == "__main__":
    main()
