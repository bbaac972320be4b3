"""Generated stubs of the proto package `envoy.config`."""
