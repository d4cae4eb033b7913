"""Snapshots: what a cycle's trading state was, for a program that comes back within the cycle.

Each cycle that has orders or marked fields of strategies has a bucket in the store. Its snapshot is
written a moment after something changed, by a thread; its list of sent orders gets a line before
each order leaves. So whenever the program ends, the files and the venue together tell everything.
`polyframe.trading.restart` puts them together again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TypeVar

import msgspec
from attrs import define, field, frozen

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.model.market import Market
from polyframe.model.order import Order
from polyframe.trading.account import Account
from polyframe.trading.image import CycleImage
from polyframe.trading.ledger import Journal
from polyframe.trading.snapshotfile import (
    Bucket,
    Content,
    Owner,
    RefusedError,
    decode,
    decode_sent,
    encode,
    encode_sent,
    encode_sent_header,
)
from polyframe.trading.snapshotstore import Store
from polyframe.trading.state import CycleState

log = logging.getLogger(__name__)

INTERVAL = 0.25
"""Network seconds from a change to its snapshot, and between two looks at marked fields."""
SHARE = 20
"""Between two rounds of writing passes at least this many times what the last one took,"""
LONGEST = 10.0
"""but no more than these network seconds, however slow the disk was once."""

T = TypeVar("T")

FieldsSource = Callable[[], msgspec.Raw]
"""Returns the marked fields of a strategy as a JSON object."""


@frozen
class Found:
    """A cycle of an earlier run.

    Attributes:
        image: Its trading state, with the orders that left after it was written.
        fields: Marked fields by strategy, as JSON.
        cash: USD of the account then, ``None`` if only the list of sent orders is left.
        is_over: Whether its strategies had ended with its window.
    """

    image: CycleImage
    fields: Mapping[str, msgspec.Raw] = field(factory=dict, hash=False)
    cash: Decimal | None = None
    is_over: bool = False


@define(eq=False)
class _Watched:
    """A cycle whose bucket is kept."""

    bucket: Bucket
    state: CycleState
    is_over: bool = False
    is_changed: bool = False
    has_list: bool = False
    is_list_broken: bool = False
    sources: dict[str, FieldsSource] = field(factory=dict)
    fields: dict[str, msgspec.Raw] = field(factory=dict)


class Snapshots:
    """Keeps the buckets of the cycles of one environment.

    Nothing here ever stops trading: a store that fails is counted and logged, and written to again
    with the next change.

    Args:
        store: Where the files are.
        clock: Market time.
        counters: Where files are counted.
        ledger: Where it is written down what was restored and refused.
        account: Its cash is noted in each snapshot.
    """

    def __init__(
        self, store: Store, *, clock: Clock, counters: Counters, ledger: Journal, account: Account
    ) -> None:
        self._store = store
        self._clock = clock
        self._counters = counters
        self._ledger = ledger
        self._account = account
        self._owner = Owner("", "", is_live=False)
        self._cycles: dict[str, _Watched] = {}
        self._gone: list[Bucket] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._is_open = False
        self._is_failing = False

    # ------------------------------------------------------------------ life

    def open(self, owner: Owner) -> None:
        """Take the store.

        Raises:
            ConfigError: It cannot be used, or another process uses it.
        """
        self._store.open()
        self._is_open = True
        self._owner = owner

    def start(self) -> None:
        """Begin to write, in a task of its own."""
        if self._store.blocks:
            self._threads = ThreadPoolExecutor(1, thread_name_prefix="polyframe-snapshots")
        self._task = asyncio.create_task(self._run(), name="snapshots")

    async def close(self) -> None:
        """Write what has changed and give the store back. Safe to repeat."""
        task, self._task = self._task, None
        try:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                # The one thread ends a round that is under way before it begins this one.
                await self._round()
        finally:
            threads, self._threads = self._threads, None
            if threads is not None:
                threads.shutdown()
            if self._is_open:
                self._is_open = False
                self._store.close()

    # ------------------------------------------------------------------ what happens

    def watch(self, state: CycleState) -> None:
        """Keep the bucket of a cycle from now on."""
        slug = state.market.slug
        watched = self._cycles.get(slug)
        if watched is None or watched.state is not state:
            self._cycles[slug] = _Watched(Bucket.of(state.market), state)
        self.changed(slug)

    def take_over(self, state: CycleState, found: Found) -> None:
        """Keep the bucket of a cycle that was restored, as one fresh snapshot."""
        bucket = Bucket.of(state.market)
        watched = _Watched(bucket, state, is_over=found.is_over, fields=dict(found.fields))
        self._cycles[state.market.slug] = watched
        try:
            self._store.write(bucket.snapshot_key, encode(self._owner, self._content(watched)))
            self._store.remove(bucket.sent_key)
        except OSError as error:
            # The list stays, and may end in the middle of a line.
            watched.is_list_broken = True
            self._counters.add(Count.SNAPSHOTS, "failed")
            self._say_failing(error)

    def changed(self, slug: str) -> None:
        """Note that the state of a cycle changed. Cheap enough for every command."""
        watched = self._cycles.get(slug)
        if watched is not None and not watched.is_changed:
            watched.is_changed = True
            self._wake.set()

    def sent(self, market: Market, order: Order) -> None:
        """Write down an order that leaves now; it is with the operating system when this returns."""
        watched = self._cycles.get(market.slug)
        if watched is None or not self._is_open:
            return
        if watched.is_list_broken:
            self._counters.add(Count.SNAPSHOTS, "sent_failed")
            return
        try:
            data = encode_sent(order)
            if not watched.has_list:
                data = encode_sent_header(self._owner, market) + data
            self._store.append(watched.bucket.sent_key, data)
            watched.has_list = True
        except Exception as error:  # noqa: BLE001 - the order is registered: it has to leave
            # Whether a part of the line was written is not known: nothing may follow it.
            watched.is_list_broken = True
            self._counters.add(Count.SNAPSHOTS, "sent_failed")
            self._say_failing(error)

    async def write_now(self, slug: str) -> bool:
        """Write a cycle as it is now; return whether that was possible (if not, it is counted)."""
        self.changed(slug)
        done = await self._round()
        return any(bucket.slug == slug and error is None for bucket, error in done)

    def add_fields(self, slug: str, strategy: str, source: FieldsSource) -> None:
        """Keep the marked fields of a strategy, as long as the cycle is open."""
        watched = self._cycles.get(slug)
        if watched is not None:
            watched.sources[strategy] = source
            self._wake.set()

    def end(self, slug: str) -> None:
        """Note that a cycle is over: its marked fields are forgotten."""
        watched = self._cycles.get(slug)
        if watched is not None:
            watched.is_over = True
            watched.sources.clear()
            watched.fields.clear()
            self.changed(slug)

    def forget(self, slug: str) -> None:
        """Delete the bucket of a cycle: nothing more can happen to it."""
        watched = self._cycles.pop(slug, None)
        if watched is not None:
            self._gone.append(watched.bucket)
            self._wake.set()

    def set_aside(self, slug: str, reason: str, text: str) -> None:
        """Refuse the bucket of a cycle that was believed at first."""
        watched = self._cycles.pop(slug, None)
        if watched is not None:
            for key in (watched.bucket.snapshot_key, watched.bucket.sent_key):
                if key in self._store.keys():  # noqa: SIM118 - no dict
                    self.refuse(key, reason, text)

    # ------------------------------------------------------------------ writing

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not any(watched.sources for watched in self._cycles.values()):
                await self._wake.wait()
            await asyncio.sleep(INTERVAL)
            self._wake.clear()
            began = loop.time()
            pause = LONGEST
            try:
                await self._round()
                pause = min(SHARE * (loop.time() - began), LONGEST)
            except Exception:  # a defect must not end the writing for the rest of the run
                log.exception("a round of snapshots failed")
                self._wake.set()
            await asyncio.sleep(pause)

    async def _round(self) -> list[tuple[Bucket, Exception | None]]:
        """Write what has changed and delete what is over; return how each snapshot went."""
        images, gone = self._due()
        try:
            if self._threads is None:
                done = self._write(images, gone)
            else:
                loop = asyncio.get_running_loop()
                done = await loop.run_in_executor(self._threads, self._write, images, gone)
        except BaseException:
            # Cancelled before the thread took it, perhaps: the next round does it once more.
            for bucket, _ in images:
                self.changed(bucket.slug)
            self._gone += gone
            raise
        self._count(done)
        return done

    def _due(self) -> tuple[list[tuple[Bucket, Content]], list[Bucket]]:
        """Return what has to be written and what to be deleted, as values of this instant."""
        images = []
        for watched in self._cycles.values():
            self._look_at_fields(watched)
            is_changed = watched.is_changed or watched.is_list_broken
            state = watched.state
            if is_changed and (state.orders or state.conversions or watched.fields):
                images.append((watched.bucket, self._content(watched)))
            watched.is_changed = False
        gone, self._gone = self._gone, []
        return images, gone

    def _content(self, watched: _Watched) -> Content:
        """Return all of a cycle as it is now."""
        return Content(
            watched.state.image(),
            self._account.cash,
            int(self._clock.time() * 1000),
            dict(watched.fields),
            watched.is_over,
        )

    def _look_at_fields(self, watched: _Watched) -> None:
        for strategy, source in watched.sources.items():
            try:
                now = source()
            except Exception as error:  # noqa: BLE001
                # What the user put there cannot be written: the last good values stay.
                if self._counters.add(Count.SNAPSHOTS, "fields_failed") == 1:
                    log.error("marked fields of %s cannot be written: %s", strategy, error)
                continue
            before = watched.fields.get(strategy)
            if before is None or bytes(before) != bytes(now):
                watched.fields[strategy] = now
                watched.is_changed = True

    def _write(
        self, images: list[tuple[Bucket, Content]], gone: list[Bucket]
    ) -> list[tuple[Bucket, Exception | None]]:
        """Write and delete files, in the thread; return how each snapshot went."""
        done: list[tuple[Bucket, Exception | None]] = []
        for bucket, content in images:
            try:
                self._store.write(bucket.snapshot_key, encode(self._owner, content))
                done.append((bucket, None))
            except Exception as error:  # noqa: BLE001 - one that fails must not keep back others
                done.append((bucket, error))
        for bucket in gone:
            try:
                self._store.remove(bucket.snapshot_key)
                self._store.remove(bucket.sent_key)
            except OSError as error:
                # It stays, and the next start finds a cycle with which it is soon done.
                log.warning("snapshot %s cannot be deleted: %s", bucket.snapshot_key, error)
        return done

    def _count(self, done: list[tuple[Bucket, Exception | None]]) -> None:
        for bucket, error in done:
            if error is None:
                self._counters.add(Count.SNAPSHOTS, "written")
                self._is_failing = False
                self._mend_list(bucket)
                continue
            self._counters.add(Count.SNAPSHOTS, "failed")
            self._say_failing(error)
            self.changed(bucket.slug)

    def _mend_list(self, bucket: Bucket) -> None:
        """Begin a new list of sent orders where the old one broke: the snapshot has them all."""
        watched = self._cycles.get(bucket.slug)
        if watched is None or not watched.is_list_broken:
            return
        try:
            self._store.remove(bucket.sent_key)
        except OSError as error:
            self._say_failing(error)
            return
        watched.has_list = watched.is_list_broken = False

    def _say_failing(self, error: Exception) -> None:
        log.log(
            logging.DEBUG if self._is_failing else logging.ERROR,
            "snapshots cannot be written, a restart would know less: %s",
            error,
        )
        self._is_failing = True

    # ------------------------------------------------------------------ reading

    def load(self) -> list[Found]:
        """Read all buckets, oldest cycle first; what cannot be believed is set aside."""
        buckets = {Bucket.parse(key): None for key in self._store.keys()}  # noqa: SIM118 - no dict
        known = [bucket for bucket in buckets if bucket is not None]
        found = [self._load(b) for b in sorted(known, key=lambda b: (b.generation, b.slug))]
        return [one for one in found if one is not None]

    def _load(self, bucket: Bucket) -> Found | None:
        content = self._read(bucket.snapshot_key, lambda d: decode(self._owner, bucket, d))
        sent = self._read(bucket.sent_key, lambda d: decode_sent(self._owner, bucket, d))
        if content is None and sent is None:
            return None
        if content is None:
            assert sent is not None  # noqa: S101 - one of them is there
            market, orders = sent
            return Found(CycleImage(market).with_sent(orders))
        orders = [] if sent is None else sent[1]
        image = content.image.with_sent(orders)
        return Found(image, content.fields, content.cash, content.is_over)

    def _read(self, key: str, parse: Callable[[bytes], T]) -> T | None:
        try:
            return parse(self._store.read(key))
        except FileNotFoundError:
            return None
        except OSError as error:
            self.refuse(key, "unreadable", str(error))
        except RefusedError as error:
            self.refuse(key, error.reason, str(error))
        return None

    def refuse(self, key: str, reason: str, text: str) -> None:
        """Set a file aside, and say so: the venue decides then."""
        self._counters.add(Count.SNAPSHOTS_REFUSED, reason)
        try:
            where = self._store.set_aside(key)
        except OSError as error:
            where = f"{key} (it cannot be renamed: {error})"
        log.error("snapshot %s is refused (%s): %s; it is kept as %s", key, reason, text, where)
        self._ledger.note("snapshot_refused", {"file": key, "reason": reason, "text": text})
