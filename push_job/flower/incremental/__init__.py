"""Incremental scrapes: read only what changed, and prove that nothing else did.

See README.md.
"""
