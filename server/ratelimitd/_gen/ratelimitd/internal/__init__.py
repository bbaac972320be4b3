"""Generated stubs of the proto package `ratelimitd.internal`."""
