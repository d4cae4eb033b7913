"""Twenty series at once under a flood of messages: what it does to the event loop.

::

    python benchmarks/load.py [--seconds 30] [--rate 2000]

The local venue works in a process of its own, the client in this one: real HTTP and WebSockets, one
environment, one strategy for each series that also places and cancels orders. Market time runs so fast
that the venue sends about `rate` messages a second in total; so the markets end and begin as much
faster, too. Every `price_change` carries the venue's own top of book: if none ever differs from ours,
no message was lost. Beside it an idle process measures how late a loop is on this machine anyway.
(Messages "before snapshots" are not: when a market's price step changes, its books
are asked for afresh, and what comes in between is of no use.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import define, field

from polyframe import (
    Count,
    Environment,
    OrderError,
    OrderRequest,
    Outcome,
    PolymarketExchange,
    PriceChanged,
    RiskLimits,
    ScaledClock,
    Series,
    Side,
    Strategy,
    Trader,
)
from polyframe.errors import ExchangeError, StaleCycleError
from polyframe.venue import LocalVenue, SeveralSources, SyntheticSource, VenueAccount, VenueSettings

ASSETS = ("btc", "eth", "sol", "xrp", "doge", "bnb", "hype")
SERIES = [Series(asset, period) for period in ("5m", "15m", "4h") for asset in ASSETS][:20]
START = 1_893_456_000
MESSAGES = 4.8
"""A series sends so many a market second."""
QUIET = 5.0
"""Real seconds of warming up that are not measured."""
TICK = 0.005


# -- the venue's process -------------------------------------------------------------------------


async def serve(speed: float) -> None:
    """Serve until standard input ends, then say what was counted."""
    clock = ScaledClock(speed, start=START + 30)
    source = SeveralSources([SyntheticSource(series, seed=3) for series in SERIES])
    account = VenueAccount.random(cash=100_000)
    settings = VenueSettings(send_queue=20_000)
    async with LocalVenue(source, clock=clock, settings=settings, account=account) as venue:
        about = {
            "url": venue.url,
            "now": clock.time(),
            "at": time.monotonic(),
            "account": [account.api_key, account.secret, account.passphrase, account.address],
        }
        print(json.dumps(about), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        stats = venue.stats
        counted = {
            "slow_readers": stats.slow_readers,
            "orders": stats.orders,
            "refused": stats.refused,
            "connections": stats.market_connections,
            "cpu": time.process_time(),
        }
        print(json.dumps(counted), flush=True)


# -- the client's process ------------------------------------------------------------------------


@define
class Quoter(Strategy):
    """Reads every price; places and cancels an order now and then."""

    prices: int = field(init=False, default=0)

    async def on_price(self, event: PriceChanged) -> None:
        self.prices += event.known
        if self.prices % 200 or self.seconds_left() < 30:
            return
        quote = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.01"), Decimal(5), post_only=True)
        try:
            order = await self.trading.place(quote)
            await self.trading.cancel(order)
        except (OrderError, ExchangeError, StaleCycleError) as error:
            self.log.info("no quote: %s", error)


@define
class Lag:
    """By how much the event loop is late, and how much of that it was busy itself.

    On a machine that is shared a loop is late because others run. What it has used of the processor
    since it was last asked is its own part: so long it could have held up something else.
    """

    seconds: list[float] = field(factory=list)
    busy: list[float] = field(factory=list)

    async def watch(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due, used = loop.time() + TICK, time.thread_time()
            await asyncio.sleep(TICK)
            self.seconds.append(loop.time() - due)
            self.busy.append(time.thread_time() - used)


def told(seconds: list[float]) -> str:
    """Return the median, the 99th percentile and the maximum, in milliseconds."""
    ordered = [1000 * each for each in sorted(seconds)]
    middle, high = ordered[len(ordered) // 2], ordered[int(0.99 * len(ordered))]
    return f"p50 {middle:.2f}  p99 {high:.2f}  max {ordered[-1]:.1f}"


async def idle(seconds: float) -> None:
    """Do nothing else than to measure: how late a loop is on this machine anyway."""
    lag = Lag()
    await asyncio.wait({asyncio.create_task(lag.watch())}, timeout=seconds)
    print(told(lag.seconds), flush=True)


@define
class Holder:
    """The account of the venue in the other process."""

    api_key: str
    secret: str
    passphrase: str
    address: str


def resident() -> float:
    """Return the memory of this process in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def measure(about: dict[str, Any], speed: float, seconds: float) -> dict[str, Any]:
    """Trade for so many real seconds and return the figures."""
    clock = ScaledClock(speed, start=about["now"] + (time.monotonic() - about["at"]) * speed)
    exchange = PolymarketExchange.local(about["url"], Holder(*about["account"]))
    limits = RiskLimits()
    lag = Lag()
    async with Environment(exchange, clock=clock, risk=limits) as env:
        trader = Trader(env)
        for series in SERIES:
            trader.add(Quoter(), on=series)
        running = asyncio.create_task(trader.run())
        await asyncio.sleep(QUIET)
        before, memory = env.counters.get(Count.MARKET_MESSAGES), resident()
        began, cpu = time.monotonic(), time.process_time()
        watching = asyncio.create_task(lag.watch())
        await asyncio.wait({running}, timeout=seconds)
        watching.cancel()
        took, used = time.monotonic() - began, time.process_time() - cpu
        messages = env.counters.get(Count.MARKET_MESSAGES) - before
        grown = resident()
        counts = env.counters
        figures = {
            "messages a second": round(messages / took),
            "lag in ms": told(lag.seconds),
            "busy in between": told(lag.busy),
            "CPU share %": round(100 * used / took),
            "memory MiB": f"{memory:.1f} -> {grown:.1f}",
            "switches": counts.get(Count.SWITCHES, "opened"),
            "orders sent": counts.reasons(Count.ORDERS_SENT),
            "before snapshots": counts.get(Count.BOOK_SKIPPED, "before_snapshot"),
            "dropped": {
                count.value: counts.reasons(count)
                for count in (
                    Count.BOOK_MISMATCH,
                    Count.STREAM_LOSSES,
                    Count.USER_DROPPED,
                    Count.WIRE_SKIPPED,
                )
                if counts.get(count)
            },
        }
        running.cancel()
        await asyncio.wait({running})
    return figures


def _child(part: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, part]
    command += ["--rate", str(options.rate), "--seconds", str(options.seconds)]
    return subprocess.Popen(  # noqa: S603, our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _read(child: subprocess.Popen[str]) -> str:
    if child.stdout is None:
        msg = "a child without output"
        raise RuntimeError(msg)
    return child.stdout.readline()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 if a message was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="messages a second, in total")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--idle", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    speed = options.rate / (MESSAGES * len(SERIES))
    if options.serve:
        asyncio.run(serve(speed))
        return 0
    if options.idle:
        asyncio.run(idle(options.seconds))
        return 0
    logging.basicConfig(level=logging.ERROR)
    with _child("--serve", options) as venue, _child("--idle", options) as bystander:
        about = json.loads(_read(venue))
        began = time.monotonic()
        figures = asyncio.run(measure(about, speed, options.seconds))
        figures["of an idle loop"] = _read(bystander).strip()
        took = time.monotonic() - began
        if venue.stdin is not None:
            venue.stdin.close()
        counted = json.loads(_read(venue))
        counted["cpu"] = f"{100 * counted['cpu'] / took:.0f} %"
    print(f"{len(SERIES)} series, {options.seconds:g} s, market time {speed:.1f} times as fast")
    for name, value in figures.items():
        print(f"  {name:<20} {value}")
    print(f"  {'the venue':<20} {counted}")
    lost = bool(figures["dropped"]) or counted["slow_readers"] > 0
    print("  LOST MESSAGES" if lost else "  nothing was lost")
    return int(lost)


if __name__ == "__main__":
    raise SystemExit(main())
