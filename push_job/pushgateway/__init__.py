"""Push metric families to a Prometheus Pushgateway."""
