"""A venue in real time, and official client packages that run against it in their own processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from polyframe.clock import WallClock
from polyframe.model.series import Series
from polyframe.venue import LocalVenue, Snapshot, SyntheticSource, VenueMarket, VenueSettings
from polyframe.venue.values import SHARE
from tests.venue.support import ScriptedSource, make_market

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
PATIENCE = 90.0
"""Real seconds that a client may take."""

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
"""A development key that everybody knows; never fund it."""


@frozen
class Scene:
    """An open venue and its market."""

    venue: LocalVenue
    market: VenueMarket

    def task(self, **more: Any) -> dict[str, Any]:
        """Return what a client needs to know."""
        up, down = self.market.tokens
        return {
            "clob": f"{self.venue.url}/clob",
            "gamma": f"{self.venue.url}/gamma",
            "data": f"{self.venue.url}/data-api",
            "relayer": f"{self.venue.url}/relayer",
            "ws": self.venue.ws_url,
            "key": KEY,
            "slug": self.market.slug,
            "condition": self.market.condition_id,
            "up": up,
            "down": down,
            **more,
        }


@contextlib.asynccontextmanager
async def open_live_scene() -> AsyncIterator[Scene]:
    """Open a venue that follows the wall clock, with made-up markets and reference prices."""
    series = Series.parse("btc-updown-15m")
    source = SyntheticSource(series, seed=7)
    market = source.next_market(int(time.time()))
    assert market is not None
    async with LocalVenue(source, clock=WallClock()) as venue:
        yield Scene(venue, market)


@contextlib.asynccontextmanager
async def open_scene(**settings: Any) -> AsyncIterator[Scene]:
    """Open a venue that follows the wall clock, with one market and a book that stands."""
    now = int(time.time())
    # Four hours and not near their end: a market may trade before its window begins.
    window = Series("btc", "4h").window_at(now + 600)
    market = make_market(window.start, period="4h")
    book = {4800: 100 * SHARE, 4700: 200 * SHARE}, {5200: 100 * SHARE, 5300: 200 * SHARE}
    source = ScriptedSource([Snapshot((now - 600) * 1000, *book)], markets=[market])
    settings = {"mined_after": 0.2, "confirmed_after": 0.4, "quiet": 0.5, **settings}
    async with LocalVenue(source, clock=WallClock(), settings=VenueSettings(**settings)) as venue:
        yield Scene(venue, market)


def interpreter(package: str) -> Path:
    """Return the Python that has an official package, or skip the test."""
    path = ROOT / f".venv-{package}" / "bin" / "python"
    if not path.exists():
        pytest.skip(f"{package} is not installed: make official")
    return path


async def drive(package: str, script: str, task: dict[str, Any]) -> dict[str, Any]:
    """Run a client and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        interpreter(package),
        "-W",
        "ignore",
        CLIENTS / script,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(json.dumps(task).encode())
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, err.decode()[-3_000:]
    result: dict[str, Any] = json.loads(out)
    return result
