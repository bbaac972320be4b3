"""The Redis store: counts that a fleet of processes shares."""
