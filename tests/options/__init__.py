"""Unit tests of push_job/options."""
