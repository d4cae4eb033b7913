"""Strategies on recorded markets: the production runtime on a virtual clock, and what came of it."""

from __future__ import annotations

from polyframe.backtest.bracket import run_bracket
from polyframe.backtest.exchange import ReplayExchange
from polyframe.backtest.lookahead import LookAhead, find_look_ahead
from polyframe.backtest.run import Options, backtest, run_backtest
from polyframe.report.orders import ReportedOrder
from polyframe.report.values import CycleReport, Figures, Report

__all__ = [
    "CycleReport",
    "Figures",
    "LookAhead",
    "Options",
    "ReplayExchange",
    "Report",
    "ReportedOrder",
    "backtest",
    "find_look_ahead",
    "run_backtest",
    "run_bracket",
]
