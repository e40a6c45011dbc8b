"""What runs in a child process of the worker: user code, and nothing that knows a queue."""
