"""The REST calls of an account: orders, cancels, trades, balances (PROTOCOL §2)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import httpx
import msgspec

from polyframe.counters import Counters
from polyframe.errors import ConfigError, ExchangeError, RateLimited
from polyframe.exchange.base import CancelAnswer, PlaceAnswer
from polyframe.exchange.polymarket.answers import (
    cancel_answer,
    named_ids,
    place_answer,
    place_answers,
)
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.exchange.polymarket.http import HEARTBEATS, HttpClient, NotSent, retry_after
from polyframe.exchange.polymarket.restcalls import ABSENT, MarketCalls, quoted
from polyframe.exchange.polymarket.serverclock import ServerClock
from polyframe.exchange.polymarket.wire import Skips, flag, text
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.events import OrderEventKind, OrderReport, TradeReport
from polyframe.model.market import Market
from polyframe.model.money import ZERO, decimal
from polyframe.model.order import PlaceResult

_log = logging.getLogger(__name__)

_END_CURSORS = frozenset({"", "LTE="})
_MAX_PAGES = 10_000
_MAX_CANCELS = 1000
"""Ids per ``DELETE /orders`` (PROTOCOL §2.4)."""


class RestClient(MarketCalls):
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
        super().__init__(http, hosts, counters, skips, server_clock)
        self._user_decoder = decoder

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
        return await self._http.send("POST", self._hosts.clob, HEARTBEATS, body=body, private=True)

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
        path = f"/data/order/{quoted(venue_id)}"
        row = await self._clob("GET", path, private=True, absent=ABSENT)
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
        """Return the account's cash in USD, as it is now and not as it was remembered (§2.6).

        Raises:
            ExchangeError: The venue did not answer, or not with a balance.
        """
        params = {"asset_type": "COLLATERAL", "signature_type": str(signature_type)}
        return await self._balance(params)

    async def fetch_shares(self, token: str, signature_type: int) -> Decimal:
        """Return how many shares of a token the account can sell, as the engine sees it (§2.6).

        Raises:
            ExchangeError: The venue did not answer, or not with a balance.
        """
        params = {
            "asset_type": "CONDITIONAL",
            "token_id": token,
            "signature_type": str(signature_type),
        }
        return await self._balance(params)

    async def is_closed_only(self) -> bool:
        """Return whether the account may only reduce what it has (§2.6).

        Raises:
            ExchangeError: The venue did not answer.
        """
        value = await self._clob("GET", "/auth/ban-status/closed-only", private=True)
        return flag(value.get("closed_only") if isinstance(value, dict) else None, default=False)

    async def _balance(self, params: dict[str, str]) -> Decimal:
        # The engine remembers balances: right after a fill, or after something that it has no part in,
        # such as a merge, it would still tell the old one. So it is told to look first.
        await self._clob(
            "GET", "/balance-allowance/update", params=params, private=True, absent=ABSENT
        )
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
