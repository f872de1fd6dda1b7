"""Floor 1: the data. Sources, splits, sampling, tokenisation, collation, implementations of metrics."""
