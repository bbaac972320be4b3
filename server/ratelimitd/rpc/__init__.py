"""The gRPC edge: servicers, conversion between messages and values, statuses, health."""
