"""Floor 1: the method. Sites, banks of adapter weights, hypernetworks, `AdaptedModel`, counting."""
