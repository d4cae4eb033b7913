"""What a rollover costs: the gap at the boundary over real sockets, and growth over many of them.

::

    python benchmarks/rollovers.py                  # both parts, about a minute and a half
    python benchmarks/rollovers.py --real 20        # only the gap, over real HTTP and WebSocket
    python benchmarks/rollovers.py --virtual 200    # only the growth, on simulated time

The gap is the real time between the boundary and the moment at which the new cycle's strategy has
started (`on_cycle_start`) and has had its first price (`on_price`). The local venue runs in the same
process and on the same core, so the figures contain its work too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
import tracemalloc
from pathlib import Path

from attrs import define, field

from polyframe import (
    Environment,
    PolymarketExchange,
    PriceChanged,
    ScaledClock,
    Strategy,
    Trader,
    VirtualClock,
)
from polyframe.venue import LocalVenue, SyntheticSource

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

START = 1_790_586_000
SERIES = "btc-updown-15m"


class Gaps:
    """Gaps in market seconds, by cycle."""

    def __init__(self) -> None:
        self.started: list[float] = []
        self.priced: list[float] = []


@define
class Measure(Strategy):
    """Notes when its cycle began to be visible."""

    priced: bool = field(init=False, default=False)

    async def on_cycle_start(self) -> None:
        """Note the start."""
        self.env.get(Gaps).started.append(self.clock.time() - self.market.window.start)

    async def on_price(self, event: PriceChanged) -> None:
        """Note the first price."""
        if not self.priced and event.known:
            self.priced = True
            self.env.get(Gaps).priced.append(self.clock.time() - self.market.window.start)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def real(rollovers: int, speed: float) -> None:
    clock = ScaledClock(speed, start=START + 1)
    gaps = Gaps()
    source = SyntheticSource(SERIES, seed=7)
    async with LocalVenue(source, clock=clock) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        async with Environment(exchange, clock=clock) as env:
            env.provide(gaps)
            trader = Trader(env)
            trader.add(Measure(), on=SERIES)
            run = asyncio.create_task(trader.run(cycles=rollovers + 1))
            period = 900.0
            await clock.sleep_until(START + 2 * period + period / 2)
            before = (len(asyncio.all_tasks()), open_files())
            await clock.sleep_until(START + rollovers * period + period / 2)
            after = (len(asyncio.all_tasks()), open_files())
            await run
            counters = env.counters.snapshot()
    print(f"real sockets, {rollovers} rollovers at {speed:g}x")
    for name, values in (("on_cycle_start", gaps.started), ("first on_price", gaps.priced)):
        # The first cycle is joined, not rolled into.
        ms = sorted(value / speed * 1000 for value in values[1:])
        print(
            f"  {name:15} after the boundary, ms: median {statistics.median(ms):.2f}  "
            f"min {ms[0]:.2f}  max {ms[-1]:.2f}  (n={len(ms)})"
        )
    print(f"  tasks {before[0]} → {after[0]}, open files {before[1]} → {after[1]}")
    print(f"  streams {counters.get('stream_connects')}, losses {counters.get('stream_losses')}")


def virtual(rollovers: int) -> None:
    from tests.support.thrifty import Thrifty

    clock = VirtualClock(START)
    warm_up = 40
    rows: list[tuple[int, int, int, float]] = []

    async def main() -> None:
        async with Environment(Thrifty(), clock=clock) as env:
            env.provide(Gaps())
            trader = Trader(env)
            trader.add(Measure(), on=SERIES)
            run = asyncio.create_task(trader.run(cycles=rollovers + warm_up + 1))
            for cycles in (warm_up, warm_up + rollovers // 2, warm_up + rollovers):
                await clock.sleep_until(START + cycles * 900 + 450)
                gc.collect()
                if not tracemalloc.is_tracing():
                    tracemalloc.start()
                rows.append(
                    (
                        cycles,
                        len(asyncio.all_tasks()),
                        len(gc.get_objects()),
                        tracemalloc.get_traced_memory()[0] / 1024,
                    )
                )
            tracemalloc.stop()
            run.cancel()
            await asyncio.wait({run})

    began = time.perf_counter()
    clock.run(main())
    took = time.perf_counter() - began
    print(f"simulated time, {rollovers} rollovers after {warm_up} to warm up ({took:.1f} s)")
    for cycles, tasks, objects, kib in rows:
        print(f"  after {cycles:4} cycles: {tasks} tasks, {objects} objects, +{kib:.0f} KiB")
    per_cycle = (rows[-1][3] - rows[1][3]) / (rollovers - rollovers // 2)
    print(f"  second half: {per_cycle:.2f} KiB a cycle (the ledger keeps one record each)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=int, metavar="N", help="rollovers over real sockets")
    parser.add_argument("--virtual", type=int, metavar="N", help="rollovers on simulated time")
    parser.add_argument("--speed", type=float, default=300.0, help="market seconds a second")
    options = parser.parse_args()
    if options.virtual or not options.real:
        virtual(options.virtual or 200)
    if options.real or not options.virtual:
        asyncio.run(real(options.real or 20, options.speed))


if __name__ == "__main__":
    main()
