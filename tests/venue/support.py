"""A clock that is moved by hand, scripted markets, and a raw client of the venue's protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from polyframe.model.market import Market, Outcome
from polyframe.model.series import Series
from polyframe.venue import (
    LocalVenue,
    Print,
    Snapshot,
    SourceEvent,
    VenueAccount,
    VenueMarket,
    VenueSettings,
)
from polyframe.venue.values import CRYPTO_FEES, SHARE, derive_row_id, derive_token

START = 1_790_586_000
PERIOD = 900
PATIENCE = 5.0
"""Real seconds after which a test gives up."""


class ManualClock:
    """Market time that only moves when the test says so."""

    def __init__(self, now: float = START) -> None:
        self.now = float(now)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def time(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Sleep until the test has moved the clock far enough."""
        await self.sleep_until(self.now + seconds)

    async def sleep_until(self, when: float) -> None:
        """Likewise."""
        while self.now < when:
            future = asyncio.get_running_loop().create_future()
            self._sleepers.append((when, future))
            await future
        await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move the time on, from one sleeper's hour to the next, and let each do its work."""
        goal = self.now + seconds
        while True:
            # Let what is awake fall asleep first, so that no sleeper is passed by.
            await settle()
            self._sleepers = [(w, f) for w, f in self._sleepers if not f.done()]
            due = [when for when, _ in self._sleepers if when <= goal]
            if not due:
                break
            self.now = max(self.now, min(due))
            for when, future in self._sleepers:
                if when <= self.now and not future.done():
                    future.set_result(None)
        self.now = goal
        await settle()


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop go on until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if condition():
                return
            await asyncio.sleep(0)


def make_market(start: int = START, asset: str = "btc", period: str = "15m") -> VenueMarket:
    """Return the market of the window that begins at `start`."""
    series = Series(asset, period)
    window = series.window_at(start)
    slug = series.slug(window)
    condition = "0x" + hashlib.sha256(slug.encode()).hexdigest()
    market = Market(
        slug=slug,
        series=series,
        window=window,
        condition_id=condition,
        up_token=derive_token(condition, Outcome.UP),
        down_token=derive_token(condition, Outcome.DOWN),
        fees=CRYPTO_FEES,
        question=f"Bitcoin Up or Down - {slug}",
    )
    return VenueMarket(market, derive_row_id(slug))


def snapshot(at: float, bids: Mapping[int, float], asks: Mapping[int, float]) -> Snapshot:
    """Return a snapshot at `at` seconds after `START`; prices in cents, sizes in shares."""
    return Snapshot(
        int((START + at) * 1000),
        {price * 100: int(size * SHARE) for price, size in bids.items()},
        {price * 100: int(size * SHARE) for price, size in asks.items()},
    )


def trade_print(at: float, side: str, cents: int, shares: float) -> Print:
    """Return a print likewise."""
    return Print(int((START + at) * 1000), side == "BUY", cents * 100, int(shares * SHARE))


class ScriptedSource:
    """Markets whose events the test writes down."""

    def __init__(
        self,
        events: Sequence[SourceEvent] = (),
        *,
        markets: Sequence[VenueMarket] = (),
        winner: Outcome = Outcome.UP,
    ) -> None:
        self.skipped: dict[str, int] = {}
        self.markets = list(markets) or [make_market()]
        self.script = list(events)
        self.winning = winner

    def market(self, slug: str) -> VenueMarket | None:
        """Return the market of that name."""
        return next((market for market in self.markets if market.slug == slug), None)

    def next_market(self, start: float) -> VenueMarket | None:
        """Return the first market that starts then or later."""
        return next((market for market in self.markets if market.start >= start), None)

    def winner(self, market: VenueMarket) -> Outcome:
        """Return the winner, the same for all."""
        return self.winning

    def events(self, market: VenueMarket, since_ms: int) -> Iterator[SourceEvent]:
        """Yield the script from the last snapshot before `since_ms` on."""
        past = [
            i
            for i, event in enumerate(self.script)
            if isinstance(event, Snapshot) and event.time_ms <= since_ms
        ]
        if past:
            yield self.script[past[-1]]
        yield from (event for event in self.script if event.time_ms > since_ms)


BOOK = snapshot(0, {48: 100, 47: 200}, {52: 100, 53: 200})
"""The book that most tests begin with."""


class Client:
    """Raw HTTP and WebSockets with the account's signature."""

    def __init__(
        self,
        venue: LocalVenue,
        clock: ManualClock,
        market: VenueMarket,
        account: VenueAccount | None = None,
    ) -> None:
        self.venue = venue
        self.clock = clock
        self.market = market
        self.account = account or venue.account
        self.http = httpx.AsyncClient(timeout=PATIENCE, verify=False)
        self._salt = 0

    def other(self, account: VenueAccount | None = None) -> Client:
        """Return a client of a further account, on the same connections."""
        client = Client.__new__(Client)
        client.__dict__.update(self.__dict__)
        client.account = self.venue.add_account(account)
        return client

    @property
    def up(self) -> str:
        """Token id of Up."""
        return self.market.tokens[0]

    @property
    def down(self) -> str:
        """Token id of Down."""
        return self.market.tokens[1]

    # ------------------------------------------------------------------ HTTP

    async def gamma(self, path: str, **params: str | list[str]) -> httpx.Response:
        """Ask Gamma."""
        return await self.http.get(f"{self.venue.url}/gamma{path}", params=params)

    async def clob(self, path: str, **params: str) -> httpx.Response:
        """Ask the CLOB for public data."""
        return await self.http.get(f"{self.venue.url}/clob{path}", params=params)

    def headers(self, method: str, path: str, body: str = "") -> dict[str, str]:
        """Return the L2 headers of a request."""
        return l2_headers(self.account, method, path, body, self.clock.time())

    async def signed(
        self, method: str, path: str, body: Any = None, **params: str
    ) -> httpx.Response:
        """Send a signed request."""
        text = "" if body is None else json.dumps(body, separators=(",", ":"))
        return await self.http.request(
            method,
            f"{self.venue.url}/clob{path}",
            params=params,
            content=text.encode(),
            headers=self.headers(method, path, text),
        )

    def order(
        self,
        direction: str,
        price: str,
        size: str,
        /,
        *,
        token: str = "",
        order_type: str = "GTC",
        post_only: bool = False,
        expiration: str = "0",
        **changes: Any,
    ) -> dict[str, Any]:
        """Return the body of an order; `changes` replace fields of it before it is signed."""
        self._salt += 1
        usd = str(int(Decimal(price) * Decimal(size) * SHARE))
        shares = str(int(Decimal(size) * SHARE))
        order = {
            "salt": self._salt,
            "maker": self.account.address,
            "signer": self.account.address,
            "tokenId": token or self.up,
            "makerAmount": usd if direction == "BUY" else shares,
            "takerAmount": shares if direction == "BUY" else usd,
            "side": direction,
            "signatureType": 0,
            "timestamp": str(int(self.clock.time() * 1000)),
            "metadata": "0x" + "0" * 64,
            "builder": "0x" + "0" * 64,
            **changes,
        }
        signed = {**order, "expiration": expiration, "signature": signature(order_id(order))}
        body = {
            "deferExec": False,
            "order": signed,
            "orderType": order_type,
            "owner": self.account.api_key,
        }
        if post_only:
            body["postOnly"] = True
        return body

    async def place(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Place an order and return the answer, which must be a success."""
        answer = await self.signed("POST", "/order", self.order(*args, **kwargs))
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    async def refused(self, *args: Any, **kwargs: Any) -> tuple[int, str]:
        """Place an order that is refused and return status and text."""
        answer = await self.signed("POST", "/order", self.order(*args, **kwargs))
        return answer.status_code, answer.json()["error"]

    async def row(self, order: str) -> dict[str, Any]:
        """Return ``/data/order/{id}``."""
        result: dict[str, Any] = (await self.signed("GET", f"/data/order/{order}")).json()
        return result

    # ------------------------------------------------------------------ WebSockets

    @contextlib.asynccontextmanager
    async def market_feed(self, **changes: Any) -> AsyncIterator[Feed]:
        """Open a subscribed market channel."""
        frame = {
            "type": "market",
            "assets_ids": list(self.market.tokens),
            "custom_feature_enabled": True,
            **changes,
        }
        async with connect(f"{self.venue.ws_url}/ws/market") as socket:
            await socket.send(json.dumps(frame))
            yield Feed(socket)

    @contextlib.asynccontextmanager
    async def user_feed(self, **changes: Any) -> AsyncIterator[Feed]:
        """Open an authenticated user channel."""
        frame = {
            "type": "user",
            "auth": {
                "apiKey": self.account.api_key,
                "secret": self.account.secret,
                "passphrase": self.account.passphrase,
            },
            **changes,
        }
        async with connect(f"{self.venue.ws_url}/ws/user") as socket:
            await socket.send(json.dumps(frame))
            feed = Feed(socket)
            await feed.ping()
            yield feed


class Feed:
    """A WebSocket whose messages are taken one by one."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def frame(self) -> str:
        """Return the next frame."""
        async with asyncio.timeout(PATIENCE):
            text = await self.socket.recv()
        assert isinstance(text, str)
        return text

    async def next(self) -> Any:
        """Return the next message."""
        return json.loads(await self.frame())

    async def until(self, event_type: str, **fields: str) -> dict[str, Any]:
        """Skip to the next message of this type with these fields."""
        while True:
            message = await self.next()
            if (
                isinstance(message, dict)
                and message["event_type"] == event_type
                and all(message[name] == value for name, value in fields.items())
            ):
                return message

    async def rest(self) -> list[Any]:
        """Return everything that was sent until now."""
        await self.socket.send("PING")
        messages = []
        while (text := await self.frame()) != "PONG":
            messages.append(json.loads(text))
        return messages

    async def ping(self) -> None:
        """Wait until the venue has read everything sent before; nothing else may be under way."""
        assert await self.rest() == []

    async def send(self, frame: Any) -> None:
        """Send a frame as JSON."""
        await self.socket.send(json.dumps(frame))


def order_id(order: Mapping[str, Any]) -> str:
    """Return the stand-in identity of an order."""
    names = ["salt", "maker", "signer", "tokenId", "makerAmount", "takerAmount", "side"]
    names += ["signatureType", "timestamp", "metadata", "builder"]
    text = json.dumps({n: order[n] for n in names}, separators=(",", ":"), sort_keys=True)
    return "0x" + hashlib.sha256(b"polyframe-local-order-v1\0" + text.encode()).hexdigest()


def signature(identity: str) -> str:
    """Return the stand-in signature of an order id."""
    return "0x6c6f63616c" + identity[2:]


def l2_headers(
    account: VenueAccount, method: str, path: str, body: str, now: float
) -> dict[str, str]:
    """Return L2 headers, computed by hand."""
    stamp = str(int(now))
    key = base64.urlsafe_b64decode(account.secret)
    digest = hmac.new(key, f"{stamp}{method}{path}{body}".encode(), hashlib.sha256).digest()
    return {
        "POLY_ADDRESS": account.address,
        "POLY_API_KEY": account.api_key,
        "POLY_PASSPHRASE": account.passphrase,
        "POLY_SIGNATURE": base64.urlsafe_b64encode(digest).decode(),
        "POLY_TIMESTAMP": stamp,
    }


@contextlib.asynccontextmanager
async def open_venue(
    events: Sequence[SourceEvent] = (BOOK,),
    *,
    now: float = START,
    source: Any = None,
    account: VenueAccount | None = None,
    **settings: Any,
) -> AsyncIterator[Client]:
    """Open a venue with one scripted market on a manual clock, without taker delay."""
    clock = ManualClock(now)
    source = source or ScriptedSource(events)
    settings.setdefault("taker_delay", 0.0)
    async with LocalVenue(
        source, clock=clock, settings=VenueSettings(**settings), account=account
    ) as venue:
        client = Client(venue, clock, source.markets[0])
        async with client.http:
            yield client


def run(test: Callable[[], Any]) -> None:
    """Run an asynchronous test in a fresh event loop, and check that it left no task behind."""

    async def main() -> None:
        async with asyncio.timeout(4 * PATIENCE):
            await test()
        await settle()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == []

    asyncio.run(main())
