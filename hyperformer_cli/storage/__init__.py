"""Formats on disk, as plain configuration and tensors: atomic files, trained weights, static adapters."""
