"""A day of made-up markets, recorded through the local venue: what docs/day.md works on.

::

    python benchmarks/day.py FOLDER [--cycles 96] [--speed 60] [--seed 1]

The venue works in a process of its own, the recorder in this one; between them are real HTTP and real
WebSockets, a connection for each market. Market time runs `speed` times as fast as the wall, so a day
takes 24 minutes at 60. The faster it runs, the more market time a busy machine puts between a message
and its arrival: how much it was is told at the end, by the times that the venue wrote into its messages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TypeVar

from polyframe import (
    Counters,
    ParquetRecording,
    PolymarketExchange,
    Recorder,
    RecorderSettings,
    ScaledClock,
    Series,
    Timed,
    Window,
)
from polyframe.exchange.polymarket import PolymarketHosts
from polyframe.venue import LocalVenue, SyntheticSource, VenueSettings

T = TypeVar("T")

SERIES = "btc-updown-15m"
MIDNIGHT = 1_893_456_000
LEAD, TAIL = 120, 60
"""Market seconds: at 60 times the speed, two real seconds to connect and one to hear the end."""


async def serve(speed: float, seed: int) -> None:
    """Serve until standard input ends."""
    clock = ScaledClock(speed, start=MIDNIGHT - LEAD - 30)
    settings = VenueSettings(send_queue=20_000)
    async with LocalVenue(SyntheticSource(SERIES, seed), clock=clock, settings=settings) as venue:
        about = {"url": venue.url, "now": clock.time(), "at": time.monotonic()}
        print(json.dumps(about), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def record(folder: Path, cycles: int, speed: float, seed: int) -> None:
    """Record `cycles` markets from midnight on."""
    venue = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        str(folder),
        "--serve",
        f"--speed={speed}",
        f"--seed={seed}",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    about = json.loads(await _pipe(venue.stdout).readline())
    now = about["now"] + (time.monotonic() - about["at"]) * speed
    clock, counters = ScaledClock(speed, start=now), Counters()
    exchange = PolymarketExchange(PolymarketHosts.local(about["url"]))
    # The recorder begins with the window of now: the one before midnight, whose end is near.
    recorder = Recorder(
        exchange,
        [SERIES],
        folder,
        settings=RecorderSettings(lead=LEAD, tail=TAIL),
        cycles=cycles + 1,
    )
    await exchange.open(clock, counters)
    try:
        await recorder.open(clock, counters)
        await recorder.wait()
    finally:
        await recorder.close()
        await exchange.close()
        _pipe(venue.stdin).close()
        await venue.wait()
    print(f"failure: {recorder.failure or 'none'}; {counters.snapshot()}")
    # Of the market before midnight only the last moments were heard.
    stub = Series.parse(SERIES).slug(Window(MIDNIGHT - 900, MIDNIGHT))
    (folder / SERIES / f"{stub}.parquet").unlink(missing_ok=True)


def _pipe(pipe: T | None) -> T:
    if pipe is None:
        raise RuntimeError("the venue was started without a pipe")
    return pipe


def describe(folder: Path) -> None:
    """Tell what was recorded, and how late it came."""
    data = ParquetRecording(folder)
    events, late = 0, list[int]()
    for tape in data.markets():
        for event in data.events(tape):
            events += 1
            if isinstance(event, Timed) and event.message.timestamp_ms:
                late.append(event.received_ms - event.message.timestamp_ms)
    late.sort()
    print(
        f"{len(data.markets())} markets, {events:,} events, "
        f"{sum(path.stat().st_size for path in folder.rglob('*.parquet')):,} bytes; "
        f"market ms from the venue to the recorder: {statistics.median(late):.0f} (median), "
        f"{late[int(len(late) * 0.99)]} (p99), {late[-1]} (max); "
        f"skipped {dict(data.skipped)}, doubtful {dict(data.doubtful)}"
    )


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cycles", type=int, default=96)
    parser.add_argument("--speed", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.serve:
        asyncio.run(serve(told.speed, told.seed))
        return
    logging.basicConfig(level=logging.WARNING)
    began = time.monotonic()
    asyncio.run(record(told.folder, told.cycles, told.speed, told.seed))
    print(f"{time.monotonic() - began:,.0f} s")
    describe(told.folder)


if __name__ == "__main__":
    main()
