"""Tests of push_job.flower without a server."""
