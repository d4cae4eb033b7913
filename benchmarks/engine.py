"""What a command costs in the engine, what is written down of it, and what a snapshot costs.

::

    python benchmarks/engine.py                          # half a minute
    python benchmarks/engine.py --rounds 25 --folder .   # snapshots and ledger on another disk

Commands go to a cycle in which 0, 200 and 2,000 orders were placed before, every other one of them
filled and confirmed, the others open. Beside each group stands what has to be done in any case: for a
command a new value of an order in a dict (attrs `evolve`), for a row a bare insert by `sqlite3`, for a
snapshot `json.dumps`, a temporary file, `fsync` and a rename. All of them take turns, a figure is the
median over the rounds, and a ratio is that of two medians of one run. What only computes is measured
in time of the processor, what writes in time of the wall.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

from attrs import asdict, evolve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ledger import MARKET, bare, begun, changes, handing_over
from polyframe.model.events import OrderEventKind, OrderReport, PriceChanged, TradeReport
from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderRequest, PlaceResult, Side
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.trading.account import Account
from polyframe.trading.commands import (
    Applied,
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyTradeReport,
    CancelOrder,
    CycleCommand,
    Ignored,
    PlaceOrder,
    Query,
    Stale,
)
from polyframe.trading.engine import OrderEngine
from polyframe.trading.limits import RiskLimits
from polyframe.trading.risk import RiskGuard
from polyframe.trading.riskfacts import risk_facts
from polyframe.trading.snapshotfile import Bucket, Content, Owner, decode, encode, encode_sent
from polyframe.trading.snapshotstore import FolderStore
from polyframe.trading.state import CycleState

BEFORE = (0, 200, 2_000)
"""Orders of the cycle when the measured commands come."""
EACH = 50
"""Commands of a kind in a round."""
PRICE, SIZE = Decimal("0.41"), Decimal(10)
NOW_MS = 1_790_586_100_000
G = MARKET.generation
STRATEGY = "CheapSide"
OWNER = Owner("bench", "nobody", is_live=False)

Times = dict[str, list[float]]


# ---------------------------------------------------------------------------- commands


def venue_id(number: int) -> str:
    return f"0x{number:064x}"


def request(outcome: Outcome = Outcome.UP, side: Side = Side.BUY) -> OrderRequest:
    return OrderRequest(outcome, side, PRICE, SIZE)


def place(number: int, side: Side = Side.BUY) -> PlaceOrder:
    wanted = request(side=side)
    return PlaceOrder(
        G, f"o{number}", venue_id(number), STRATEGY, MARKET.up_token, wanted, NOW_MS + number
    )


def accepted(number: int) -> ApplyPlaceAnswer:
    return ApplyPlaceAnswer(G, f"o{number}", PlaceResult.LIVE, now_ms=NOW_MS + number)


def reported(number: int) -> ApplyOrderReport:
    report = OrderReport(
        order_id=venue_id(number),
        market=MARKET.condition_id,
        token=MARKET.up_token,
        kind=OrderEventKind.UPDATE,
        status="LIVE",
        side=Side.BUY,
        price=PRICE,
        original_size=SIZE,
        size_matched=Decimal(4),
    )
    return ApplyOrderReport(G, report, NOW_MS + number)


def traded(number: int, status: TradeStatus = TradeStatus.MATCHED) -> ApplyTradeReport:
    leg = TradeLeg(venue_id(number), MARKET.up_token, Side.BUY, PRICE, SIZE, True)
    report = TradeReport(
        trade_id=f"t{number}",
        market=MARKET.condition_id,
        token=MARKET.up_token,
        status=status,
        legs=(leg,),
    )
    return ApplyTradeReport(G, report, NOW_MS + number)


def cancelled(number: int) -> ApplyCancelAnswer:
    return ApplyCancelAnswer(G, f"o{number}", True, now_ms=NOW_MS + number)


def engine_with(orders: int) -> OrderEngine:
    """Return an engine whose cycle has so many orders, every other one filled and confirmed."""
    engine = OrderEngine(Account(Decimal(10**9)))
    engine.reset(MARKET)
    for number in range(orders):
        engine.submit(place(number))
        engine.submit(accepted(number))
        if number % 2 == 0:
            engine.submit(traded(number))
            engine.submit(traded(number, TradeStatus.CONFIRMED))
    return engine


# ---------------------------------------------------------------------------- measuring


def without_collector(act: Callable[[], object]) -> None:
    """Do `act` as `timeit` does: what was built before is not looked through meanwhile."""
    gc.collect()
    gc.disable()
    try:
        act()
    finally:
        gc.enable()


def clocked(
    act: Callable[[], object], times: int = 1, clock: Callable[[], float] = time.thread_time
) -> float:
    """Return the µs of one `act`, done so many times."""
    began = clock()
    for _ in range(times):
        act()
    return (clock() - began) / times * 1e6


def submitted(
    engine: OrderEngine, commands: Sequence[CycleCommand], reply: type[object] = Applied
) -> float:
    """Return the µs of a command; each of them gets a reply of the kind that was meant."""
    began = time.thread_time()
    replies = [engine.submit(command) for command in commands]
    took = time.thread_time() - began
    assert all(type(one) is reply for one in replies), replies[0]  # noqa: S101
    return took / len(commands) * 1e6


def evolved(engine: OrderEngine, numbers: Iterable[int]) -> float:
    """Return the µs of a new value of an order in a dict: a command cannot do less."""
    state = engine.state
    assert state is not None  # noqa: S101
    orders = dict(state.orders)
    picked = [orders[f"o{number}"] for number in numbers]
    began = time.thread_time()
    for order in picked:
        orders[order.client_id] = evolve(order, filled=SIZE, updated_ms=NOW_MS)
    return (time.thread_time() - began) / len(picked) * 1e6


def note(times: Times, name: str, took: float) -> None:
    times.setdefault(name, []).append(took)


def measure_commands(orders: int, times: Times) -> None:
    """Add one round of figures for a cycle that had so many orders before."""
    engine = engine_with(orders)
    state = engine.state
    assert state is not None  # noqa: S101
    life = range(orders, orders + EACH)
    gone = range(life.stop, life.stop + EACH)
    guard, quote = RiskGuard(RiskLimits.unlimited()), known_quote()
    guard.begin_cycle(state)

    def check() -> None:
        facts = risk_facts(state, STRATEGY, request(), quote, time=G + 100.0, network_time=100.0)
        guard.check(STRATEGY, request(), facts)

    note(times, "risk: facts and check", clocked(check, EACH))
    note(times, "place", submitted(engine, [place(number) for number in life]))
    note(times, BARE_COMMAND, evolved(engine, life))
    note(times, "accepting answer", submitted(engine, [accepted(n) for n in life]))
    note(times, "report of a match", submitted(engine, [reported(n) for n in life]))
    note(times, "fill", submitted(engine, [traded(n) for n in life]))
    note(times, "the same fill again", submitted(engine, [traded(n) for n in life], Ignored))
    confirmed = [traded(number, TradeStatus.CONFIRMED) for number in life]
    note(times, "fill confirmed", submitted(engine, confirmed))
    for number in gone:
        engine.submit(place(number))
    note(times, "cancel", submitted(engine, [CancelOrder(G, f"o{n}", NOW_MS) for n in gone]))
    note(times, "answer to a cancel", submitted(engine, [cancelled(n) for n in gone]))
    failing = range(gone.stop, gone.stop + EACH)
    for number in failing:
        engine.submit(place(number))
        engine.submit(traded(number))
    failed = [traded(number, TradeStatus.FAILED) for number in failing]
    note(times, "fill failed, taken back", submitted(engine, failed))
    selling = [place(number, Side.SELL) for number in range(failing.stop, failing.stop + EACH)]
    if orders:
        note(times, "place a sell", submitted(engine, selling))
    note(times, "query: everything as one value", submitted(engine, [Query(G)] * EACH))
    stale = [CancelOrder(G - 900, "o1", NOW_MS)] * EACH
    note(times, "command of another cycle", submitted(engine, stale, Stale))


BARE_COMMAND = "bare: evolve and a dict"


def known_quote() -> PriceChanged:
    return PriceChanged(
        slug=MARKET.slug,
        generation=G,
        outcome=Outcome.UP,
        bid=Decimal("0.40"),
        ask=Decimal("0.42"),
        bid_size=SIZE,
        ask_size=SIZE,
        known=True,
        timestamp_ms=NOW_MS,
        received=float(G),
    )


def bare_write(folder: Path, data: bytes) -> None:
    """Write a file so that it is there as a whole or not at all."""
    part = folder / "bare.part"
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / "bare.json")


def measure_snapshot(orders: int, folder: Path, times: Times) -> None:
    """Add one round of figures for a snapshot of a cycle with so many orders."""
    state = engine_with(orders).state
    assert state is not None  # noqa: S101
    bucket, image = Bucket.of(MARKET), state.image()
    content = Content(image, Decimal(1000), NOW_MS)
    data = encode(OWNER, content)
    order: Order = image.orders[0]
    plain = [asdict(one) for one in image.orders] + [asdict(one) for one in image.fills]
    store = FolderStore(folder / "snapshots")
    store.open()
    note(times, "image (the event loop)", clocked(state.image))
    note(times, "encode (a thread)", clocked(lambda: encode(OWNER, content)))
    key, wall = bucket.snapshot_key, time.perf_counter
    note(times, "write (a thread)", clocked(lambda: store.write(key, data), clock=wall))
    note(times, "bare: json.dumps", clocked(lambda: json.dumps(plain, default=str)))
    note(
        times,
        "bare: write, fsync, rename",
        clocked(lambda: bare_write(folder, data), clock=wall),
    )
    note(times, "read and check", clocked(lambda: decode(OWNER, bucket, data)))
    restored = clocked(lambda: CycleState.restored(image, Account(Decimal(10**9))))
    note(times, "restore", restored)
    sent = clocked(lambda: store.append(bucket.sent_key, encode_sent(order)), EACH)
    note(times, "line of a sent order (the event loop)", sent)
    with (folder / "bare.lines").open("ab", buffering=0) as file:
        note(times, "bare: a line to an open file", clocked(lambda: file.write(b"x" * 600), EACH))
    store.close()


def measure_rows(folder: Path, times: Times) -> None:
    """Add one round of figures for rows of the ledger (`benchmarks/ledger.py` has more)."""
    rows = changes(500)
    ledger = begun(folder / "trades.sqlite")
    handed, filed = handing_over(ledger, rows)
    ledger.close(timeout=60)
    note(times, "handed over (the event loop)", handed)
    note(times, "handed over and committed", filed)
    note(times, "bare: insert by sqlite3", bare(folder / "trades.sqlite", rows, at_once=True))


# ---------------------------------------------------------------------------- printing


def show_commands(figures: dict[int, Times]) -> None:
    print(f"a command, µs and times the bare one, with {', '.join(map(str, BEFORE))} orders before")
    for name in figures[BEFORE[-1]]:
        line = f"  {name:32}"
        for orders in BEFORE:
            times = figures[orders]
            if name not in times:
                line += " " * 18
                continue
            median = statistics.median(times[name])
            line += f"{median:9.1f} {median / statistics.median(times[BARE_COMMAND]):6.1f} x"
        print(line)


def show(title: str, times: Times, against: dict[str, str]) -> None:
    print(title)
    for name, values in times.items():
        median = statistics.median(values)
        line = f"  {name:38}{median:10.1f}"
        if name in against:
            line += f"{median / statistics.median(times[against[name]]):7.2f} x {against[name]}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    options = parser.parse_args()
    commands: dict[int, Times] = {orders: {} for orders in BEFORE}
    rows: Times = {}
    snapshots: Times = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for _ in range(options.rounds):
            for orders in BEFORE:
                without_collector(partial(measure_commands, orders, commands[orders]))
            without_collector(partial(measure_rows, Path(name), rows))
            without_collector(partial(measure_snapshot, 200, Path(name), snapshots))
    show_commands(commands)
    show(
        "a row of the ledger, µs",
        rows,
        dict.fromkeys(
            ("handed over (the event loop)", "handed over and committed"), "bare: insert by sqlite3"
        ),
    )
    show(
        "a snapshot of 200 orders, µs",
        snapshots,
        {
            "image (the event loop)": "bare: json.dumps",
            "encode (a thread)": "bare: json.dumps",
            "read and check": "bare: json.dumps",
            "restore": "bare: json.dumps",
            "write (a thread)": "bare: write, fsync, rename",
            "line of a sent order (the event loop)": "bare: a line to an open file",
        },
    )


if __name__ == "__main__":
    main()
