"""Tests of what is promised in words: documents and examples."""
