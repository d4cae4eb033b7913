"""Many back-tests: one strategy with many settings, on many cores or machines."""
