"""The servicers, called over a real channel in this process."""
