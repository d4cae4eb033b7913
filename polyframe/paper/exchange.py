"""Trading on paper: market data of a real venue, orders against a model of it."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from polyframe.checks import expect
from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeError, ExchangeUnavailable
from polyframe.exchange.base import (
    MAX_BATCH,
    CancelAnswer,
    DataStream,
    Exchange,
    MarketSink,
    PlaceAnswer,
    PreparedOrder,
    TellsResolutions,
    UserSink,
)
from polyframe.model.conversion import ConversionKind, Receipt
from polyframe.model.events import MarketMessage, OrderEventKind, OrderReport, TradeReport
from polyframe.model.market import Market, Resolution
from polyframe.model.order import OrderRequest, PlaceResult
from polyframe.model.series import Series, Window
from polyframe.paper import keeping
from polyframe.paper.account import start_cash
from polyframe.paper.contracts import ConvertsOnPaper, PaperContracts
from polyframe.paper.core import PaperVenue
from polyframe.paper.keeper import Keeper
from polyframe.paper.models import Chance, PaperModels
from polyframe.paper.streams import MarketTap, PaperUserStream
from polyframe.paper.values import MATCHED, Cancelled, PaperOrder, Placed, Told
from polyframe.trading.snapshotstore import FolderStore, Store

log = logging.getLogger(__name__)

T = TypeVar("T")

START_CASH = Decimal(1000)
"""USD of a new paper account."""

_ASK_EVERY = 30.0
"""Market seconds between two questions for a resolution that nobody else asks for."""

_GIVE_UP_AFTER = 86_400
"""Seconds after the end of a window after which its resolution is no longer asked for."""


class PaperExchange(ConvertsOnPaper):
    """An exchange whose orders exist on paper only.

    Markets, books and resolutions are those of `inner`; orders, trades, cash and shares are a model's
    (docs/paper.md). Nothing is ever sent to `inner` but questions, so it needs no credentials. Resting
    orders are filled only while a stream of their market is open.

    Args:
        inner: Where market data comes from.
        cash: USD of a new account; an account that was kept has its own.
        models: What stands between an order and its fills.
        store: A folder (or a `Store`) in which the account is kept, so that it survives restarts; not
            the one of the environment's snapshots. It is in memory by default.

    Raises:
        ConfigError: No cash, or a folder that cannot be.
    """

    is_live = False

    def __init__(
        self,
        inner: Exchange,
        *,
        cash: Decimal | int | str = START_CASH,
        models: PaperModels | None = None,
        store: Store | str | Path | None = None,
    ) -> None:
        expect("inner", inner, "an exchange", is_right=hasattr(inner, "fetch_market"))
        is_models = isinstance(models, PaperModels | None)
        expect("models", models, "PaperModels(…)", is_right=is_models)
        start = start_cash(cash)
        self.inner = inner
        self.name = f"paper on {inner.name}"
        self.models = models or PaperModels()
        self._store = _as_store(store)
        self._venue = PaperVenue(self.models, start, self._chance, self._ignore)
        self._account = f"paper-{secrets.token_hex(4)}"
        self._run = 1
        self._last_id = 0
        self._ticket = 0
        self._clock: Clock | None = None
        self._counters: Counters | None = None
        self._keeper: Keeper | None = None
        self._sleeper: asyncio.Task[None] | None = None
        self._armed_ms: int | None = None
        self._heirs: set[asyncio.Task[None]] = set()
        self._placing: defaultdict[str, deque[asyncio.Future[PlaceAnswer]]] = defaultdict(deque)
        self._cancelling: dict[int, asyncio.Future[CancelAnswer]] = {}
        self._streams: list[PaperUserStream] = []
        self._taps: dict[str, MarketTap] = {}
        if isinstance(inner, TellsResolutions):
            # Not a method: without it this is no exchange that tells.
            self.resolution_stream: Callable[[Market, MarketSink], DataStream] = (
                inner.resolution_stream
            )

    @property
    def account_name(self) -> str:
        """Public name of the account; another account has another one."""
        return self._account

    def _chance(self, name: str) -> Chance:
        # A simulation: the same seed has to make the same fills.
        return random.Random(f"{self.models.seed}/{name}")  # noqa: S311

    def _ignore(self, reason: str) -> None:
        if self._counters is not None:
            self._counters.add(Count.PAPER_SKIPPED, reason)

    # ------------------------------------------------------------------ life

    async def open(self, clock: Clock, counters: Counters) -> None:
        """Open the venue of the market data, and bring back the account.

        Raises:
            ConfigError: The store cannot be used, or holds something else.
            RuntimeError: It was opened before.
        """
        if self._clock is not None:
            msg = "PaperExchange: open() was called twice"
            raise RuntimeError(msg)
        self._clock, self._counters = clock, counters
        await self.inner.open(clock, counters)
        if self._store is not None:
            self._restore(self._store)
        self._keeper = Keeper(self._store, self._image, self._deliver, counters)
        self._keeper.keep([])
        await self._keeper.flush()
        self._step()

    def _restore(self, store: Store) -> None:
        _named(store.open)
        try:
            data = store.read(keeping.KEY)
        except FileNotFoundError:
            return
        try:
            kept = keeping.decode(data)
        except ConfigError:
            store.close()
            raise
        keeping.restore(self._venue, kept)
        self._account, self._run = kept.account, kept.runs + 1
        for market in kept.markets:
            task = asyncio.create_task(self._inherit(market), name=f"paper-{market.slug}")
            self._heirs.add(task)
            task.add_done_callback(self._heirs.discard)

    async def close(self) -> None:
        """Keep the account, then release everything. Safe to repeat."""
        for task in [*self._heirs, *([self._sleeper] if self._sleeper else [])]:
            task.cancel()
            await asyncio.wait({task})
        self._sleeper = None
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.keep([])
            await keeper.close()
            if self._store is not None:
                self._store.close()
        for waiting in self._placing.values():
            for answer in waiting:
                if not answer.done():
                    answer.set_result(PlaceAnswer(PlaceResult.UNKNOWN, "", "the exchange closed"))
        for cancel in self._cancelling.values():
            if not cancel.done():
                cancel.set_exception(ExchangeUnavailable("the exchange closed"))
        await self.inner.close()

    async def _inherit(self, market: Market) -> None:
        """Ask how a market of an earlier run ended: it may be that nobody else does."""
        clock = self._opened
        while clock.time() < market.window.end + _GIVE_UP_AFTER:
            await clock.sleep_until(market.window.end)
            try:
                if await self.fetch_resolution(market) is not None:
                    return
            except ExchangeError as error:
                log.info("%s: no resolution yet: %s", market.slug, error)
            await clock.sleep(_ASK_EVERY)

    @property
    def _opened(self) -> Clock:
        if self._clock is None:
            msg = "PaperExchange: call open() first"
            raise RuntimeError(msg)
        return self._clock

    def _now_ms(self) -> int:
        return round(self._opened.time() * 1000)

    # ------------------------------------------------------------------ what happens

    def _step(self) -> None:
        """Do what is due, tell it, and wake up when the next is."""
        self._venue.advance(self._now_ms())
        self._publish()
        due_ms = self._venue.next_due_ms
        if due_ms == self._armed_ms or self._keeper is None:
            return
        if self._sleeper is not None:
            self._sleeper.cancel()
        self._sleeper, self._armed_ms = None, due_ms
        if due_ms is not None:
            self._sleeper = asyncio.create_task(self._sleep(due_ms), name="paper-schedule")

    async def _sleep(self, due_ms: int) -> None:
        await self._opened.sleep_until(due_ms / 1000)
        self._sleeper = self._armed_ms = None
        self._step()

    def _publish(self) -> None:
        outbox = self._venue.outbox
        if outbox and self._keeper is not None:
            told = list(outbox)
            outbox.clear()
            self._keeper.keep(told)

    def _image(self) -> bytes:
        return keeping.encode(self._venue, self._account, self._run)

    def _deliver(self, told: Told) -> None:
        if isinstance(told, Placed):
            waiting = self._placing[told.order_id]
            _answer(waiting.popleft(), told.answer)
            if not waiting:
                del self._placing[told.order_id]
        elif isinstance(told, Cancelled):
            _answer(self._cancelling.pop(told.ticket), told.answer)
        else:
            for stream in self._streams:
                stream.push(told)

    # ------------------------------------------------------------------ market data

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        """Return the market of `window`, ``None`` if it does not exist or cannot be traded yet."""
        market = await self.inner.fetch_market(series, window)
        if market is not None:
            self._venue.add_market(market)
            self._step()
        return market

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Return how `market` ended, ``None`` if that is not final yet; winning shares are paid."""
        found = await self.inner.fetch_resolution(market)
        if found is not None:
            self._venue.resolve(market, found.winner, self._now_ms())
            if self._keeper is not None:
                self._keeper.keep([])  # a payout tells nobody
            self._step()
        return found

    def market_stream(self, market: Market, sink: MarketSink) -> DataStream:
        """Return a fresh, not yet started stream of both tokens; fills come from the latest one."""
        tap = MarketTap(market, sink, self._hear, self._gap)
        self._taps[market.slug] = tap
        self._venue.on_gap(market.slug)
        return self.inner.market_stream(market, tap)

    def _hear(self, tap: MarketTap, message: MarketMessage) -> None:
        slug = tap.market.slug
        if self._taps.get(slug) is tap:
            self._venue.on_message(slug, message, self._now_ms())
            self._publish()
            if self._venue.next_due_ms != self._armed_ms:
                self._step()

    def _gap(self, tap: MarketTap) -> None:
        if self._taps.get(tap.market.slug) is tap:
            self._venue.on_gap(tap.market.slug)

    # ------------------------------------------------------------------ orders

    def user_stream(self, sink: UserSink) -> DataStream:
        """Return the account's stream, not yet started."""
        stream = PaperUserStream(sink, self._streams)
        self._streams.append(stream)
        return stream

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        """Give a request its id; no two orders of an account have the same, over all runs."""
        self._last_id += 1
        return PreparedOrder(f"paper-{self._run}-{self._last_id}", market, request)

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Send one order, once. The answer tells what became of it."""
        (answer,) = await self.place_orders([prepared])
        return answer

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        """Send 1 to 15 orders, once; return the answers in the same order.

        Raises:
            ValueError: None, or more than the venue takes at once.
        """
        if not 1 <= len(prepared) <= MAX_BATCH:
            msg = f"prepared: expected 1 to {MAX_BATCH} orders, got {len(prepared)}; send them in parts"
            raise ValueError(msg)
        waiting: list[asyncio.Future[PlaceAnswer]] = []
        for one in prepared:
            answer = asyncio.get_running_loop().create_future()
            waiting.append(answer)
            self._placing[one.venue_id].append(answer)
            self._venue.send_order(one, self._now_ms())
        self._step()
        return [await answer for answer in waiting]

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel orders by the venue's id."""
        self._ticket += 1
        answer: asyncio.Future[CancelAnswer] = asyncio.get_running_loop().create_future()
        self._cancelling[self._ticket] = answer
        self._venue.send_cancel(self._ticket, venue_ids, self._now_ms())
        self._step()
        return await answer

    # ------------------------------------------------------------------ splitting and merging

    def _convert(self, market: Market, kind: ConversionKind, shares: Decimal) -> Receipt:
        self._last_id += 1
        name = f"paper-tx-{self._run}-{self._last_id}"
        receipt = self._venue.contracts.send(name, market, kind, shares, self._now_ms())
        if self._keeper is not None:
            self._keeper.keep([])
        self._step()
        return receipt

    def _contracts(self) -> PaperContracts:
        self._step()
        return self._venue.contracts

    @override
    async def fetch_receipt(self, transaction_id: str) -> Receipt:
        """Return how far a split or merge is."""
        receipt = await super().fetch_receipt(transaction_id)
        if self._keeper is not None:
            # It moved shares and told nobody: what is told here is kept first.
            self._keeper.keep([])
            await self._keeper.flush()
        return receipt

    # ------------------------------------------------------------------ questions

    async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
        """Return all open orders of the account (of one market)."""
        self._step()
        return [self._report(order) for order in self._venue.open_orders(market)]

    async def fetch_order(self, venue_id: str) -> OrderReport | None:
        """Return one order in whatever state, ``None`` if there is none."""
        self._step()
        order = self._venue.orders.get(venue_id)
        return None if order is None else self._report(order)

    def _report(self, order: PaperOrder) -> OrderReport:
        has_ended = not order.is_open and order.status != MATCHED
        kind = OrderEventKind.CANCELLATION if has_ended else OrderEventKind.UPDATE
        return order.report(kind, self._now_ms())

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        """Return the account's trades (of one market, since epoch second `after`)."""
        self._step()
        since_ms = 0 if after is None else after * 1000
        return [trade.report(self._now_ms()) for trade in self._venue.trades.of(market, since_ms)]

    async def fetch_balance(self) -> Decimal:
        """Return the account's cash in USD, with what open orders hold."""
        self._step()
        return self._venue.account.cash


def _answer(future: asyncio.Future[T], answer: T) -> None:
    if not future.done():  # who asked may be gone
        future.set_result(answer)


def _as_store(store: Store | str | Path | None) -> Store | None:
    if isinstance(store, str | Path):
        return _named(lambda: FolderStore(store))
    is_store = store is None or (hasattr(store, "keys") and hasattr(store, "write"))
    expect("store", store, "the name of a folder, or a store", is_right=is_store)
    return store


def _named(act: Callable[[], T]) -> T:
    """Run `act`; what a folder says of snapshots is said of the store."""
    try:
        return act()
    except ConfigError as error:
        msg = f"store: {str(error).removeprefix('snapshots: ')}"
        raise ConfigError(msg) from error
