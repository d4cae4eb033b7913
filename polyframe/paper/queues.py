"""Where a resting order stands in the queue of its price, estimated from the public feed.

The feed shows the total size at a price and the trades, never the single orders (PROTOCOL §4.4,
§4.5). Trades eat the queue from its front. A drop that no trade explains is cancelled orders, and
nobody can know whether they stood before us or behind us: that is what the models differ in.

A trade print may come before or after the drop that it explains. Therefore drops are kept for a
while together with what was credited to the front for them. A later print first takes its volume out
of these drops and moves the *rest* of that volume to the front (the drop is re-labelled from
"cancelled" to "traded"). A print without a drop before it moves the front and is remembered, so that
the drop that follows is not credited a second time.

All sizes are integers of 1e-6 shares.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Protocol

from attrs import define, field, frozen
from typing_extensions import override

from polyframe.checks import duration_ms

RELABEL_MS = 800
"""Milliseconds for which a drop waits for its print, and a print for its drop."""

EVERYTHING = 10**30
"""More than any order has: the surplus of a print that fills whatever rests."""


class QueuePlace(Protocol):
    """The place of one order at one price."""

    @property
    def ahead(self) -> int:
        """What is estimated to stand before the order."""
        ...

    def shown(self, size: int, at_ms: int) -> None:
        """Take the new total size at the price, our order not included."""
        ...

    def traded(self, size: int, at_ms: int) -> int:
        """Take a trade at the price; return how much of it got past the front, to our order."""
        ...

    def regained(self, size: int) -> None:
        """Take the total size at the price after a time in which nothing was known."""
        ...


class QueueModel(Protocol):
    """Makes places. Frozen: one model serves all orders."""

    @property
    def name(self) -> str:
        """Short name for reports."""
        ...

    def join(self, size: int) -> QueuePlace:
        """Return the place of an order that joins behind `size`."""
        ...


@frozen
class _Relabelling(ABC):
    """What the models with re-labelling share; they differ in whom they credit with a cancel."""

    name: ClassVar[str]

    relabel_ms: int = field(default=RELABEL_MS, validator=duration_ms)

    def join(self, size: int) -> QueuePlace:
        """Return the place of an order that joins behind `size`."""
        return _Place(self._credit, self.relabel_ms, size, size)

    @staticmethod
    @abstractmethod
    def _credit(ahead: int, behind: int, drop: int) -> int:
        """Return how much of `drop` was cancelled before us."""


@frozen
class Power2(_Relabelling):
    """Cancels lean to the longer part: before us in the ratio of the squares. The cautious default.

    Attributes:
        relabel_ms: How long a drop waits for its print; 0 believes that both come at once.
    """

    name: ClassVar[str] = "power-2"

    @staticmethod
    @override
    def _credit(ahead: int, behind: int, drop: int) -> int:
        weight = ahead * ahead
        return drop * weight // (weight + behind * behind) if weight else 0


@frozen
class ProRata(_Relabelling):
    """Cancels are spread evenly over the queue.

    Attributes:
        relabel_ms: How long a drop waits for its print; 0 believes that both come at once.
    """

    name: ClassVar[str] = "pro-rata"

    @staticmethod
    @override
    def _credit(ahead: int, behind: int, drop: int) -> int:
        return drop * ahead // (ahead + behind) if ahead else 0


@frozen
class CancelsBehind(_Relabelling):
    """Whoever cancels stood behind us, as long as anybody did: the pessimist's bracket.

    Attributes:
        relabel_ms: How long a drop waits for its print; 0 believes that both come at once.
    """

    name: ClassVar[str] = "behind"

    @staticmethod
    @override
    def _credit(ahead: int, behind: int, drop: int) -> int:
        return 0


@frozen
class Touch:
    """Any trade at the price fills all of the order. Far too good: the optimist's bracket."""

    name: ClassVar[str] = "touch"

    def join(self, size: int) -> QueuePlace:  # noqa: ARG002 - there is no queue
        """Return the place of an order that stands before everybody."""
        return _FirstPlace()


@define
class _Drop:
    at_ms: int
    left: int
    credited: int


@define
class _Print:
    at_ms: int
    left: int


@define(eq=False)
class _Place:
    _credit: Callable[[int, int, int], int]
    _relabel_ms: int
    ahead: int
    _size: int
    _drops: deque[_Drop] = field(factory=deque)
    _prints: deque[_Print] = field(factory=deque)

    def shown(self, size: int, at_ms: int) -> None:
        drop, self._size = self._size - size, size
        if drop <= 0:
            return  # who comes new stands behind us
        self._forget(at_ms)
        while drop and self._prints:
            found = self._prints[0]
            part = min(drop, found.left)
            found.left -= part
            drop -= part
            if not found.left:
                self._prints.popleft()
        if drop:
            credited = min(self.ahead, self._credit(self.ahead, size + drop - self.ahead, drop))
            # No more can stand before us than stands there at all.
            credited = max(credited, self.ahead - size)
            self.ahead -= credited
            self._drops.append(_Drop(at_ms, drop, credited))

    def traded(self, size: int, at_ms: int) -> int:
        self._forget(at_ms)
        moved = 0
        while size and self._drops:
            found = self._drops[0]
            part = min(size, found.left)
            # Rounded up: what was credited already must not move the front again.
            credited = -(-found.credited * part // found.left)
            found.left -= part
            found.credited -= credited
            moved += part - credited
            size -= part
            if not found.left:
                self._drops.popleft()
        if size:
            moved += size
            self._prints.append(_Print(at_ms, size))
        surplus = max(moved - self.ahead, 0)
        self.ahead = max(self.ahead - moved, 0)
        return surplus

    def regained(self, size: int) -> None:
        self._drops.clear()
        self._prints.clear()
        self._size = size
        self.ahead = min(self.ahead, size)

    def _forget(self, at_ms: int) -> None:
        for waiting in (self._drops, self._prints):
            while waiting and at_ms - waiting[0].at_ms > self._relabel_ms:
                waiting.popleft()


@define(eq=False)
class _FirstPlace:
    ahead: int = 0

    def shown(self, size: int, at_ms: int) -> None:
        pass

    def traded(self, size: int, at_ms: int) -> int:  # noqa: ARG002 - any trade will do
        return EVERYTHING

    def regained(self, size: int) -> None:
        pass
