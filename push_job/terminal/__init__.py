"""Output for a terminal: tables, progress and text formatting."""
