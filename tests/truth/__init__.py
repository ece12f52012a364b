"""The truth test of `--with totals`: real workers count by Celery's signals what the counters must show."""
