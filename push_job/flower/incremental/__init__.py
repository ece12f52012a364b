"""Incremental scrapes: read only what changed, with proof (see README.md)."""
