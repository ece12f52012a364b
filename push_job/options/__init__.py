"""What a person can set, and how it becomes Settings."""
