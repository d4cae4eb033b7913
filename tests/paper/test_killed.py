"""A program that trades on paper is killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from polyframe.clock import ScaledClock
from tests.paper.scene import scene
from tests.support.fake import START

ROOT = Path(__file__).resolve().parents[2]


def test_a_kill_loses_nothing_that_was_told(tmp_path: Path) -> None:
    """After ``kill -9`` the next run has the cash and the order that the last one knew of."""
    folder = tmp_path / "account"
    command = [sys.executable, "-m", "tests.paper.killed_child", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            order_id, cash = child.stdout.readline().split()
        finally:
            child.kill()

    async def act() -> None:
        async with scene(ScaledClock(1, START + 61), folder) as found:
            (resting,) = await found.exchange.fetch_open_orders()
            assert resting.order_id == order_id
            assert str(await found.exchange.fetch_balance()) == cash
            assert len(await found.exchange.fetch_trades()) == 1

    asyncio.run(act())
