"""What a back-test costs per row, beside loops that only read the same file.

::

    python benchmarks/replay.py [--rounds 3] [--rows 300000] [--markets 1000]

Two works, each interleaved with its baselines in one process; figures are medians over the rounds.

*One market* with many book changes, from a Parquet file, and a strategy that counts book changes and
places or cancels an order every 1,000 of them; beside it one that hears of best prices only
(*on_price*). Baselines: the *columns* (Parquet to lists to
``zip``, nothing else), the *reader* (the same file as events, nothing done with them), and the *book*
(events into two books, no clock). *kept* is each of the two back-tests once more, of the same file that was
read before and is in memory.

*Many markets* of 300 rows each, in memory as events, a cycle and a world each. Baseline: the *book* loop
over the same events. *kept* are the same markets as they stay in memory after a first run. Peak memory is told for one and for three times as many markets.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from attrs import define, field, frozen
from typing_extensions import override

from polyframe.backtest.run import run_backtest
from polyframe.model.book import Book
from polyframe.model.events import BookDelta, BookSnapshot, LevelChange, PriceChanged
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order
from polyframe.model.series import Series
from polyframe.recording.kept import KeptRecording
from polyframe.recording.parquet import ParquetRecording, write_market
from polyframe.recording.reader import Recording, load_optional
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed
from polyframe.strategy import Strategy

SERIES = Series.parse("btc-updown-15m")
START = 1_790_586_000
SIZES = [Decimal(size) for size in range(1, 60)]


@define
class Counting(Strategy):
    """Counts book changes, and places or cancels an order every so many of them."""

    every: int = 1_000
    seen: int = field(init=False, default=0)
    order: Order | None = field(init=False, default=None)

    @override
    async def on_book(self, outcome: Outcome) -> None:
        self.seen += 1
        if self.seen % self.every:
            return
        if self.order is None:
            price = Decimal("0.05")
            self.order = await self.trading.buy(Outcome.UP, price=price, size=Decimal(10))
        else:
            order, self.order = self.order, None
            await self.trading.cancel(order)


@define
class Prices(Strategy):
    """Counts changes of the best prices, of which there are few here."""

    seen: int = field(init=False, default=0)

    @override
    async def on_price(self, event: PriceChanged) -> None:
        self.seen += 1


def tape(number: int) -> TapeMarket:
    """Return the `number`-th market."""
    window = SERIES.window_at(START + number * 900)
    market = Market(
        slug=SERIES.slug(window),
        series=SERIES,
        window=window,
        condition_id=f"0x{number:064x}",
        up_token=f"7{number:076d}",
        down_token=f"4{number:076d}",
    )
    return TapeMarket(market, Outcome.UP)


def rows(entry: TapeMarket, count: int, seed: int = 5) -> Iterator[TapeEvent]:
    """Yield both books, then `count` changes of one level each over the window."""
    chance, market = random.Random(f"{seed}/{entry.market.slug}"), entry.market
    first = market.window.start * 1000
    ladder = range(1, 40)
    for token in (market.up_token, market.down_token):
        bids = tuple(((50 - i) * 100, SIZES[i]) for i in ladder)
        asks = tuple(((50 + i) * 100, SIZES[i]) for i in ladder)
        yield Timed(first, 1, BookSnapshot(market.condition_id, token, bids, asks, first))
    for index in range(count):
        at_ms = first + 1 + index * 899_000 // count
        is_bid, place = chance.random() < 0.5, chance.randint(1, 30)
        size = chance.choice(SIZES) if place == 1 or chance.random() < 0.8 else Decimal(0)
        token = market.up_token if chance.random() < 0.5 else market.down_token
        price = (50 - place if is_bid else 50 + place) * 100
        change = LevelChange(token, is_bid, price, size)
        yield Timed(at_ms, 1, BookDelta(market.condition_id, (change,), at_ms))


@frozen
class Listed:
    """A recording in memory; its markets share the rows of nobody."""

    entries: Sequence[TapeMarket]
    events_of: Mapping[str, Sequence[TapeEvent]]

    def markets(self) -> Sequence[TapeMarket]:
        return self.entries

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        return iter(self.events_of[market.market.slug])

    @property
    def skipped(self) -> Mapping[str, int]:
        return {}

    @property
    def doubtful(self) -> Mapping[str, int]:
        return {}


def columns_loop(path: Path) -> int:
    """Read the columns that a change has, words as the numbers that stand for them."""
    pa, parquet = (load_optional(name, "benchmark") for name in ("pyarrow", "pyarrow.parquet"))
    names = ["received", "time", "outcome", "side", "price_e4", "size_e6"]
    count = 0
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=65_536, columns=names):
            columns = []
            for name in names:
                column = batch.column(name)
                if pa.types.is_timestamp(column.type):
                    column = column.cast(pa.int64())
                elif pa.types.is_dictionary(column.type):
                    column = column.indices
                columns.append(column.to_pylist())
            for _ in zip(*columns, strict=True):
                count += 1
    return count


def reader_loop(recording: Recording) -> int:
    """Read the events of all markets."""
    return sum(1 for entry in recording.markets() for _ in recording.events(entry))


def book_loop(recording: Recording) -> int:
    """Read the events of all markets and keep their books."""
    count = 0
    for entry in recording.markets():
        books = {entry.market.token(outcome): Book() for outcome in Outcome}
        for event in recording.events(entry):
            count += 1
            if not isinstance(event, Timed):
                continue
            message = event.message
            if isinstance(message, BookDelta):
                for change in message.changes:
                    books[change.token].apply_change(change.is_bid, change.price, change.size)
            elif isinstance(message, BookSnapshot):
                books[message.token].apply_snapshot(message.bids, message.asks)
    return count


def in_memory(recording: Recording) -> KeptRecording:
    """Return a recording as it is after a first run."""
    kept = KeptRecording(recording)
    for entry in kept.markets():
        for _ in kept.stretches(entry):
            pass
    return kept


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def table(works: Mapping[str, Callable[[], object]], rounds: int, count: int) -> None:
    """Run all works in turn, and print what each took."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            taken[name].append(seconds(work))
    last = statistics.median(taken[list(works)[-1]])
    for name, times in taken.items():
        middle = statistics.median(times)
        print(
            f"  {name:<10} {middle:8.3f} s {count / middle / 1e3:8.0f} k rows/s "
            f"   back-test is {last / middle:6.2f} times as long"
        )


def peak_mib(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description="What a back-test costs per row.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--markets", type=int, default=1_000)
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    print(f"one market, {asked.rows} rows, an order or a cancel every 1,000:")
    with tempfile.TemporaryDirectory() as folder:
        entry = tape(0)
        write_market(folder, entry, rows(entry, asked.rows))
        (path,) = Path(folder).rglob("*.parquet")
        recording = ParquetRecording(folder)
        kept = in_memory(recording)
        table(
            {
                "columns": lambda: columns_loop(path),
                "reader": lambda: reader_loop(recording),
                "book": lambda: book_loop(recording),
                "on_price": lambda: run_backtest(Prices(), data=recording),
                "price kept": lambda: run_backtest(Prices(), data=kept),
                "kept": lambda: run_backtest(Counting(), data=kept),
                "back-test": lambda: run_backtest(Counting(), data=recording),
            },
            asked.rounds,
            asked.rows,
        )
    for many in (asked.markets, 3 * asked.markets):
        print(f"{many} markets of 300 rows, a world each:")
        entries = [tape(number) for number in range(many)]
        listed = Listed(entries, {e.market.slug: list(rows(e, 298)) for e in entries})
        kept = in_memory(listed)
        table(
            {
                "book": lambda data=listed: book_loop(data),  # type: ignore[misc]
                "kept": lambda data=kept: run_backtest(Counting(), data=data),  # type: ignore[misc]
                "back-test": lambda data=listed: run_backtest(Counting(), data=data),  # type: ignore[misc]
            },
            asked.rounds,
            300 * many,
        )
        if many == asked.markets or asked.rounds > 1:
            first = Listed(entries[: many // 10], listed.events_of)
            part = peak_mib(lambda data=first: run_backtest(Counting(), data=data))  # type: ignore[misc]
            print(f"  memory of a run of {many // 10} markets at its peak: {part:.1f} MiB")


if __name__ == "__main__":
    main()
