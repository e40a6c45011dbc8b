"""The crash suite: what the promises are worth when processes die at every step. ``python -m tests.crash`` runs all."""
