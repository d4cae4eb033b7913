"""Reference prices that come from a function of time instead of a venue."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from decimal import Decimal

from typing_extensions import override

from polyframe.clock import Clock
from polyframe.counters import Counters
from polyframe.errors import ConfigError
from polyframe.exchange.base import DataStream, ReferenceSink
from polyframe.model.reference import PriceRecord, PriceSource, ReferencePrice
from polyframe.model.series import Series, Window
from polyframe.shared import SharedService

PriceAt = Callable[[PriceSource, int], Decimal | None]
"""Returns the price in USD at an epoch second, ``None`` if there is none."""

LAG = 0.5
"""Seconds after the instant that a price speaks of, at which it is told."""


def swings(seed: int | str, base: Decimal = Decimal(100_000)) -> PriceAt:
    """Return a price that swings by tens of basis points within minutes; always the same for the same seed.

    About one price in a hundred is missing.

    Args:
        seed: Any text or number.
        base: USD around which it swings.
    """
    chance = random.Random(f"swings:{seed}")
    waves = [(chance.uniform(5, 20), seconds, 6 * chance.random()) for seconds in (10, 30, 90, 270)]

    def price(source: PriceSource, second: int) -> Decimal | None:
        if random.Random(f"{seed}:{source}:{second}").random() < 0.01:
            return None
        moved = sum(size * math.sin(second / length + phase) for size, length, phase in waves)
        return base + (base * round(moved * 100)).scaleb(-6)

    return price


class FeedVenue(SharedService):
    """Tells one price a second, never before its time; has nothing on record.

    Give it to `ReferencePrices`, which opens it::

        env.provide(ReferencePrices(FeedVenue(price), "btc-updown-15m"))

    Args:
        price: What is told.
    """

    def __init__(self, price: PriceAt) -> None:
        self._price = price
        self._clock: Clock | None = None

    @override
    async def open(self, clock: Clock, counters: Counters) -> None:
        self._clock = clock

    @override
    async def close(self) -> None:
        """Nothing is open: the streams are closed by whoever asked for them."""

    def reference_streams(
        self, wanted: Sequence[tuple[PriceSource, str]], sink: ReferenceSink
    ) -> list[DataStream]:
        """Return one stream for each source and asset.

        Raises:
            ConfigError: It is not open.
        """
        if self._clock is None:
            msg = "FeedVenue: not open; give it to ReferencePrices, and that to env.provide()"
            raise ConfigError(msg)
        return [_Feed(self._price, source, asset, sink, self._clock) for source, asset in wanted]

    async def fetch_price_record(self, series: Series, window: Window) -> PriceRecord:  # noqa: ARG002
        """Return nothing: there is no record."""
        return PriceRecord()


class _Feed:
    """One price a second."""

    def __init__(
        self, price: PriceAt, source: PriceSource, asset: str, sink: ReferenceSink, clock: Clock
    ) -> None:
        self._price = price
        self._source = source
        self._asset = asset
        self._sink: ReferenceSink | None = sink
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with the last whole second."""
        self._task = asyncio.create_task(self._run(), name=f"feed {self._source} {self._asset}")

    def detach(self) -> None:
        """Deliver nothing from now on."""
        self._sink = None

    def resync(self, reason: str) -> None:
        """Nothing to do: there is no connection that could be bad."""

    async def close(self) -> None:
        """Detach, and end the task."""
        self.detach()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        second = int(self._clock.time())
        while True:
            await self._clock.sleep_until(second + LAG)
            value = self._price(self._source, second)
            if value is not None and self._sink is not None:
                instant_ms = second * 1000
                self._sink.on_reference(
                    ReferencePrice(self._source, self._asset, value, instant_ms)
                )
            second += 1
