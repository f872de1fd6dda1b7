"""Floor 3: a trained run in other forms, each verified against the run before it is kept."""
