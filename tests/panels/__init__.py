"""The dashboards, rules and alerts, asked of a real Prometheus that scrapes real pushes of a real Flower."""
