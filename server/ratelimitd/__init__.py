"""A rate limiter for Envoy and for gRPC services.

This module owns the version and nothing else. Importing it loads no other module of the package,
opens no socket and reads no environment; import what you need from the module that owns it.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
