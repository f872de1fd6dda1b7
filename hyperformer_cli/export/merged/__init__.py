"""`--format merged`: a plain transformers model with one task in its weights."""
