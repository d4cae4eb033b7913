"""Four series and three strategies at once, over real sockets: nobody sees, pays or earns for another."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest
from attrs import define, field
from typing_extensions import override

from polyframe.clock import ScaledClock
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
from polyframe.strategy import Strategy
from polyframe.trader import Trader
from polyframe.trading.ledger import CycleRecord, CycleStatus, Ledger

pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")

from polyframe.venue import LocalVenue, SeveralSources, SyntheticSource, VenueAccount, VenueSettings
from polyframe.venue.values import SourceEvent, VenueMarket

SERIES = [f"{asset}-updown-5m" for asset in ("btc", "eth", "sol", "xrp")]
START = 1_893_456_000
SPEED = 900.0
"""A cycle of five minutes in a third of a second."""
CYCLES = 30
CASH = Decimal(200)
"""USD, so few that twelve strategies cannot all have what they want."""
SIZES = {"taker": Decimal(10), "bidder": Decimal(7), "turner": Decimal(20)}
"""Shares of every order of a strategy: the venue's own record of an order tells whose it is."""
SLACK, HIGH = Decimal("0.05"), Decimal("0.95")
"""USD that the price may move while an order is on its way, and the most that is bid."""
MICRO = Decimal("0.000001")
FEW = 40
"""One in so many events of the source is used: the test is about who gets what, not about how much."""
PATIENCE = 120.0
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


class Sparse(SyntheticSource):
    """The same markets with fewer events."""

    @override
    def events(self, market: VenueMarket, since_ms: int) -> Iterator[SourceEvent]:
        return islice(super().events(market, since_ms), 0, None, FEW)


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
        account = self.env.account
        self.check(f"{account.available} USD to spend", account.available >= 0)

    async def send(self, outcome: Outcome, side: Side, price: Decimal, kind: OrderType) -> bool:
        """Place an order; returns whether it was taken."""
        place = self.trading.buy if side is Side.BUY else self.trading.sell
        try:
            order = await place(outcome, price=price, size=SIZES[self.name], order_type=kind)
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
        self.is_done = await self.send(Outcome.UP, Side.BUY, limit, OrderType.FAK)


@define
class Bidder(Witness):
    """Rests at the best bid of both outcomes from the first price on."""

    bids: set[Outcome] = field(init=False, factory=set)

    @override
    async def on_price(self, event: PriceChanged) -> None:
        await Witness.on_price(self, event)
        if event.outcome in self.bids or event.bid is None or self.seconds_left() < 60:
            return
        self.bids.add(event.outcome)
        await self.send(event.outcome, Side.BUY, event.bid, OrderType.GTC)


@define
class Turner(Witness):
    """Buys Down and sells it as soon as it may."""

    bought: bool = field(init=False, default=False)

    @override
    async def on_price(self, event: PriceChanged) -> None:
        await Witness.on_price(self, event)
        if not self.bought and event.outcome is Outcome.DOWN and event.ask is not None:
            limit = min(event.ask + SLACK, HIGH)
            self.bought = await self.send(Outcome.DOWN, Side.BUY, limit, OrderType.FAK)

    @override
    async def on_trade(self, event: TradeChanged) -> None:
        await Witness.on_trade(self, event)
        bid = self.session.price(Outcome.DOWN).bid
        if event.fill.status is not TradeStatus.MINED or event.fill.side is Side.SELL:
            return
        if bid is not None and self.trading.sellable(Outcome.DOWN) >= SIZES[self.name]:
            limit = max(bid - SLACK, Decimal(1) - HIGH)
            await self.send(Outcome.DOWN, Side.SELL, limit, OrderType.FAK)


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
    clock = ScaledClock(SPEED, start=START - 60)
    source = SeveralSources([Sparse(series, seed=4, first=START) for series in SERIES])
    settings = VenueSettings(skew=86_400, resolve_after=30, quiet=60)
    account = VenueAccount.random(CASH)
    diary = Diary()
    async with (
        asyncio.timeout(PATIENCE),
        LocalVenue(source, clock=clock, settings=settings, account=account) as venue,
    ):
        exchange = PolymarketExchange.local(venue.url, account)
        async with Environment(exchange, clock=clock, ledger=Ledger(path)) as env:
            env.provide(diary)
            trader = Trader(env)
            for name, strategy in STRATEGIES.items():
                trader.add(strategy, on=SERIES, name=name, on_error="raise")
            await trader.run(cycles=CYCLES)
            await env.settlement.wait_settled()
            while not _are_final(env):
                await clock.sleep(2)
            here, records = env.account.cash, list(env.ledger)
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
        name_of = {int(size * 1_000_000): name for name, size in SIZES.items()}
        owners = {
            order.order_id: (name_of[order.size], order.market.slug)
            for order in venue._blotter.orders.values()
            if order.account is account
        }
        return Played(diary, records, owners, fills, (account.cash, here), path)


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
    print(played.diary.refused, played.cash, Counter(n for n, _ in played.owners.values()))
    assert played.diary.refused["cash"] > 0, played.diary.refused
    assert 0 == played.diary.refused["venue:not_enough_balance"]
