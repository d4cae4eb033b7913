"""Cycles that are made up for reports: what is known of them, without a run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from decimal import Decimal

from attrs import evolve

from polyframe.model.conversion import Conversion, ConversionKind, ConversionStatus
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, Side
from polyframe.report.orders import Level, OrderView, ReportedOrder
from polyframe.report.prices import POINTS, PricePath
from polyframe.report.reckoning import Life, reckon
from polyframe.report.values import Report

START = 1_790_586_000
HOSTILE = '<script>alert("1")</script>&<img src="http://evil.example/x">'
"""A name that would be a program if a page took it for one."""


def order(
    at_ms: int,
    side: Side,
    price: str,
    size: str,
    *fills: tuple[str, str],
    outcome: Outcome = Outcome.UP,
    strategy: str = "One",
) -> ReportedOrder:
    """Return an order that was filled at once, without fees; fills are price and size."""
    request = OrderRequest(outcome, side, Decimal(price), Decimal(size), OrderType.FAK)
    levels = tuple(Level(at_ms, Decimal(p), Decimal(s), Decimal(0), True) for p, s in fills)
    view = OrderView(Decimal("0.5"), Decimal(price), Decimal(size), Decimal(size))
    return ReportedOrder("made-up", strategy, request, at_ms, at_ms, view, "matched", levels)


def converted(
    at_ms: int, kind: ConversionKind, pairs: str, strategy: str = "One", number: int = 1
) -> Conversion:
    """Return a split or merge that was confirmed."""
    name, status = f"conversion-{number}", ConversionStatus.CONFIRMED
    return Conversion(name, strategy, kind, Decimal(pairs), status, "0x1", updated_ms=at_ms)


def path(*points: tuple[int, int, int]) -> PricePath:
    """Return a path; points are milliseconds after `START` and bid and ask in cents."""
    made = PricePath()
    for after_ms, bid, ask in points:
        made.add(START * 1000 + after_ms, bid * 100, ask * 100)
    return made


def life(
    *orders: ReportedOrder,
    winner: Outcome | None = Outcome.UP,
    prices: PricePath | None = None,
    start: int = START,
    conversions: Sequence[Conversion] = (),
) -> Life:
    """Return one cycle of a quarter of an hour."""
    slug = f"btc-updown-15m-{start}"
    made = Life("btc-updown-15m", slug, start, start + 900, winner, None, orders, {}, prices)
    return evolve(made, conversions=conversions)


def report_of(*lives: Life) -> Report:
    """Return the report of some cycles."""
    return reckon(lives, source="paper", cash=None, models=None)


def many(count: int, orders: int = 12, seed: int = 1, strategy: str = "One") -> Iterator[Life]:
    """Yield cycles as full as they come: whole paths, and orders in each."""
    chance = random.Random(seed)
    bids = [50]
    for _ in range(POINTS - 1):
        bids.append(min(max(bids[-1] + chance.choice((-1, 0, 1)), 2), 96))
    for number in range(count):
        start = START + 900 * number
        prices = PricePath()
        for point, bid in enumerate(bids):
            prices.add(start * 1000 + 2_500 * point, bid * 100, bid * 100 + 100)
        limits = [f"0.{chance.randint(20, 80)}" for _ in range(orders)]
        made = [
            order(
                start * 1000 + 20_000 + 60_000 * at + chance.randint(0, 9_000),
                Side.BUY,
                price,
                "10",
                *([(price, "10")] if chance.random() < 0.7 else []),
                outcome=chance.choice(list(Outcome)),
                strategy=strategy,
            )
            for at, price in enumerate(limits)
        ]
        yield life(*made, winner=chance.choice(list(Outcome)), prices=prices, start=start)
