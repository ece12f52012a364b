"""Break the connections of push-job at random, and check the pushed groups."""
