"""What a report's page draws: small lists of numbers, so that a thousand cycles open at once.

Prices are units of 1e-4 USD, times are steps of 100 ms, and of rows that go on each number is the
difference from the one before it: most of them have one digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from polyframe.model.money import PRICE_UNITS
from polyframe.report.orders import ReportedOrder
from polyframe.report.prices import POINTS
from polyframe.report.reckoning import marked_profit, summed
from polyframe.report.render import number
from polyframe.report.values import CycleReport, Report
from polyframe.report.walk import MARK_STEP, Marks

PATH_POINTS = 120_000
"""Points of all price paths of a page."""

PAGE_ORDERS = 12_000
"""Orders of a page; a cycle has its share of them, but `LEAST_ORDERS` in any case."""

LEAST_ORDERS = 12
LEAST_POINTS = 60
CURVE_POINTS = 1_500
_MARK_POINTS = 80
_STEP_MS = 100
_MARKS_IN_CENT = round(Decimal("0.01") / MARK_STEP)


def payload(report: Report) -> dict[str, Any]:
    """Return the data of a page."""
    count = max(len(report.cycles), 1)
    points = min(max(PATH_POINTS // count, LEAST_POINTS), POINTS)
    most = max(PAGE_ORDERS // count, LEAST_ORDERS)
    names = sorted({order.strategy for order in report.orders})
    place = {name: index for index, name in enumerate(names)}
    marks = [marked_profit(cycle) for cycle in report.cycles]
    cycles = [
        _cycle(cycle, own, points, most, place)
        for cycle, own in zip(report.cycles, marks, strict=True)
    ]
    is_marked = report.total.marked_drawdown is not None and any(marks)
    return {
        "strategies": names,
        "cycles": cycles,
        "curve": [] if not is_marked else _thinned(summed(marks), CURVE_POINTS, 0),
        "refusals": list(report.total.refusals.items()),
    }


def _cycle(
    cycle: CycleReport, marks: Marks, points: int, most: int, place: dict[str, int]
) -> dict[str, Any]:
    figures, start_ms = cycle.figures, cycle.start * 1000
    kept = _kept(cycle.orders, most)
    found: dict[str, Any] = {
        "slug": cycle.slug,
        "start": cycle.start,
        "end": cycle.end,
        "winner": cycle.winner or "",
        "counts": [figures.orders, figures.trades, figures.fills],
        # In the order of the columns of the page's table.
        "usd": [_plain(x) for x in (figures.volume, figures.fees, figures.exposure)],
        "fall": _plain(figures.marked_drawdown),
        "profit": _plain(figures.profit),
        "orders": [_order(order, start_ms, place) for order in kept],
        "left_out": len(cycle.orders) - len(kept),
    }
    if cycle.path is not None and len(cycle.path):
        path = cycle.path.thinned(points)
        found["path"] = [
            _deltas((at - start_ms) // _STEP_MS for at in path.times_ms),
            _deltas(path.bids),
            _deltas(path.asks),
        ]
    if marks and cycle.path is not None:
        found["marks"] = _thinned(marks, _MARK_POINTS, start_ms)
    return found


def _kept(orders: Sequence[ReportedOrder], most: int) -> list[ReportedOrder]:
    """Return `most` orders, those that got something first, in the order in which they were sent."""
    if len(orders) <= most:
        return list(orders)
    places = sorted(range(len(orders)), key=lambda at: (not orders[at].levels, at))[:most]
    return [orders[at] for at in sorted(places)]


def _order(order: ReportedOrder, start_ms: int, place: dict[str, int]) -> list[Any]:
    request, view = order.request, order.view
    return [
        order.sent_ms - start_ms,
        request.side,
        request.outcome,
        _units(request.price),
        _plain(request.size),
        place[order.strategy],
        order.answer,
        None if view is None else [_plain(view.touch_size), _plain(view.limit_size)],
        None if view is None or view.mid is None else float(view.mid),
        _plain(order.result),
        [
            [
                level.time_ms - start_ms,
                _plain(level.price),
                _plain(level.size),
                _plain(level.fee),
                int(level.is_taker),
            ]
            for level in order.levels
        ],
    ]


def _thinned(marks: Marks, points: int, start_ms: int) -> list[list[int]]:
    """Return times and cents of a curve."""
    thin = _thin(marks, points)
    return [
        _deltas((at - start_ms) // _STEP_MS for at, _ in thin),
        _deltas(round(value / _MARKS_IN_CENT) for _, value in thin),
    ]


def _thin(values: Marks, points: int) -> Marks:
    """Return about `points` of the values: of each part of the way the lowest and the highest."""
    if len(values) <= points:
        return values
    parts, count, thin = points // 2, len(values), []
    for part in range(parts):
        share = range(count * part // parts, count * (part + 1) // parts)
        low = min(share, key=lambda at: values[at][1])
        high = max(share, key=lambda at: values[at][1])
        thin += [values[at] for at in sorted({low, high})]
    return thin if thin[-1] == values[-1] else [*thin, values[-1]]


def _deltas(values: Iterable[int]) -> list[int]:
    last, found = 0, []
    for value in values:
        found.append(value - last)
        last = value
    return found


def _units(price: Decimal) -> int:
    return round(price * PRICE_UNITS)


def _plain(value: Decimal | None) -> float | int | None:
    """Return a number for a chart: five decimals, whole ones without a point."""
    if value is None:
        return None
    text = number(value)
    return float(text) if "." in text else int(text)
