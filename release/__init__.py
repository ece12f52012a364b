"""Generated files and distributions of a release."""
