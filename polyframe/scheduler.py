"""The calendar of one series: finds markets, prepares sessions, and switches at the boundary.

The switch is a barrier: a sequence of synchronous steps that the event loop cannot interrupt. See
`docs/design.md`, "The path of a switch".
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

from attrs import field, frozen

from polyframe.checks import a_time, seconds
from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError
from polyframe.exchange.base import Exchange
from polyframe.model.market import Market
from polyframe.model.series import Series, Window
from polyframe.router import SessionEventRouter
from polyframe.session import ExchangeSession
from polyframe.tasks import Nap
from polyframe.trading.service import TradingService

log = logging.getLogger(__name__)

SwitchHandler = Callable[[ExchangeSession | None, ExchangeSession | None, Market | None], None]
"""``on_session_switch(old, new, market)``: synchronous, called within the barrier."""


@frozen
class ScheduleSettings:
    """When the next market is looked for.

    Attributes:
        prepare_ahead: Market seconds before the boundary at which the next market is fetched and
            connected; half the period at most.
        retry_first, retry_cap: Market seconds between two attempts to find a market: the first
            delay and the largest. Delays grow by half each time and are jittered.
        books_timeout: Network seconds that a session which is already late waits for its books
            before it starts without them.
    """

    prepare_ahead: float = field(default=60.0, validator=a_time)
    retry_first: float = field(default=1.0, validator=a_time)
    retry_cap: float = field(default=15.0, validator=a_time)
    books_timeout: float = field(default=5.0, validator=seconds)


class MarketScheduler:
    """Carries one series from cycle to cycle.

    Args:
        series: The series.
        exchange: Where its markets are.
        clock: Market time.
        counters: Where switches and waits are counted.
        router: The account's event router.
        trading: The series' trading service.
        on_session_switch: Called in each switch, within the barrier, to start the new strategies.
        settings: When to look for markets.
        rng: Source of the jitter.
    """

    def __init__(
        self,
        series: Series,
        *,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        router: SessionEventRouter,
        trading: TradingService,
        on_session_switch: SwitchHandler,
        settings: ScheduleSettings | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.series = series
        self.session: ExchangeSession | None = None
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._router = router
        self._trading = trading
        self._on_session_switch = on_session_switch
        self._settings = settings or ScheduleSettings()
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._prepared: ExchangeSession | None = None

    # ------------------------------------------------------------------ the loop

    async def run(self, cycles: int | None = None) -> None:
        """Carry the series on until cancelled, or until `cycles` markets were lived through."""
        lived = 0
        window = self.series.window_at(self._clock.time())
        while cycles is None or lived < cycles:
            while self._trading.has_traded(window):
                # That cycle is over, whatever the clock says now: a cycle begins once.
                window = self.series.next(window)
            session = await self._session_for(window)
            if session is not None:
                if self._clock.time() >= window.end or self._trading.has_traded(window):
                    # The machine slept through the whole window.
                    await self.stop()
                    self.switch(None)
                    window = self._present(window)
                    continue
                self.switch(session)
                lived += 1
                if lived == cycles:
                    await self._clock.sleep_until(window.end)
                    break
            following = self.series.next(window)
            await self._clock.sleep_until(following.start - self._lead(following))
            window = self._present(following)
        self.switch(None)

    async def stop(self) -> None:
        """Drop a session that was prepared and will not be used."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self._router.forget(prepared)
            await prepared.close()

    def _present(self, window: Window) -> Window:
        """Return `window`, or the present one if it is over: after a long pause several may be past."""
        now = self._clock.time()
        # Never back: a clock that was set forward may be set right meanwhile.
        return window if now < window.end else self.series.window_at(now)

    def _lead(self, window: Window) -> float:
        return min(self._settings.prepare_ahead, (window.end - window.start) / 2)

    async def _session_for(self, window: Window) -> ExchangeSession | None:
        """Return a connected session for `window` at its start, or as soon as there is one after that.

        ``None`` if its market never appeared. The old session ends at the boundary, whether or not the
        new one is there.
        """
        search = asyncio.create_task(self._prepare(window), name=f"prepare {self.series}")
        try:
            await self._sleep_until(window.start, search)
            if not search.done():
                self._pause()
                await asyncio.wait({search})
                await self._clock.sleep_until(window.start)  # the clock may have been set back
            return search.result()
        finally:
            if not search.done():
                # Not awaited: a cancellation of ours must not be taken for its own.
                search.cancel()
                await asyncio.wait({search})

    async def _sleep_until(self, when: float, search: asyncio.Task[Any]) -> None:
        """Sleep until `when`, or until `search` fails: what is wrong is told at once."""
        nap = Nap()

        def end(_: object) -> None:
            if search.cancelled() or search.exception() is not None:
                nap.cut()

        search.add_done_callback(end)
        await nap.take(self._clock.sleep_until(when))

    def _pause(self) -> None:
        """Let the old session end without a new one."""
        if self.session is not None:
            log.warning("%s: the next market is not there yet; trading is paused", self.series)
            self.switch(None)

    async def _prepare(self, window: Window) -> ExchangeSession | None:
        """Connect to the market of `window` as soon as it is there; ``None`` if it never appeared."""
        market = await self._find(window)
        if market is None:
            return None
        session = self._open(market)
        if self._clock.time() >= window.start:
            await self._wait_books(session)
        return session

    def _open(self, market: Market) -> ExchangeSession:
        """Begin to connect to a market."""
        session = ExchangeSession(
            market, clock=self._clock, counters=self._counters, user_gate=self._trading
        )
        self._prepared = session
        self._router.prepare(session)
        session.open(self._exchange)
        return session

    async def _wait_books(self, session: ExchangeSession) -> None:
        """Give the books of a session that is late a little time; before the boundary they have it."""
        try:
            async with asyncio.timeout(self._settings.books_timeout):
                await session.wait_books()
        except TimeoutError:
            log.info("%s: it begins without books", session.slug)

    async def _find(self, window: Window) -> Market | None:
        """Ask for the market of `window` until it is there, or the next one's turn has come."""
        last_call = window.end - self._lead(self.series.next(window))
        delay = self._settings.retry_first
        level = logging.WARNING  # once for each window; an outage is no news after that
        while True:
            try:
                market = await self._exchange.fetch_market(self.series, window)
            except ExchangeError as error:
                self._counters.add(Count.MARKET_WAITS, "error")
                log.log(level, "%s: asking for the next market failed: %s", self.series, error)
                level = logging.INFO
            except Exception:
                # A defect behind the seam stops this series' search no more than a silent venue.
                self._counters.add(Count.MARKET_WAITS, "error")
                log.exception("%s: asking for the next market failed", self.series)
            else:
                if market is not None:
                    if not self._is_taken(market, level):
                        return market
                    level = logging.INFO
            now = self._clock.time()
            if now >= last_call:
                break
            pause = delay * self._rng.uniform(0.5, 1.0)
            if now < window.start <= now + pause:
                # At the boundary it matters most: ask right then, and soon again.
                await self._clock.sleep_until(window.start)
                delay = self._settings.retry_first
            else:
                await self._clock.sleep(min(pause, last_call - now))
                delay = min(delay * 1.5, self._settings.retry_cap)
        log.warning("%s: no market came for %s", self.series, self.series.slug(window))
        return None

    def _is_taken(self, market: Market, level: int) -> bool:
        """Return whether a market has ids of another cycle's: what is told of them would reach both."""
        rival = self._trading.rival(market)
        if rival is None:
            return False
        self._counters.add(Count.MARKET_WAITS, "taken_ids")
        text = "%s: the venue gives %s the ids of %s; it is asked again"
        log.log(level, text, self.series, market.slug, rival.slug)
        return True

    # ------------------------------------------------------------------ the switch

    def switch(self, new: ExchangeSession | None) -> None:
        """Move the series to `new` (``None``: no market, trading paused) in one piece."""
        if new is None and self.session is None:
            return
        for _ in self.switch_steps(new):
            pass

    def switch_steps(self, new: ExchangeSession | None) -> Iterator[str]:
        """Run the barrier, yielding the name of each step once it is done.

        Nothing here awaits: run through in one go, no event can come between two steps.
        """
        old = self.session
        market = None if new is None else new.market
        self._router.disable()
        yield "gate"
        try:
            self._trading.set_current_market(market, new)
            yield "reset"
            self._router.set_session(old, new)
            self.session = new
            if new is self._prepared:
                self._prepared = None
            yield "route"
            if old is not None:
                old.shut()
            yield "detach"
            self._on_session_switch(old, new, market)
            yield "start"
        finally:
            self._router.enable()
        self._counters.add(Count.SWITCHES, "paused" if new is None else "opened")
        log.info(
            "%s: %s → %s",
            self.series,
            old.slug if old else "no market",
            new.slug if new else "no market",
        )
        yield "open"
