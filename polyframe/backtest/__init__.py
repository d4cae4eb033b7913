"""Strategies on recorded markets: the production runtime on a virtual clock, and what came of it."""

from __future__ import annotations

from polyframe.backtest.bracket import run_bracket
from polyframe.backtest.exchange import ReplayExchange
from polyframe.backtest.lookahead import LookAhead, find_look_ahead
from polyframe.backtest.run import Options, backtest, run_backtest
from polyframe.backtest.sweeps.result import SweepResult
from polyframe.backtest.sweeps.samplers import Between, OptunaSampler, RandomSampler, Sampler
from polyframe.backtest.sweeps.sweeping import sweep
from polyframe.backtest.sweeps.variants import grid
from polyframe.backtest.sweeps.walkforward import WalkForward, walk_forward
from polyframe.report.orders import ReportedOrder
from polyframe.report.values import CycleReport, Figures, Report

__all__ = [
    "Between",
    "CycleReport",
    "Figures",
    "LookAhead",
    "Options",
    "OptunaSampler",
    "RandomSampler",
    "ReplayExchange",
    "Report",
    "ReportedOrder",
    "Sampler",
    "SweepResult",
    "WalkForward",
    "backtest",
    "find_look_ahead",
    "grid",
    "run_backtest",
    "run_bracket",
    "sweep",
    "walk_forward",
]
