"""The shipped worker, queue and ops under a seeded scheduler and virtual time."""
