"""Which markets of a series there are: the metadata's lists (PROTOCOL §1.1, §1.4).

To trade the next market its name is enough. The lists serve where names are not certain, and to look
ahead. They contain rows that will never be traded; these are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polyframe.clock import Clock
from polyframe.errors import ExchangeError
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.exchange.polymarket.gamma import NotTradable, read_market
from polyframe.exchange.polymarket.http import HttpClient
from polyframe.exchange.polymarket.wire import Skips, text
from polyframe.model.market import Market
from polyframe.model.series import Series

_PAGE = 100
_MAX_PAGES = 200
_LONG_NAMES = {"1h": "hourly", "1d": "daily"}


class Listing:
    """Reads the lists of the metadata service.

    Args:
        http: Sends the requests.
        hosts: Where to.
        clock: Market time, for names without a year.
        skips: Where rows that are no markets to trade are counted.
    """

    def __init__(
        self, http: HttpClient, hosts: PolymarketHosts, clock: Clock, skips: Skips
    ) -> None:
        self._http = http
        self._base = hosts.gamma
        self._clock = clock
        self._skips = skips

    async def markets(self, series: Series) -> list[Market]:
        """Return the markets of `series` that can be traded now, in the order of their windows.

        Raises:
            ExchangeError: The venue did not answer, or does not know the series.
        """
        rows = await self._rows(await self._series_id(series))
        found: dict[str, Market] = {}
        for row in rows:
            try:
                slug = text(row.get("slug"))
                window = series.window_from_slug(slug, self._clock.time())
                found[slug] = read_market(row, series, window)
            except NotTradable as exc:
                self._skips.add(f"zombie_row:{exc.reason}", f"{row.get('slug')}: {exc}")
            except ValueError as exc:
                self._skips.add("zombie_row:foreign_name", str(exc))
        return sorted(found.values(), key=lambda market: market.window)

    async def _series_id(self, series: Series) -> str:
        names = dict.fromkeys(
            f"{series.asset}-up-or-down-{word}"
            for word in (_LONG_NAMES.get(series.period, series.period), series.period)
        )
        for name in names:
            rows = await self._http.json("GET", self._base, "/series", params={"slug": name})
            for row in rows if isinstance(rows, list) else []:
                if isinstance(row, dict) and text(row.get("slug")) == name and text(row.get("id")):
                    return text(row.get("id"))
        msg = f"GET /series: the venue does not know {series} ({' or '.join(names)})"
        raise ExchangeError(msg)

    async def _rows(self, series_id: str) -> list[dict[str, Any]]:
        """Return the market rows of all open events of a series."""
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        params = {"series_id": series_id, "closed": "false", "limit": str(_PAGE)}
        for _ in range(_MAX_PAGES):
            page = await self._http.json("GET", self._base, "/events/keyset", params=params)
            events = page.get("events") if isinstance(page, dict) else None
            if not isinstance(events, list):
                msg = "GET /events/keyset: expected a page of events"
                raise ExchangeError(msg)
            rows.extend(_markets(events))
            cursor = text(page.get("next_cursor"))
            if not cursor:
                return rows
            if cursor in seen:
                msg = f"GET /events/keyset: the cursor {cursor[:80]!r} came twice"
                raise ExchangeError(msg)
            seen.add(cursor)
            params = params | {"after_cursor": cursor}
        msg = f"GET /events/keyset: more than {_MAX_PAGES} pages"
        raise ExchangeError(msg)


def _markets(events: Iterable[object]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for event in events:
        markets = event.get("markets") if isinstance(event, dict) else None
        # The row inside of an event does not repeat the event.
        found.extend(
            {"events": [event]} | row
            for row in (markets if isinstance(markets, list) else ())
            if isinstance(row, dict)
        )
    return found
