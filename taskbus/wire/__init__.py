"""A ``Message`` as bytes on a queue."""
