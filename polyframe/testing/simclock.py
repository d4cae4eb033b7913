"""The clock of a simulated computer, which is set now and then."""

from __future__ import annotations

import asyncio
import random

from typing_extensions import override

from polyframe.clock import VirtualClock, WallClock
from polyframe.testing.faults import Fault, Faults

LOOK = 10.0
"""Seconds between two instants at which the clock may be set."""

FARTHEST = 700.0
"""Seconds that it is wrong at most."""

_JUMPS = (-310.0, -200.0, -30.0, -3.0, -0.5, 0.5, 3.0, 30.0, 200.0, 310.0)


class SimWallClock(WallClock):
    """Market time as a computer has it that is set: system time jumps, timers go on.

    Args:
        true: The venue's time.
        faults: Says when it is set.

    Attributes:
        true: The venue's time.
        offset: Seconds that this clock is ahead of it.
    """

    def __init__(self, true: VirtualClock, faults: Faults) -> None:
        self.true = true
        self.offset = 0.0
        self._faults = faults

    @override
    def time(self) -> float:
        """Return epoch seconds, right or not."""
        return self.true.time() + self.offset

    def start(self) -> None:
        """Be set now and then from now on, by a seed."""
        self._wait()

    def _wait(self) -> None:
        asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        if self._faults.hit(Fault.CLOCK_JUMP):
            # Not on the stroke of the look: at any instant, also right at a boundary.
            pause = self._source.uniform(0.0, LOOK)
            asyncio.get_running_loop().call_later(pause, self.jump)
        self._wait()

    def jump(self) -> None:
        """Set the clock: by a step, or right."""
        source = self._source
        step = -self.offset if source.random() < 0.3 else source.choice(_JUMPS)
        self.offset = min(max(self.offset + step, -FARTHEST), FARTHEST)

    @property
    def _source(self) -> random.Random:
        return self._faults.source(Fault.CLOCK_JUMP)

    @override
    def __repr__(self) -> str:
        return f"SimWallClock(offset={self.offset:+g})"
