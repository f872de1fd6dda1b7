"""Floor 2: run folders. Their layout, lock, checkpoints, results and environment; and `OpenedRun`."""
