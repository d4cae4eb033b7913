"""For every count of snapshots: something that makes it happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from attrs import define, field

from polyframe.counters import Count, Counters
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, Side
from polyframe.strategy import PERSIST
from polyframe.trading.snapshotstore import MemoryStore
from tests.support.fake import START, FakeExchange, make_market, resealed
from tests.support.stage import Recorder, Stage, play, settle

FIRST = make_market(start=START)
BUY = OrderRequest(Outcome.UP, Side.BUY, "0.40", 10)
SNAPSHOT, SENT = (f"btc-updown-15m/{FIRST.slug}@{START}.{kind}" for kind in ("snapshot", "sent"))


@define
class Keeping(Recorder):
    """A strategy with a marked field."""

    kept: Any = field(init=False, default=0, metadata=PERSIST)

    async def on_cycle_start(self) -> None:
        await self.trading.place(BUY)


@define
class Narrower(Keeping):
    """A later version of it, whose field holds less."""

    kept: list[int] = field(init=False, factory=list, metadata=PERSIST)


class BadDisk(MemoryStore):
    """A store in which some calls fail."""

    def __init__(self, *calls: str) -> None:
        super().__init__()
        self.bad = set(calls)

    def _check(self, call: str) -> None:
        if call in self.bad:
            raise OSError(5, "bad disk")

    def write(self, key: str, data: bytes) -> None:
        self._check("write")
        super().write(key, data)

    def append(self, key: str, data: bytes) -> None:
        self._check("append")
        super().append(key, data)

    def read(self, key: str) -> bytes:
        if key in self.files:
            self._check("read")
        return super().read(key)


async def _wait(stage: Stage) -> None:
    """Let a snapshot be written."""
    await asyncio.sleep(1)


async def _odd(stage: Stage) -> None:
    """Put something into a marked field that cannot be written."""
    (desk,) = stage.trader._desks.values()
    strategy = desk.runs[0].strategy
    assert isinstance(strategy, Keeping)
    strategy.kept = object()
    await asyncio.sleep(1)


def run(
    store: MemoryStore,
    act: Callable[[Stage], Awaitable[None]] = _wait,
    strategy: Recorder | None = None,
    exchange: FakeExchange | None = None,
) -> Counters:
    """Return the counters of one run in the first cycle."""

    async def all_of_it(stage: Stage) -> Counters:
        await stage.open_cycle()
        await settle()
        await act(stage)
        return stage.env.counters

    return play(all_of_it, strategy or Keeping(), exchange=exchange, snapshots=store, name="keeper")


def twice(
    change: Callable[[bytes], bytes] = lambda data: data,
    *,
    key: str = SNAPSHOT,
    strategy: Recorder | None = None,
    bad: str = "",
) -> Counters:
    """Return the counters of a second run, after a file was changed; the other one is gone."""
    exchange, store = FakeExchange(), BadDisk()
    run(store, exchange=exchange)
    data = store.files.get(key, b"")
    store.files = {key: change(data)}
    store.bad = {bad}
    return run(store, strategy=strategy, exchange=exchange)


def _other_tokens() -> Counters:
    """Return the counters of a run that finds a market of other tokens in a list of orders."""
    exchange, store, files = FakeExchange(), MemoryStore(), {}

    async def keep(_: Stage) -> None:
        files[SENT] = resealed(store.files[SENT], b"btc17905860001", b"btcOTHER1")

    run(store, keep, exchange=exchange)
    store.files = files
    return run(store, exchange=exchange)


def _replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new)


SNAPSHOTS: dict[tuple[Count, str], Callable[[], Counters]] = {
    (Count.SNAPSHOTS, "written"): lambda: run(MemoryStore()),
    (Count.SNAPSHOTS, "failed"): lambda: run(BadDisk("write")),
    (Count.SNAPSHOTS, "sent_failed"): lambda: run(BadDisk("append")),
    (Count.SNAPSHOTS, "fields_failed"): lambda: run(MemoryStore(), _odd),
    (Count.SNAPSHOTS, "restored"): twice,
    (Count.SNAPSHOTS_REFUSED, "torn"): partial(twice, lambda data: data[:-9]),
    (Count.SNAPSHOTS_REFUSED, "foreign"): partial(twice, _replace(b"fake account", b"hers")),
    (Count.SNAPSHOTS_REFUSED, "newer"): partial(twice, _replace(b'"version":1', b'"version":9')),
    (Count.SNAPSHOTS_REFUSED, "wrong_generation"): partial(
        twice, _replace(b'"generation":1790586000', b'"generation":1')
    ),
    (Count.SNAPSHOTS_REFUSED, "unreadable"): partial(twice, bad="read"),
    (Count.SNAPSHOTS_REFUSED, "wrong_market"): _other_tokens,
    (Count.SNAPSHOTS_REFUSED, "fields"): partial(twice, strategy=Narrower()),
}
