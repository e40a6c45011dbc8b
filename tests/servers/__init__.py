"""Real servers for tests: each on a free loopback port, with a data folder of its own, ended by whoever started it."""
