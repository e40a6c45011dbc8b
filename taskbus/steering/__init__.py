"""What the command line and the page do to what runs: the acts themselves, once; both are thin above it."""
