"""What outlives cycles and is opened and closed with the environment."""

from __future__ import annotations

from abc import ABC, abstractmethod

from polyframe.clock import Clock
from polyframe.counters import Counters


class SharedService(ABC):
    """A service with a life of its own, for ``Environment.provide``.

    The environment opens it after the exchange and closes it before the exchange. A service that
    needs no opening may be any object.
    """

    @abstractmethod
    async def open(self, clock: Clock, counters: Counters) -> None:
        """Begin. An error here keeps the environment from opening.

        Args:
            clock: Market time of the environment.
            counters: The environment's.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release everything, in bounded time. Also called after an `open` that failed."""
