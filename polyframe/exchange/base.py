"""What the runtime asks of a venue. Live, paper, back-test and tests differ only behind this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from attrs import field, frozen

from polyframe.clock import Clock
from polyframe.counters import Counters
from polyframe.model.conversion import Receipt
from polyframe.model.events import MarketMessage, OrderReport, StreamState, TradeReport, UserMessage
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.order import OrderRequest, PlaceResult
from polyframe.model.reference import PriceRecord, PriceSource, ReferencePrice
from polyframe.model.series import Series, Window

MAX_BATCH = 15
"""Orders that one request can place at most (PROTOCOL §2.3)."""


class MarketSink(Protocol):
    """Takes what one market stream decodes. Both calls are synchronous and never raise."""

    def on_market_message(self, message: MarketMessage) -> None:
        """Take one decoded message."""
        ...

    def on_market_stream(self, state: StreamState, reason: str) -> None:
        """Take a change of the connection."""
        ...


class UserSink(Protocol):
    """Takes what the account's user stream decodes. Both calls are synchronous and never raise."""

    def on_user_message(self, message: UserMessage) -> None:
        """Take one decoded message, in the order in which they came."""
        ...

    def on_user_stream(self, state: StreamState, reason: str) -> None:
        """Take a change of the connection; between two connections messages may be missing."""
        ...


class ReferenceSink(Protocol):
    """Takes reference prices. The call is synchronous and never raises."""

    def on_reference(self, price: ReferencePrice) -> None:
        """Take one price; the same may come again, and later than newer ones."""
        ...


class DataStream(Protocol):
    """One subscription that keeps itself connected until it is closed."""

    def start(self) -> None:
        """Begin to connect, in a task of its own; the sink is told when it is up."""
        ...

    def detach(self) -> None:
        """Stop all deliveries at once: no call reaches the sink after this returns."""
        ...

    def resync(self, reason: str) -> None:
        """Give up the present connection and make a new one."""
        ...

    async def close(self) -> None:
        """Detach, then close the socket and end the task. Bounded in time; safe to repeat."""
        ...


class Solo(Protocol):
    """What is to come of a recording, for the one who hears of it and whom everybody waits for.

    A `DataStream` of a recording has a method ``solo()`` that returns it, or ``None`` if no rows are due
    before anything else happens. It is as late as its last row. Who takes rows stops as soon as anybody else is ready, and lets go of
    it then by `end`.

    Attributes:
        rows: After each instant, the outcome whose book changed, if that is all there is to tell and
            it was not told; else ``None``.
        ready: Those who are to go on before the next row.
        is_over: Whether no more rows may be taken.
    """

    rows: Iterator[Outcome | None]
    ready: Sized
    is_over: bool

    def end(self) -> None:
        """Take no more rows; the present instant is played to its end."""
        ...


@frozen
class PreparedOrder:
    """An order that is ready to sign and send: its id at the venue is known.

    Attributes:
        venue_id: The id that the venue will use.
        market: Its market.
        request: What was asked for.
        payload: What the exchange object sends; opaque to everybody else.
    """

    venue_id: str
    market: Market
    request: OrderRequest
    payload: Mapping[str, Any] = field(repr=False, factory=dict)


@frozen
class PlaceAnswer:
    """The venue's answer to one order.

    Attributes:
        result: What became of it.
        code: Short stable code of a refusal, ``""`` otherwise.
        text: The venue's own words.
    """

    result: PlaceResult
    code: str = ""
    text: str = ""


@frozen
class CancelAnswer:
    """The venue's answer to a cancel.

    Attributes:
        cancelled: Ids that are cancelled now.
        refused: Ids that are not, with the venue's words; their state is unknown.
    """

    cancelled: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(factory=dict)


class Exchange(Protocol):
    """A venue and one account at it."""

    name: str
    """Short name for logs and reports."""
    is_live: bool
    """Whether orders move real money."""
    redeems: bool
    """Whether winning shares turn into cash by themselves after resolution."""

    @property
    def account_name(self) -> str:
        """Public name of the account, for example its address; ``""`` without one."""
        ...

    async def open(self, clock: Clock, counters: Counters) -> None:
        """Open pools and check the configuration. Called once, before anything else."""
        ...

    async def close(self) -> None:
        """Release everything. Safe to repeat."""
        ...

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        """Return the market of `window`, ``None`` if it does not exist or cannot be traded yet.

        Counts why it is ``None`` under ``Count.MARKET_WAITS``.

        Raises:
            ExchangeError: The venue did not answer.
        """
        ...

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Return how `market` ended, ``None`` if that is not final yet.

        Raises:
            ExchangeError: The venue did not answer.
        """
        ...

    def market_stream(self, market: Market, sink: MarketSink) -> DataStream:
        """Return a fresh, not yet started stream of both tokens of `market`."""
        ...

    def user_stream(self, sink: UserSink) -> DataStream | None:
        """Return the account's stream, not yet started; ``None`` without credentials."""
        ...

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        """Make an order of `request`, with the id that the venue will use; sends nothing.

        What takes time, such as the signature of a wallet on another machine, is left to `place_order`.

        Raises:
            ConfigError: This exchange object cannot or may not sign orders for its host.
        """
        ...

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Send one order, once. Never raises for what the venue says: the answer tells."""
        ...

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        """Send 1 to `MAX_BATCH` orders in one request, once; return the answers in the same order.

        Each order is judged on its own. Never raises for what the venue says. Where it cannot be
        told which order an answer is about, the outcome of that order is unknown; if the whole
        answer is lost, that of all of them.
        """
        ...

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel orders by the venue's id.

        Raises:
            ExchangeError: The venue did not answer; nothing is known.
        """
        ...

    async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
        """Return all open orders of the account (of one market), every page or an error."""
        ...

    async def fetch_order(self, venue_id: str) -> OrderReport | None:
        """Return one order in whatever state, ``None`` if the venue does not know it."""
        ...

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        """Return the account's trades (of one market, since epoch second `after`)."""
        ...

    async def fetch_balance(self) -> Decimal:
        """Return the account's cash in USD."""
        ...


@runtime_checkable
class TellsResolutions(Protocol):
    """An exchange that has a stream on which resolutions are told."""

    def resolution_stream(self, market: Market, sink: MarketSink) -> DataStream:
        """Return a fresh, not yet started stream that tells when `market` is resolved."""
        ...


@runtime_checkable
class ReferenceVenue(Protocol):
    """Who tells reference prices: what an asset costs, and what the venue has on record."""

    def reference_streams(
        self, wanted: Sequence[tuple[PriceSource, str]], sink: ReferenceSink
    ) -> list[DataStream]:
        """Return fresh, not yet started streams of the prices `wanted` (source and asset)."""
        ...

    async def fetch_price_record(self, series: Series, window: Window) -> PriceRecord:
        """Return what the venue has on record about one window, empty where it has nothing.

        Raises:
            ExchangeError: The venue did not answer.
        """
        ...


FrameTap = Callable[[bytes], None]
"""Takes a frame as it came over the wire. Synchronous, never raises, and must be quick."""


@runtime_checkable
class TapsFrames(Protocol):
    """An exchange whose market streams can be recorded as they come over the wire."""

    def tapped_market_stream(self, market: Market, sink: MarketSink, tap: FrameTap) -> DataStream:
        """Return a stream like ``market_stream`` that shows each frame to `tap` before its sink."""
        ...

    def frame_decoder(self) -> Callable[[bytes], Sequence[MarketMessage]]:
        """Return what decodes such frames later, in any thread; it never raises."""
        ...


@runtime_checkable
class PositionContracts(Protocol):
    """Who turns cash into pairs of shares and back, outside the order book (PROTOCOL §7.4).

    An exchange may do it itself; live it is something of its own, given to the environment. Every
    call sends at most one transaction, once, and never raises for what the venue says: the receipt
    tells. A call that raises `ExchangeError` may have sent it.
    """

    async def split(self, market: Market, usd: Decimal) -> Receipt:
        """Turn `usd` into as many shares of Up and of Down; return when it is submitted."""
        ...

    async def merge(self, market: Market, shares: Decimal) -> Receipt:
        """Turn `shares` of Up and as many of Down into USD; return when it is submitted."""
        ...

    async def redeem(self, market: Market) -> Receipt:
        """Turn all shares of a resolved market into what they pay; return when it is submitted."""
        ...

    async def fetch_receipt(self, transaction_id: str) -> Receipt:
        """Return how far a transaction is, ``UNKNOWN`` if the venue knows nothing of it.

        Raises:
            ExchangeError: The venue did not answer.
        """
        ...

    async def fetch_shares(self, market: Market) -> Mapping[Outcome, Decimal]:
        """Return the shares of each outcome that the account has on chain.

        Raises:
            ExchangeError: The venue did not answer.
        """
        ...
