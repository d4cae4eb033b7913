"""The WebSockets of the venue: who is connected, what they want, and how they are fed.

A message is encoded once and put into the bounded queue of everybody who wants it. A connection
that does not read fills its own queue and is cut off; it never holds up another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from polyframe.venue.account import VenueAccount
from polyframe.venue.accounts import Accounts, Login
from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import VenueFaults
from polyframe.venue.line import Line
from polyframe.venue.messages import PONG, decode, encode
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.values import VenueMarket

Channel = Literal["market", "user", "prices"]

_POLICY = 1008
_FLUSH = 1.0
"""Real seconds for what was said before a refusal."""
_MAX_DUMP = 500
"""Tokens of one connection above which no pictures are sent (PROTOCOL §4.1)."""
_MAX_BUFFER = 4 << 20
"""Bytes that the transport of one WebSocket may hold."""


class Home(Protocol):
    """Who keeps a connection."""

    settings: VenueSettings
    stats: VenueStats


class Connection:
    """One WebSocket and its queue of frames to send."""

    close_code = _POLICY
    """What it is told when it is refused."""

    def __init__(self, socket: WebSocket, channel: Channel, hub: Home) -> None:
        self.socket = socket
        self.channel = channel
        self.subscribed = False
        self._hub = hub
        self._queue: asyncio.Queue[str] = asyncio.Queue(hub.settings.send_queue)
        # The server keeps its transport here: cutting off a reader that does not read needs it.
        self._transport: asyncio.Transport = socket.scope["state"]["transport"]

    def send(self, text: str) -> None:
        """Queue one frame; cut the connection off if too much waits already."""
        if self.is_gone:
            return
        # Some versions of the server never hold the writer back: then it is its buffer that grows.
        if self._queue.full() or self._transport.get_write_buffer_size() > _MAX_BUFFER:
            self._hub.stats.slow_readers += 1
            self.abort()
        else:
            self._queue.put_nowait(text)

    @property
    def is_gone(self) -> bool:
        """Whether nothing reaches the peer any more."""
        return self._transport.is_closing()

    def abort(self) -> None:
        """Drop the connection at once, without a closing handshake."""
        self._transport.abort()

    async def flush(self) -> None:
        """Return once everything that was queued is sent, or after a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH):
                await self._queue.join()

    async def write(self) -> None:
        """Send queued frames until the connection is gone."""
        try:
            while True:
                text = await self._queue.get()
                if self.is_gone:
                    return
                await self.socket.send_text(text)
                self._queue.task_done()
        except (WebSocketDisconnect, RuntimeError):
            # The peer left while a frame was on its way; the reading side ends the connection.
            return


class MarketConnection(Connection):
    """A connection of the market channel.

    Attributes:
        tokens: Token ids that it wants.
        custom: Whether it also wants the messages that need ``custom_feature_enabled``.
    """

    def __init__(self, socket: WebSocket, hub: Hub) -> None:
        super().__init__(socket, "market", hub)
        self.tokens: set[str] = set()
        self.custom = False


class UserConnection(Connection):
    """A connection of the user channel.

    Attributes:
        login: Whose events it gets.
        markets: Condition ids that it wants, ``None`` for all.
    """

    def __init__(self, socket: WebSocket, hub: Hub) -> None:
        super().__init__(socket, "user", hub)
        self.login: Login | None = None
        self.markets: set[str] | None = None


class Hub:
    """All connections of the venue.

    Args:
        accounts: Who may have a user channel.
        settings: Time-outs and the length of the queues.
        stats: Where connections are counted.
        faults: What happens to messages on their way.
    """

    def __init__(
        self,
        accounts: Accounts,
        settings: VenueSettings,
        stats: VenueStats,
        faults: VenueFaults,
    ) -> None:
        self._accounts = accounts
        self._faults = faults
        self._line = Line(faults)
        self.settings = settings
        self.stats = stats
        self.on_tokens: Callable[[MarketConnection, list[str], bool], None] = _nobody
        """Called when a connection wants further tokens; the flag tells whether to send books."""
        self._market: set[MarketConnection] = set()
        self._user: set[UserConnection] = set()

    # ------------------------------------------------------------------ sending

    def wants(self, market: VenueMarket) -> bool:
        """Return whether anybody is subscribed to a token of `market`."""
        tokens = market.tokens
        return any(not c.tokens.isdisjoint(tokens) for c in self._market)

    def to_market(self, market: VenueMarket, message: Any, *, custom: bool = False) -> None:
        """Send to everybody who wants a token of `market` (`custom`: and custom messages)."""
        tokens = market.tokens
        self._to(
            message,
            (
                c
                for c in self._market
                if not c.tokens.isdisjoint(tokens) and (c.custom or not custom)
            ),
        )

    def to_token(self, token: str, message: Any, *, custom: bool = False) -> None:
        """Send to everybody who wants `token` (`custom`: and custom messages)."""
        self._to(
            message,
            (c for c in self._market if token in c.tokens and (c.custom or not custom)),
        )

    def to_custom(self, message: Any) -> None:
        """Send to everybody who wants custom messages, whatever the tokens."""
        self._to(message, (c for c in self._market if c.custom))

    def to_one(self, connection: MarketConnection, message: Any) -> None:
        """Send to one connection of the market channel."""
        self._to(message, (connection,))

    def to_user(self, account: VenueAccount, condition_id: str, message: Any) -> None:
        """Send to the user connections of `account` that want this market."""
        if self.settings.user_lag:
            loop = asyncio.get_running_loop()
            loop.call_later(self.settings.user_lag, self._to_user, account, condition_id, message)
        else:
            self._to_user(account, condition_id, message)

    def _to_user(self, account: VenueAccount, condition_id: str, message: Any) -> None:
        self._to(
            message,
            (
                c
                for c in self._user
                if c.login is not None
                and c.login.account is account
                and (c.markets is None or condition_id in c.markets)
            ),
        )

    def log_out(self, api_key: str) -> None:
        """Drop the user connections of a key that was taken back."""
        for connection in list(self._user):
            if connection.login is not None and connection.login.api_key == api_key:
                connection.abort()

    def _to(self, message: Any, connections: Iterable[Connection]) -> None:
        receivers = list(connections)
        if receivers:
            text = encode(message)
            for connection in receivers:
                self._line.deliver(connection.channel, connection, text)

    def connections(self, kind: str) -> list[Connection]:
        """Return the connections of ``"market"``, ``"user"`` or ``"all"``.

        Raises:
            ValueError: Another kind.
        """
        if kind not in {"market", "user", "all"}:
            msg = f'kind: expected "market", "user" or "all", got {kind!r}'
            raise ValueError(msg)
        market = self._market if kind != "user" else ()
        user = self._user if kind != "market" else ()
        return [*market, *user]

    # ------------------------------------------------------------------ serving

    async def serve_market(self, socket: WebSocket) -> None:
        """Serve one connection of the market channel until it ends (PROTOCOL §4.1)."""
        await socket.accept()
        connection = MarketConnection(socket, self)
        self._market.add(connection)
        self.stats.market_connections += 1
        try:
            await serve(
                connection, self.settings, lambda frame: self._market_frame(connection, frame)
            )
        finally:
            self._market.discard(connection)

    async def serve_user(self, socket: WebSocket) -> None:
        """Serve one connection of the user channel until it ends (PROTOCOL §5.1)."""
        await socket.accept()
        connection = UserConnection(socket, self)
        self.stats.user_connections += 1
        try:
            await serve(
                connection, self.settings, lambda frame: self._user_frame(connection, frame)
            )
        finally:
            self._user.discard(connection)

    def _market_frame(self, connection: MarketConnection, frame: Any) -> bool:
        # A frame that says nothing known is ignored without a word, as the real venue does.
        if not isinstance(frame, dict):
            return True
        operation = frame.get("operation")
        ids = frame.get("assets_ids")
        if not isinstance(ids, list) or not all(isinstance(token, str) for token in ids):
            return True
        if operation == "unsubscribe":
            if late := self._faults.strike(VenueFault.UNSUBSCRIBE_LATE):
                loop = asyncio.get_running_loop()
                loop.call_later(late.late(), connection.tokens.difference_update, ids)
            else:
                connection.tokens.difference_update(ids)
            return True
        if operation != "subscribe" and str(frame.get("type", "")).lower() != "market":
            return True
        if isinstance(frame.get("custom_feature_enabled"), bool):
            connection.custom = frame["custom_feature_enabled"]
        fresh = [token for token in dict.fromkeys(ids) if token not in connection.tokens]
        del fresh[max(self.settings.max_subscriptions - len(connection.tokens), 0) :]
        connection.subscribed = connection.subscribed or bool(ids) or connection.custom
        if fresh:
            # Before the tokens count: nothing may come in front of the first picture.
            few = len(connection.tokens) + len(fresh) <= _MAX_DUMP
            self.on_tokens(connection, fresh, few and frame.get("initial_dump") is not False)
            connection.tokens.update(fresh)
        return True

    def _user_frame(self, connection: UserConnection, frame: Any) -> bool:
        if not isinstance(frame, dict):
            return connection.subscribed
        markets = frame.get("markets")
        wanted = {m for m in markets if isinstance(m, str)} if isinstance(markets, list) else set()
        if len(wanted | (connection.markets or set())) > self.settings.max_subscriptions:
            return connection.subscribed
        operation = frame.get("operation")
        if connection.subscribed and connection.markets is not None:
            if operation == "subscribe":
                connection.markets |= wanted
            elif operation == "unsubscribe":
                connection.markets -= wanted
        if connection.subscribed:
            return True
        auth = frame.get("auth")
        if frame.get("type") != "user" or not isinstance(auth, dict):
            return False
        connection.login = self._accounts.by_key(
            str(auth.get("apiKey", "")),
            str(auth.get("secret", "")),
            str(auth.get("passphrase", "")),
        )
        if connection.login is None:
            return False
        connection.markets = wanted or None
        connection.subscribed = True
        self._user.add(connection)
        return True


async def serve(
    connection: Connection, settings: VenueSettings, on_frame: Callable[[Any], bool]
) -> None:
    """Read the frames of a connection, and send its own, until it ends or is refused.

    Args:
        connection: The connection.
        settings: How long it may stay without a subscription.
        on_frame: Takes each frame but ``PING``; false refuses the connection.
    """
    writer = asyncio.create_task(connection.write(), name=f"venue-{connection.channel}-writer")
    refused = False
    try:
        async with asyncio.timeout(settings.subscribe_timeout) as deadline:
            while (text := await _receive(connection.socket)) is not None:
                if text == "PING":
                    connection.send(PONG)
                    continue
                if not on_frame(_parse(text)):
                    refused = True
                    await connection.flush()
                    break
                if connection.subscribed:
                    deadline.reschedule(None)
    except TimeoutError:
        refused = True
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
    if refused:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the peer was faster
            await connection.socket.close(connection.close_code)


def _nobody(_connection: MarketConnection, _tokens: list[str], _dump: bool) -> None:
    """Stand in until the venue is wired."""


async def _receive(socket: WebSocket) -> str | None:
    """Return the next text frame, ``None`` when the peer is gone."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        return None
    text = message.get("text")
    return text if isinstance(text, str) else ""


def _parse(text: str) -> Any:
    try:
        return decode(text.encode())
    except ValueError:
        return None
