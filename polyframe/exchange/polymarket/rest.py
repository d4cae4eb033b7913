"""The REST calls: markets from Gamma, orders, trades and balances from the CLOB (PROTOCOL §1, §2)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from attrs import evolve

from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeError, RateLimited
from polyframe.exchange.base import CancelAnswer, PlaceAnswer
from polyframe.exchange.polymarket.answers import (
    cancel_answer,
    named_ids,
    place_answer,
    place_answers,
)
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.exchange.polymarket.gamma import (
    NotTradable,
    read_clob_resolution,
    read_market,
    read_price_record,
    read_resolution,
)
from polyframe.exchange.polymarket.http import HttpClient, NotSent, retry_after
from polyframe.exchange.polymarket.marketdata import MarketDataClient
from polyframe.exchange.polymarket.serverclock import ServerClock
from polyframe.exchange.polymarket.wire import Skips, flag, text
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.events import OrderEventKind, OrderReport, TradeReport
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.money import ZERO, decimal
from polyframe.model.order import PlaceResult
from polyframe.model.reference import PriceRecord
from polyframe.model.series import Series, Window

_log = logging.getLogger(__name__)

_END_CURSORS = frozenset({"", "LTE="})
_MAX_PAGES = 10_000
_MAX_CANCELS = 1000
"""Ids per ``DELETE /orders`` (PROTOCOL §2.4)."""

_ABSENT: dict[str, Any] = {}


class RestClient:
    """All REST calls of one account.

    Args:
        http: Sends them.
        hosts: Where to.
        decoder: Reads orders and trades; ``None`` without credentials.
        counters, skips: Where what could not be used is counted.
        server_clock: Learns the venue's time before the first private call.
    """

    def __init__(
        self,
        http: HttpClient,
        hosts: PolymarketHosts,
        decoder: UserDecoder | None,
        counters: Counters,
        skips: Skips,
        *,
        server_clock: ServerClock | None = None,
    ) -> None:
        self._http = http
        self._server_clock = server_clock
        self._has_asked_time = False
        self._hosts = hosts
        self._user_decoder = decoder
        self._counters = counters
        self._skips = skips
        self._waits: dict[Series, str] = {}
        self._market_data = MarketDataClient(http, hosts, skips)

    async def close(self) -> None:
        """Close all connections. Safe to repeat."""
        await self._http.close()

    # -- markets ------------------------------------------------------------------------------

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        """Return the market of `window`, ``None`` (counted, with the reason) if there is none yet.

        Raises:
            ExchangeError: The venue did not answer.
        """
        slug = series.slug(window)
        try:
            row = await self._gamma_row(slug)
            if row is _ABSENT:
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
            rules = await self._market_data.rules(market.condition_id)
        except ExchangeError as exc:
            self._counters.add(Count.MARKET_RULES, "unanswered")
            _log.warning("%s: its rules are those of the metadata: %s", market.slug, exc)
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
        row = await self._clob("GET", f"/markets/{_quoted(market.condition_id)}", absent=_ABSENT)
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

    async def measure_clock(self, clock: ServerClock) -> None:
        """Let `clock` know the venue's time.

        Raises:
            ExchangeError: The venue did not answer.
        """
        before = clock.own.time()
        told = await self.fetch_time()
        clock.note(told, before, clock.own.time())

    async def _know_the_time(self) -> None:
        """Ask for the venue's time once: the first signature would be refused if ours is wrong."""
        if self._server_clock is None or self._has_asked_time:
            return
        self._has_asked_time = True
        try:
            await self.measure_clock(self._server_clock)
        except ExchangeError as exc:
            _log.warning("the venue's time is not known yet: %s", exc)

    async def _gamma_row(self, slug: str) -> Any:
        path = f"/markets/slug/{_quoted(slug)}"
        return await self._http.json("GET", self._hosts.gamma, path, absent=_ABSENT)

    # -- orders -------------------------------------------------------------------------------

    async def place_order(self, body: Mapping[str, Any], venue_id: str) -> PlaceAnswer:
        """Send one order, once; the answer tells what is known of it (§2.3)."""
        answer = await self._post("/order", body)
        if isinstance(answer, PlaceAnswer):
            return answer
        return place_answer(answer.status_code, answer.content, venue_id, _retry_after(answer))

    async def place_orders(
        self, orders: Sequence[tuple[Mapping[str, Any], str]]
    ) -> list[PlaceAnswer]:
        """Send several orders in one request, once; each has an answer of its own (§2.3).

        Args:
            orders: The body and the id of each.
        """
        venue_ids = [venue_id for _, venue_id in orders]
        answer = await self._post("/orders", [body for body, _ in orders], len(orders))
        if isinstance(answer, PlaceAnswer):
            return [answer] * len(venue_ids)
        return place_answers(answer.status_code, answer.content, venue_ids, _retry_after(answer))

    async def _post(self, path: str, body: Any, count: int = 1) -> httpx.Response | PlaceAnswer:
        """Return the venue's answer, or what follows for the orders if there is none."""
        await self._know_the_time()
        try:
            return await self._http.send(
                "POST",
                self._hosts.clob,
                path,
                body=msgspec.json.encode(body),
                private=True,
                count=count,
            )
        except NotSent as exc:
            return PlaceAnswer(PlaceResult.REJECTED, "not_sent", str(exc))
        except RateLimited as exc:  # by our own limits: the venue's come as an answer
            return PlaceAnswer(PlaceResult.REJECTED, "rate_limited", str(exc))
        except ExchangeError as exc:
            return PlaceAnswer(PlaceResult.UNKNOWN, "no_answer", str(exc))

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel orders by id, at most 1000 a call (§2.4).

        Raises:
            ExchangeError: The venue did not answer the first call. If a later one fails, its ids
                are refused with the error's text, so that what did succeed is not lost.
        """
        asked = list(dict.fromkeys(venue_ids))
        cancelled: set[str] = set()
        refused: dict[str, str] = {}
        for first in range(0, len(asked), _MAX_CANCELS):
            ids = asked[first : first + _MAX_CANCELS]
            try:
                answer = await self._cancel(ids)
            except ExchangeError as exc:
                if first == 0:
                    raise
                refused.update(dict.fromkeys(ids, str(exc)))
                continue
            cancelled |= answer.cancelled
            refused.update(answer.refused)
        return CancelAnswer(cancelled=frozenset(cancelled), refused=refused)

    async def cancel_market(self, condition_id: str) -> CancelAnswer:
        """Cancel all open orders of the account in one market, whoever placed them (§2.4).

        Raises:
            ExchangeError: The venue did not answer; nothing is known.
        """
        body = {"market": condition_id}
        value = await self._clob("DELETE", "/cancel-market-orders", body=body, private=True)
        return cancel_answer(value, named_ids(value))

    async def cancel_all(self) -> CancelAnswer:
        """Cancel all open orders of the account, in all markets (§2.4).

        Raises:
            ExchangeError: The venue did not answer; nothing is known.
        """
        value = await self._clob("DELETE", "/cancel-all", private=True)
        return cancel_answer(value, named_ids(value))

    async def _cancel(self, ids: list[str]) -> CancelAnswer:
        if len(ids) == 1:
            value = await self._clob("DELETE", "/order", body={"orderID": ids[0]}, private=True)
        else:
            value = await self._clob("DELETE", "/orders", body=ids, private=True, count=len(ids))
        return cancel_answer(value, ids)

    async def send_heartbeat(self, heartbeat_id: str) -> httpx.Response:
        """Send one sign of life and return the venue's answer, whatever it is (§2.6).

        Raises:
            ExchangeError: The venue did not answer.
        """
        body = msgspec.json.encode({"heartbeat_id": heartbeat_id})
        path = "/v1/heartbeats"
        return await self._http.send("POST", self._hosts.clob, path, body=body, private=True)

    async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
        """Return all open orders of the account (of one market): every page, or an error."""
        params = {} if market is None else {"market": market.condition_id}
        rows = await self._pages("/data/orders", params)
        reports = [report for row in rows if (report := self._decoder.order(row)) is not None]
        return [
            report
            for report in reports
            if _is_open(report) and self._is_of_market(report.market, market)
        ]

    async def fetch_order(self, venue_id: str) -> OrderReport | None:
        """Return one order in whatever state, ``None`` if the venue does not know it.

        Some versions of the venue answer nothing for orders that are no longer open (§2.5), so
        nothing is only believed after the list has been asked for the same id.

        Raises:
            ExchangeError: The venue did not answer, or spoke of something else.
        """
        path = f"/data/order/{_quoted(venue_id)}"
        row = await self._clob("GET", path, private=True, absent=_ABSENT)
        direct = row if isinstance(row, list) else [row] if row else []
        if (report := self._find(direct, venue_id)) is not None:
            return report
        listed = await self._pages("/data/orders", {"id": venue_id})
        if (report := self._find(listed, venue_id)) is not None:
            return report
        if direct:
            msg = f"GET {path}: the answer is not about that order"
            raise ExchangeError(msg)
        return None

    def _find(self, rows: list[Any], venue_id: str) -> OrderReport | None:
        for report in map(self._decoder.order, rows):
            if report is not None and report.order_id.lower() == venue_id.lower():
                return report
        return None

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        """Return the account's trades (of one market, since epoch second `after`).

        Raises:
            ExchangeError: A page failed; nothing partial is returned.
        """
        params = {} if market is None else {"market": market.condition_id}
        if after is not None:
            params["after"] = str(after)
        rows = await self._pages("/data/trades", params)
        reports = [report for row in rows if (report := self._decoder.trade(row)) is not None]
        return [report for report in reports if self._is_of_market(report.market, market)]

    async def fetch_balance(self, signature_type: int) -> Decimal:
        """Return the account's cash in USD (§2.6).

        Raises:
            ExchangeError: The venue did not answer, or not with a balance.
        """
        params = {"asset_type": "COLLATERAL", "signature_type": str(signature_type)}
        return await self._balance(params)

    async def fetch_shares(self, token: str, signature_type: int) -> Decimal:
        """Return how many shares of a token the account can sell, as the engine sees it (§2.6).

        The engine remembers balances: it is told to look first, because right after a fill it would
        still tell the old one.

        Raises:
            ExchangeError: The venue did not answer, or not with a balance.
        """
        params = {
            "asset_type": "CONDITIONAL",
            "token_id": token,
            "signature_type": str(signature_type),
        }
        await self._clob(
            "GET", "/balance-allowance/update", params=params, private=True, absent=_ABSENT
        )
        return await self._balance(params)

    async def is_closed_only(self) -> bool:
        """Return whether the account may only reduce what it has (§2.6).

        Raises:
            ExchangeError: The venue did not answer.
        """
        value = await self._clob("GET", "/auth/ban-status/closed-only", private=True)
        return flag(value.get("closed_only") if isinstance(value, dict) else None, default=False)

    async def _balance(self, params: dict[str, str]) -> Decimal:
        value = await self._clob("GET", "/balance-allowance", params=params, private=True)
        found = value.get("balance") if isinstance(value, dict) else None
        try:
            units = decimal(text(found), "balance")
        except ValueError as exc:
            msg = f"GET /balance-allowance: {exc}"
            raise ExchangeError(msg) from exc
        return units.scaleb(-6)

    # -- parts --------------------------------------------------------------------------------

    @property
    def _decoder(self) -> UserDecoder:
        if self._user_decoder is None:
            msg = "credentials: set them on PolymarketExchange to use the account"
            raise ConfigError(msg)
        return self._user_decoder

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

    async def _pages(self, path: str, params: dict[str, str]) -> list[Any]:
        """Return the rows of all pages (§2.5).

        Raises:
            ExchangeError: A page failed, is no page, or the cursors go in a circle.
        """
        rows: list[Any] = []
        seen: set[str] = set()
        while len(seen) < _MAX_PAGES:
            page = await self._clob("GET", path, params=params, private=True)
            data = page.get("data") if isinstance(page, dict) else page
            if data is None and isinstance(page, dict) and "data" in page:
                data = []
            if not isinstance(data, list):
                msg = f"GET {path}: expected a page of rows, got {type(data).__name__}"
                raise ExchangeError(msg)
            rows.extend(data)
            cursor = text(page.get("next_cursor")) if isinstance(page, dict) else ""
            if cursor in _END_CURSORS:
                return rows
            if cursor in seen:
                msg = f"GET {path}: the cursor {cursor!r} came twice"
                raise ExchangeError(msg)
            seen.add(cursor)
            params = params | {"next_cursor": cursor}
        msg = f"GET {path}: more than {_MAX_PAGES} pages"
        raise ExchangeError(msg)

    def _is_of_market(self, condition_id: str, market: Market | None) -> bool:
        if market is None or condition_id == market.condition_id:
            return True
        self._skips.add("foreign_market", "a reply to a query for one market had rows of another")
        return False


def _is_open(report: OrderReport) -> bool:
    if report.kind is OrderEventKind.CANCELLATION:
        return False
    size = report.original_size
    return size is None or size == ZERO or report.size_matched < size


def _retry_after(answer: httpx.Response) -> str:
    seconds = retry_after(answer)
    return "" if seconds is None else f"{seconds:g}"


def _quoted(value: str) -> str:
    return quote(value, safe="")
