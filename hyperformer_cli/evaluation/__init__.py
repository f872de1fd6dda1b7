"""Floor 3: predictions and metrics of every task, while training and afterwards."""
