"""Floor 3: evaluation of finished runs."""
