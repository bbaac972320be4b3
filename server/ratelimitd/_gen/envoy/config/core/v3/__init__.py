"""Generated stubs below the proto package `envoy.config.core.v3`."""
