"""A program that writes to a ledger until it is killed; it says when it handed over which row.

``python -m tests.support.ledger_child FILE SEED``
"""

from __future__ import annotations

import os
import random
import sys
import time
from decimal import Decimal
from pathlib import Path

from polyframe.clock import WallClock
from polyframe.counters import Counters
from polyframe.model.events import OrderChanged
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.series import Series, Window
from polyframe.trading.ledger import Ledger

START = 1_790_586_000
MARKET = Market(
    slug=f"btc-updown-15m-{START}",
    series=Series.parse("btc-updown-15m"),
    window=Window(START, START + 900),
    condition_id="0xc",
    up_token="up",
    down_token="down",
)


def order(number: int) -> Order:
    """Return an order."""
    return Order(
        client_id=f"c{number}",
        venue_id=f"v{number}",
        generation=START,
        slug=MARKET.slug,
        token=MARKET.up_token,
        strategy="me",
        outcome=Outcome.UP,
        side=Side.BUY,
        price=Decimal("0.4"),
        size=Decimal(10),
        status=OrderStatus.LIVE,
    )


def say(text: str) -> None:
    """Print at once: a killed process flushes nothing."""
    os.write(1, f"{text}\n".encode())


def main(path: Path, seed: int) -> None:
    """Write pairs of rows, at an irregular pace, for ever."""
    rng = random.Random(seed)
    say("ready")
    ledger = Ledger(path)
    ledger.begin(clock=WallClock(), counters=Counters(), exchange="fake", is_live=False)
    number = 0
    while True:
        for _ in range(rng.choice((1, 1, 3, 40))):
            number += 1
            ledger.changed(MARKET, [OrderChanged(order(number), None, number)])
            ledger.note("pair", number, MARKET)
            say(f"{number} {time.monotonic()}")
        time.sleep(rng.uniform(0, 0.02))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
