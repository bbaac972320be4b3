"""The methods that a process serves, by the descriptors alone: for whoever stands in front of it.

Makes no servicer; a test compares this with what a service registers.
"""

from __future__ import annotations

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2
from ratelimitd._gen.ratelimitd.v1 import limiter_pb2
from ratelimitd.rpc.reflection import V1

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
_FILES = (rls_pb2, limiter_pb2, health_pb2, reflection_pb2)


def paths() -> tuple[str, ...]:
    """Return the path of every method (`/package.Service/Method`)."""
    services = [service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()]
    names = {service.full_name: service for service in services}
    names[V1] = names[V1ALPHA]
    return tuple(
        f"/{name}/{method.name}" for name, service in names.items() for method in service.methods
    )
