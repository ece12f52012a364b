"""Servers that misbehave on cue, where a real one cannot be made to."""
