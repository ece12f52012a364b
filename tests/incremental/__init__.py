"""Tests of incremental scrapes."""
