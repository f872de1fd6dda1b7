"""Floor 1: the tasks. Declarations, sources, splits, sampling, tokenisation, collation, metrics."""
