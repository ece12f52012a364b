"""Dashboards, rules and alerts, evaluated by a real Prometheus on real pushes of a real Flower."""
