"""Reports as Parquet files, for programs that go on from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyframe.paths import local_path
from polyframe.recording.reader import load_optional
from polyframe.report.prices import UNKNOWN

if TYPE_CHECKING:
    from polyframe.report.orders import ReportedOrder
    from polyframe.report.values import Figures, Report

_DIGITS = 10
_STEP = Decimal(1).scaleb(-_DIGITS)
"""Amounts have ten decimals: the venue's have six at most, mean costs may have more."""

_AMOUNTS = (
    *("shares", "volume", "maker_volume", "fees", "realised", "settled", "profit", "exposure"),
    *("seconds_in_market", "slippage_mid", "slippage_touch", "marked_drawdown"),
)
_COUNTS = ("orders", "trades", "fills")

Row = Mapping[str, object]


def write(report: Report, folder: str | Path) -> None:
    """Write ``cycles``, ``orders``, ``fills`` and ``prices`` (``.parquet``) into a folder.

    The folder is made if need be. What is not known, or was not recorded, is null.

    Raises:
        ConfigError: The extra ``data`` is not installed, or the folder is a URL.
    """
    pa: Any = load_optional("pyarrow", "write_parquet")
    parquet: Any = load_optional("pyarrow.parquet", "write_parquet")
    place = local_path("folder", folder)
    place.mkdir(parents=True, exist_ok=True)
    for name, schema, rows in (
        ("cycles", _cycle_schema(pa), _cycles(report)),
        ("orders", _order_schema(pa), _orders(report)),
        ("fills", _fill_schema(pa), _fills(report)),
    ):
        parquet.write_table(pa.Table.from_pylist(list(rows), schema), place / f"{name}.parquet")
    _write_prices(pa, parquet, report, place / "prices.parquet")


def _cycle_schema(pa: Any) -> Any:
    texts = [(name, pa.string()) for name in ("series", "slug")]
    times = [("start", pa.timestamp("s", "UTC")), ("end", pa.timestamp("s", "UTC"))]
    counts = [(name, pa.int64()) for name in _COUNTS]
    refusals = ("refusals", pa.map_(pa.string(), pa.int64()))
    amounts = [(name, _amount_type(pa)) for name in (*_AMOUNTS, "booked")]
    return pa.schema([*texts, *times, ("winner", pa.string()), *counts, *amounts, refusals])


def _order_schema(pa: Any) -> Any:
    amount, time = _amount_type(pa), pa.timestamp("ms", "UTC")
    return pa.schema(
        [
            *((name, pa.string()) for name in ("slug", "strategy", "side", "outcome", "type")),
            *((name, amount) for name in ("price", "size")),
            *(("sent", time), ("arrived", time), ("answer", pa.string())),
            *((name, amount) for name in ("mid", "touch", "touch_size", "limit_size")),
            *((name, amount) for name in ("filled", "value", "fee", "result")),
        ]
    )


def _fill_schema(pa: Any) -> Any:
    return pa.schema(
        [
            *((name, pa.string()) for name in ("slug", "strategy", "side", "outcome")),
            ("matched", pa.timestamp("ms", "UTC")),
            *((name, _amount_type(pa)) for name in ("price", "size", "fee")),
            ("is_taker", pa.bool_()),
        ]
    )


def _amount_type(pa: Any) -> Any:
    return pa.decimal128(38, _DIGITS)


def _amount(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(_STEP, ROUND_HALF_EVEN)


def _cycles(report: Report) -> Iterable[Row]:
    for cycle in report.cycles:
        yield {
            "series": cycle.series,
            "slug": cycle.slug,
            "start": cycle.start,
            "end": cycle.end,
            "winner": None if cycle.winner is None else cycle.winner.value,
            "booked": _amount(cycle.booked),
            **_figures(cycle.figures),
        }


def _figures(figures: Figures) -> Row:
    return {
        **{name: getattr(figures, name) for name in _COUNTS},
        **{name: _amount(getattr(figures, name)) for name in _AMOUNTS},
        "refusals": list(figures.refusals.items()),
    }


def _orders(report: Report) -> Iterable[Row]:
    for order in report.orders:
        view = order.view
        yield {
            **_whose(order),
            "type": order.request.order_type.value,
            "price": _amount(order.request.price),
            "size": _amount(order.request.size),
            "sent": order.sent_ms,
            "arrived": order.arrived_ms,
            "answer": order.answer,
            "mid": _amount(order.mid),
            "touch": _amount(order.touch),
            "touch_size": None if view is None else _amount(view.touch_size),
            "limit_size": None if view is None else _amount(view.limit_size),
            "filled": _amount(order.size),
            "value": _amount(order.value),
            "fee": _amount(order.fee),
            "result": _amount(order.result),
        }


def _fills(report: Report) -> Iterable[Row]:
    for order in report.trades:
        for level in order.levels:
            yield {
                **_whose(order),
                "matched": level.time_ms,
                "price": _amount(level.price),
                "size": _amount(level.size),
                "fee": _amount(level.fee),
                "is_taker": level.is_taker,
            }


def _whose(order: ReportedOrder) -> Row:
    request = order.request
    return {
        "slug": order.slug,
        "strategy": order.strategy,
        "side": request.side.value,
        "outcome": request.outcome.value,
    }


def _write_prices(pa: Any, parquet: Any, report: Report, path: Path) -> None:
    """Write the paths cycle by cycle: a large report has hundreds of thousands of points."""
    schema = pa.schema(
        [
            *(("slug", pa.string()), ("time", pa.timestamp("ms", "UTC"))),
            *((name, _amount_type(pa)) for name in ("bid", "ask")),
        ]
    )
    with parquet.ParquetWriter(path, schema) as writer:
        for cycle in report.cycles:
            if cycle.path is None or not len(cycle.path):
                continue
            columns: Sequence[Any] = (
                pa.array([cycle.slug] * len(cycle.path), pa.string()),
                pa.array(cycle.path.times_ms, pa.int64()).cast(pa.timestamp("ms", "UTC")),
                *(_prices(pa, units) for units in (cycle.path.bids, cycle.path.asks)),
            )
            writer.write_table(pa.Table.from_arrays(list(columns), schema=schema))


def _prices(pa: Any, units: Iterable[int]) -> Any:
    prices = (None if each == UNKNOWN else Decimal(each).scaleb(-4) for each in units)
    return pa.array(list(prices), _amount_type(pa))
