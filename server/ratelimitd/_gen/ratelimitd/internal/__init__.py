"""Generated stubs below the proto package `ratelimitd.internal`."""
