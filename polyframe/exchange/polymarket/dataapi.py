"""Questions to the venue's records (PROTOCOL §7.1, §7.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polyframe.errors import ExchangeError
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.exchange.polymarket.datarecords import (
    RecordedActivity,
    RecordedPosition,
    RecordedResolution,
    RecordedTrade,
    read_activity,
    read_position,
    read_recorded_resolution,
    read_rows,
    read_trade,
)
from polyframe.exchange.polymarket.http import HttpClient
from polyframe.exchange.polymarket.wire import Skips, flag, text

_PAGE = 500
_MAX_OFFSET = {"/positions": 10_000, "/trades": 10_000, "/activity": 5_000}
_MAX_PAGES = 1_000
_MAX_MARKETS = 20

_ABSENT: dict[str, Any] = {}


class DataClient:
    """Reads the records of one account.

    The present version of the interface is asked first; where it does not exist, the older one.

    Args:
        http: Sends the requests.
        hosts: Where to.
        user: Address that holds the funds.
        skips: Where rows that cannot be read are counted.
    """

    def __init__(self, http: HttpClient, hosts: PolymarketHosts, user: str, skips: Skips) -> None:
        self._http = http
        self._base = hosts.data
        self._user = user
        self._skips = skips

    async def positions(self, condition_ids: Sequence[str] = ()) -> list[RecordedPosition]:
        """Return the account's positions, however small (in these markets).

        Raises:
            ExchangeError: A page failed; nothing partial is returned.
        """
        # The older version leaves out what is below one share unless it is told not to.
        more = {"sizeThreshold": "0"}
        rows = await self._rows("/positions", condition_ids, {}, more)
        return read_rows(rows, read_position, "position", self._skips)

    async def trades(self, condition_ids: Sequence[str] = ()) -> list[RecordedTrade]:
        """Return the account's trades, also those that it made (in these markets).

        Raises:
            ExchangeError: A page failed; nothing partial is returned.
        """
        rows = await self._rows(
            "/trades", condition_ids, {"taker_only": "false"}, {"takerOnly": "false"}
        )
        return read_rows(rows, read_trade, "trade", self._skips)

    async def activity(
        self, condition_ids: Sequence[str] = (), *, start: int = 0
    ) -> list[RecordedActivity]:
        """Return what the account did since epoch second `start` (in these markets).

        Raises:
            ExchangeError: A page failed; nothing partial is returned.
        """
        since = {"start": str(start)} if start else {}
        rows = await self._rows("/activity", condition_ids, since, since)
        return read_rows(rows, read_activity, "activity", self._skips)

    async def resolutions(self, condition_ids: Sequence[str]) -> list[RecordedResolution]:
        """Return how far the resolutions of some markets are, at most 20 in one request.

        Raises:
            ExchangeError: The venue did not answer.
        """
        rows: list[Any] = []
        for first in range(0, len(condition_ids), _MAX_MARKETS):
            ids = ",".join(condition_ids[first : first + _MAX_MARKETS])
            value = await self._get("/v2/resolutions", {"condition_id": ids})
            rows.extend(_data(value, "/v2/resolutions"))
        return read_rows(rows, read_recorded_resolution, "resolution", self._skips)

    # -- parts --------------------------------------------------------------------------------

    async def _rows(
        self,
        path: str,
        condition_ids: Sequence[str],
        present: dict[str, str],
        older: dict[str, str],
    ) -> list[Any]:
        """Return all rows, market by market in groups that one request can name."""
        groups = [
            ",".join(condition_ids[first : first + _MAX_MARKETS])
            for first in range(0, len(condition_ids), _MAX_MARKETS)
        ]
        rows: list[Any] = []
        for group in groups or [""]:
            named = {"condition_id": group} if group else {}
            found = await self._pages(f"/v2{path}", {"user": self._user} | present | named)
            if found is None:
                named = {"market": group} if group else {}
                found = await self._offsets(path, {"user": self._user} | older | named)
            rows.extend(found)
        return rows

    async def _pages(self, path: str, params: dict[str, str]) -> list[Any] | None:
        """Return the rows of all pages of the present version, ``None`` if there is none."""
        rows: list[Any] = []
        seen: set[str] = set()
        params = params | {"limit": str(_PAGE)}
        for _ in range(_MAX_PAGES):
            value = await self._get(path, params, absent=_ABSENT)
            if value is _ABSENT:
                return None
            rows.extend(_data(value, path))
            pagination = value.get("pagination") if isinstance(value, dict) else None
            page = pagination if isinstance(pagination, dict) else {}
            cursor = text(page.get("next_cursor"))
            if not cursor or not flag(page.get("has_more"), default=True):
                return rows
            if cursor in seen:
                msg = f"GET {path}: the cursor {cursor[:80]!r} came twice"
                raise ExchangeError(msg)
            seen.add(cursor)
            params = params | {"cursor": cursor}
        msg = f"GET {path}: more than {_MAX_PAGES} pages"
        raise ExchangeError(msg)

    async def _offsets(self, path: str, params: dict[str, str]) -> list[Any]:
        """Return the rows of all pages of the older version, which counts them."""
        rows: list[Any] = []
        while True:
            if len(rows) > _MAX_OFFSET[path]:
                msg = f"GET {path}: more rows than it gives out; ask for fewer markets"
                raise ExchangeError(msg)
            part = params | {"limit": str(_PAGE), "offset": str(len(rows))}
            page = _data(await self._get(path, part), path)
            rows.extend(page)
            if len(page) < _PAGE:
                return rows

    async def _get(self, path: str, params: Mapping[str, str], absent: object = None) -> Any:
        return await self._http.json("GET", self._base, path, params=dict(params), absent=absent)


def _data(value: Any, path: str) -> list[Any]:
    """Return the rows of an answer: a list, or an envelope around it."""
    rows = value.get("data") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        msg = f"GET {path}: expected rows, got {type(rows).__name__}"
        raise ExchangeError(msg)
    return rows
