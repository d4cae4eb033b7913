"""Strategies that ship: small, honest, and good to read before you write your own."""

from polyframe.strategies.datarecorder import DataRecorder
from polyframe.strategies.threshold import Threshold

__all__ = ["DataRecorder", "Threshold"]
