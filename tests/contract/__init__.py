"""One suite for every implementation of a port; the suite names no implementation."""
