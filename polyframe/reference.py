"""Reference prices for strategies: what the asset costs, and the price that the market has to beat.

::

    env.provide(ReferencePrices(exchange, "btc-updown-15m"))  # before the environment opens
    ...
    prices = self.env.get(ReferencePrices)  # in a strategy
    beat = await prices.wait_price_to_beat(self.market)

The service outlives cycles, what it says of one market is of that market only: every answer is looked
up by the market's own window, and nobody has to unsubscribe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from decimal import Decimal

from attrs import define, field, frozen
from typing_extensions import override

from polyframe.checks import a_time, expect
from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeError
from polyframe.exchange.base import DataStream, ReferenceVenue
from polyframe.model.market import Market
from polyframe.model.reference import (
    PriceSource,
    PriceToBeat,
    ReferenceHistory,
    ReferencePrice,
    settling_source,
)
from polyframe.model.series import Series, Window
from polyframe.shared import SharedService

log = logging.getLogger(__name__)

_FOLLOWED = 512
"""Markets whose price to beat was asked for and is remembered."""


@frozen(kw_only=True)
class ReferenceSettings:
    """When the venue's own record is asked for. All times are market seconds.

    Attributes:
        record_after: After the end of a window; the record is known to appear minutes later
            (PROTOCOL §1.6).
        record_every: Between two questions.
        record_until: After the end of a window after which it is no longer asked for.
        plausible: How far the instant of a price may be from our clock.
    """

    record_after: float = field(default=180.0, validator=a_time)
    record_every: float = field(default=60.0, validator=a_time)
    record_until: float = field(default=3600.0, validator=a_time)
    plausible: float = field(default=300.0, validator=a_time)


@define(eq=False)
class _Followed:
    market: Market
    record: PriceToBeat | None = None
    task: asyncio.Task[None] | None = None


class ReferencePrices(SharedService):
    """Keeps the reference prices of some series, and knows the prices to beat of their markets.

    Give it to ``Environment.provide`` before the environment opens; it is opened and closed with it.

    Args:
        venue: Who tells them, usually the exchange. One that is a `SharedService` is opened and closed
            with this service.
        series: The series whose markets are traded, for example ``"btc-updown-15m"``.
        settings: When the venue's record is asked for.

    Raises:
        ConfigError: No series, or none of that name.
    """

    def __init__(
        self,
        venue: ReferenceVenue,
        *series: str | Series,
        settings: ReferenceSettings | None = None,
    ) -> None:
        does_tell = hasattr(venue, "reference_streams")
        expect("venue", venue, "an exchange that tells reference prices", is_right=does_tell)
        is_settings = isinstance(settings, ReferenceSettings | None)
        expect("settings", settings, "ReferenceSettings(…)", is_right=is_settings)
        if not series:
            msg = 'series: name at least one, for example "btc-updown-15m"'
            raise ConfigError(msg)
        self._venue = venue
        self._settings = settings or ReferenceSettings()
        self._histories: dict[tuple[PriceSource, str], ReferenceHistory] = {}
        for item in map(Series.parse, series):
            self._histories[settling_source(item), item.asset] = ReferenceHistory()
        self._followed: dict[str, _Followed] = {}
        self._streams: list[DataStream] = []
        self._changed = asyncio.Event()
        self._clock: Clock | None = None
        self._counters = Counters()

    # ------------------------------------------------------------------ life

    @override
    async def open(self, clock: Clock, counters: Counters) -> None:
        """Begin to listen. Prices that do not come keep nobody from trading.

        Raises:
            ConfigError: It was opened before.
        """
        if self._clock is not None:
            msg = "reference prices: they open once; make a new ReferencePrices"
            raise ConfigError(msg)
        self._clock, self._counters = clock, counters
        if isinstance(self._venue, SharedService):
            await self._venue.open(clock, counters)
        self._streams = self._venue.reference_streams(list(self._histories), self)
        for stream in self._streams:
            stream.start()

    @override
    async def close(self) -> None:
        """Stop listening and asking."""
        streams, self._streams = self._streams, []
        tasks = [item.task for item in self._followed.values() if item.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(
            *tasks, *(stream.close() for stream in streams), return_exceptions=True
        )
        if isinstance(self._venue, SharedService):
            await self._venue.close()

    # ------------------------------------------------------------------ reading

    def latest(self, series: Series | str) -> ReferencePrice | None:
        """Return the latest price of the source that settles `series`, ``None`` before the first.

        Its age is the caller's to judge: `ReferencePrice.instant_ms` is the instant it speaks of.

        Raises:
            ConfigError: This series was not given to the service.
        """
        return self._history(Series.parse(series)).latest

    def price_to_beat(self, market: Market) -> PriceToBeat:
        """Return the price at the start of `market`'s window, or why it is not known.

        Raises:
            ConfigError: The market's series was not given to the service.
        """
        history = self._history(market.series)
        followed = self._follow(market)
        if followed.record is not None:
            return followed.record
        window = market.window
        reading = history.at(window.start * 1000)
        if (price := reading.price) is not None:
            return PriceToBeat(
                window=window,
                value=price.value,
                source=price.source,
                instant=price.instant_ms / 1000,
                is_final=reading.is_exact and price.source is PriceSource.TWAP,
            )
        now = self._time()
        if now < window.start:
            return PriceToBeat(window=window, unknown="before_start")
        missed = reading.is_past or now >= window.end
        return PriceToBeat(window=window, unknown="missed" if missed else "waiting")

    async def wait_price_to_beat(self, market: Market) -> PriceToBeat:
        """Return the price to beat once it is known, or at the end of the window without a value.

        Raises:
            ConfigError: The market's series was not given to the service.
        """
        while True:
            beat = self.price_to_beat(market)
            if beat.is_known or not await self._wait_change(market.window):
                return self.price_to_beat(market)

    async def updates(self, market: Market) -> AsyncIterator[ReferencePrice]:
        """Yield the latest price of `market`'s asset whenever there is a newer one.

        Prices in between are left out when the reader is slow. It ends with the market's window.

        Raises:
            ConfigError: The market's series was not given to the service.
        """
        history = self._history(market.series)
        seen, end_ms = 0, market.window.end * 1000
        while True:
            price = history.latest
            if price is not None and price.instant_ms > seen:
                if (seen := price.instant_ms) >= end_ms:
                    return
                yield price
            elif not await self._wait_change(market.window):
                return

    async def _wait_change(self, window: Window) -> bool:
        """Return True once a price has come, False at the end of the window."""
        clock = self._opened()
        if clock.time() >= window.end:
            return False
        changed = asyncio.ensure_future(self._changed.wait())
        end = asyncio.ensure_future(clock.sleep_until(window.end))
        try:
            await asyncio.wait({changed, end}, return_when=asyncio.FIRST_COMPLETED)
            return changed.done()
        finally:
            changed.cancel()
            end.cancel()

    def _history(self, series: Series) -> ReferenceHistory:
        history = self._histories.get((settling_source(series), series.asset))
        if history is None:
            msg = f"series: {series} was not given to ReferencePrices; add it there"
            raise ConfigError(msg)
        return history

    def _opened(self) -> Clock:
        if self._clock is None:
            msg = "reference prices: not open; give them to env.provide() before it opens"
            raise ConfigError(msg)
        return self._clock

    def _time(self) -> float:
        return self._opened().time()

    # ------------------------------------------------------------------ prices

    def on_reference(self, price: ReferencePrice) -> None:
        """Take one price from a stream."""
        history = self._histories.get((price.source, price.asset))
        if history is None:
            return
        if abs(price.instant_ms / 1000 - self._time()) > self._settings.plausible:
            if self._counters.add(Count.REFERENCE_SKIPPED, "implausible_time") == 1:
                log.warning(
                    "reference prices: their times are not ours (now %.0f): %s", self._time(), price
                )
            return
        if not history.add(price):
            self._counters.add(Count.REFERENCE_SKIPPED, "conflict")
            log.error("reference prices: two values for one instant: %s and another", price)
            return
        self._counters.add(Count.REFERENCE_PRICES, price.source.value)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # ------------------------------------------------------------------ the venue's record

    def _follow(self, market: Market) -> _Followed:
        """Remember that somebody asked for this market, so that its record is looked up later."""
        known = self._followed.get(market.slug)
        if known is None:
            self._opened()
            known = self._followed[market.slug] = _Followed(market)
            known.task = asyncio.create_task(
                self._check(known), name=f"polyframe-reference {market.slug}"
            )
            known.task.add_done_callback(_log_failure)
            for slug in list(self._followed)[:-_FOLLOWED]:
                old = self._followed.pop(slug)
                if old.task is not None:
                    old.task.cancel()
        return known

    async def _check(self, followed: _Followed) -> None:
        """Make up for a missed start by the record of the window before; compare after the end."""
        clock, window = self._opened(), followed.market.window
        await clock.sleep_until(window.start)
        while clock.time() < window.end:
            beat = self.price_to_beat(followed.market)
            if beat.is_known:
                break
            if beat.unknown == "missed":
                await self._make_up(followed)
            elif not await self._wait_change(window):
                break
        await clock.sleep_until(window.end + self._settings.record_after)
        await self._compare(followed)

    async def _make_up(self, followed: _Followed) -> None:
        series, window = followed.market.series, followed.market.window
        clock = self._opened()
        # Equal by construction only where both ends are the same average (PROTOCOL §1.6).
        if settling_source(series) is PriceSource.TWAP:
            before = series.window_at(window.start - 1)
            value = await self._record(series, before, "final_price")
            if value is not None:
                self._note_record(followed, value)
                return
        await clock.sleep_until(min(clock.time() + self._settings.record_every, window.end))

    async def _compare(self, followed: _Followed) -> None:
        market, clock = followed.market, self._opened()
        while clock.time() < market.window.end + self._settings.record_until:
            value = await self._record(market.series, market.window, "price_to_beat")
            if value is not None:
                ours = self.price_to_beat(market)
                self._note_record(followed, value)
                if ours.value is None:
                    self._counters.add(Count.REFERENCE_CHECKS, "unknown_here")
                elif _agree(ours.value, value):
                    self._counters.add(Count.REFERENCE_CHECKS, "agrees")
                else:
                    self._counters.add(Count.REFERENCE_CHECKS, "differs")
                    log.error(
                        "%s: the price to beat was %s by %s, the venue's record says %s",
                        market.slug,
                        ours.value,
                        ours.source,
                        value,
                    )
                return
            await clock.sleep(self._settings.record_every)
        self._counters.add(Count.REFERENCE_CHECKS, "no_record")

    async def _record(self, series: Series, window: Window, name: str) -> Decimal | None:
        try:
            record = await self._venue.fetch_price_record(series, window)
        except ExchangeError as error:
            self._counters.add(Count.REFERENCE_CHECKS, "error")
            log.warning("%s: asking for its recorded prices failed: %s", series, error)
            return None
        return record.price_to_beat if name == "price_to_beat" else record.final_price

    def _note_record(self, followed: _Followed, value: Decimal) -> None:
        window = followed.market.window
        followed.record = PriceToBeat(
            window=window,
            value=value,
            source=PriceSource.GAMMA,
            instant=float(window.start),
            is_final=True,
        )
        self._tell()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s failed", task.get_name(), exc_info=error)


def _agree(ours: Decimal, recorded: Decimal) -> bool:
    """Return whether a recorded value is ours, to the last place that it was written with."""
    exponent = recorded.as_tuple().exponent
    step = Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)
    return abs(ours - recorded) <= step
