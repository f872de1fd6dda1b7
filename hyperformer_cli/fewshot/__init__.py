"""Floor 3: transfer of a trained run to new tasks with few examples."""
