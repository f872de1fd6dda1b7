"""Weights that come in: checkpoints of other programs as run folders."""
