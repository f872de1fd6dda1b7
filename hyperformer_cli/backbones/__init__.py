"""Backbones: families of architectures, where a model comes from, published shapes, the hub."""
