"""Four series and three strategies at once, over real sockets: nobody sees, pays or earns for another."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import define, field
from typing_extensions import override

from polyframe.environment import Environment
from polyframe.errors import (
    ExchangeError,
    OrderDenied,
    OrderOutcomeUnknown,
    OrderRejected,
    StaleCycleError,
)
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.model.events import CycleEndReason, OrderChanged, PriceChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.model.order import OrderStatus, OrderType, Side
from polyframe.model.trade import TradeStatus
from polyframe.scheduler import ScheduleSettings
from polyframe.strategy import Strategy
from polyframe.trader import Trader, TraderSettings
from polyframe.trading.ledger import CycleRecord, CycleStatus, Ledger
from polyframe.trading.limits import RiskLimits

pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")

from polyframe.venue import LocalVenue, SeveralSources, SyntheticSource, VenueAccount, VenueSettings
from polyframe.venue.values import SHARE, Print, Snapshot, SourceEvent, VenueMarket
from tests.drills.kit import DrillClock

SERIES = [f"{asset}-updown-5m" for asset in ("btc", "eth", "sol", "xrp")]
START = 1_893_456_000
STEP, TURN = 12.0, 0.01
"""Market seconds that pass with each turn, and the real seconds that a turn takes at least."""
CYCLES = 30
CASH = Decimal(200)
"""USD, so few that twelve strategies cannot all have what they want at once: the walls alone are 240."""
SIZES = {Decimal(10): "taker", Decimal(7): "bidder", Decimal(600): "bidder", Decimal(15): "turner"}
"""Whose an order is by its shares: so the venue's own record of it tells, too."""
TAKEN, BID, WALL, TURNED = SIZES
SLACK, LOW, HIGH = Decimal("0.05"), Decimal("0.05"), Decimal("0.95")
"""USD: how far a price may move while an order is on its way; a bid that nobody meets; the most."""
MICRO = Decimal("0.000001")
PATIENCE = 400.0
"""Real seconds, for a machine that is busy with something else."""


@define(eq=False)
class Diary:
    """What the strategies were told and did, by their own word.

    Attributes:
        owners: Strategy and market of each order, by the venue's id.
        worlds: The markets that each strategy of each series has lived in, in order.
        wrong: Whatever belonged to somebody else.
        refused: How often an order was refused, by the reason.
    """

    owners: dict[str, tuple[str, str]] = field(factory=dict)
    worlds: dict[tuple[str, str], list[str]] = field(factory=lambda: defaultdict(list))
    wrong: list[str] = field(factory=list)
    refused: Counter[str] = field(factory=Counter)


class Plain:
    """Markets of one series with a new book every 20 seconds, and each time a trade that meets it."""

    def __init__(self, series: str) -> None:
        self._names = SyntheticSource(series, seed=4, first=START)
        self.skipped: Mapping[str, int] = {}

    def market(self, slug: str) -> VenueMarket | None:
        return self._names.market(slug)

    def next_market(self, start: float) -> VenueMarket | None:
        return self._names.next_market(start)

    def winner(self, market: VenueMarket) -> Outcome:
        return self._names.winner(market)

    def events(self, market: VenueMarket, since_ms: int) -> Iterator[SourceEvent]:
        chance = random.Random(market.slug)
        middle = 5_000
        for at in range(market.start * 1000 - 30_000, market.end * 1000, 20_000):
            middle = min(max(middle + chance.randrange(-300, 301, 100), 3_000), 7_000)
            is_buy = chance.random() < 0.5
            if at + 20_000 <= since_ms:
                continue
            bids = {middle - 100 * step: 400 * SHARE for step in range(1, 4)}
            asks = {middle + 100 * step: 400 * SHARE for step in range(1, 4)}
            yield Snapshot(at, bids, asks)
            if at > since_ms:
                best = middle + 100 if is_buy else middle - 100
                yield Print(at, is_buy, best, 600 * SHARE)


@define
class Witness(Strategy):
    """Trades, and writes down what it sees that is not of its own world."""

    touched: set[str] = field(init=False, factory=set)

    async def on_cycle_start(self) -> None:
        self.check("a used strategy object", not self.touched)
        self.check("orders at the start", not self.trading.orders())
        self.check("holdings at the start", not any(self.held(each) for each in Outcome))
        self.diary.worlds[self.name, str(self.market.series)].append(self.market.slug)

    async def on_price(self, event: PriceChanged) -> None:
        self.look("a price", event.slug)

    async def on_order(self, event: OrderChanged) -> None:
        self.look("an order", event.order.slug, event.order.strategy)

    async def on_trade(self, event: TradeChanged) -> None:
        self.look("a trade", event.fill.slug, event.fill.strategy)

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        self.check("markets", self.touched <= {self.market.slug})
        # On a busy machine the market may be closed by now, which cancels them, too.
        with suppress(ExchangeError, StaleCycleError):
            await self.trading.cancel_all()

    @property
    def diary(self) -> Diary:
        return self.env.get(Diary)

    def held(self, outcome: Outcome) -> Decimal:
        return self.trading.position(outcome).size

    def check(self, what: str, is_right: bool) -> None:
        if not is_right:
            self.diary.wrong.append(f"{self.name} in {self.market.slug}: {what}")

    def look(self, what: str, slug: str, owner: str | None = None) -> None:
        """Note what one event and the whole of what can be read now belong to."""
        self.touched.add(slug)
        self.check(f"{what} of {slug}", slug == self.market.slug)
        self.check(f"{what} of {owner}", owner in {None, self.name})
        for order in self.trading.orders():
            self.check(f"order of {order.strategy}", order.strategy == self.name)
            self.check(f"order in {order.slug}", order.slug == self.market.slug)
        for fill in self.trading.fills():
            self.check(f"fill of {fill.strategy}", fill.strategy == self.name)

    async def send(
        self, outcome: Outcome, side: Side, price: Decimal, size: Decimal, kind: OrderType
    ) -> bool:
        """Place an order; returns whether it was taken."""
        place = self.trading.buy if side is Side.BUY else self.trading.sell
        try:
            order = await place(outcome, price=price, size=size, order_type=kind)
        except OrderDenied as error:
            self.diary.refused[error.rule] += 1
            return False
        except OrderRejected as error:
            self.diary.refused[f"venue:{error.code}"] += 1
            return False
        except OrderOutcomeUnknown:
            return True
        self.diary.owners[order.venue_id] = self.name, self.market.slug
        return True


@define
class Taker(Witness):
    """Takes what is offered of Up, once in a cycle."""

    is_done: bool = field(init=False, default=False)

    @override
    async def on_price(self, event: PriceChanged) -> None:
        await Witness.on_price(self, event)
        if self.is_done or event.outcome is Outcome.DOWN or event.ask is None:
            return
        limit = min(event.ask + SLACK, HIGH)
        self.is_done = await self.send(Outcome.UP, Side.BUY, limit, TAKEN, OrderType.FAK)


@define
class Bidder(Witness):
    """Rests at the best bids; at first it holds most of the cash with bids that nobody meets."""

    bids: set[Outcome] = field(init=False, factory=set)

    async def run(self) -> None:
        for outcome in Outcome:
            await self.send(outcome, Side.BUY, LOW, WALL, OrderType.GTC)
        await self.clock.sleep_until(self.market.window.start + 120)
        with suppress(ExchangeError, StaleCycleError):
            await self.trading.cancel_all()

    @override
    async def on_price(self, event: PriceChanged) -> None:
        await Witness.on_price(self, event)
        if event.outcome in self.bids or event.bid is None or self.seconds_left() < 30:
            return
        if LOW < event.bid < HIGH and await self.send(
            event.outcome, Side.BUY, event.bid, BID, OrderType.GTC
        ):
            self.bids.add(event.outcome)


@define
class Turner(Witness):
    """Buys Down and sells it as soon as it may."""

    bought: bool = field(init=False, default=False)

    @override
    async def on_price(self, event: PriceChanged) -> None:
        await Witness.on_price(self, event)
        if not self.bought and event.outcome is Outcome.DOWN and event.ask is not None:
            limit = min(event.ask + SLACK, HIGH)
            self.bought = await self.send(Outcome.DOWN, Side.BUY, limit, TURNED, OrderType.FAK)

    @override
    async def on_trade(self, event: TradeChanged) -> None:
        await Witness.on_trade(self, event)
        bid = self.session.price(Outcome.DOWN).bid
        if event.fill.status is not TradeStatus.MINED or event.fill.side is Side.SELL:
            return
        if bid is not None and self.trading.sellable(Outcome.DOWN) >= TURNED:
            limit = max(bid - SLACK, Decimal(1) - HIGH)
            await self.send(Outcome.DOWN, Side.SELL, limit, TURNED, OrderType.FAK)


STRATEGIES = {"taker": Taker(), "bidder": Bidder(), "turner": Turner()}


@define(eq=False)
class Played:
    """The run, and the venue's own word about it.

    Attributes:
        owners: Strategy and market of each order, by the venue's record of it.
        fills: Shares, and USD paid or received, by trade and order.
        cash: USD there, and USD here, in the end.
    """

    diary: Diary
    records: list[CycleRecord]
    owners: dict[str, tuple[str, str]]
    fills: dict[tuple[str, str], tuple[Decimal, Decimal]]
    cash: tuple[Decimal, Decimal]
    path: Path


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Let all of them trade once; the tests look at it."""
    return asyncio.run(play(tmp_path_factory.mktemp("four") / "ledger.sqlite"))


async def play(path: Path) -> Played:
    """Trade, wait until all is settled, and gather what both sides say."""
    clock = DrillClock(START - 60)
    source = SeveralSources([Plain(series) for series in SERIES])
    settings = VenueSettings(skew=86_400, resolve_after=30, quiet=60)
    account = VenueAccount.random(CASH)
    diary = Diary()
    async with (
        asyncio.timeout(PATIENCE),
        LocalVenue(source, clock=clock, settings=settings, account=account) as venue,
    ):
        exchange = PolymarketExchange.local(venue.url, account)
        async with Environment(
            exchange, clock=clock, ledger=Ledger(path), risk=RiskLimits.unlimited()
        ) as env:
            env.provide(diary)
            # A minute ahead would be a moment.
            trader = Trader(env, TraderSettings(schedule=ScheduleSettings(prepare_ahead=120)))
            for name, strategy in STRATEGIES.items():
                trader.add(strategy, on=SERIES, name=name, on_error="raise")
            pacing = asyncio.create_task(pace(clock))
            await trader.run(cycles=CYCLES)
            await env.settlement.wait_settled()
            while not _are_final(env):
                await clock.sleep(2)
            here, records = env.account.cash, list(env.ledger)
            pacing.cancel()
            await asyncio.wait({pacing})
        assert env.account.reserved == 0
        fills: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
        for trade in venue._blotter.trades_of(account):
            assert trade.status is TradeStatus.CONFIRMED
            if trade.taker.account is account:
                paid = sum((move.cash for move in trade.moves if move.is_taker), Decimal(0))
                fills[trade.trade_id, trade.taker.order_id] = Decimal(trade.size).scaleb(-6), paid
            for leg in trade.makers:
                if leg.party.account is account:
                    size = Decimal(leg.size).scaleb(-6)
                    value = size * Decimal(leg.price).scaleb(-4)
                    value = -value if leg.side is Side.BUY else value
                    fills[trade.trade_id, leg.party.order_id] = size, value
        owners = {
            order.order_id: (SIZES[Decimal(order.size).scaleb(-6)], order.market.slug)
            for order in venue._blotter.orders.values()
            if order.account is account
        }
        return Played(diary, records, owners, fills, (account.cash, here), path)


async def pace(clock: DrillClock) -> None:
    """Let market time pass with the turns of the event loop: on a busy machine everybody is slower."""
    while True:
        await asyncio.sleep(TURN)
        clock.move_to(clock.time() + STEP)


def _are_final(env: Environment) -> bool:
    states = [env.settlement.state(record.slug) for record in env.ledger]
    return all(
        fill.status.is_final
        for state in states
        if state is not None
        for fill in state.fills.values()
    )


def test_each_strategy_sees_only_its_own_worlds(played: Played) -> None:
    """Every event, order, fill and object of a strategy is of its own market and its own name."""
    assert [] == played.diary.wrong
    assert {(name, series) for name in STRATEGIES for series in SERIES} == set(played.diary.worlds)
    by_series: dict[str, list[str]] = defaultdict(list)
    for record in played.records:
        by_series[record.series].append(record.slug)
    for (_, series), slugs in played.diary.worlds.items():
        assert CYCLES == len(set(slugs)) == len(slugs)
        # The three of a series live through the same markets.
        assert slugs == by_series[series]


def test_the_ledger_knows_whose_each_fill_is(played: Played) -> None:
    """Each order and fill of the venue is there once, under the strategy that has sent it."""
    # What the strategies were answered agrees with the venue's records.
    assert played.diary.owners.items() <= played.owners.items()
    told: dict[tuple[str, str], Decimal] = {}
    owners: dict[str, tuple[str, str]] = {}
    traded: Counter[str] = Counter()
    with Ledger.open(played.path) as ledger:
        for record in played.records:
            orders = {order.client_id: order for order in ledger.orders(record.slug)}
            for order in orders.values():
                assert order.slug == record.slug
                owners[order.venue_id] = order.strategy, order.slug
                # Of one that never came to exist, nobody may have heard before its market was over.
                missing = {OrderStatus.REJECTED, OrderStatus.EXPIRED}
                assert order.venue_id in played.owners or order.status in missing
            for fill in ledger.fills(record.slug):
                told[fill.trade_id, orders[fill.client_id].venue_id] = fill.size
                assert fill.strategy == orders[fill.client_id].strategy
                traded[fill.strategy] += 1
    assert played.owners.items() <= owners.items()
    assert {key: size for key, (size, _) in played.fills.items()} == told
    assert STRATEGIES.keys() == traded.keys()
    assert min(traded.values()) >= CYCLES, traded


def test_the_cash_is_shared_to_the_last_micro_unit(played: Played) -> None:
    """What each strategy paid and earned by the ledger is what the venue says, and adds up to its cash."""
    there, here = played.cash
    assert there == here
    by_ledger: dict[str, Decimal] = defaultdict(Decimal)
    with Ledger.open(played.path) as ledger:
        for record in played.records:
            assert record.status is CycleStatus.RESOLVED
            for fill in ledger.fills(record.slug):
                sign = -1 if fill.side is Side.BUY else 1
                by_ledger[fill.strategy] += sign * fill.price * fill.size - fill.fee
    by_venue: dict[str, Decimal] = defaultdict(Decimal)
    for (_, venue_id), (_, usd) in played.fills.items():
        by_venue[played.owners[venue_id][0]] += usd
    assert {name: usd.quantize(MICRO) for name, usd in by_venue.items()} == {
        name: usd.quantize(MICRO) for name, usd in by_ledger.items()
    }
    payouts = sum(record.payout for record in played.records)
    assert (CASH + sum(by_ledger.values()) + payouts).quantize(MICRO) == there.quantize(MICRO)
    profits = [record.profit for record in played.records if record.profit is not None]
    assert there == CASH + sum(profits)


def test_what_one_has_reserved_no_other_can_spend(played: Played) -> None:
    """Short of cash, orders are denied here; the venue never sees one that the account cannot pay."""
    assert played.diary.refused["cash"] > 0, played.diary.refused
    assert 0 == played.diary.refused["venue:not_enough_balance"]
