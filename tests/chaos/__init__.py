"""Break the connections of push-job at random, and check what the Pushgateway has afterwards."""
