"""Run push-job with counters that are shown at once.

Usage: `python -m tests.truth.job ARGUMENTS`.

A new series is 0 for a minute, which would make each run wait for it.
"""

from push_job.cli import main
from push_job.metrics.extras import totals

if __name__ == "__main__":
    totals.HOLD = 0.0
    main()
