"""The truth test of `--with totals`.

Real workers count with Celery's signals. The counters must show the same numbers.
"""
