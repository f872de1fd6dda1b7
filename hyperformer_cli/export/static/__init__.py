"""`--format static`: plain adapters per task, without the hypernetwork that generated them."""
