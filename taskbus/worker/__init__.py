"""The worker: a supervisor that owns the broker, and runners that own user code."""
