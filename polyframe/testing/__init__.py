"""Strategies under test: a simulated venue, faults, and what must hold whatever happens."""
