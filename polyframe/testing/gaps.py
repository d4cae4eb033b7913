"""Whether a gap in the account's stream is made up for by a comparison."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from polyframe.clock import Clock
from polyframe.model.market import Market
from polyframe.testing.invariants import Invariant

PATIENCE = 1.5
"""Seconds after a gap within which a comparison begins."""


class Gaps:
    """Expects a comparison of every open cycle after a gap.

    Args:
        clock: Market time.
        is_traded: Says whether a market is still traded by the present process.
        violate: Called if nothing was compared.
    """

    def __init__(
        self,
        clock: Clock,
        is_traded: Callable[[Market], bool],
        violate: Callable[[Invariant, str, str], None],
    ) -> None:
        self._clock = clock
        self._is_traded = is_traded
        self._violate = violate
        self._running: Counter[str] = Counter()
        self._began: dict[str, float] = {}
        self._process = 0

    def forget(self) -> None:
        """Expect nothing any more: another process begins."""
        self._process += 1
        self._running.clear()
        self._began.clear()

    @contextmanager
    def comparing(self, slug: str) -> Iterator[None]:
        """Take note of a comparison, from its beginning to its end."""
        self._began[slug] = self._clock.time()
        self._running[slug] += 1
        try:
            yield
        finally:
            self._running[slug] -= 1

    def expect(self, markets: Iterable[Market]) -> None:
        """Expect comparisons of these markets from now on."""
        for market in markets:
            self._look_later(self._process, market, self._clock.time())

    def _look_later(self, process: int, market: Market, gap: float) -> None:
        asyncio.get_running_loop().call_later(PATIENCE, self._look, process, market, gap)

    def _look(self, process: int, market: Market, gap: float) -> None:
        slug = market.slug
        is_over = process != self._process or not self._is_traded(market)
        if is_over or self._began.get(slug, 0.0) >= gap:
            return
        if self._running[slug] > 0:
            # One at a time: the next one begins when this one is through.
            self._look_later(process, market, gap)
            return
        text = f"nothing was compared since messages were missed at {gap:.3f}"
        self._violate(Invariant.COMPENSATED, text, slug)
