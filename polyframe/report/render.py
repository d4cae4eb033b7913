"""Reports as text for people, and as CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from polyframe.model.market import Outcome
from polyframe.paths import local_path
from polyframe.recording.reader import FILES

if TYPE_CHECKING:
    from polyframe.report.orders import ReportedOrder
    from polyframe.report.values import CycleReport, Figures, Part, Report

_STEP = Decimal("0.00001")
"""What is less than the venue's smallest fee has no meaning; mean costs have more digits."""

_SHARE_STEP = Decimal("0.000001")
"""Of shares every digit is real (PROTOCOL §2.8): who reckons with the tables gets the same."""

_FIGURES = (
    *("orders", "trades", "fills", "shares", "volume", "maker_share", "fees", "realised"),
    *("settled", "profit", "profit_per_share", "profit_per_dollar", "exposure"),
    *("seconds_in_market", "slippage_mid", "slippage_touch", "marked_drawdown"),
)
NOT_RECORDED = "not recorded"
"""Stands where nobody wrote a figure down: that is not 0."""

_TRADE_COLUMNS = (
    *(
        "slug",
        "strategy",
        "sent_ms",
        "matched_ms",
        "side",
        "outcome",
        "limit",
        "price",
        "size",
        "fee",
    ),
    *("is_taker", "mid", "touch", "order_result"),
)


def number(value: Decimal | float | None, step: Decimal = _STEP) -> str:
    """Return a number without digits that mean nothing, ``""`` for none."""
    if value is None:
        return ""
    rounded = Decimal(value).quantize(step, ROUND_HALF_EVEN)
    text = f"{rounded:f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def shares(value: Decimal | None) -> str:
    """Return shares, all their digits, ``""`` for none."""
    return number(value, _SHARE_STEP)


def amount(value: Decimal | None) -> str:
    """Return a sum of USD, or that it was not recorded."""
    return NOT_RECORDED if value is None else f"{number(value)} USD"


def cycles_csv(report: Report) -> str:
    """Return one row for each cycle, and one with the total."""
    rows = [
        (cycle.slug, _time(cycle.start * 1000), cycle.winner or "", *_figures(cycle.figures))
        for cycle in report.cycles
    ]
    rows.append(("total", "", "", *_figures(report.total)))
    return _csv(("slug", "start", "winner", *_FIGURES, "refusals"), rows)


def trades_csv(report: Report) -> str:
    """Return one row for each fill."""
    rows: list[Sequence[object]] = []
    for trade in report.trades:
        request = trade.request
        rows += [
            (
                *(trade.slug, trade.strategy, trade.sent_ms, level.time_ms),
                *(request.side, request.outcome),
                *(number(request.price), number(level.price), shares(level.size)),
                number(level.fee),
                int(level.is_taker),
                *map(number, (trade.mid, trade.touch, trade.result)),
            )
            for level in trade.levels
        ]
    return _csv(_TRADE_COLUMNS, rows)


def write(report: Report, folder: str | Path) -> None:
    """Write ``report.txt``, ``cycles.csv`` and ``trades.csv`` into a folder, made if need be.

    Raises:
        ConfigError: The folder is a URL.
    """
    place = local_path("folder", folder)
    place.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("report.txt", text(report)),
        ("cycles.csv", cycles_csv(report)),
        ("trades.csv", trades_csv(report)),
    ):
        # The same bytes everywhere, whatever a system likes for the end of a line.
        (place / name).write_bytes(content.encode())


IDLE = (
    "no strategy asked for anything: no order was placed, and none refused; what a strategy waited for "
    "in vain, such as reference prices that nobody provided, is in its log; no price is known before both "
    "outcomes have had a book"
)


def oddities(report: Report) -> Iterable[tuple[str, str]]:
    """Yield what the recording left out, or passed on although it looks wrong, with a label each."""
    files = {reason: count for reason, count in report.skipped.items() if reason in FILES}
    rows = {reason: count for reason, count in report.skipped.items() if reason not in FILES}
    labels = ("files skipped", files), ("rows skipped", rows), ("rows doubtful", report.doubtful)
    for label, counts in labels:
        if counts:
            yield label, ", ".join(f"{reason} {count}" for reason, count in counts.items())


def failed_text(report: Report) -> str:
    """Return which strategies failed, and how often."""
    told = ", ".join(f"{name} {count}" for name, count in report.failures.items())
    return f"strategies failed and sat out the rest of their cycles: {told}"


def is_idle(report: Report) -> bool:
    """Return whether cycles were lived in which nobody did anything, which is no result but a question."""
    return bool(report.cycles) and not report.strategies


def text(report: Report) -> str:
    """Return every trade, every cycle with trades, and the total."""
    traded = sum(bool(cycle.trades) for cycle in report.cycles)
    cycles = "1 cycle" if len(report.cycles) == 1 else f"{len(report.cycles)} cycles"
    lines = [f"{cycles}, {traded} traded; times are UTC"]
    lines += [IDLE] if is_idle(report) else []
    lines += [_trade_line(trade) for trade in report.trades]
    lines += [_cycle_line(cycle) for cycle in report.cycles if cycle.trades]
    unresolved = sum(cycle.winner is None for cycle in report.cycles)
    if unresolved:
        lines.append(f"not resolved: {unresolved} cycles")
    figures = report.total
    lines += [
        (
            f"trades {figures.trades}, fills {figures.fills}, shares {shares(figures.shares)}, "
            f"volume {number(figures.volume)} USD, maker share {number(figures.maker_share) or '-'}"
        ),
        (
            f"realised {number(figures.realised)}, settled {number(figures.settled)}, "
            f"fees {number(figures.fees)} USD"
        ),
        (
            f"profit per share {number(figures.profit_per_share) or '-'}, "
            f"per dollar {number(figures.profit_per_dollar) or '-'}; "
            f"hit rate {number(report.hit_rate) or '-'}"
        ),
        (
            f"drawdown {number(report.drawdown)} USD when cycles end, "
            f"{amount(figures.marked_drawdown)} marked at the bids"
        ),
        (
            f"exposure {number(figures.exposure)} USD, "
            f"in the market {number(figures.seconds_in_market)} s"
        ),
        (
            f"slippage {amount(figures.slippage_mid)} against the mid, "
            f"{amount(figures.slippage_touch)} against the price at the decision"
        ),
    ]
    if len(report.strategies) > 1:
        lines += [_part_line("strategy", *item) for item in report.strategies.items()]
    lines += [_part_line("queue model", *item) for item in report.bracket.items()]
    lines += [f"ran {strategy}" for strategy in report.ran]
    if report.models is not None:
        lines.append(f"modelled with {report.models}")
    lines += [failed_text(report)] if report.failures else []
    lines += _counts("refused", figures.refusals.items())
    lines += [f"{label}: {told}" for label, told in oddities(report)]
    if figures.profit is None:
        known = number(report.known_profit)
        lines.append(f"net profit not known yet; {known} USD where it is known")
    else:
        lines.append(f"net profit {number(figures.profit)} USD")
    return "\n".join(lines) + "\n"


def _trade_line(trade: ReportedOrder) -> str:
    request = trade.request
    levels = " + ".join(f"{shares(v.size)} @ {number(v.price)}" for v in trade.levels)
    result = "open" if trade.result is None else number(trade.result)
    return (
        f"{_time(trade.sent_ms)} {trade.slug} {request.side} {request.outcome}: {levels}, "
        f"fee {number(trade.fee)}, result {result}"
    )


def _cycle_line(cycle: CycleReport) -> str:
    figures = cycle.figures
    winner = "not resolved" if cycle.winner is None else f"{Outcome(cycle.winner)} won"
    return (
        f"{cycle.slug}: {winner}, trades {figures.trades}, volume {number(figures.volume)}, "
        f"fees {number(figures.fees)}, profit {number(figures.profit) or 'not known yet'}"
    )


def _part_line(kind: str, name: str, part: Part) -> str:
    figures = part.figures
    return (
        f"{kind} {name}: trades {figures.trades}, shares {number(figures.shares)}, "
        f"maker share {number(figures.maker_share) or '-'}, hit rate {number(part.hit_rate) or '-'}, "
        f"drawdown {number(part.drawdown)}, profit {number(figures.profit) or 'not known yet'}"
    )


def _counts(what: str, counts: Iterable[tuple[str, int]]) -> list[str]:
    told = ", ".join(f"{reason} {count}" for reason, count in counts)
    return [f"{what}: {told}"] if told else []


def _figures(figures: Figures) -> list[str]:
    told = [(shares if name == "shares" else number)(getattr(figures, name)) for name in _FIGURES]
    refusals = " ".join(f"{reason}={count}" for reason, count in figures.refusals.items())
    return [*told, refusals]


def _time(epoch_ms: int) -> str:
    moment = datetime.fromtimestamp(epoch_ms // 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{epoch_ms % 1000:03d}"


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
