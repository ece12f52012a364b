"""HTTP requests to one server, and their errors."""
