"""A venue in memory: an `Exchange` whose markets move, fill, settle and fail by a seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from polyframe.clock import Clock, VirtualClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeUnavailable, RateLimited
from polyframe.exchange.base import (
    CancelAnswer,
    MarketSink,
    PlaceAnswer,
    PreparedOrder,
    UserSink,
)
from polyframe.model.events import OrderReport, TradeReport, UserMessage
from polyframe.model.market import Market, Resolution
from polyframe.model.order import OrderRequest, PlaceResult
from polyframe.model.series import Series, Window
from polyframe.testing.builders import make_market
from polyframe.testing.faults import Fault, Faults, InjectedError
from polyframe.testing.simaccount import SimAccount
from polyframe.testing.simclock import SimWallClock
from polyframe.testing.simcontracts import SimContracts
from polyframe.testing.simmarket import SimMarket
from polyframe.testing.simstreams import OnStep, SimMarketStream, SimUserStream
from polyframe.testing.simvalues import SimHabits, SimOrder, SimWorld

REFUSALS = ("rejected", "auth", "restarting", "rate_limited", "post_only_mode", "trading_disabled")
"""Codes of refusals that have nothing to do with the order (PROTOCOL §2.7)."""


class SimVenue:
    """A venue and one account at it, in memory and in simulated time.

    Every window of every series has a market. A crowd moves its books and trades; orders of the
    account fill against it and against each other. Trades settle after a while, markets end with
    their window and are resolved about a minute later. The same seed makes the same venue.

    Args:
        seed: Any text or number.
        cash: USD of the account at the start.
        faults: What goes wrong; nothing by default.
        habits: Times of the venue.
        converts: Whether it splits and merges.

    Attributes:
        contracts: Carries out splits and merges, ``None`` if it does not.
        faults: What goes wrong.
        account: The venue's own books of the account.
        markets: Markets that were asked for, by slug.
        user: The account's stream, once it is open.
        streams: The streams of markets that are not closed.
        placed: How often each order was sent, by id, and `sent` in all.
        may_fail: Whether questions may go unanswered: not before the first environment is open,
            which would not open then.
        on_step: Told of everything that reaches us.
    """

    name = "simulation"
    account_name = "sim account"
    is_live = False
    redeems = True

    def __init__(
        self,
        seed: int | str = 0,
        *,
        cash: Decimal = Decimal(1000),
        faults: Faults | None = None,
        habits: SimHabits | None = None,
        converts: bool = False,
    ) -> None:
        self.seed = seed
        self.faults = faults or Faults()
        self.account = SimAccount(cash)
        self.markets: dict[str, SimMarket] = {}
        self.user: SimUserStream | None = None
        self.streams: list[SimMarketStream] = []
        self.placed: Counter[str] = Counter()
        self.sent = 0
        self.may_fail = False
        self._misdirected = 0
        self.on_step: OnStep = _no_step
        self._habits = habits or SimHabits()
        self.contracts = (
            SimContracts(self.markets, self.account, self.faults, self._habits, seed)
            if converts
            else None
        )
        self._rng = random.Random(f"{seed}/venue")
        self._listed: dict[str, tuple[float, str]] = {}
        self._last_id = 0
        self._clock: Clock | None = None
        self._counters: Counters | None = None

    # ------------------------------------------------------------------ life

    async def open(self, clock: Clock, counters: Counters) -> None:
        """Take the clock.

        Raises:
            ConfigError: `clock` is not simulated time.
        """
        if isinstance(clock, SimWallClock):
            clock = clock.true  # ours may be wrong, the venue's is not
        if not isinstance(clock, VirtualClock):
            msg = (
                f"clock: SimVenue needs a VirtualClock, got {clock!r}; use run_strategy() or play()"
            )
            raise ConfigError(msg)
        self._clock, self._counters = clock, counters

    async def close(self) -> None:
        """End all trading."""
        for market in self.markets.values():
            market.is_open = False

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to happen: all is resolved, settled and told."""
        told = self.user is None or self.user.is_quiet
        converted = self.contracts is None or self.contracts.is_quiet
        return told and converted and all(market.is_quiet for market in self.markets.values())

    def forget(self, slug: str) -> None:
        """Drop a market in which nothing can happen any more, for very long runs."""
        market = self.markets.pop(slug)
        self.account.forget(market.market)
        for order_id in market.orders:
            self.placed.pop(order_id, None)

    def _parts(self) -> tuple[Clock, Counters]:
        if self._clock is None or self._counters is None:
            msg = "SimVenue: call open() first"
            raise RuntimeError(msg)
        return self._clock, self._counters

    async def _travel(self) -> None:
        await asyncio.sleep(self._rng.uniform(*self._habits.latency))

    async def _ask(self) -> None:
        """Send a question.

        Raises:
            ExchangeUnavailable, RateLimited: A fault.
        """
        await self._travel()
        if self.may_fail and self.faults.hit(Fault.QUERY_ERROR):
            if self.faults.source(Fault.QUERY_ERROR).random() < 0.2:
                msg = "simulated: too many requests"
                raise RateLimited(msg, 1.0)
            msg = "simulated: no answer"
            raise ExchangeUnavailable(msg)
        await self._travel()

    # ------------------------------------------------------------------ markets

    async def fetch_market(self, series: Series, window: Window) -> Market | None:
        """Return the market of `window`, ``None`` while it is not to be traded."""
        clock, counters = self._parts()
        await self._ask()
        market = make_market(series, window.start)
        since, reason = self._listing(market)
        if clock.time() < since:
            counters.add(Count.MARKET_WAITS, reason)
            return None
        known = self.markets.get(market.slug)
        if known is None:
            self.list_market(market)
        elif not known.is_open:
            counters.add(Count.MARKET_WAITS, "closed")
            return None
        return market

    def _listing(self, market: Market) -> tuple[float, str]:
        """Return since when a market can be traded, and why not before."""
        if market.slug not in self._listed:
            faults, start = self.faults, market.window.start
            since, reason = 0.0, ""
            if faults.hit(Fault.MARKET_MISSING):
                since, reason = float("inf"), "not_found"
            elif faults.hit(Fault.MARKET_LATE):
                since = start + faults.source(Fault.MARKET_LATE).uniform(0.1, 90.0)
                reason = "not_found"
            elif faults.hit(Fault.MARKET_UNHYDRATED):
                since = start + faults.source(Fault.MARKET_UNHYDRATED).uniform(-50.0, 30.0)
                reason = "hydrating"
            self._listed[market.slug] = (since, reason)
        return self._listed[market.slug]

    def list_market(self, market: Market) -> SimMarket:
        """Begin to trade a market."""
        clock, _ = self._parts()
        found = SimMarket(
            SimWorld(
                market,
                rng=random.Random(f"{self.seed}/{market.slug}"),
                clock=clock,
                account=self.account,
                faults=self.faults,
                habits=self._habits,
                send=self._send_user,
            )
        )
        self.markets[market.slug] = found
        found.start()
        return found

    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Return how `market` ended, ``None`` until it is resolved."""
        await self._ask()
        found = self.markets.get(market.slug)
        if found is None or found.winner is None:
            return None
        return Resolution(found.winner, self.name)

    # ------------------------------------------------------------------ streams

    def market_stream(self, market: Market, sink: MarketSink) -> SimMarketStream:
        """Return a stream of `market`."""
        display = self.markets[market.slug].display
        stream = SimMarketStream(
            display,
            sink,
            faults=self.faults,
            rng=random.Random(f"{self.seed}/{market.slug}/stream"),
            on_step=self._step,
        )
        display.streams.append(stream)
        self._misdirected += sum(old.misdirected for old in self.streams if old.closed)
        self.streams = [old for old in self.streams if not old.closed]
        self.streams.append(stream)
        return stream

    def user_stream(self, sink: UserSink) -> SimUserStream:
        """Return the account's stream."""
        _, counters = self._parts()
        self.user = SimUserStream(
            sink,
            faults=self.faults,
            rng=random.Random(f"{self.seed}/user"),
            counters=counters,
            on_step=self._step,
        )
        return self.user

    def _send_user(self, message: UserMessage) -> None:
        if self.user is not None:
            self.user.send(message)

    def _step(self, what: str) -> None:
        self.on_step(what)

    # ------------------------------------------------------------------ orders

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        """Give a request its id."""
        self._last_id += 1
        return PreparedOrder(f"o-{market.slug}-{self._last_id}", market, request)

    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        """Take one order."""
        self.placed[prepared.venue_id] += 1
        self.sent += 1
        faults = self.faults
        await self._travel()
        if faults.hit(Fault.PLACE_REFUSED):
            code = faults.source(Fault.PLACE_REFUSED).choice(REFUSALS)
            return PlaceAnswer(PlaceResult.REJECTED, code, f"simulated: {code}")
        if faults.hit(Fault.PLACE_VANISHED):
            await asyncio.sleep(self._habits.lost_after)
            return PlaceAnswer(PlaceResult.UNKNOWN, "", "simulated: no answer")
        if faults.hit(Fault.PLACE_RAISES):
            if faults.source(Fault.PLACE_RAISES).random() < 0.5:
                self.markets[prepared.market.slug].accept(prepared)
            raise InjectedError
        answer = self.markets[prepared.market.slug].accept(prepared)
        if faults.hit(Fault.PLACE_LOST):
            await asyncio.sleep(self._habits.lost_after)
            return PlaceAnswer(PlaceResult.UNKNOWN, "", "simulated: the answer is lost")
        if faults.hit(Fault.PLACE_LATE):
            await asyncio.sleep(faults.source(Fault.PLACE_LATE).choice((1.0, 20.0, 400.0)))
        await self._travel()
        accepted = answer.result in (PlaceResult.LIVE, PlaceResult.MATCHED)
        if accepted and faults.hit(Fault.PLACE_DELAYED):
            return PlaceAnswer(PlaceResult.DELAYED)
        return answer

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        """Take several orders, each with a fate of its own; one that raises spoils all answers."""
        asked = [self.place_order(one) for one in prepared]
        answers: list[PlaceAnswer] = []
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
            answers.append(answer)
        return answers

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Cancel orders.

        Raises:
            ExchangeUnavailable: A fault; the orders may be cancelled all the same.
        """
        faults = self.faults
        for venue_id in venue_ids:
            if (order := self.order(venue_id)) is not None:
                order.cancels += 1
        await self._travel()
        if faults.hit(Fault.CANCEL_ERROR):
            msg = "simulated: the cancel did not arrive"
            raise ExchangeUnavailable(msg)
        done, refused = set(), {}
        for venue_id in venue_ids:
            market = self._market_of(venue_id)
            if market is not None and faults.hit(Fault.CANCEL_RACE):
                whole = faults.source(Fault.CANCEL_RACE).random() < 0.5
                market.fill(venue_id, None if whole else Decimal("0.01"))
            if market is not None and market.cancel(venue_id):
                done.add(venue_id)
            else:
                refused[venue_id] = "already canceled or matched"
        if faults.hit(Fault.CANCEL_LOST):
            await asyncio.sleep(self._habits.lost_after)
            msg = "simulated: the answer to the cancel is lost"
            raise ExchangeUnavailable(msg)
        if faults.hit(Fault.CANCEL_LATE):
            await asyncio.sleep(faults.source(Fault.CANCEL_LATE).choice((1.0, 20.0, 400.0)))
        await self._travel()
        return CancelAnswer(frozenset(done), refused)

    # ------------------------------------------------------------------ questions

    async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
        """Return all open orders (of one market)."""
        await self._ask()
        return [
            found.order_report(order)
            for found in self._wanted(market)
            for order in found.orders.values()
            if order.is_open
        ]

    async def fetch_order(self, venue_id: str) -> OrderReport | None:
        """Return one order in whatever state, ``None`` if there is none."""
        await self._ask()
        market = self._market_of(venue_id)
        return None if market is None else market.order_report(market.orders[venue_id])

    async def fetch_trades(
        self, market: Market | None = None, after: int | None = None
    ) -> list[TradeReport]:
        """Return the account's trades (of one market, since epoch second `after`)."""
        await self._ask()
        return [
            found.trades.report(trade)
            for found in self._wanted(market)
            for trade in found.trades
            if after is None or trade.time_ms >= after * 1000
        ]

    async def fetch_balance(self) -> Decimal:
        """Return the account's cash in USD."""
        await self._ask()
        return self.account.cash

    # ------------------------------------------------------------------ for tests

    @property
    def misdirected(self) -> int:
        """Messages of market streams that reached a session and named another market."""
        return self._misdirected + sum(stream.misdirected for stream in self.streams)

    def tell(self, venue_id: str) -> None:
        """Note that the sender of an order has its answer, or gave it up."""
        order = self.order(venue_id)
        if order is not None:
            order.told = self._parts()[0].time()

    def order(self, venue_id: str) -> SimOrder | None:
        """Return an order as the venue has it."""
        market = self._market_of(venue_id)
        return None if market is None else market.orders[venue_id]

    def _wanted(self, market: Market | None) -> Iterator[SimMarket]:
        for slug, found in self.markets.items():
            if market is None or slug == market.slug:
                yield found

    def _market_of(self, venue_id: str) -> SimMarket | None:
        # An id names its market: a walk over all of them would slow down long runs.
        found = self.markets.get(venue_id[2:].rpartition("-")[0])
        return found if found is not None and venue_id in found.orders else None


def _no_step(_: str) -> None:
    return
