"""Unit tests of push_job/terminal."""
