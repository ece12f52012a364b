"""Unit tests of push_job/checks."""
