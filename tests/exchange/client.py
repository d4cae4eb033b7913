"""A client of any kind that talks to a scripted venue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx

from polyframe.clock import VirtualClock
from polyframe.exchange.polymarket.http import HttpClient
from polyframe.exchange.polymarket.wire import Skips
from tests.exchange.kit import CREDENTIALS
from tests.exchange.test_rest import NOW, Venue

C = TypeVar("C")
T = TypeVar("T")


def ask(
    venue: Venue, make: Callable[[HttpClient, Skips], C], call: Callable[[C], Awaitable[T]]
) -> T:
    """Run one call of the client that `make` returns."""

    async def main() -> T:
        transport = httpx.MockTransport(venue)
        http = HttpClient(VirtualClock(NOW), CREDENTIALS, timeout=5, transport=transport)
        try:
            return await call(make(http, Skips(venue.counters)))
        finally:
            await http.close()

    return asyncio.run(main())


def queries(venue: Venue) -> list[dict[str, Any]]:
    """Return the queries of all requests."""
    return [dict(request.url.params) for request in venue.requests]
