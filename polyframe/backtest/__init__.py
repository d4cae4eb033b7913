"""Strategies on recorded markets: the production runtime on a virtual clock, and what came of it."""
