"""Results, failed attempts and dead letters."""
