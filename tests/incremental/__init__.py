"""What a job remembers, from one turn to the next and in a file."""
