"""Strategies that ship: small, honest, and good to read before you write your own."""

from polyframe.strategies.arbitrage import Arbitrage
from polyframe.strategies.datarecorder import DataRecorder
from polyframe.strategies.grid import Grid
from polyframe.strategies.marketmaker import MarketMaker
from polyframe.strategies.momentum import Momentum
from polyframe.strategies.pairlock import PairLock
from polyframe.strategies.template import Template
from polyframe.strategies.threshold import Threshold

__all__ = [
    "Arbitrage",
    "DataRecorder",
    "Grid",
    "MarketMaker",
    "Momentum",
    "PairLock",
    "Template",
    "Threshold",
]
