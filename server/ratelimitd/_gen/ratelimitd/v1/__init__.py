"""Generated stubs of the proto package `ratelimitd.v1`."""
