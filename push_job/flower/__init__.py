"""Asks Flower, and reads every task that it remembers exactly once."""
