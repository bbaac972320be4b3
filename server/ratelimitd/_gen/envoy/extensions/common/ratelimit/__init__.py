"""Generated stubs below the proto package `envoy.extensions.common.ratelimit`."""
