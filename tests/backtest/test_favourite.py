"""A strategy on the 18 recorded markets, against a second implementation that shares no code with it."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from attrs import define, field
from typing_extensions import override

from polyframe.backtest.run import run_backtest
from polyframe.model.book import Book
from polyframe.model.events import BookSnapshot
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType
from polyframe.recording.resolvedkit import ResolvedMarkets
from polyframe.recording.tape import Timed
from polyframe.report.orders import ReportedOrder
from polyframe.report.values import Report
from polyframe.strategy import Strategy
from tests.backtest.kit import MODELS

pytest.importorskip("pyarrow")
pytest.importorskip("resolvedkit")

LEAST, MOST, ROOM, CAP = Decimal("0.60"), Decimal("0.90"), Decimal("0.02"), Decimal("0.99")
SIZE = Decimal(100)


def is_placeholder(book: Book) -> bool:
    """Return whether nobody trades in a book: nothing is between 0.01 and 0.99."""
    bid, ask = book.bid or Decimal(0), book.ask or Decimal(1)
    return bid <= Decimal("0.01") and ask >= Decimal("0.99")


@define
class Favourite(Strategy):
    """Buys the favourite in the last two minutes of each cycle, once, and holds it."""

    done: bool = field(init=False, default=False)

    @override
    async def on_book(self, outcome: Outcome) -> None:
        """Look at every book in the last two minutes."""
        session = self.session
        if self.done or not 0 < self.seconds_left() <= 120 or not session.books_known:
            return
        books = {each: session.book(each) for each in Outcome}
        if any(is_placeholder(book) for book in books.values()):
            return
        asks = {each: book.ask or Decimal(1) for each, book in books.items()}
        favourite = max(Outcome, key=lambda each: asks[each])  # Up comes first, so it has a tie
        if LEAST <= asks[favourite] <= MOST:
            self.done = True
            limit = min(asks[favourite] + ROOM, CAP)
            await self.trading.buy(favourite, price=limit, size=SIZE, order_type=OrderType.FAK)


def second_implementation(recording: ResolvedMarkets) -> list[tuple[object, ...]]:
    """Do the same on the bare rows: plain dictionaries, no runtime, no exchange, no clock."""
    cent = Decimal("0.00001")
    trades: list[tuple[object, ...]] = []
    for entry in recording.markets():
        market, rows = entry.market, []
        for event in recording.events(entry):
            assert isinstance(event, Timed)
            assert isinstance(event.message, BookSnapshot)
            rows.append((event.received_ms, event.message))
        end = market.window.end * 1000
        now: dict[str, tuple[dict[Decimal, Decimal], dict[Decimal, Decimal], int]] = {}

        def take(
            row: tuple[int, BookSnapshot],
            now: dict[str, tuple[dict[Decimal, Decimal], dict[Decimal, Decimal], int]] = now,
        ) -> None:
            bids = {Decimal(p) / 10_000: s for p, s in row[1].bids}
            asks = {Decimal(p) / 10_000: s for p, s in row[1].asks}
            now[row[1].token] = (bids, asks, row[0])

        for index, row in enumerate(rows):
            take(row)
            is_last_of_instant = index + 1 == len(rows) or rows[index + 1][0] > row[0]
            if not is_last_of_instant or len(now) < 2 or not 0 < end - row[0] <= 120_000:
                continue
            tops = [
                (max(bids, default=Decimal(0)), min(asks, default=Decimal(1)))
                for bids, asks, _ in (now[market.up_token], now[market.down_token])
            ]
            if any(bid <= Decimal("0.01") and ask >= Decimal("0.99") for bid, ask in tops):
                continue
            is_up = tops[0][1] >= tops[1][1]
            ask = tops[0 if is_up else 1][1]
            if not Decimal("0.60") <= ask <= Decimal("0.90"):
                continue
            limit = min(ask + Decimal("0.02"), Decimal("0.99"))
            for later in rows[index + 1 :]:
                if later[0] <= row[0] + 250:
                    take(later)
            token = market.up_token if is_up else market.down_token
            bids, asks, changed = now[token]
            left, levels, fee = Decimal(100), [], Decimal(0)
            best_bid, best_ask = max(bids, default=Decimal(0)), min(asks, default=Decimal(1))
            stands = row[0] + 250 < end and row[0] + 250 - changed <= 60_000
            if not stands or (best_bid <= Decimal("0.01") and best_ask >= Decimal("0.99")):
                asks = {}
            for price in sorted(asks):
                size = min(asks[price], left)
                if price > limit or not size:
                    break
                left -= size
                levels.append((price, size))
                raw = size * Decimal("0.07") * price * (1 - price)
                fee += raw.quantize(cent, ROUND_HALF_UP) if raw >= cent else 0
            if levels:
                won = entry.winner is (Outcome.UP if is_up else Outcome.DOWN)
                paid = sum((s for _, s in levels), Decimal(0)) if won else Decimal(0)
                result = paid - sum((p * s for p, s in levels), Decimal(0)) - fee
                trades.append((market.slug, row[0], is_up, tuple(levels), fee, result))
            break
    return trades


def told(trade: ReportedOrder) -> tuple[object, ...]:
    """Return a trade of a report in the terms of the second implementation."""
    levels = tuple((level.price, level.size) for level in trade.levels)
    is_up = trade.request.outcome is Outcome.UP
    return (trade.slug, trade.sent_ms, is_up, levels, trade.fee, trade.result)


@pytest.fixture(scope="module")
def recording() -> ResolvedMarkets:
    """Return the sample, read once."""
    return ResolvedMarkets()


@pytest.fixture(scope="module")
def report(recording: ResolvedMarkets) -> Report:
    """Return what the framework makes of it."""
    return run_backtest(Favourite(), data=recording, models=MODELS)


def test_the_favourite_earns_the_same_cents_as_without_the_framework(
    recording: ResolvedMarkets, report: Report
) -> None:
    """Every trade and the total are what an independent program of sixty lines computes."""
    expected = second_implementation(recording)
    assert [told(trade) for trade in report.trades] == expected
    total = sum((Decimal(str(trade[-1])) for trade in expected), Decimal(0))
    assert report.profit == total


def test_the_figures_of_the_sample_are_these(report: Report) -> None:
    """They are the figures that the documents show, and the same on every machine."""
    total = report.total
    told = {name: getattr(total, name) for name in ("orders", "trades", "fills", "maker_volume")}
    assert told == {"orders": 5, "trades": 5, "fills": 9, "maker_volume": 0}
    assert [total.volume, total.fees] == [Decimal("386.8113"), Decimal("6.0593")]
    assert [total.exposure, total.seconds_in_market] == [Decimal("85.4476"), Decimal("595.952")]
    assert [total.slippage_mid, total.slippage_touch] == [Decimal("4.3113"), Decimal("1.8113")]
    assert [report.drawdown, total.marked_drawdown] == [0, Decimal("16.68125")]
    assert [report.hit_rate, report.strategies["Favourite"]] == [1, report.whole]
    assert [order.view and order.view.limit_size >= 100 for order in report.orders] == [True] * 5


def test_every_recorded_market_is_lived(recording: ResolvedMarkets, report: Report) -> None:
    """All 18 cycles are run, resolved as they were recorded."""
    assert [(c.slug, c.winner) for c in report.cycles] == [
        (entry.market.slug, entry.winner) for entry in recording.markets()
    ]
