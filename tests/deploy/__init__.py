"""Deployment: manifests, chart, image, compose file, units, and their pages."""
