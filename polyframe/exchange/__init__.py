"""The seam to a venue: protocols in `base`, Polymarket in `polymarket`."""
