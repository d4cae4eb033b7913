"""Strategies that ship: small, honest, and good to read before you write your own."""

from polyframe.strategies.datarecorder import DataRecorder
from polyframe.strategies.grid import Grid
from polyframe.strategies.pairlock import PairLock
from polyframe.strategies.threshold import Threshold

__all__ = ["DataRecorder", "Grid", "PairLock", "Threshold"]
