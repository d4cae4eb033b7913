"""What the books say of a cycle that several runs of a program have seen."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

from polyframe.trading.ledger import CycleStatus, Ledger
from tests.runtime.test_restart import FIRST, Run, buy, fill
from tests.support.fake import START
from tests.support.stage import Stage


def test_a_cycle_of_several_runs_is_in_the_books_once(tmp_path: Path) -> None:
    """It was resolved and entered before the kill, but not settled: its profit is not made twice."""
    run, path = Run(), tmp_path / "ledger.sqlite"

    async def live(stage: Stage) -> None:
        await buy(stage)
        fill(run)
        stage.exchange.user.push(run.exchange.trades[0])  # type: ignore[union-attr]
        await stage.open_cycle(START + 900)
        await asyncio.sleep(1000)
        record = stage.env.ledger.get(FIRST.slug)
        assert record is not None
        assert CycleStatus.RESOLVED is record.status
        run.kill()

    run.ledger = Ledger(path)
    run.first(live)

    async def again(stage: Stage) -> None:
        await asyncio.sleep(10)

    run.ledger = Ledger(path)
    run.second(again, at=START + 1200.0, start=START + 900)
    with Ledger.open(path) as reader:
        (entry,) = (e for e in reader.cycles() if e.record.slug == FIRST.slug)
        assert 2 == entry.run
        assert Decimal("2.3328") == entry.record.profit  # 4 − 1.60 − the fee
        assert [Decimal("2.3328")] == list(reader.profit_by_day().values())
