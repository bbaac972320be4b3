"""The parts of the Redis store, each with fakes for what it talks to."""
