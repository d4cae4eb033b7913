"""The table of what the strategies that ship came to."""

from __future__ import annotations

import pytest

from polyframe.strategies import Threshold
from polyframe.testing import Regime, RegimeMarkets
from tests.cli.command import ROOT
from tools.strategy_reports import BEGIN, END, HEADER, PAGE, merged, row, run


def test_a_row_says_what_a_back_test_came_to() -> None:
    """One line of the table: cycles, trades, and amounts to the cent."""
    markets = RegimeMarkets(Regime.TREND, cycles=2, seed=1)
    report = run(Threshold(), markets)
    profits = [cycle.figures.profit for cycle in report.cycles]
    worst = min(profit for profit in profits if profit is not None)
    line = row("Threshold", "trend", report)
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[:5] == ["Threshold", "trend", "2 of 2", "2", "0%"]
    assert cells[6].replace("−", "-") == f"{worst:.2f}"
    assert len(cells) == HEADER[0].count("|") - 1


def test_rows_of_others_stay() -> None:
    """New rows replace a strategy's old ones; the order is that of the package."""
    page = f"above\n{BEGIN}\n{HEADER[0]}\n{HEADER[1]}\n| B | real | old |\n| A | real | x |\n{END}\nbelow"
    text = merged(page, {"B": ["| B | real | new |"]}, ["A", "B"])
    table = "\n".join((*HEADER, "| A | real | x |", "| B | real | new |"))
    assert text == f"above\n{BEGIN}\n\n{table}\n\n{END}\nbelow"
    assert merged(text, {}, ["A", "B"]) == text
    with pytest.raises(ValueError, match="the page has no lines"):
        merged("nothing", {}, [])


def test_the_page_has_a_place_for_it() -> None:
    """The document that the tool writes has both markers."""
    assert PAGE == ROOT / "docs" / "strategies.md"
    text = PAGE.read_text("utf-8")
    assert merged(text, {}, ["Threshold"]).count(HEADER[0]) == 1
