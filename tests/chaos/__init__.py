"""Breaks the connections of push-job at random and looks what the Pushgateway has afterwards."""
