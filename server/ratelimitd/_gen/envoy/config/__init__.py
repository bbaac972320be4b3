"""Generated stubs below the proto package `envoy.config`."""
