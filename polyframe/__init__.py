"""Strategies on Polymarket's rolling markets: every cycle is a brand-new world."""

__version__ = "0.1.0"
