"""Metric families of what was read from Flower, and their registry."""
