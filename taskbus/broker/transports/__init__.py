"""kombu transports of our own."""
