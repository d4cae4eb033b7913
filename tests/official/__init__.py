"""Comparison with the official clients."""
