"""For tests of applications and of transports: contracts that every back end passes, a clock to move."""
