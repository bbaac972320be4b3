"""The memory store: counts in this process."""
