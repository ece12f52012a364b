"""Deployment: manifests, chart, image, compose file, systemd units, crontab, and their pages."""
