"""Generated stubs below the proto package `envoy.service.ratelimit`."""
