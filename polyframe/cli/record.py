"""``polyframe record``: series of markets onto the disk, many at once."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from attrs import frozen

from polyframe.cli.run import clock_of
from polyframe.cli.stopping import Stopper
from polyframe.clock import WallClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError
from polyframe.exchange.polymarket import PolymarketExchange, PolymarketHosts
from polyframe.recording.recorder import Recorder


@frozen(kw_only=True)
class RecordOptions:
    """What the command line asks for.

    Attributes:
        series: Names of the series.
        folder: Where recordings go.
        files: Where the files of markets go, ``""`` for `folder`.
        cycles: Windows to record of each series, ``None`` for all that come.
        url: A venue on this machine; ``""`` for the real one.
        verbose: Log what goes well, too.
    """

    series: tuple[str, ...]
    folder: Path
    files: str
    cycles: int | None
    url: str
    verbose: bool


def run_record(options: RecordOptions) -> int:
    """Record until a signal comes or all cycles are done, and return the exit code.

    Raises:
        ConfigError: An option that cannot be, the folder is in use, or a package is missing.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("polyframe").setLevel(logging.INFO if options.verbose else logging.WARNING)
    stopper = Stopper()
    stopper.install()
    failure = asyncio.run(_record(options, stopper))
    return stopper.exit_code or (1 if failure else 0)


async def _record(options: RecordOptions, stopper: Stopper) -> str:
    """Return why recording stopped before its time, ``""`` if it did not."""
    hosts = PolymarketHosts.local(options.url) if options.url else PolymarketHosts()
    if options.url and not hosts.is_loopback:
        msg = f"url: expected a venue on this machine, got {options.url!r}"
        raise ConfigError(msg)
    exchange, counters = PolymarketExchange(hosts), Counters()
    recorder = Recorder(
        exchange,
        options.series,
        options.folder,
        files=options.files or None,
        cycles=options.cycles,
    )
    # A venue on this machine may be ahead of the wall, and then its markets are, too.
    clock = await clock_of(options.url, "url") if options.url else WallClock()
    task = asyncio.current_task()
    if task is not None:
        stopper.bind(task)
    try:
        await exchange.open(clock, counters)
        await recorder.open(clock, counters)
        names = ", ".join(map(str, recorder.series))
        _print(f"recording {names} to {recorder.folder}; Ctrl-C ends it")
        await recorder.wait()
    except asyncio.CancelledError:
        if stopper.signal is None:
            raise
    finally:
        await recorder.close()
        await exchange.close()
    counted = counters.reasons(Count.RECORDINGS)
    _print("markets: " + (", ".join(f"{n} {reason}" for reason, n in counted.items()) or "none"))
    return recorder.failure or ("failed" if counted.get("failed") else "")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
