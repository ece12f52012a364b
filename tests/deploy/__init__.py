"""What the job is deployed with: manifests, image, compose file, systemd units, crontab, and their pages."""
