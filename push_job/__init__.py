"""Scrape Celery Flower once and push exact metrics to a Prometheus Pushgateway."""

__version__ = "0.1.0"
