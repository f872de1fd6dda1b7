"""Floor 0: what a task is, the shipped tasks as YAML files, the table of metrics. Knows no torch."""
