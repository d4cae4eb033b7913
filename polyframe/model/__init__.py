"""Values only: what a market, an order, a trade, a book *is*. No I/O, no clock, no tasks."""
