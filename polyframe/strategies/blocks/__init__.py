"""What strategies are put together from: small parts that decide, and leave acting to the strategy."""
