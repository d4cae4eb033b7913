"""A report as a notebook shows it: figures and the curve of the profit, without any program."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING

from polyframe.model.money import ZERO
from polyframe.report.render import IDLE, NOT_RECORDED, amount, failed_text, is_idle, number

if TYPE_CHECKING:
    from polyframe.report.values import Report

_WIDTH, _HEIGHT = 480, 90
_POINTS = 240


def html(report: Report) -> str:
    """Return a few lines of HTML, whatever the report's size."""
    total, whole = report.total, report.whole
    traded = sum(bool(cycle.figures.trades) for cycle in report.cycles)
    is_known = total.profit is not None
    share = number(total.maker_share) or "-"
    rows: tuple[tuple[str, str], ...] = (
        ("net profit", amount(report.known_profit) + ("" if is_known else " where it is known")),
        ("cycles", f"{len(report.cycles)}, {traded} traded, {whole.won} with a profit"),
        ("trades", f"{total.trades} of {total.orders} orders, {number(total.shares)} shares"),
        ("volume", f"{amount(total.volume)}, maker share {share}, fees {amount(total.fees)}"),
        ("drawdown", f"{_drawdown(report)}"),
        ("slippage", f"{amount(total.slippage_mid)} against the mid"),
        ("ran", "; ".join(report.ran) or NOT_RECORDED),
        ("modelled with", NOT_RECORDED if report.models is None else str(report.models)),
    )
    if report.failures:
        rows = (("failed", failed_text(report)), *rows)
    if is_idle(report):
        rows = (("strategies", IDLE), *rows)
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(label)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for label, text in rows
    )
    title = f"<b>polyframe {escape(report.source)}</b>"
    return f"<div>{title}{_curve(report)}<table>{cells}</table></div>"


def _drawdown(report: Report) -> str:
    marked = amount(report.total.marked_drawdown)
    return f"{marked} marked at the bids, {amount(report.drawdown)} when cycles end"


def _curve(report: Report) -> str:
    """Return the summed profit as a line, nothing if there is none to draw."""
    value, values = ZERO, [ZERO]
    for cycle in sorted(report.cycles, key=lambda cycle: (cycle.end, cycle.slug)):
        value += cycle.figures.profit or ZERO
        values.append(value)
    if len(values) < 2:
        return ""
    step = -(-len(values) // _POINTS)
    shown = [*values[:-1:step], values[-1]]
    low, high = min(shown), max(shown)
    label = f"from {number(low)} to {number(high)} USD"
    return (
        f'<svg role="img" aria-label="summed profit {label}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'style="display:block;width:100%;max-width:{_WIDTH}px">'
        f'<path d="{_line([low, ZERO, high], [ZERO, ZERO])}" stroke="currentColor" '
        'stroke-opacity=".3" fill="none"/>'
        f'<path d="{_line(shown, shown)}" stroke="#2f6fdb" stroke-width="2" fill="none"/></svg>'
    )


def _line(span: Sequence[Decimal], values: Sequence[Decimal]) -> str:
    """Return the path of `values` over the whole width, where `span` fills the height."""
    low, high = min(span), max(span)
    height, last = (high - low) or Decimal(1), len(values) - 1
    points = (
        f"{at * _WIDTH / last:.1f},{float((high - each) / height) * (_HEIGHT - 4) + 2:.1f}"
        for at, each in enumerate(values)
    )
    return "M" + " L".join(points)
