"""A venue that plays a recording: the same questions and answers as live, on a virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TypeVar

from attrs import define, evolve

from polyframe.backtest.blotter import Blotter
from polyframe.backtest.floor import VenueFloor
from polyframe.backtest.player import Player
from polyframe.backtest.streams import MarketStream, ResolutionStream, UserStream
from polyframe.backtest.tape import Tape
from polyframe.backtest.verdict import Verdict
from polyframe.checks import expect, expect_recording
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
from polyframe.model.conversion import ConversionKind, Receipt
from polyframe.model.events import MarketResolved, OrderEventKind, OrderReport, TradeReport
from polyframe.model.market import Market, Resolution
from polyframe.model.order import OrderRequest, PlaceResult
from polyframe.model.series import Series, Window
from polyframe.paper.account import start_cash
from polyframe.paper.contracts import ConvertsOnPaper, PaperContracts
from polyframe.paper.core import PaperVenue
from polyframe.paper.models import Chance, PaperModels
from polyframe.paper.schedule import NEVER
from polyframe.paper.values import MATCHED, Cancelled, PaperOrder, Placed, Told
from polyframe.recording.gather import pieces_of
from polyframe.recording.reader import Recording, with_own_names
from polyframe.recording.tape import TapeMarket
from polyframe.report.prices import PricePath

T = TypeVar("T")

RESOLVED_AFTER = 60.0
"""Market seconds from the end of a window until the venue tells who won (PROTOCOL §1.5)."""


@define(eq=False)
class _Stage:
    """One market while it is played."""

    entry: TapeMarket
    tape: Tape
    floor: VenueFloor
    verdict: Verdict | None


def _check_tokens(markets: Iterable[TapeMarket]) -> None:
    """Refuse markets with a token in common: the shares of one cycle would be those of the next, too."""
    owners: dict[str, str] = {}
    for entry in markets:
        slug = entry.market.slug
        for token in (entry.market.up_token, entry.market.down_token):
            other = owners.setdefault(token, slug)
            if other != slug:
                msg = f"data: {slug} has the token {token!r} of {other}; give each market its own"
                raise ConfigError(msg)


class ReplayExchange(ConvertsOnPaper):
    """An `Exchange` whose markets are those of a recording, and whose account is made up.

    What comes later than now is never told: rows come when they are due, and the resolution some
    time after the end of the window. Our orders do not move the recorded market.

    Args:
        recording: The markets.
        models: What stands between an order and its fills.
        cash: USD of the account at the start.
        resolved_after: Market seconds from the end of a window until it is told who won.

    Attributes:
        blotter: All orders, for the report.
        paths: How the prices of each market moved that was played to its end, by slug; likewise.
        told_ms: When the last row came that says who won a market of which nothing else does, in epoch
            milliseconds.
        failure: Done with an exception if the recording cannot be read on, or a model raised; made by
            `open`.

    Raises:
        ConfigError: No cash, or two recorded markets have the same window in one series, or a token in
            common.
    """

    name = "replay"
    account_name = "replay account"
    is_live = False

    def __init__(
        self,
        recording: Recording,
        *,
        models: PaperModels | None = None,
        cash: Decimal = Decimal(10_000),
        resolved_after: float = RESOLVED_AFTER,
    ) -> None:
        expect_recording("recording", recording)
        is_models = isinstance(models, PaperModels | None)
        expect("models", models, "PaperModels(…)", is_right=is_models)
        self.blotter = Blotter()
        self.paths: dict[str, PricePath] = {}
        self.failure: asyncio.Future[None] | None = None
        self.told_ms = 0
        self._recording = recording
        self._models = models or PaperModels()
        self._resolved_after = resolved_after
        self._venue = PaperVenue(self._models, start_cash(cash), self._chance, self._ignore)
        self._markets: dict[tuple[Series, Window], TapeMarket] = {}
        for entry in with_own_names(recording.markets()):
            key = (entry.market.series, entry.market.window)
            if key in self._markets:
                msg = f"data: {entry.market.slug} is recorded twice; leave one of them out"
                raise ConfigError(msg)
            self._markets[key] = entry
        _check_tokens(self._markets.values())
        self._by_condition = {
            entry.market.condition_id: entry.market for entry in self._markets.values()
        }
        self._stages: dict[str, _Stage] = {}
        self._listening: dict[ResolutionStream, str] = {}
        self._placing: dict[str, asyncio.Future[PlaceAnswer]] = {}
        self._cancelling: dict[int, asyncio.Future[CancelAnswer]] = {}
        self._user: UserStream | None = None
        self._last_id = 0
        self._ticket = 0
        self._clock: VirtualClock | None = None
        self._counters: Counters | None = None
        self._player: Player | None = None

    def _chance(self, name: str) -> Chance:
        # A simulation: the same seed has to make the same fills.
        return random.Random(f"{self._models.seed}/{name}")  # noqa: S311

    def _ignore(self, reason: str) -> None:
        if self._counters is not None:
            self._counters.add(Count.PAPER_SKIPPED, reason)

    @property
    def cash(self) -> Decimal:
        """USD of the account."""
        return self._venue.account.cash

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
        self._player = Player(clock, self._come_due, self._failed)

    async def close(self) -> None:
        """Play nothing more."""
        if self._player is not None:
            self._player.stop()
            self._player.appoint(NEVER)
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
            self._venue.add_market(market)
            floor = VenueFloor(self._venue, market, self._changed)
            pieces = pieces_of(self._recording, entry)
            verdict = Verdict(pieces, market) if entry.winner is None else None
            tape = Tape(pieces if verdict is None else verdict, market, floor, player)
            stage = _Stage(entry, tape, floor, verdict)
            self._stages[market.slug] = stage
            player.add(stage.tape)
            left = market.window.end - clock.time()
            asyncio.get_running_loop().call_later(max(left, 0.0), self._safely, self._end, stage)
            self._changed()
        return stage

    def _end(self, stage: _Stage) -> None:
        """Close a market at the end of its window; who won is paid and told some time later."""
        _, _, player = self._parts()
        player.catch_up()
        stage.tape.stop()
        slug, left = stage.entry.market.slug, self._resolved_after
        if (verdict := stage.verdict) is not None:
            verdict.read_on()
            left = max(left, verdict.told_ms / 1000 - stage.entry.market.window.end)
            self.told_ms = max(self.told_ms, verdict.told_ms)
        self.paths[slug] = stage.floor.path
        del self._stages[slug]
        self._venue.advance(player.now_ms())
        self._changed()
        asyncio.get_running_loop().call_later(left, self._safely, self._pay_out, stage)

    def _pay_out(self, stage: _Stage) -> None:
        if stage.verdict is not None:
            stage.entry = evolve(stage.entry, winner=stage.verdict.winner)
            self._markets[stage.entry.market.series, stage.entry.market.window] = stage.entry
        winner, market = stage.entry.winner, stage.entry.market
        if winner is not None:
            now_ms = self._parts()[2].now_ms()
            self._venue.resolve(market, winner, now_ms)
            self._changed()
            message = MarketResolved(market.condition_id, market.token(winner), now_ms)
            for stream, slug in tuple(self._listening.items()):
                if slug == market.slug:
                    stream.tell(message)

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Return how `market` ended, ``None`` before the venue would have told it."""
        _, _, player = self._parts()
        entry = self._markets.get((market.series, market.window))
        due_ms = int((market.window.end + self._resolved_after) * 1000)
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
        return ResolutionStream(market.slug, sink, self._listening)

    def user_stream(self, sink: UserSink) -> UserStream:
        """Return the account's stream."""
        self._user = UserStream(sink)
        return self._user

    # ------------------------------------------------------------------ orders

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        """Give a request its id."""
        self._last_id += 1
        return PreparedOrder(f"replay-{self._last_id}", market, request)

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Take one order after the latency, against the book that stands then."""
        player = self._parts()[2]
        waiting = self._send(prepared, player.now_ms())
        self._tell_all(player)
        return await waiting

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        """Take several orders; each is on its way for as long as the models say."""
        now_ms = self._parts()[2].now_ms()
        waiting = [self._send(one, now_ms) for one in prepared]
        self._changed()
        return [await answer for answer in waiting]

    def _send(self, prepared: PreparedOrder, now_ms: int) -> asyncio.Future[PlaceAnswer]:
        """Send one order and return where its answer will be; `_changed` follows."""
        answer: asyncio.Future[PlaceAnswer] = asyncio.get_running_loop().create_future()
        market, request = prepared.market, prepared.request
        stage = self._stages.get(market.slug)
        if stage is None:
            text = "no orderbook exists: the market is over"
            answer.set_result(PlaceAnswer(PlaceResult.REJECTED, "market_not_found", text))
            return answer
        view = stage.floor.view(request)
        self.blotter.placed(prepared.venue_id, now_ms, market.slug, request, view)
        self._placing[prepared.venue_id] = answer
        self._venue.send_order(prepared, now_ms)
        return answer

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel orders; that is on its way as long as an order."""
        player = self._parts()[2]
        now_ms = player.now_ms()
        self._ticket += 1
        for venue_id in venue_ids:
            self.blotter.cancelled(venue_id, now_ms)
        answer: asyncio.Future[CancelAnswer] = asyncio.get_running_loop().create_future()
        self._cancelling[self._ticket] = answer
        self._venue.send_cancel(self._ticket, venue_ids, now_ms)
        self._tell_all(player)
        return await answer

    # ------------------------------------------------------------------ splitting and merging

    def _convert(self, market: Market, kind: ConversionKind, shares: Decimal) -> Receipt:
        self._last_id += 1
        name, now_ms = f"replay-tx-{self._last_id}", self._parts()[2].now_ms()
        receipt = self._venue.contracts.send(name, market, kind, shares, now_ms)
        self._changed()
        return receipt

    def _contracts(self) -> PaperContracts:
        self._step()
        return self._venue.contracts

    # ------------------------------------------------------------------ what happens

    def _step(self) -> None:
        """Do what is due by now."""
        player = self._parts()[2]
        player.catch_up()
        self._venue.advance(player.now_ms())
        self._tell_all(player)

    def _changed(self) -> None:
        """Tell what is to be told, and come back when something is due."""
        self._tell_all(self._parts()[2])

    def _tell_all(self, player: Player) -> None:
        player.interrupt()
        outbox = self._venue.outbox
        while outbox:
            self._tell(outbox.popleft(), player)
        due_ms = self._venue.schedule.first_ms
        if due_ms != player.appointed_ms:
            player.appoint(due_ms)

    def _come_due(self) -> None:
        self._safely(self._step)

    def _safely(self, act: Callable[..., None], *arguments: object) -> None:
        """Act for a timer: a model that raises ends the run, rather than an order that waits for it."""
        try:
            act(*arguments)
        except Exception as error:  # noqa: BLE001 - a model may raise whatever it likes
            self._failed(error)

    def _tell(self, told: Told, player: Player) -> None:
        if isinstance(told, Placed):
            entry = self.blotter.entries[told.order_id]
            entry.arrived_ms = player.now_ms()
            entry.answer = told.answer.code or told.answer.result.value
            _answer(self._placing.pop(told.order_id), told.answer)
        elif isinstance(told, Cancelled):
            _answer(self._cancelling.pop(told.ticket), told.answer)
        else:
            if isinstance(told, TradeReport):
                self.blotter.filled(told, self._by_condition[told.market])
            if self._user is not None:
                self._user.send(told)

    # ------------------------------------------------------------------ questions

    async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
        """Return all open orders (of one market)."""
        return [self._report(order) for order in self._venue.open_orders(market)]

    async def fetch_order(self, venue_id: str) -> OrderReport | None:
        """Return one order in whatever state, ``None`` if there is none."""
        order = self._venue.orders.get(venue_id)
        return None if order is None else self._report(order)

    def _report(self, order: PaperOrder) -> OrderReport:
        is_over = not order.is_open and order.status != MATCHED
        kind = OrderEventKind.CANCELLATION if is_over else OrderEventKind.UPDATE
        return order.report(kind, self._parts()[2].now_ms())

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        """Return the account's trades (of one market, since epoch second `after`)."""
        now_ms = self._parts()[2].now_ms()
        found = self._venue.trades.of(market, 0 if after is None else after * 1000)
        return [trade.report(now_ms) for trade in found]

    async def fetch_balance(self) -> Decimal:
        """Return the account's cash in USD."""
        return self.cash


def _answer(waiting: asyncio.Future[T], answer: T) -> None:
    # Who asked may have gone.
    if not waiting.done():
        waiting.set_result(answer)
