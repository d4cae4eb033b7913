"""Nothing is told before it is kept: what a strategy knows of its account survives a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from polyframe.counters import Count, Counters
from polyframe.paper.keeping import KEY
from polyframe.paper.values import Told
from polyframe.trading.snapshotstore import Store

log = logging.getLogger(__name__)


class Keeper:
    """Writes the account, then tells what has happened to it.

    Changes that come while a thread writes are written together. An account that cannot be written is
    an alarm, and trading goes on: what is lost is paper.

    Args:
        store: Where the account is kept, ``None`` to keep nothing.
        image: Returns the account as it is now, as the content of its file.
        deliver: Takes one thing that is to be told.
        counters: Where failed writes are counted.
    """

    def __init__(
        self,
        store: Store | None,
        image: Callable[[], bytes],
        deliver: Callable[[Told], None],
        counters: Counters,
    ) -> None:
        self._store = store
        self._image = image
        self._deliver = deliver
        self._counters = counters
        self._waiting: list[Told] = []
        self._is_changed = self._is_failing = False
        self._writer: asyncio.Task[None] | None = None
        # Of its own: those that everybody shares may all be at work for a strategy.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="polyframe-paper")

    def keep(self, told: Sequence[Told]) -> None:
        """Keep the account as it is, then tell."""
        if self._store is None:
            self._tell(told)
            return
        self._waiting += told
        self._is_changed = True
        if not self._store.blocks:
            self._write(self._store, self._image())
            self._is_changed = False
            self._tell(self._taken())
        elif self._writer is None:
            self._writer = asyncio.create_task(self._write_all(self._store), name="paper-account")

    async def flush(self) -> None:
        """Return once all is written and told."""
        if self._writer is not None:
            await asyncio.wait({self._writer})

    async def close(self) -> None:
        """Write what is left, tell it, and end the thread."""
        await self.flush()
        self._thread.shutdown()

    def _taken(self) -> list[Told]:
        taken, self._waiting = self._waiting, []
        return taken

    def _tell(self, told: Sequence[Told]) -> None:
        for one in told:
            self._deliver(one)

    async def _write_all(self, store: Store) -> None:
        try:
            while self._is_changed:
                self._is_changed = False
                taken, image = self._taken(), self._image()
                # In our context, so that its line in the log says the mode.
                write, loop = copy_context().run, asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, write, self._write, store, image)
                self._tell(taken)
        finally:
            self._writer = None

    def _write(self, store: Store, image: bytes) -> None:
        try:
            store.write(KEY, image)
            self._is_failing = False
        except OSError as error:
            self._counters.add(Count.PAPER_SKIPPED, "not_kept")
            # Once, not with every step of every order.
            level = logging.DEBUG if self._is_failing else logging.ERROR
            log.log(level, "the paper account could not be kept: %s", error)
            self._is_failing = True
