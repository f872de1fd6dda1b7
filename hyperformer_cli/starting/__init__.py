"""A first recipe and task file from a table of one's own: `hyperformer init`."""
