"""Floor 0: what a person writes down. Adapter configuration, recipe schema, loading, errors with line numbers."""
