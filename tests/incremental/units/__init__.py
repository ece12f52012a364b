"""Unit tests of push_job/flower/incremental that need no Flower."""
