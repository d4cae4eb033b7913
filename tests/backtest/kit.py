"""A made-up recording, and what plays with it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from attrs import define, evolve, field
from typing_extensions import override

from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
)
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market, Outcome
from polyframe.model.order import OrderType
from polyframe.model.series import Series
from polyframe.paper.models import ConstantLatency, PaperModels
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed
from polyframe.strategy import Strategy

SERIES = Series.parse("btc-updown-5m")
START = 1_790_586_000
LENGTH = 300
MODELS = PaperModels(
    order_latency=ConstantLatency(250),
    feed_latency=ConstantLatency(0),
    taker_delay_ms=0,
    stale_ms=60_000,
    buys_in_shares=True,
)
"""What is worked out by hand is worked out with these."""


def make_entry(number: int = 0, winner: Outcome | None = Outcome.UP) -> TapeMarket:
    """Return the market of the `number`-th window from `START` on."""
    window = SERIES.window_at(START + number * LENGTH)
    slug = SERIES.slug(window)
    market = Market(
        slug=slug,
        series=SERIES,
        window=window,
        condition_id=f"0x{number:064x}",
        up_token=str(10_000 + 2 * number),
        down_token=str(10_001 + 2 * number),
        fees=FeeSchedule(rate=Decimal("0.07")),
    )
    return TapeMarket(market, winner)


def beside(entry: TapeMarket) -> TapeMarket:
    """Return a market of another series at the same time."""
    market, series = entry.market, Series.parse("eth-updown-5m")
    window = series.window_at(market.window.start)
    other = evolve(
        market,
        slug=series.slug(window),
        series=series,
        window=window,
        condition_id=f"{market.condition_id}e",
        up_token=f"{market.up_token}1",
        down_token=f"{market.down_token}2",
    )
    return evolve(entry, market=other)


def book(entry: TapeMarket, outcome: Outcome, bid: int, ask: int, size: int = 50) -> BookSnapshot:
    """Return a whole book of five levels a side; prices in cents."""
    market = entry.market
    bids = tuple(((bid - i) * 100, Decimal(size)) for i in range(5) if bid > i)
    asks = tuple(((ask + i) * 100, Decimal(size)) for i in range(5) if ask + i < 100)
    return BookSnapshot(market.condition_id, market.token(outcome), bids, asks)


def level(entry: TapeMarket, outcome: Outcome, price: int, size: int, *, is_bid: bool) -> BookDelta:
    """Return a change of one level; the price in cents."""
    change = LevelChange(entry.market.token(outcome), is_bid, price * 100, Decimal(size))
    return BookDelta(entry.market.condition_id, (change,))


def both(entry: TapeMarket, bid: int, ask: int, size: int = 50) -> list[MarketMessage]:
    """Return both books, Down mirroring Up; prices of Up in cents."""
    return [
        book(entry, Outcome.UP, bid, ask, size),
        book(entry, Outcome.DOWN, 100 - ask, 100 - bid, size),
    ]


@define(eq=False)
class Made:
    """A recording out of lists.

    Attributes:
        rows: Each market, and its rows.
    """

    rows: list[tuple[TapeMarket, list[TapeEvent]]] = field(factory=list)

    def add(self, entry: TapeMarket, *rows: tuple[float, list[MarketMessage]]) -> Made:
        """Add a market; rows come at seconds after the start of its window."""
        start_ms = entry.market.window.start * 1000
        events: list[TapeEvent] = [
            Timed(start_ms + round(after * 1000), 1, message)
            for after, messages in rows
            for message in messages
        ]
        self.rows.append((entry, events))
        return self

    def markets(self) -> Sequence[TapeMarket]:
        """Return the markets."""
        return [entry for entry, _ in self.rows]

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield the rows of one."""
        return iter(next(rows for entry, rows in self.rows if entry.market == market.market))

    @property
    def skipped(self) -> Mapping[str, int]:
        """Nothing was skipped."""
        return {}

    @property
    def doubtful(self) -> Mapping[str, int]:
        """Nothing is doubtful."""
        return {}


def wandering(seed: int, cycles: int = 3, rows: int = 120) -> Made:
    """Return markets whose price wanders at random times, with levels that change in between."""
    chance, made = random.Random(seed), Made()
    for number in range(cycles):
        entry = make_entry(number, chance.choice(list(Outcome)))
        bid, now = 50, -20.0
        steps: list[tuple[float, list[MarketMessage]]] = [(now, both(entry, bid, bid + 1))]
        for _ in range(rows):
            now += chance.uniform(0.02, 4.0)
            if chance.random() < 0.5:
                bid = min(max(bid + chance.choice((-2, -1, 1, 2)), 5), 94)
                steps.append((now, both(entry, bid, bid + 1, chance.randint(5, 80))))
            else:
                price, size = bid + 1 + chance.randint(1, 4), chance.randint(0, 60)
                outcome = chance.choice(list(Outcome))
                if outcome is Outcome.UP:
                    steps.append((now, [level(entry, outcome, price, size, is_bid=False)]))
        made.add(entry, *steps)
    return made


@define
class Eager(Strategy):
    """Buys and sells on its way, so that everything of a report has something to say."""

    every: int = 7
    seen: int = field(init=False, default=0)

    @override
    async def on_book(self, outcome: Outcome) -> None:
        """Buy now and then; leave a bid lying now and then; sell what can be sold."""
        self.seen += 1
        if self.seen % self.every or self.seconds_left() < 20:
            return
        price = self.session.price(Outcome.UP)
        if price.ask is None or price.bid is None:
            return
        trading = self.trading
        if self.seen % (2 * self.every):
            await trading.buy(
                Outcome.UP, price=price.ask, size=Decimal(10), order_type=OrderType.FAK
            )
        elif trading.position(Outcome.UP).settled >= 10:
            await trading.sell(
                Outcome.UP, price=price.bid, size=Decimal(10), order_type=OrderType.FAK
            )
        else:
            await trading.cancel_all()
            await trading.buy(Outcome.UP, price=price.bid, size=Decimal(10))
