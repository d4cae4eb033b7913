"""The calls that all of REST shares, and those about markets (PROTOCOL §1, §2.1)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

import msgspec
from attrs import evolve, frozen

from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.exchange.polymarket.gamma import (
    NotTradable,
    read_clob_resolution,
    read_market,
    read_price_record,
    read_resolution,
)
from polyframe.exchange.polymarket.http import HttpClient
from polyframe.exchange.polymarket.marketdata import MarketDataClient
from polyframe.exchange.polymarket.serverclock import ServerClock
from polyframe.exchange.polymarket.wire import Skips, flag, text
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.reference import PriceRecord
from polyframe.model.series import Series, Window

_log = logging.getLogger(__name__)

RULES_TIMEOUT = 3.0
"""Seconds that a market's rules may take: its window does not wait, and metadata has them as well."""

TIME_TIMEOUT = 3.0
"""Seconds that the venue may take to tell the time before the first private call."""

ABSENT: dict[str, Any] = {}
"""Stands for an answer that says that there is nothing."""


@frozen
class Region:
    """Where the venue thinks that this machine is.

    Attributes:
        is_blocked: Whether orders from there are refused.
        country: Two letters.
        part: The part of the country, ``""`` if it is not told.
    """

    is_blocked: bool
    country: str
    part: str


class RestCalls:
    """Sends calls to the engine, and asks for its time before the first private one.

    Args:
        http: Sends them.
        hosts: Where to.
        counters, skips: Where what could not be used is counted.
        server_clock: Learns the venue's time.
    """

    def __init__(
        self,
        http: HttpClient,
        hosts: PolymarketHosts,
        counters: Counters,
        skips: Skips,
        server_clock: ServerClock | None = None,
    ) -> None:
        self._http = http
        self._hosts = hosts
        self._counters = counters
        self._skips = skips
        self._server_clock = server_clock
        self._asking_time = asyncio.Lock()
        self._has_asked_time = False

    async def close(self) -> None:
        """Close all connections. Safe to repeat."""
        await self._http.close()

    async def fetch_time(self) -> int:
        """Return the venue's time in whole epoch seconds (§2.1).

        Raises:
            ExchangeError: The venue did not answer, or not with a time.
        """
        value = await self._clob("GET", "/time")
        word = text(value)
        if not (word.isascii() and word.isdigit() and len(word) <= 11):
            msg = f"GET /time: expected epoch seconds, got {word[:40]!r}"
            raise ExchangeError(msg)
        return int(word)

    async def fetch_region(self) -> Region | None:
        """Return where the venue thinks that we are, ``None`` if it does not say (§0.3).

        Raises:
            ExchangeError: The venue did not answer.
        """
        row = await self._http.json("GET", self._hosts.site, "/api/geoblock", absent=ABSENT)
        if not isinstance(row, dict) or "blocked" not in row:
            return None
        return Region(
            is_blocked=flag(row.get("blocked"), default=False),
            country=text(row.get("country")),
            part=text(row.get("region")),
        )

    async def measure_clock(self, clock: ServerClock) -> None:
        """Let `clock` know the venue's time.

        Raises:
            ExchangeError: The venue did not answer.
        """
        before = clock.own.time()
        told = await self.fetch_time()
        clock.note(told, before, clock.own.time())

    async def _know_the_time(self) -> None:
        """Ask for the venue's time once: the first signature would be refused if ours is wrong.

        Who comes meanwhile waits for the answer, too.
        """
        if self._server_clock is None or self._has_asked_time:
            return
        async with self._asking_time:
            if self._has_asked_time:
                return
            try:
                async with asyncio.timeout(TIME_TIMEOUT):
                    await self.measure_clock(self._server_clock)
            except (ExchangeError, TimeoutError) as exc:
                _log.warning("the venue's time is not known yet: %r", exc)
            self._has_asked_time = True

    async def _clob(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: Any = None,
        private: bool = False,
        absent: object = None,
        count: int = 1,
    ) -> Any:
        if private:
            await self._know_the_time()
        return await self._http.json(
            method,
            self._hosts.clob,
            path,
            params=params,
            body=b"" if body is None else msgspec.json.encode(body),
            private=private,
            absent=absent,
            count=count,
        )


class MarketCalls(RestCalls):
    """Asks about markets: the metadata for what they are, the engine for how they are traded.

    The arguments are those of `RestCalls`.
    """

    def __init__(
        self,
        http: HttpClient,
        hosts: PolymarketHosts,
        counters: Counters,
        skips: Skips,
        server_clock: ServerClock | None = None,
    ) -> None:
        super().__init__(http, hosts, counters, skips, server_clock)
        self._waits: dict[Series, str] = {}
        self._market_data = MarketDataClient(http, hosts, skips)

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        """Return the market of `window`, ``None`` (counted, with the reason) if there is none yet.

        Raises:
            ExchangeError: The venue did not answer.
        """
        slug = series.slug(window)
        try:
            row = await self._gamma_row(slug)
            if row is ABSENT:
                raise NotTradable("not_found")
            return await self._by_the_engine(read_market(row, series, window))
        except NotTradable as exc:
            self._counters.add(Count.MARKET_WAITS, exc.reason)
            wait = f"{slug}: {exc.reason}"
            # It is asked every few seconds: say it when it is new.
            level = logging.DEBUG if self._waits.get(series) == wait else logging.INFO
            self._waits[series] = wait
            _log.log(level, "market %s cannot be traded yet: %s", slug, exc)
            return None

    async def _by_the_engine(self, market: Market) -> Market:
        """Return a market with the rules that the engine itself names; metadata may be old (§2.1).

        Raises:
            NotTradable: The engine does not have it yet, or takes no orders in it.
        """
        try:
            async with asyncio.timeout(RULES_TIMEOUT):
                rules = await self._market_data.rules(market.condition_id)
        except (ExchangeError, TimeoutError) as exc:
            self._counters.add(Count.MARKET_RULES, "unanswered")
            _log.warning("%s: its rules are those of the metadata: %r", market.slug, exc)
            return market
        if rules is None:
            raise NotTradable("hydrating", "the engine does not know it yet")
        if rules.tokens != {outcome.value: market.token(outcome) for outcome in Outcome}:
            raise NotTradable("wrong_tokens", "metadata and engine name different ones")
        if not rules.is_accepting:
            raise NotTradable("not_accepting", "says the engine")
        true = evolve(
            market,
            tick_size=rules.tick_size,
            min_size=rules.min_size,
            fees=market.fees if rules.fees is None else rules.fees,
            neg_risk=rules.neg_risk,
        )
        if true != market:
            self._counters.add(Count.MARKET_RULES, "differ")
            _log.info("%s: the engine's rules differ from the metadata: %s", market.slug, rules)
        return true

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Return how `market` ended, from Gamma or else from the CLOB's winner flag (§1.5).

        Raises:
            ExchangeError: Neither answered, or Gamma failed and the CLOB does not know a winner.
        """
        failure: ExchangeError | None = None
        try:
            if found := read_resolution(await self._gamma_row(market.slug), market):
                return found
        except ExchangeError as exc:
            failure = exc
        row = await self._clob("GET", f"/markets/{quoted(market.condition_id)}", absent=ABSENT)
        found = read_clob_resolution(row, market)
        if found is None and failure is not None:
            raise failure
        return found

    async def fetch_price_record(self, series: Series, window: Window) -> PriceRecord:
        """Return what Gamma has on record about `window`, empty where it has nothing (§1.6).

        Raises:
            ExchangeError: The venue did not answer.
        """
        slug = series.slug(window)
        return read_price_record(await self._gamma_row(slug), slug)

    async def _gamma_row(self, slug: str) -> Any:
        path = f"/markets/slug/{quoted(slug)}"
        return await self._http.json("GET", self._hosts.gamma, path, absent=ABSENT)


def quoted(value: str) -> str:
    """Return a part of a path, whatever is in it."""
    return quote(value, safe="")
