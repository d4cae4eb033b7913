"""What several tests share: an exchange in memory, builders of values."""
