"""What is still to happen, in order of time and, at the same time, in the order it was asked for."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[int], None]
"""Takes the time in epoch milliseconds for which it was asked."""

NEVER = 2**63
"""Later than any instant, in milliseconds."""


class Schedule:
    """Actions at times; nothing happens by itself.

    Attributes:
        first_ms: When the first one is due; `NEVER` if there is none. Read it, never write it.
    """

    def __init__(self) -> None:
        self.first_ms = NEVER
        self._due: list[tuple[int, int, Action]] = []
        self._number = 0

    @property
    def next_ms(self) -> int | None:
        """When something is to happen next, ``None`` if nothing is."""
        return self._due[0][0] if self._due else None

    def at(self, due_ms: int, action: Action) -> None:
        """Let `action` happen at a time."""
        self._number += 1
        heapq.heappush(self._due, (due_ms, self._number, action))
        self.first_ms = self._due[0][0]

    def advance(self, now_ms: int) -> None:
        """Do everything that has become due."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, _, action = heapq.heappop(self._due)
            self.first_ms = self._due[0][0] if self._due else NEVER
            action(due_ms)
