"""Databases as such: engines, connections per thread, change notification. Knows nothing of queues or results."""
