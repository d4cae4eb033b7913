"""A venue that plays a recording: the same questions and answers as live, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from attrs import define, field, frozen, validators

from polyframe.backtest.blotter import Blotter, Level
from polyframe.backtest.floor import MarketFloor, Sent
from polyframe.backtest.player import Player, Tape
from polyframe.backtest.streams import MarketStream, ResolutionStream, UserStream
from polyframe.clock import Clock, VirtualClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError
from polyframe.exchange.base import (
    CancelAnswer,
    MarketSink,
    PlaceAnswer,
    PreparedOrder,
    UserSink,
)
from polyframe.model.events import OrderReport, TradeReport, UserMessage
from polyframe.model.market import Market, Resolution
from polyframe.model.order import OrderRequest, PlaceResult, Side
from polyframe.model.series import Series, Window
from polyframe.model.trade import TradeStatus
from polyframe.recording.reader import Recording
from polyframe.recording.tape import TapeMarket


@frozen
class ReplayModel:
    """What is assumed about the venue. Times in market seconds.

    Attributes:
        order_latency: From a decision to its arrival at the venue: orders meet the book that stands
            then. Cancels take as long.
        settlement: From a match to its confirmation on chain.
        resolution: From the end of a window until the venue tells who won; not known before.
        max_book_age: A book that did not change for longer is stale, and nothing trades in it.
    """

    order_latency: float = field(default=0.25, validator=validators.ge(0))
    settlement: float = field(default=5.0, validator=validators.ge(0))
    resolution: float = field(default=60.0, validator=validators.ge(0))
    max_book_age: float = field(default=60.0, validator=validators.gt(0))


@define(eq=False)
class _Stage:
    """One market while it is played."""

    entry: TapeMarket
    tape: Tape
    floor: MarketFloor


class ReplayExchange:
    """An `Exchange` whose markets are those of a recording, and whose account is made up.

    What comes later than now is never told: rows come when they are due, and the resolution some
    time after the end of the window. Our orders do not move the recorded market.

    Args:
        recording: The markets.
        model: What is assumed about the venue.
        cash: USD of the account at the start.

    Attributes:
        blotter: All orders, for the report.
        cash: USD of the account.
        failure: Done with an exception if the recording cannot be read on; made by `open`.

    Raises:
        ConfigError: Two recorded markets of one series have the same window.
    """

    name = "replay"
    account_name = "replay account"
    is_live = False
    redeems = True

    def __init__(
        self,
        recording: Recording,
        *,
        model: ReplayModel | None = None,
        cash: Decimal = Decimal(10_000),
    ) -> None:
        self.blotter = Blotter()
        self.cash = cash
        self.failure: asyncio.Future[None] | None = None
        self._recording = recording
        self._model = model or ReplayModel()
        self._markets: dict[tuple[Series, Window], TapeMarket] = {}
        for entry in recording.markets():
            key = (entry.market.series, entry.market.window)
            if key in self._markets:
                msg = f"data: {entry.market.slug} is recorded twice; leave one of them out"
                raise ConfigError(msg)
            self._markets[key] = entry
        self._stages: dict[str, _Stage] = {}
        self._by_order: dict[str, MarketFloor] = {}
        self._user: UserStream | None = None
        self._last_id = 0
        self._clock: VirtualClock | None = None
        self._counters: Counters | None = None
        self._player: Player | None = None

    # ------------------------------------------------------------------ life

    async def open(self, clock: Clock, counters: Counters) -> None:
        """Take the clock.

        Raises:
            ConfigError: `clock` is not simulated time.
        """
        if not isinstance(clock, VirtualClock):
            msg = f"clock: ReplayExchange needs a VirtualClock, got {clock!r}; use run_backtest()"
            raise ConfigError(msg)
        self._clock, self._counters = clock, counters
        self.failure = asyncio.get_running_loop().create_future()
        self._player = Player(clock, self._failed)

    async def close(self) -> None:
        """Play nothing more."""
        if self._player is not None:
            self._player.stop()
        for stage in self._stages.values():
            stage.tape.stop()
        if self.failure is not None and self.failure.done() and not self.failure.cancelled():
            self.failure.exception()  # whoever waits for it was told; nobody else has to be

    def _failed(self, error: Exception) -> None:
        if self.failure is not None and not self.failure.done():
            self.failure.set_exception(error)

    def _parts(self) -> tuple[VirtualClock, Counters, Player]:
        if self._clock is None or self._counters is None or self._player is None:
            msg = "ReplayExchange: call open() first"
            raise RuntimeError(msg)
        return self._clock, self._counters, self._player

    # ------------------------------------------------------------------ markets

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        """Return the market of `window`, ``None`` if it was not recorded."""
        clock, counters, _ = self._parts()
        entry = self._markets.get((series, window))
        if entry is None:
            counters.add(Count.MARKET_WAITS, "not_found")
            return None
        if clock.time() >= window.end:
            counters.add(Count.MARKET_WAITS, "closed")
            return None
        self._stage(entry)
        return entry.market

    def _stage(self, entry: TapeMarket) -> _Stage:
        """Return a market that is being played; begin with it if need be."""
        market = entry.market
        stage = self._stages.get(market.slug)
        if stage is None:
            clock, _, player = self._parts()
            floor = MarketFloor(
                market,
                max_age_ms=int(self._model.max_book_age * 1000),
                on_fill=self._on_fill,
                send=self._send,
            )
            stage = _Stage(entry, Tape(self._recording.events(entry), floor), floor)
            self._stages[market.slug] = stage
            player.add(stage.tape)
            left = market.window.end - clock.time()
            asyncio.get_running_loop().call_later(max(left, 0.0), self._end, stage)
        return stage

    def _end(self, stage: _Stage) -> None:
        """Close a market at the end of its window; who won is paid when the venue tells it."""
        _, _, player = self._parts()
        player.catch_up()
        stage.tape.stop()
        stage.floor.close(player.now_ms())
        asyncio.get_running_loop().call_later(self._model.resolution, self._pay_out, stage)

    def _pay_out(self, stage: _Stage) -> None:
        winner = stage.entry.winner
        if winner is not None:
            self.cash += stage.floor.held(winner)
        if stage.floor.is_untouched:
            # Nobody has anything to ask about it, and a run may have many markets.
            del self._stages[stage.entry.market.slug]

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Return how `market` ended, ``None`` before the venue would have told it."""
        _, _, player = self._parts()
        entry = self._markets.get((market.series, market.window))
        due_ms = int((market.window.end + self._model.resolution) * 1000)
        if entry is None or entry.winner is None or player.now_ms() < due_ms:
            return None
        return Resolution(entry.winner, self.name)

    # ------------------------------------------------------------------ streams

    def market_stream(self, market: Market, sink: MarketSink) -> MarketStream:
        """Return a stream of `market`."""
        stage = self._stage(self._markets[market.series, market.window])
        return MarketStream(stage.tape, sink)

    def resolution_stream(self, market: Market, sink: MarketSink) -> ResolutionStream:
        """Return a stream that tells when it is known who won `market`."""
        clock, _, _ = self._parts()
        due = market.window.end + self._model.resolution
        return ResolutionStream(self._markets[market.series, market.window], sink, clock, due)

    def user_stream(self, sink: UserSink) -> UserStream:
        """Return the account's stream."""
        self._user = UserStream(sink)
        return self._user

    def _send(self, message: UserMessage) -> None:
        if self._user is not None:
            self._user.send(message)

    # ------------------------------------------------------------------ orders

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        """Give a request its id."""
        self._last_id += 1
        return PreparedOrder(f"replay-{self._last_id}", market, request)

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Take one order after the latency, against the book that stands then."""
        (answer,) = await self.place_orders([prepared])
        return answer

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        """Take several orders that travel together."""
        clock, _, player = self._parts()
        for one in prepared:
            floor = self._stages[one.market.slug].floor
            self._by_order[one.venue_id] = floor
            self.blotter.placed(
                one.venue_id,
                player.now_ms(),
                one.market.slug,
                one.request,
                floor.book(one.request.outcome),
            )
        await clock.sleep(self._model.order_latency)
        player.catch_up()
        return [self._accept(one, player.now_ms()) for one in prepared]

    def _accept(self, one: PreparedOrder, now_ms: int) -> PlaceAnswer:
        entry = self.blotter.entries[one.venue_id]
        entry.arrived_ms = now_ms
        answer = self._by_order[one.venue_id].place(one.venue_id, one.request, now_ms)
        is_refused = answer.result is PlaceResult.REJECTED
        entry.answer = answer.code if is_refused else answer.result.value
        return answer

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel orders after the latency."""
        clock, _, player = self._parts()
        for venue_id in venue_ids:
            self.blotter.cancelled(venue_id, player.now_ms())
        await clock.sleep(self._model.order_latency)
        player.catch_up()
        done, refused = set(), {}
        for venue_id in venue_ids:
            floor = self._by_order.get(venue_id)
            if floor is not None and floor.cancel(venue_id, player.now_ms()):
                done.add(venue_id)
            else:
                refused[venue_id] = "already canceled or matched"
        return CancelAnswer(frozenset(done), refused)

    def _on_fill(self, order: Sent, report: TradeReport, fee: Decimal) -> None:
        """Book a fill and let it settle."""
        leg = report.legs[0]
        value = leg.price * leg.size
        self.cash += -value - fee if leg.side is Side.BUY else value - fee
        self.blotter.entries[order.order_id].fills[report.trade_id] = Level(
            report.match_time_ms, leg.price, leg.size, fee, leg.is_taker
        )
        self._send(report)
        loop = asyncio.get_running_loop()
        loop.call_later(self._model.settlement, self._settled, order, report.trade_id)

    def _settled(self, order: Sent, trade_id: str) -> None:
        _, _, player = self._parts()
        floor = self._by_order[order.order_id]
        self._send(floor.settle(trade_id, TradeStatus.CONFIRMED, player.now_ms()))

    # ------------------------------------------------------------------ questions

    async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
        """Return all open orders (of one market)."""
        now_ms = self._parts()[2].now_ms()
        return [report for floor in self._floors(market) for report in floor.open_orders(now_ms)]

    async def fetch_order(self, venue_id: str) -> OrderReport | None:
        """Return one order in whatever state, ``None`` if there is none."""
        floor = self._by_order.get(venue_id)
        return None if floor is None else floor.order(venue_id, self._parts()[2].now_ms())

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        """Return the account's trades (of one market, since epoch second `after`)."""
        return [
            trade
            for floor in self._floors(market)
            for trade in floor.trades()
            if after is None or trade.match_time_ms >= after * 1000
        ]

    async def fetch_balance(self) -> Decimal:
        """Return the account's cash in USD."""
        return self.cash

    def _floors(self, market: Market | None) -> list[MarketFloor]:
        if market is None:
            return [stage.floor for stage in self._stages.values()]
        stage = self._stages.get(market.slug)
        return [] if stage is None else [stage.floor]
