"""Unit tests of push_job/http."""
