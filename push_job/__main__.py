"""``python -m push_job`` is the same as ``push-job``."""

from push_job.cli import main

main()
