"""Command-line options and environment variables, and the settings that they make."""
