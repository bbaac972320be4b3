"""Real Envoy, real Redis, real processes."""
