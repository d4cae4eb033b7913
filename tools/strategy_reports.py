"""Back-tests every strategy that ships and writes what came of it into docs/strategies.md.

    python tools/strategy_reports.py                  # all of them
    python tools/strategy_reports.py Threshold Grid   # these; the rows of the others stay

Each runs with its default settings on 18 made-up markets of each regime, and on the 18 real ones of the
package resolvedkit (data (c) Resolved Markets, CC BY 4.0). The same code gives the same table.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from polyframe import Report, ResolvedMarkets, Strategy, run_backtest, strategies
from polyframe.recording.reader import Recording
from polyframe.testing import Regime, RegimeMarkets

PAGE = Path(__file__).parent.parent / "docs" / "strategies.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
CYCLES, SEED = 18, 1

IDLE = {"DataRecorder", "Template"}
"""They place no orders."""

HEADER = (
    "| strategy | markets | cycles traded | trades | maker share | fees | worst cycle | net profit |",
    "|---|---|---:|---:|---:|---:|---:|---:|",
)


def recordings() -> dict[str, Recording]:
    """Return what strategies are run on, by name."""
    found: dict[str, Recording] = {"real": ResolvedMarkets()}
    for regime in Regime:
        found[regime.value] = RegimeMarkets(regime, cycles=CYCLES, seed=SEED)
    return found


def run(strategy: Strategy, data: Recording) -> Report:
    """Back-test one strategy; made-up markets come with their reference price."""
    services = [data.reference()] if isinstance(data, RegimeMarkets) else []
    return run_backtest(strategy, data=data, services=services)


def row(name: str, markets: str, report: Report) -> str:
    """Return one line of the table."""
    total = report.total
    profits = [c.figures.profit for c in report.cycles if c.figures.profit is not None]
    traded = sum(bool(cycle.trades) for cycle in report.cycles)
    share = "–" if total.maker_share is None else f"{total.maker_share:.0%}"
    amounts = (total.fees, min(profits, default=None), total.profit)
    cells = (
        *(name, markets, f"{traded} of {len(report.cycles)}", str(total.trades), share),
        *map(_usd, amounts),
    )
    return f"| {' | '.join(cells)} |"


def _usd(amount: Decimal | None) -> str:
    if amount is None:
        return "–"
    rounded = amount.quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    return f"{rounded:,}".replace("-", "−")


def merged(text: str, new: Mapping[str, Sequence[str]], order: Iterable[str]) -> str:
    """Return the page with the rows of `new`, and those of other strategies that it has already.

    Raises:
        ValueError: The page has no place for the table.
    """
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        msg = f"the page has no lines {BEGIN} and {END}"
        raise ValueError(msg)
    rows: dict[str, list[str]] = {}
    for line in old.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 2 and cells[1] and line not in HEADER:
            rows.setdefault(cells[1], []).append(line)
    rows.update({name: list(lines) for name, lines in new.items()})
    table = [*HEADER, *(line for name in order for line in rows.get(name, []))]
    return "\n".join((before + begin, "", *table, "", end + after))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and write the page."""
    every = [name for name in strategies.__all__ if name not in IDLE]
    parser = argparse.ArgumentParser(description="Fill the table of docs/strategies.md.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(every)}; all by default")
    chosen = parser.parse_args(arguments).names or every
    if unknown := [name for name in chosen if name not in every]:
        print(f"no such strategy: {', '.join(unknown)}; there are {', '.join(every)}")
        return 2
    logging.disable(logging.ERROR)  # a rejected order is no news here
    data = recordings()
    for name in chosen:
        lines = []
        for markets, recording in data.items():
            lines.append(row(name, markets, run(getattr(strategies, name)(), recording)))
            print(lines[-1], flush=True)
        PAGE.write_text(merged(PAGE.read_text("utf-8"), {name: lines}, every), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
