"""Tests of the venue's clients, and what they share."""
