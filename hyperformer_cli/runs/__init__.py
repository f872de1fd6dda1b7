"""Floor 2: the run folder. Layout, atomic writes, lock, checkpoints, results, environment."""
