"""Read workers and tasks from Flower.

Only `incremental` knows about state between scrapes.
"""
