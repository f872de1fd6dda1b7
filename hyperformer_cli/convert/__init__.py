"""Floor 3: weights that come in. Checkpoints of other programs become run folders."""
