"""Generated stubs of the proto package `envoy.service.ratelimit.v3`."""
