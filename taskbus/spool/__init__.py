"""Messages kept on the producer's disk while the broker cannot be reached, and brought to it in order afterwards."""
