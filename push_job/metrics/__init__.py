"""What was read from Flower becomes families of metrics and a registry."""
