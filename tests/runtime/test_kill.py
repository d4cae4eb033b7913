"""A trading program is killed again and again, at random instants, with orders at the venue.

After each start what it believes is compared with the venue's own records, over the same wire.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pytest
from attrs import define, field

from polyframe.clock import ScaledClock
from polyframe.counters import Counters
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.model.trade import TradeStatus
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-15m"
SPEED = 60.0
START = 1_893_456_000.0
KILLS = int(os.environ.get("POLYFRAME_KILLS", "50"))
ROOT = Path(__file__).resolve().parents[2]


@define(eq=False)
class Child:
    """One life of the program."""

    process: asyncio.subprocess.Process
    events: dict[str, list[dict[str, Any]]] = field(factory=lambda: defaultdict(list))

    async def until(self, event: str, count: int = 1) -> dict[str, Any]:
        """Return the `count`-th event of a name."""
        assert self.process.stdout is not None
        while len(self.events[event]) < count:
            line = await self.process.stdout.readline()
            assert line, f"it ended before it said {event!r}"
            found = json.loads(line)
            self.events[found["event"]].append(found)
        return self.events[event][count - 1]

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())

    async def dump(self) -> dict[str, Any]:
        """Return what it believes now."""
        known = len(self.events["dump"])
        self.tell("dump")
        return await self.until("dump", known + 1)

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.communicate()


@define(eq=False)
class Theatre:
    """A venue, the account's own records read by another client, and the program's folder."""

    venue: LocalVenue
    exchange: PolymarketExchange
    folder: Path
    start: float
    origin: float
    log: IO[bytes]

    async def spawn(self, seed: int) -> Child:
        """Start the program and return once it is open."""
        account = self.venue.account
        keys = [account.api_key, account.secret, account.passphrase, account.address]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.trading_child", str(self.folder)),
            *(self.venue.url, json.dumps(keys), str(self.start), str(self.origin)),
            *(str(SPEED), str(seed)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self.log,
            cwd=ROOT,
        )
        child = Child(process)
        await child.until("open")
        return child

    async def difference(self, believed: dict[str, Any]) -> str:
        """Return how what the program believes differs from the venue's records, ``""`` if not."""
        orders = await self.exchange.fetch_open_orders()
        trades = await self.exchange.fetch_trades()
        cash = await self.exchange.fetch_balance()
        if Decimal(believed["cash"]) != cash:
            return f"cash {believed['cash']}, the venue has {cash}"
        for cycle in believed["cycles"]:
            there = {
                order.order_id: order.size_matched
                for order in orders
                if order.market == cycle["condition_id"]
            }
            here = {name: Decimal(filled) for name, filled in cycle["open"].items()}
            if there != here:
                return f"{cycle['slug']}: open {here}, the venue has {there}"
            fills = sorted(
                [trade.trade_id, leg.order_id, str(leg.size), str(leg.price)]
                for trade in trades
                if trade.market == cycle["condition_id"] and trade.status is not TradeStatus.FAILED
                for leg in trade.legs
            )
            if _exact(fills) != _exact(cycle["fills"]):
                return f"{cycle['slug']}: fills {cycle['fills']}, the venue has {fills}"
            if cycle["winner"] is None and cycle["shares"] != cycle["held"]:
                return f"{cycle['slug']}: holds {cycle['held']} by its fills {cycle['shares']}"
            if cycle["foreign"]:
                return f"{cycle['slug']}: nobody's orders {cycle['foreign']}"
        return ""

    async def wait_resting(self) -> None:
        """Return once an order rests at the venue, or after a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(15):
                while True:
                    if await self.exchange.fetch_open_orders():
                        return
                    await asyncio.sleep(0.05)

    async def check(self, child: Child) -> dict[str, Any]:
        """Return what the program believes, once it is what the venue says; that takes a moment.

        An order rests while the book moves, so a fill may lie between the two questions.
        """
        difference = "nothing was compared"
        try:
            async with asyncio.timeout(60):
                while True:
                    believed = await child.dump()
                    difference = await self.difference(believed)
                    if not difference:
                        return believed
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{difference}; log:\n{(self.folder / 'log.txt').read_text()[-3000:]}")


def _exact(fills: list[list[str]]) -> list[tuple[str, str, Decimal, Decimal]]:
    return [(trade, order, Decimal(size), Decimal(price)) for trade, order, size, price in fills]


async def theatre(folder: Path, act: Any) -> None:
    """Run `act` with a venue in this process."""
    origin = time.monotonic()
    clock = ScaledClock(SPEED, START)
    async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        await exchange.open(clock, Counters())
        with (folder / "log.txt").open("ab") as log:
            try:
                await act(Theatre(venue, exchange, folder, START, origin, log))
            finally:
                await exchange.close()


def test_killed_at_random_instants(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """After each of the starts the program and the venue agree, and nothing is nobody's or twice.

    In the end the ledger of all its lives has each fill of the venue once, and its profit is what
    the account has earned.
    """
    rng = random.Random(3)
    resumed = kept = 0

    async def act(stage: Theatre) -> None:
        nonlocal resumed, kept
        for life in range(3 * KILLS):
            if life >= KILLS and resumed and kept:
                break
            child = await stage.spawn(life)
            began = await child.until("cycle")
            believed = await stage.check(child)
            resumed += began["resumed"]
            kept += sum(len(cycle["open"]) for cycle in believed["cycles"])
            child.tell("go")
            if life >= KILLS:
                # A busy machine left the others no time to place an order that could be found again.
                await stage.wait_resting()
            await asyncio.sleep(rng.uniform(0.1, 1.0))
            await child.kill()
        child = await stage.spawn(3 * KILLS)
        await child.until("cycle")
        await stage.check(child)
        child.tell("stop")
        async with asyncio.timeout(120):
            settled = await child.until("settled")
        await child.process.wait()
        await check_ledger(stage, Decimal(settled["cash"]))

    asyncio.run(theatre(tmp_path, act))
    record_property("resumed", resumed)
    record_property("open_orders_found_again", kept)
    assert resumed
    assert kept


async def check_ledger(stage: Theatre, cash: Decimal) -> None:
    """Check the ledger of all lives against the venue's records."""
    trades = await stage.exchange.fetch_trades()
    there = sorted(
        (trade.trade_id, leg.order_id, leg.size, leg.price)
        for trade in trades
        if trade.status is not TradeStatus.FAILED
        for leg in trade.legs
    )
    connection = sqlite3.connect(stage.folder / "ledger.sqlite")
    rows = connection.execute(
        "SELECT trade_id, venue_id, size, price FROM fills WHERE status != 'FAILED'"
    ).fetchall()
    profits = connection.execute("SELECT profit FROM cycles WHERE profit IS NOT NULL").fetchall()
    connection.close()
    assert there == sorted((t, v, Decimal(size), Decimal(price)) for t, v, size, price in rows)
    assert cash == await stage.exchange.fetch_balance()
    assert cash - 1000 == sum((Decimal(row[0]) for row in profits), Decimal(0))
