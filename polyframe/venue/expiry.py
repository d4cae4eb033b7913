"""When orders with an hour of death die (PROTOCOL §2.8)."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from polyframe.clock import Clock
from polyframe.venue.records import VenueOrder
from polyframe.venue.tasks import TaskSet


class Expiry:
    """Ends orders at their time: one task for each second in which any order ends.

    Args:
        clock: The venue's time.
        tasks: Owner of the tasks.
    """

    def __init__(self, clock: Clock, tasks: TaskSet) -> None:
        self._clock = clock
        self._tasks = tasks
        self._due: dict[int, list[VenueOrder]] = {}
        self.on_expired: Callable[[VenueOrder], None] | None = None
        """Takes each order at its time, whatever became of it meanwhile."""

    def at(self, when: float, order: VenueOrder) -> None:
        """Let `order` end at epoch second `when`, unless its market ends before."""
        second = ceil(when)
        if second >= order.market.end:
            return
        orders = self._due.setdefault(second, [])
        orders.append(order)
        if len(orders) == 1:
            self._tasks.spawn(self._wait(second), f"venue-expiry-{second}")

    async def _wait(self, second: int) -> None:
        await self._clock.sleep_until(second)
        for order in self._due.pop(second):
            if self.on_expired is not None:
                self.on_expired(order)
