"""Scrape Celery Flower once and push what it knows to a Prometheus Pushgateway."""

__version__ = "0.1.0"
