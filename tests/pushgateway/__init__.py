"""Tests of pushes to a Pushgateway, through proxies, and to other servers."""
