"""The report at the end of a run: what every cycle did, and what was counted."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from polyframe.cli.watch import signed
from polyframe.counters import Count, Counters
from polyframe.model.money import ZERO
from polyframe.trading.ledger import CycleRecord, CycleStatus

ROWS = 50
"""Cycles that have a row of their own; a run of weeks has thousands."""


def cycle_table(records: Iterable[CycleRecord]) -> Table:
    """Return one row for each of the last cycles, and the totals of all."""
    rows = list(records)
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False, title_justify="left")
    profits = [row.profit for row in rows if row.profit is not None]
    profit = sum(profits, ZERO)
    fees = sum((row.fees for row in rows), ZERO)
    # On a narrow terminal names are folded, numbers never.
    table.add_column("market", "total", overflow="fold")
    for name, total in (
        ("orders", Text(str(sum(row.orders for row in rows)))),
        ("trades", Text(str(sum(row.fills for row in rows)))),
        ("fees", Text(f"{fees:.2f}")),
    ):
        table.add_column(name, total, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column(
        "profit", Text(signed(profit), money_style(profit)), justify="right", no_wrap=True
    )
    if len(rows) > ROWS:
        table.add_row(f"… {len(rows) - ROWS:,} earlier")
    for row in rows[-ROWS:]:
        table.add_row(
            row.slug,
            str(row.orders),
            str(row.fills),
            f"{row.fees:.2f}",
            result_text(row),
            Text(signed(row.profit), money_style(row.profit)),
        )
    return table


def result_text(record: CycleRecord) -> str:
    """Return how the market of a cycle ended."""
    if record.winner is not None:
        return f"{record.winner} won"
    return {
        CycleStatus.OPEN: "trading",
        CycleStatus.RESOLVING: "waiting",
        CycleStatus.UNRESOLVED: "not resolved",
    }.get(record.status, record.status.value)


def money_style(value: Decimal | None) -> str:
    """Return the colour of a profit."""
    if not value:
        return ""
    return "green" if value > 0 else "red"


def counter_table(counters: Counters) -> Table:
    """Return what was counted over the run, with the reasons."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    messages = {
        "market": counters.get(Count.MARKET_MESSAGES),
        "user": counters.get(Count.USER_MESSAGES),
    }
    _add(table, "events in", messages)
    _add(table, "gated", counters.reasons(Count.GATE_DROPPED))
    _add(table, "stale commands", counters.reasons(Count.ENGINE_STALE))
    _add(table, "reconnects", counters.reasons(Count.STREAM_LOSSES))
    for label, count in (
        ("orders denied", Count.ORDERS_DENIED),
        ("market not found", Count.MARKET_WAITS),
        ("late answers", Count.LATE_ANSWERS),
        ("strategy errors", Count.STRATEGY_ERRORS),
        ("tasks abandoned", Count.TASKS_OVERDUE),
        ("event loop held up", Count.LOOP_BLOCKED),
        ("messages skipped", Count.WIRE_SKIPPED),
        ("messages lost", Count.USER_DROPPED),
    ):
        if reasons := counters.reasons(count):
            _add(table, label, reasons)
    return table


def _add(table: Table, label: str, reasons: dict[str, int]) -> None:
    parts = " · ".join(f"{reason} {count:,}" for reason, count in reasons.items() if count)
    table.add_row(label, f"{sum(reasons.values()):,}", parts)


def print_report(
    console: Console, records: Iterable[CycleRecord], counters: Counters, *, notes: Iterable[str]
) -> None:
    """Print the tables and the closing notes."""
    rows = list(records)
    parts: list[RenderableType] = [Text()]
    if rows:
        parts.append(cycle_table(rows))
    else:
        parts += [Text(" No cycle was begun."), Text()]
    parts += [Padding(counter_table(counters), (0, 0, 0, 1)), Text()]
    console.print(Group(*parts))
    for note in notes:
        console.print(Text(f" {note}"), soft_wrap=True)  # a path can be copied as it is
