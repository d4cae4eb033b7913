"""An exchange in memory: no sockets, every answer under the control of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError
from polyframe.exchange.base import CancelAnswer, MarketSink, PlaceAnswer, PreparedOrder, UserSink
from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    OrderEventKind,
    OrderReport,
    StreamState,
    TradeReport,
    UserMessage,
)
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.order import OrderRequest, PlaceResult, Side
from polyframe.model.series import Series, Window
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.trading.snapshotfile import seal

START = 1_790_586_000
"""A boundary of every epoch series, as the start of simulated time."""


def make_market(series: Series | str = "btc-updown-15m", start: int = START) -> Market:
    """Return the market of the window that contains `start`."""
    series = Series.parse(series)
    window = series.window_at(start)
    slug = series.slug(window)
    return Market(
        slug=slug,
        series=series,
        window=window,
        condition_id=f"0x{series.asset}{window.start}",
        up_token=f"{series.asset}{window.start}1",
        down_token=f"{series.asset}{window.start}2",
        fees=FeeSchedule(rate=Decimal("0.07")),
    )


def snapshot(
    market: Market, outcome: Outcome, bid: int = 4900, ask: int = 5100, ms: int = 0
) -> BookSnapshot:
    """Return a book of one level a side, prices in units of 1e-4."""
    return BookSnapshot(
        market=market.condition_id,
        token=market.token(outcome),
        bids=((bid, Decimal(100)),) if bid else (),
        asks=((ask, Decimal(100)),) if ask < 10_000 else (),
        timestamp_ms=ms,
    )


def delta(
    market: Market, outcome: Outcome, price: int, size: int, *, is_bid: bool, ms: int = 0
) -> BookDelta:
    """Return a change of one level of one token."""
    change = LevelChange(market.token(outcome), is_bid, price, Decimal(size))
    return BookDelta(market.condition_id, (change,), ms)


def order_report(
    of: Market,
    order_id: str,
    outcome: Outcome = Outcome.UP,
    kind: OrderEventKind = OrderEventKind.PLACEMENT,
    **changes: object,
) -> OrderReport:
    """Return what the venue says of a 10-share buy at 0.50."""
    values: dict[str, object] = {
        "order_id": order_id,
        "market": of.condition_id,
        "token": of.token(outcome),
        "kind": kind,
        "status": "LIVE",
        "side": Side.BUY,
        "price": Decimal("0.50"),
        "original_size": Decimal(10),
    } | changes
    return OrderReport(**values)  # type: ignore[arg-type]


def trade_report(
    market: Market,
    trade_id: str,
    order_id: str,
    outcome: Outcome = Outcome.UP,
    *,
    size: Decimal = Decimal(10),
    price: Decimal = Decimal("0.50"),
    side: Side = Side.BUY,
    status: TradeStatus = TradeStatus.MATCHED,
    is_taker: bool = True,
) -> TradeReport:
    """Return a trade in which one order of ours took part."""
    token = market.token(outcome)
    return TradeReport(
        trade_id=trade_id,
        market=market.condition_id,
        token=token,
        status=status,
        legs=(TradeLeg(order_id, token, side, price, size, is_taker),),
    )


class FakeStream:
    """A stream whose messages the test pushes by hand."""

    def __init__(self, sink: MarketSink | UserSink, on_start: Callable[[], None]) -> None:
        self._sink: MarketSink | UserSink | None = sink
        self._on_start = on_start
        self.started = False
        self.closed = False
        self.resyncs: list[str] = []

    def start(self) -> None:
        self.started = True
        asyncio.get_running_loop().call_soon(self._on_start)

    def detach(self) -> None:
        self._sink = None

    def resync(self, reason: str) -> None:
        self.resyncs.append(reason)

    async def close(self) -> None:
        self.detach()
        self.closed = True
        await asyncio.sleep(0)

    def state(self, state: StreamState, reason: str = "") -> None:
        """Say that the connection changed."""
        sink = self._sink
        if sink is not None and hasattr(sink, "on_market_stream"):
            sink.on_market_stream(state, reason)
        elif sink is not None:
            sink.on_user_stream(state, reason)

    def push(self, message: MarketMessage | UserMessage) -> None:
        """Deliver one message, unless detached."""
        sink = self._sink
        if sink is None:
            return
        if isinstance(message, OrderReport | TradeReport):
            assert hasattr(sink, "on_user_message")
            sink.on_user_message(message)
        else:
            assert hasattr(sink, "on_market_message")
            sink.on_market_message(message)


class FakeExchange:
    """An `Exchange` in memory.

    By default every market exists, its stream connects at once and shows both books, orders are
    accepted and rest, cancels succeed, Up wins 60 s after the end.
    """

    name = "fake"
    account_name = "fake account"
    is_live = False

    def __init__(self) -> None:
        self.redeems = True
        self.balance = Decimal(1000)
        self.missing: set[str] = set()
        self.failing: set[str] = set()
        self.instead: dict[str, Market] = {}
        """Markets that the venue names where it should name others, by the slug that is asked for."""
        self.auto_books = True
        self.streams: dict[str, FakeStream] = {}
        self.all_streams: list[FakeStream] = []
        self.user: FakeStream | None = None
        self.placed: list[PreparedOrder] = []
        self.place_batches: list[list[str]] = []
        self.cancelled: list[str] = []
        self.answers: list[PlaceAnswer] = []
        self.hold_place: asyncio.Future[None] | None = None
        self.hold_cancel: asyncio.Future[None] | None = None
        self.cancel_error: ExchangeError | None = None
        self.cancel_refused: dict[str, str] = {}
        self.trades: list[TradeReport] = []
        self.known: dict[str, OrderReport] = {}
        """What the venue knows of orders: those that it accepted, and what a test puts here."""
        self.accepts_lost = False
        """Whether an order whose answer is lost came to exist."""
        self.hold_look: asyncio.Future[None] | None = None
        self.look_error: ExchangeError | None = None
        self.trades_error: ExchangeError | None = None
        self.query_error: ExchangeError | None = None
        self.looks = 0
        self.queried: list[str] = []
        self.batches: list[list[str]] = []
        self.resolve_after = 60.0
        self.winner = Outcome.UP
        self.unresolved: set[str] = set()
        self.lookups: list[tuple[str, float]] = []
        self.closed = False
        self._ids = 0
        self._clock: Clock | None = None
        self._counters: Counters | None = None

    async def open(self, clock: Clock, counters: Counters) -> None:
        self._clock, self._counters = clock, counters

    async def close(self) -> None:
        self.closed = True

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        assert self._clock is not None
        assert self._counters is not None
        market = make_market(series, window.start)
        self.lookups.append((market.slug, self._clock.time()))
        await asyncio.sleep(0)
        if market.slug in self.failing:
            msg = "gamma does not answer"
            raise ExchangeError(msg)
        if market.slug in self.missing:
            self._counters.add(Count.MARKET_WAITS, "not_found")
            return None
        return self.instead.get(market.slug, market)

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        assert self._clock is not None
        late = self._clock.time() >= market.window.end + self.resolve_after
        if late and market.slug not in self.unresolved:
            return Resolution(self.winner, "fake")
        return None

    def market_stream(self, market: Market, sink: MarketSink) -> FakeStream:
        def show() -> None:
            stream.state(StreamState.CONNECTED)
            if self.auto_books:
                stream.push(snapshot(market, Outcome.UP))
                stream.push(snapshot(market, Outcome.DOWN))

        stream = FakeStream(sink, show)
        self.streams[market.slug] = stream
        self.all_streams.append(stream)
        return stream

    def user_stream(self, sink: UserSink) -> FakeStream:
        stream = FakeStream(sink, lambda: stream.state(StreamState.CONNECTED))
        self.user = stream
        return stream

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        self._ids += 1
        return PreparedOrder(f"0xorder{self._ids}", market, request)

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        self.placed.append(prepared)
        if self.hold_place is not None:
            await self.hold_place
        else:
            await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else PlaceAnswer(PlaceResult.LIVE)
        is_lost = answer.result is PlaceResult.UNKNOWN
        if answer.result is not PlaceResult.REJECTED and (self.accepts_lost or not is_lost):
            self.accept(prepared)
        return answer

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        self.place_batches.append([one.venue_id for one in prepared])
        return list(await asyncio.gather(*(self.place_order(one) for one in prepared)))

    def accept(self, prepared: PreparedOrder) -> None:
        """Let an order rest at the venue."""
        request = prepared.request
        self.known[prepared.venue_id] = order_report(
            prepared.market,
            prepared.venue_id,
            request.outcome,
            side=request.side,
            price=request.price,
            original_size=request.size,
        )

    def change(self, venue_id: str, **changes: object) -> OrderReport:
        """Change what the venue says of an order, without telling anybody."""
        self.known[venue_id] = msgspec.structs.replace(self.known[venue_id], **changes)
        return self.known[venue_id]

    def end(self, venue_id: str) -> OrderReport:
        """Let the venue cancel an order, without telling anybody."""
        return self.change(venue_id, kind=OrderEventKind.CANCELLATION, status="CANCELED")

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        if self.hold_cancel is not None:
            await self.hold_cancel
        if self.cancel_error is not None:
            raise self.cancel_error
        refused = {v: self.cancel_refused[v] for v in venue_ids if v in self.cancel_refused}
        done = frozenset(venue_ids) - refused.keys()
        self.cancelled.extend(sorted(done))
        self.batches.append(list(venue_ids))
        for venue_id in done & self.known.keys():
            self.end(venue_id)
        return CancelAnswer(done, refused)

    async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
        self.looks += 1
        found = [
            report
            for report in self.known.values()
            if (market is None or report.market == market.condition_id)
            and report.kind is not OrderEventKind.CANCELLATION
            and report.size_matched < (report.original_size or 0)
        ]
        if self.hold_look is not None:
            await self.hold_look
        if self.look_error is not None:
            raise self.look_error
        return found

    async def fetch_order(self, venue_id: str) -> OrderReport | None:
        self.queried.append(venue_id)
        if self.query_error is not None:
            raise self.query_error
        return self.known.get(venue_id)

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        if self.trades_error is not None:
            raise self.trades_error
        return [
            trade
            for trade in self.trades
            if (market is None or trade.market == market.condition_id)
            and (after is None or trade.match_time_ms >= after * 1000)
        ]

    async def fetch_balance(self) -> Decimal:
        return self.balance


def resealed(sent: bytes, old: bytes, new: bytes) -> bytes:
    """Return a list of sent orders in which something else was written."""
    lines = (line.rpartition(b"\t")[0] for line in sent.splitlines())
    return b"".join(seal(line.replace(old, new)) for line in lines)
