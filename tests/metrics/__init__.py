"""Unit tests of push_job/metrics."""
