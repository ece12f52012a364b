"""Requests to one server, and what can go wrong with them."""
