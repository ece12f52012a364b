"""Dashboards, rules and alerts, evaluated by a real Prometheus."""
