"""Long stretches of traffic on a virtual clock."""
