"""What the ledger costs: on the event loop's side, in the writer's thread, and in delay of the loop.

::

    python benchmarks/ledger.py [--rounds 9] [--rows 2000] [--folder .]

Beside it stand what has to be paid in any case: a bare insert of the same columns into the same table
by `sqlite3` alone, all rows in one transaction, and a transaction for each row, which is what writing
at once on the event loop would cost. Figures are medians over the rounds; the machine's disk decides
the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from polyframe.clock import WallClock
from polyframe.counters import Counters
from polyframe.model.events import OrderChanged
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.series import Series
from polyframe.trading.ledger import Ledger
from polyframe.trading.ledger_rows import OrderRow

SERIES = Series.parse("btc-updown-15m")
WINDOW = SERIES.window_at(1_790_586_000)
MARKET = Market(
    slug=SERIES.slug(WINDOW),
    series=SERIES,
    window=WINDOW,
    condition_id="0x" + "ab" * 32,
    up_token="7" * 77,
    down_token="4" * 77,
)

EACH_MS = 5
"""Rows a millisecond while the event loop's delay is measured: far beyond any trading."""


def changes(count: int) -> list[list[OrderChanged]]:
    """Return changes of as many orders, one by one as the engine hands them over."""
    return [
        [
            OrderChanged(
                Order(
                    client_id=f"{MARKET.slug}-{number}",
                    venue_id=f"0x{number:064x}",
                    generation=MARKET.generation,
                    slug=MARKET.slug,
                    token=MARKET.up_token,
                    strategy="CheapSide",
                    outcome=Outcome.UP,
                    side=Side.BUY,
                    price=Decimal("0.41"),
                    size=Decimal("10.00"),
                    status=OrderStatus.PARTIALLY_FILLED,
                    filled=Decimal("4.000000"),
                    matched=Decimal("4.000000"),
                    average_price=Decimal("0.41"),
                    fees=Decimal("0.06776"),
                    created_ms=1_790_586_000_000,
                    updated_ms=1_790_586_000_500,
                ),
                OrderStatus.LIVE,
                number,
            )
        ]
        for number in range(count)
    ]


def begun(path: Path) -> Ledger:
    """Return a ledger that writes to `path`."""
    ledger = Ledger(path)
    ledger.begin(clock=WallClock(), counters=Counters(), exchange="bench", is_live=False)
    return ledger


def handing_over(ledger: Ledger, rows: list[list[OrderChanged]]) -> tuple[float, float]:
    """Return µs per row until the caller may go on, and until the row is in the file."""
    started = time.perf_counter()
    for row in rows:
        ledger.changed(MARKET, row)
    handed = time.perf_counter()
    assert ledger.flush(timeout=60)  # noqa: S101
    done = time.perf_counter()
    return (handed - started) / len(rows) * 1e6, (done - started) / len(rows) * 1e6


def bare(path: Path, rows: list[list[OrderChanged]], *, at_once: bool) -> float:
    """Return µs per row of inserting ready columns, in one transaction or in one for each."""
    columns = OrderRow.columns
    insert = (
        f"INSERT INTO order_changes (run, {', '.join(columns)}) "  # noqa: S608 - our own names
        f"VALUES (1{', ?' * len(columns)})"
    )
    values = [OrderRow(0, MARKET, change, False).values() for (change,) in rows]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        started = time.perf_counter()
        if at_once:
            connection.execute("BEGIN")
            connection.executemany(insert, values)
            connection.execute("COMMIT")
        else:
            for row in values:
                connection.execute(insert, row)
        return (time.perf_counter() - started) / len(rows) * 1e6


async def delays(seconds: float, act: Callable[[int], None]) -> list[float]:
    """Return by how many ms a timer of 1 ms comes late, `act` being called each time."""
    late: list[float] = []
    end = time.perf_counter() + seconds
    number = 0
    while (now := time.perf_counter()) < end:
        act(number)
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - now - 0.001) * 1e3)
        number += 1
    return sorted(late)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    args = parser.parse_args()
    rows = changes(args.rows)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "trades.sqlite"
        ledger, memory = begun(path), Ledger()
        nothing: list[float] = []
        handed: list[float] = []
        filed: list[float] = []
        together: list[float] = []
        singly: list[float] = []
        for _ in range(args.rounds):
            started = time.perf_counter()
            for row in rows:
                memory.changed(MARKET, row)
            nothing.append((time.perf_counter() - started) / len(rows) * 1e6)
            first, second = handing_over(ledger, rows)
            handed.append(first)
            filed.append(second)
            together.append(bare(path, rows, at_once=True))
            singly.append(bare(path, rows[:200], at_once=False))

        def burst(number: int) -> None:
            for row in rows[number % 100 :][:EACH_MS]:
                ledger.changed(MARKET, row)

        idle = asyncio.run(delays(3, lambda _: None))
        busy = asyncio.run(delays(3, burst))
        ledger.close(timeout=60)
    print(f"{args.rows} order rows, µs a row, median of {args.rounds} rounds")
    print(f"  a ledger without a file                {statistics.median(nothing):8.2f}")
    print(f"  handed to the writer (the event loop)  {statistics.median(handed):8.2f}")
    print(f"  handed over and committed              {statistics.median(filed):8.2f}")
    print(f"  bare sqlite3, one transaction          {statistics.median(together):8.2f}")
    print(f"  bare sqlite3, a transaction a row      {statistics.median(singly):8.2f}")
    print("lateness of a timer on the event loop in ms: median, 99 %, worst")
    for name, late in (("nothing is written", idle), (f"{EACH_MS} rows each ms", busy)):
        print(
            f"  {name:26} {late[len(late) // 2]:6.2f} {late[-len(late) // 100]:6.2f} {late[-1]:6.2f}"
        )


if __name__ == "__main__":
    main()
