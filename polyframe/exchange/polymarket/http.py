"""Requests to the venue, and what their failures mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from polyframe.clock import Clock
from polyframe.errors import (
    ConfigError,
    ExchangeError,
    ExchangeUnavailable,
)
from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.pacing import Pacer
from polyframe.exchange.polymarket.refusals import error_of, seconds
from polyframe.exchange.polymarket.serverclock import ServerClock
from polyframe.exchange.polymarket.wire import parse_json

HEARTBEATS = "/v1/heartbeats"
"""Path of a sign of life."""

CONNECTIONS = 64
"""Requests that are under way at once, at most."""

_RESERVED = 16
"""Connections beyond these that only cancels and signs of life use: a venue that lets orders hang
must not keep back what ends them."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class NotSent(ExchangeUnavailable):
    """There was no connection: the venue has not seen anything of the request."""


class HttpClient:
    """A connection pool with the venue's signatures, time-outs and errors.

    Args:
        clock: Market time, for the stamp of signatures.
        credentials: For private calls.
        timeout: Seconds for a whole request; half of them to connect.
        transport: In place of the network, for tests.
        pacer: Keeps the venue's limits; none by default.
        server_clock: Stamps signatures with the venue's time, and learns it from every answer.
        services: The name that the pacer knows each base URL by.
        proxy: HTTP proxy, ``http://host:port``; none by default, whatever the environment says.
    """

    def __init__(
        self,
        clock: Clock,
        credentials: Credentials | None,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        pacer: Pacer | None = None,
        server_clock: ServerClock | None = None,
        services: Mapping[str, str] | None = None,
        proxy: str | None = None,
    ) -> None:
        self._clock = clock
        self._credentials = credentials
        self._timeout = timeout
        self._pacer = pacer
        self._server_clock = server_clock
        self._services = dict(services or {})
        self._turns = asyncio.Semaphore(CONNECTIONS)
        half = timeout / 2
        self._client = httpx.AsyncClient(
            # No proxies or netrc files from the environment: orders take the way that is configured.
            trust_env=False,
            proxy=proxy,
            timeout=httpx.Timeout(timeout, connect=half, pool=half),
            limits=httpx.Limits(
                max_connections=CONNECTIONS + _RESERVED,
                max_keepalive_connections=16,
                keepalive_expiry=60,
            ),
            headers={"Accept": "application/json", "User-Agent": "polyframe"},
            transport=transport,
        )

    async def close(self) -> None:
        """Close all connections. Safe to repeat."""
        await self._client.aclose()

    async def send(
        self,
        method: str,
        base: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: bytes = b"",
        private: bool = False,
        headers: Mapping[str, str] | None = None,
        count: int = 1,
    ) -> httpx.Response:
        """Send one request, once, and return whatever the venue answers.

        Args:
            method: HTTP method in capitals.
            base: Base URL.
            path: Below `base`; this is what a private call signs.
            params: Query, not signed.
            body: JSON bytes; they are what is signed and sent.
            private: Whether to sign.
            headers: More headers.
            count: Orders that it places or cancels.

        Raises:
            ConfigError: A private call without credentials.
            RateLimited: The venue's limits do not allow it soon enough; certainly nothing was sent.
            NotSent: No connection; certainly nothing arrived.
            ExchangeUnavailable: A time-out or a broken connection; it may have arrived.
        """
        if private and self._credentials is None:
            msg = "credentials: set them on PolymarketExchange to use the account"
            raise ConfigError(msg)
        service = self._services.get(base, "")
        if self._pacer is not None:
            await self._pacer.pass_through(service, method, path, count)
        clock = self._server_clock or self._clock
        async with self._turn(method, path):
            sent = dict(headers or {})
            if private and self._credentials is not None:
                sent |= self._credentials.headers(int(clock.time()), method, path, body)
            if body:
                sent["Content-Type"] = "application/json"
            before = self._clock.time()
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await self._client.request(
                        method, base + path, params=params, content=body or None, headers=sent
                    )
            except _NOT_SENT as exc:
                msg = f"{method} {path}: no connection ({type(exc).__name__}: {exc})"
                raise NotSent(msg) from exc
            except (httpx.HTTPError, OSError) as exc:
                # Some errors of TLS arrive as they are, and they come after the request was sent.
                msg = f"{method} {path}: no answer ({type(exc).__name__}: {exc})"
                raise ExchangeUnavailable(msg) from exc
        if self._server_clock is not None and private and "Age" not in answer.headers:
            # Public answers may come out of a cache, with the time at which they went in.
            date = answer.headers.get("Date", "")
            self._server_clock.note_header(date, before, self._clock.time())
        if self._pacer is not None:
            if answer.status_code == 429:
                self._pacer.note_refusal(service, method, path, retry_after(answer))
            self._pacer.note_answer(service, method, path, answer.headers)
        return answer

    @asynccontextmanager
    async def _turn(self, method: str, path: str) -> AsyncIterator[None]:
        """Hold one of the connections; what ends orders need not wait for one.

        Raises:
            NotSent: None was free for half of the time-out.
        """
        if method == "DELETE" or path == HEARTBEATS:
            yield
            return
        try:
            async with asyncio.timeout(self._timeout / 2):
                await self._turns.acquire()
        except TimeoutError as exc:
            msg = f"{method} {path}: no connection was free"
            raise NotSent(msg) from exc
        try:
            yield
        finally:
            self._turns.release()

    async def json(
        self,
        method: str,
        base: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: bytes = b"",
        private: bool = False,
        absent: object = None,
        count: int = 1,
    ) -> Any:
        """Send one request and return the JSON value of a good answer.

        The arguments are those of `send`; `absent`, unless ``None``, is returned for 404 and for an
        empty answer.

        Raises:
            ConfigError: A private call without credentials.
            RateLimited: Ours or the venue's limits do not allow it.
            ExchangeUnavailable: No answer, 5xx, or an answer that is not JSON.
            ExchangeError: A refusal, of the class that its status and text mean.
        """
        answer = await self.send(
            method, base, path, params=params, body=body, private=private, count=count
        )
        if absent is not None and (
            answer.status_code == 404 or (answer.is_success and not answer.content.strip())
        ):
            return absent
        if not answer.is_success:
            raise refusal(answer, f"{method} {path}")
        try:
            return parse_json(answer.content)
        except ValueError as exc:
            msg = f"{method} {path}: the answer is not JSON ({exc})"
            raise ExchangeUnavailable(msg) from exc


def retry_after(answer: httpx.Response) -> float | None:
    """Return the seconds of the header ``Retry-After``, ``None`` without a usable one."""
    return seconds(answer.headers.get("Retry-After", "").strip())


def refusal(answer: httpx.Response, what: str) -> ExchangeError:
    """Return the error that stands for an answer that is no success; `what` names the call."""
    return error_of(answer.status_code, answer.content, what, retry_after(answer))
