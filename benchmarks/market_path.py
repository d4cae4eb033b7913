"""What one frame of the market channel costs, from bytes to the strategy's wake-up.

::

    python benchmarks/market_path.py [--rounds 15] [--frames 20000]

All candidates run interleaved in one process; the figures are ratios, the median over the rounds.
The full path is the production one: tolerant decoder, gate with generation and counters, both books,
the check against the venue's own top of book, merged wake-up of a strategy run, one flush in 20
frames. Baselines on the same frames: a bare typed msgspec decode of every field, `json.loads`, and a
naive client (json, Decimal, a sorted dict for the book, one frozen attrs event per change).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import msgspec
from sortedcontainers import SortedDict

from polyframe.clock import WallClock
from polyframe.counters import Counters
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.model.events import MarketTraded, OrderChanged, TradeChanged
from polyframe.model.market import Market, Outcome
from polyframe.model.series import Series
from polyframe.session import ExchangeSession
from polyframe.trading.reconcile import ReconcileReport

SERIES = Series.parse("btc-updown-15m")
WINDOW = SERIES.window_at(1_790_586_000)
UP, DOWN = "7" * 77, "4" * 77
MARKET = Market(
    slug=SERIES.slug(WINDOW),
    series=SERIES,
    window=WINDOW,
    condition_id="0x" + "ab" * 32,
    up_token=UP,
    down_token=DOWN,
)


# -- frames: the mix that a live pair of markets was seen to send, about 600 bytes a price_change ----


def frames(count: int, seed: int = 5) -> list[bytes]:
    """Return `count` frames that belong together: a mirrored book that drifts."""
    rng = random.Random(seed)
    bids: dict[int, int] = dict.fromkeys(range(1, 50), 100)
    asks: dict[int, int] = dict.fromkeys(range(50, 100), 100)
    made: list[bytes] = [_book(UP, bids, asks), _book(DOWN, _mirror(asks), _mirror(bids))]
    while len(made) < count:
        draw = rng.random()
        if draw < 0.94:
            made.append(_change(rng, bids, asks))
        elif draw < 0.97:
            made.append(
                _dump(
                    market=MARKET.condition_id,
                    asset_id=UP,
                    price=_price(max(bids)),
                    size=f"{rng.randint(1, 99)}.5",
                    side="BUY",
                    fee_rate_bps="0",
                    timestamp="1790586000123",
                    transaction_hash="0x" + "cd" * 32,
                    event_type="last_trade_price",
                )
            )
        elif draw < 0.99:
            made.append(
                _dump(
                    market=MARKET.condition_id,
                    asset_id=UP,
                    best_bid=_price(max(bids)),
                    best_ask=_price(min(asks)),
                    spread="0.01",
                    timestamp="1790586000123",
                    event_type="best_bid_ask",
                )
            )
        else:
            made.append(_book(UP, bids, asks))
    return made


def _mirror(levels: dict[int, int]) -> dict[int, int]:
    return {100 - tick: size for tick, size in levels.items()}


def _price(tick: int) -> str:
    return f"{tick / 100:.2f}"


def _dump(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _levels(levels: dict[int, int], *, descending: bool) -> list[dict[str, str]]:
    return [
        {"price": _price(tick), "size": str(levels[tick])}
        for tick in sorted(levels, reverse=descending)
    ]


def _book(token: str, bids: dict[int, int], asks: dict[int, int]) -> bytes:
    return _dump(
        market=MARKET.condition_id,
        asset_id=token,
        timestamp="1790586000123",
        hash="ef" * 20,
        bids=_levels(bids, descending=False),
        asks=_levels(asks, descending=True),
        tick_size="0.01",
        last_trade_price="0.50",
        event_type="book",
    )


def _change(rng: random.Random, bids: dict[int, int], asks: dict[int, int]) -> bytes:
    is_bid = rng.random() < 0.5
    best_bid, best_ask = max(bids), min(asks)
    tick = (
        rng.randint(max(best_bid - 15, 1), min(best_ask - 1, 98))
        if is_bid
        else rng.randint(max(best_bid + 1, 2), min(best_ask + 15, 99))
    )
    levels = bids if is_bid else asks
    size = 0 if tick in levels and len(levels) > 5 and rng.random() < 0.3 else rng.randint(1, 9999)
    if size:
        levels[tick] = size
    else:
        del levels[tick]
    best_bid, best_ask = max(bids), min(asks)
    return _dump(
        market=MARKET.condition_id,
        price_changes=[
            {
                "asset_id": token,
                "price": _price(tick if token == UP else 100 - tick),
                "size": str(size),
                "side": "BUY" if is_bid is (token == UP) else "SELL",
                "hash": "ef" * 20,
                "best_bid": _price(best_bid if token == UP else 100 - best_ask),
                "best_ask": _price(best_ask if token == UP else 100 - best_bid),
            }
            for token in (UP, DOWN)
        ],
        timestamp="1790586000123",
        event_type="price_change",
    )


# -- the bare typed decode: every field, nothing else ---------------------------------------------


class BareLevel(msgspec.Struct):
    price: str
    size: str


class BareBook(msgspec.Struct, tag_field="event_type", tag="book"):
    market: str
    asset_id: str
    timestamp: str
    hash: str
    bids: list[BareLevel]
    asks: list[BareLevel]
    tick_size: str
    last_trade_price: str


class BareChange(msgspec.Struct):
    asset_id: str
    price: str
    size: str
    side: str
    hash: str
    best_bid: str
    best_ask: str


class BarePriceChange(msgspec.Struct, tag_field="event_type", tag="price_change"):
    market: str
    price_changes: list[BareChange]
    timestamp: str


class BareTrade(msgspec.Struct, tag_field="event_type", tag="last_trade_price"):
    market: str
    asset_id: str
    price: str
    size: str
    side: str
    fee_rate_bps: str
    timestamp: str
    transaction_hash: str


class BareBest(msgspec.Struct, tag_field="event_type", tag="best_bid_ask"):
    market: str
    asset_id: str
    best_bid: str
    best_ask: str
    spread: str
    timestamp: str


BARE = msgspec.json.Decoder(BareBook | BarePriceChange | BareTrade | BareBest)


# -- the naive client --------------------------------------------------------------------------------


@attrs.frozen
class NaiveEvent:
    token: str
    bid: Decimal | None
    ask: Decimal | None
    timestamp: int


class Naive:
    """What one writes first."""

    def __init__(self) -> None:
        self.books = {token: {"BUY": SortedDict(), "SELL": SortedDict()} for token in (UP, DOWN)}
        self.events = 0

    def take(self, frame: bytes) -> None:
        data = json.loads(frame)
        kind = data["event_type"]
        if kind == "book":
            book = self.books[data["asset_id"]]
            for side, name in (("BUY", "bids"), ("SELL", "asks")):
                book[side] = SortedDict(
                    {Decimal(lv["price"]): Decimal(lv["size"]) for lv in data[name]}
                )
        elif kind == "price_change":
            for change in data["price_changes"]:
                side = self.books[change["asset_id"]][change["side"]]
                price, size = Decimal(change["price"]), Decimal(change["size"])
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
                book = self.books[change["asset_id"]]
                event = NaiveEvent(
                    change["asset_id"],
                    book["BUY"].keys()[-1] if book["BUY"] else None,
                    book["SELL"].keys()[0] if book["SELL"] else None,
                    int(data["timestamp"]),
                )
                self.events += event is not None


# -- the full path -----------------------------------------------------------------------------------


class Flush:
    """Stands for a strategy run: marks and, once in 20 frames, reads what was marked."""

    wants_books = is_sated = False

    def __init__(self) -> None:
        self.marked = dict.fromkeys(Outcome, False)
        self.calls = 0

    def price_changed(self, outcome: Outcome) -> None:
        self.marked[outcome] = True

    def book_changed(self, outcome: Outcome) -> None:
        """Not wanted by this one."""

    def market_traded(self, event: MarketTraded) -> None:
        """Not wanted by this one."""

    def order_changed(self, event: OrderChanged) -> None:
        """None here."""

    def trade_changed(self, event: TradeChanged) -> None:
        """None here."""

    def reconciled(self, report: ReconcileReport) -> None:
        """None here."""

    def flush(self, session: ExchangeSession) -> None:
        for outcome, marked in self.marked.items():
            if marked:
                self.marked[outcome] = False
                session.price(outcome)
                self.calls += 1


class Full:
    """The production path without the socket."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.decoder = MarketDecoder(Skips(self.counters))
        self.session = ExchangeSession(
            MARKET,
            clock=WallClock(),
            counters=self.counters,
            user_gate=None,  # type: ignore[arg-type]
        )
        self.flusher = Flush()
        self.session.subscribe(self.flusher)

    def run(self, batch: list[bytes]) -> None:
        decode, take, flush = (
            self.decoder.decode,
            self.session.on_market_message,
            self.flusher.flush,
        )
        for number, frame in enumerate(batch):
            for message in decode(frame):
                take(message)
            if not number % 20:
                flush(self.session)


def timed(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=20_000)
    options = parser.parse_args()
    batch = frames(options.frames)

    def bare() -> None:
        for frame in batch:
            BARE.decode(frame)

    def plain_json() -> None:
        for frame in batch:
            json.loads(frame)

    def naive() -> None:
        client = Naive()
        for frame in batch:
            client.take(frame)

    def full() -> None:
        Full().run(batch)

    candidates = {"bare": bare, "json.loads": plain_json, "naive": naive, "full": full}
    took: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for turn in range(options.rounds):
        for name in names if turn % 2 else reversed(names):
            took[name].append(timed(candidates[name]))
    per_frame = {name: statistics.median(t) / len(batch) * 1e6 for name, t in took.items()}
    print(f"{options.frames} frames, {options.rounds} rounds, µs a frame (median):")
    for name, value in per_frame.items():
        print(f"  {name:12} {value:6.2f}")

    def ratio(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(took[a], took[b], strict=True))

    check = Full()
    check.run(batch)
    print(f"full / bare decode  {ratio('full', 'bare'):.2f}")
    print(f"full / json.loads   {ratio('full', 'json.loads'):.2f}")
    print(f"full / naive        {ratio('full', 'naive'):.2f}")
    print(f"strategy calls {check.flusher.calls}; counters {check.counters.snapshot()}")


if __name__ == "__main__":
    main()
