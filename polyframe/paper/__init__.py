"""What our orders would have done: fill models, a matching core, an exchange that trades on paper."""
