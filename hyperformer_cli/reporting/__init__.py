"""Floor 3: reports. Run folders become the paper's tables and figures."""
